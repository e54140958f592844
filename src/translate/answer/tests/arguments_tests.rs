use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn object_of(text: &str) -> Value {
    let mut to = Writer::default();
    write_object(text.as_bytes(), &mut to);
    serde_json::from_slice(&to.into_bytes()).unwrap()
}

#[test]
fn arguments_become_an_object() {
    for (text, expected) in [
        ("", "{}"),
        ("  ", "{}"),
        ("{}", "{}"),
        (r#" {"a": [1, {"b": null}]} "#, r#"{"a":[1,{"b":null}]}"#),
        ("[]", r#"{"INVALID_JSON":"[]"}"#),
        ("7", r#"{"INVALID_JSON":"7"}"#),
        (r#"{"a":"#, r#"{"INVALID_JSON":"{\"a\":"}"#),
        (r#"{"a":1}}"#, r#"{"INVALID_JSON":"{\"a\":1}}"}"#),
    ] {
        assert_eq!(object_of(text), serde_json::from_str::<Value>(expected).unwrap(), "{text}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(is_json(nested(MAX_DEPTH as usize - 1).as_bytes()));
    assert!(!is_json(nested(MAX_DEPTH as usize).as_bytes()));
}

/// Whether serde takes a text for JSON. It refuses numbers that no float can hold, which are JSON.
fn serde_agrees(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

proptest! {
    #[test]
    fn it_is_json_if_it_is_json(
        text in r#"[\[\]{}",:\\ 0-9eE.+a-]{0,12}|([\[{ ]|"[a\\u0"]{0,4}"|:|,|1|-0|true|null|1\.5e-2|[\]}]){0,12}"#,
    ) {
        prop_assert_eq!(is_json(text.as_bytes()), serde_agrees(&text), "{}", text);
    }

    #[test]
    fn brackets_close_at_the_end_of_the_object(text in "[a-z\"\\\\{}\\[\\]é😀]{0,8}", cut in 0..64_usize) {
        let json = serde_json::json!({"a": [text, {"b": text}]}).to_string();
        let escape = |part: &str| {
            let quoted = Value::from(part).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        };
        let mut cut = cut.min(json.len() - 1);
        while !json.is_char_boundary(cut) {
            cut -= 1;
        }
        let mut brackets = Brackets::default();
        brackets.take(escape(&json[..cut]).as_bytes());
        prop_assert!(!brackets.are_closed());
        brackets.take(escape(&json[cut..]).as_bytes());
        prop_assert!(brackets.are_closed());
    }
}
