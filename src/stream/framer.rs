//! Splits a server-sent event stream into events, independent of how its bytes are chunked.
//!
//! **Why not collect until a blank line and split then?** That scans a long event again with every chunk and
//! copies every short one. This framer reads each byte once. An event that lies whole in a chunk is passed on
//! as slices of the chunk, and only an incomplete event is buffered. Bytes are never decoded, so a character
//! split across chunks needs no special care.
//!
//! **Grammar.** It follows the WHATWG event stream grammar (LF, CR and CRLF mixed, a byte order mark, one
//! optional space after the colon, `data` lines joined by LF, comments). There are three departures, because
//! client libraries do the same or because the filter must know. It reports an event with a name but no data,
//! an event truncated by the end of the stream ([`Form::Torn`]), and an event that is too large to read
//! ([`Form::Oversize`]). `id` and `retry` are ignored.
//!
//! A comment yields no event. It only shows that the connection is alive.

use std::mem;
use std::ops::Range;

use memchr::memchr2;

use super::event::{Event, Form};

/// The most bytes that one event may span and still be read, including field names and line ends: 1 MiB.
pub const MAX_EVENT: usize = 1 << 20;

/// Buffer capacity kept between events. A Wasm memory never shrinks, so the memory of a large event should at
/// least be free for the next allocation.
pub const KEPT_CAPACITY: usize = 64 * 1024;

/// Event names are cut to this length. The longest name of any dialect is well below, so a cut name equals
/// none.
pub const MAX_NAME: usize = 64;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// State of the current line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// No byte has come.
    Unbegun,
    /// It has begun, and its bytes are at the end of the buffer.
    Kept,
    /// It has begun, and its bytes do not matter: a comment, or part of an oversize event.
    Dropped,
}

/// State of the current event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// No field has come.
    Between,
    /// At least one complete field line has come.
    Within,
    /// It exceeds the limit. Only its name is kept until its blank line.
    PassedOver,
}

/// The kind of a line. Its value is always the last part of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Blank,
    Comment,
    Data,
    Name,
    Ignored,
}

/// The part of the current event that is still in the chunk being fed.
#[derive(Default)]
struct Fresh<'c> {
    name: Option<&'c [u8]>,
    data: Option<&'c [u8]>,
}

/// The framer of one stream. Memory: at most the event limit while an event is incomplete, [`KEPT_CAPACITY`]
/// otherwise.
#[derive(Debug)]
pub struct Framer {
    max_event: usize,
    /// The data of the current event, then the bytes of a [`Line::Kept`] line.
    buffer: Vec<u8>,
    /// The range of the data in the buffer.
    data: Option<Range<usize>>,
    name: Vec<u8>,
    line: Line,
    progress: Progress,
    /// No line has ended yet, so a byte order mark may come.
    on_first_line: bool,
    /// The last chunk ended with CR, so an LF at the start of the next belongs to it.
    after_cr: bool,
    position: u64,
    boundary: u64,
    oversize: u64,
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

impl Framer {
    /// A framer at the start of a stream, for events up to [`MAX_EVENT`].
    pub const fn new() -> Self {
        Self::with_max_event(MAX_EVENT)
    }

    /// A framer that skips events of more than `max_event` bytes.
    pub const fn with_max_event(max_event: usize) -> Self {
        Self {
            max_event,
            buffer: Vec::new(),
            data: None,
            name: Vec::new(),
            line: Line::Unbegun,
            progress: Progress::Between,
            on_first_line: true,
            after_cr: false,
            position: 0,
            boundary: 0,
            oversize: 0,
        }
    }

