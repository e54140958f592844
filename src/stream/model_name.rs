//! Finds where a response names the model that gave it, while the response passes.
//!
//! **Why only on request.** By default the `model` of a response stays as the provider sent it, and
//! `x-llm-model` gives the logical name without touching a byte. `response_model: logical` replaces the name
//! in the body, for clients that compare the two or must not see a substitute. That costs a second reading of
//! each byte, here, and a write of each chunk with a name (`src/answer/model_names.rs`).
//!
//! **Where the names are.** A response that is not a stream names its model once, at the top level. A stream
//! names it in all or some of its events, at the top level or in the event's object. The result is the
//! offsets of these strings in the response. Values of other types are ignored. Each byte is read once, and
//! only the current key and the offsets are kept, so an event may have any length.
//!
//! An event is held to its end anyway, so an event that turns out not to be a JSON object stays unchanged.
//! Other responses cannot be held, so a name that is cut in two waits in the host's buffer.

use std::ops::Range;

use memchr::memchr2;

use super::dialect::StreamDialect;
use crate::request::{Container, Lexer, ScanError, Sink, Span, Value, Want};

/// The longest name that is found, in bytes including its quotes. It bounds how much of a response is held
/// for the end of a name. A longer name stays.
pub const MAX_MODEL_NAME: usize = 1024;

/// The most names in one event or non-streamed response. More than one means a duplicate key, which no
/// provider sends. An event with more names stays unchanged. In another response, which cannot be taken back,
/// the first ones are found.
pub const MAX_MODEL_NAMES: usize = 8;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const DATA: &[u8] = b"data:";

/// Finds the names in one response.
#[derive(Debug)]
pub struct ModelFinder {
    /// `None` for a response that is not a stream.
    events: Option<Events>,
    document: Document,
    /// Bytes read.
    position: u64,
    found: Vec<Range<u64>>,
}

/// The progress within the lines of a stream, the same as those of [`Framer`](super::Framer).
#[derive(Debug)]
struct Events {
    line: Line,
    after_cr: bool,
    /// The current event has data. Further data lines are joined with a line feed.
    has_data: bool,
    /// Offset at or before the start of the current event.
    start: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// The first line of the stream, of which this many bytes match a byte order mark.
    First(usize),
    /// This many bytes match `data:`.
    Field(usize),
    /// A space may follow the colon.
    Colon,
    Data,
    Other,
}

/// One JSON document.
#[derive(Debug)]
struct Document {
    lexer: Lexer,
    names: Names,
    readable: bool,
    /// Bytes of it that have been read.
    read: u64,
    /// The difference between its offsets and those of the response.
    shift: u64,
    count: usize,
}

impl ModelFinder {
    /// For a response that is not a stream.
    pub const fn of_answer() -> Self {
        Self { events: None, document: Document::new(None), position: 0, found: Vec::new() }
    }

    /// For a stream.
    pub const fn of_stream(dialect: StreamDialect) -> Self {
        let within: Option<&[u8]> = match dialect {
            StreamDialect::Responses => Some(b"response"),
            StreamDialect::Messages => Some(b"message"),
            StreamDialect::Chat
            | StreamDialect::Completions
            | StreamDialect::Gemini
            | StreamDialect::Media => None,
        };
        let events = Events { line: Line::First(0), after_cr: false, has_data: false, start: 0 };
        Self { events: Some(events), document: Document::new(within), position: 0, found: Vec::new() }
    }

    /// Reads the next piece, of any length.
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.events {
            None => self.document.feed(bytes, self.position, &mut self.found),
            Some(events) => events.feed(bytes, self.position, &mut self.document, &mut self.found),
        }
        self.position = self.position.saturating_add(bytes.len() as u64);
    }

    /// The response is over. An event that lacks only its end still counts.
    pub fn finish(&mut self) {
        if let Some(events) = &mut self.events {
            events.end_event(self.position, &mut self.document, &mut self.found);
        }
    }

    /// Bytes read so far.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The ranges of the names, including quotes, in order. Names in an event that turns out not to be a JSON
    /// object are removed at its end, so a caller must not act on them before.
    pub fn found(&self) -> &[Range<u64>] {
        &self.found
    }

    /// Forgets the names that begin before `offset`.
    pub fn forget_before(&mut self, offset: u64) {
        let gone = self.found.partition_point(|name| name.start < offset);
        self.found.drain(..gone);
    }

    /// How many of the last bytes are the beginning of a name; 0 if they are not, or if it is too long
    /// already.
    pub fn open_name(&self) -> usize {
        let Some(start) = self.document.open_name() else { return 0 };
        let open = usize::try_from(self.position.saturating_sub(start)).unwrap_or(usize::MAX);
        if open <= MAX_MODEL_NAME { open } else { 0 }
    }
}

