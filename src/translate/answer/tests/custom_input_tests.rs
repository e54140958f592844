use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// The text in arguments, which are cut into pieces of `size` characters. Each piece on its own is JSON.
fn text_of(arguments: &str, size: usize) -> String {
    let mut input = CustomInput::default();
    let characters: Vec<char> = arguments.chars().collect();
    let mut text = String::new();
    for piece in characters.chunks(size) {
        let quoted = Value::from(piece.iter().collect::<String>()).to_string();
        let mut out = Vec::new();
        input.take(&quoted.as_bytes()[1..quoted.len() - 1], &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        text += &serde_json::from_str::<String>(&format!("\"{out}\"")).expect(&out);
    }
    text
}

#[test]
fn the_text_is_the_argument_input() {
    for (arguments, expected) in [
        (r#"{"input":"a"}"#, "a"),
        (" {\n \"input\" : \"a\\nb\\\"\" } ", "a\nb\""),
        (r#"{"input":""}"#, ""),
        ("{ }", ""),
        // It is cut off.
        (r#"{"input":"ab"#, "ab"),
        (r#"{"input":"ab\"#, "ab"),
        (r#"{"inp"#, ""),
        // Surrogate pairs, and halves of them.
        (r#"{"input":"\ud83d\ude00"}"#, "😀"),
        (r#"{"input":"\ud83dx\ud83d\ude00"}"#, "\u{fffd}x😀"),
        (r#"{"input":"\ud83d\n\ud83d\ud83d\ude00"}"#, "\u{fffd}\n\u{fffd}😀"),
        (r#"{"input":"\ude00\ud83d\u0041"}"#, "\u{fffd}\u{fffd}A"),
        // A backslash that is not escaped, and line ends that are not.
        (r#"{"input":"\d+\u12"}"#, "\\d+\\u12"),
        ("{\"input\":\"a\nb\"}", "a\nb"),
        // Another form.
        ("*** Begin Patch\n", "*** Begin Patch\n"),
        (r#"{"patch":"a"}"#, r#"{"patch":"a"}"#),
        (r#"{"input":7}"#, r#"{"input":7}"#),
    ] {
        for size in 1..40 {
            assert_eq!(text_of(arguments, size), expected, "{arguments} {size}");
        }
    }
}

#[test]
fn escapes_of_the_provider_may_be_cut_between_the_halves_of_a_pair() {
    let mut input = CustomInput::default();
    let mut out = Vec::new();
    for piece in [r#"{\u0022input\u0022:\"\u00e9\ud83d"#, r#"\ude00"#, r#"\""#] {
        input.take(piece.as_bytes(), &mut out).unwrap();
        assert!(serde_json::from_slice::<String>(&[b"\"", out.as_slice(), b"\""].concat()).is_ok());
    }
    assert_eq!(out, br"\u00e9\ud83d\ude00");
}

proptest! {
    #[test]
    fn any_text_comes_out_at_any_cut(text in "\\PC*|[\\x00-\\x7f😀]*", size in 1..20_usize) {
        let arguments = serde_json::json!({ "input": text }).to_string();
        prop_assert_eq!(text_of(&arguments, size), text.clone());
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        prop_assert_eq!(text_of(&format!("{{\"input\":\"{escaped}\"}}"), size), text);
    }
}
