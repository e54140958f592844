//! Reads numbers. Envoy's YAML reader turns a number with a decimal point into text (`0.5` becomes `"0.5"` in
//! the Struct), so text that is a number is accepted.

use serde::de::{Deserialize, Deserializer, Error, Unexpected};
use serde_json::Value;

/// Any finite number.
pub(super) fn decimal<'de, D: Deserializer<'de>>(input: D) -> Result<Option<f64>, D::Error> {
    let value = Value::deserialize(input)?;
    // A value that has already been reported as a mistake was replaced by null.
    if value.is_null() {
        return Ok(None);
    }
    read(&value, b".-+eE").map(Some).ok_or_else(|| mismatch(&value, "f64"))
}

/// A whole number, zero or more. `3.0` is one.
pub(super) fn whole<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    let value = Value::deserialize(input)?;
    if value.is_null() {
        return Ok(None);
    }
    if let Some(number) = value.as_u64() {
        return Ok(Some(number));
    }
    // Above 2^53 a double does not represent every whole number.
    let exact = read(&value, b".-")
        .filter(|number| number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(number));
    exact.map(|number| Some(number as u64)).ok_or_else(|| mismatch(&value, "u64"))
}

/// Text may have only digits and the characters of `beside_digits`.
fn read(value: &Value, beside_digits: &[u8]) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        // Only what YAML would read as a decimal number: no `inf`, no `+1`, no blanks. Programs may write
        // `1e-6`.
        Value::String(text)
            if !text.starts_with('+')
                && text.bytes().all(|byte| byte.is_ascii_digit() || beside_digits.contains(&byte)) =>
        {
            text.parse().ok()
        }
        _ => None,
    };
    number.filter(|number: &f64| number.is_finite())
}

fn mismatch<E: Error>(value: &Value, expected: &'static str) -> E {
    let found = match value {
        Value::String(text) => Unexpected::Str(text),
        Value::Bool(truth) => Unexpected::Bool(*truth),
        Value::Number(_) => Unexpected::Other("number"),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
        Value::Null => Unexpected::Unit,
    };
    E::invalid_type(found, &expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_written_as_text_are_accepted_and_other_text_is_not() {
        for (value, expected) in [
            (json!("3.0"), Some(3)),
            (json!("3"), Some(3)),
            (json!(3.0), Some(3)),
            (json!(3), Some(3)),
            (json!("3.5"), None),
            (json!(-1), None),
            (json!("-1"), None),
            (json!("three"), None),
            (json!("1e3"), None),
            (json!(""), None),
            (json!("inf"), None),
            (json!(true), None),
            (json!(1e300), None),
        ] {
            assert_eq!(whole(&value).ok().flatten(), expected, "{value}");
        }
        assert_eq!(decimal(&json!("0.25")).unwrap(), Some(0.25));
        assert_eq!(decimal(&json!(0.25)).unwrap(), Some(0.25));
        assert_eq!(decimal(&json!("1e-06")).unwrap(), Some(0.000_001));
        assert_eq!(decimal(&json!("2.5E+1")).unwrap(), Some(25.0));
        for text in ["a quarter", "+1", "e", "1e", "-", "1e999", "0x1", "1-2", ""] {
            assert!(decimal(&json!(text)).is_err(), "{text}");
        }
    }
}
