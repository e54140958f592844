//! Writes answers for clients of chat.

use std::mem;

use super::super::json::Writer;
use super::finish::{chat_reason, is_cut};
use super::ids::{answer_id, model_name};
use super::piece::{Call, Head, Piece, Taken};
use super::sse::push_data;
use super::terms::AnswerTerms;
use super::usage::write_chat;
use crate::base::FinishReason;
use crate::base::usage::Usage;

/// The prefix of an answer's id.
const ID: &str = "chatcmpl-";

/// The arguments of a call without arguments.
const NO_ARGUMENTS: &[u8] = b"{}";

/// Writes the members that an answer and each of its chunks have.
fn write_head(head: Head<'_>, object: &str, terms: &AnswerTerms, to: &mut Writer) {
    to.key("id").inside(&answer_id(ID, head.id, terms.seed));
    to.key("object").inside(object.as_bytes());
    to.key("created").count(terms.created);
    to.key("model").inside(&model_name(head.model, terms));
}

/// Writes a stream.
#[derive(Debug, Default)]
pub(super) struct ChatStream {
    /// The beginning of each chunk, up to its choices.
    head: Vec<u8>,
    usage: Option<Usage>,
    /// The calls that have begun.
    calls: u64,
    /// Whether the last call has no arguments yet.
    awaits_arguments: bool,
}

impl ChatStream {
    pub(super) fn take(&mut self, piece: Piece<'_>, terms: &AnswerTerms, out: &mut Vec<u8>) -> Taken {
        match piece {
            Piece::Start(head) => self.start(head, terms, out),
            Piece::Text(text) => self.delta(None, terms, out, |to| to.key("content").inside(text)),
            Piece::Refusal(text) => self.delta(None, terms, out, |to| to.key("refusal").inside(text)),
            Piece::Reasoning(text) => {
                self.delta(None, terms, out, |to| to.key("reasoning_content").inside(text));
            }
            // Only the providers of Messages answer these clients, and they do not say where a citation belongs.
            Piece::Citation(_) => {}
            Piece::Call(call) => self.call(&call, terms, out),
            Piece::Arguments(part) => self.arguments(part, terms, out),
            Piece::Usage(usage) => self.usage = Some(usage),
            Piece::Finish(finish) => {
                self.end_call(is_cut(finish.reason), terms, out);
                self.delta(Some(finish.reason), terms, out, |_| {});
            }
            Piece::End => self.end(terms, out),
        }
        Ok(())
    }

    fn start(&mut self, head: Head<'_>, terms: &AnswerTerms, out: &mut Vec<u8>) {
        let mut to = Writer::default();
        to.open_object();
        write_head(head, "chat.completion.chunk", terms, &mut to);
        self.head = to.into_bytes();
        self.delta(None, terms, out, |to| {
            to.key("role").literal(b"\"assistant\"");
            to.key("content").literal(b"\"\"");
        });
    }

    fn call(&mut self, call: &Call<'_>, terms: &AnswerTerms, out: &mut Vec<u8>) {
        self.end_call(false, terms, out);
        self.calls += 1;
        self.awaits_arguments = true;
        self.call_delta(terms, out, |to| {
            write_call(call, to, b"");
        });
    }

    fn arguments(&mut self, part: &[u8], terms: &AnswerTerms, out: &mut Vec<u8>) {
        self.awaits_arguments = false;
        self.call_delta(terms, out, |to| {
            to.key("function").object(|to| to.key("arguments").inside(part));
        });
    }

    /// A call without arguments gets an empty object, unless it was cut off.
    fn end_call(&mut self, is_cut: bool, terms: &AnswerTerms, out: &mut Vec<u8>) {
        if mem::take(&mut self.awaits_arguments) && !is_cut {
            self.arguments(NO_ARGUMENTS, terms, out);
        }
    }

    fn call_delta(&self, terms: &AnswerTerms, out: &mut Vec<u8>, members: impl FnOnce(&mut Writer)) {
        self.delta(None, terms, out, |to| {
            to.key("tool_calls").array(|to| {
                to.object(|to| {
                    to.key("index").count(self.calls.saturating_sub(1));
                    members(to);
                });
            });
        });
    }

    fn delta(
        &self,
        finish: Option<FinishReason>,
        terms: &AnswerTerms,
        out: &mut Vec<u8>,
        delta: impl FnOnce(&mut Writer),
    ) {
        self.chunk(out, |to| {
            to.key("choices").array(|to| {
                to.object(|to| {
                    to.key("index").count(0);
                    to.key("delta").object(delta);
                    to.key("logprobs").literal(b"null");
                    match finish {
                        Some(reason) => to.key("finish_reason").inside(chat_reason(reason).as_bytes()),
                        None => to.key("finish_reason").literal(b"null"),
                    }
                });
            });
            // Where the usage comes last, each chunk before says that it has none.
            if terms.context.include_usage {
                to.key("usage").literal(b"null");
            }
        });
    }

