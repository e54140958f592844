//! What is kept of the current string or number: nothing, a bounded copy, or a hash.

use crate::base::{DIGEST_BYTES, FNV_BASIS, digest, fnv1a};

/// The longest string that is kept, in decoded bytes: a model's name or an enumeration value.
pub const MAX_KEPT_BYTES: usize = 256;

/// How much of each text at the beginning of a conversation identifies it, in decoded bytes.
pub const MAX_OPENING_BYTES: usize = DIGEST_BYTES;

/// What a sink needs of a string or number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Only its length.
    Length,
    /// Its text, if it is at most [`MAX_KEPT_BYTES`] long.
    Text,
    /// Its 64-bit hash.
    Hash,
    /// Its [`digest`]: the 64-bit hash of its first [`MAX_OPENING_BYTES`].
    Opening,
}

/// What was kept of a string or number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept<'a> {
    /// Nothing, because only the length was wanted.
    Nothing,
    /// All of it, decoded. Its UTF-8 is not checked.
    Text(&'a [u8]),
    /// It is longer than [`MAX_KEPT_BYTES`].
    TooLong,
    /// It has unpaired surrogates.
    Undecodable,
    /// FNV-1a, 64 bits, of the decoded bytes, or of the first [`MAX_OPENING_BYTES`].
    Hash(u64),
}

impl<'a> Kept<'a> {
    /// What is kept of a string or number without escapes that came in one piece.
    #[inline]
    pub(super) fn of_whole(want: Want, text: &'a [u8]) -> Self {
        match want {
            Want::Length => Self::Nothing,
            Want::Text if text.len() <= MAX_KEPT_BYTES => Self::Text(text),
            Want::Text => Self::TooLong,
            Want::Hash => Self::Hash(fnv1a(FNV_BASIS, text)),
            Want::Opening => Self::Hash(digest(text)),
        }
    }
}

/// Gathers one string or number that may come in many pieces.
#[derive(Debug)]
pub(super) struct Gatherer {
    want: Want,
    text: Vec<u8>,
    hash: u64,
    length: usize,
    high_surrogate: Option<u16>,
    undecodable: bool,
}

impl Gatherer {
    pub(super) const fn new() -> Self {
        Self {
            want: Want::Length,
            text: Vec::new(),
            hash: FNV_BASIS,
            length: 0,
            high_surrogate: None,
            undecodable: false,
        }
    }

    /// Begins a new string or number.
    #[inline]
    pub(super) fn begin(&mut self, want: Want) {
        self.want = want;
        self.text.clear();
        self.hash = FNV_BASIS;
        self.length = 0;
        self.high_surrogate = None;
        self.undecodable = false;
    }

    /// Adds bytes that are not escaped.
    #[inline]
    pub(super) fn plain(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.undecodable |= self.high_surrogate.take().is_some();
        self.add(bytes);
    }

    /// Adds the UTF-16 unit of a `\u` escape.
    pub(super) fn unit(&mut self, unit: u16) {
        match (self.high_surrogate.take(), unit) {
            (Some(high), 0xdc00..=0xdfff) => {
                let decoded = char::decode_utf16([high, unit]).next();
                // The first half has already been counted.
                self.length = self.length.saturating_sub(2);
                self.character(decoded.and_then(Result::ok));
            }
            (pending, 0xd800..=0xdbff) => {
                self.undecodable |= pending.is_some();
                self.high_surrogate = Some(unit);
                self.length = self.length.saturating_add(2);
            }
            (pending, _) => {
                self.undecodable |= pending.is_some();
                self.character(char::from_u32(unit.into()));
            }
        }
    }

    /// Adds the last piece and returns what was kept and the length. Does not copy if there was no other
    /// piece.
    #[inline]
    pub(super) fn finish<'a>(&'a mut self, last: &'a [u8]) -> (Kept<'a>, usize) {
        if self.length == 0 && self.high_surrogate.is_none() && !self.undecodable {
            return (Kept::of_whole(self.want, last), last.len());
        }
        self.plain(last);
        self.undecodable |= self.high_surrogate.is_some();
        let kept = match self.want {
            Want::Length => Kept::Nothing,
            _ if self.undecodable => Kept::Undecodable,
            Want::Hash | Want::Opening => Kept::Hash(self.hash),
            Want::Text if self.length > MAX_KEPT_BYTES => Kept::TooLong,
            Want::Text => Kept::Text(&self.text),
        };
        (kept, self.length)
    }

    fn character(&mut self, character: Option<char>) {
        match character {
            Some(character) => self.add(character.encode_utf8(&mut [0; 4]).as_bytes()),
            None => {
                self.undecodable = true;
                self.length = self.length.saturating_add(2);
            }
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len());
        match self.want {
            Want::Length => {}
            Want::Text if self.length <= MAX_KEPT_BYTES => self.text.extend_from_slice(bytes),
            Want::Text => {}
            Want::Hash => self.hash = fnv1a(self.hash, bytes),
            Want::Opening => {
                let room = MAX_OPENING_BYTES.saturating_sub(self.length.saturating_sub(bytes.len()));
                self.hash = fnv1a(self.hash, bytes.get(..room).unwrap_or(bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surrogate_pair_is_one_character_of_four_bytes() {
        let mut gatherer = Gatherer::new();
        gatherer.begin(Want::Text);
        gatherer.unit(0xd83d);
        gatherer.unit(0xde00);
        assert_eq!(gatherer.finish(b"!"), (Kept::Text("😀!".as_bytes()), 5));
    }

    #[test]
    fn unpaired_surrogates_are_undecodable() {
        for units in [&[0xd83d][..], &[0xde00], &[0xde00, 0xd83d], &[0xd83d, 0xd83d, 0xde00], &[0xd83d, 0x41]]
        {
            let mut gatherer = Gatherer::new();
            gatherer.begin(Want::Text);
            units.iter().for_each(|unit| gatherer.unit(*unit));
            assert_eq!(gatherer.finish(b"").0, Kept::Undecodable, "{units:x?}");
        }
        let mut gatherer = Gatherer::new();
        gatherer.begin(Want::Text);
        gatherer.unit(0xd83d);
        assert_eq!(gatherer.finish(b"x").0, Kept::Undecodable);
    }

    #[test]
    fn a_text_of_the_maximum_length_is_kept_and_a_longer_one_is_not() {
        for pieces in [1, 2, 256] {
            for (length, fits) in [(MAX_KEPT_BYTES, true), (MAX_KEPT_BYTES + 1, false)] {
                let text = vec![b'm'; length];
                let mut gatherer = Gatherer::new();
                gatherer.begin(Want::Text);
                let (head, last) = text.split_at(if pieces == 1 { 0 } else { length - length / pieces });
                gatherer.plain(head);
                let expected = if fits { Kept::Text(&text) } else { Kept::TooLong };
                assert_eq!(gatherer.finish(last), (expected, length));
            }
        }
    }

    #[test]
    fn a_hash_does_not_depend_on_the_pieces_and_is_fnv_1a() {
        let mut gatherer = Gatherer::new();
        for cut in 0..=6 {
            gatherer.begin(Want::Hash);
            let (head, last) = b"foobar".split_at(cut);
            gatherer.plain(head);
            assert_eq!(gatherer.finish(last), (Kept::Hash(0x8594_4171_f739_67e8), 6));
        }
    }
}
