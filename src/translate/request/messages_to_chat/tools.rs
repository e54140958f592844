//! The tools of a Messages request, and the choice among them.

use super::super::super::Loss;
use super::super::super::json::{Raw, Writer};
use super::super::definitions::Definitions;
use super::super::notes::Notes;
use super::super::schema;

/// The members of a tool that chat has, too.
#[derive(Debug, Clone, Copy, Default)]
struct Tool<'a> {
    name: Option<Raw<'a>>,
    description: Option<Raw<'a>>,
    input_schema: Option<Raw<'a>>,
    strict: bool,
}

/// The definitions of the tools.
pub(super) fn definitions(tools: Option<Raw<'_>>, notes: &mut Notes) -> Definitions {
    let mut definitions = Definitions::default();
    for tool in tools.into_iter().flat_map(Raw::items) {
        // A type other than `custom` names a tool of Anthropic's, which has no schema here.
        if tool.get("type").is_some_and(|kind| !kind.is("custom")) {
            notes.lost(Loss::HostedTools);
        } else {
            define(Tool::of(tool, notes), &mut definitions, notes);
        }
    }
    definitions
}

impl<'a> Tool<'a> {
    fn of(tool: Raw<'a>, notes: &mut Notes) -> Self {
        let mut read = Self::default();
        for (key, value) in tool.members() {
            let value = Some(value).filter(|value| !value.is_null());
            match key {
                b"type" => {}
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

fn define(tool: Tool<'_>, definitions: &mut Definitions, notes: &mut Notes) {
    let Some(name) = tool.name else { return notes.lost(Loss::Unknown) };
    let name = notes.tool_name(name, None);
    let enforced = tool.strict && tool.input_schema.is_some_and(schema::openai_enforces);
    if tool.strict && !enforced {
        notes.lost(Loss::StrictTools);
    }
    definitions.add(&name, |to| {
        to.key("type").text(b"function");
        to.key("function").object(|to| {
            to.key("name").text(&name);
            if let Some(description) = tool.description {
                to.key("description").raw(description);
            }
            if let Some(schema) = tool.input_schema {
                to.key("parameters").raw(schema);
            }
            if enforced {
                to.key("strict").literal(b"true");
            }
        });
    });
}

/// Writes `tool_choice` and `parallel_tool_calls`, unless they are the defaults.
pub(super) fn write_choice(
    choice: Option<Raw<'_>>,
    definitions: &Definitions,
    to: &mut Writer,
    notes: &mut Notes,
) {
    let Some(choice) = choice else { return };
    let kind = choice.get("type").and_then(Raw::escaped).unwrap_or_default();
    match kind {
        b"auto" => {}
        b"none" => to.key("tool_choice").text(b"none"),
        b"any" => to.key("tool_choice").text(b"required"),
        b"tool" => {
            let name = notes.tool_name(choice.get("name").unwrap_or(Raw::EMPTY_STRING), None);
            definitions.write_chosen_function(&name, to, notes);
        }
        _ => notes.lost(Loss::ToolChoice),
    }
    if choice.get("disable_parallel_tool_use").is_some_and(Raw::is_true) {
        to.key("parallel_tool_calls").literal(b"false");
    }
}
