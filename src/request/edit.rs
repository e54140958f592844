//! Writes another model name, or a request for usage, into a body that the host holds.
//!
//! The host's buffer can be changed only at its front and its end. A model near the front costs one rewrite
//! of the prefix. Many SDKs send the model after megabytes of messages. A rewrite of the prefix would then
//! need all those megabytes in Wasm memory, which never shrinks. Instead, the body is rotated once: windows
//! are removed from the front and appended at the end.

use std::rc::Rc;

use super::facts::{Facts, ModelField};
use super::plain_run::plain_run;
use super::token::Span;
use crate::base::Few;

/// The longest read from the buffer, and the longest prefix that is rewritten in one piece.
pub const EDIT_WINDOW_BYTES: usize = 64 * 1024;

/// The host's body buffer, with the operations that the host offers.
pub trait BodyBuffer {
    /// The host's error.
    type Error;

    /// Returns the `len` bytes from `start`.
    ///
    /// # Errors
    /// The host call failed.
    fn read(&mut self, start: usize, len: usize) -> Result<Vec<u8>, Self::Error>;

    /// Replaces the first `len` bytes by `with`.
    ///
    /// # Errors
    /// The host call failed.
    fn replace_front(&mut self, len: usize, with: &[u8]) -> Result<(), Self::Error>;

    /// Appends `bytes`.
    ///
    /// # Errors
    /// The host call failed.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Takes back what [`read`](Self::read) has returned, so that the next read may use its memory.
    fn reuse(&mut self, _bytes: Vec<u8>) {}
}

/// Why an edit failed. The buffer may hold part of the edit, so the body must not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError<E> {
    /// The host call failed.
    #[error("the host's body buffer rejected an edit")]
    Buffer(E),
    /// The buffer returned another number of bytes than requested.
    #[error("the host's body buffer returned {got} bytes instead of {asked}")]
    Length {
        /// The number of bytes requested.
        asked: usize,
        /// The number of bytes returned.
        got: usize,
    },
}

/// The changes to one body: the target's model name, and optionally a request for usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyEdit {
    /// Ordered, disjoint and not empty.
    changes: Few<Change, USUAL_CHANGES>,
    model: NewName,
    asks_for_usage: bool,
}

/// A body has one model, and one place to ask for usage.
const USUAL_CHANGES: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Change {
    span: Span,
    with: With,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum With {
    #[default]
    Model,
    /// Replaces the brace at the beginning of a body without a model by itself and the model.
    Member {
        asks_for_usage: bool,
    },
    Text(&'static [u8]),
}

const MEMBER: &[u8] = br#"{"model":"#;
const MEMBER_AND_USAGE: &[u8] = br#"{"stream_options":{"include_usage":true},"model":"#;

/// What a [`With::Member`] begins with.
const fn beginning(asks_for_usage: bool) -> &'static [u8] {
    if asks_for_usage { MEMBER_AND_USAGE } else { MEMBER }
}

/// The new name of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NewName {
    /// A name that is written between quotes as it is.
    Plain(Rc<str>),
    /// A JSON string.
    Quoted(Vec<u8>),
}

impl NewName {
    fn of(name: Rc<str>) -> Self {
        if plain_run(name.as_bytes()) == name.len() { Self::Plain(name) } else { Self::escaped(&name) }
    }

    #[cold]
    #[inline(never)]
    fn escaped(name: &str) -> Self {
        Self::Quoted(serde_json::Value::from(name).to_string().into_bytes())
    }

    fn len(&self) -> usize {
        match self {
            Self::Plain(name) => name.len() + 2,
            Self::Quoted(quoted) => quoted.len(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Plain(name) => {
                out.push(b'"');
                out.extend_from_slice(name.as_bytes());
                out.push(b'"');
            }
            Self::Quoted(quoted) => out.extend_from_slice(quoted),
        }
    }
}

impl BodyEdit {
    /// The edit that replaces every model of the scanned body by `new_model`. It changes nothing if the body
    /// has one model that already equals `new_model` when decoded.
    pub fn of_model(facts: &Facts, new_model: impl Into<Rc<str>>) -> Self {
        let new_model = new_model.into();
        let spans = &facts.model_spans;
        let same =
            matches!(&facts.model, ModelField::Text { value } if *value == *new_model) && spans.len() == 1;
        let changed = spans.iter().filter(|_| !same);
        Self {
            changes: changed.map(|span| Change { span: *span, with: With::Model }).collect(),
            model: NewName::of(new_model),
            asks_for_usage: false,
        }
    }

