//! Writes answers for clients of Messages.

use super::super::json::{Raw, Writer, quoted};
use super::super::request::arguments::write_object;
use super::finish::{Finish, messages_reason};
use super::ids::{answer_id, model_name};
use super::piece::{Call, Head, Piece, Taken};
use super::sse::push_typed;
use super::terms::{AnswerTerms, NotTranslated};
use super::usage::write_messages;
use crate::base::FinishReason;
use crate::base::usage::Usage;

/// The prefix of an answer's id.
const ID: &str = "msg_";

/// A kind of block: its beginning, and the name and member of its deltas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Text,
    Thinking,
    Call,
}

impl Block {
    const fn delta(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("text_delta", "text"),
            Self::Thinking => ("thinking_delta", "thinking"),
            Self::Call => ("input_json_delta", "partial_json"),
        }
    }

    /// Writes the members of a block of text. Clients expect a signature, and only the maker of the reasoning
    /// could give one.
    fn write_text(self, text: &[u8], to: &mut Writer) {
        let (kind, member) = if self == Self::Thinking { ("thinking", "thinking") } else { ("text", "text") };
        to.key("type").inside(kind.as_bytes());
        to.key(member).inside(text);
        if self == Self::Thinking {
            to.key("signature").literal(b"\"\"");
        }
    }
}

/// How an answer ended.
#[derive(Debug, Default)]
struct End {
    reason: Option<FinishReason>,
    stop_sequence: Option<Box<[u8]>>,
    /// The model has refused in words, for which Messages has a reason but no place.
    has_refusal: bool,
}

impl End {
    fn set(&mut self, finish: &Finish<'_>) {
        self.reason = Some(match finish.reason {
            FinishReason::Stop | FinishReason::Other if self.has_refusal => FinishReason::ContentFilter,
            reason => reason,
        });
        self.stop_sequence = finish.stop_sequence.map(Into::into);
    }

    fn write(&self, to: &mut Writer) {
        let reason = self.reason.unwrap_or(FinishReason::Stop);
        let reason = messages_reason(reason, self.stop_sequence.is_some());
        to.key("stop_reason").inside(reason.as_bytes());
        match self.stop_sequence.as_deref().filter(|_| reason == "stop_sequence") {
            Some(sequence) => to.key("stop_sequence").inside(sequence),
            None => to.key("stop_sequence").literal(b"null"),
        }
    }
}

fn write_head(id: &[u8], model: &[u8], to: &mut Writer) {
    to.key("id").inside(id);
    to.key("type").literal(b"\"message\"");
    to.key("role").literal(b"\"assistant\"");
    to.key("model").inside(model);
}

fn write_call(call: &Call<'_>, to: &mut Writer) {
    to.key("type").literal(b"\"tool_use\"");
    to.key("id").inside(call.id);
    to.key("name").inside(call.name);
}

/// Writes a stream.
#[derive(Debug, Default)]
pub(super) struct MessagesStream {
    usage: Usage,
    /// The blocks that have begun. The last one may be open.
    blocks: u64,
    open: Option<Block>,
    end: End,
}

impl MessagesStream {
    pub(super) fn take(&mut self, piece: Piece<'_>, terms: &AnswerTerms, out: &mut Vec<u8>) -> Taken {
        match piece {
            Piece::Start(head) => self.start(head, terms, out),
            Piece::Text(text) => self.text(Block::Text, text, out),
            Piece::Reasoning(text) => self.text(Block::Thinking, text, out),
            Piece::Refusal(text) => {
                self.end.has_refusal = true;
                self.text(Block::Text, text, out);
            }
            // Messages has citations of what its own tools have found.
            Piece::Citation(_) => {}
            Piece::Call(call) => self.begin(Block::Call, out, |to| {
                write_call(&call, to);
                to.key("input").literal(b"{}");
            }),
            Piece::Arguments(part) => self.delta(Block::Call, part, out),
            Piece::Usage(usage) => self.usage = usage,
            Piece::Finish(finish) => {
                self.close(out);
                self.end.set(&finish);
            }
            Piece::End => self.finish(out),
        }
        Ok(())
    }

