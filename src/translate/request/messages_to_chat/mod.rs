//! Messages requests to chat requests.

mod blocks;
mod conversation;
mod tools;

use super::super::Loss;
use super::super::json::{Raw, Writer};
use super::chat_model::ChatModel;
use super::chat_settings::{self, OutputSchema};
use super::effort::Effort;
use super::notes::Notes;
use super::schema;
use super::terms::{RequestTerms, Untranslatable};

/// The members of a Messages request that chat has, too.
#[derive(Debug, Default)]
struct MessagesRequest<'a> {
    system: Option<Raw<'a>>,
    messages: Option<Raw<'a>>,
    tools: Option<Raw<'a>>,
    tool_choice: Option<Raw<'a>>,
    max_tokens: Option<Raw<'a>>,
    temperature: Option<Raw<'a>>,
    top_p: Option<Raw<'a>>,
    stop_sequences: Option<Raw<'a>>,
    thinking: Thinking,
    effort: Option<Effort>,
    schema: Option<Raw<'a>>,
    user: Option<Raw<'a>>,
    stream: Option<Raw<'a>>,
}

/// What `thinking` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Thinking {
    #[default]
    Absent,
    Disabled,
    Budget(u64),
    Adaptive,
}

impl<'a> MessagesRequest<'a> {
    fn of(body: Raw<'a>, notes: &mut Notes) -> Self {
        let mut read = Self::default();
        for (key, value) in body.members() {
            let value = Some(value).filter(|value| !value.is_null());
            match key {
                b"model" => {}
                b"system" => read.system = value,
                b"messages" => read.messages = value,
                b"tools" => read.tools = value,
                b"tool_choice" => read.tool_choice = value,
                b"max_tokens" => read.max_tokens = value,
                b"temperature" => read.temperature = value,
                b"top_p" => read.top_p = value,
                b"stop_sequences" => read.stop_sequences = value,
                b"stream" => read.stream = value,
                b"thinking" => read.thinking = Thinking::of(value, notes),
                b"output_config" => read.read_output(value, notes),
                b"output_format" => read.schema = value.and_then(|format| format.get("schema")),
                b"metadata" => read.read_metadata(value, notes),
                _ => note_lost(key, value, notes),
            }
        }
        read
    }

    fn read_output(&mut self, output: Option<Raw<'a>>, notes: &mut Notes) {
        for (key, value) in output.into_iter().flat_map(Raw::members) {
            match key {
                b"effort" => self.effort = Effort::of(value),
                b"format" => self.schema = value.get("schema"),
                _ => notes.lost_if_filled(Loss::Unknown, Some(value).filter(|value| !value.is_null())),
            }
        }
    }

    fn read_metadata(&mut self, metadata: Option<Raw<'a>>, notes: &mut Notes) {
        for (key, value) in metadata.into_iter().flat_map(Raw::members) {
            match key {
                b"user_id" => self.user = Some(value),
                _ => notes.lost(Loss::Metadata),
            }
        }
    }

    /// The effort that the request asks for in one of the three ways.
    fn effort(&self) -> Option<Effort> {
        match (self.thinking, self.effort) {
            (Thinking::Disabled, _) => Some(Effort::None),
            (_, Some(effort)) => Some(effort),
            (Thinking::Budget(budget), None) => Some(Effort::of_budget(budget)),
            // Each maker has its own default. That of the other side is the middle.
            (Thinking::Adaptive, None) => Some(Effort::Medium),
            (Thinking::Absent, None) => None,
        }
    }
}

impl Thinking {
    fn of(thinking: Option<Raw<'_>>, notes: &mut Notes) -> Self {
        let Some(thinking) = thinking else { return Self::Absent };
        notes.lost_if_filled(Loss::ReasoningDisplay, thinking.get("display"));
        match thinking.get("type").and_then(Raw::escaped) {
            Some(b"disabled") => Self::Disabled,
            Some(b"enabled") => {
                Self::Budget(thinking.get("budget_tokens").and_then(Raw::count).unwrap_or_default())
            }
            _ => Self::Adaptive,
        }
    }
}

/// Notes what is lost with a member that chat does not have.
fn note_lost(key: &[u8], value: Option<Raw<'_>>, notes: &mut Notes) {
    match key {
        b"top_k" => notes.lost_unless(Loss::TopK, value, &[]),
        b"cache_control" => notes.lost_if_filled(Loss::CacheControl, value),
        b"context_management" => notes.lost_if_filled(Loss::ContextManagement, value),
        b"service_tier" => {
            notes.lost_unless(Loss::ServiceTier, value, &["\"auto\"", "\"standard_only\""]);
        }
        b"speed" => notes.lost_unless(Loss::ServiceTier, value, &["\"standard\""]),
        b"inference_geo" => notes.lost_unless(Loss::ServiceTier, value, &[]),
        b"user_profile_id" | b"diagnostics" => notes.lost_if_filled(Loss::Metadata, value),
        b"mcp_servers" => notes.lost_if_filled(Loss::HostedTools, value),
        b"container" => notes.lost_if_filled(Loss::State, value),
        // Bedrock and Vertex have these in the body. What they switch on is named by its own member.
        b"anthropic_version" | b"anthropic_beta" | b"betas" => {}
        _ => notes.lost_if_filled(Loss::Unknown, value),
    }
}

/// Translates a Messages request.
pub(super) fn translate(
    body: Raw<'_>,
    terms: &RequestTerms<'_>,
    model: ChatModel,
    notes: &mut Notes,
) -> Result<Vec<u8>, Untranslatable> {
    let request = MessagesRequest::of(body, notes);
    let messages =
        request.messages.filter(|messages| messages.is_array()).ok_or(Untranslatable::NoMessages)?;
    let mut to = Writer::after(Vec::with_capacity(body.bytes().len()));
    to.open_object();
    to.key("model").text(terms.model.as_bytes());
    to.key("messages").open_array();
    let before = to.len();
    conversation::write_system(request.system, &mut to, notes);
    let mut prefilled = false;
    for turn in messages.items() {
        prefilled = conversation::write_turn(turn, &mut to, notes);
    }
    if to.len() == before {
        return Err(Untranslatable::NoMessages);
    }
    to.close_array();
    if prefilled {
        notes.lost(Loss::Prefill);
    }
    let definitions = tools::definitions(request.tools, notes);
    let has_tools = !definitions.is_empty();
    if has_tools {
        definitions.write(&mut to);
        tools::write_choice(request.tool_choice, &definitions, &mut to, notes);
    }
    chat_settings::write_limit(request.max_tokens, model, &mut to);
    chat_settings::write_effort(request.effort(), has_tools, model, &mut to, notes);
    write_schema(request.schema, &mut to, notes);
    chat_settings::write_sampling(request.temperature, request.top_p, model, &mut to, notes);
    chat_settings::write_stop(request.stop_sequences, model, &mut to, notes);
    chat_settings::write_user(request.user, &mut to, notes);
    chat_settings::write_stream(request.stream, &mut to, notes);
    to.close_object();
    Ok(to.into_bytes())
}

/// Writes the schema of the answer. OpenAI enforces only some of those that Anthropic enforces.
fn write_schema(schema: Option<Raw<'_>>, to: &mut Writer, notes: &mut Notes) {
    let Some(schema) = schema else { return };
    let taken = schema::is_of_object(schema);
    let strict = taken && schema::openai_enforces(schema);
    if !strict {
        notes.lost(Loss::JsonSchema);
    }
    if taken {
        OutputSchema { name: None, description: None, schema, strict }.write(to);
    }
}