    /// Adds the model if the body has none. The body's object must have a member.
    pub fn or_adding_it(mut self, facts: &Facts) -> Self {
        if facts.model_spans.is_empty() {
            let with = With::Member { asks_for_usage: false };
            self.insert(Change { span: facts.usage_spots.brace(), with });
        }
        self
    }

    /// The edit that replaces these spans of a body by `quoted`. The spans must be ordered and disjoint.
    pub fn of_spans(spans: impl Iterator<Item = Span>, quoted: &[u8]) -> Self {
        let changes = spans.map(|span| Change { span, with: With::Model }).collect();
        Self { changes, model: NewName::Quoted(quoted.to_vec()), asks_for_usage: false }
    }

    /// Adds `stream_options.include_usage: true` to the edit, if the body allows it.
    pub fn asking_for_usage(mut self, facts: &Facts) -> Self {
        let has_model = !facts.model_spans.is_empty() || !self.changes.is_empty();
        if let Some(changes) = facts.usage_spots.changes().filter(|_| has_model) {
            for (span, text) in changes {
                match self.changes.first_mut() {
                    Some(Change { span: at, with: With::Member { asks_for_usage } }) if *at == span => {
                        *asks_for_usage = true;
                    }
                    _ => self.insert(Change { span, with: With::Text(text) }),
                }
            }
            self.asks_for_usage = true;
        }
        self
    }

    /// Removes these spans, too. They must be ordered, and disjoint from each other and from what is changed.
    pub fn without(mut self, spans: &[Span]) -> Self {
        self.changes.extend(spans.iter().map(|span| Change { span: *span, with: With::Text(b"") }));
        self.changes.sort_unstable_by_key(|change| change.span.start);
        self
    }

    /// Adds a change in the order of the body.
    fn insert(&mut self, change: Change) {
        let place = self.changes.partition_point(|earlier| earlier.span.start < change.span.start);
        let len = self.changes.len();
        self.changes.push(change);
        self.changes.copy_within(place..len, place + 1);
        if let Some(free) = self.changes.get_mut(place) {
            *free = change;
        }
    }

    /// Whether the edit adds a request for usage.
    pub const fn asks_for_usage(&self) -> bool {
        self.asks_for_usage
    }

    /// Whether the edit changes nothing.
    pub fn is_noop(&self) -> bool {
        self.changes.is_empty()
    }

    /// The length of the edited body.
    pub fn new_length(&self, old: usize) -> usize {
        let added: usize = self.changes.iter().map(|change| self.len_of(change.with)).sum();
        let removed: usize = self.changes.iter().map(|change| change.span.len()).sum();
        (old + added).saturating_sub(removed)
    }

    fn len_of(&self, with: With) -> usize {
        match with {
            With::Model => self.model.len(),
            With::Member { asks_for_usage } => {
                beginning(asks_for_usage).len().saturating_add(self.model.len()).saturating_add(1)
            }
            With::Text(text) => text.len(),
        }
    }

    fn write(&self, with: With, out: &mut Vec<u8>) {
        match with {
            With::Model => self.model.write(out),
            With::Member { asks_for_usage } => {
                out.extend_from_slice(beginning(asks_for_usage));
                self.model.write(out);
                out.push(b',');
            }
            With::Text(text) => out.extend_from_slice(text),
        }
    }

    /// Edits a body of `body_len` bytes that is completely in the buffer, and returns its new length.
    ///
    /// No read is longer than [`EDIT_WINDOW_BYTES`]. No write is longer than that plus the inserted text.
    ///
    /// # Errors
    /// The buffer failed; the body must not be sent.
    pub fn apply_held<B: BodyBuffer>(
        &self,
        buffer: &mut B,
        body_len: usize,
    ) -> Result<usize, EditError<B::Error>> {
        self.apply_at(0, buffer, body_len)
    }

    /// Like [`apply_held`](Self::apply_held), for a body that has already been read and is at most
    /// [`EDIT_WINDOW_BYTES`] long. If one place changes, `body` is edited in place.
    ///
    /// # Errors
    /// The buffer failed; the body must not be sent.
    pub fn apply_known<B: BodyBuffer>(
        &self,
        buffer: &mut B,
        mut body: Vec<u8>,
    ) -> Result<usize, EditError<B::Error>> {
        let len = body.len();
        let touched = self.touched(0, len);
        if touched == 0 {
            return Ok(len);
        }
        body.truncate(touched);
        match *self.changes {
            [Change { span, with }] => {
                body.truncate(span.start);
                self.write(with, &mut body);
            }
            _ => body = self.edited(0, &body),
        }
        buffer.replace_front(touched, &body).map_err(EditError::Buffer)?;
        Ok(len - touched + body.len())
    }