    fn chunk(&self, out: &mut Vec<u8>, members: impl FnOnce(&mut Writer)) {
        push_data(out, |to| {
            to.fragment(&self.head);
            members(to);
            to.close_object();
        });
    }

    fn end(&self, terms: &AnswerTerms, out: &mut Vec<u8>) {
        if terms.context.include_usage {
            self.chunk(out, |to| {
                to.key("choices").literal(b"[]");
                to.key("usage");
                write_chat(&self.usage.unwrap_or_default(), to);
            });
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

fn write_call(call: &Call<'_>, to: &mut Writer, arguments: &[u8]) {
    to.key("id").inside(call.id);
    to.key("type").literal(b"\"function\"");
    to.key("function").object(|to| {
        to.key("name").inside(call.name);
        to.key("arguments").inside(arguments);
    });
}

/// Writes a plain answer.
#[derive(Debug, Default)]
pub(super) struct ChatPlain {
    head: Vec<u8>,
    content: Vec<u8>,
    refusal: Vec<u8>,
    reasoning: Vec<u8>,
    calls: Writer,
    open: Option<OpenCall>,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
}

#[derive(Debug)]
struct OpenCall {
    id: Box<[u8]>,
    name: Box<[u8]>,
    arguments: Vec<u8>,
}

impl ChatPlain {
    pub(super) fn take(&mut self, piece: Piece<'_>, terms: &AnswerTerms, out: &mut Vec<u8>) -> Taken {
        match piece {
            Piece::Start(head) => {
                let mut to = Writer::default();
                to.open_object();
                write_head(head, "chat.completion", terms, &mut to);
                self.head = to.into_bytes();
            }
            Piece::Text(text) => self.content.extend_from_slice(text),
            Piece::Refusal(text) => self.refusal.extend_from_slice(text),
            Piece::Reasoning(text) => self.reasoning.extend_from_slice(text),
            Piece::Citation(_) => {}
            Piece::Call(call) => {
                self.end_call(false);
                let arguments = Vec::new();
                self.open = Some(OpenCall { id: call.id.into(), name: call.name.into(), arguments });
            }
            Piece::Arguments(part) => {
                if let Some(call) = &mut self.open {
                    call.arguments.extend_from_slice(part);
                }
            }
            Piece::Usage(usage) => self.usage = Some(usage),
            Piece::Finish(finish) => {
                self.end_call(is_cut(finish.reason));
                self.finish = Some(finish.reason);
            }
            Piece::End => self.end(out),
        }
        Ok(())
    }

    fn end_call(&mut self, is_cut: bool) {
        let Some(OpenCall { id, name, arguments }) = self.open.take() else { return };
        let arguments = if arguments.is_empty() && !is_cut { NO_ARGUMENTS } else { &arguments };
        let call = Call { id: &id, name: &name, ..Call::default() };
        self.calls.object(|to| write_call(&call, to, arguments));
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let mut to = Writer::after(mem::take(out));
        to.fragment(&self.head);
        to.key("choices").array(|to| {
            to.object(|to| {
                to.key("index").count(0);
                to.key("message").object(|to| self.write_message(to));
                to.key("logprobs").literal(b"null");
                let reason = chat_reason(self.finish.unwrap_or(FinishReason::Stop));
                to.key("finish_reason").inside(reason.as_bytes());
            });
        });
        if let Some(usage) = &self.usage {
            to.key("usage");
            write_chat(usage, &mut to);
        }
        to.close_object();
        *out = to.into_bytes();
    }

    fn write_message(&mut self, to: &mut Writer) {
        let calls = mem::take(&mut self.calls).into_bytes();
        to.key("role").literal(b"\"assistant\"");
        let has_other = !calls.is_empty() || !self.refusal.is_empty();
        write_or_null("content", &self.content, !has_other, to);
        write_or_null("refusal", &self.refusal, false, to);
        if !self.reasoning.is_empty() {
            to.key("reasoning_content").inside(&self.reasoning);
        }
        if !calls.is_empty() {
            to.key("tool_calls").array(|to| to.fragment(&calls));
        }
    }
}

fn write_or_null(key: &str, text: &[u8], is_needed: bool, to: &mut Writer) {
    if is_needed || !text.is_empty() {
        to.key(key).inside(text);
    } else {
        to.key(key).literal(b"null");
    }
}
