//! Finds the end of a string's plain bytes, eight bytes at a time.
//!
//! Nearly all bytes of a request are string contents, so this dominates the cost of a scan. Both Wasm without
//! SIMD and every native target are fast with 64-bit words.

const LOW_BITS: u64 = u64::MAX / 255;
const HIGH_BITS: u64 = LOW_BITS << 7;
const QUOTES: u64 = LOW_BITS * b'"' as u64;
const BACKSLASHES: u64 = LOW_BITS * b'\\' as u64;
const SPACES: u64 = LOW_BITS * b' ' as u64;

/// How many bytes at the start of `bytes` are neither a quote nor a backslash nor a control character.
#[inline]
pub fn plain_run(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let marks = marks(u64::from_le_bytes(*word));
        if marks != 0 {
            return index * 8 + (marks.trailing_zeros() / 8) as usize;
        }
    }
    words.len() * 8 + rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len())
}

/// A word whose lowest set bit is the high bit of the first special byte; zero if there is none.
///
/// The subtraction borrows only from a byte that is itself special, so the lowest mark is always right, while
/// higher ones may be false.
#[inline]
const fn marks(word: u64) -> u64 {
    let quote = word ^ QUOTES;
    let backslash = word ^ BACKSLASHES;
    let found = (quote.wrapping_sub(LOW_BITS) & !quote)
        | (backslash.wrapping_sub(LOW_BITS) & !backslash)
        | (word.wrapping_sub(SPACES) & !word);
    found & HIGH_BITS
}

#[inline]
const fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_special_at_every_position_of_a_word_or_at_none() {
        for byte in 0..=u8::MAX {
            for place in 0..20 {
                for filler in [b'a', b' ', b'!', 0x7f, 0x80, 0xff, b'#', b']'] {
                    let mut bytes = [filler; 20];
                    bytes[place] = byte;
                    let expected = if is_special(byte) { place } else { bytes.len() };
                    assert_eq!(plain_run(&bytes), expected, "byte {byte:#x} at {place}");
                }
            }
        }
    }

    #[test]
    fn the_first_of_several_special_bytes_counts() {
        for first in [b'"', b'\\', b'\n', 0] {
            for second in [b'"', b'\\', 0x1f, b'!', b' ', b'#', b']'] {
                assert_eq!(plain_run(&[b'x', first, second, second, b'x', b'x', b'x', b'x']), 1);
            }
        }
    }
}
