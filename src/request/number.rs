//! The grammar of JSON numbers, byte by byte.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberState {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl NumberState {
    /// The state after a number's first byte; `None` if no number begins with it.
    pub(super) const fn begin(byte: u8) -> Option<Self> {
        match byte {
            b'-' => Some(Self::Minus),
            b'0' => Some(Self::Zero),
            b'1'..=b'9' => Some(Self::Integer),
            _ => None,
        }
    }

    /// The state after one more byte; `None` if the byte is not part of the number.
    #[inline]
    pub(super) const fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus | Self::Integer, b'0'..=b'9') => Some(Self::Integer),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') => {
                Some(Self::ExponentDigits)
            }
            (Self::Zero | Self::Integer, b'.') => Some(Self::Point),
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Some(Self::Exponent),
            (Self::Exponent, b'+' | b'-') => Some(Self::ExponentSign),
            _ => None,
        }
    }

    /// Whether the number may end here.
    pub(super) const fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Integer | Self::Fraction | Self::ExponentDigits)
    }
}

/// The number as a count; `None` if it is negative. A fraction is rounded up, because an understated limit
/// would be unsafe. A number beyond 64 bits saturates.
pub(super) fn as_count(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(count) = text.parse::<u64>() {
        return Some(count);
    }
    let value = text.parse::<f64>().ok().filter(|value| *value >= 0.0)?;
    Some(value.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_number(text: &str) -> bool {
        let mut bytes = text.bytes();
        let first = bytes.next().and_then(NumberState::begin);
        bytes.fold(first, |state, byte| state?.next(byte)).is_some_and(NumberState::may_end)
    }

    #[test]
    fn numbers_follow_the_json_grammar() {
        for good in ["0", "-0", "7", "-12", "0.5", "10.25", "1e5", "1E+5", "0e-0", "-1.5e10", "100"] {
            assert!(is_number(good), "{good}");
        }
        for bad in
            ["", "-", "+1", "01", "00", "-01", ".5", "1.", "1.e5", "1e", "1e+", "1e5.", "1ee5", "0x1", "NaN"]
        {
            assert!(!is_number(bad), "{bad}");
        }
    }

    #[test]
    fn counts_round_up_and_saturate_and_are_never_negative() {
        for (text, count) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", Some(u64::MAX)),
            ("4096.0", Some(4096)),
            ("1.5", Some(2)),
            ("1e3", Some(1000)),
            ("1e999", Some(u64::MAX)),
            ("-0", Some(0)),
            ("-1", None),
            ("-0.5", None),
        ] {
            assert_eq!(as_count(text.as_bytes()), count, "{text}");
        }
    }
}
