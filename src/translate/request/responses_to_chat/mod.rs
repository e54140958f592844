//! Responses requests to chat requests.

mod items;
mod parts;
mod tools;

use super::super::Loss;
use super::super::json::{Raw, Writer};
use super::chat_model::ChatModel;
use super::chat_settings::{self, OutputSchema};
use super::effort::Effort;
use super::notes::Notes;
use super::terms::{RequestTerms, Untranslatable};
use items::Items;

/// The members of a Responses request that chat has, too.
#[derive(Debug, Default)]
struct ResponsesRequest<'a> {
    instructions: Option<Raw<'a>>,
    input: Option<Raw<'a>>,
    tools: Option<Raw<'a>>,
    tool_choice: Option<Raw<'a>>,
    parallel_tool_calls: Option<Raw<'a>>,
    effort: Option<Effort>,
    format: Option<Raw<'a>>,
    verbosity: Option<Raw<'a>>,
    max_output_tokens: Option<Raw<'a>>,
    temperature: Option<Raw<'a>>,
    top_p: Option<Raw<'a>>,
    user: Option<Raw<'a>>,
    safety_identifier: Option<Raw<'a>>,
    stream: Option<Raw<'a>>,
}

impl<'a> ResponsesRequest<'a> {
    fn of(body: Raw<'a>, notes: &mut Notes) -> Self {
        let mut read = Self::default();
        for (key, value) in body.members() {
            let value = Some(value).filter(|value| !value.is_null());
            match key {
                b"model" => {}
                b"instructions" => read.instructions = value,
                b"input" => read.input = value,
                b"tools" => read.tools = value,
                b"tool_choice" => read.tool_choice = value,
                b"parallel_tool_calls" => read.parallel_tool_calls = value,
                b"reasoning" => read.read_reasoning(value, notes),
                b"text" => read.read_text(value, notes),
                b"max_output_tokens" => read.max_output_tokens = value,
                b"temperature" => read.temperature = value,
                b"top_p" => read.top_p = value,
                b"user" => read.user = value,
                b"safety_identifier" => read.safety_identifier = value,
                b"stream" => read.stream = value,
                _ => note_lost(key, value, notes),
            }
        }
        read
    }

    fn read_reasoning(&mut self, reasoning: Option<Raw<'a>>, notes: &mut Notes) {
        for (key, value) in reasoning.into_iter().flat_map(Raw::members) {
            let value = Some(value).filter(|value| !value.is_null());
            match key {
                b"effort" => self.effort = value.and_then(Effort::of),
                b"summary" | b"generate_summary" => notes.lost_if_filled(Loss::ReasoningDisplay, value),
                _ => notes.lost_if_filled(Loss::Unknown, value),
            }
        }
    }

    fn read_text(&mut self, text: Option<Raw<'a>>, notes: &mut Notes) {
        for (key, value) in text.into_iter().flat_map(Raw::members) {
            let value = Some(value).filter(|value| !value.is_null());
            match key {
                b"format" => self.format = value,
                b"verbosity" => self.verbosity = value,
                _ => notes.lost_if_filled(Loss::Unknown, value),
            }
        }
    }
}

/// Notes what is lost with a member that chat does not have, or that only OpenAI's chat has.
fn note_lost(key: &[u8], value: Option<Raw<'_>>, notes: &mut Notes) {
    match key {
        b"previous_response_id" | b"conversation" | b"prompt" | b"background" => {
            notes.lost_if_filled(Loss::State, value.filter(|value| !value.is_false()));
        }
        b"store" => notes.lost_unless(Loss::Store, value, &["false"]),
        b"metadata" | b"client_metadata" => notes.lost_if_filled(Loss::Metadata, value),
        b"include" => notes.lost_if_filled(Loss::ReasoningDisplay, value),
        b"truncation" => notes.lost_unless(Loss::ContextManagement, value, &["\"disabled\""]),
        b"context_management" => notes.lost_if_filled(Loss::ContextManagement, value),
        b"service_tier" => notes.lost_unless(Loss::ServiceTier, value, &["\"auto\"", "\"default\""]),
        b"prompt_cache_key" | b"prompt_cache_retention" | b"prompt_cache_options" => {
            notes.lost_if_filled(Loss::CacheControl, value);
        }
        b"top_logprobs" => notes.lost_unless(Loss::Logprobs, value, &["0"]),
        // The first says how the stream is padded, the second counts calls of tools that the provider runs.
        b"stream_options" | b"max_tool_calls" => {}
        _ => notes.lost_if_filled(Loss::Unknown, value),
    }
}

