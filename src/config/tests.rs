mod properties;
mod retries;

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use prost_types::value::Kind;
use serde_json::{Value, json};

use super::*;
use crate::base::{ClassSet, Endpoint, ErrorClass};
use crate::provider::ProviderKind;

mod balance;
mod boundaries;
mod budgets;
mod offers;
mod quota;
mod streams;

fn env(name: &str) -> Option<String> {
    match name {
        "OPENAI_KEY" => Some("sk-from-env\n".into()),
        "EMPTY" => Some(String::new()),
        "BROKEN" => Some("sk broken secret".into()),
        _ => None,
    }
}

fn load_json(config: &Value) -> Result<Config, Mistakes> {
    load(config.to_string().as_bytes(), &env)
}

fn smallest() -> Value {
    json!({
        "providers": {"openai": {"kind": "openai"}},
        "targets": {"gpt": {"provider": "openai", "key": {"env": "OPENAI_KEY"}, "model": "gpt-4.1-mini"}},
        "models": {"chat": {"targets": ["gpt"]}},
    })
}

fn full() -> Value {
    json!({
        "providers": {
            "openai": {"kind": "openai", "cluster": "oa", "host": "Proxy.example:8443", "path_prefix": "/x/v1",
                       "endpoints": ["chat", "responses"], "headers": {"X-Foo": "bar", "a-b": "header secret"}},
            "azure": {"kind": "azure-openai", "host": "r.openai.azure.com", "api_version": "2024-10-21"},
            "vllm": {"kind": "openai-compatible", "host": "10.0.0.7:8000", "path_prefix": "/", "usage": "leave"},
        },
        "accounts": {"openai-a": {"provider": "openai", "key": {"env": "OPENAI_KEY"}}},
        "targets": {
            "gpt-a": {"account": "openai-a", "model": "gpt-4.1-mini", "weight": 2},
            "az": {"provider": "azure", "key": {"value": "value secret?".replace(' ', "-")}, "model": "dep"},
            "local": {"provider": "vllm", "model": "meta-llama/Llama-3"},
        },
        "models": {
            "chat": {"tiers": [["gpt-a", "az"], ["local"]], "fallback": {"on": ["server", "context_length"]},
                     "retry": {"attempts": 5}, "when_all_open": "try_anyway", "response_model": "logical"},
            "meta/llama:free": {"targets": ["local"], "fallback": {"on": []}},
        },
        "keys": {"team-a": {"sha256": "AB".repeat(32), "models": ["chat"]}, "team-b": {"sha256": "cd".repeat(32)}},
        "other_paths": {"cluster": "legacy"},
        "limits": {"max_body": "1.5MiB", "max_journeys": 7},
        "breaker": {
            "window": "10s", "min_requests": 20, "failure_ratio": 0.25, "consecutive": 7, "open": "1.5s", "open_max": "1m",
            "block": "2m", "block_max": "1h", "probes": 3, "close_after": 4, "probe_lease": "90s", "slow_start": "0s",
            "slow_first_content": "20s",
        },
        "mode": "shadow",
        "retry_loop": true,
    })
}

/// `config` with the value at `pointer` replaced or added.
fn with(mut config: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = config.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
        other => other[name] = value,
    }
    config
}

fn without(mut config: Value, pointer: &str) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    config.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    config
}

/// Everything about a configuration, credentials included, as one comparable text.
fn everything(config: &Config) -> String {
    let secrets: Vec<_> =
        config.accounts().iter().map(|account| account.key.as_ref().map(Secret::expose)).collect();
    let headers: Vec<_> = config.providers().iter().map(|provider| &provider.headers).collect();
    let names: BTreeMap<_, _> = config.model_by_name.iter().collect();
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {secrets:?} {headers:?} {names:?} {}",
        config.providers(),
        config.accounts(),
        config.targets(),
        config.models(),
        config.keys,
        config.other_paths,
        config.limits.max_body_bytes,
        config.limits.max_journeys,
        config.breaker,
        config.mode,
        config.retry_loop,
        config.fingerprint(),
    )
}

fn struct_of(value: &Value) -> prost_types::Struct {
    let fields = value.as_object().unwrap().iter();
    prost_types::Struct { fields: fields.map(|(name, value)| (name.clone(), pb(value))).collect() }
}

fn pb(value: &Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => {
            Kind::ListValue(prost_types::ListValue { values: items.iter().map(pb).collect() })
        }
        Value::Object(_) => Kind::StructValue(struct_of(value)),
    };
    prost_types::Value { kind: Some(kind) }
}

