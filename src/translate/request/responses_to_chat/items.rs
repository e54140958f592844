//! The items of Responses as the messages of a chat.
//!
//! Items that the model wrote in one go become one message of the assistant. In a chat the results of calls
//! follow the calls at once. So an item that stands between a call and its result waits for the result.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::super::super::json::{Raw, Writer};
use super::super::super::{Loss, ReasoningPolicy};
use super::super::chat_parts::{Answer, MOVED, Parts, push_paragraph, write_message, write_result};
use super::super::notes::Notes;
use super::super::{arguments, idents};
use super::parts;

/// How many items can wait for the results of calls. If there are more, the results are not waited for.
const MAX_WAITING: usize = 64;

/// How many calls can be open at a time. The results of others are not waited for.
const MAX_OPEN: usize = 128;

/// The members of an item.
#[derive(Debug, Clone, Copy, Default)]
struct Item<'a> {
    kind: &'a [u8],
    role: &'a [u8],
    content: Option<Raw<'a>>,
    call_id: Option<Raw<'a>>,
    name: Option<Raw<'a>>,
    namespace: Option<Raw<'a>>,
    arguments: Option<Raw<'a>>,
    input: Option<Raw<'a>>,
    output: Option<Raw<'a>>,
    encrypted: bool,
}

impl<'a> Item<'a> {
    fn of(item: Raw<'a>) -> Self {
        let mut read = Self::default();
        for (key, value) in item.members() {
            let value = Some(value).filter(|value| !value.is_null());
            match key {
                b"type" => read.kind = value.and_then(Raw::escaped).unwrap_or_default(),
                b"role" => read.role = value.and_then(Raw::escaped).unwrap_or_default(),
                b"content" => read.content = value,
                b"call_id" => read.call_id = value,
                b"name" => read.name = value,
                b"namespace" => read.namespace = value,
                b"arguments" => read.arguments = value,
                b"input" => read.input = value,
                b"output" => read.output = value,
                b"encrypted_content" => read.encrypted = value.is_some_and(Raw::is_filled),
                // The rest says how the provider keeps the item.
                _ => {}
            }
        }
        if read.kind.is_empty() && !read.role.is_empty() {
            read.kind = b"message";
        }
        read
    }

    fn id(&self) -> Cow<'a, [u8]> {
        idents::call_id(self.call_id.unwrap_or(Raw::EMPTY_STRING))
    }

    const fn is_result(&self) -> bool {
        matches!(self.kind, b"function_call_output" | b"custom_tool_call_output")
    }

    const fn is_said(&self) -> bool {
        matches!(self.kind, b"message") && !matches!(self.role, b"assistant")
    }
}

/// Writes the items as the elements of `messages`.
#[derive(Debug)]
pub(super) struct Items<'a, 'w> {
    to: &'w mut Writer,
    onward: bool,
    /// The system prompt so far, as the inside of a string. `None` once the conversation has begun.
    system: Option<Vec<u8>>,
    /// What the model wrote and that is not written yet.
    answer: Answer<'a>,
    /// The ids of the calls without results.
    open: Vec<Cow<'a, [u8]>>,
    /// The items that wait until no call is open.
    waiting: Vec<Item<'a>>,
    /// Images and files of results. They follow in a message of the user.
    media: Parts<'a>,
}

impl<'a, 'w> Items<'a, 'w> {
    pub(super) fn new(to: &'w mut Writer, onward: bool) -> Self {
        Self {
            to,
            onward,
            system: Some(Vec::new()),
            answer: Answer::default(),
            open: Vec::new(),
            waiting: Vec::new(),
            media: Parts::default(),
        }
    }

    /// Adds a text of the system prompt.
    pub(super) fn instructions(&mut self, text: Raw<'a>) {
        if let Some(system) = &mut self.system {
            push_paragraph(text, system);
        }
    }

    /// Adds what the user says.
    pub(super) fn question(&mut self, text: Raw<'a>) {
        self.begin();
        self.write_parts("user", |parts| parts.text(text));
    }

    /// Adds items.
    pub(super) fn items(&mut self, items: Raw<'a>, notes: &mut Notes) {
        for item in items.items() {
            // An item that ends the waiting lets others go on, and they may open calls in turn.
            let mut next = VecDeque::from([Item::of(item)]);
            while let Some(item) = next.pop_front() {
                if self.must_wait(&item) {
                    self.waiting.push(item);
                } else {
                    self.add(&item, notes);
                }
                if self.waiting.len() >= MAX_WAITING {
                    self.open.clear();
                }
                if self.open.is_empty() {
                    self.waiting.drain(..).rev().for_each(|item| next.push_front(item));
                }
            }
        }
    }

    /// Writes what is left.
    pub(super) fn finish(mut self, notes: &mut Notes) {
        for item in std::mem::take(&mut self.waiting) {
            self.add(&item, notes);
        }
        self.begin();
        self.complete();
    }

    fn must_wait(&self, item: &Item<'_>) -> bool {
        let ends_waiting = item.is_result() && self.open.contains(&item.id());
        let results_have_begun = self.answer.is_empty();
        let waits = item.is_said() || results_have_begun || !self.waiting.is_empty();
        !self.open.is_empty() && waits && !ends_waiting
    }