impl Events {
    fn feed(&mut self, bytes: &[u8], position: u64, document: &mut Document, found: &mut Vec<Range<u64>>) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let offset = position.saturating_add(at as u64);
            let after_cr = std::mem::take(&mut self.after_cr);
            if byte == b'\n' && after_cr {
                at += 1;
                continue;
            }
            if matches!(byte, b'\n' | b'\r') {
                self.after_cr = byte == b'\r';
                if matches!(self.line, Line::First(0 | 3) | Line::Field(0)) {
                    self.end_event(offset.saturating_add(1), document, found);
                }
                self.line = Line::Field(0);
                at += 1;
                continue;
            }
            let rest = bytes.get(at..).unwrap_or_default();
            at += match self.line {
                Line::Data => {
                    let data = memchr2(b'\n', b'\r', rest).and_then(|end| rest.get(..end)).unwrap_or(rest);
                    document.feed(data, offset, found);
                    data.len()
                }
                Line::Other => memchr2(b'\n', b'\r', rest).unwrap_or(rest.len()),
                Line::Colon => {
                    self.line = Line::Data;
                    usize::from(byte == b' ')
                }
                Line::First(3) => self.next(Line::Field(0), 0),
                Line::First(read) if BYTE_ORDER_MARK.get(read) == Some(&byte) => {
                    self.next(Line::First(read + 1), 1)
                }
                Line::First(0) => self.next(Line::Field(0), 0),
                Line::Field(read) if DATA.get(read) == Some(&byte) => {
                    let all = read + 1 == DATA.len();
                    if all && std::mem::replace(&mut self.has_data, true) {
                        document.feed(b"\n", offset, found);
                    }
                    self.next(if all { Line::Colon } else { Line::Field(read + 1) }, 1)
                }
                Line::First(_) | Line::Field(_) => self.next(Line::Other, 1),
            };
        }
    }

    const fn next(&mut self, line: Line, read: usize) -> usize {
        self.line = line;
        read
    }

    fn end_event(&mut self, end: u64, document: &mut Document, found: &mut Vec<Range<u64>>) {
        if !document.is_whole() {
            let kept = found.partition_point(|name| name.start < self.start);
            found.truncate(kept);
        }
        document.restart();
        self.has_data = false;
        self.start = end;
    }
}

impl Document {
    const fn new(within: Option<&'static [u8]>) -> Self {
        let names = Names { within, depth: 0, inside: false, next: Member::Other, found: Vec::new() };
        Self { lexer: Lexer::new(), names, readable: true, read: 0, shift: 0, count: 0 }
    }

    /// Reads on; `offset` is the position of these bytes in the response.
    fn feed(&mut self, bytes: &[u8], offset: u64, found: &mut Vec<Range<u64>>) {
        if !self.readable {
            return;
        }
        // A string contains no line end, so a name found here is on the same line as these bytes.
        self.shift = offset.wrapping_sub(self.read);
        self.readable = self.lexer.feed(bytes, &mut self.names).is_ok();
        self.read = self.read.saturating_add(bytes.len() as u64);
        for span in self.names.found.drain(..) {
            self.count = self.count.saturating_add(1);
            if self.count <= MAX_MODEL_NAMES && span.len() <= MAX_MODEL_NAME {
                let at = |start: usize| self.shift.wrapping_add(start as u64);
                found.push(at(span.start)..at(span.end));
            }
        }
    }

    /// Whether it is complete and valid.
    fn is_whole(&self) -> bool {
        self.readable && self.count <= MAX_MODEL_NAMES && self.lexer.finish().is_ok()
    }

    fn open_name(&self) -> Option<u64> {
        let start = self.lexer.open_string().filter(|_| self.names.next == Member::Model && self.readable)?;
        (self.count < MAX_MODEL_NAMES).then(|| self.shift.wrapping_add(start as u64))
    }

    fn restart(&mut self) {
        self.lexer.restart();
        let Names { depth, inside, next, found, .. } = &mut self.names;
        (*depth, *inside, *next) = (0, false, Member::Other);
        found.clear();
        (self.readable, self.read, self.count) = (true, 0, 0);
    }
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Other,
    /// The object that contains the model.
    Within,
    Model,
}

#[derive(Debug)]
struct Names {
    /// The member of the document that contains the model; `None` if the document itself does.
    within: Option<&'static [u8]>,
    depth: u8,
    /// Whether that member is open.
    inside: bool,
    next: Member,
    /// Names found in the last piece.
    found: Vec<Span>,
}

impl Sink for Names {
    #[inline]
    fn key(&mut self, key: Option<&[u8]>) {
        self.next = match (key, self.depth, self.within) {
            (Some(b"model"), 1, None) => Member::Model,
            (Some(b"model"), 2, Some(_)) if self.inside => Member::Model,
            (Some(key), 1, Some(within)) if key == within => Member::Within,
            _ => Member::Other,
        };
    }

    #[inline]
    fn want(&self) -> Want {
        Want::Length
    }

    #[inline]
    fn scalar(&mut self, value: Value<'_>, span: Span) -> Result<(), ScanError> {
        let member = std::mem::replace(&mut self.next, Member::Other);
        if member == Member::Model
            && matches!(value, Value::Text { .. })
            // One more than the limit, to show that there were too many.
            && self.found.len() <= MAX_MODEL_NAMES
        {
            self.found.push(span);
        }
        Ok(())
    }

    fn open(&mut self, container: Container, _start: usize) -> Result<(), ScanError> {
        let member = std::mem::replace(&mut self.next, Member::Other);
        if member == Member::Within {
            self.inside = container == Container::Object;
        }
        self.depth = self.depth.saturating_add(1);
        Ok(())
    }

    fn close(&mut self, _end: usize) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth <= 1 {
            self.inside = false;
        }
        self.next = Member::Other;
    }
}

#[cfg(test)]
#[path = "model_name_tests.rs"]
mod tests;
