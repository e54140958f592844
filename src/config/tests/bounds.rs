//! Required fields and bounds.

use super::*;

#[test]
fn contradictions_and_values_out_of_bounds_are_rejected() {
    let plain = "a name is 1 to 64 letters, digits, `_` or `-`, the first a letter or digit";
    let not_allowed = "has a value that is not allowed in a header, expected 1 to 4096 ASCII characters without \
        line breaks or outer spaces";
    for (pointer, value, expected) in [
        ("/providers/a b", json!({"kind": "openai"}), format!("providers[\"a b\"]: {plain}")),
        (
            "/providers/openai/cluster",
            json!("a b"),
            "providers.openai.cluster: is not valid, expected the name of an Envoy cluster: 1 to 256 \
             visible ASCII characters"
                .into(),
        ),
        (
            "/providers/openai/host",
            json!("https://x"),
            "providers.openai.host: is not valid, expected a host such as `api.openai.com` or \
             `10.0.0.7:8000`, without scheme or path"
                .into(),
        ),
        (
            "/providers/openai/path_prefix",
            json!("/v1/"),
            "providers.openai.path_prefix: is not valid, expected a path such as `/v1` with a slash \
             at the start, none at the end and no query; `/` alone for no prefix"
                .into(),
        ),
        (
            "/providers/openai/api_version",
            json!("1"),
            "providers.openai.api_version: is not used by kind `openai`, only by `azure-openai`".into(),
        ),
        (
            "/providers/openai/usage",
            json!("asks"),
            "providers.openai.usage: `asks` is not a valid value, did you mean `ask`?".into(),
        ),
        (
            "/providers/openai/endpoints",
            json!([]),
            "providers.openai.endpoints: is empty, so the provider could serve nothing; leave it out \
             for all endpoints of its kind"
                .into(),
        ),
        (
            "/providers/openai/endpoints/1",
            json!("chat"),
            "providers.openai.endpoints[1]: `chat` is listed twice".into(),
        ),
        (
            "/providers/openai/endpoints/1",
            json!("messages"),
            "providers.openai.endpoints[1]: kind `openai` does not support `messages`, expected one \
             of `chat`, `completions`, `embeddings`, `responses`, `moderations`, `images`, `speech`"
                .into(),
        ),
        (
            "/providers/openai/endpoints/1",
            json!("respones"),
            "providers.openai.endpoints[1]: `respones` is not an endpoint, did you mean `responses`?".into(),
        ),
        (
            "/providers/openai/headers/x-foo",
            json!("2"),
            "providers.openai.headers.x-foo: is set twice: header names are not case-sensitive".into(),
        ),
        (
            "/providers/openai/headers/Host",
            json!("h"),
            "providers.openai.headers.Host: cannot be set here: Envoy sets this header for each \
             connection"
                .into(),
        ),
        (
            "/providers/openai/headers/X-LLM-Target",
            json!("h"),
            "providers.openai.headers.X-LLM-Target: cannot be set here: `x-llm-` and `x-envoy-` \
             headers are never sent to providers"
                .into(),
        ),
        (
            "/providers/openai/headers/X-Foo",
            json!("a\r\nb: c"),
            format!("providers.openai.headers.X-Foo: {not_allowed}"),
        ),
        (
            "/accounts/openai-a/key",
            json!({}),
            "accounts.openai-a.key: has none of `env`, `value` and `injected: true`, expected one of them".into(),
        ),
        (
            "/accounts/openai-a/key",
            json!({"env": "OPENAI_KEY", "value": "v"}),
            "accounts.openai-a.key: has both `env` and `value`, expected one".into(),
        ),
        (
            "/accounts/openai-a/key",
            json!({"injected": true, "value": "v"}),
            "accounts.openai-a.key: has `injected` and a key of its own, expected one: Envoy would replace the key"
                .into(),
        ),
        (
            "/accounts/openai-a/cluster",
            json!("a b"),
            "accounts.openai-a.cluster: is not valid, expected the name of an Envoy cluster: 1 to 256 \
             visible ASCII characters"
                .into(),
        ),
        (
            "/accounts/az",
            json!({"provider": "azure"}),
            "targets.az: creates an account `az`, but `accounts.az` also exists; rename one of them".into(),
        ),
        (
            "/targets/gpt-a/key",
            json!({"value": "v"}),
            "targets.gpt-a.key: cannot be combined with `account`: the key of the account is used".into(),
        ),
        (
            "/targets/gpt-a/provider",
            json!("openai"),
            "targets.gpt-a: has both `account` and `provider`, expected one: an account already has \
             a provider"
                .into(),
        ),
        ("/targets/gpt-a/weight", json!(0), "targets.gpt-a.weight: is 0, expected 1 to 1000000".into()),
        (
            "/targets/gpt-a/weight",
            json!(1_000_001),
            "targets.gpt-a.weight: is 1000001, expected 1 to 1000000".into(),
        ),
        (
            "/targets/gpt-a/model",
            json!("a\"b"),
            "targets.gpt-a.model: is not valid, expected the provider's model name: 1 to 256 visible \
             ASCII characters, no quotation marks or backslashes"
                .into(),
        ),
        (
            "/models/chat/targets",
            json!(["az"]),
            "models.chat: has both `tiers` and `targets`, expected one: `targets` is short for a \
             single tier"
                .into(),
        ),
        ("/models/chat/tiers", json!([]), "models.chat.tiers: has 0 tiers, expected 1 to 16".into()),
        (
            "/models/chat/tiers/1/0",
            json!("az"),
            "models.chat.tiers[1][0]: target `az` is listed twice in this model".into(),
        ),
        (
            "/models/chat/fallback/on/0",
            json!("client_abort"),
            "models.chat.fallback.on[0]: `client_abort` is not allowed here: the client is gone".into(),
        ),
        (
            "/models/chat/fallback/on/0",
            json!("ratelimited"),
            "models.chat.fallback.on[0]: `ratelimited` is not an error class, did you mean \
             `rate_limited`?"
                .into(),
        ),
        (
            "/models/chat/fallback/on/1",
            json!("server"),
            "models.chat.fallback.on[1]: `server` is listed twice".into(),
        ),
        (
            "/models/chat/retry/attempts",
            json!(11),
            "models.chat.retry.attempts: is 11, expected 1 to 10".into(),
        ),
        ("/keys", json!({}), "keys: is empty; leave it out to let every client use every model".into()),
        (
            "/keys/team-a/sha256",
            json!("sk-client-secret"),
            "keys.team-a.sha256: is not a SHA-256 digest, expected 64 hexadecimal digits".into(),
        ),
        (
            "/keys/team-a/sha256",
            json!("Cd".repeat(32)),
            "keys.team-b.sha256: is the same digest as that of key `team-a`".into(),
        ),
        (
            "/keys/team-a/sha256",
            json!([]),
            "keys.team-a.sha256: has 0 digests, expected one, or 2 while the key is rotated".into(),
        ),
        (
            "/keys/team-a/sha256",
            json!(["01".repeat(32), "02".repeat(32), "03".repeat(32)]),
            "keys.team-a.sha256: has 3 digests, expected one, or 2 while the key is rotated".into(),
        ),
        (
            "/keys/team-a/sha256",
            json!(["01".repeat(32), "sk-client-secret"]),
            "keys.team-a.sha256[1]: is not a SHA-256 digest, expected 64 hexadecimal digits".into(),
        ),
        (
            "/keys/team-a/sha256",
            json!(["01".repeat(32), 5]),
            "keys.team-a.sha256[1]: found a number, expected text (YAML needs quotes around it)".into(),
        ),
        (
            "/keys/team-a/sha256",
            json!(5),
            "keys.team-a.sha256: found a number, expected text or a list".into(),
        ),
        (
            "/keys/team-a/sha256",
            json!(["01".repeat(32), "01".repeat(32)]),
            "keys.team-a.sha256[1]: is the same digest as that of key `team-a`".into(),
        ),
        (
            "/keys/team-b/sha256",
            json!(["01".repeat(32), "ab".repeat(32)]),
            "keys.team-b.sha256[1]: is the same digest as that of key `team-a`".into(),
        ),
        (
            "/keys/team-a/expires",
            json!("soon"),
            "keys.team-a.expires: is neither a date nor a time, expected one such as `2026-12-31` or \
             `2026-12-31T18:00:00Z`"
                .into(),
        ),
        (
            "/keys/team-a/models",
            json!([]),
            "keys.team-a.models: is empty, so the key could use no model; leave it out to allow \
             every model"
                .into(),
        ),
        (
            "/keys/team-a/models",
            json!(["chat", "chat"]),
            "keys.team-a.models[1]: model `chat` is listed twice".into(),
        ),
        (
            "/keys/team-a/models",
            json!(["chta"]),
            "keys.team-a.models[0]: no model is called `chta`, did you mean `chat`?".into(),
        ),
        (
            "/other_paths",
            json!("refuze"),
            "other_paths: `refuze` is not a valid value, expected `refuse` or a mapping such as `{ \
             cluster: NAME }`"
                .into(),
        ),
        ("/other_paths", json!({}), "other_paths.cluster: is missing".into()),
        (
            "/other_paths",
            json!({"cluster": "c", "account": "a"}),
            "other_paths: has both `cluster` and `account`, expected one: an account already has a cluster".into(),
        ),
        (
            "/other_paths",
            json!({"account": "opnai-a"}),
            "other_paths.account: no account is called `opnai-a`, did you mean `openai-a`?".into(),
        ),
        ("/resources", json!({}), "resources.account: is missing".into()),
        (
            "/resources",
            json!({"account": "nobody"}),
            "resources.account: no account is called `nobody`, expected `openai-a`".into(),
        ),
        (
            "/limits/max_body",
            json!("1023B"),
            "limits.max_body: is 1023 bytes, expected 1KiB to 256MiB".into(),
        ),
        (
            "/limits/max_body",
            json!("257MiB"),
            "limits.max_body: is 269484032 bytes, expected 1KiB to 256MiB".into(),
        ),
        (
            "/limits/max_held_bytes",
            json!("1.4MiB"),
            "limits.max_held_bytes: is 1468006 bytes, expected `max_body` (1572864 bytes) to 65536MiB".into(),
        ),
        (
            "/limits/max_held_bytes",
            json!("65537MiB"),
            "limits.max_held_bytes: is 68720525312 bytes, expected `max_body` (1572864 bytes) to 65536MiB".into(),
        ),
        ("/limits/max_journeys", json!(0), "limits.max_journeys: is 0, expected 1 to 100000".into()),
    ] {
        check_change(pointer, value, &expected);
    }
}

