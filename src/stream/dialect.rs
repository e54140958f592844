//! What the events of a stream mean, and how the stream as a whole ends.
//!
//! **A stream is read to its end.** A status of 200 and a first token are no success: a success needs the
//! terminal event. So the breaker opens for a target whose streams break in the middle.
//!
//! **Doubtful events.** An event that is not understood counts as content: holding back a healthy stream is
//! worse than missing a failover. An event that declares an error is a failure, whatever surrounds it. But
//! only the dialect's error format counts, never text that reads like an error.

use crate::base::Endpoint;

use super::event::{Event, Form};
use super::meaning::{Answers, EventFailure, Meaning, Reading, StreamEnding, Substance, Terminal};
use super::{chat, gemini, media, messages, responses};
use crate::base::FinishReason;
use crate::base::json::{Json, is_filled};
use crate::base::usage::{Counts, Sums, Usage};
use crate::provider::is_flat_error;

/// The event format of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamDialect {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completions,
    /// `/v1/responses`
    Responses,
    /// `/v1/messages`
    Messages,
    /// `:streamGenerateContent?alt=sse`
    Gemini,
    /// `/v1/images/generations` and `/v1/audio/speech`
    Media,
}

impl StreamDialect {
    /// The dialect of an endpoint's streams; `None` if it does not stream.
    pub const fn of(endpoint: Endpoint) -> Option<Self> {
        match endpoint {
            Endpoint::Chat => Some(Self::Chat),
            Endpoint::Completions => Some(Self::Completions),
            Endpoint::Responses => Some(Self::Responses),
            Endpoint::Messages => Some(Self::Messages),
            Endpoint::Images | Endpoint::Speech => Some(Self::Media),
            Endpoint::Embeddings | Endpoint::CountTokens | Endpoint::Moderations | Endpoint::Rerank => None,
        }
    }

    pub(super) const fn sums(self) -> Sums {
        match self {
            Self::Chat | Self::Completions | Self::Responses | Self::Media => Sums::Totals,
            Self::Messages => Sums::InputWithoutCache,
            Self::Gemini => Sums::OutputWithoutReasoning,
        }
    }
}

/// The progress of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamPhase {
    Open,
    /// Open, and an event that was too large to read has passed.
    OpenUnwatched,
    Ended,
    Failed,
}

/// What the events of one stream have said so far. Fixed size: it keeps counts and reasons, never text.
#[derive(Debug, Clone)]
pub struct StreamState {
    dialect: StreamDialect,
    phase: StreamPhase,
    counts: Counts,
    finish: Option<FinishReason>,
    answers: Answers,
    events: u64,
    /// The last event brought content and nothing else.
    is_content_only: bool,
    has_content: bool,
    /// Output tokens were reported.
    is_paid: bool,
}

/// What has come of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamFacts {
    /// How many events have been read.
    pub events: u64,
    /// What the stream is if its bytes end here.
    pub ending: StreamEnding,
}

impl StreamState {
    /// A stream without any event.
    pub fn new(dialect: StreamDialect) -> Self {
        Self {
            dialect,
            phase: StreamPhase::Open,
            counts: Counts::default(),
            finish: None,
            answers: Answers::default(),
            events: 0,
            is_content_only: false,
            has_content: false,
            is_paid: false,
        }
    }

    /// The meaning of `event`. Usage, finish reasons and the end of the stream are remembered.
    pub fn read<'e>(&mut self, event: &Event<'e>) -> Meaning<'e> {
        self.events = self.events.saturating_add(1);
        let mut reading = interpret(self.dialect, event);
        if reading.meaning == Meaning::Malformed && self.phase == StreamPhase::Ended {
            // Clients have stopped reading.
            reading.meaning = Meaning::Empty;
        }
        if let Some(usage) = &reading.usage {
            self.counts.update(usage);
            self.is_paid |= self.is_paid_by(&reading, usage);
        }
        self.has_content |= reading.meaning.is_content() || reading.has_answer;
        self.is_content_only = reading.is_content_only() && event.form == Form::Whole;
        self.finish = reading.finish.or(self.finish);
        self.answers.add(reading.answers);
        self.phase = match (self.phase, reading.meaning) {
            (StreamPhase::Failed, _) | (_, Meaning::Failed(_)) => StreamPhase::Failed,
            (StreamPhase::Ended, _) | (_, Meaning::Terminal(_)) => StreamPhase::Ended,
            (StreamPhase::Open, _) if event.form == Form::Oversize => StreamPhase::OpenUnwatched,
            (phase, _) => phase,
        };
        reading.meaning
    }

    /// Whether an event reports output tokens that were spent. The count at the start of Anthropic's streams
    /// is a placeholder.
    fn is_paid_by(&self, reading: &Reading<'_>, usage: &Counts) -> bool {
        let is_final = self.dialect != StreamDialect::Messages || reading.finish.is_some();
        is_final && usage.usage(self.dialect.sums()).is_some_and(|usage| usage.is_paid())
    }

    /// Another event that [repeats](super::Pattern) one which brought content and nothing else.
    pub const fn repeat(&mut self) {
        self.events = self.events.saturating_add(1);
    }

    /// Whether the last event that was read brought content and nothing else, so that one which repeats it
    /// changes nothing.
    pub const fn is_content_only(&self) -> bool {
        self.is_content_only
    }

    /// Number of events read.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The dialect of the stream.
    pub const fn dialect(&self) -> StreamDialect {
        self.dialect
    }

    /// The tokens reported so far; `None` if none were.
    pub fn usage(&self) -> Option<Usage> {
        self.counts.usage(self.dialect.sums())
    }

    /// The last finish reason reported.
    pub const fn finish_reason(&self) -> Option<FinishReason> {
        self.finish
    }

    /// Whether the terminal event or a failure has come. Later events do not change the result.
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, StreamPhase::Ended | StreamPhase::Failed)
    }

    /// The number of choices with a finish reason, once every choice that has begun has one.
    pub const fn finished_choices(&self) -> Option<u32> {
        // Looked up first, because nearly every event comes before a finish reason.
        if self.finish.is_none() || !self.answers.all_finished() {
            return None;
        }
        Some(self.answers.finished())
    }

    /// Whether any content has come.
    pub const fn has_content(&self) -> bool {
        self.has_content
    }

    /// What the stream has brought, if its answer ends here.
    pub const fn substance(&self) -> Substance {
        if self.has_content {
            return Substance::Answer;
        }
        Substance::without_content(self.finish, self.is_paid)
    }

    /// What has come of the stream so far.
    pub const fn facts(&self) -> StreamFacts {
        StreamFacts { events: self.events, ending: self.ending() }
    }

    /// How the stream ended, if its bytes end here.
    pub const fn ending(&self) -> StreamEnding {
        let finished = self.answers.all_finished();
        match self.phase {
            StreamPhase::Failed => StreamEnding::Failed,
            StreamPhase::Ended if finished => StreamEnding::Complete,
            StreamPhase::Ended => StreamEnding::Unfinished,
            StreamPhase::Open | StreamPhase::OpenUnwatched if finished => match self.dialect {
                StreamDialect::Gemini | StreamDialect::Media => StreamEnding::Complete,
                _ => StreamEnding::NoTerminal,
            },
            StreamPhase::OpenUnwatched => StreamEnding::Unwatched,
            StreamPhase::Open => StreamEnding::Truncated,
        }
    }
}

