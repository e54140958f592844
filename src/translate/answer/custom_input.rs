//! The plain text in the arguments of a custom tool.
//!
//! At the provider the tool is a function whose one argument `input` is a string, so the text stands in a JSON
//! string in a JSON text in a JSON string. The outer string is undone step by step. The inside of the inner one
//! is written as it is, because the client gets a string, too.

use super::super::json::escape;
use super::arguments::{Unit, Units};
use super::piece::Taken;
use super::terms::NotTranslated;

/// How the arguments begin. White space may come before the bytes that [`may_follow_space`] names.
const BEGIN: &[u8] = b"{\"input\":\"";

const fn may_follow_space(at: usize) -> bool {
    matches!(at, 0 | 1 | 8 | 9)
}

/// The length of the escape of one UTF-16 unit.
const UNICODE_ESCAPE: usize = 6;

/// The length of a surrogate pair.
const PAIR: usize = 2 * UNICODE_ESCAPE;

/// What stands for half a surrogate pair.
const REPLACEMENT: &[u8] = b"\\ufffd";

/// Reads the text out of arguments that come in parts.
#[derive(Debug, Default)]
pub(super) struct CustomInput {
    place: Place,
    /// An escape that is not whole, at most a surrogate pair.
    held: Vec<u8>,
}

/// Where in the arguments the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In [`BEGIN`], of which so many bytes have come.
    Begin(usize),
    /// In the text.
    Text,
    /// Behind the text.
    Behind,
    /// In arguments of another form. They are the text.
    Other,
}

impl Default for Place {
    fn default() -> Self {
        Self::Begin(0)
    }
}

impl CustomInput {
    /// Reads the next part of the arguments, which is the inside of a string, and appends the text in it to
    /// `out` as the inside of a string.
    pub(super) fn take(&mut self, escaped: &[u8], out: &mut Vec<u8>) -> Taken {
        for unit in Units::of(escaped) {
            match self.place {
                Place::Begin(at) => self.take_begin(at, unit, out),
                Place::Text => self.take_text(unit, out),
                Place::Behind => {}
                Place::Other => push(unit, out),
            }
            if unit == Unit::Wrong {
                return Err(NotTranslated);
            }
        }
        Ok(())
    }

    fn take_begin(&mut self, at: usize, unit: Unit<'_>, out: &mut Vec<u8>) {
        match unit {
            Unit::Byte(byte) if BEGIN.get(at) == Some(&byte) => {
                let at = at + 1;
                self.place = if at == BEGIN.len() { Place::Text } else { Place::Begin(at) };
            }
            Unit::Byte(b' ' | b'\n' | b'\r' | b'\t') if may_follow_space(at) => {}
            // There are no arguments.
            Unit::Byte(b'}') if at == 1 => self.place = Place::Behind,
            other => {
                self.place = Place::Other;
                escape(BEGIN.get(..at).unwrap_or_default(), out);
                push(other, out);
            }
        }
    }

    fn take_text(&mut self, unit: Unit<'_>, out: &mut Vec<u8>) {
        match unit {
            Unit::Byte(byte) if !self.held.is_empty() => self.take_escaped(byte, out),
            Unit::Byte(b'\\') => self.held.push(b'\\'),
            Unit::Byte(b'"') => self.place = Place::Behind,
            Unit::Byte(byte) => escape(&[byte], out),
            Unit::Escape(whole) => self.take_character(whole, out),
            Unit::Wrong => {}
        }
    }

    /// Takes a character that the provider has escaped. It may be half of a pair.
    fn take_character(&mut self, whole: &[u8], out: &mut Vec<u8>) {
        if !matches!(self.held.len(), 0 | UNICODE_ESCAPE) {
            let rest = self.give_up_pair(out);
            escape(&rest, out);
        }
        for byte in whole {
            self.take_escaped(*byte, out);
        }
    }

    /// Takes a byte of an escape.
    fn take_escaped(&mut self, byte: u8, out: &mut Vec<u8>) {
        let fits = match (self.held.len(), self.held.len() % UNICODE_ESCAPE) {
            (_, 0) => byte == b'\\',
            (1, _) => matches!(byte, b'u' | b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'),
            (_, 1) => byte == b'u',
            _ => byte.is_ascii_hexdigit(),
        };
        if fits {
            self.held.push(byte);
            self.flush(out);
        } else {
            self.give_up(byte, out);
        }
    }

    /// Writes what is held if it is whole.
    fn flush(&mut self, out: &mut Vec<u8>) {
        if self.held.len() == PAIR && !self.held.get(UNICODE_ESCAPE..).is_some_and(is_low_half) {
            out.extend_from_slice(REPLACEMENT);
            self.held.drain(..UNICODE_ESCAPE);
        }
        let held = self.held.as_slice();
        match held.len() {
            2 if held.last() == Some(&b'u') => return,
            UNICODE_ESCAPE if is_high_half(held) => return,
            UNICODE_ESCAPE if is_low_half(held) => out.extend_from_slice(REPLACEMENT),
            2 | UNICODE_ESCAPE | PAIR => out.extend_from_slice(held),
            _ => return,
        }
        self.held.clear();
    }

    /// The held bytes are no escape with `byte`. Models forget to escape backslashes, so it is one.
    fn give_up(&mut self, byte: u8, out: &mut Vec<u8>) {
        let had_pair = self.held.len() >= UNICODE_ESCAPE;
        let rest = self.give_up_pair(out);
        if had_pair {
            for byte in rest {
                self.take_text(Unit::Byte(byte), out);
            }
        } else {
            escape(&rest, out);
        }
        self.take_text(Unit::Byte(byte), out);
    }

    /// Writes the first half of a pair that has no second, and returns what else was held.
    fn give_up_pair(&mut self, out: &mut Vec<u8>) -> Vec<u8> {
        let mut held = std::mem::take(&mut self.held);
        if held.len() >= UNICODE_ESCAPE {
            out.extend_from_slice(REPLACEMENT);
            held.drain(..UNICODE_ESCAPE);
        }
        held
    }
}

fn push(unit: Unit<'_>, out: &mut Vec<u8>) {
    match unit {
        Unit::Byte(byte) => escape(&[byte], out),
        Unit::Escape(whole) => out.extend_from_slice(whole),
        Unit::Wrong => {}
    }
}

/// Whether an escape is the first half of a surrogate pair.
const fn is_high_half(escape: &[u8]) -> bool {
    matches!(escape, [_, _, b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', ..])
}

/// Whether an escape is the second half of a surrogate pair.
const fn is_low_half(escape: &[u8]) -> bool {
    matches!(escape, [_, _, b'd' | b'D', b'c'..=b'f' | b'C'..=b'F', ..])
}

#[cfg(test)]
#[path = "tests/custom_input_tests.rs"]
mod tests;
