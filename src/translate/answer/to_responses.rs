//! Writes answers for clients of Responses.
//!
//! The last event repeats the whole output, so the output is kept. A plain answer is the response of the last
//! event alone.

use std::mem;

use super::super::json::Writer;
use super::finish::{incomplete_reason, is_cut};
use super::ids::{answer_id, model_name};
use super::piece::{Call, Citation, Head, Piece, Taken};
use super::response_item::{Item, Kind, PartNames, Status, write_citation};
use super::sse::push_typed;
use super::terms::{AnswerTerms, NotTranslated};
use super::usage::write_responses;
use crate::base::FinishReason;
use crate::base::usage::Usage;

/// The prefix of an answer's id.
const ID: &str = "resp_";

/// The most bytes of an output that are kept for the last event.
pub(super) const MAX_OUTPUT: usize = 8 << 20;

/// Members that clients expect and that only the provider of the dialect could fill.
const CONSTANT: &[u8] = br#""background":false,"error":null,"instructions":null,"max_output_tokens":null,"metadata":{},"parallel_tool_calls":true,"previous_response_id":null,"store":false,"temperature":null,"tool_choice":"auto","tools":[],"top_p":null,"truncation":"disabled""#;

/// Writes a stream or a plain answer.
#[derive(Debug, Default)]
pub(super) struct ResponsesWriter {
    is_plain: bool,
    /// The number of the next event.
    number: u64,
    id: Box<[u8]>,
    model: Box<[u8]>,
    /// The items that are done, with commas.
    output: Writer,
    /// The items that have begun.
    items: u64,
    open: Option<Item>,
    /// The text of the open item.
    text: Vec<u8>,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
}

/// The state of a response.
#[derive(Debug, Clone, Copy)]
enum State<'o> {
    Begun,
    Ended { output: &'o [u8] },
}

impl ResponsesWriter {
    /// A writer of streams.
    pub(super) fn stream() -> Self {
        Self::default()
    }

    /// A writer of plain answers.
    pub(super) fn plain() -> Self {
        Self { is_plain: true, ..Self::default() }
    }

    /// The number of the next event.
    pub(super) const fn next_number(&self) -> u64 {
        self.number
    }

    pub(super) fn take(&mut self, piece: Piece<'_>, terms: &AnswerTerms, out: &mut Vec<u8>) -> Taken {
        match piece {
            Piece::Start(head) => self.start(head, terms, out),
            Piece::Text(text) => self.text(Kind::Text, text, terms, out)?,
            Piece::Refusal(text) => self.text(Kind::Refusal, text, terms, out)?,
            Piece::Reasoning(text) => self.text(Kind::Reasoning, text, terms, out)?,
            Piece::Citation(citation) => self.cite(&citation, out)?,
            Piece::Call(call) => self.call(&call, terms, out)?,
            Piece::Arguments(part) => self.arguments(part, out)?,
            Piece::Usage(usage) => self.usage = Some(usage),
            Piece::Finish(finish) => {
                self.finish = Some(finish.reason);
                self.close(out)?;
            }
            Piece::End => self.end(terms, out),
        }
        Ok(())
    }

    fn start(&mut self, head: Head<'_>, terms: &AnswerTerms, out: &mut Vec<u8>) {
        self.id = answer_id(ID, head.id, terms.seed);
        self.model = model_name(head.model, terms).into();
        for name in ["response.created", "response.in_progress"] {
            self.push(name, out, |writer, to| {
                to.key("response");
                writer.write_response(State::Begun, terms, to);
            });
        }
    }

    fn text(&mut self, kind: Kind, text: &[u8], terms: &AnswerTerms, out: &mut Vec<u8>) -> Taken {
        if self.open.as_ref().is_none_or(|item| item.kind != kind) {
            self.begin(Item::new(kind, self.items, terms.seed), out)?;
        }
        let from = self.text.len();
        self.text.extend_from_slice(text);
        self.delta(from, out)
    }

    fn call(&mut self, call: &Call<'_>, terms: &AnswerTerms, out: &mut Vec<u8>) -> Taken {
        self.begin(Item::of_call(call, self.items, terms.seed), out)
    }

    fn arguments(&mut self, part: &[u8], out: &mut Vec<u8>) -> Taken {
        let from = self.text.len();
        match &mut self.open {
            Some(Item { kind: Kind::Custom, input, .. }) => input.take(part, &mut self.text)?,
            _ => self.text.extend_from_slice(part),
        }
        self.delta(from, out)
    }

    /// Adds a source to the text. Without an open text it has no place.
    fn cite(&mut self, citation: &Citation<'_>, out: &mut Vec<u8>) -> Taken {
        let Some(mut item) = self.open.take_if(|item| item.kind == Kind::Text) else { return Ok(()) };
        let number = item.cite(citation);
        self.push("response.output_text.annotation.added", out, |_, to| {
            write_place(&item, item.kind.names().part, to);
            to.key("annotation_index").count(number);
            to.key("annotation");
            write_citation(citation, to);
        });
        self.open = Some(item);
        self.check_size()
    }

