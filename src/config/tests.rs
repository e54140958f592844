use std::time::Duration;

use prost::Message;
use prost_types::value::Kind;
use serde_json::{Value, json};

use super::*;
use crate::base::{ClassSet, Endpoint, ErrorClass};
use crate::provider::ProviderKind;

mod balance;
mod boundaries;
mod bounds;
mod breaker;
mod budgets;
mod forms;
mod mistakes;
mod names;
mod offers;
mod properties;
mod quota;
mod reference;
mod retries;
mod secrets;
mod streams;
mod types;

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
            "openai": {"kind": "openai", "cluster": "oa", "host": "Proxy.example:8443",
            "path_prefix": "/x/v1",
                       "endpoints": ["chat", "responses"], "headers": {"X-Foo": "bar",
                       "a-b": "header secret"}},
            "azure": {"kind": "azure-openai", "host": "r.openai.azure.com", "api_version": "2024-10-21"},
            "vllm": {"kind": "openai-compatible", "host": "10.0.0.7:8000", "path_prefix": "/",
            "usage": "leave"},
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
        "keys": {"team-a": {"sha256": "AB".repeat(32), "models": ["chat"]},
        "team-b": {"sha256": "cd".repeat(32)}},
        "other_paths": {"cluster": "legacy"},
        "limits": {"max_body": "1.5MiB", "max_held_bytes": "48MiB", "max_journeys": 7},
        "breaker": {
            "window": "10s", "min_requests": 20, "failure_ratio": 0.25, "consecutive": 7, "unanswered": 9,
            "open": "1.5s", "open_max": "1m",
            "block": "2m", "block_max": "1h", "probes": 3, "close_after": 4, "probe_lease": "90s",
            "slow_start": "0s", "slow_start_alone": "refuse",
            "slow_first_content": "20s",
        },
        "mode": "shadow",
        "metric_labels": "istio",
        "retry_loop": true,
        "route_strips_headers": true,
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

/// Everything in a configuration, including credentials, as one comparable text.
fn everything(config: &Config) -> String {
    let secrets: Vec<_> =
        config.accounts().iter().map(|account| account.key.secret().map(Secret::expose)).collect();
    let headers: Vec<_> = config.providers().iter().map(|provider| &provider.headers).collect();
    let names = &config.model_names;
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {secrets:?} {headers:?} {names:?} {}",
        config.providers(),
        config.accounts(),
        config.targets(),
        config.models(),
        config.keys,
        config.other_paths,
        config.limits.max_body_bytes,
        config.limits.max_held_bytes,
        config.limits.max_journeys,
        config.breaker,
        config.mode,
        config.metric_labels,
        config.retry_loop,
        config.route_strips_headers,
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
    assert_eq!((&*account.name, account.key.secret().unwrap().expose()), ("gpt", "sk-from-env"));
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
    assert_eq!(config.limits.max_held_bytes, 512 << 20);
    assert_eq!((config.breaker, config.mode), (BreakerPolicy::default(), Mode::Enforce));
    assert_eq!(chat.when_all_open, WhenAllOpen::Refuse);
    assert!(!config.retry_loop);
    assert_eq!(config.model_named("gpt-4.1-mini"), None);
}

#[test]
fn every_configured_value_is_applied() {
    let config = load_json(&full()).unwrap();
    let target = |name: &str| config.targets().iter().find(|target| &*target.name == name).unwrap();
    let provider_of = |name: &str| config.provider(target(name).provider).unwrap();
    let key_of = |name: &str| config.account(target(name).account).unwrap().key.secret().map(Secret::expose);

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
        unanswered: 9,
        open: Duration::from_millis(1500),
        open_max: Duration::from_secs(60),
        block: Duration::from_secs(120),
        block_max: Duration::from_secs(3600),
        probes: 3,
        close_after: 4,
        probe_lease: Duration::from_secs(90),
        slow_start: Duration::ZERO,
        slow_start_alone: SlowStartAlone::Refuse,
        slow_first_content: Some(Duration::from_secs(20)),
    };
    assert_eq!(config.breaker, expected);

    let keys = config.keys.as_ref().unwrap();
    assert_eq!((keys[0].digests.first, keys[1].digests.first), ([0xab; 32], [0xcd; 32]));
    assert_eq!((&keys[0].models, &keys[1].models), (&Some(vec![config.model_named("chat").unwrap()]), &None));
    assert_eq!(config.other_paths, OtherPaths::Cluster("legacy".into()));
    assert_eq!(
        (config.limits.max_body_bytes, config.limits.max_journeys, config.retry_loop),
        (1_572_864, 7, true)
    );
    assert_eq!(config.limits.max_held_bytes, 48 << 20);
}

/// Checks that `config` is rejected with exactly these mistakes.
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
