//! Notes the meaning of each value.

use super::tally::{Switch, Switches, Tool, ToolKind, Turns};
use super::{Collector, Kind};
use crate::base::same_bytes;
use crate::request::facts::{OutputFormat, StateKind, ToolChoice};
use crate::request::number::as_count;
use crate::request::spot::{FormatKey, RoutingKey, Spot, TurnsKey};
use crate::request::text::Kept;
use crate::request::token::{Container, Value};

impl Collector {
    /// Notes a value, or the beginning of a container, at the current place.
    pub(super) fn note(&mut self, value: Value<'_>) {
        if let Some(parent) = self.frames.last()
            && let (Spot::Turns(key), Container::Array) = (parent.spot, parent.container)
            && !key.is_system()
        {
            let turns = self.turns();
            turns.items = turns.items.saturating_add(1);
        }
        let present = !matches!(value, Value::Null);
        match self.next {
            Spot::Other => {}
            Spot::Stream => self.facts.stream = is_true(value),
            Spot::Routing(key) | Spot::RoutingItem(key) => self.note_routing(key, value, present),
            Spot::N => self.facts.n = count(value),
            Spot::Seed => self.facts.seed = present,
            Spot::Logprobs => self.options.logprobs = present && !is_false(value),
            // The number of alternatives: none are asked for with 0.
            Spot::TopLogprobs => {
                self.options.top_logprobs = present && !is_false(value) && count(value) != Some(0);
            }
            Spot::OutputTokens(key) => self.options.set_tokens(key, count(value)),
            Spot::Modalities => (self.facts.audio_output, self.facts.image_output) = (false, false),
            Spot::Modality => {
                self.facts.audio_output |= is_text(value, &[b"audio"]);
                self.facts.image_output |= !is_text(value, &[b"text", b"audio"]);
            }
            Spot::TextOptions => self.note_format(Spot::Format(FormatKey::Text), Value::Null),
            Spot::OutputConfig => {
                self.note_format(Spot::Format(FormatKey::OutputConfig), Value::Null);
            }
            Spot::Format(_) | Spot::FormatType(_) => self.note_format(self.next, value),
            Spot::Store => self.facts.store = boolean(value),
            Spot::User => self.facts.affinity.user = hash(value),
            Spot::PromptCacheKey => self.facts.affinity.prompt_cache_key = hash(value),
            Spot::Metadata => self.facts.affinity.metadata_user = None,
            Spot::MetadataUser => self.facts.affinity.metadata_user = hash(value),
            Spot::ReasoningEffort
            | Spot::Reasoning
            | Spot::ReasoningInnerEffort
            | Spot::ReasoningEnabled
            | Spot::ReasoningOther
            | Spot::Thinking
            | Spot::ThinkingType
            | Spot::ThinkingOther => self.note_reasoning(value, present),
            Spot::PreviousResponse
            | Spot::Conversation
            | Spot::Background
            | Spot::Container
            | Spot::CachedContent
            | Spot::ExtraBody
            | Spot::Google
            | Spot::GoogleCachedContent => self.note_state(value, present),
            Spot::Turns(_)
            | Spot::Part
            | Spot::PartText
            | Spot::PartRole
            | Spot::PartType
            | Spot::PartSignature
            | Spot::FileId
            | Spot::Sealed
            | Spot::Encrypted
            | Spot::StoredId
            | Spot::Source
            | Spot::SourceType
            | Spot::SourceData => self.note_turns(value, present),
            _ => self.note_tools(value, present),
        }
    }

    fn note_routing(&mut self, key: RoutingKey, value: Value<'_>, present: bool) {
        // Only an element or member shows that a list or object is not empty.
        let is_list = matches!((self.next, value), (Spot::Routing(_), Value::Opening(_)));
        let chooses = present && !is_empty_text(value) && !is_list;
        match key {
            RoutingKey::Models => self.facts.routing.models |= chooses,
            RoutingKey::Hosts => self.facts.routing.hosts |= chooses,
        }
    }

