//! Reads the answers of Messages.

use super::super::json::escape;
use super::finish::{Finish, fitting};
use super::order::MAX_CALLS;
use super::piece::{Call, Head, Piece, Put, Taken};
use super::reading::{DONE, Stage, fail, inside};
use super::terms::NotTranslated;
use crate::base::FinishReason;
use crate::base::json::{Json, Read, is_filled};
use crate::base::usage::{Counts, Sums};

/// The state of an answer.
#[derive(Debug, Default)]
pub(super) struct MessagesReader {
    stage: Stage,
    counts: Counts,
    calls: usize,
    open: Open,
}

/// The block that is open, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Open {
    /// A call of one of the client's tools whose arguments are to come, with its index.
    Call(u64),
    /// Text, reasoning, or what a tool of the provider says.
    #[default]
    Other,
}

/// What is of interest in an event.
#[derive(Default)]
struct Event<'e> {
    kind: Option<&'e [u8]>,
    index: u64,
    message: Message<'e>,
    part: Part<'e>,
    is_error: bool,
}

/// A message, or what a `message_delta` says of it.
#[derive(Default)]
struct Message<'e> {
    kind: &'e [u8],
    id: &'e [u8],
    model: &'e [u8],
    content: Option<&'e [u8]>,
    usage: Counts,
    finish: Option<FinishReason>,
    stop_sequence: Option<&'e [u8]>,
    /// Why the model refuses, in words.
    explanation: &'e [u8],
}

/// A block, or a delta of one.
#[derive(Default)]
struct Part<'e> {
    kind: &'e [u8],
    text: &'e [u8],
    thinking: &'e [u8],
    partial_json: &'e [u8],
    id: &'e [u8],
    name: &'e [u8],
    input: &'e [u8],
}

impl MessagesReader {
    /// Reads an event of a stream. The type in the data takes precedence over the event's name.
    pub(super) fn event(&mut self, name: &[u8], data: &[u8], put: Put<'_>) -> Taken {
        if matches!(data.trim_ascii(), b"" | DONE) {
            return Ok(());
        }
        let mut event = Event::default();
        Json::read_object(data, |key, json| event.read_member(key, json))?;
        match event.kind.unwrap_or(name) {
            b"error" => Err(NotTranslated),
            _ if event.is_error => Err(NotTranslated),
            b"message_start" => self.start(&event.message, put),
            b"content_block_start" => self.start_block(event.index, &event.part, put),
            b"content_block_delta" => self.delta(event.index, &event.part, put),
            b"message_delta" => self.message_delta(&event.message, put),
            b"message_stop" => {
                self.finish(&Message::default(), FinishReason::Stop, put)?;
                self.end(put)
            }
            _ => Ok(()),
        }
    }

    /// Reads a plain answer.
    pub(super) fn plain(&mut self, body: &[u8], put: Put<'_>) -> Taken {
        let mut message = Message::default();
        Json::read_object(body, |key, json| message.read_member(key, json))?;
        let Some(content) = message.content.filter(|_| message.kind != b"error") else {
            return Err(NotTranslated);
        };
        self.start(&message, put)?;
        let mut index = 0;
        Json::new(content).array(|json| {
            let mut part = Part::default();
            json.object(|key, json| part.read_member(key, json))?;
            index += 1;
            self.start_block(index, &part, put).map_err(fail)?;
            // In a stream, an empty input stands for one that is still to come. Here it is the input.
            match self.open {
                Open::Call(_) => put(Piece::Arguments(b"{}")).map_err(fail),
                _ => Ok(()),
            }
        })?;
        self.finish(&message, message.finish.unwrap_or(FinishReason::Stop), put)?;
        self.end(put)
    }

    /// Ends the answer if the model has ended.
    pub(super) fn end(&mut self, put: Put<'_>) -> Taken {
        if self.stage != Stage::Finished {
            return Ok(());
        }
        self.stage = Stage::Ended;
        put(Piece::End)
    }

    fn start(&mut self, message: &Message<'_>, put: Put<'_>) -> Taken {
        if self.stage != Stage::Awaited {
            return Ok(());
        }
        self.stage = Stage::Begun;
        self.count(&message.usage, put)?;
        put(Piece::Start(Head { id: message.id, model: message.model }))
    }

    fn count(&mut self, usage: &Counts, put: Put<'_>) -> Taken {
        if !usage.any() {
            return Ok(());
        }
        self.counts.update(usage);
        self.counts.usage(Sums::InputWithoutCache).map_or(Ok(()), |usage| put(Piece::Usage(usage)))
    }

    /// A block begins. Plain ones are whole.
    fn start_block(&mut self, index: u64, part: &Part<'_>, put: Put<'_>) -> Taken {
        self.open = Open::Other;
        match part.kind {
            b"tool_use" => self.start_call(index, part, put),
            b"text" => self.content(part.text, Piece::Text, put),
            b"thinking" => self.content(part.thinking, Piece::Reasoning, put),
            // What tools of the provider do, and reasoning that only its maker can read.
            _ => Ok(()),
        }
    }

