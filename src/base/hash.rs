//! Hashes for spreading load that are the same in every worker. They are not collision-resistant against an
//! attacker.

/// The initial value of [`fnv1a`].
pub const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a (Fowler, Noll, Vo), 64 bits: continues `hash` with these bytes.
pub fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// How much of a text its [`digest`] covers, in bytes.
pub const DIGEST_BYTES: usize = 4096;

/// A short stand-in for a long random text, such as the id of a response: the hash of its beginning.
pub fn digest(text: &[u8]) -> u64 {
    fnv1a(FNV_BASIS, text.get(..DIGEST_BYTES).unwrap_or(text))
}

/// The finalizer of SplitMix64: each bit of `value` affects about half of the result's bits.
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_fnv_1a() {
        assert_eq!(fnv1a(FNV_BASIS, b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(fnv1a(fnv1a(FNV_BASIS, b"foo"), b"bar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn mix_changes_about_half_of_the_bits_between_neighbours() {
        for value in 0..1000_u64 {
            let changed = (mix(value) ^ mix(value + 1)).count_ones();
            assert!((10..=54).contains(&changed), "{value}: {changed}");
        }
    }
}