#[test]
fn the_smallest_configuration_gets_every_default() {
    let config = load_json(&smallest()).unwrap();
    let provider = &config.providers()[0];
    assert_eq!((&*provider.name, provider.kind), ("openai", ProviderKind::OpenAi));
    assert_eq!((provider.cluster.as_str(), provider.host.as_str()), ("openai", "api.openai.com"));
    assert_eq!((&provider.path_prefix, &provider.api_version), (&None, &None));
    assert!(
        provider.endpoints.contains(Endpoint::Embeddings) && !provider.endpoints.contains(Endpoint::Messages)
    );
    let account = &config.accounts()[0];
    assert_eq!((&*account.name, account.key.as_ref().unwrap().expose()), ("gpt", "sk-from-env"));
    assert_eq!(config.targets()[0].weight, 1);
    let chat = config.model(config.model_named("chat").unwrap()).unwrap();
    assert_eq!((chat.tiers.len(), chat.retry.attempts), (1, 3));
    let never = [
        ErrorClass::Permission,
        ErrorClass::Invalid,
        ErrorClass::TooLarge,
        ErrorClass::ContextLength,
        ErrorClass::ContentPolicy,
        ErrorClass::ClientAbort,
    ];
    for class in ErrorClass::ALL {
        assert_eq!(chat.fallback_on.contains(class), !never.contains(&class), "{}", class.name());
    }
    assert!(config.keys.is_none());
    assert_eq!(config.other_paths, OtherPaths::Refuse);
    assert_eq!((config.limits.max_body_bytes, config.limits.max_journeys), (32 << 20, 10_000));
    assert_eq!((config.breaker, config.mode), (BreakerPolicy::default(), Mode::Enforce));
    assert_eq!(chat.when_all_open, WhenAllOpen::Refuse);
    assert!(!config.retry_loop);
    assert_eq!(config.model_named("gpt-4.1-mini"), None);
}

#[test]
fn what_is_written_is_what_runs() {
    let config = load_json(&full()).unwrap();
    let target = |name: &str| config.targets().iter().find(|target| &*target.name == name).unwrap();
    let provider_of = |name: &str| config.provider(target(name).provider).unwrap();
    let key_of = |name: &str| config.account(target(name).account).unwrap().key.as_ref().map(Secret::expose);

    assert_eq!(
        (provider_of("gpt-a").cluster.as_str(), provider_of("gpt-a").host.as_str()),
        ("oa", "proxy.example:8443")
    );
    assert_eq!(provider_of("gpt-a").path_prefix.as_deref(), Some("/x/v1"));
    assert_eq!(
        provider_of("gpt-a").headers,
        [("a-b".to_owned(), "header secret".to_owned()), ("x-foo".to_owned(), "bar".to_owned())]
    );
    assert!(!provider_of("gpt-a").endpoints.contains(Endpoint::Embeddings));
    assert_eq!(provider_of("az").api_version.as_deref(), Some("2024-10-21"));
    assert_eq!(provider_of("local").path_prefix.as_deref(), Some(""));
    assert!(provider_of("gpt-a").asks_usage && !provider_of("local").asks_usage);
    assert_eq!(key_of("gpt-a"), Some("sk-from-env"));
    assert_eq!(key_of("az"), Some("value-secret?"));
    assert_eq!(key_of("local"), None);
    assert_eq!(target("gpt-a").weight, 2);

    let chat = config.model(config.model_named("chat").unwrap()).unwrap();
    let names: Vec<Vec<&str>> = chat
        .tiers
        .iter()
        .map(|tier| tier.iter().map(|id| &*config.target(*id).unwrap().name).collect())
        .collect();
    assert_eq!(names, [vec!["gpt-a", "az"], vec!["local"]]);
    assert_eq!(chat.fallback_on, ClassSet::of(&[ErrorClass::Server, ErrorClass::ContextLength]));
    assert_eq!(chat.retry.attempts, 5);
    let free = config.model(config.model_named("meta/llama:free").unwrap()).unwrap();
    assert_eq!(free.fallback_on, ClassSet::default());

    assert_eq!((chat.when_all_open, free.when_all_open), (WhenAllOpen::TryAnyway, WhenAllOpen::Refuse));
    assert_eq!((chat.response_model, free.response_model), (ResponseModel::Logical, ResponseModel::Provider));
    assert_eq!(config.mode, Mode::Shadow);
    let expected = BreakerPolicy {
        window: Duration::from_secs(10),
        min_requests: 20,
        failure_permille: 250,
        consecutive: 7,
        open: Duration::from_millis(1500),
        open_max: Duration::from_secs(60),
        block: Duration::from_secs(120),
        block_max: Duration::from_secs(3600),
        probes: 3,
        close_after: 4,
        probe_lease: Duration::from_secs(90),
        slow_start: Duration::ZERO,
        slow_first_content: Some(Duration::from_secs(20)),
    };
    assert_eq!(config.breaker, expected);

    let keys = config.keys.as_ref().unwrap();
    assert_eq!((keys[0].sha256, keys[1].sha256), ([0xab; 32], [0xcd; 32]));
    assert_eq!((&keys[0].models, &keys[1].models), (&Some(vec![config.model_named("chat").unwrap()]), &None));
    assert_eq!(config.other_paths, OtherPaths::Cluster("legacy".into()));
    assert_eq!(
        (config.limits.max_body_bytes, config.limits.max_journeys, config.retry_loop),
        (1_572_864, 7, true)
    );
}