    /// Reads the next bytes and reports each event that they complete, in order.
    pub fn feed(&mut self, chunk: &[u8], mut on_event: impl FnMut(Event<'_>)) {
        let mut rest = self.without_split_line_feed(chunk);
        let mut fresh = Fresh::default();
        while let Some(at) = memchr2(b'\n', b'\r', rest) {
            let Some((line, ending)) = rest.split_at_checked(at) else { break };
            let ending_len = match ending {
                [b'\r', b'\n', ..] => 2,
                [b'\r'] => {
                    self.after_cr = true;
                    1
                }
                _ => 1,
            };
            rest = ending.get(ending_len..).unwrap_or_default();
            self.end_line(line, ending_len, &mut fresh, &mut on_event);
        }
        self.keep(rest, &mut fresh);
    }

    /// Ends the stream. An event that lacks at least its blank line is reported as [`Form::Torn`]. One that
    /// was being skipped is not reported.
    pub fn finish(&mut self, mut on_event: impl FnMut(Event<'_>)) {
        let line = mem::replace(&mut self.line, Line::Unbegun);
        if self.progress == Progress::PassedOver {
            self.reset();
            return;
        }
        if line == Line::Kept {
            self.end_kept_line();
        }
        self.dispatch(&mut Fresh::default(), Form::Torn, &mut on_event);
    }

    /// Whether the next byte begins an event or a comment.
    pub fn is_between_events(&self) -> bool {
        self.at_boundary()
            && self.progress == Progress::Between
            && self.line == Line::Unbegun
            && !self.after_cr
            && !self.on_first_line
    }

    /// Passes the next `len` bytes, which are one whole event that ends with a line feed. `false` if they have
    /// to be [fed](Self::feed).
    pub fn pass(&mut self, len: usize) -> bool {
        let passes = self.is_between_events() && len <= self.max_event;
        if passes {
            self.position += len as u64;
            self.boundary = self.position;
        }
        passes
    }

    /// Whether the stream is between two events, so that an event could be inserted here.
    pub const fn at_boundary(&self) -> bool {
        self.boundary == self.position
    }

    /// Offset of the last boundary. Everything before it is whole events and comments.
    pub const fn tail_start(&self) -> u64 {
        self.boundary
    }

    /// Bytes since the last boundary. Only while [`Self::is_passing_over`] may they exceed the event limit
    /// plus the end of its last line.
    pub const fn tail_len(&self) -> u64 {
        self.position.saturating_sub(self.boundary)
    }

    /// Whether the last byte was a CR, so that a following LF would belong to the same line end.
    pub const fn is_after_cr(&self) -> bool {
        self.after_cr
    }

    /// Bytes fed so far.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Whether the current event is known to be too large to read. Its tail must then no longer be held back.
    pub fn is_passing_over(&self) -> bool {
        self.progress == Progress::PassedOver
    }

    /// Number of events that were too large to read.
    pub const fn oversize_events(&self) -> u64 {
        self.oversize
    }

    /// Bytes of memory held for an incomplete event.
    pub fn buffered(&self) -> usize {
        self.buffer.capacity()
    }

    fn without_split_line_feed<'c>(&mut self, chunk: &'c [u8]) -> &'c [u8] {
        let Some((first, rest)) = chunk.split_first() else { return chunk };
        if !mem::take(&mut self.after_cr) || *first != b'\n' {
            return chunk;
        }
        if self.at_boundary() {
            self.boundary += 1;
        }
        self.position += 1;
        rest
    }

    fn end_line<'c>(
        &mut self,
        line: &'c [u8],
        ending_len: usize,
        fresh: &mut Fresh<'c>,
        on_event: &mut impl FnMut(Event<'_>),
    ) {
        let begun = mem::replace(&mut self.line, Line::Unbegun);
        if self.exceeds_with(line) {
            self.pass_over(fresh);
        }
        self.position += (line.len() + ending_len) as u64;
        if self.progress == Progress::PassedOver {
            self.on_first_line = false;
            if begun == Line::Unbegun && line.is_empty() {
                self.dispatch(fresh, Form::Oversize, on_event);
            }
            return;
        }
        let field = match begun {
            Line::Unbegun => self.end_fresh_line(line, fresh),
            Line::Kept => {
                self.append(line);
                self.end_kept_line()
            }
            Line::Dropped => Field::Comment,
        };
        self.on_first_line = false;
        match field {
            Field::Blank => self.dispatch(fresh, Form::Whole, on_event),
            Field::Comment if self.progress == Progress::Between => self.boundary = self.position,
            Field::Comment => {}
            Field::Data | Field::Name | Field::Ignored => self.progress = Progress::Within,
        }
    }

    /// Processes a line that lies whole in the chunk.
    fn end_fresh_line<'c>(&mut self, line: &'c [u8], fresh: &mut Fresh<'c>) -> Field {
        let (field, value) = self.parse(line);
        match field {
            Field::Data if self.data.is_none() && fresh.data.is_none() => fresh.data = Some(value),
            Field::Data => {
                self.keep_data(fresh);
                self.append(b"\n");
                self.append(value);
                self.extend_data();
            }
            Field::Name => fresh.name = Some(value),
            Field::Blank | Field::Comment | Field::Ignored => {}
        }
        field
    }

    /// Processes the line at the end of the buffer.
    fn end_kept_line(&mut self) -> Field {
        let line_start = self.kept_line_start();
        let (field, value) = self.parse(self.buffer.get(line_start..).unwrap_or_default());
        let value_start = self.buffer.len() - value.len();
        match field {
            Field::Data => self.end_kept_data(value_start),
            Field::Name => {
                self.name.clear();
                self.name.extend_from_slice(self.buffer.get(value_start..).map(cut_name).unwrap_or_default());
                self.buffer.truncate(line_start);
            }
            Field::Blank | Field::Comment | Field::Ignored => self.buffer.truncate(line_start),
        }
        field
    }

