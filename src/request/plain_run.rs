//! Finds the end of a string's plain bytes, 64 bytes at a time.
//!
//! Nearly all bytes of a request are string contents, so this dominates the cost of a scan. In Wasm vectors of 16
//! bytes do the work, elsewhere words of eight.

const VECTOR: usize = 16;
const BLOCK: usize = 4 * VECTOR;

/// How many bytes at the start of `bytes` are neither a quote nor a backslash nor a control character.
#[inline]
pub fn plain_run(bytes: &[u8]) -> usize {
    // Keys and short values end within the first vector.
    match bytes.first_chunk::<VECTOR>().map(first_special) {
        Some(VECTOR) => long_run(bytes),
        Some(end) => end,
        None => short_run(bytes),
    }
}

/// The same for bytes whose first vector is plain.
#[inline(never)]
fn long_run(bytes: &[u8]) -> usize {
    let mut done = VECTOR;
    let mut rest = bytes.get(VECTOR..).unwrap_or_default();
    while let Some((block, after)) = rest.split_first_chunk::<BLOCK>()
        && is_plain(block)
    {
        (done, rest) = (done + BLOCK, after);
    }
    while let Some((vector, after)) = rest.split_first_chunk::<VECTOR>() {
        match first_special(vector) {
            VECTOR => (done, rest) = (done + VECTOR, after),
            end => return done + end,
        }
    }
    done + short_run(rest)
}

/// The same for less than one vector.
#[inline]
fn short_run(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| is_special(*byte)).unwrap_or(bytes.len())
}

#[inline]
const fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use vectors::{first_special, is_plain};
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
use words::{first_special, is_plain};

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod vectors {
    use std::arch::wasm32::{u8x16, u8x16_bitmask, u8x16_eq, u8x16_lt, u8x16_splat, v128, v128_or};

    use super::{BLOCK, VECTOR};

    /// Where the first special byte is; [`VECTOR`] if there is none.
    #[inline]
    pub(super) fn first_special(bytes: &[u8; VECTOR]) -> usize {
        // A bit above the mask makes the count right when there is none.
        let mask = u32::from(u8x16_bitmask(marks(bytes))) | 1 << VECTOR;
        mask.trailing_zeros() as usize
    }

    #[inline]
    pub(super) fn is_plain(block: &[u8; BLOCK]) -> bool {
        let (vectors, _) = block.as_chunks::<VECTOR>();
        let found = vectors.iter().fold(u8x16_splat(0), |found, vector| v128_or(found, marks(vector)));
        u8x16_bitmask(found) == 0
    }

    /// All bits of each special byte.
    #[inline]
    fn marks(bytes: &[u8; VECTOR]) -> v128 {
        // The compiler makes one load of this.
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *bytes;
        let bytes = u8x16(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p);
        let quotes = u8x16_eq(bytes, u8x16_splat(b'"'));
        let backslashes = u8x16_eq(bytes, u8x16_splat(b'\\'));
        let controls = u8x16_lt(bytes, u8x16_splat(b' '));
        v128_or(v128_or(quotes, backslashes), controls)
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod words {
    use super::{BLOCK, VECTOR};

    const LOW_BITS: u64 = u64::MAX / 255;
    const HIGH_BITS: u64 = LOW_BITS << 7;
    const QUOTES: u64 = LOW_BITS * b'"' as u64;
    const BACKSLASHES: u64 = LOW_BITS * b'\\' as u64;
    const SPACES: u64 = LOW_BITS * b' ' as u64;

    /// Where the first special byte is; [`VECTOR`] if there is none.
    #[inline]
    pub(super) fn first_special(bytes: &[u8; VECTOR]) -> usize {
        let (words, _) = bytes.as_chunks::<8>();
        let mut before = 0;
        for word in words {
            let marks = marks(u64::from_le_bytes(*word));
            if marks != 0 {
                return before + (marks.trailing_zeros() / 8) as usize;
            }
            before += 8;
        }
        VECTOR
    }

    #[inline]
    pub(super) fn is_plain(block: &[u8; BLOCK]) -> bool {
        block.as_chunks::<8>().0.iter().all(|word| marks(u64::from_le_bytes(*word)) == 0)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_special_at_every_place_or_at_none() {
        for byte in 0..=u8::MAX {
            for length in [20, 150] {
                for place in 0..length {
                    let filler = [b'a', b' ', b'!', 0x7f, 0x80, 0xff, b'#', b']'][place % 8];
                    let mut bytes = vec![filler; length];
                    bytes[place] = byte;
                    let expected = if is_special(byte) { place } else { length };
                    assert_eq!(plain_run(&bytes), expected, "byte {byte:#x} at {place} of {length}");
                }
            }
        }
    }

    #[test]
    fn the_first_of_several_special_bytes_counts() {
        for first in [b'"', b'\\', b'\n', 0] {
            for second in [b'"', b'\\', 0x1f, b'!', b' ', b'#', b']'] {
                for before in [1, 15, 16, 17, 79, 80, 81, 200] {
                    let mut bytes = vec![b'x'; before];
                    bytes.extend([first, second, second]);
                    bytes.extend([b'x'; 40]);
                    assert_eq!(plain_run(&bytes), before);
                }
            }
        }
    }

    #[test]
    fn any_length_may_be_plain() {
        for length in 0..300 {
            assert_eq!(plain_run(&vec![b'x'; length]), length);
        }
    }
}
