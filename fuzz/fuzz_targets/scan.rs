//! The scanner, compared with serde_json and with itself on other window lengths.
//!
//! Input: one byte for the window length, then the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_failsafe::request::{Facts, ModelField, ScanError, Scanner};
use serde_json::Value;

fn scan<'a>(windows: impl Iterator<Item = &'a [u8]>) -> Result<Facts, ScanError> {
    let mut scanner = Scanner::new();
    for window in windows {
        scanner.feed(window)?;
    }
    scanner.finish()
}

/// Whether serde_json rejects something that the scanner accepts and leaves to the provider.
fn is_left_to_the_provider(error: &serde_json::Error) -> bool {
    let text = error.to_string();
    ["lone leading surrogate", "unexpected end of hex escape", "number out of range"]
        .iter()
        .any(|leniency| text.contains(leniency))
}

fn check_facts(facts: &Facts, parsed: &Value, body: &[u8]) {
    assert_eq!(facts.body_bytes, body.len() as u64);
    assert_eq!(facts.stream, parsed["stream"] == true);
    assert_eq!(facts.tools.count as usize, parsed["tools"].as_array().map_or(0, Vec::len));
    for span in &facts.model_spans {
        assert!(serde_json::from_slice::<Value>(&body[span.start..span.end]).is_ok());
    }
    match (&facts.model, parsed.get("model")) {
        (ModelField::Absent, None) => assert!(facts.model_spans.is_empty()),
        (ModelField::Text { value }, Some(Value::String(model))) => assert_eq!(value.as_str(), model),
        (ModelField::TooLong, Some(Value::String(model))) => assert!(model.len() > 256),
        (ModelField::NotText, Some(model)) => assert!(!model.is_string()),
        (found, model) => panic!("{found:?} for {model:?}"),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((first, body)) = input.split_first() else { return };
    let scanned = scan(std::iter::once(body));
    assert_eq!(scan(body.chunks(usize::from(first % 32) + 1)), scanned);
    if std::str::from_utf8(body).is_err() {
        return;
    }
    match (serde_json::from_slice::<Value>(body), scanned) {
        (Ok(parsed @ Value::Object(_)), Ok(facts)) => check_facts(&facts, &parsed, body),
        (Ok(Value::Object(_)), Err(ScanError::TooManyModels { .. } | ScanError::ModelInOtherCase { .. }))
        | (Err(_), Err(_)) => {}
        (Ok(Value::Object(_)), Err(error)) => panic!("refused what is JSON: {error}"),
        (Ok(_), scanned) => assert!(matches!(scanned, Err(ScanError::NotAnObject { .. }))),
        (Err(error), Ok(_)) => assert!(is_left_to_the_provider(&error), "accepted what is not JSON: {error}"),
    }
});