    fn add(&mut self, item: &Item<'a>, notes: &mut Notes) {
        match item.kind {
            b"message" => self.add_message(item, notes),
            b"function_call" | b"custom_tool_call" => self.add_call(item, notes),
            b"function_call_output" | b"custom_tool_call_output" => self.add_result(item, notes),
            b"reasoning" => self.add_reasoning(item, notes),
            b"item_reference" | b"compaction" | b"context_compaction" => notes.lost(Loss::State),
            kind if is_hosted(kind) => notes.lost(Loss::HostedTools),
            _ => notes.lost(Loss::Unknown),
        }
    }

    fn add_message(&mut self, item: &Item<'a>, notes: &mut Notes) {
        match item.role {
            b"assistant" => {
                self.begin();
                if self.answer.calls.len() == 0 && !self.answer.parts.is_empty() {
                    self.complete();
                }
                let mut media = Parts::default();
                parts::add(item.content, &mut self.answer.parts, Some(&mut media), self.onward, notes);
                if !media.is_empty() {
                    notes.lost(Loss::Images);
                }
            }
            b"user" => {
                self.begin();
                let onward = self.onward;
                self.write_parts("user", |to| parts::add(item.content, to, None, onward, notes));
            }
            b"system" | b"developer" => self.add_instructions(item, notes),
            _ => notes.lost(Loss::Unknown),
        }
    }

    /// Instructions at the beginning become one message: many servers take only one.
    fn add_instructions(&mut self, item: &Item<'a>, notes: &mut Notes) {
        let onward = self.onward;
        let Some(system) = &mut self.system else {
            return self.write_parts("system", |to| parts::add(item.content, to, None, onward, notes));
        };
        let Some(content) = item.content else { return };
        push_paragraph(content, system);
        for part in content.items() {
            match part.get("text") {
                Some(text) => push_paragraph(text, system),
                None => notes.lost(Loss::Unknown),
            }
        }
    }

    fn add_call(&mut self, item: &Item<'a>, notes: &mut Notes) {
        let Some(name) = item.name else { return notes.lost(Loss::Unknown) };
        self.begin();
        let id = item.id();
        let name = notes.tool_name(name, item.namespace);
        if item.kind == b"custom_tool_call" {
            self.answer.call(&id, &name, |to| arguments::write_plain(item.input, to));
        } else {
            let arguments =
                item.arguments.filter(|arguments| arguments.is_string()).unwrap_or(Raw::EMPTY_STRING);
            self.answer.call(&id, &name, |to| to.raw(arguments));
        }
        if self.open.len() < MAX_OPEN {
            self.open.push(id);
        }
    }

    fn add_result(&mut self, item: &Item<'a>, notes: &mut Notes) {
        self.begin();
        self.complete_answer();
        let id = item.id();
        self.open.retain(|open| *open != id);
        let mut texts = Parts::default();
        let mut moved = Parts::default();
        let media = Some(&mut moved).filter(|_| !self.onward);
        parts::add(item.output, &mut texts, media, self.onward, notes);
        let empty: &[u8] = if moved.is_empty() { b"\"\"" } else { MOVED };
        write_result(&id, &texts, empty, self.to);
        self.media.append(&moved);
    }

    /// Encrypted reasoning can be read only by its maker. A summary is no reasoning.
    fn add_reasoning(&mut self, item: &Item<'a>, notes: &mut Notes) {
        let content = item.content.filter(|content| content.is_filled());
        match content {
            Some(content) if notes.reasoning == ReasoningPolicy::Keep && !item.encrypted => {
                for text in content.items().filter_map(|part| part.get("text")) {
                    push_paragraph(text, &mut self.answer.reasoning);
                }
            }
            _ => notes.lost(Loss::PastReasoning),
        }
    }

    /// Writes the message of `role` with the parts that `fill` adds.
    fn write_parts(&mut self, role: &str, fill: impl FnOnce(&mut Parts<'a>)) {
        self.complete_answer();
        if role != "user" {
            self.complete_media();
        }
        let mut parts = std::mem::take(&mut self.media);
        fill(&mut parts);
        if !parts.is_empty() {
            write_message(role, self.to, |to| parts.write(b"\"\"", to));
        }
    }

    /// Ends the system prompt.
    fn begin(&mut self) {
        if let Some(system) = self.system.take().filter(|system| !system.is_empty()) {
            write_message("system", self.to, |to| to.string(|out| out.extend_from_slice(&system)));
        }
    }

    /// Writes what the model wrote, and then what could not stand in results.
    fn complete(&mut self) {
        self.complete_answer();
        self.complete_media();
    }

    /// Writes what the model wrote. What could not stand in the results before it comes first.
    fn complete_answer(&mut self) {
        let answer = std::mem::take(&mut self.answer);
        if !answer.is_empty() {
            self.complete_media();
            answer.write(self.to);
        }
    }

    fn complete_media(&mut self) {
        let media = std::mem::take(&mut self.media);
        if !media.is_empty() {
            write_message("user", self.to, |to| media.write(b"\"\"", to));
        }
    }
}

/// Whether an item belongs to a tool that the provider runs or defines.
fn is_hosted(kind: &[u8]) -> bool {
    kind.starts_with(b"mcp_") || [b"_call".as_slice(), b"_output"].iter().any(|end| kind.ends_with(end))
}
