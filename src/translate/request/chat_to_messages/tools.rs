//! The tools of a chat request, and the choice among them.

use super::super::super::Loss;
use super::super::super::json::{Raw, Writer};
use super::super::definitions::Definitions;
use super::super::notes::Notes;
use super::super::schema;

/// The schema of a tool that takes nothing.
const NO_INPUT: &[u8] = br#"{"type":"object","properties":{}}"#;

/// The choice of a chat request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice<'a> {
    Auto,
    None,
    Any,
    Tool(Raw<'a>),
}

impl<'a> Choice<'a> {
    /// What `tool_choice` says.
    pub(super) fn of(choice: Option<Raw<'a>>, definitions: &Definitions, notes: &mut Notes) -> Self {
        let Some(choice) = choice else { return Self::Auto };
        if choice.is_string() {
            return Self::of_mode(choice);
        }
        if let Some(allowed) = choice.get("allowed_tools") {
            notes.lost(Loss::ToolChoice);
            return allowed.get("mode").map_or(Self::Auto, Self::of_mode);
        }
        let tool = choice.get("function").or_else(|| choice.get("custom"));
        let name = tool.and_then(|tool| tool.get("name")).unwrap_or(Raw::EMPTY_STRING);
        let provider = notes.tool_name(name, None);
        if definitions.may_choose(&provider, notes) { Self::Tool(name) } else { Self::Auto }
    }

    fn of_mode(mode: Raw<'a>) -> Self {
        match mode.escaped() {
            Some(b"none") => Self::None,
            Some(b"required" | b"any") => Self::Any,
            _ => Self::Auto,
        }
    }

    /// Whether the model has to call a tool.
    pub(super) const fn is_forced(self) -> bool {
        matches!(self, Self::Any | Self::Tool(_))
    }

    /// Writes `tool_choice`, unless it is the default.
    pub(super) fn write(self, one_at_a_time: bool, to: &mut Writer, notes: &mut Notes) {
        if self == Self::Auto && !one_at_a_time {
            return;
        }
        to.key("tool_choice").object(|to| {
            match self {
                Self::Auto => to.key("type").text(b"auto"),
                Self::None => to.key("type").text(b"none"),
                Self::Any => to.key("type").text(b"any"),
                Self::Tool(name) => {
                    to.key("type").text(b"tool");
                    to.key("name").text(&notes.tool_name(name, None));
                }
            }
            if one_at_a_time && self != Self::None {
                to.key("disable_parallel_tool_use").literal(b"true");
            }
        });
    }
}

/// The definitions of the tools.
pub(super) fn definitions(tools: Option<Raw<'_>>, notes: &mut Notes) -> Definitions {
    let mut definitions = Definitions::default();
    for tool in tools.into_iter().flat_map(Raw::items) {
        match (tool.get("function"), tool.get("custom")) {
            (Some(function), _) => define(function, &mut definitions, notes),
            (None, Some(_)) => notes.lost(Loss::ToolGrammar),
            (None, None) => notes.lost(Loss::HostedTools),
        }
        notes.lost_if_filled(Loss::CacheControl, tool.get("cache_control"));
    }
    definitions
}

/// Defines tools that were called and that the request no longer has. Messages wants a definition of every
/// tool that was called.
pub(super) fn define_called(called: &[Box<[u8]>], definitions: &mut Definitions) {
    for name in called {
        definitions.add(name, |to| {
            to.key("name").text(name);
            to.key("input_schema").literal(NO_INPUT);
        });
    }
}

fn define(function: Raw<'_>, definitions: &mut Definitions, notes: &mut Notes) {
    let Some(name) = function.get("name") else { return notes.lost(Loss::Unknown) };
    let name = notes.tool_name(name, None);
    let parameters = function.get("parameters");
    definitions.add(&name, |to| {
        to.key("name").text(&name);
        if let Some(description) = function.get("description").filter(|text| !text.is_blank()) {
            to.key("description").raw(description);
        }
        to.key("input_schema");
        write_schema(parameters, to);
        if function.get("strict").is_some_and(Raw::is_true) {
            match parameters {
                Some(parameters) if schema::anthropic_enforces(parameters) => {
                    to.key("strict").literal(b"true")
                }
                _ => notes.lost(Loss::StrictTools),
            }
        }
    });
}

/// Writes a schema with its `type`, which Messages requires.
fn write_schema(parameters: Option<Raw<'_>>, to: &mut Writer) {
    match parameters.filter(|parameters| parameters.is_object()) {
        None => to.literal(NO_INPUT),
        Some(schema) if schema.get("type").is_some() => to.raw(schema),
        Some(schema) => to.object(|to| {
            to.key("type").text(b"object");
            for (key, value) in schema.members().filter(|(key, _)| *key != b"type") {
                to.raw_key(key).raw(value);
            }
        }),
    }
}
