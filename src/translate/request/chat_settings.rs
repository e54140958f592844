//! Settings of a chat request that is written for a certain model.

use super::super::Loss;
use super::super::json::{Raw, Writer};
use super::chat_model::ChatModel;
use super::effort::Effort;
use super::notes::Notes;

/// How many stop sequences OpenAI takes.
const MAX_STOPS: usize = 4;

/// Writes the limit of the answer under the name that the model knows.
pub(super) fn write_limit(limit: Option<Raw<'_>>, model: ChatModel, to: &mut Writer) {
    if let Some(limit) = limit {
        to.key(model.limit).raw(limit);
    }
}

/// Writes `reasoning_effort` as the model takes it.
pub(super) fn write_effort(
    effort: Option<Effort>,
    has_tools: bool,
    model: ChatModel,
    to: &mut Writer,
    notes: &mut Notes,
) {
    let wanted = effort.is_some_and(|effort| effort > Effort::None);
    if wanted {
        notes.asks_for_reasoning();
    }
    let none = has_tools && model.tools_without_reasoning;
    let taken = if none { Some(Effort::None) } else { effort.and_then(|effort| model.effort(effort)) };
    if wanted && (none || taken.is_none()) {
        notes.lost(Loss::Reasoning);
    }
    if let Some(taken) = taken {
        to.key("reasoning_effort").text(taken.name().as_bytes());
    }
}

/// Writes `temperature` and `top_p`, if the model takes them.
pub(super) fn write_sampling(
    temperature: Option<Raw<'_>>,
    top_p: Option<Raw<'_>>,
    model: ChatModel,
    to: &mut Writer,
    notes: &mut Notes,
) {
    for (key, value) in [("temperature", temperature), ("top_p", top_p)] {
        let Some(value) = value else { continue };
        if model.sampling {
            to.key(key).raw(value);
        } else if value.number() != Some(1.0) {
            notes.lost(Loss::Temperature);
        }
    }
}

/// Writes `stop`, if the model takes it.
pub(super) fn write_stop(stop: Option<Raw<'_>>, model: ChatModel, to: &mut Writer, notes: &mut Notes) {
    let Some(stop) = stop.filter(|stop| stop.is_filled()) else { return };
    if !model.stop {
        return notes.lost(Loss::Stop);
    }
    if stop.items().nth(MAX_STOPS).is_some() {
        notes.lost(Loss::Stop);
    }
    to.key("stop").array(|to| stop.items().take(MAX_STOPS).for_each(|stop| to.raw(stop)));
}

/// Writes `stream`. Usage is always asked for: the client's dialect always reports it.
pub(super) fn write_stream(stream: Option<Raw<'_>>, to: &mut Writer, notes: &mut Notes) {
    notes.context.streamed = stream.is_some_and(Raw::is_true);
    if notes.context.streamed {
        to.key("stream").literal(b"true");
        to.key("stream_options").literal(br#"{"include_usage":true}"#);
    }
}

/// The longest `user`.
const MAX_USER_BYTES: usize = 64;

/// Writes `user`, if it is short enough.
pub(super) fn write_user(user: Option<Raw<'_>>, to: &mut Writer, notes: &mut Notes) {
    let Some(user) = user.filter(|user| user.is_string() && user.is_filled()) else { return };
    if user.bytes().len() <= MAX_USER_BYTES {
        to.key("user").raw(user);
    } else {
        notes.lost(Loss::Metadata);
    }
}

/// A JSON schema for the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutputSchema<'a> {
    pub(super) name: Option<Raw<'a>>,
    pub(super) description: Option<Raw<'a>>,
    pub(super) schema: Raw<'a>,
    pub(super) strict: bool,
}

impl OutputSchema<'_> {
    /// Writes `response_format`.
    pub(super) fn write(&self, to: &mut Writer) {
        /// OpenAI wants a name.
        const NAME: &[u8] = b"\"answer\"";
        to.key("response_format").object(|to| {
            to.key("type").text(b"json_schema");
            to.key("json_schema").object(|to| {
                to.key("name").literal(self.name.map_or(NAME, Raw::bytes));
                if let Some(description) = self.description {
                    to.key("description").raw(description);
                }
                to.key("schema").raw(self.schema);
                if self.strict {
                    to.key("strict").literal(b"true");
                }
            });
        });
    }
}