    /// Joins the value from `value_start` to the end of the buffer to the data before it.
    fn end_kept_data(&mut self, value_start: usize) {
        let Some(data) = self.data.clone() else {
            self.data = Some(value_start..self.buffer.len());
            return;
        };
        // The field name lies between the data and the value, so there is room for the LF that replaces it.
        let value_len = self.buffer.len() - value_start;
        if let Some(byte) = self.buffer.get_mut(data.end) {
            *byte = b'\n';
        }
        self.buffer.copy_within(value_start.., data.end + 1);
        self.buffer.truncate(data.end + 1 + value_len);
        self.extend_data();
    }

    fn parse<'l>(&self, line: &'l [u8]) -> (Field, &'l [u8]) {
        let line = if self.on_first_line { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        if let Some(value) = line.strip_prefix(b"data:") {
            return (Field::Data, without_space(value));
        }
        match line.first() {
            None => return (Field::Blank, line),
            Some(b':') => return (Field::Comment, &[]),
            Some(_) => {}
        }
        if let Some(value) = line.strip_prefix(b"event:") {
            return (Field::Name, without_space(value));
        }
        match line {
            b"data" => (Field::Data, &[]),
            b"event" => (Field::Name, &[]),
            _ => (Field::Ignored, &[]),
        }
    }

    /// Buffers what the chunk leaves unfinished; `rest` is a line without its end.
    fn keep(&mut self, rest: &[u8], fresh: &mut Fresh<'_>) {
        if !rest.is_empty() && self.exceeds_with(rest) {
            self.pass_over(fresh);
        }
        self.keep_name(fresh);
        self.keep_data(fresh);
        let Some(first) = rest.first() else { return };
        self.line = match (self.progress, self.line) {
            (Progress::PassedOver, _) | (_, Line::Dropped) => Line::Dropped,
            (_, Line::Unbegun) if *first == b':' => Line::Dropped,
            (_, Line::Unbegun | Line::Kept) => {
                self.append(rest);
                Line::Kept
            }
        };
        self.position += rest.len() as u64;
    }

    fn keep_name(&mut self, fresh: &mut Fresh<'_>) {
        if let Some(name) = fresh.name.take() {
            self.name.clear();
            self.name.extend_from_slice(cut_name(name));
        }
    }

    fn keep_data(&mut self, fresh: &mut Fresh<'_>) {
        if let Some(data) = fresh.data.take() {
            self.append(data);
            self.data = Some(0..self.buffer.len());
        }
    }

    fn extend_data(&mut self) {
        let end = self.buffer.len();
        if let Some(data) = &mut self.data {
            data.end = end;
        }
    }

    /// Grows by doubling, but never past the size of an event.
    fn append(&mut self, bytes: &[u8]) {
        let needed = self.buffer.len() + bytes.len();
        if needed > self.buffer.capacity() {
            let doubled = (self.buffer.capacity() * 2).min(self.max_event);
            self.buffer.reserve_exact(needed.max(doubled) - self.buffer.len());
        }
        self.buffer.extend_from_slice(bytes);
    }

    fn kept_line_start(&self) -> usize {
        self.data.as_ref().map_or(0, |data| data.end)
    }

    /// The end of the last line does not count, so a CRLF split across chunks makes no difference.
    fn exceeds_with(&self, line: &[u8]) -> bool {
        self.tail_len() + line.len() as u64 > self.max_event as u64
    }

    fn pass_over(&mut self, fresh: &mut Fresh<'_>) {
        if self.progress != Progress::PassedOver {
            self.progress = Progress::PassedOver;
            self.oversize += 1;
            self.keep_name(fresh);
            self.drop_data();
        }
        fresh.data = None;
    }

    fn dispatch(&mut self, fresh: &mut Fresh<'_>, form: Form, on_event: &mut impl FnMut(Event<'_>)) {
        let fresh = mem::take(fresh);
        let kept = self.data.clone().map(|range| self.buffer.get(range).unwrap_or_default());
        let data = fresh.data.or(kept);
        let name = fresh.name.map_or(self.name.as_slice(), cut_name);
        if data.is_some() || !name.is_empty() || form == Form::Oversize {
            let (start, end) = (self.boundary, self.position);
            on_event(Event { name, data: data.unwrap_or_default(), start, end, form });
        }
        self.reset();
    }

    fn reset(&mut self) {
        self.drop_data();
        self.name.clear();
        self.progress = Progress::Between;
        self.boundary = self.position;
    }

    fn drop_data(&mut self) {
        self.data = None;
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_CAPACITY);
    }
}

fn without_space(value: &[u8]) -> &[u8] {
    value.strip_prefix(b" ").unwrap_or(value)
}

fn cut_name(name: &[u8]) -> &[u8] {
    name.get(..MAX_NAME).unwrap_or(name)
}

#[cfg(test)]
#[path = "framer_tests.rs"]
mod tests;
