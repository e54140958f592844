use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::mistakes::shown;

const EXPECTED: &str = "a number with a unit (B, KB, KiB, MB or MiB), such as \"32MiB\"";

/// A size in bytes, written as a number with a unit: `512KiB`, `1.5 MB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

impl Size {
    /// Parses `text`. The error says what was expected. Fractions of a byte are dropped.
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is not a size, expected {EXPECTED}", shown(text));
        let trimmed = text.trim_ascii();
        let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, unit) = trimmed.split_at_checked(split).ok_or_else(wrong)?;
        let bytes_per_unit = match unit.trim_ascii_start() {
            "B" => 1.0,
            "KB" => 1e3,
            "KiB" => 1024.0,
            "MB" => 1e6,
            "MiB" => 1024.0 * 1024.0,
            _ => return Err(wrong()),
        };
        let begins_and_ends_with_digit = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with(|c: char| c.is_ascii_digit())
        };
        let number: f64 = Some(number)
            .filter(|n| begins_and_ends_with_digit(n))
            .and_then(|n| n.parse().ok())
            .ok_or_else(wrong)?;
        // The cast saturates, and the caller's bounds are far below the numbers where a double loses bytes.
        Ok(Self((number * bytes_per_unit) as u64))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                Size::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_parsed() {
        for (text, bytes) in [
            ("0B", 0),
            ("7B", 7),
            ("2KB", 2_000),
            ("2KiB", 2_048),
            ("1.5MB", 1_500_000),
            ("32MiB", 33_554_432),
            (" 1 MiB ", 1_048_576),
            ("99999999999999999999999999MiB", u64::MAX),
        ] {
            assert_eq!(Size::parse(text), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn an_invalid_size_is_reported_with_an_example() {
        for text in
            ["", "32", "MiB", "32mib", "32GiB", "-1B", "1.B", ".5MB", "1..5MB", "1e3B", "32 MiB MiB", "３B"]
        {
            let problem = Size::parse(text).unwrap_err();
            assert_eq!(problem, format!("`{text}` is not a size, expected {EXPECTED}"));
        }
    }
}
