//! Recognizes an event that repeats an earlier one, apart from values without a meaning of their own.
//!
//! **Why.** Nearly all events of a stream bring one token each and differ in little else: the text, and what
//! a provider adds to every event (`obfuscation`, `sequence_number`, a time). Reading each as JSON costs ten
//! times as much as comparing it with the one before.
//!
//! **Why it is safe.** Every byte is either equal to the byte of the remembered event or belongs to a *free*
//! value. No dialect reads more of a free value than its type and whether it is empty, so the event means the
//! same: a free text may be any text that is not empty, and a free number any number. What does not fit is
//! read the ordinary way, and so is everything that may change the state of a stream: only an event that
//! brings content and nothing else is remembered.

use memchr::memchr2;

use crate::request::{Container, Lexer, ScanError, Sink, Span, Value, Want, plain_run};

/// The longest event that is remembered, in bytes.
pub const MAX_PATTERN: usize = 2048;

/// The most free values of an event. Values after that must be equal.
pub const MAX_FREE_VALUES: usize = 24;

/// How many events in a row are remembered in vain. After that a stream is read the ordinary way only.
pub const MAX_IN_VAIN: u8 = 8;

/// The members whose scalar value a dialect reads. A property test in `src/answer/tests/repeats.rs` compares
/// this with the ordinary way.
const READ: [&[u8]; 10] = [
    b"type",
    b"object",
    b"error",
    b"index",
    b"finish_reason",
    b"finishReason",
    b"stop_reason",
    b"blockReason",
    b"status",
    b"code",
];

/// The members that hold counts. An event with counts is not remembered.
const USAGE: [&[u8]; 2] = [b"usage", b"usageMetadata"];

/// The last remembered event of one stream. Memory: at most [`MAX_PATTERN`] bytes and [`MAX_FREE_VALUES`]
/// places.
#[derive(Debug, Default)]
pub struct Pattern {
    /// Its bytes, from the first field to its blank line. Empty if none is remembered.
    event: Vec<u8>,
    /// Its free values, in order.
    free: Vec<Free>,
    /// Whether an event has repeated it.
    is_used: bool,
    /// Whether the last content did not repeat it.
    is_missed: bool,
    /// How many events in a row were remembered and never repeated.
    in_vain: u8,
}

/// The place of a free value in the event, without quotes.
#[derive(Debug, Clone, Copy)]
struct Free {
    start: usize,
    end: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Number,
}

impl Pattern {
    /// A pattern that remembers nothing.
    #[cfg(test)]
    pub fn disabled() -> Self {
        Self { in_vain: MAX_IN_VAIN, ..Self::default() }
    }

    /// The length of the event at the start of `bytes`, if it repeats the remembered one.
    pub fn repeated_by(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.event.is_empty() {
            return None;
        }
        let length = self.compare(bytes)?;
        self.is_used = true;
        self.is_missed = false;
        Some(length)
    }

    fn compare(&self, bytes: &[u8]) -> Option<usize> {
        let mut free = self.free.iter();
        let (mut old, mut new) = (0, 0);
        loop {
            let (expected, came) = (self.event.get(old..)?, bytes.get(new..)?);
            let same = common_prefix(expected, came);
            if same == expected.len() {
                return Some(new + same);
            }
            // A longer text differs at the quote that ends the remembered one.
            let differs = old + same;
            let value = free.find(|value| value.end >= differs).filter(|value| value.start <= differs)?;
            let start = new + (value.start - old);
            let length = value.kind.length(bytes.get(start..)?).filter(|length| *length > 0)?;
            (old, new) = (value.end, start + length);
        }
    }

    /// Notes an event that was read the ordinary way and brought content and nothing else. `event` is all of
    /// it. It is remembered if two in a row did not repeat the remembered one.
    pub fn learn(&mut self, event: &[u8]) {
        if self.in_vain >= MAX_IN_VAIN || event.len() > MAX_PATTERN {
            return;
        }
        if !self.event.is_empty() && !std::mem::replace(&mut self.is_missed, true) {
            return;
        }
        self.in_vain = if self.is_used { 0 } else { self.in_vain + 1 };
        self.is_used = false;
        self.is_missed = false;
        self.event.clear();
        self.free.clear();
        if let Some((start, data)) = only_data(event)
            && find_free(data, start, &mut self.free)
        {
            self.event.extend_from_slice(event);
        }
    }
}

