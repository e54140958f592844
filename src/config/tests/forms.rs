//! The two forms of a configuration: a Struct and JSON text.

use super::*;

#[test]
fn a_struct_and_json_text_give_the_same_configuration() {
    for config in [smallest(), full()] {
        let from_json = load_json(&config).unwrap();
        let from_struct = load(&struct_of(&config).encode_to_vec(), &env).unwrap();
        assert_eq!(everything(&from_json), everything(&from_struct));
    }
}

#[test]
fn a_struct_that_begins_like_json_text_is_read_as_a_struct() {
    // With an entry of 123 bytes, the Struct begins with a line break and an opening brace.
    let mut found = false;
    for padding in 1..120 {
        let mut config = smallest();
        config["models"] = json!({"m".repeat(padding): {"targets": ["gpt"]}});
        let bytes = struct_of(&config).encode_to_vec();
        found |= bytes.starts_with(b"\n{");
        load(&bytes, &env).unwrap();
    }
    assert!(found);
}

#[test]
fn json_text_may_be_surrounded_by_white_space() {
    let text = format!(" \r\n\t{}\n\n", smallest());
    assert!(load(text.as_bytes(), &env).is_ok());
    assert!(load(format!("\n{}", smallest()).as_bytes(), &env).is_ok());
}

#[test]
fn whole_doubles_are_accepted_as_integers_and_others_are_not() {
    let text = full()
        .to_string()
        .replace("\"weight\":2", "\"weight\":2.0")
        .replace("\"attempts\":5", "\"attempts\":5e0");
    assert_eq!(everything(&load(text.as_bytes(), &env).unwrap()), everything(&load_json(&full()).unwrap()));
    for bad in [2.5, -1.0, 1e300, f64::NAN, f64::INFINITY] {
        let mut fields = struct_of(&smallest());
        fields.fields.insert("limits".into(), {
            let number = prost_types::Value { kind: Some(Kind::NumberValue(bad)) };
            let limits = prost_types::Struct { fields: [("max_journeys".to_owned(), number)].into() };
            prost_types::Value { kind: Some(Kind::StructValue(limits)) }
        });
        let mistakes = load(&fields.encode_to_vec(), &env).unwrap_err();
        let paths: Vec<_> = mistakes.iter().map(|mistake| mistake.path.as_str()).collect();
        assert_eq!(paths, ["limits.max_journeys"], "{bad}");
    }
}

#[test]
fn both_forms_accept_the_same_nesting() {
    fn nested(levels: usize) -> Value {
        // The configuration itself is the first level.
        json!({"deep": (1..levels).fold(json!(1), |inner, _| json!({"x": inner}))})
    }
    for config in [nested(MAX_NESTING), nested(MAX_NESTING + 1)] {
        let too_deep = config.to_string().matches('{').count() > MAX_NESTING;
        for bytes in [config.to_string().into_bytes(), struct_of(&config).encode_to_vec()] {
            let text = load(&bytes, &env).unwrap_err().to_string();
            assert_eq!(text.contains("nested more than 32 levels deep"), too_deep, "{text}");
            assert_eq!(text.contains("unknown field `deep`"), !too_deep || bytes[0] == b'\n', "{text}");
        }
    }
    // Far deeper nesting must not overflow the stack.
    assert!(load("{\"a\":".repeat(100_000).as_bytes(), &env).is_err());
    assert!(load("{\"a\":[".repeat(100_000).as_bytes(), &env).is_err());
}
