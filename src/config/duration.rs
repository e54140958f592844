use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::mistakes::shown;

const EXPECTED: &str = "a number with a unit (ms, s, m or h), such as \"30s\"";

/// The units, largest first, with their lengths in milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A duration in whole milliseconds, written as a number with a unit: `100ms`, `1.5s`, `5 m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimeSpan(u64);

/// Parses a duration as in configurations: `100ms`, `1.5s`, `5m`.
pub fn duration(text: &str) -> Option<Duration> {
    TimeSpan::parse(text).ok().map(TimeSpan::duration)
}

impl TimeSpan {
    pub(super) const ZERO: Self = Self(0);

    pub(super) const fn millis(ms: u64) -> Self {
        Self(ms)
    }

    pub(super) const fn seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    pub(super) const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// A `Duration` without its fraction of a millisecond.
    pub(super) fn of(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    /// Parses `text`. The error says what was expected. Fractions of a millisecond are rounded, but never to
    /// zero, because zero switches some features off and `0.1ms` does not mean that.
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is not a duration, expected {EXPECTED}", shown(text));
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
        // The cast saturates, and every bound is far below the numbers where a double loses milliseconds.
        Ok(Self(if ms > 0.0 { ms.round().max(1.0) as u64 } else { 0 }))
    }
}

/// In the largest unit that needs no fraction: `10m`, `90s`, `1500ms`.
impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ZERO {
            return f.write_str("0s");
        }
        let fitting = UNITS.into_iter().find(|(_, ms)| self.0.is_multiple_of(*ms));
        let (name, ms) = fitting.unwrap_or(("ms", 1));
        write!(f, "{}{name}", self.0 / ms)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = TimeSpan;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TimeSpan, E> {
                TimeSpan::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// How long a complete stream may stay open: a duration, or as long as its provider keeps it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Linger {
    For(TimeSpan),
    Provider,
}

impl<'de> Deserialize<'de> for Linger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Linger;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{EXPECTED}, or \"provider\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Linger, E> {
                if text == "provider" {
                    return Ok(Linger::Provider);
                }
                TimeSpan::parse(text)
                    .map(Linger::For)
                    .map_err(|wrong| E::custom(format!("{wrong}, or \"provider\"")))
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
    fn every_unit_is_parsed() {
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
            assert_eq!(TimeSpan::parse(text), Ok(TimeSpan(ms)), "{text}");
        }
    }

    #[test]
    fn an_invalid_duration_is_reported_with_an_example() {
        for text in [
            "", "30", "s", "30S", "1d", "30sec", "-1s", "1.s", ".5s", "1..5s", "1e3s", "1h30m", "3０s",
            "inf s",
        ] {
            let problem = TimeSpan::parse(text).unwrap_err();
            assert_eq!(problem, format!("`{text}` is not a duration, expected {EXPECTED}"));
        }
    }

    #[test]
    fn a_duration_is_displayed_in_the_largest_unit_without_a_fraction() {
        for (span, text) in [
            (TimeSpan::ZERO, "0s"),
            (TimeSpan(1), "1ms"),
            (TimeSpan(1_500), "1500ms"),
            (TimeSpan(90_000), "90s"),
            (TimeSpan(600_000), "10m"),
            (TimeSpan::seconds(86_400), "24h"),
        ] {
            assert_eq!(span.to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn a_displayed_duration_is_parsed_to_the_same_value(ms in 0..=86_400_000_u64) {
            prop_assert_eq!(TimeSpan::parse(&TimeSpan(ms).to_string()), Ok(TimeSpan(ms)));
        }

        #[test]
        fn any_text_is_parsed_without_a_panic(text in "\\PC{0,20}", number in "[0-9.]{0,400}",
        unit in "[msh]{0,2}") {
            let _ = TimeSpan::parse(&text);
            let _ = TimeSpan::parse(&format!("{number}{unit}"));
        }
    }
}
