//! The turns of Messages as the messages of a chat.

use super::super::super::json::{Raw, Writer};
use super::super::super::{Loss, ReasoningPolicy};
use super::super::chat_parts::{Answer, MOVED, Parts, push_paragraph, write_message, write_result};
use super::super::notes::Notes;
use super::super::{arguments, idents};
use super::blocks::{self, Block, Target};

/// Writes the system prompt, which is a string or an array of texts, as one message: many servers take only
/// one, and only a string.
pub(super) fn write_system(system: Option<Raw<'_>>, to: &mut Writer, notes: &mut Notes) {
    let Some(system) = system else { return };
    let mut text = Vec::new();
    push_paragraph(system, &mut text);
    for block in system.items() {
        let block = Block::of(block, notes);
        match block.text {
            Some(part) => push_paragraph(part, &mut text),
            None => notes.lost(Loss::Unknown),
        }
    }
    if !text.is_empty() {
        write_message("system", to, |to| to.string(|out| out.extend_from_slice(&text)));
    }
}

/// Writes a turn. Returns whether the assistant has the last word.
pub(super) fn write_turn(turn: Raw<'_>, to: &mut Writer, notes: &mut Notes) -> bool {
    let (mut role, mut content) = (None, None);
    for (key, value) in turn.members() {
        match key {
            b"role" => role = value.escaped(),
            b"content" => content = Some(value),
            _ => notes.lost_if_filled(Loss::Unknown, Some(value).filter(|value| !value.is_null())),
        }
    }
    let Some(content) = content else { return false };
    match role {
        Some(b"user") => write_user(content, to, notes),
        Some(b"assistant") => return write_assistant(content, to, notes),
        Some(b"system") => write_system(Some(content), to, notes),
        _ => notes.lost(Loss::Unknown),
    }
    false
}

/// The blocks of a turn. A text alone is the block of that text.
fn blocks<'a>(content: Raw<'a>, mut each: impl FnMut(Block<'a>, &mut Notes), notes: &mut Notes) {
    if content.is_string() {
        return each(Block { kind: b"text", text: Some(content), ..Block::default() }, notes);
    }
    for block in content.items() {
        let block = Block::of(block, notes);
        each(block, notes);
    }
}

/// Results become messages of their own, before what the user says beside them.
fn write_user<'a>(content: Raw<'a>, to: &mut Writer, notes: &mut Notes) {
    let mut said = Parts::default();
    let mut media = Parts::default();
    let each = |block: Block<'a>, notes: &mut Notes| match block.kind {
        b"tool_result" => add_result(&block, &mut media, to, notes),
        _ => blocks::add(&block, &mut Target::One(&mut said), notes),
    };
    blocks(content, each, notes);
    if !media.is_empty() {
        media.append(&said);
        said = media;
    }
    if !said.is_empty() {
        write_message("user", to, |to| said.write(b"\"\"", to));
    }
}

fn add_result<'a>(block: &Block<'a>, media: &mut Parts<'a>, to: &mut Writer, notes: &mut Notes) {
    if block.is_error {
        notes.lost(Loss::ToolError);
    }
    let mut texts = Parts::default();
    let mut moved = Parts::default();
    let mut target = Target::Split { texts: &mut texts, media: &mut moved };
    match block.content {
        Some(content) if content.is_string() => texts.text(content),
        Some(content) => {
            for part in content.items() {
                let part = Block::of(part, notes);
                blocks::add(&part, &mut target, notes);
            }
        }
        None => {}
    }
    let empty: &[u8] = if moved.is_empty() { b"\"\"" } else { MOVED };
    let id = idents::call_id(block.tool_use_id.unwrap_or(Raw::EMPTY_STRING));
    write_result(&id, &texts, empty, to);
    media.append(&moved);
}

fn write_assistant<'a>(content: Raw<'a>, to: &mut Writer, notes: &mut Notes) -> bool {
    let mut answer = Answer::default();
    let each = |block: Block<'a>, notes: &mut Notes| match block.kind {
        b"tool_use" => add_call(&block, &mut answer, notes),
        b"thinking" => add_thinking(&block, &mut answer, notes),
        _ => blocks::add(&block, &mut Target::Texts(&mut answer.parts), notes),
    };
    blocks(content, each, notes);
    answer.write(to);
    !answer.is_empty()
}

fn add_call(block: &Block<'_>, answer: &mut Answer<'_>, notes: &mut Notes) {
    let Some(name) = block.name else { return notes.lost(Loss::Unknown) };
    let id = idents::call_id(block.id.unwrap_or(Raw::EMPTY_STRING));
    let name = notes.tool_name(name, None);
    answer.call(&id, &name, |to| arguments::write_string(block.input, to));
}

/// Signed thinking can be read only by its maker.
fn add_thinking(block: &Block<'_>, answer: &mut Answer<'_>, notes: &mut Notes) {
    let signed = block.signature.is_some_and(Raw::is_filled);
    match block.thinking {
        Some(thinking) if notes.reasoning == ReasoningPolicy::Keep && !signed => {
            push_paragraph(thinking, &mut answer.reasoning);
        }
        _ => notes.lost(Loss::PastReasoning),
    }
}
