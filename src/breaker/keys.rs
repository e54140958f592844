//! Whose requests they were, and which host of a cluster had them: the client keys or the addresses behind
//! successes and failures, in two bytes.
//!
//! A breaker asks one thing only: did all these failures come from one client key (or host), while another one had
//! a success? For that it is enough to know of none, of one or that there were several. Two keys with the same
//! mark count as one, which happens to one pair in 65,000.

/// The client keys behind some results: none, one, or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keys(u16);

impl Keys {
    /// No key is known, as without `keys` in the configuration.
    pub const NONE: Self = Self(0);
    const SEVERAL: Self = Self(u16::MAX);

    /// One key, from the SHA-256 of its text.
    pub const fn of(sha256: &[u8; 32]) -> Self {
        let [first, second, ..] = *sha256;
        match u16::from_le_bytes([first, second]) {
            0 => Self(1),
            u16::MAX => Self(u16::MAX - 1),
            mark => Self(mark),
        }
    }

    /// One client without a key, from a hash of what identifies it.
    pub const fn of_hash(hash: u64) -> Self {
        let mut digest = [0; 32];
        [digest[0], digest[1], ..] = hash.to_le_bytes();
        Self::of(&digest)
    }

    /// The keys of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self.0, other.0) {
            (0, _) => other,
            (_, 0) => self,
            (one, two) if one == two => self,
            _ => Self::SEVERAL,
        }
    }

    /// Whether this is one key and `others` has a different one.
    pub(super) const fn is_one_besides(self, others: Self) -> bool {
        self.0 != 0 && self.0 != u16::MAX && others.0 != 0 && others.0 != self.0
    }

    /// The same, but what is unknown may be several.
    #[must_use]
    pub(super) const fn or_several(self) -> Self {
        if self.is_known() { self } else { Self::SEVERAL }
    }

    /// Whether a key is known at all.
    pub(super) const fn is_known(self) -> bool {
        self.0 != 0
    }

    pub(super) const fn are_several(self) -> bool {
        self.0 == u16::MAX
    }

    pub(super) const fn to_bits(self) -> u16 {
        self.0
    }

    pub(super) const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Keys {
        Keys::of(&[byte; 32])
    }

    #[test]
    fn only_one_key_with_another_beside_it_stands_alone() {
        let several = key(1).and(key(2));
        let cases = [
            (Keys::NONE, Keys::NONE, false),
            (Keys::NONE, key(1), false),
            (key(1), Keys::NONE, false),
            (key(1), key(1), false),
            (key(1), key(2), true),
            (key(1), several, true),
            (several, key(1), false),
            (several, several, false),
        ];
        for (failed, succeeded, expected) in cases {
            assert_eq!(failed.is_one_besides(succeeded), expected, "{failed:?} besides {succeeded:?}");
        }
    }

    #[test]
    fn keys_add_up_in_any_order() {
        let all = [Keys::NONE, key(0), key(1), key(255), key(1).and(key(2))];
        for one in all {
            assert_eq!(one.and(one), one);
            for other in all {
                assert_eq!(one.and(other), other.and(one));
                assert_eq!(Keys::from_bits(one.to_bits()), one);
            }
        }
        assert_ne!(key(0), Keys::NONE);
        assert_ne!(key(255), Keys::SEVERAL);
    }
}