/// Translates a Responses request.
pub(super) fn translate(
    body: Raw<'_>,
    terms: &RequestTerms<'_>,
    model: ChatModel,
    notes: &mut Notes,
) -> Result<Vec<u8>, Untranslatable> {
    let request = ResponsesRequest::of(body, notes);
    let mut to = Writer::after(Vec::with_capacity(body.bytes().len()));
    to.open_object();
    to.key("model").text(terms.model.as_bytes());
    to.key("messages").open_array();
    let before = to.len();
    write_messages(&request, model, &mut to, notes);
    if to.len() == before {
        return Err(Untranslatable::NoMessages);
    }
    to.close_array();
    let definitions = tools::definitions(request.tools, notes);
    let has_tools = !definitions.is_empty();
    if has_tools {
        definitions.write(&mut to);
        tools::write_choice(request.tool_choice, &definitions, &mut to, notes);
        if request.parallel_tool_calls.is_some_and(Raw::is_false) {
            to.key("parallel_tool_calls").literal(b"false");
        }
    }
    chat_settings::write_limit(request.max_output_tokens, model, &mut to);
    chat_settings::write_effort(request.effort, has_tools, model, &mut to, notes);
    write_format(request.format, &mut to, notes);
    write_verbosity(request.verbosity, model, &mut to, notes);
    chat_settings::write_sampling(request.temperature, request.top_p, model, &mut to, notes);
    chat_settings::write_user(request.safety_identifier.or(request.user), &mut to, notes);
    chat_settings::write_stream(request.stream, &mut to, notes);
    to.close_object();
    Ok(to.into_bytes())
}

fn write_messages(request: &ResponsesRequest<'_>, model: ChatModel, to: &mut Writer, notes: &mut Notes) {
    let mut items = Items::new(to, model.onward);
    for (text, is_input) in [(request.instructions, false), (request.input, true)] {
        match text {
            Some(text) if text.is_string() && is_input => items.question(text),
            Some(text) if text.is_string() => items.instructions(text),
            Some(list) => items.items(list, notes),
            None => {}
        }
    }
    items.finish(notes);
}

fn write_format(format: Option<Raw<'_>>, to: &mut Writer, notes: &mut Notes) {
    let Some(format) = format else { return };
    match format.get("type").and_then(Raw::escaped).unwrap_or_default() {
        b"text" => {}
        b"json_object" => to.key("response_format").literal(br#"{"type":"json_object"}"#),
        b"json_schema" => match format.get("schema") {
            Some(schema) => {
                let strict = format.get("strict").is_some_and(Raw::is_true);
                OutputSchema {
                    name: format.get("name"),
                    description: format.get("description"),
                    schema,
                    strict,
                }
                .write(to);
            }
            None => notes.lost(Loss::JsonSchema),
        },
        _ => notes.lost(Loss::Unknown),
    }
}

fn write_verbosity(verbosity: Option<Raw<'_>>, model: ChatModel, to: &mut Writer, notes: &mut Notes) {
    match verbosity {
        Some(verbosity) if model.verbosity => to.key("verbosity").raw(verbosity),
        verbosity => notes.lost_unless(Loss::Verbosity, verbosity, &["\"medium\""]),
    }
}
