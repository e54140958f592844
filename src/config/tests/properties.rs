//! Random configurations: each is accepted, or rejected with reasons, without a panic and equally in both
//! forms.

use proptest::prelude::*;
use prost::Message;
use serde_json::Value;

use super::*;

/// JSON that is similar enough to a configuration to pass the first checks.
fn near_configuration() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "providers",
        "accounts",
        "targets",
        "models",
        "keys",
        "limits",
        "other_paths",
        "resources",
        "retry_loop",
        "breaker",
        "open",
        "failure_ratio",
        "probes",
        "slow_start",
        "30s",
        "mode",
        "when_all_open",
        "response_model",
        "kind",
        "host",
        "headers",
        "endpoints",
        "openai",
        "chat",
        "gpt",
        "provider",
        "account",
        "key",
        "env",
        "value",
        "model",
        "weight",
        "tiers",
        "fallback",
        "on",
        "retry",
        "attempts",
        "sha256",
        "max_body",
        "cluster",
        "",
        "ä",
        "x\n",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-100_000..100_000).prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
        name.clone().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The full configuration with one value replaced by a random one.
fn disturbed() -> impl Strategy<Value = Value> {
    (any::<prop::sample::Index>(), near_configuration()).prop_map(|(which, replacement)| {
        let mut config = full();
        let mut pointers = Vec::new();
        collect_pointers(&config, String::new(), &mut pointers);
        let pointer: &String = which.get(&pointers);
        *config.pointer_mut(pointer).unwrap() = replacement;
        config
    })
}

fn collect_pointers(value: &Value, at: String, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            collect_pointers(value, format!("{at}/{}", name.replace('/', "~1")), into);
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, value)| {
            collect_pointers(value, format!("{at}/{index}"), into);
        }),
        _ => {}
    }
    into.push(at);
}

fn check_reasons(result: &Result<Config, Mistakes>) {
    if let Err(mistakes) = result {
        assert!(!mistakes.is_empty());
        let text = mistakes.to_string();
        assert!(!text.contains("without a reason"), "{text}");
        let paths: Vec<_> = mistakes.iter().map(|mistake| &mistake.path).collect();
        assert!(paths.is_sorted(), "{text}");
        assert_eq!(text.lines().count(), 1 + mistakes.len() + usize::from(mistakes.has_more()), "{text}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check_reasons(&load(&bytes, &env));
    }

    #[test]
    fn bytes_that_begin_like_a_struct_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check_reasons(&load(&[&[0x0a], &bytes[..]].concat(), &env));
    }

    #[test]
    fn damaged_structs_never_panic(at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = struct_of(&full()).encode_to_vec();
        *at.get_mut(&mut bytes) = byte;
        check_reasons(&load(&bytes, &env));
    }

    #[test]
    fn arbitrary_json_never_panics(config in near_configuration()) {
        check_reasons(&load_json(&config));
    }

    #[test]
    fn a_disturbed_configuration_has_the_same_result_in_both_forms(config in disturbed()) {
        let from_json = load_json(&config);
        check_reasons(&from_json);
        if config.as_object().is_some_and(|fields| !fields.is_empty()) {
            let from_struct = load(&struct_of(&config).encode_to_vec(), &env);
            match (from_json, from_struct) {
                (Ok(a), Ok(b)) => prop_assert_eq!(everything(&a), everything(&b)),
                (Err(a), Err(b)) => prop_assert_eq!(a, b),
                (a, b) => prop_assert!(false, "{:?} {:?}", a, b),
            }
        }
    }
}