fn interpret<'e>(dialect: StreamDialect, event: &Event<'e>) -> Reading<'e> {
    if event.name == b"error" {
        return Reading::of(Meaning::Failed(EventFailure::Error(error_in(event.data))));
    }
    let data = event.data.trim_ascii();
    if event.form != Form::Oversize {
        if data.is_empty() || is_ping(event.name) {
            return Reading::of(Meaning::Empty);
        }
        if data.starts_with(b"[DONE]") {
            return Reading::of(done(dialect));
        }
    }
    let read = match dialect {
        StreamDialect::Responses => responses::read(event),
        StreamDialect::Messages => messages::read(event),
        StreamDialect::Media => media::read(event),
        _ if event.form == Form::Oversize => Ok(Reading::of(Meaning::Unknown)),
        StreamDialect::Chat | StreamDialect::Completions => chat::read(data),
        StreamDialect::Gemini => gemini::read(data),
    };
    let reading = read.unwrap_or(Reading::of(match event.form {
        // Truncated: the client cannot use it, so it must not count as content.
        Form::Torn => Meaning::Empty,
        Form::Whole if is_skipped(dialect, event.name) => Meaning::Empty,
        Form::Whole => Meaning::Malformed,
        Form::Oversize => Meaning::Unknown,
    }));
    if reading.meaning == Meaning::Unknown && event.form != Form::Oversize {
        return foreign_event(data).map_or(reading, Reading::of);
    }
    reading
}

/// The sentinel of the chat dialects. Some servers send it in others, where it has no effect.
const fn done(dialect: StreamDialect) -> Meaning<'static> {
    match dialect {
        StreamDialect::Chat | StreamDialect::Completions => Meaning::Terminal(Terminal::Completed),
        StreamDialect::Responses | StreamDialect::Messages | StreamDialect::Gemini | StreamDialect::Media => {
            Meaning::Empty
        }
    }
}

/// Whether clients skip events of this name without reading their data. Anthropic's read only those they know.
fn is_skipped(dialect: StreamDialect, name: &[u8]) -> bool {
    let is_known = name.is_empty() || name.starts_with(b"message") || name.starts_with(b"content_block");
    dialect == StreamDialect::Messages && !is_known
}

/// Whether this is the name of an event that only keeps the connection open.
fn is_ping(name: &[u8]) -> bool {
    matches!(name, b"ping" | b"keepalive" | b"keep-alive" | b"heartbeat")
}

/// Events of no dialect with a known meaning: `{"type":"ping"}`, Gemini's error in an array of one, flat
/// errors, and values that can carry nothing.
fn foreign_event(data: &[u8]) -> Option<Meaning<'_>> {
    let mut ping = false;
    let mut error = None;
    let mut json = Json::new(data);
    let first = json.peek()?;
    if first == b'{' {
        json.object(|key, json| {
            match key {
                b"type" => ping = json.text()?.is_some_and(is_ping),
                _ => drop(json.value()?),
            }
            Ok(())
        })
        .ok()?;
        if is_flat_error(data) {
            return Some(Meaning::Failed(EventFailure::Flat(data)));
        }
    } else if first != b'[' {
        return Some(Meaning::Empty);
    } else {
        json.array(|json| {
            error = error.or(error_member(json));
            Ok(())
        })
        .ok()?;
    }
    match error {
        Some(error) => Some(Meaning::Failed(EventFailure::Error(error))),
        None => ping.then_some(Meaning::Empty),
    }
}

/// The error in the data of an event named `error`: its `error` member, or all of it.
fn error_in(data: &[u8]) -> &[u8] {
    error_member(&mut Json::new(data)).unwrap_or(data)
}

fn error_member<'e>(json: &mut Json<'e>) -> Option<&'e [u8]> {
    let mut error = None;
    let read = json.object(|key, json| {
        let raw = json.value()?;
        if key == b"error" && is_filled(raw) {
            error = Some(raw);
        }
        Ok(())
    });
    read.ok().and(error)
}

#[cfg(test)]
#[path = "dialect_tests.rs"]
mod tests;
