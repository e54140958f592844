//! The tools of a Responses request, and the choice among them.

use super::super::super::Loss;
use super::super::super::json::{Raw, Writer};
use super::super::definitions::Definitions;
use super::super::notes::Notes;

/// Before the grammar of a tool that takes plain text.
const GRAMMAR: &[u8] = b"The text must match this grammar:\\n";

/// The members of a tool that chat has, too.
#[derive(Debug, Clone, Copy, Default)]
struct Tool<'a> {
    kind: &'a [u8],
    name: Option<Raw<'a>>,
    description: Option<Raw<'a>>,
    parameters: Option<Raw<'a>>,
    format: Option<Raw<'a>>,
    tools: Option<Raw<'a>>,
    strict: bool,
}

impl<'a> Tool<'a> {
    fn of(tool: Raw<'a>, notes: &mut Notes) -> Self {
        let mut read = Self::default();
        for (key, value) in tool.members() {
            let value = Some(value).filter(|value| !value.is_null());
            match key {
                b"type" => read.kind = value.and_then(Raw::escaped).unwrap_or_default(),
                b"name" => read.name = value,
                b"description" => read.description = value,
                b"parameters" => read.parameters = value,
                b"format" => read.format = value,
                b"tools" => read.tools = value,
                b"strict" => read.strict = value.is_some_and(Raw::is_true),
                // When a definition is shown is the provider's affair.
                b"defer_loading" => {}
                _ if matches!(read.kind, b"function" | b"custom" | b"namespace") => {
                    notes.lost_if_filled(Loss::Unknown, value);
                }
                _ => {}
            }
        }
        read
    }
}

/// The definitions of the tools.
pub(super) fn definitions(tools: Option<Raw<'_>>, notes: &mut Notes) -> Definitions {
    let mut definitions = Definitions::default();
    for tool in tools.into_iter().flat_map(Raw::items) {
        let tool = Tool::of(tool, notes);
        match (tool.kind, tool.name) {
            (b"namespace", namespace) => {
                for inner in tool.tools.into_iter().flat_map(Raw::items) {
                    define(&Tool::of(inner, notes), namespace, &mut definitions, notes);
                }
            }
            _ => define(&tool, None, &mut definitions, notes),
        }
    }
    definitions
}

fn define(tool: &Tool<'_>, namespace: Option<Raw<'_>>, definitions: &mut Definitions, notes: &mut Notes) {
    let Some(name) = tool.name.filter(|_| matches!(tool.kind, b"function" | b"custom")) else {
        return notes.lost(Loss::HostedTools);
    };
    let name = notes.tool_name(name, namespace);
    let is_custom = tool.kind == b"custom";
    if is_custom {
        notes.custom_tool(&name);
        if grammar(tool).is_some() {
            notes.lost(Loss::ToolGrammar);
        }
    }
    definitions.add(&name, |to| {
        to.key("type").text(b"function");
        to.key("function").object(|to| {
            to.key("name").text(&name);
            if let Some(description) = tool.description {
                to.key("description").raw(description);
            }
            if is_custom {
                write_text_schema(grammar(tool), to.key("parameters"));
            } else if let Some(parameters) = tool.parameters {
                to.key("parameters").raw(parameters);
            }
            if tool.strict && !is_custom {
                to.key("strict").literal(b"true");
            }
        });
    });
}

/// The grammar of a tool that takes plain text.
fn grammar<'a>(tool: &Tool<'a>) -> Option<Raw<'a>> {
    let format = tool.format?;
    // Chat has the grammar one level deeper, and clients of both confuse the two.
    let definition = format.get("definition");
    definition.or_else(|| format.get("grammar")?.get("definition")).filter(|grammar| grammar.is_string())
}

/// Writes the schema of a tool that takes one text. Nothing enforces the grammar, so the model reads it.
fn write_text_schema(grammar: Option<Raw<'_>>, to: &mut Writer) {
    to.object(|to| {
        to.key("type").text(b"object");
        to.key("properties").object(|to| {
            to.key("input").object(|to| {
                to.key("type").text(b"string");
                if let Some(grammar) = grammar.and_then(Raw::escaped) {
                    to.key("description").string(|out| {
                        out.extend_from_slice(GRAMMAR);
                        out.extend_from_slice(grammar);
                    });
                }
            });
        });
        to.key("required").literal(br#"["input"]"#);
        to.key("additionalProperties").literal(b"false");
    });
}

/// Writes `tool_choice`, unless it is the default.
pub(super) fn write_choice(
    choice: Option<Raw<'_>>,
    definitions: &Definitions,
    to: &mut Writer,
    notes: &mut Notes,
) {
    let Some(choice) = choice else { return };
    if choice.is_string() {
        return write_mode(choice, to);
    }
    match choice.get("type").and_then(Raw::escaped).unwrap_or_default() {
        b"function" | b"custom" => {
            let name = choice.get("name").unwrap_or(Raw::EMPTY_STRING);
            let name = notes.tool_name(name, choice.get("namespace"));
            definitions.write_chosen_function(&name, to, notes);
        }
        b"allowed_tools" => {
            notes.lost(Loss::ToolChoice);
            choice.get("mode").into_iter().for_each(|mode| write_mode(mode, to));
        }
        _ => notes.lost(Loss::ToolChoice),
    }
}

fn write_mode(mode: Raw<'_>, to: &mut Writer) {
    if !mode.is("auto") {
        to.key("tool_choice").raw(mode);
    }
}
