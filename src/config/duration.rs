use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::mistakes::shown;

const EXPECTED: &str = "a number with a unit (ms, s, m or h), such as \"30s\"";

/// The units, largest first, with their lengths in milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A length of time, written as a number with a unit: `100ms`, `1.5s`, `5 m`. It counts whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span(u64);

/// Reads a duration as the configuration has them, or `None`: `100ms`, `1.5s`, `5m`.
pub fn duration(text: &str) -> Option<Duration> {
    Span::parse(text).ok().map(Span::duration)
}

impl Span {
    pub(super) const ZERO: Self = Self(0);

    pub(super) const fn millis(ms: u64) -> Self {
        Self(ms)
    }

    pub(super) const fn seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// As the standard library has it.
    pub(super) const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// The span of a `Duration`, without its fraction of a millisecond.
    pub(super) fn of(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    /// Reads `text`; the error says what was expected. Fractions of a millisecond are rounded, but never to
    /// zero: zero switches some things off, and nobody who writes `0.1ms` means that.
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is no duration, expected {EXPECTED}", shown(text));
        let trimmed = text.trim_ascii();
        let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, unit) = trimmed.split_at_checked(split).ok_or_else(wrong)?;
        let unit = unit.trim_ascii_start();
        let (_, ms_per_unit) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let is_digit = |c: char| c.is_ascii_digit();
        let number: f64 = Some(number)
            .filter(|number| number.starts_with(is_digit) && number.ends_with(is_digit))
            .and_then(|number| number.parse().ok())
            .ok_or_else(wrong)?;
        let ms = number * ms_per_unit as f64;
        // Float-to-integer casts saturate, and every bound is far below where a double loses milliseconds.
        Ok(Self(if ms > 0.0 { ms.round().max(1.0) as u64 } else { 0 }))
    }
}

/// In the largest unit that needs no fraction: `10m`, `90s`, `1500ms`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ZERO {
            return f.write_str("0s");
        }
        let fitting = UNITS.into_iter().find(|(_, ms)| self.0.is_multiple_of(*ms));
        let (name, ms) = fitting.unwrap_or(("ms", 1));
        write!(f, "{}{name}", self.0 / ms)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_unit_counts_as_its_name_says() {
        for (text, ms) in [
            ("0s", 0),
            ("100ms", 100),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("1.5s", 1_500),
            ("1.001s", 1_001),
            ("0.29s", 290),
            ("0.1ms", 1),
            ("0.0h", 0),
            (" 2 m ", 120_000),
            ("99999999999999999999999999h", u64::MAX),
        ] {
            assert_eq!(Span::parse(text), Ok(Span(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_told_what_one_looks_like() {
        for text in [
            "", "30", "s", "30S", "1d", "30sec", "-1s", "1.s", ".5s", "1..5s", "1e3s", "1h30m", "3０s",
            "inf s",
        ] {
            let problem = Span::parse(text).unwrap_err();
            assert_eq!(problem, format!("`{text}` is no duration, expected {EXPECTED}"));
        }
    }

    #[test]
    fn it_is_shown_in_the_largest_unit_that_needs_no_fraction() {
        for (span, text) in [
            (Span::ZERO, "0s"),
            (Span(1), "1ms"),
            (Span(1_500), "1500ms"),
            (Span(90_000), "90s"),
            (Span(600_000), "10m"),
            (Span::seconds(86_400), "24h"),
        ] {
            assert_eq!(span.to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_as_the_same(ms in 0..=86_400_000_u64) {
            prop_assert_eq!(Span::parse(&Span(ms).to_string()), Ok(Span(ms)));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}", number in "[0-9.]{0,400}", unit in "[msh]{0,2}") {
            let _ = Span::parse(&text);
            let _ = Span::parse(&format!("{number}{unit}"));
        }
    }
}
