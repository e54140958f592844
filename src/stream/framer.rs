//! Cuts a server-sent event stream into events, however its bytes are chunked.
//!
//! Why not collect until a blank line and split then? Because that scans a long event again with every chunk and copies
//! every short one. Here each byte is looked at once: an event that lies whole in a chunk is handed out as slices of
//! the chunk, and only what a chunk leaves unfinished is kept. Bytes are never decoded, so a character split across
//! chunks is nothing special.
//!
//! It follows the WHATWG event stream grammar (LF, CR and CRLF mixed, a byte order mark, one optional space after the
//! colon, `data` lines joined by LF, comments) with three departures, each because clients' libraries do the same or
//! because the filter must know: an event with a name but no data is reported, so is one that the end of the stream
//! cut off ([`Form::Torn`]), and so is one too large to read ([`Form::Oversize`]). `id` and `retry` are ignored.
//!
//! Comments yield no event: bytes that were fed without one arriving are a sign of life on the wire and no more.

use std::mem;
use std::ops::Range;

use memchr::memchr2;

use super::event::{Event, Form};

/// The most bytes that one event may span and still be read, its field names and line ends included (PROVIDERS: 1 MiB).
pub const MAX_EVENT: usize = 1 << 20;

/// The buffer capacity that outlives an event. A Wasm memory never shrinks, so what one large event needed must at
/// least be free for the next allocation.
pub const KEPT_CAPACITY: usize = 64 * 1024;

/// Event names are cut to this many bytes; the longest in any dialect is well below, so a cut name equals none of them.
pub const MAX_NAME: usize = 64;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Where the line at the read position stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// No byte of it has been seen.
    Unbegun,
    /// It has begun and its bytes are at the end of the buffer.
    Kept,
    /// It has begun and its bytes do not matter: a comment, or part of an oversize event.
    Dropped,
}

/// Where the event at the read position stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// No field of it has been seen.
    Between,
    /// At least one complete field line has been seen.
    Within,
    /// It is larger than the limit; nothing of it but its name is kept until its blank line.
    PassedOver,
}

/// What a line says; its value is always the last part of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Blank,
    Comment,
    Data,
    Name,
    Ignored,
}

/// The part of the current event that still lies in the chunk being fed.
#[derive(Default)]
struct Fresh<'c> {
    name: Option<&'c [u8]>,
    data: Option<&'c [u8]>,
}

/// The framer of one stream. Memory: at most the event limit while an event is incomplete, [`KEPT_CAPACITY`] otherwise.
#[derive(Debug)]
pub struct Framer {
    max_event: usize,
    /// The data of the current event as far as it is kept, then the bytes of a [`Line::Kept`] line.
    buffer: Vec<u8>,
    /// Where in the buffer the data lies.
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
    /// A framer at the start of a stream, reading events up to [`MAX_EVENT`].
    pub const fn new() -> Self {
        Self::with_max_event(MAX_EVENT)
    }

    /// A framer that passes over events spanning more than `max_event` bytes.
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

    /// Reads the next bytes of the stream and reports each event that they complete, in order.
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

    /// Ends the stream: an event that lacks only its blank line, or more, is reported as [`Form::Torn`].
    /// One that was being passed over is not reported: nothing of it is known to have arrived.
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

    /// Whether the stream stands between two events, so that something could be put in here.
    pub const fn at_boundary(&self) -> bool {
        self.boundary == self.position
    }

    /// Offset in the stream of the last boundary: everything before it is whole events and comments.
    pub const fn tail_start(&self) -> u64 {
        self.boundary
    }

    /// Bytes since the last boundary. Only while [`Self::is_passing_over`] may they be more than the event limit and the
    /// end of its last line.
    pub const fn tail_len(&self) -> u64 {
        self.position.saturating_sub(self.boundary)
    }

    /// Bytes fed so far.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Whether the current event is already known to be too large to read; whoever holds back its tail must let go.
    pub fn is_passing_over(&self) -> bool {
        self.progress == Progress::PassedOver
    }

    /// Events that were too large to read.
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

    /// Takes in a line that lies whole in the chunk.
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

