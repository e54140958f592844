//! One line of JSON, written from front to back.
//!
//! Why not serde? A record has about eighty short pieces. serde copies each with a `memory.copy`, which in
//! Wasm costs as much as fifty other instructions, and brings a function for each type. Here one small
//! function writes all pieces.

use crate::base::Decimal;
use crate::request::plain_run;

/// The usual record fits: one request served by its first choice.
const USUAL_BYTES: usize = 2048;

/// A line that grows.
pub(super) struct Line {
    /// What is written, and room.
    bytes: Vec<u8>,
    len: usize,
}

impl Line {
    /// An empty line with room for a usual record.
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; USUAL_BYTES], len: 0 }
    }

    /// What was written.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.truncate(self.len);
        self.bytes
    }

    /// Appends JSON as it is.
    #[inline(never)]
    pub(super) fn raw(&mut self, json: &[u8]) {
        let end = self.len.wrapping_add(json.len());
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            copy(room, json);
            self.len = end;
        } else {
            self.grow(json);
        }
    }

    /// Appends what there is no room for.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, json: &[u8]) {
        let room = self.bytes.len().saturating_mul(2);
        self.bytes.truncate(self.len);
        self.bytes.extend_from_slice(json);
        self.len = self.bytes.len();
        self.bytes.resize(room.max(self.len), 0);
    }

    /// Appends what precedes a number, and the number.
    #[inline(never)]
    pub(super) fn number(&mut self, before: &[u8], number: u64) {
        self.raw(before);
        // Nearly half of the numbers have one digit.
        if let (0..10, Some(place)) = (number, self.bytes.get_mut(self.len)) {
            *place = b'0' + number as u8;
            self.len += 1;
        } else {
            self.raw(Decimal::of(number).as_bytes());
        }
    }

    /// A number that is omitted if it is not known.
    pub(super) fn maybe(&mut self, before: &[u8], number: Option<u64>) {
        if let Some(number) = number {
            self.number(before, number);
        }
    }

    /// A number that is omitted if it is zero.
    pub(super) fn unless_zero(&mut self, before: &[u8], number: u64) {
        if number != 0 {
            self.number(before, number);
        }
    }

    /// Milliseconds as seconds, in the form in which serde writes a float.
    pub(super) fn seconds(&mut self, before: &[u8], ms: u64) {
        self.number(before, ms / 1000);
        let part = ms % 1000;
        let [tenths, hundredths, thousandths] =
            [part / 100, part / 10 % 10, part % 10].map(|digit| b'0' + digit as u8);
        match (hundredths, thousandths) {
            (b'0', b'0') => self.raw(&[b'.', tenths]),
            (_, b'0') => self.raw(&[b'.', tenths, hundredths]),
            _ => self.raw(&[b'.', tenths, hundredths, thousandths]),
        }
    }

    /// Appends what precedes a word up to its opening quote, the word and the closing quote. The word is one
    /// of this program's, so nothing in it needs an escape.
    #[inline(never)]
    pub(super) fn word(&mut self, before: &[u8], word: &str) {
        self.raw(before);
        self.raw(word.as_bytes());
        self.raw(b"\"");
    }

    /// The same for a text that may need escapes.
    #[inline(never)]
    pub(super) fn text(&mut self, before: &[u8], text: &[u8]) {
        self.raw(before);
        if plain_run(text) == text.len() {
            self.raw(text);
        } else {
            self.escaped(text);
        }
        self.raw(b"\"");
    }

    /// `number` as 16 hexadecimal digits, like [`text`](Self::text).
    pub(super) fn hex(&mut self, before: &[u8], number: u64) {
        let digit = |shift: u32| match (number >> shift & 0xf) as u8 {
            low @ 0..=9 => b'0' + low,
            high => b'a' - 10 + high,
        };
        self.text(before, &[60, 56, 52, 48, 44, 40, 36, 32, 28, 24, 20, 16, 12, 8, 4, 0].map(digit));
    }

    #[cold]
    fn escaped(&mut self, mut text: &[u8]) {
        while let Some((plain, [special, rest @ ..])) = text.split_at_checked(plain_run(text)) {
            self.raw(plain);
            match special {
                b'"' => self.raw(b"\\\""),
                b'\\' => self.raw(b"\\\\"),
                b'\n' => self.raw(b"\\n"),
                b'\r' => self.raw(b"\\r"),
                b'\t' => self.raw(b"\\t"),
                0x08 => self.raw(b"\\b"),
                0x0c => self.raw(b"\\f"),
                control => {
                    let low = match control & 0xf {
                        low @ 0..=9 => b'0' + low,
                        high => b'a' - 10 + high,
                    };
                    self.raw(&[b'\\', b'u', b'0', b'0', b'0' + (control >> 4), low]);
                }
            }
            text = rest;
        }
        self.raw(text);
    }
}

/// Copies between slices of the same length. A short one is copied as its two ends, which may overlap.
#[inline(always)]
fn copy(to: &mut [u8], from: &[u8]) {
    match from.len() {
        65.. => to.copy_from_slice(from),
        32.. => copy_ends::<32>(to, from),
        16.. => copy_ends::<16>(to, from),
        8.. => copy_ends::<8>(to, from),
        4.. => copy_ends::<4>(to, from),
        2.. => copy_ends::<2>(to, from),
        _ => copy_ends::<1>(to, from),
    }
}

#[inline(always)]
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk::<N>()) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::new();
        write(&mut line);
        String::from_utf8(line.into_bytes()).unwrap()
    }

    #[test]
    fn pieces_of_every_length_follow_each_other() {
        let long: Vec<u8> = (0..200).map(|byte| b'!' + byte % 90).collect();
        let mut line = Line::new();
        let mut expected = Vec::new();
        for len in (0..long.len()).chain((0..long.len()).rev()) {
            line.raw(&long[..len]);
            expected.extend_from_slice(&long[..len]);
        }
        assert_eq!(line.into_bytes(), expected);
    }

    #[test]
    fn numbers_at_the_edges_are_written_whole() {
        let mut number = 1_u64;
        while let Some(next) = number.checked_mul(10) {
            for number in [number - 1, number, number + 1] {
                assert_eq!(written(|line| line.number(b"", number)), number.to_string());
            }
            number = next;
        }
        for number in [u32::MAX.into(), u64::from(u32::MAX) + 1, u64::MAX] {
            assert_eq!(written(|line| line.number(b"n:", number)), format!("n:{number}"));
        }
    }

    proptest! {
        #[test]
        fn every_value_is_written_as_by_serde(number: u64, ms in 0..10_u64.pow(15), text: String, low in 0_u8..0x80) {
            prop_assert_eq!(written(|line| line.number(b"", number)), number.to_string());
            prop_assert_eq!(written(|line| line.hex(b"", number)), format!("{number:016x}\""));
            for ms in [ms, ms / 1000, ms / 1000 * 1000, ms / 10 * 10, ms / 100 * 100, ms % 1000] {
                let seconds = serde_json::to_string(&(ms as f64 / 1000.0)).unwrap();
                prop_assert_eq!(written(|line| line.seconds(b"", ms)), seconds);
            }
            for text in [text.clone(), format!("{text}{}{text}", char::from(low))] {
                let quoted = serde_json::to_string(&text).unwrap();
                prop_assert_eq!(written(|line| line.text(b"\"", text.as_bytes())), quoted);
            }
        }
    }
}