#[test]
fn a_struct_and_json_text_give_the_same_configuration() {
    for config in [smallest(), full()] {
        let from_json = load_json(&config).unwrap();
        let from_struct = load(&struct_of(&config).encode_to_vec(), &env).unwrap();
        assert_eq!(everything(&from_json), everything(&from_struct));
    }
}

#[test]
fn a_struct_that_begins_like_json_text_is_still_a_struct() {
    // An entry of 123 bytes makes the bytes begin with a line break and an opening brace.
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
fn json_text_may_have_space_around_it() {
    let text = format!(" \r\n\t{}\n\n", smallest());
    assert!(load(text.as_bytes(), &env).is_ok());
    assert!(load(format!("\n{}", smallest()).as_bytes(), &env).is_ok());
}

#[test]
fn whole_doubles_count_as_integers_and_others_do_not() {
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

/// Checks that `config` is refused with exactly these lines.
#[track_caller]
fn check(config: &Value, expected: &[&str]) {
    let mistakes = load_json(config).unwrap_err();
    let lines: Vec<String> = mistakes.iter().map(|m| format!("{}: {}", m.path, m.problem)).collect();
    assert_eq!(lines, expected);
    let as_struct = load(&struct_of(config).encode_to_vec(), &env).unwrap_err();
    assert_eq!(mistakes, as_struct, "the same mistakes in both forms");
}

/// Checks that the full configuration with one change has exactly one mistake.
#[track_caller]
fn check_change(pointer: &str, value: Value, expected: &str) {
    check(&with(full(), pointer, value), &[expected]);
}

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
fn wrong_types_name_what_was_found_and_what_was_expected() {
    for (pointer, value, expected) in [
        ("/providers", json!([]), "providers: found a list, expected a mapping"),
        ("/providers/azure", json!("x"), "providers.azure: found text, expected a mapping"),
        (
            "/providers/azure",
            json!(["azure-openai", "c"]),
            "providers.azure: found a list, expected a mapping",
        ),
        (
            "/providers/azure/host",
            json!(7),
            "providers.azure.host: found a number, expected text (YAML needs quotes around it)",
        ),
        (
            "/providers/openai/headers/X-Foo",
            json!(1),
            "providers.openai.headers.X-Foo: found a number, expected text (YAML needs quotes around it)",
        ),
        (
            "/providers/openai/endpoints",
            json!("chat"),
            "providers.openai.endpoints: found text, expected a list",
        ),
        (
            "/providers/openai/endpoints/0",
            json!({}),
            "providers.openai.endpoints[0]: found a mapping, expected text",
        ),
        (
            "/accounts/openai-a/key",
            json!("sk-secret"),
            "accounts.openai-a.key: found text, expected a mapping such as `{ env: OPENAI_KEY }`",
        ),
        (
            "/accounts/openai-a/key",
            json!({"value": 12345}),
            "accounts.openai-a.key.value: found a number, expected text (YAML needs quotes around it)",
        ),
        (
            "/targets/gpt-a/weight",
            json!(2.5),
            "targets.gpt-a.weight: found 2.5, expected a whole number, zero or more",
        ),
        (
            "/targets/gpt-a/weight",
            json!(-1),
            "targets.gpt-a.weight: found -1, expected a whole number, zero or more",
        ),
        (
            "/targets/gpt-a/model",
            json!(true),
            "targets.gpt-a.model: found a truth value, expected text (YAML needs quotes around it)",
        ),
        ("/models/chat/tiers/0", json!("gpt-a"), "models.chat.tiers[0]: found text, expected a list"),
        (
            "/models/chat/tiers/0/1",
            json!(3),
            "models.chat.tiers[0][1]: found a number, expected text (YAML needs quotes around it)",
        ),
        (
            "/models/chat/fallback",
            json!(["server"]),
            "models.chat.fallback: found a list, expected a mapping such as `{ on: [server] }`",
        ),
        (
            "/models/chat/fallback",
            json!({"onn": []}),
            "models.chat.fallback.onn: unknown field `onn`, did you mean `on`?",
        ),
        (
            "/models/chat/retry",
            json!({"atempts": 1}),
            "models.chat.retry.atempts: unknown field `atempts`, did you mean `attempts`?",
        ),
        (
            "/other_paths",
            json!(3),
            "other_paths: found a number, expected `refuse` or a mapping with the field `cluster`",
        ),
        (
            "/limits/max_body",
            json!(1024),
            "limits.max_body: found a number, expected a number with a unit (B, KB, KiB, MB or MiB), such as \"32MiB\"",
        ),
        (
            "/limits/max_body",
            json!("32GB"),
            "limits.max_body: `32GB` is no size, expected a number with a unit (B, KB, KiB, MB or MiB), such as \"32MiB\"",
        ),
        ("/keys", json!(null), "keys: is empty, expected a value; leave it out for its default"),
        (
            "/models/chat/tiers/0/1",
            json!(null),
            "models.chat.tiers[0][1]: is empty, expected a value; leave it out for its default",
        ),
        ("/breaker", json!("30s"), "breaker: found text, expected a mapping"),
        ("/breaker", json!([]), "breaker: found a list, expected a mapping"),
        (
            "/breaker/open",
            json!(30),
            "breaker.open: found a number, expected a number with a unit (ms, s, m or h), such as \"30s\"",
        ),
        (
            "/breaker/open",
            json!("30sec"),
            "breaker.open: `30sec` is no duration, expected a number with a unit (ms, s, m or h), such as \"30s\"",
        ),
        ("/breaker/failure_ratio", json!("50%"), "breaker.failure_ratio: found text, expected a number"),
        ("/breaker/probes", json!(1.5), "breaker.probes: found 1.5, expected a whole number, zero or more"),
        ("/breaker/probes", json!("1.5"), "breaker.probes: found 1.5, expected a whole number, zero or more"),
        (
            "/models/chat/retry",
            json!(3),
            "models.chat.retry: found a number, expected a mapping such as `{ attempts: 3 }`",
        ),
        (
            "/breaker/clsoe_after",
            json!(1),
            "breaker.clsoe_after: unknown field `clsoe_after`, did you mean `close_after`?",
        ),
        ("/mode", json!(true), "mode: found a truth value, expected text (YAML needs quotes around it)"),
    ] {
        check_change(pointer, value, expected);
    }
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
fn what_contradicts_itself_or_its_bounds_is_refused() {
    let plain = "a name is 1 to 64 letters, digits, `_` or `-`, the first a letter or digit";
    let not_carried = "has a value that no header can carry, expected 1 to 4096 ASCII characters without line breaks or outer spaces";
    for (pointer, value, expected) in [
        ("/providers/a b", json!({"kind": "openai"}), format!("providers[\"a b\"]: {plain}")),
        ("/providers/openai/cluster", json!("a b"), "providers.openai.cluster: cannot be used as it is, expected the name of an Envoy cluster: 1 to 256 visible ASCII characters".into()),
        ("/providers/openai/host", json!("https://x"), "providers.openai.host: cannot be used as it is, expected a host such as `api.openai.com` or `10.0.0.7:8000`, without scheme or path".into()),
        ("/providers/openai/path_prefix", json!("/v1/"), "providers.openai.path_prefix: cannot be used as it is, expected a path such as `/v1`: a slash first, none at the end, no query; `/` alone for no prefix".into()),
        ("/providers/openai/api_version", json!("1"), "providers.openai.api_version: means nothing to kind `openai`, only to `azure-openai`".into()),
        ("/providers/openai/usage", json!("asks"), "providers.openai.usage: `asks` means nothing here, did you mean `ask`?".into()),
        ("/providers/openai/endpoints", json!([]), "providers.openai.endpoints: is empty: nothing could be asked of this provider; leave it out for all its kind speaks".into()),
        ("/providers/openai/endpoints/1", json!("chat"), "providers.openai.endpoints[1]: `chat` is listed twice".into()),
        ("/providers/openai/endpoints/1", json!("messages"), "providers.openai.endpoints[1]: kind `openai` does not speak `messages`, expected one of `chat`, `completions`, `embeddings`, `responses`".into()),
        ("/providers/openai/endpoints/1", json!("respones"), "providers.openai.endpoints[1]: `respones` is no endpoint, did you mean `responses`?".into()),
        ("/providers/openai/headers/x-foo", json!("2"), "providers.openai.headers.x-foo: is the same header as another one: letter case does not count".into()),
        ("/providers/openai/headers/Host", json!("h"), "providers.openai.headers.Host: cannot be set here: it belongs to the connection, and Envoy sets it".into()),
        ("/providers/openai/headers/X-LLM-Target", json!("h"), "providers.openai.headers.X-LLM-Target: cannot be set here: `x-llm-` and `x-envoy-` headers never go to providers".into()),
        ("/providers/openai/headers/X-Foo", json!("a\r\nb: c"), format!("providers.openai.headers.X-Foo: {not_carried}")),
        ("/accounts/openai-a/key", json!({}), "accounts.openai-a.key: has neither `env` nor `value`, expected one of them".into()),
        ("/accounts/openai-a/key", json!({"env": "OPENAI_KEY", "value": "v"}), "accounts.openai-a.key: has both `env` and `value`, expected one".into()),
        ("/accounts/az", json!({"provider": "azure"}), "targets.az: makes an account of its own name, but `accounts.az` is another one; rename either".into()),
        ("/targets/gpt-a/key", json!({"value": "v"}), "targets.gpt-a.key: cannot stand beside `account`, whose own key is used".into()),
        ("/targets/gpt-a/provider", json!("openai"), "targets.gpt-a: has both `account` and `provider`, expected one: an account knows its provider".into()),
        ("/targets/gpt-a/weight", json!(0), "targets.gpt-a.weight: is 0, expected 1 to 1000000".into()),
        ("/targets/gpt-a/weight", json!(1_000_001), "targets.gpt-a.weight: is 1000001, expected 1 to 1000000".into()),
        ("/targets/gpt-a/model", json!("a\"b"), "targets.gpt-a.model: cannot be used as it is, expected the provider's name of a model: 1 to 256 visible ASCII characters, no quotation marks or backslashes".into()),
        ("/models/chat/targets", json!(["az"]), "models.chat: has both `tiers` and `targets`, expected one: `targets` is short for a single tier".into()),
        ("/models/chat/tiers", json!([]), "models.chat.tiers: has 0 tiers, expected 1 to 16".into()),
        ("/models/chat/tiers/1/0", json!("az"), "models.chat.tiers[1][0]: target `az` is named twice in this model".into()),
        ("/models/chat/fallback/on/0", json!("client_abort"), "models.chat.fallback.on[0]: `client_abort` cannot be a reason: nobody is left to answer".into()),
        ("/models/chat/fallback/on/0", json!("ratelimited"), "models.chat.fallback.on[0]: `ratelimited` is no failure, did you mean `rate_limited`?".into()),
        ("/models/chat/fallback/on/1", json!("server"), "models.chat.fallback.on[1]: `server` is listed twice".into()),
        ("/models/chat/retry/attempts", json!(11), "models.chat.retry.attempts: is 11, expected 1 to 10".into()),
        ("/keys", json!({}), "keys: is empty; leave it out to let every client use every model".into()),
        ("/keys/team-a/sha256", json!("sk-client-secret"), "keys.team-a.sha256: is no SHA-256, expected 64 hexadecimal digits".into()),
        ("/keys/team-a/sha256", json!("Cd".repeat(32)), "keys.team-b.sha256: is the same as that of key `team-a`".into()),
        ("/keys/team-a/models", json!([]), "keys.team-a.models: is empty, so the key could use nothing; leave it out to allow every model".into()),
        ("/keys/team-a/models", json!(["chat", "chat"]), "keys.team-a.models[1]: model `chat` is named twice".into()),
        ("/keys/team-a/models", json!(["chta"]), "keys.team-a.models[0]: no model is called `chta`, did you mean `chat`?".into()),
        ("/other_paths", json!("refuze"), "other_paths: `refuze` means nothing, did you mean `refuse`?; to pass them on: { cluster: NAME }".into()),
        ("/other_paths", json!({}), "other_paths.cluster: is missing".into()),
        ("/limits/max_body", json!("1023B"), "limits.max_body: is 1023 bytes, expected 1KiB to 256MiB".into()),
        ("/limits/max_body", json!("257MiB"), "limits.max_body: is 269484032 bytes, expected 1KiB to 256MiB".into()),
        ("/limits/max_journeys", json!(0), "limits.max_journeys: is 0, expected 1 to 100000".into()),
    ] {
        check_change(pointer, value, &expected);
    }
}

#[test]
fn what_must_be_there_is_missed() {
    for (pointer, expected) in [
        ("/providers", "providers: is missing, at least one entry is needed"),
        ("/models/chat/tiers", "models.chat: has neither `tiers` nor `targets`, expected one of them"),
        ("/targets/gpt-a/model", "targets.gpt-a.model: is missing"),
        ("/accounts/openai-a/provider", "accounts.openai-a.provider: is missing"),
        ("/keys/team-a/sha256", "keys.team-a.sha256: is missing"),
        (
            "/providers/azure/host",
            "providers.azure.host: is missing: kind `azure-openai` has no host that could be assumed",
        ),
        (
            "/providers/openai/kind",
            "providers.openai.kind: is missing, expected one of `openai`, `azure-openai`, `anthropic`, `gemini`, \
             `openrouter`, `mistral`, `openai-compatible`",
        ),
    ] {
        check(&without(full(), pointer), &[expected]);
    }
    let mut nothing_named = smallest();
    nothing_named["targets"] = json!({});
    check(&nothing_named, &["targets: is empty, at least one entry is needed"]);
}

#[test]
fn too_many_entries_are_refused_and_the_most_are_taken() {
    let many = |count: usize, entry: Value| -> Value {
        (0..count).map(|n| (format!("n{n}"), entry.clone())).collect::<serde_json::Map<_, _>>().into()
    };
    let provider = json!({"kind": "openai"});
    for (section, max, entry) in [
        ("providers", MAX_PROVIDERS, provider),
        ("accounts", MAX_ACCOUNTS, json!({"provider": "openai"})),
        ("targets", MAX_TARGETS, json!({"provider": "openai", "model": "m"})),
        ("models", MAX_MODELS, json!({"targets": ["gpt"]})),
    ] {
        let sized = |count: usize| {
            let mut config = smallest();
            let mut entries = many(count, entry.clone());
            if let Some(present) = config.get(section).and_then(Value::as_object) {
                entries.as_object_mut().unwrap().extend(present.clone());
            }
            config[section] = entries;
            config
        };
        let present = smallest().get(section).map_or(0, |entries| entries.as_object().unwrap().len());
        assert!(load_json(&sized(max - present)).is_ok(), "{section}");
        let expected = format!("{section}: has {} entries, at most {max} are taken", max + 1);
        check(&sized(max - present + 1), &[&expected]);
    }

    let key = |n: usize| (format!("n{n}"), json!({"sha256": format!("{n:064x}")}));
    let keys = |count: usize| (0..count).map(key).collect::<serde_json::Map<_, _>>();
    assert!(load_json(&with(smallest(), "/keys", keys(MAX_CLIENT_KEYS).into())).is_ok());
    check(
        &with(smallest(), "/keys", keys(MAX_CLIENT_KEYS + 1).into()),
        &["keys: has 1001 entries, at most 1000 are taken"],
    );
}

#[test]
fn long_lists_of_tiers_and_headers_are_refused() {
    let mut config = smallest();
    for n in 0..=MAX_TIERS {
        config["targets"][format!("t{n}")] = json!({"provider": "openai", "model": "m"});
    }
    let tiers = |count: usize| (0..count).map(|n| json!([format!("t{n}")])).collect::<Vec<_>>();
    config["models"]["chat"] = json!({"tiers": tiers(MAX_TIERS)});
    assert!(load_json(&config).is_ok());
    config["models"]["chat"] = json!({"tiers": tiers(MAX_TIERS + 1)});
    check(&config, &["models.chat.tiers: has 17 tiers, expected 1 to 16"]);

    let headers = |count: usize| -> serde_json::Map<_, _> {
        (0..count).map(|n| (format!("h{n}"), json!("v"))).collect()
    };
    assert!(load_json(&with(smallest(), "/providers/openai/headers", headers(MAX_HEADERS).into())).is_ok());
    check(
        &with(smallest(), "/providers/openai/headers", headers(MAX_HEADERS + 1).into()),
        &["providers.openai.headers: has 33 entries, at most 32 are taken"],
    );
}

#[test]
fn every_bound_of_the_breaker_is_kept_on_both_sides() {
    for (field, inside, outside) in [
        (
            "window",
            [json!("1s"), json!("1h")],
            [(json!("999ms"), "is 999ms, expected 1s to 1h"), (json!("61m"), "is 61m, expected 1s to 1h")],
        ),
        (
            "min_requests",
            [json!(1), json!(10_000)],
            [(json!(0), "is 0, expected 1 to 10000"), (json!(10_001), "is 10001, expected 1 to 10000")],
        ),
        (
            "failure_ratio",
            [json!(0.001), json!(1)],
            [
                (json!(0), "is 0, expected more than 0 and at most 1"),
                (json!(1.01), "is 1.01, expected more than 0 and at most 1"),
            ],
        ),
        (
            "consecutive",
            [json!(1), json!(1000)],
            [(json!(0), "is 0, expected 1 to 1000"), (json!(1001), "is 1001, expected 1 to 1000")],
        ),
        (
            "open",
            [json!("100ms"), json!("24h")],
            [
                (json!("99ms"), "is 99ms, expected 100ms to 24h"),
                (json!("25h"), "is 25h, expected 100ms to 24h"),
            ],
        ),
        (
            "open_max",
            [json!("30s"), json!("24h")],
            [
                (json!("29s"), "is 29s, expected at least 30s (`open`) and at most 24h"),
                (json!("25h"), "is 25h, expected at least 30s (`open`) and at most 24h"),
            ],
        ),
        (
            "block",
            [json!("100ms"), json!("24h")],
            [(json!("0s"), "is 0s, expected 100ms to 24h"), (json!("25h"), "is 25h, expected 100ms to 24h")],
        ),
        (
            "block_max",
            [json!("5m"), json!("24h")],
            [
                (json!("4m"), "is 4m, expected at least 5m (`block`) and at most 24h"),
                (json!("25h"), "is 25h, expected at least 5m (`block`) and at most 24h"),
            ],
        ),
        (
            "probes",
            [json!(1), json!(MAX_PROBES)],
            [(json!(0), "is 0, expected 1 to 4"), (json!(5), "is 5, expected 1 to 4")],
        ),
        (
            "close_after",
            [json!(1), json!(20)],
            [(json!(0), "is 0, expected 1 to 20"), (json!(21), "is 21, expected 1 to 20")],
        ),
        (
            "probe_lease",
            [json!("100ms"), json!("1h")],
            [(json!("50ms"), "is 50ms, expected 100ms to 1h"), (json!("2h"), "is 2h, expected 100ms to 1h")],
        ),
        (
            "slow_start",
            [json!("0s"), json!("1h")],
            [(json!("2h"), "is 2h, expected 0s to 1h"), (json!("3601s"), "is 3601s, expected 0s to 1h")],
        ),
        (
            "slow_first_content",
            [json!("100ms"), json!("1h")],
            [(json!("0s"), "is 0s, expected 100ms to 1h"), (json!("2h"), "is 2h, expected 100ms to 1h")],
        ),
    ] {
        let breaker = |value: &Value| with(smallest(), "/breaker", json!({field: value}));
        for value in &inside {
            assert!(load_json(&breaker(value)).is_ok(), "{field} {value}");
        }
        for (value, problem) in &outside {
            check(&breaker(value), &[&format!("breaker.{field}: {problem}")]);
        }
    }
}

#[test]
fn a_failure_ratio_is_rounded_and_never_to_nothing() {
    for (ratio, permille) in [(0.5, 500), (0.0001, 1), (0.0016, 2), (0.9999, 1000), (1.0, 1000), (0.333, 333)]
    {
        let config = load_json(&with(smallest(), "/breaker", json!({"failure_ratio": ratio}))).unwrap();
        assert_eq!(config.breaker.failure_permille, permille, "{ratio}");
    }
}

#[test]
fn a_long_first_time_raises_the_limit_that_nobody_wrote() {
    let written = json!({"open": "20m", "block": "2h"});
    let policy = load_json(&with(smallest(), "/breaker", written)).unwrap().breaker;
    assert_eq!((policy.open_max, policy.block_max), (Duration::from_secs(1200), Duration::from_secs(7200)));
    let written = json!({"open": "20m", "open_max": "10m"});
    check(
        &with(smallest(), "/breaker", written),
        &["breaker.open_max: is 10m, expected at least 20m (`open`) and at most 24h"],
    );
}

#[test]
fn a_wrong_first_time_is_not_held_against_its_limit() {
    check(
        &with(
            smallest(),
            "/breaker",
            json!({"open": "50ms", "open_max": "10s", "block": "x", "block_max": "1s"}),
        ),
        &[
            "breaker.block: `x` is no duration, expected a number with a unit (ms, s, m or h), such as \"30s\"",
            "breaker.open: is 50ms, expected 100ms to 24h",
        ],
    );
}

#[test]
fn an_empty_breaker_section_has_every_default() {
    let config = load_json(&with(smallest(), "/breaker", json!({}))).unwrap();
    assert_eq!(config.breaker, BreakerPolicy::default());
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
fn both_forms_take_the_same_nesting() {
    fn nested(levels: usize) -> Value {
        // The configuration itself is the first level.
        json!({"deep": (1..levels).fold(json!(1), |inner, _| json!({"x": inner}))})
    }
    for config in [nested(MAX_NESTING), nested(MAX_NESTING + 1)] {
        let too_deep = config.to_string().matches('{').count() > MAX_NESTING;
        for bytes in [config.to_string().into_bytes(), struct_of(&config).encode_to_vec()] {
            let text = load(&bytes, &env).unwrap_err().to_string();
            assert_eq!(text.contains("nested deeper than the 32 levels"), too_deep, "{text}");
            assert_eq!(text.contains("unknown field `deep`"), !too_deep || bytes[0] == b'\n', "{text}");
        }
    }
    // Far beyond, serde_json's and prost's own bounds must not be reached by the stack.
    assert!(load("{\"a\":".repeat(100_000).as_bytes(), &env).is_err());
    assert!(load("{\"a\":[".repeat(100_000).as_bytes(), &env).is_err());
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

#[test]
fn no_message_and_no_debug_output_holds_a_credential() {
    let debug = format!("{:?}", load_json(&full()).unwrap());
    for secret in ["sk-from-env", "value-secret?", "header secret"] {
        assert!(!debug.contains(secret), "{debug}");
    }
    let secret = "sk-very secret";
    for (pointer, value) in [
        ("/accounts/openai-a/key", json!(secret)),
        ("/accounts/openai-a", json!(secret)),
        ("/accounts/openai-a/key", json!([secret])),
        ("/accounts/openai-a/key", json!({"env": secret})),
        ("/accounts/openai-a/key", json!({"env": "AIzaSyverysecret"})),
        ("/accounts/openai-a/key", json!({"env": "BROKEN"})),
        ("/accounts/openai-a/key", json!({"value": secret})),
        ("/accounts/openai-a/key", json!({"value": [secret]})),
        ("/accounts/openai-a/key", json!({"value": 733733733})),
        ("/targets/az/key", json!({"value": format!("{secret}\nx")})),
        ("/providers/openai/headers/X-Foo", json!(format!("{secret}\n"))),
        ("/providers/openai/headers/X-Foo", json!([secret])),
        ("/providers/openai/path_prefix", json!(format!("/v1?key={secret}"))),
        ("/providers/openai/host", json!(format!("{secret}@host"))),
        ("/keys/team-a/sha256", json!(secret)),
    ] {
        let text = load_json(&with(full(), pointer, value)).unwrap_err().to_string();
        for part in ["very", "secret ", "secret\n", "sk-", "sk ", "broken", "733733733"] {
            assert!(!text.contains(part), "{text}");
        }
    }
}

#[test]
fn a_variable_that_is_missing_or_empty_is_named_with_the_way_to_pass_it() {
    for name in ["UNSET", "EMPTY"] {
        check_change(
            "/accounts/openai-a/key/env",
            json!(name),
            &format!(
                "accounts.openai-a.key.env: environment variable `{name}` is unset or empty in the filter's VM; set it \
                 for Envoy and list it in `vm_config.environment_variables.host_env_keys`"
            ),
        );
    }
    check_change(
        "/accounts/openai-a/key/env",
        json!("BROKEN"),
        "accounts.openai-a.key.env: holds a key with spaces, line breaks or other characters that are not visible ASCII; \
         write the bare key, without `Bearer`",
    );
}

#[test]
fn the_fingerprint_follows_the_configuration_and_not_its_secrets() {
    let of = |config: &Value| load_json(config).unwrap().fingerprint();
    assert_eq!(of(&full()), of(&with(full(), "/targets/az/key/value", json!("other"))));
    assert_ne!(of(&full()), of(&with(full(), "/targets/gpt-a/weight", json!(3))));
    assert_ne!(of(&full()), of(&with(full(), "/providers/openai/headers/x-new", json!("v"))));
    for (pointer, value) in [
        ("/breaker/open", json!("2s")),
        ("/breaker/failure_ratio", json!(0.26)),
        ("/mode", json!("enforce")),
        ("/models/chat/when_all_open", json!("refuse")),
    ] {
        assert_ne!(of(&full()), of(&with(full(), pointer, value)), "{pointer}");
    }
}

/// The reference for operators, whose examples must hold.
const REFERENCE: &str = include_str!("../../docs/configuration.md");

fn fenced(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    REFERENCE.split(opening.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_examples_of_the_reference_load_and_its_report_is_the_real_one() {
    let [good, bad] = fenced("json")[..] else { panic!("two JSON examples") };
    let env = |name: &str| Some(format!("key-of-{name}")).filter(|_| name != "ANTHROPIC_KEY_B");
    load(good.as_bytes(), &env).unwrap();
    let report = load(bad.as_bytes(), &env).unwrap_err().to_string();
    assert_eq!(fenced("text"), [format!("{report}\n")]);
}

#[test]
fn the_reference_states_the_kinds_endpoints_and_failures_there_are() {
    let kinds = ProviderKind::ALL.into_iter().map(ProviderKind::name);
    let names = kinds.chain(Endpoint::ALL.into_iter().map(Endpoint::name));
    for name in names.chain(ErrorClass::ALL.into_iter().map(ErrorClass::name)) {
        assert!(REFERENCE.contains(&format!("`{name}`")), "docs/configuration.md lacks `{name}`");
    }
}