#[test]
fn missing_required_fields_are_reported() {
    for (pointer, expected) in [
        ("/providers", "providers: is missing, at least one entry is needed"),
        ("/models/chat/tiers", "models.chat: has neither `tiers` nor `targets`, expected one of them"),
        ("/targets/gpt-a/model", "targets.gpt-a.model: is missing"),
        ("/accounts/openai-a/provider", "accounts.openai-a.provider: is missing"),
        ("/keys/team-a/sha256", "keys.team-a.sha256: is missing"),
        (
            "/providers/azure/host",
            "providers.azure.host: is missing: kind `azure-openai` has no default host",
        ),
        (
            "/providers/openai/kind",
            "providers.openai.kind: is missing, expected one of `openai`, `azure-openai`, `anthropic`, `gemini`, \
             `openrouter`, `mistral`, `openai-compatible`, `groq` or 13 more",
        ),
    ] {
        check(&without(full(), pointer), &[expected]);
    }
    let mut vertex = full();
    vertex["providers"]["vertex"] = json!({"kind": "vertex", "host": "aiplatform.googleapis.com"});
    check(&vertex, &["providers.vertex.path_prefix: is missing: kind `vertex` has no default path"]);
    let mut nothing_named = smallest();
    nothing_named["targets"] = json!({});
    check(&nothing_named, &["targets: is empty, at least one entry is needed"]);
}

