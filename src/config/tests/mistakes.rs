//! The report of mistakes: all of them, each with its path and a hint.

use super::*;

#[test]
fn ten_mistakes_are_reported_together() {
    let config = json!({
        "providers": {
            "openai": {"kind": "opnai", "hosst": "api.openai.com"},
            "vllm": {"kind": "openai-compatible"},
        },
        "accounts": {"a": {"provider": "openia", "key": {"env": "UNSET"}}},
        "targets": {
            "gpt": {"account": "a", "model": "gpt", "wieght": 2},
            "two": {"account": "a", "model": "gpt", "weight": "two"},
            "neither": {"model": "m"},
        },
        "models": {"chat": {"tiers": [["gtp", "two", "two"], []], "retry": {"attempts": 0}}},
        "retry_lop": true,
    });
    check(
        &config,
        &[
            "accounts.a.key.env: environment variable `UNSET` is unset or empty in the filter's VM; set it for Envoy \
             and list it in `vm_config.environment_variables.host_env_keys`",
            "accounts.a.provider: no provider is called `openia`, did you mean `openai`?",
            "models.chat.retry.attempts: is 0, expected 1 to 10",
            "models.chat.tiers[0][0]: no target is called `gtp`, did you mean `gpt`?",
            "models.chat.tiers[0][2]: target `two` is listed twice in this model",
            "models.chat.tiers[1]: is empty, expected at least one target",
            "providers.openai.hosst: unknown field `hosst`, did you mean `host`?",
            "providers.openai.kind: `opnai` is not a provider kind, did you mean `openai`?",
            "providers.vllm.host: is missing: kind `openai-compatible` has no default host",
            "retry_lop: unknown field `retry_lop`, did you mean `retry_loop`?",
            "targets.gpt.wieght: unknown field `wieght`, did you mean `weight`?",
            "targets.neither: has neither `account` nor `provider`, expected one of them",
            "targets.two.weight: found text, expected a whole number, zero or more",
        ],
    );
}

#[test]
fn the_report_has_one_line_per_mistake() {
    let config = with(with(smallest(), "/retry_loop", json!("yes")), "/models/chat/targets/0", json!("gptt"));
    assert_eq!(
        load_json(&config).unwrap_err().to_string(),
        "the configuration has 2 mistakes:\n  \
         models.chat.targets[0]: no target is called `gptt`, did you mean `gpt`?\n  \
         retry_loop: found text, expected `true` or `false`"
    );
}

#[test]
fn an_unknown_field_is_reported_with_some_of_the_known_fields() {
    let mistakes = load_json(&with(full(), "/tracing", json!(true))).unwrap_err();
    let lines: Vec<_> = mistakes.iter().map(|m| format!("{}: {}", m.path, m.problem)).collect();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let beginning =
        "tracing: unknown field `tracing`, expected one of `providers`, `accounts`, `targets`, `models`";
    assert!(line.starts_with(beginning) && line.ends_with(" more"), "{line}");
}

#[test]
fn a_bare_on_that_yaml_turned_into_a_boolean_is_explained() {
    check_change(
        "/models/chat/fallback",
        json!({"true": ["server"]}),
        "models.chat.fallback.true: unknown field `true`; YAML 1.1 reads a bare `on` as a \
         boolean, write \"on\" in quotes",
    );
}

#[test]
fn an_invalid_word_is_reported_with_the_valid_ones() {
    check_change("/mode", json!("shadwo"), "mode: `shadwo` is not a valid value, did you mean `shadow`?");
    check_change(
        "/mode",
        json!("off"),
        "mode: `off` is not a valid value, expected one of `enforce`, `shadow`",
    );
    check_change(
        "/models/chat/when_all_open",
        json!("allow"),
        "models.chat.when_all_open: `allow` is not a valid value, expected one of `refuse`, \
         `try_anyway`, `queue`",
    );
    check_change(
        "/models/chat/response_model",
        json!("logica"),
        "models.chat.response_model: `logica` is not a valid value, did you mean `logical`?",
    );
}

#[test]

fn an_empty_configuration_is_reported_with_a_minimal_example() {
    for bytes in [&b""[..], b"  \n", b"{}", b" { } "] {
        let mistakes = load(bytes, &env).unwrap_err();
        let text = mistakes.to_string();
        assert!(
            text.starts_with(
                "the configuration has 1 mistake:\n  configuration: is empty; it needs at least"
            ),
            "{text}"
        );
        // The example is itself a valid configuration.
        let example = text.split_once("such as ").unwrap().1;
        assert!(load(example.as_bytes(), &env).is_ok(), "{example}");
    }
}

#[test]
fn unreadable_bytes_are_reported_with_the_accepted_forms() {
    for (bytes, expected) in [
        (
            &b"providers:\n  openai: {}"[..],
            "configuration: is neither JSON text nor a google.protobuf.Struct; YAML",
        ),
        (b"[1]", "configuration: is neither JSON text"),
        (b"\n\xff\xff\xff", "configuration: is neither JSON text"),
        (b"\nabc", "configuration: is neither JSON text"),
        (b"{\"a\": }", "configuration: cannot be read as JSON: expected value at line 1 column 7"),
        (b"{} {}", "configuration: cannot be read as JSON: trailing characters at line 1 column 4"),
        (b"{\"\xff\": 1}", "configuration: cannot be read as JSON: invalid unicode code point"),
    ] {
        let text = load(bytes, &env).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
    let text = load(&vec![b' '; MAX_BYTES + 1], &env).unwrap_err().to_string();
    assert!(text.ends_with("configuration: has 1048577 bytes, at most 1048576 are allowed"), "{text}");
}

#[test]
fn duplicate_names_are_mistakes() {
    let text = smallest().to_string().replacen("\"kind\"", "\"kind\":\"gemini\",\"kind\"", 1);
    let text = text.replacen("\"models\":", "\"models\":{},\"models\":", 1);
    assert_eq!(
        load(text.as_bytes(), &env).unwrap_err().to_string(),
        "the configuration has 2 mistakes:\n  models: is written twice\n  providers.openai.kind: \
         is written twice"
    );
}

#[test]
fn a_report_has_at_most_a_hundred_mistakes() {
    let entries: serde_json::Map<_, _> = (0..150).map(|n| (format!("n{n}"), json!(1))).collect();
    let mistakes = load_json(&with(smallest(), "/accounts", entries.clone().into())).unwrap_err();
    assert_eq!((mistakes.len(), mistakes.has_more()), (MAX_MISTAKES, true));

    let entries: serde_json::Map<_, _> = entries.keys().map(|name| (name.clone(), json!({}))).collect();
    let mistakes = load_json(&with(smallest(), "/accounts", entries.into())).unwrap_err();
    assert_eq!((mistakes.len(), mistakes.has_more()), (MAX_MISTAKES, true));
}

#[test]
fn a_section_of_the_wrong_type_is_one_mistake_and_not_one_per_reference() {
    check_change("/targets", json!("x"), "targets: found text, expected a mapping");
    check_change("/accounts", json!(1), "accounts: found a number, expected a mapping");
    check_change("/accounts/openai-a", json!("x"), "accounts.openai-a: found text, expected a mapping");
}
