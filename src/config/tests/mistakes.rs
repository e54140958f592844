//! How mistakes are reported: all of them, each where it stands, with what was meant.

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
            "models.chat.tiers[0][2]: target `two` is named twice in this model",
            "models.chat.tiers[1]: is empty, expected at least one target",
            "providers.openai.hosst: unknown field `hosst`, did you mean `host`?",
            "providers.openai.kind: `opnai` is no kind of provider, did you mean `openai`?",
            "providers.vllm.host: is missing: kind `openai-compatible` has no host that could be assumed",
            "retry_lop: unknown field `retry_lop`, did you mean `retry_loop`?",
            "targets.gpt.wieght: unknown field `wieght`, did you mean `weight`?",
            "targets.neither: has neither `account` nor `provider`, expected one of them",
            "targets.two.weight: found text, expected a whole number, zero or more",
        ],
    );
}

#[test]
fn the_report_is_one_line_for_each_mistake() {
    let config = with(with(smallest(), "/retry_loop", json!("yes")), "/models/chat/targets/0", json!("gptt"));
    assert_eq!(
        load_json(&config).unwrap_err().to_string(),
        "the configuration has 2 mistakes:\n  \
         models.chat.targets[0]: no target is called `gptt`, did you mean `gpt`?\n  \
         retry_loop: found text, expected `true` or `false`"
    );
}

#[test]
fn an_unknown_field_of_many_is_told_some_of_them() {
    let mistakes = load_json(&with(full(), "/tracing", json!(true))).unwrap_err();
    let lines: Vec<_> = mistakes.iter().map(|m| format!("{}: {}", m.path, m.problem)).collect();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let beginning =
        "tracing: unknown field `tracing`, expected one of `providers`, `accounts`, `targets`, `models`";
    assert!(line.starts_with(beginning) && line.ends_with(" more"), "{line}");
}

#[test]
fn a_bare_on_that_yaml_turned_into_a_truth_value_is_explained() {
    check_change(
        "/models/chat/fallback",
        json!({"true": ["server"]}),
        "models.chat.fallback.true: unknown field `true`; a bare `on` is a truth value in YAML 1.1, write \"on\" in quotes",
    );
}

#[test]
fn words_that_mean_nothing_are_told_those_that_do() {
    check_change("/mode", json!("shadwo"), "mode: `shadwo` means nothing here, did you mean `shadow`?");
    check_change(
        "/mode",
        json!("off"),
        "mode: `off` means nothing here, expected one of `enforce`, `shadow`",
    );
    check_change(
        "/models/chat/when_all_open",
        json!("allow"),
        "models.chat.when_all_open: `allow` means nothing here, expected one of `refuse`, `try_anyway`, `queue`",
    );
    check_change(
        "/models/chat/response_model",
        json!("logica"),
        "models.chat.response_model: `logica` means nothing here, did you mean `logical`?",
    );
}

#[test]

fn an_empty_configuration_is_told_the_least_that_is_needed() {
    for bytes in [&b""[..], b"  \n", b"{}", b" { } "] {
        let mistakes = load(bytes, &env).unwrap_err();
        let text = mistakes.to_string();
        assert!(
            text.starts_with("the configuration has 1 mistake:\n  configuration: is empty; the least"),
            "{text}"
        );
        // The example it gives is itself a configuration.
        let example = text.split_once("such as ").unwrap().1;
        assert!(load(example.as_bytes(), &env).is_ok(), "{example}");
    }
}

#[test]
fn what_is_no_configuration_at_all_is_told_which_forms_there_are() {
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
    assert!(text.ends_with("configuration: has 1048577 bytes, at most 1048576 are taken"), "{text}");
}

#[test]
fn names_written_twice_are_mistakes() {
    let text = smallest().to_string().replacen("\"kind\"", "\"kind\":\"gemini\",\"kind\"", 1);
    let text = text.replacen("\"models\":", "\"models\":{},\"models\":", 1);
    assert_eq!(
        load(text.as_bytes(), &env).unwrap_err().to_string(),
        "the configuration has 2 mistakes:\n  models: is written twice\n  providers.openai.kind: is written twice"
    );
}

#[test]
fn past_a_hundred_mistakes_there_are_only_more() {
    let entries: serde_json::Map<_, _> = (0..150).map(|n| (format!("n{n}"), json!(1))).collect();
    let mistakes = load_json(&with(smallest(), "/accounts", entries.clone().into())).unwrap_err();
    assert_eq!((mistakes.len(), mistakes.has_more()), (MAX_MISTAKES, true));

    let entries: serde_json::Map<_, _> = entries.keys().map(|name| (name.clone(), json!({}))).collect();
    let mistakes = load_json(&with(smallest(), "/accounts", entries.into())).unwrap_err();
    assert_eq!((mistakes.len(), mistakes.has_more()), (MAX_MISTAKES, true));
}

#[test]
fn a_section_of_the_wrong_type_is_one_mistake_and_not_one_for_each_reference_to_it() {
    check_change("/targets", json!("x"), "targets: found text, expected a mapping");
    check_change("/accounts", json!(1), "accounts: found a number, expected a mapping");
    check_change("/accounts/openai-a", json!("x"), "accounts.openai-a: found text, expected a mapping");
}