    fn start(&self, head: Head<'_>, terms: &AnswerTerms, out: &mut Vec<u8>) {
        push_typed("message_start", out, |to| {
            to.key("message").object(|to| {
                write_head(&answer_id(ID, head.id, terms.seed), &model_name(head.model, terms), to);
                to.key("content").literal(b"[]");
                to.key("stop_reason").literal(b"null");
                to.key("stop_sequence").literal(b"null");
                to.key("usage");
                write_messages(&self.usage, to);
            });
        });
    }

    fn text(&mut self, block: Block, text: &[u8], out: &mut Vec<u8>) {
        if self.open != Some(block) {
            self.begin(block, out, |to| block.write_text(b"", to));
        }
        self.delta(block, text, out);
    }

    fn begin(&mut self, block: Block, out: &mut Vec<u8>, members: impl FnOnce(&mut Writer)) {
        self.close(out);
        push_typed("content_block_start", out, |to| {
            to.key("index").count(self.blocks);
            to.key("content_block").object(members);
        });
        self.open = Some(block);
        self.blocks += 1;
    }

    fn delta(&self, block: Block, text: &[u8], out: &mut Vec<u8>) {
        let (kind, member) = block.delta();
        push_typed("content_block_delta", out, |to| {
            to.key("index").count(self.last());
            to.key("delta").object(|to| {
                to.key("type").inside(kind.as_bytes());
                to.key(member).inside(text);
            });
        });
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            push_typed("content_block_stop", out, |to| to.key("index").count(self.last()));
        }
    }

    const fn last(&self) -> u64 {
        self.blocks.saturating_sub(1)
    }

    fn finish(&self, out: &mut Vec<u8>) {
        push_typed("message_delta", out, |to| {
            to.key("delta").object(|to| self.end.write(to));
            to.key("usage");
            write_messages(&self.usage, to);
        });
        push_typed("message_stop", out, |_| {});
    }
}

/// Writes a plain answer.
#[derive(Debug, Default)]
pub(super) struct MessagesPlain {
    id: Box<[u8]>,
    model: Box<[u8]>,
    usage: Usage,
    content: Writer,
    open: Option<Block>,
    /// The text or the arguments of the open block.
    text: Vec<u8>,
    end: End,
}

impl MessagesPlain {
    pub(super) fn take(&mut self, piece: Piece<'_>, terms: &AnswerTerms, out: &mut Vec<u8>) -> Taken {
        match piece {
            Piece::Start(head) => {
                self.id = answer_id(ID, head.id, terms.seed);
                self.model = model_name(head.model, terms).into();
            }
            Piece::Text(text) => self.text(Block::Text, text)?,
            Piece::Reasoning(text) => self.text(Block::Thinking, text)?,
            Piece::Refusal(text) => {
                self.end.has_refusal = true;
                self.text(Block::Text, text)?;
            }
            Piece::Citation(_) => {}
            Piece::Call(call) => {
                self.close()?;
                self.open = Some(Block::Call);
                self.content.open_object();
                write_call(&call, &mut self.content);
            }
            Piece::Arguments(part) => self.text.extend_from_slice(part),
            Piece::Usage(usage) => self.usage = usage,
            Piece::Finish(finish) => {
                self.close()?;
                self.end.set(&finish);
            }
            Piece::End => self.finish(out),
        }
        Ok(())
    }

    fn text(&mut self, block: Block, text: &[u8]) -> Taken {
        if self.open != Some(block) {
            self.close()?;
            self.open = Some(block);
        }
        self.text.extend_from_slice(text);
        Ok(())
    }

    fn close(&mut self) -> Taken {
        match self.open.take() {
            None => return Ok(()),
            Some(Block::Call) => self.close_call()?,
            Some(block) => self.content.object(|to| block.write_text(&self.text, to)),
        }
        self.text.clear();
        Ok(())
    }

    fn close_call(&mut self) -> Taken {
        let arguments = quoted(&self.text);
        let arguments = Raw::of(&arguments).ok_or(NotTranslated)?;
        self.content.key("input");
        write_object(Some(arguments), &mut self.content);
        self.content.close_object();
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        let content = std::mem::take(&mut self.content).into_bytes();
        let mut to = Writer::after(std::mem::take(out));
        to.object(|to| {
            write_head(&self.id, &self.model, to);
            to.key("content").array(|to| to.fragment(&content));
            self.end.write(to);
            to.key("usage");
            write_messages(&self.usage, to);
        });
        *out = to.into_bytes();
    }
}