    fn start_call(&mut self, index: u64, part: &Part<'_>, put: Put<'_>) -> Taken {
        self.calls += 1;
        if self.calls > MAX_CALLS || part.name.is_empty() {
            return Err(NotTranslated);
        }
        self.begun()?;
        put(Piece::Call(Call { id: part.id, name: part.name, ..Call::default() }))?;
        if !is_filled(part.input) {
            self.open = Open::Call(index);
            return Ok(());
        }
        let mut escaped = Vec::new();
        escape(part.input, &mut escaped);
        put(Piece::Arguments(&escaped))
    }

    fn delta(&mut self, index: u64, part: &Part<'_>, put: Put<'_>) -> Taken {
        match (part.kind, self.open) {
            (b"text_delta", _) => self.content(part.text, Piece::Text, put),
            (b"thinking_delta", _) => self.content(part.thinking, Piece::Reasoning, put),
            (b"input_json_delta", Open::Call(open)) if open == index => {
                self.content(part.partial_json, Piece::Arguments, put)
            }
            // Blocks come one after another. These arguments belong to another call.
            (b"input_json_delta", Open::Call(_)) if !part.partial_json.is_empty() => Err(NotTranslated),
            // Signatures are for their maker, and chat has no place for citations.
            _ => Ok(()),
        }
    }

    fn content<'a>(&self, text: &'a [u8], piece: fn(&'a [u8]) -> Piece<'a>, put: Put<'_>) -> Taken {
        if text.is_empty() {
            return Ok(());
        }
        self.begun()?;
        put(piece(text))
    }

    /// Content comes after the start and before the end.
    fn begun(&self) -> Taken {
        if self.stage == Stage::Begun { Ok(()) } else { Err(NotTranslated) }
    }

    fn message_delta(&mut self, message: &Message<'_>, put: Put<'_>) -> Taken {
        match message.finish {
            Some(reason) => self.finish(message, reason, put),
            None if self.stage == Stage::Ended => Ok(()),
            None => self.count(&message.usage, put),
        }
    }

    fn finish(&mut self, message: &Message<'_>, reason: FinishReason, put: Put<'_>) -> Taken {
        if reason == FinishReason::Error || self.stage == Stage::Awaited {
            return Err(NotTranslated);
        }
        if self.stage != Stage::Begun {
            return Ok(());
        }
        self.count(&message.usage, put)?;
        self.content(message.explanation, Piece::Refusal, put)?;
        self.stage = Stage::Finished;
        let reason = fitting(reason, self.calls > 0);
        put(Piece::Finish(Finish { reason, stop_sequence: message.stop_sequence }))
    }
}

impl<'e> Event<'e> {
    fn read_member(&mut self, key: &[u8], json: &mut Json<'e>) -> Read<()> {
        match key {
            b"type" => self.kind = Some(inside(json)?),
            b"index" => self.index = json.count()?.unwrap_or_default(),
            b"message" => {
                json.object(|key, json| self.message.read_member(key, json))?;
            }
            b"content_block" | b"delta" => {
                json.object(|key, json| match key {
                    b"stop_reason" | b"stop_sequence" | b"stop_details" => {
                        self.message.read_member(key, json)
                    }
                    _ => self.part.read_member(key, json),
                })?;
            }
            b"usage" => self.message.read_member(key, json)?,
            b"error" => self.is_error = is_filled(json.value()?),
            _ => drop(json.value()?),
        }
        Ok(())
    }
}

impl<'e> Message<'e> {
    fn read_member(&mut self, key: &[u8], json: &mut Json<'e>) -> Read<()> {
        match key {
            b"type" => self.kind = inside(json)?,
            b"id" => self.id = inside(json)?,
            b"model" => self.model = inside(json)?,
            b"content" if json.peek() == Some(b'[') => self.content = Some(json.value()?),
            b"usage" => self.usage = Counts::read_anthropic(json)?,
            b"stop_reason" => self.finish = json.text()?.and_then(FinishReason::from_wire),
            b"stop_sequence" => self.stop_sequence = Some(inside(json)?).filter(|text| !text.is_empty()),
            b"stop_details" => {
                json.object(|key, json| {
                    match key {
                        b"explanation" => self.explanation = inside(json)?,
                        _ => drop(json.value()?),
                    }
                    Ok(())
                })?;
            }
            _ => drop(json.value()?),
        }
        Ok(())
    }
}

impl<'e> Part<'e> {
    fn read_member(&mut self, key: &[u8], json: &mut Json<'e>) -> Read<()> {
        match key {
            b"type" => self.kind = inside(json)?,
            b"text" => self.text = inside(json)?,
            b"thinking" => self.thinking = inside(json)?,
            b"partial_json" => self.partial_json = inside(json)?,
            b"id" => self.id = inside(json)?,
            b"name" => self.name = inside(json)?,
            b"input" => self.input = json.value()?,
            _ => drop(json.value()?),
        }
        Ok(())
    }
}