impl Kind {
    /// The length of the value at the start of `bytes`. `None` if it does not end there.
    fn length(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Text => text_length(bytes),
            Self::Number => {
                let ends = |byte: &u8| !matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                bytes.iter().position(ends).filter(|_| matches!(bytes, [b'0'..=b'9' | b'-', ..]))
            }
        }
    }
}

/// The length of the text up to its quote. `None` if it does not end, or if it has a control character.
fn text_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += plain_run(bytes.get(at..)?);
        match bytes.get(at..)? {
            [b'"', ..] => return Some(at),
            [b'\\', b' '..=u8::MAX, ..] => at += 2,
            _ => return None,
        }
    }
}

/// How many bytes at the start of both are equal.
#[inline]
fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    let ((ones, _), (others, _)) = (one.as_chunks::<16>(), other.as_chunks::<16>());
    let mut at = 0;
    for (one, other) in ones.iter().zip(others) {
        let different = u128::from_le_bytes(*one) ^ u128::from_le_bytes(*other);
        if different != 0 {
            return at + (different.trailing_zeros() / 8) as usize;
        }
        at += 16;
    }
    let rest = one.iter().zip(other).skip(at);
    at + rest.take_while(|(one, other)| one == other).count()
}

/// The data of an event that has one data line and at most a name, and where it begins.
fn only_data(event: &[u8]) -> Option<(usize, &[u8])> {
    let lines = event.strip_suffix(b"\n\n").or_else(|| event.strip_suffix(b"\r\n\r\n"))?;
    let line = match lines.strip_prefix(b"event:") {
        Some(named) => {
            let ending = named.get(memchr2(b'\n', b'\r', named)?..)?;
            ending.strip_prefix(b"\n").or_else(|| ending.strip_prefix(b"\r\n"))?
        }
        None => lines,
    };
    let data = line.strip_prefix(b"data:")?;
    memchr2(b'\n', b'\r', data).is_none().then(|| (lines.len() - data.len(), data))
}

/// Finds the free values of `data`, which begins at `start` of the event. `false` if it is not one JSON
/// object, or if it has counts.
fn find_free(data: &[u8], start: usize, found: &mut Vec<Free>) -> bool {
    let mut finder = Finder { start, found, next: Member::Other, has_usage: false };
    let mut lexer = Lexer::new();
    let is_whole = lexer.feed(data, &mut finder).is_ok() && lexer.finish().is_ok();
    is_whole && !finder.has_usage
}

/// What the next value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    /// A value that a dialect reads, or an element of an array.
    Other,
    Free,
    Usage,
}

struct Finder<'f> {
    start: usize,
    found: &'f mut Vec<Free>,
    next: Member,
    has_usage: bool,
}

impl Sink for Finder<'_> {
    fn key(&mut self, key: Option<&[u8]>) {
        self.next = match key {
            Some(key) if USAGE.contains(&key) => Member::Usage,
            Some(key) if !READ.contains(&key) => Member::Free,
            _ => Member::Other,
        };
    }

    fn want(&self) -> Want {
        Want::Length
    }

    fn scalar(&mut self, value: Value<'_>, span: Span) -> Result<(), ScanError> {
        let member = std::mem::replace(&mut self.next, Member::Other);
        if member != Member::Free || self.found.len() >= MAX_FREE_VALUES {
            return Ok(());
        }
        let (start, end) = (self.start + span.start, self.start + span.end);
        match value {
            Value::Text { length: 1.., .. } => {
                self.found.push(Free { start: start + 1, end: end - 1, kind: Kind::Text });
            }
            Value::Number(_) => self.found.push(Free { start, end, kind: Kind::Number }),
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, _container: Container, _start: usize) -> Result<(), ScanError> {
        self.has_usage |= std::mem::replace(&mut self.next, Member::Other) == Member::Usage;
        Ok(())
    }

    fn close(&mut self, _end: usize) {
        self.next = Member::Other;
    }
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
