//! The tools of a Messages request, and the choice among them.

use super::super::super::Loss;
use super::super::super::json::{Raw, Writer};
use super::super::notes::Notes;
use super::super::schema;

/// The members of a tool that chat has, too.
#[derive(Debug, Default)]
struct Tool<'a> {
    kind: Option<Raw<'a>>,
    name: Option<Raw<'a>>,
    description: Option<Raw<'a>>,
    input_schema: Option<Raw<'a>>,
    strict: bool,
}

/// The definitions of the tools, as elements of an array. Empty if there are none.
pub(super) fn definitions(tools: Option<Raw<'_>>, notes: &mut Notes) -> Writer {
    let mut to = Writer::default();
    for tool in tools.into_iter().flat_map(Raw::items) {
        // A type other than `custom` names a tool of Anthropic's, which has no schema here.
        if tool.get("type").is_some_and(|kind| !kind.is("custom")) {
            notes.lost(Loss::HostedTools);
            continue;
        }
        match Tool::of(tool, notes) {
            Tool { name: Some(name), description, input_schema, strict, .. } => {
                write(name, description, input_schema, strict, &mut to, notes);
            }
            Tool { name: None, .. } => notes.lost(Loss::Unknown),
        }
    }
    to
}

impl<'a> Tool<'a> {
    fn of(tool: Raw<'a>, notes: &mut Notes) -> Self {
        let mut read = Self::default();
        for (key, value) in tool.members() {
            let value = Some(value).filter(|value| !value.is_null());
            match key {
                b"type" => read.kind = value,
                b"name" => read.name = value,
                b"description" => read.description = value,
                b"input_schema" => read.input_schema = value,
                b"strict" => read.strict = value.is_some_and(Raw::is_true),
                b"cache_control" => notes.lost_if_filled(Loss::CacheControl, value),
                b"allowed_callers" => notes.lost_unless(Loss::HostedTools, value, &["[\"direct\"]", "[]"]),
                // How arguments are streamed, and when a definition is shown, is the provider's affair.
                b"eager_input_streaming" | b"defer_loading" => {}
                _ => notes.lost_if_filled(Loss::Unknown, value),
            }
        }
        read
    }
}

fn write(
    name: Raw<'_>,
    description: Option<Raw<'_>>,
    input_schema: Option<Raw<'_>>,
    strict: bool,
    to: &mut Writer,
    notes: &mut Notes,
) {
    let enforced = strict && input_schema.is_some_and(schema::openai_enforces);
    if strict && !enforced {
        notes.lost(Loss::StrictTools);
    }
    to.object(|to| {
        to.key("type").text(b"function");
        to.key("function").object(|to| {
            to.key("name").text(&notes.tool_name(name, None));
            if let Some(description) = description {
                to.key("description").raw(description);
            }
            if let Some(schema) = input_schema {
                to.key("parameters").raw(schema);
            }
            if enforced {
                to.key("strict").literal(b"true");
            }
        });
    });
}

/// Writes `tool_choice` and `parallel_tool_calls`, unless they are the defaults.
pub(super) fn write_choice(choice: Option<Raw<'_>>, to: &mut Writer, notes: &mut Notes) {
    let Some(choice) = choice else { return };
    let kind = choice.get("type").and_then(Raw::escaped).unwrap_or_default();
    match kind {
        b"auto" => {}
        b"none" => to.key("tool_choice").text(b"none"),
        b"any" => to.key("tool_choice").text(b"required"),
        b"tool" => {
            let name = notes.tool_name(choice.get("name").unwrap_or(Raw::EMPTY_STRING), None);
            to.key("tool_choice").object(|to| {
                to.key("type").text(b"function");
                to.key("function").object(|to| to.key("name").text(&name));
            });
        }
        _ => notes.lost(Loss::ToolChoice),
    }
    if choice.get("disable_parallel_tool_use").is_some_and(Raw::is_true) {
        to.key("parallel_tool_calls").literal(b"false");
    }
}