#[test]
fn the_maximum_number_of_entries_is_accepted_and_one_more_is_rejected() {
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
        let expected = format!("{section}: has {} entries, at most {max} are allowed", max + 1);
        check(&sized(max - present + 1), &[&expected]);
    }

    let key = |n: usize| (format!("n{n}"), json!({"sha256": format!("{n:064x}")}));
    let keys = |count: usize| (0..count).map(key).collect::<serde_json::Map<_, _>>();
    assert!(load_json(&with(smallest(), "/keys", keys(MAX_CLIENT_KEYS).into())).is_ok());
    check(
        &with(smallest(), "/keys", keys(MAX_CLIENT_KEYS + 1).into()),
        &["keys: has 1001 entries, at most 1000 are allowed"],
    );
}

#[test]
fn too_many_tiers_and_headers_are_rejected() {
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
        &["providers.openai.headers: has 33 entries, at most 32 are allowed"],
    );
    let names = |count: usize| json!((0..count).map(|n| format!("h{n}")).collect::<Vec<_>>());
    assert!(load_json(&with(smallest(), "/providers/openai/forward_headers", names(MAX_HEADERS))).is_ok());
    check(
        &with(smallest(), "/providers/openai/forward_headers", names(MAX_HEADERS + 1)),
        &["providers.openai.forward_headers: has 33 entries, at most 32 are allowed"],
    );
}

#[test]
fn a_failure_ratio_is_rounded_but_never_to_zero() {
    for (ratio, permille) in [(0.5, 500), (0.0001, 1), (0.0016, 2), (0.9999, 1000), (1.0, 1000), (0.333, 333)]
    {
        let config = load_json(&with(smallest(), "/breaker", json!({"failure_ratio": ratio}))).unwrap();
        assert_eq!(config.breaker.failure_permille, permille, "{ratio}");
    }
}
