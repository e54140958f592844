//! Properties of the scan.

use proptest::prelude::*;
use serde_json::Value;

use super::super::{Facts, MAX_DEPTH, MAX_MODEL_MEMBERS, OwnRouting, ScanError, Scanner, UsageSpots};
use super::bodies::{Json, Style, body};
use super::reference::facts_of;
use super::{scan, scan_in};

fn without_positions(mut facts: Facts) -> Facts {
    facts.model_spans = Default::default();
    facts.usage_spots = UsageSpots::default();
    facts.body_bytes = 0;
    facts
}

fn models(body: &Json) -> usize {
    body.all("model").count()
}

/// Whether serde_json rejects something that the scanner leaves to the provider.
fn is_left_to_the_provider(error: &serde_json::Error) -> bool {
    let text = error.to_string();
    ["lone leading surrogate", "unexpected end of hex escape", "number out of range"]
        .iter()
        .any(|leniency| text.contains(leniency))
}

fn check_acceptance(body: &[u8]) {
    if std::str::from_utf8(body).is_err() {
        return;
    }
    let scanned = scan_in(body, &[]);
    assert_eq!(scan_in(body, &[1]), scanned);
    let shown = || String::from_utf8_lossy(body).into_owned();
    match (serde_json::from_slice::<Value>(body), scanned) {
        (
            Ok(Value::Object(_)),
            Ok(_) | Err(ScanError::TooManyModels { .. } | ScanError::ModelInOtherCase { .. }),
        ) => {}
        (Ok(Value::Object(_)), Err(error)) => panic!("rejected: {error}\n{}", shown()),
        (Ok(_), scanned) => assert!(matches!(scanned, Err(ScanError::NotAnObject { .. })), "{}", shown()),
        (Err(error), Ok(_)) => assert!(is_left_to_the_provider(&error), "accepted: {error}\n{}", shown()),
        (Err(_), Err(_)) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn any_chunking_gives_the_same_facts(
        body in body(),
        style in any::<u64>(),
        cuts in proptest::collection::vec(0..40_usize, 0..5),
    ) {
        prop_assume!(models(&body) <= MAX_MODEL_MEMBERS);
        let text = body.write(Style(style));
        let facts = scan(&text).unwrap();
        prop_assert_eq!(facts.body_bytes, text.len() as u64);
        prop_assert_eq!(without_positions(facts.clone()), facts_of(&body), "{}", text);
        prop_assert_eq!(&scan_in(text.as_bytes(), &cuts).unwrap(), &facts);
        prop_assert_eq!(&scan_in(text.as_bytes(), &[1]).unwrap(), &facts);
    }

    #[test]
    fn the_last_duplicate_counts_as_in_serde_json(body in body(), style in any::<u64>()) {
        prop_assume!(models(&body) <= MAX_MODEL_MEMBERS);
        let text = body.with_duplicates_at_the_top_only().write(Style(style));
        let parsed: Value = serde_json::from_str(&text).unwrap();
        let mut expected = facts_of(&parsed.into());
        let facts = without_positions(scan(&text).unwrap());
        prop_assert!(facts.text_bytes + facts.media_bytes >= expected.text_bytes + expected.media_bytes);
        (expected.text_bytes, expected.media_bytes) = (facts.text_bytes, facts.media_bytes);
        // A member that chooses counts even if a later duplicate does not.
        prop_assert!(facts.routing.models >= expected.routing.models && facts.routing.hosts >= expected.routing.hosts);
        expected.routing = facts.routing;
        // The hash of a conversation depends on the order of its texts, and serde_json reorders members.
        expected.affinity.conversation = facts.affinity.conversation;
        prop_assert_eq!(facts, expected, "{}", text);
    }

    #[test]
    fn every_model_has_the_right_span(body in body(), style in any::<u64>()) {
        prop_assume!(models(&body) <= MAX_MODEL_MEMBERS);
        let text = body.write(Style(style));
        let facts = scan(&text).unwrap();
        prop_assert_eq!(facts.model_spans.len(), models(&body));
        for (span, model) in facts.model_spans.iter().zip(body.all("model")) {
            let slice = &text[span.start..span.end];
            prop_assert_eq!(slice.trim(), slice);
            let found: Value = serde_json::from_str(slice).unwrap();
            let expected: Value = serde_json::from_str(&model.write(Style(0))).unwrap();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_scanner_accepts_what_serde_json_accepts(
        body in body(),
        style in any::<u64>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        syntax in proptest::collection::vec(
            (
                any::<prop::sample::Index>(),
                proptest::sample::select(b"{}[]:,\"\\ \n0.-+eEtu1\0\x7f".as_slice()),
            ),
            0..4,
        ),
    ) {
        let mut bytes = body.write(Style(style)).into_bytes();
        for (index, byte) in flips {
            let index = index.index(bytes.len());
            bytes[index] = byte & 0x7f;
        }
        for (index, byte) in syntax {
            bytes.insert(index.index(bytes.len()), byte);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        check_acceptance(&bytes);
    }

    #[test]
    fn short_fragments_of_syntax_are_accepted_as_in_serde_json(
        fragments in proptest::collection::vec(
            proptest::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"model\"", "\\", "\\u00e9", "1", "0", "-", ".",
                "e", "+", "true", "false", "null", "nul", " ", "\n", "\t", "{\"a\":", "[1,",
                "\\ud83d\\ude00", "\u{1}", "é",
            ]),
            0..14,
        ),
        in_object in any::<bool>(),
    ) {
        let fragments = fragments.concat();
        let text = if in_object { format!("{{\"a\":{fragments}}}") } else { fragments };
        check_acceptance(text.as_bytes());
    }

    #[test]
    fn any_bytes_give_the_same_result_in_any_chunking(
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        cuts in proptest::collection::vec(0..9_usize, 0..5),
    ) {
        let body = [b"{\"model\":\"".as_slice(), &bytes].concat();
        prop_assert_eq!(scan_in(&body, &cuts), scan_in(&body, &[]));
        prop_assert_eq!(scan_in(&bytes, &cuts), scan_in(&bytes, &[]));
    }
}

#[test]
fn the_depth_limit_is_that_of_serde_json() {
    for depth in 120..135 {
        for (open, close) in [("[", "]"), ("{\"content\":", "}")] {
            let inner = depth - 1;
            let body = format!("{{\"messages\":{}0{}}}", open.repeat(inner), close.repeat(inner));
            assert_eq!(scan(&body).is_ok(), serde_json::from_str::<Value>(&body).is_ok(), "{depth}");
            assert_eq!(scan(&body).is_ok(), depth <= usize::from(MAX_DEPTH), "{depth}");
        }
    }
    let deep = "{\"a\":".repeat(1_000_000);
    assert_eq!(scan(&deep), Err(ScanError::TooDeep { offset: usize::from(MAX_DEPTH) * 5 }));
}

#[test]
fn the_maximum_number_of_models_is_accepted_and_one_more_is_rejected() {
    let body = |count| format!("{{{}}}", vec!["\"model\":\"a\""; count].join(","));
    assert_eq!(scan(&body(MAX_MODEL_MEMBERS)).unwrap().model_spans.len(), MAX_MODEL_MEMBERS);
    let offset = 9 + 12 * MAX_MODEL_MEMBERS;
    assert_eq!(scan(&body(MAX_MODEL_MEMBERS + 1)), Err(ScanError::TooManyModels { offset }));
}

#[test]
fn a_model_in_another_case_is_rejected_at_the_top_only() {
    for (body, offset) in [
        (r#"{"Model":"a"}"#, Some(9)),
        (r#"{"model":"a","MODEL":"b"}"#, Some(21)),
        (r#"{"mODEL":{},"model":"a"}"#, Some(9)),
        (r#"{"\u004dodel":null,"model":"a"}"#, Some(14)),
        (r#"{"model":"a","Models":"b","modeL2":"c","messages":[{"Model":"d"}],"x":{"Model":"e"}}"#, None),
    ] {
        let expected = offset.map(|offset| ScanError::ModelInOtherCase { offset });
        assert_eq!(scan(body).err(), expected, "{body}");
    }
}

#[test]
fn what_is_chosen_at_a_router_is_noted_unless_it_is_empty() {
    let chosen = |models, hosts| OwnRouting { models, hosts };
    for (members, expected) in [
        (r#""models":["a"]"#, chosen(true, false)),
        (r#""fallbacks":[{"model":"a"}]"#, chosen(true, false)),
        (r#""fallback_models":["a"]"#, chosen(true, false)),
        (r#""route":"fallback""#, chosen(true, false)),
        (r#""preset":"a""#, chosen(true, false)),
        (r#""provider":{"order":["a"]}"#, chosen(false, true)),
        (r#""provider":{"only":null},"models":[],"fallbacks":null,"route":"""#, chosen(false, false)),
        (r#""provider":{}"#, chosen(false, false)),
        // Of duplicates, parsers take the first or the last.
        (r#""models":["a"],"models":null"#, chosen(true, false)),
        (r#""messages":[{"models":["a"],"provider":{"a":1}}]"#, chosen(false, false)),
    ] {
        let facts = scan(&format!(r#"{{"model":"m",{members}}}"#)).unwrap();
        assert_eq!(facts.routing, expected, "{members}");
    }
}

#[test]
fn after_a_failure_every_call_returns_the_same_error() {
    let mut scanner = Scanner::new();
    let failure = Err(ScanError::NotJson { offset: 1, expected: "a key or }" });
    assert_eq!(scanner.feed(b"{1"), failure);
    assert_eq!(scanner.feed(b"{}"), failure);
    assert_eq!(scanner.feed(b""), failure);
    assert_eq!(scanner.finish().map(|_| ()), failure);
}

#[test]
fn each_syntax_error_is_reported_with_its_offset() {
    for (body, expected) in [
        ("", ScanError::Empty),
        (" \r\n\t", ScanError::Empty),
        ("{\"a\":1", ScanError::Truncated { offset: 6 }),
        ("[]", ScanError::NotAnObject { offset: 0 }),
        (" \"x\"", ScanError::NotAnObject { offset: 1 }),
        ("null", ScanError::NotAnObject { offset: 0 }),
        ("\u{feff}{}", ScanError::NotJson { offset: 0, expected: "an object" }),
        ("hello", ScanError::NotJson { offset: 0, expected: "an object" }),
        ("{} {}", ScanError::NotJson { offset: 3, expected: "nothing after the object" }),
        ("{,}", ScanError::NotJson { offset: 1, expected: "a key or }" }),
        ("{\"a\":1,}", ScanError::NotJson { offset: 7, expected: "a key" }),
        ("{\"a\"1}", ScanError::NotJson { offset: 4, expected: "a colon" }),
        ("{\"a\":}", ScanError::NotJson { offset: 5, expected: "a value" }),
        ("{\"a\":[}", ScanError::NotJson { offset: 6, expected: "a value or ]" }),
        ("{\"a\":[1}", ScanError::NotJson { offset: 7, expected: "a comma or ]" }),
        ("{\"a\":1]", ScanError::NotJson { offset: 6, expected: "a comma or }" }),
        ("{\"a\":01}", ScanError::NotJson { offset: 6, expected: "a comma or }" }),
        ("{\"a\":-}", ScanError::NotJson { offset: 6, expected: "a digit" }),
        ("{\"a\":1.}", ScanError::NotJson { offset: 7, expected: "a digit" }),
        ("{\"a\":nil}", ScanError::NotJson { offset: 6, expected: "true, false or null" }),
        ("{\"a\":\"\n\"}", ScanError::NotJson { offset: 6, expected: "no control character in a string" }),
        ("{\"a\":\"\\x\"}", ScanError::NotJson { offset: 7, expected: "a valid JSON escape" }),
        ("{\"a\":\"\\u12g4\"}", ScanError::NotJson { offset: 10, expected: "four hexadecimal digits" }),
    ] {
        assert_eq!(scan(body), Err(expected), "{body}");
        assert_eq!(scan_in(body.as_bytes(), &[1]), Err(expected), "{body} byte by byte");
    }
}