    fn begin(&mut self, item: Item, out: &mut Vec<u8>) -> Taken {
        self.close(out)?;
        self.items += 1;
        self.push("response.output_item.added", out, |_, to| {
            to.key("output_index").count(item.index);
            to.key("item");
            item.write(Status::Begun, b"", to);
        });
        if let Some(part) = item.kind.names().part {
            self.push_part(&item, part.added, part, b"", out);
        }
        self.open = Some(item);
        Ok(())
    }

    /// Tells what has come since the text had the length `from`.
    fn delta(&mut self, from: usize, out: &mut Vec<u8>) -> Taken {
        self.check_size()?;
        let Some(item) = self.open.take() else { return Err(NotTranslated) };
        let text = mem::take(&mut self.text);
        let delta = text.get(from..).unwrap_or_default();
        if !delta.is_empty() {
            self.push_text(&item, item.kind.names().delta, "delta", delta, out);
        }
        self.text = text;
        self.open = Some(item);
        Ok(())
    }

    fn check_size(&self) -> Taken {
        let open = self.open.as_ref().map_or(0, Item::len);
        let kept = self.text.len().saturating_add(self.output.len()).saturating_add(open);
        if kept > MAX_OUTPUT { Err(NotTranslated) } else { Ok(()) }
    }

    fn close(&mut self, out: &mut Vec<u8>) -> Taken {
        let is_cut = self.finish.is_some_and(is_cut);
        // A call without arguments gets an empty object, unless it was cut off.
        if self.text.is_empty()
            && !is_cut
            && self.open.as_ref().is_some_and(|item| item.kind == Kind::Function)
        {
            self.arguments(b"{}", out)?;
        }
        let Some(item) = self.open.take() else { return Ok(()) };
        let mut text = mem::take(&mut self.text);
        let names = item.kind.names();
        self.push_text(&item, names.done, names.text, &text, out);
        if let Some(part) = names.part {
            self.push_part(&item, part.done, part, &text, out);
        }
        let status = if is_cut { Status::Incomplete } else { Status::Completed };
        self.push("response.output_item.done", out, |_, to| {
            to.key("output_index").count(item.index);
            to.key("item");
            item.write(status, &text, to);
        });
        item.write(status, &text, &mut self.output);
        text.clear();
        self.text = text;
        Ok(())
    }

    fn end(&mut self, terms: &AnswerTerms, out: &mut Vec<u8>) {
        let output = mem::take(&mut self.output).into_bytes();
        let state = State::Ended { output: &output };
        if self.is_plain {
            let mut to = Writer::after(mem::take(out));
            self.write_response(state, terms, &mut to);
            *out = to.into_bytes();
            return;
        }
        let is_complete = self.finish.and_then(incomplete_reason).is_none();
        let name = if is_complete { "response.completed" } else { "response.incomplete" };
        self.push(name, out, |writer, to| {
            to.key("response");
            writer.write_response(state, terms, to);
        });
    }

    /// Tells something of the text of an item.
    fn push_text(&mut self, item: &Item, name: &str, key: &str, text: &[u8], out: &mut Vec<u8>) {
        self.push(name, out, |_, to| {
            write_place(item, item.kind.names().part, to);
            to.key(key).inside(text);
            if item.kind == Kind::Text {
                to.key("logprobs").literal(b"[]");
            }
        });
    }

    fn push_part(&mut self, item: &Item, name: &str, part: PartNames, text: &[u8], out: &mut Vec<u8>) {
        self.push(name, out, |_, to| {
            write_place(item, Some(part), to);
            to.key("part");
            item.write_part(text, to);
        });
    }

    /// Appends an event with its number.
    fn push(&mut self, name: &str, out: &mut Vec<u8>, members: impl FnOnce(&Self, &mut Writer)) {
        if self.is_plain {
            return;
        }
        push_typed(name, out, |to| {
            to.key("sequence_number").count(self.number);
            members(self, to);
        });
        self.number += 1;
    }

    fn write_response(&self, state: State<'_>, terms: &AnswerTerms, to: &mut Writer) {
        let reason = self.finish.and_then(incomplete_reason);
        let (status, output) = match (state, reason) {
            (State::Begun, _) => ("in_progress", b"".as_slice()),
            (State::Ended { output }, None) => ("completed", output),
            (State::Ended { output }, Some(_)) => ("incomplete", output),
        };
        to.object(|to| {
            to.key("id").inside(&self.id);
            to.key("object").literal(b"\"response\"");
            to.key("created_at").count(terms.created);
            to.key("status").inside(status.as_bytes());
            to.literal(CONSTANT);
            to.key("model").inside(&self.model);
            match reason {
                None => to.key("incomplete_details").literal(b"null"),
                Some(reason) => {
                    to.key("incomplete_details").object(|to| to.key("reason").inside(reason.as_bytes()))
                }
            }
            to.key("output").array(|to| to.fragment(output));
            match (state, &self.usage) {
                (State::Ended { .. }, Some(usage)) => {
                    to.key("usage");
                    write_responses(usage, to);
                }
                _ => to.key("usage").literal(b"null"),
            }
        });
    }
}

/// Writes where an item, or its part, is.
fn write_place(item: &Item, part: Option<PartNames>, to: &mut Writer) {
    to.key("item_id").inside(&item.id);
    to.key("output_index").count(item.index);
    if let Some(part) = part {
        to.key(part.index).count(0);
    }
}