    fn note_format(&mut self, spot: Spot, value: Value<'_>) {
        match spot {
            Spot::Format(key) => {
                let plain = matches!(value, Value::Null | Value::Opening(Container::Object));
                self.options.set_format(key, if plain { OutputFormat::Text } else { OutputFormat::Other });
            }
            Spot::FormatType(key) => {
                let format = match value {
                    Value::Null => OutputFormat::Text,
                    Value::Text { kept: Kept::Text(b"text"), .. } => OutputFormat::Text,
                    Value::Text { kept: Kept::Text(b"json_object"), .. } => OutputFormat::JsonObject,
                    Value::Text { kept: Kept::Text(b"json_schema"), .. } => OutputFormat::JsonSchema,
                    _ => OutputFormat::Other,
                };
                self.options.set_format(key, format);
            }
            _ => {}
        }
    }

    fn note_reasoning(&mut self, value: Value<'_>, present: bool) {
        let options = &mut self.options;
        match self.next {
            Spot::ReasoningEffort => options.reasoning_effort = Switch::of(value, b"none") == Switch::On,
            Spot::Reasoning => options.reasoning = Switches::of(value),
            Spot::ReasoningInnerEffort => options.reasoning.main = Switch::of(value, b"none"),
            Spot::ReasoningEnabled => options.reasoning.enabled = Switch::of(value, b""),
            Spot::ReasoningOther => options.reasoning.others |= present,
            Spot::Thinking => options.thinking = Switches::of(value),
            Spot::ThinkingType => options.thinking.main = Switch::of(value, b"disabled"),
            Spot::ThinkingOther => options.thinking.others |= present,
            _ => {}
        }
    }

    fn note_state(&mut self, value: Value<'_>, present: bool) {
        let present = present && !is_empty_text(value);
        let (kind, present) = match self.next {
            Spot::PreviousResponse => (StateKind::PreviousResponse, present),
            Spot::Conversation => (StateKind::Conversation, present),
            Spot::Background => (StateKind::Background, is_true(value)),
            Spot::Container => (StateKind::Container, present),
            Spot::CachedContent => {
                self.options.cached_content = present;
                return;
            }
            Spot::GoogleCachedContent => {
                self.options.google_cached_content = present;
                return;
            }
            _ => {
                self.options.google_cached_content = false;
                return;
            }
        };
        self.facts.state = self.facts.state.with(kind, present);
    }

    fn note_turns(&mut self, value: Value<'_>, present: bool) {
        match self.next {
            Spot::Turns(key) => {
                self.turns_key = key;
                let single = matches!(value, Value::Text { .. }) && !key.is_system();
                *self.turns() = Turns { items: single.into(), ..Turns::default() };
                self.turns().opening.add(value);
            }
            Spot::PartText => self.turns().opening.add(value),
            Spot::PartRole => {
                let is_user = is_text(value, &[b"user"]);
                if let Some(frame) = self.frames.last_mut() {
                    frame.is_user = is_user;
                }
            }
            Spot::Part if matches!(value, Value::Text { .. }) => {
                self.turns().opening.add(value);
                self.end_turn(true);
            }
            Spot::Part if matches!(value, Value::Number(_)) => {
                let turns = self.turns();
                turns.token_ids = turns.token_ids.saturating_add(1);
            }
            Spot::FileId if present => self.note_turn_state(StateKind::File),
            Spot::StoredId if present => self.note_turn_state(StateKind::StoredItem),
            // In an item of `input` it is noted as a reference.
            Spot::Encrypted if self.references.is_some() && self.turns_key == TurnsKey::Input => {}
            Spot::Sealed | Spot::Encrypted if present && !is_empty_text(value) => self.turns().sealed = true,
            Spot::PartType => self.set_kind(match value {
                Value::Text { kept: Kept::Text(kind), .. } => Kind::of(kind),
                _ => Kind::Plain,
            }),
            // A source is a file unless its type is `text`.
            Spot::SourceType => {
                self.set_kind(if is_text(value, &[b"text"]) { Kind::Plain } else { Kind::File });
            }
            Spot::PartSignature => {
                let signed = present && !is_empty_text(value);
                if let Some(frame) = self.frames.last_mut() {
                    frame.signed = signed;
                }
            }
            _ => {}
        }
    }