    fn rewrite_front<B: BodyBuffer>(
        &self,
        offset: usize,
        buffer: &mut B,
        front: &[u8],
        len: usize,
    ) -> Result<usize, EditError<B::Error>> {
        let new = self.edited(offset, front);
        buffer.replace_front(front.len(), &new).map_err(EditError::Buffer)?;
        Ok(len - front.len() + new.len())
    }

    /// Edits the `len` bytes in the buffer, which start at `offset` of the body.
    fn apply_at<B: BodyBuffer>(
        &self,
        offset: usize,
        buffer: &mut B,
        len: usize,
    ) -> Result<usize, EditError<B::Error>> {
        let touched = self.touched(offset, len);
        if touched == 0 {
            Ok(len)
        } else if touched <= EDIT_WINDOW_BYTES {
            let front = read_exactly(buffer, touched)?;
            self.rewrite_front(offset, buffer, &front, len)
        } else {
            self.rotate(offset, buffer, len)
        }
    }

    /// Moves everything from the front to the end, window by window, and edits it on the way.
    fn rotate<B: BodyBuffer>(
        &self,
        offset: usize,
        buffer: &mut B,
        len: usize,
    ) -> Result<usize, EditError<B::Error>> {
        let mut done = 0;
        let mut new_len = 0;
        while done < len {
            let window = EDIT_WINDOW_BYTES.min(len - done);
            let new = self.edited(offset + done, &read_exactly(buffer, window)?);
            // Append first, so that the buffer is never empty: a host may take an empty buffer for the end of
            // the body.
            buffer.append(&new).map_err(EditError::Buffer)?;
            buffer.replace_front(window, b"").map_err(EditError::Buffer)?;
            done += window;
            new_len += new.len();
        }
        Ok(new_len)
    }

    /// How many of the `len` bytes from `offset` the edit must read: up to the end of the last span in them.
    fn touched(&self, offset: usize, len: usize) -> usize {
        let end = offset.saturating_add(len);
        let mut spans = self.changes.iter().map(|change| change.span);
        let last = spans.rfind(|span| span.start < end && span.end > offset);
        last.map_or(0, |span| span.end.min(end) - offset)
    }

    /// Edits `bytes`, which start at `offset` of the body. The new value is written where a span begins; the
    /// rest of the span, also in later windows, is dropped.
    fn edited(&self, offset: usize, bytes: &[u8]) -> Vec<u8> {
        let added = self.changes.iter().map(|change| self.len_of(change.with)).sum::<usize>();
        let mut new = Vec::with_capacity(bytes.len() + added);
        let mut kept_to = 0;
        for Change { span, with } in &self.changes {
            let start = span.start.saturating_sub(offset).min(bytes.len());
            new.extend_from_slice(bytes.get(kept_to..start).unwrap_or_default());
            if span.start >= offset && start < bytes.len() {
                self.write(*with, &mut new);
            }
            kept_to = kept_to.max(span.end.saturating_sub(offset).min(bytes.len()));
        }
        new.extend_from_slice(bytes.get(kept_to..).unwrap_or_default());
        new
    }
}

/// Edits a body chunk by chunk. Chunks without a change are not read.
#[derive(Debug)]
pub struct StreamEditor {
    edit: BodyEdit,
    offset: usize,
}

impl StreamEditor {
    /// An editor before the first chunk.
    pub const fn new(edit: BodyEdit) -> Self {
        Self { edit, offset: 0 }
    }

    /// Edits the next `chunk_len` bytes of the body, which are all that the buffer holds, and returns their
    /// new length. Reads and writes are bounded as in [`BodyEdit::apply_held`].
    ///
    /// # Errors
    /// The buffer failed; the body must not be sent.
    pub fn edit_chunk<B: BodyBuffer>(
        &mut self,
        buffer: &mut B,
        chunk_len: usize,
    ) -> Result<usize, EditError<B::Error>> {
        let new_len = self.edit.apply_at(self.offset, buffer, chunk_len)?;
        self.offset = self.offset.saturating_add(chunk_len);
        Ok(new_len)
    }
}

fn read_exactly<B: BodyBuffer>(buffer: &mut B, asked: usize) -> Result<Vec<u8>, EditError<B::Error>> {
    let bytes = buffer.read(0, asked).map_err(EditError::Buffer)?;
    match bytes.len() {
        got if got == asked => Ok(bytes),
        got => Err(EditError::Length { asked, got }),
    }
}
