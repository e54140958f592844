//! Values of the wrong type.

use super::*;

#[test]
fn a_wrong_type_is_reported_with_the_expected_type() {
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
            "targets.gpt-a.model: found a boolean, expected text (YAML needs quotes around it)",
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
            "other_paths: found a number, expected `refuse` or a mapping with the field `cluster` or `account`",
        ),
        (
            "/limits/max_body",
            json!(1024),
            "limits.max_body: found a number, expected a number with a unit (B, KB, KiB, MB or \
             MiB), such as \"32MiB\"",
        ),
        (
            "/limits/max_body",
            json!("32GB"),
            "limits.max_body: `32GB` is not a size, expected a number with a unit (B, KB, KiB, \
             MB or MiB), such as \"32MiB\"",
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
            "breaker.open: `30sec` is not a duration, expected a number with a unit (ms, s, m or \
             h), such as \"30s\"",
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
        ("/mode", json!(true), "mode: found a boolean, expected text (YAML needs quotes around it)"),
    ] {
        check_change(pointer, value, expected);
    }
}
