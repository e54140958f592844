//! The messages of a chat as a system prompt and turns.

use super::super::super::Loss;
use super::super::super::json::{Raw, Writer};
use super::super::notes::{MAX_NOTED_TOOLS, Notes};
use super::super::{arguments, idents};
use super::parts::{self, Place};
use super::turns::{End, Turns};

/// Around the text of a system message in the middle of a conversation. Most models of Messages take none
/// there, and at the beginning it would say something else and spoil the prompt cache.
const SYSTEM_BEGIN: &[u8] = b"<system>\\n";
const SYSTEM_END: &[u8] = b"\\n</system>";

/// Reads the messages of a chat. The turns are written, and the rest is kept.
#[derive(Debug)]
pub(super) struct Conversation<'w> {
    /// The blocks of the system prompt.
    pub(super) system: Writer,
    /// The names of the tools that were called, each once.
    pub(super) called: Vec<Box<[u8]>>,
    turns: Turns<'w>,
    begun: bool,
}

impl<'w> Conversation<'w> {
    /// A conversation of which the turns are written to `to`.
    pub(super) fn new(to: &'w mut Writer) -> Self {
        Self { system: Writer::default(), called: Vec::new(), turns: Turns::new(to), begun: false }
    }

    /// Reads the next message.
    pub(super) fn add(&mut self, message: Raw<'_>, notes: &mut Notes) {
        let message = Message::of(message, notes);
        let role = message.role.and_then(Raw::escaped).unwrap_or_default();
        let is_system = matches!(role, b"system" | b"developer");
        self.begun |= !is_system;
        match role {
            _ if is_system && !self.begun => {
                parts::write(message.content, Place::TextOnly, &mut self.system, notes);
            }
            _ if is_system => self.turns.user(|to| write_instruction(message.content, to, notes)),
            b"user" => self.turns.user(|to| parts::write(message.content, Place::User, to, notes)),
            b"assistant" => self.add_answer(&message, notes),
            b"tool" => self.add_result(&message, notes),
            _ => notes.lost(Loss::Unknown),
        }
    }

    /// Ends the turns. Returns how they end, the system prompt, and the names of the tools that were called.
    pub(super) fn finish(self) -> (End, Writer, Vec<Box<[u8]>>) {
        (self.turns.finish(), self.system, self.called)
    }

    fn add_answer(&mut self, message: &Message<'_>, notes: &mut Notes) {
        let called = &mut self.called;
        self.turns.assistant(|to| {
            parts::write(message.content, Place::TextOnly, to, notes);
            if let Some(refusal) = message.refusal {
                parts::write_text(refusal, to);
            }
            for call in message.tool_calls.into_iter().flat_map(Raw::items) {
                write_call(call, called, to, notes);
            }
        });
    }

    fn add_result(&mut self, message: &Message<'_>, notes: &mut Notes) {
        let id = idents::call_id(message.tool_call_id.unwrap_or(Raw::EMPTY_STRING));
        let mut content = Writer::default();
        parts::write(message.content, Place::User, &mut content, notes);
        self.turns.result(|to| {
            to.key("type").text(b"tool_result");
            to.key("tool_use_id").text(&id);
            if content.len() > 0 {
                to.key("content").array(|to| to.literal(content.as_bytes()));
            }
        });
    }
}

fn write_instruction(content: Option<Raw<'_>>, to: &mut Writer, notes: &mut Notes) {
    let Some(content) = content else { return };
    if content.is_string() {
        return write_instruction_text(content, to);
    }
    for part in content.items() {
        match part.get("text") {
            Some(text) => write_instruction_text(text, to),
            None => notes.lost(Loss::Unknown),
        }
    }
}

fn write_instruction_text(text: Raw<'_>, to: &mut Writer) {
    let Some(escaped) = text.escaped().filter(|_| !text.is_blank()) else { return };
    to.object(|to| {
        to.key("type").text(b"text");
        to.key("text").string(|out| {
            [SYSTEM_BEGIN, escaped, SYSTEM_END].iter().for_each(|part| out.extend_from_slice(part));
        });
    });
}

fn write_call(call: Raw<'_>, called: &mut Vec<Box<[u8]>>, to: &mut Writer, notes: &mut Notes) {
    let (function, custom) = (call.get("function"), call.get("custom"));
    let Some(tool) = function.or(custom) else { return notes.lost(Loss::Unknown) };
    let Some(name) = tool.get("name") else { return notes.lost(Loss::Unknown) };
    let name = notes.tool_name(name, None);
    if called.len() < MAX_NOTED_TOOLS && !called.iter().any(|known| **known == *name) {
        called.push(name.as_ref().into());
    }
    to.object(|to| {
        to.key("type").text(b"tool_use");
        to.key("id").text(&idents::call_id(call.get("id").unwrap_or(Raw::EMPTY_STRING)));
        to.key("name").text(&name);
        to.key("input");
        if function.is_some() {
            arguments::write_object(tool.get("arguments"), to);
        } else {
            to.object(|to| to.key("input").raw(tool.get("input").unwrap_or(Raw::EMPTY_STRING)));
        }
    });
}

/// The members of a message.
#[derive(Default)]
struct Message<'a> {
    role: Option<Raw<'a>>,
    content: Option<Raw<'a>>,
    refusal: Option<Raw<'a>>,
    tool_calls: Option<Raw<'a>>,
    tool_call_id: Option<Raw<'a>>,
}

impl<'a> Message<'a> {
    fn of(message: Raw<'a>, notes: &mut Notes) -> Self {
        let mut read = Self::default();
        for (key, value) in message.members() {
            let value = Some(value).filter(|value| !value.is_null());
            match key {
                b"role" => read.role = value,
                b"content" => read.content = value,
                b"refusal" => read.refusal = value,
                b"tool_calls" => read.tool_calls = value,
                b"tool_call_id" => read.tool_call_id = value,
                // Answers have these, and clients send answers back as they are.
                b"annotations" => notes.lost_if_filled(Loss::Citations, value),
                b"reasoning_content" | b"reasoning" | b"reasoning_details" => {
                    notes.lost_if_filled(Loss::PastReasoning, value);
                }
                // Names of participants, and of the tool whose result it is.
                b"name" => notes.lost_if_filled(Loss::Metadata, value),
                b"audio" => notes.lost_if_filled(Loss::Audio, value),
                b"cache_control" => notes.lost_if_filled(Loss::CacheControl, value),
                _ => notes.lost_if_filled(Loss::Unknown, value),
            }
        }
        read
    }
}