    /// Takes in the line at the end of the buffer.
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

    /// The value from `value_start` to the end of the buffer joins the data before it.
    fn end_kept_data(&mut self, value_start: usize) {
        let Some(data) = self.data.clone() else {
            self.data = Some(value_start..self.buffer.len());
            return;
        };
        // The field's name lies between the data and the value, so there is room for the LF that takes its place.
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

    /// Keeps what the chunk leaves unfinished: `rest` is a line without its end.
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

    /// Grows by doubling, but never past what an event may take.
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

    /// Line ends are left out of the last line's account, so that a CRLF split across chunks makes no difference.
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
mod tests {
    use proptest::prelude::*;

    use super::super::samples;
    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Owned {
        name: Vec<u8>,
        data: Vec<u8>,
        start: u64,
        end: u64,
        form: Form,
    }

    fn owned(event: Event<'_>) -> Owned {
        let (name, data) = (event.name.to_vec(), event.data.to_vec());
        Owned { name, data, start: event.start, end: event.end, form: event.form }
    }

    /// The same grammar, read from the whole input at once.
    fn reference(input: &[u8], max_event: usize) -> Vec<Owned> {
        let mut events = Vec::new();
        let (mut name, mut data, mut fields) = (Vec::new(), None::<Vec<u8>>, false);
        let (mut at, mut start, mut oversize) = (0, 0, false);
        while at < input.len() {
            let text_end =
                (at..input.len()).find(|i| matches!(input[*i], b'\n' | b'\r')).unwrap_or(input.len());
            let line_end = text_end + if input[text_end..].starts_with(b"\r\n") { 2 } else { 1 };
            let ended = line_end <= input.len();
            let mut line = &input[at..text_end];
            let empty = line.is_empty();
            if at == 0 {
                line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            }
            oversize |= text_end - start > max_event;
            at = line_end.min(input.len());
            if oversize && !empty {
                continue;
            }
            let colon = line.iter().position(|b| *b == b':');
            let (field, value) = line.split_at(colon.unwrap_or(line.len()));
            let value = value.strip_prefix(b":").unwrap_or(value);
            let value = value.strip_prefix(b" ").unwrap_or(value).to_vec();
            match field {
                b"" if line.is_empty() && ended => {
                    if oversize || data.is_some() || !name.is_empty() {
                        let form = if oversize { Form::Oversize } else { Form::Whole };
                        let data = if oversize { Vec::new() } else { data.take().unwrap_or_default() };
                        events.push(Owned { name, data, start: start as u64, end: at as u64, form });
                    }
                    (name, data, fields, start, oversize) = (Vec::new(), None, false, at, false);
                }
                b"" if !fields && ended => start = at,
                b"" => {}
                b"data" => {
                    data = Some(data.map_or(value.clone(), |data| [&data[..], b"\n", &value[..]].concat()));
                    fields = true;
                }
                b"event" => {
                    name = value[..value.len().min(MAX_NAME)].to_vec();
                    fields = true;
                }
                _ => fields = true,
            }
        }
        if !oversize && (data.is_some() || !name.is_empty()) {
            let (data, end) = (data.unwrap_or_default(), input.len() as u64);
            events.push(Owned { name, data, start: start as u64, end, form: Form::Torn });
        }
        events
    }

    /// Feeds `chunks` and checks, besides the events, what must hold after every chunk.
    fn frame<'c>(max_event: usize, chunks: impl IntoIterator<Item = &'c [u8]>) -> Vec<Owned> {
        let mut framer = Framer::with_max_event(max_event);
        let mut events: Vec<Owned> = Vec::new();
        let mut fed = 0;
        for chunk in chunks {
            framer.feed(chunk, |event| events.push(owned(event)));
            fed += chunk.len() as u64;
            assert_eq!(framer.position(), fed);
            assert_eq!(framer.at_boundary(), framer.tail_start() == fed);
            assert!(framer.is_passing_over() || framer.tail_len() <= max_event as u64 + 2);
            assert!(framer.buffered() <= max_event.max(8), "{} bytes held", framer.buffered());
            assert!(events.last().is_none_or(|event| event.end <= framer.tail_start()));
        }
        framer.finish(|event| events.push(owned(event)));
        assert!(framer.at_boundary() && framer.position() == fed);
        let oversize = events.iter().filter(|event| event.form == Form::Oversize).count() as u64;
        assert!(framer.oversize_events() - oversize <= 1);
        events
    }

    /// The events of `chunks` are those of the whole; an end between CR and LF is the one freedom they have.
    fn check_chunks(input: &[u8], max_event: usize, chunks: &[&[u8]]) {
        let mut cuts = Vec::new();
        chunks.iter().fold(0, |at, chunk| {
            cuts.push(at + chunk.len() as u64);
            at + chunk.len() as u64
        });
        let mut events = frame(max_event, chunks.iter().copied());
        let expected = reference(input, max_event);
        for (event, expected) in events.iter_mut().zip(&expected) {
            if cuts.contains(&event.end) && event.end + 1 == expected.end && event.form != Form::Torn {
                assert_eq!(&input[event.end as usize - 1..=event.end as usize], b"\r\n");
                event.end += 1;
            }
        }
        assert_eq!(events, expected, "{:?} in {} chunks", String::from_utf8_lossy(input), chunks.len());
    }

    fn check_every_split(input: &[u8], max_event: usize) {
        check_chunks(input, max_event, &[input]);
        check_chunks(input, max_event, &input.chunks(1).collect::<Vec<_>>());
        for at in 0..=input.len() {
            let (head, tail) = input.split_at(at);
            check_chunks(input, max_event, &[head, tail]);
        }
    }

    /// The (name, data) pairs of `input`, under every split.
    fn check(input: &str, expected: &[(&str, &str)]) {
        check_every_split(input.as_bytes(), MAX_EVENT);
        let events = frame(MAX_EVENT, [input.as_bytes()]);
        let pairs: Vec<_> = events
            .iter()
            .map(|e| (std::str::from_utf8(&e.name).unwrap(), std::str::from_utf8(&e.data).unwrap()))
            .collect();
        assert_eq!(pairs, expected, "{input:?}");
    }

    #[test]
    fn fields_are_read_as_the_grammar_has_them() {
        check("data: a\n\n", &[("", "a")]);
        check("data:a\n\ndata:  b\n\n", &[("", "a"), ("", " b")]);
        check("event: x\ndata: a\nid: 7\nretry: 5\nother: z\nnocolon\n\n", &[("x", "a")]);
        check("data: a\ndata: b\ndata:\ndata\ndata: c\n\n", &[("", "a\nb\n\n\nc")]);
        check("data\n\n", &[("", "")]);
        check("data: a\nevent: first\nevent: last\n\n", &[("last", "a")]);
        check("event: x\n\ndata: a\n\n", &[("x", ""), ("", "a")]);
        check("database: a\nevents: b\ndata : c\n data: d\n\n", &[]);
        check("id: 1\n\nretry: 2\n\n\n\n\ndata: a\n\n", &[("", "a")]);
    }

    #[test]
    fn line_ends_may_be_mixed() {
        for input in ["data: a\n\ndata: b\n\n", "data: a\r\n\r\ndata: b\r\n\r\n", "data: a\r\rdata: b\r\r"] {
            check(input, &[("", "a"), ("", "b")]);
        }
        check(
            "data: a\r\n\ndata: b\n\r\ndata: c\r\r\ndata: d\n\rdata: e\n\r",
            &[("", "a"), ("", "b"), ("", "c"), ("", "d"), ("", "e")],
        );
        check("event: x\rdata: 1\r\ndata: 2\ndata: 3\r\r\n", &[("x", "1\n2\n3")]);
    }

    #[test]
    fn comments_are_no_events() {
        check(": ping\n\n:\n\n: OPENROUTER PROCESSING\n\n", &[]);
        check(": before\ndata: a\n: between\ndata: b\n:\n\n", &[("", "a\nb")]);
    }

    #[test]
    fn a_byte_order_mark_is_dropped_at_the_start_only() {
        check("\u{feff}data: a\n\n\u{feff}data: b\n\n", &[("", "a")]);
        check("\u{feff}\ndata: a\n\n", &[("", "a")]);
        check("\u{feff}: comment\ndata: \u{feff}a\n\n", &[("", "\u{feff}a")]);
        check(": comment\n\u{feff}data: a\n\n", &[]);
        check("\u{feff}", &[]);
    }

    #[test]
    fn a_last_event_without_its_blank_line_is_torn() {
        for input in ["data: a", "data: a\n", "data: a\r", "data: a\r\n", "\u{feff}data: a"] {
            check(input, &[("", "a")]);
            assert_eq!(frame(MAX_EVENT, [input.as_bytes()])[0].form, Form::Torn);
        }
        check("data: a\n\nevent: x\ndata: b\nda", &[("", "a"), ("x", "b")]);
        check("data: a\n\n: comment", &[("", "a")]);
        check("id: 3", &[]);
    }

    #[test]
    fn a_character_split_across_chunks_arrives_whole() {
        check("data: 日本語 👋🏽 ñ\r\n\r\n", &[("", "日本語 👋🏽 ñ")]);
    }

    #[test]
    fn samples_frame_alike_with_any_line_ends_under_every_split() {
        for sample in samples::ALL {
            let text = std::str::from_utf8(sample.bytes).unwrap().replace("\r\n", "\n");
            for line_end in ["\n", "\r\n", "\r"] {
                check_every_split(text.replace('\n', line_end).as_bytes(), MAX_EVENT);
            }
        }
    }

    #[test]
    fn offsets_account_for_every_byte() {
        let input = b": c\n\ndata: a\n\n: d\nevent: x\ndata: b\n\n\ndata: c";
        let spans: Vec<_> = frame(MAX_EVENT, [&input[..]]).iter().map(|e| (e.start, e.end)).collect();
        assert_eq!(spans, [(5, 14), (18, 36), (37, 44)]);
    }

    #[test]
    fn the_tail_is_what_follows_the_last_whole_event() {
        let mut framer = Framer::new();
        framer.feed(b"data: a\n\ndata: b", |_| {});
        assert_eq!((framer.at_boundary(), framer.tail_start(), framer.tail_len()), (false, 9, 7));
        framer.feed(b"\r\n\r", |_| {});
        assert!(framer.at_boundary());
        framer.feed(b"\n", |_| {});
        assert!(framer.at_boundary(), "the LF of a CRLF begins no event");
        framer.feed(b": half a comm", |_| {});
        assert!(!framer.at_boundary(), "an event put in here would become part of the comment");
        framer.feed(b"ent\n", |_| {});
        assert!(framer.at_boundary());
        framer.feed(b"id: 4\n", |_| {});
        assert!(!framer.at_boundary(), "an event put in here would take the id");
    }

    #[test]
    fn the_limit_is_exact_and_the_next_event_is_read_again() {
        let input = |len: usize| format!("event: n\ndata: {}\r\n\r\ndata: after\n\n", "x".repeat(len - 15));
        for (len, form) in
            [(40, Form::Whole), (41, Form::Oversize), (42, Form::Oversize), (90, Form::Oversize)]
        {
            let input = input(len);
            // The line end after the last field counts, the blank line's own does not.
            check_every_split(input.as_bytes(), 42);
            let events = frame(42, [input.as_bytes()]);
            assert_eq!(events.iter().map(|e| e.form).collect::<Vec<_>>(), [form, Form::Whole]);
            assert_eq!((events[0].name.as_slice(), events[1].data.as_slice()), (&b"n"[..], &b"after"[..]));
            assert_eq!(events[0].data.is_empty(), form == Form::Oversize);
        }
    }

    #[test]
    fn a_large_event_is_read_and_its_memory_given_back() {
        let data = "é".repeat(50_000);
        let input = format!("data: {data}\n\ndata: small\n\n");
        for size in [1, 7, 1000, 16_384, 1 << 20] {
            let mut framer = Framer::new();
            let mut lens = Vec::new();
            for chunk in input.as_bytes().chunks(size) {
                framer.feed(chunk, |event| lens.push(event.data.len()));
            }
            assert_eq!(lens, [100_000, 5]);
            assert!(framer.buffered() <= KEPT_CAPACITY, "{} bytes held after it", framer.buffered());
        }
    }

    #[test]
    fn a_two_megabyte_event_is_passed_over_in_bounded_memory() {
        let input = format!("event: big\ndata: {}\n\ndata: after\n\n", "x".repeat(2 << 20));
        let mut framer = Framer::new();
        let (mut events, mut most) = (Vec::new(), 0);
        for chunk in input.as_bytes().chunks(16_384) {
            framer.feed(chunk, |event| events.push(owned(event)));
            most = most.max(framer.buffered());
        }
        assert!(most <= MAX_EVENT && framer.buffered() <= KEPT_CAPACITY);
        assert_eq!(framer.oversize_events(), 1);
        assert_eq!(events.iter().map(|e| e.form).collect::<Vec<_>>(), [Form::Oversize, Form::Whole]);
        assert_eq!((events[0].name.as_slice(), events[0].end), (&b"big"[..], events[1].start));
        check_chunks(input.as_bytes(), MAX_EVENT, &[input.as_bytes()]);
    }

    #[test]
    fn an_event_within_a_chunk_is_neither_copied_nor_buffered() {
        let mut framer = Framer::new();
        let chunk = b"event: x\ndata: {\"a\":1}\n\n: c\ndata: b\r\n\r\n".repeat(100);
        let span = chunk.as_ptr_range();
        let mut events = 0;
        framer.feed(&chunk, |event| {
            events += 1;
            assert!(span.contains(&event.data.as_ptr()), "the data lies in the chunk");
        });
        assert_eq!((events, framer.buffered()), (200, 0));
    }

    #[test]
    fn a_steady_stream_of_split_events_allocates_once() {
        let mut framer = Framer::new();
        let event = format!("event: delta\ndata: {}\ndata: second\n\n", "x".repeat(300));
        framer.feed(event.as_bytes(), |_| {});
        let stream = event.repeat(1000);
        let mut capacities = Vec::new();
        for chunk in stream.as_bytes().chunks(97) {
            framer.feed(chunk, |_| {});
            capacities.push(framer.buffered());
        }
        capacities.drain(..10);
        capacities.dedup();
        assert_eq!(capacities.len(), 1, "{capacities:?}");
    }

    #[test]
    fn a_name_longer_than_any_is_cut() {
        let input = format!("event: {}\ndata: a\n\n", "n".repeat(MAX_NAME + 1));
        check(&input, &[("n".repeat(MAX_NAME).as_str(), "a")]);
    }

    /// Text made of what the grammar turns on.
    fn any_stream() -> impl Strategy<Value = Vec<u8>> {
        const PIECES: [&[u8]; 13] = [
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            b":",
            b" ",
            b"data",
            b"data: ",
            b"event: ",
            b"id: 1",
            BYTE_ORDER_MARK,
            b"\xf0\x9f",
            b"some text",
        ];
        let piece = proptest::sample::select(PIECES.to_vec());
        proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    fn check_random_chunks(input: &[u8], sizes: &[usize], max_event: usize) {
        let (mut chunks, mut rest, mut sizes) = (Vec::new(), input, sizes.iter().cycle());
        while !rest.is_empty() {
            let (head, tail) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            // An empty chunk now and then must change nothing.
            chunks.extend([head, &[]]);
            rest = tail;
        }
        check_chunks(input, max_event, &chunks);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_chunking_gives_the_events_of_the_whole(
            input in any_stream(),
            sizes in proptest::collection::vec(1_usize..30, 1..8),
            max_event in prop_oneof![Just(MAX_EVENT), 0_usize..60],
        ) {
            check_random_chunks(&input, &sizes, max_event);
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_stay_bounded(
            input in proptest::collection::vec(any::<u8>(), 0..300),
            sizes in proptest::collection::vec(1_usize..30, 1..8),
            max_event in 0_usize..60,
        ) {
            check_random_chunks(&input, &sizes, max_event);
        }
    }
}