    fn note_tools(&mut self, value: Value<'_>, present: bool) {
        let tools = &mut self.tools;
        match self.next {
            Spot::Tools => tools.restart(),
            Spot::Tool => {
                tools.count = tools.count.saturating_add(1);
                tools.current = Tool::default();
            }
            Spot::ToolType => {
                tools.current.kind = if present { ToolKind::of(value) } else { ToolKind::Client }
            }
            Spot::ToolExecution => tools.current.is_executed_by_client = is_text(value, &[b"client"]),
            Spot::ToolEnvironment => tools.current.has_environment = false,
            Spot::ToolEnvironmentType => {
                tools.current.has_environment = present && !is_text(value, &[b"local"]);
            }
            Spot::ToolStrict => tools.current.strict = is_true(value),
            Spot::ToolFunction => tools.current.function_strict = false,
            Spot::ToolFunctionStrict => tools.current.function_strict = is_true(value),
            Spot::ToolContainer if matches!(value, Value::Text { .. }) => {
                tools.state = tools.state.with(StateKind::Container, true);
            }
            Spot::ToolFile => tools.state = tools.state.with(StateKind::File, true),
            Spot::McpServers => {
                tools.mcp_servers = present && !matches!(value, Value::Opening(Container::Array))
            }
            Spot::McpServer => tools.mcp_servers = true,
            Spot::WebSearchOptions => tools.web_search = present,
            Spot::Functions => {
                self.facts.tools.legacy_functions =
                    present && !matches!(value, Value::Opening(Container::Array));
            }
            Spot::Function => self.facts.tools.legacy_functions = true,
            Spot::ToolChoice => {
                self.options.disable_parallel = None;
                self.options.choice = tool_choice(value);
            }
            Spot::ToolChoiceType => self.options.choice = tool_choice(value),
            Spot::DisableParallel => self.options.disable_parallel = boolean(value),
            Spot::ParallelToolCalls => self.options.parallel_tool_calls = boolean(value),
            _ => {}
        }
    }

    fn note_turn_state(&mut self, kind: StateKind) {
        let turns = self.turns();
        turns.state = turns.state.with(kind, true);
    }

    fn set_kind(&mut self, kind: Kind) {
        if let Some(frame) = self.frames.last_mut() {
            frame.kind = kind;
        }
    }
}

const fn is_true(value: Value<'_>) -> bool {
    matches!(value, Value::Bool(true))
}

const fn is_false(value: Value<'_>) -> bool {
    matches!(value, Value::Bool(false))
}

const fn boolean(value: Value<'_>) -> Option<bool> {
    if let Value::Bool(value) = value { Some(value) } else { None }
}

fn is_text(value: Value<'_>, texts: &[&[u8]]) -> bool {
    matches!(value, Value::Text { kept: Kept::Text(text), .. } if texts.iter().any(|one| same_bytes(one, text)))
}

const fn is_empty_text(value: Value<'_>) -> bool {
    matches!(value, Value::Text { length: 0, .. })
}

fn count(value: Value<'_>) -> Option<u64> {
    if let Value::Number(Kept::Text(text)) = value { as_count(text) } else { None }
}

/// The hash of a non-empty text.
const fn hash(value: Value<'_>) -> Option<u64> {
    match value {
        Value::Text { kept: Kept::Hash(hash), length: 1.. } => Some(hash),
        _ => None,
    }
}

/// An object counts as forced until its `type` is read.
fn tool_choice(value: Value<'_>) -> ToolChoice {
    let free = matches!(value, Value::Null) || is_text(value, &[b"none", b"auto"]);
    if free { ToolChoice::Free } else { ToolChoice::Forced }
}
