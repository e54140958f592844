use serde_json::{Value, json};

use super::super::note::Kind;
use super::*;

/// The notes on a report that is healthy except for `changes`.
fn notes(changes: &[(&str, Value)]) -> Vec<(Kind, String)> {
    let scope = |name: &str| json!({"name": name, "state": "closed", "phase": "closed", "trips": 0});
    let mut report = json!({
        "schema": 1, "now_ms": 1_000_000, "mode": "enforce", "retry_loop": true,
        "versions": {"llm_failsafe": env!("CARGO_PKG_VERSION"), "configuration": "00ff", "envoy": "1.40.0"},
        "models": [{"name": "chat", "fit": 2, "of": 2, "tiers": [["gpt"], ["haiku"]]}],
        "targets": [scope("gpt"), scope("haiku")], "accounts": [scope("openai")], "endpoints": [scope("openai")],
        "retry_budget": {"window_s": 10, "requests": 0, "used": 0, "allowed": 100, "left": 100},
        "budgets": [{"key": "team", "budgets": [{"budget": "usd_per_day", "used": 5, "limit": 100}]}],
        "orders": [{"at_ms": 1, "by": "anna", "scope": "target", "name": "gpt", "order": "drain"}],
    });
    for (pointer, value) in changes {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = report.pointer_mut(parent).unwrap();
        match name.parse::<usize>() {
            Ok(index) => parent[index] = value.clone(),
            Err(_) => parent[name] = value.clone(),
        }
    }
    let status: Status = serde_json::from_value(report).unwrap();
    explain(&status).iter().map(|note| (note.kind, note.to_string())).collect()
}

/// Checks that the changes cause exactly one note of this kind with these texts.
#[track_caller]
fn check(changes: &[(&str, Value)], kind: Kind, texts: &[&str]) {
    let found = notes(changes);
    let of_kind: Vec<_> = found.iter().filter(|(found, _)| *found == kind).collect();
    let [(_, text)] = of_kind.as_slice() else { panic!("{found:#?}") };
    for part in texts {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_healthy_gateway_has_only_good_notes() {
    let found = notes(&[]);
    assert!(found.iter().all(|(kind, _)| *kind == Kind::Good), "{found:#?}");
    assert!(found[0].1.contains(" on Envoy 1.40.0, configuration 00ff"), "{found:#?}");
    assert!(found[1].1.contains("all 2 targets of 1 model accept requests"), "{found:#?}");
}

#[test]
fn each_state_of_a_breaker_is_explained() {
    let scope = |state: &str, rule: &str, failure: &str| json!({"name": "gpt", "state": state, "reason": {"rule": rule, "failure": failure}, "since_ms": 400_000, "until_ms": 1_030_000, "consecutive_failures": 5});
    let target = |state: &str, rule: &str, failure: &str| [("/targets/0", scope(state, rule, failure))];
    check(
        &target("open", "consecutive", "server"),
        Kind::Problem,
        &[
            "target `gpt` is open for 10 min: the provider answers with errors (`server`), because of 5 failures in a row; next try in 30 s",
            "#llmfailsafebreakeropened",
        ],
    );
    check(
        &[("/accounts/0", scope("blocked", "blocked", "quota_exhausted"))],
        Kind::Problem,
        &[
            "account `gpt` is blocked for 10 min: the account is out of money or quota",
            "do: pay",
            "#llmfailsafeaccountblocked",
        ],
    );
    check(
        &[("/endpoints/0", scope("open", "ratio", "transport"))],
        Kind::Problem,
        &["endpoint `gpt`", "do: check the cluster"],
    );
    check(
        &target("half_open", "consecutive", "timeout"),
        Kind::Hint,
        &["is being probed after there was no answer in time"],
    );
    check(&target("throttled", "", ""), Kind::Hint, &["is at its rate limit; next try in 30 s"]);
    check(
        &target("drained", "", ""),
        Kind::Problem,
        &["by an operator's order (`drain` by anna)", "POST /llm-failsafe/targets/gpt/undo"],
    );
    check(&target("forced_closed", "", ""), Kind::Hint, &["even if it fails"]);
    check(&target("novel", "", ""), Kind::Hint, &["in the state `novel`"]);
    let mut flapping = scope("open", "probe", "server");
    flapping["trips"] = json!(4);
    check(&[("/targets/0", flapping)], Kind::Problem, &["#llmfailsafebreakerflaps"]);
    let slow = json!({"name": "gpt", "state": "closed", "share_permille": 250});
    check(&[("/targets/0", slow)], Kind::Hint, &["gets 25 % of its usual traffic"]);
}

#[test]
fn models_queues_and_budgets_are_explained() {
    check(
        &[("/models/0/fit", json!(0))],
        Kind::Problem,
        &["model `chat`: none of its 2 targets", "#llmfailsafenobodyleft"],
    );
    check(
        &[("/models/0/fit", json!(0)), ("/models/0/of", json!(1))],
        Kind::Problem,
        &["model `chat`: its only target does not accept requests, so clients get errors"],
    );
    check(&[("/models/0/fit", json!(1))], Kind::Hint, &["1 of 2 targets accept requests"]);
    let queue = |waiting: u64| {
        [("/models/0/queue", json!({"waiting": waiting, "since_ms": 970_000, "max_waiting": 10}))]
    };
    check(&queue(1), Kind::Hint, &["1 request waits in the queue, the first for 30 s"]);
    check(&queue(3), Kind::Hint, &["3 requests wait in the queue, the first for 30 s"]);
    check(&queue(10), Kind::Problem, &["10 requests wait", "it is full"]);
    let budget = |used: u64| [("/budgets/0/budgets/0/used", json!(used))];
    check(&budget(90), Kind::Hint, &["key `team`: 90 of 100 of its budget usd_per_day are used"]);
    check(&budget(100), Kind::Hint, &["its clients get 429"]);
    check(
        &[("/retry_budget/used", json!(100))],
        Kind::Problem,
        &["the retry budget is used up (100 of 100)"],
    );
    check(
        &[("/load", json!({"held_bytes": 480 << 20, "max_held_bytes": 512 << 20}))],
        Kind::Hint,
        &["hold 480 MiB of Envoy's memory", "beyond 512 MiB", "#llmfailsafememoryfull"],
    );
    let headroom = json!([{"of": "tokens", "by": "provider", "limit": 10, "left": 0, "reset_ms": 1_005_000}]);
    check(
        &[("/targets/1/headroom", headroom)],
        Kind::Hint,
        &["nothing is left of its limit tokens (from the provider); full again in 5 s"],
    );
}

#[test]
fn settings_that_weaken_the_gateway_are_named() {
    check(&[("/mode", json!("shadow"))], Kind::Hint, &["breakers only observe"]);
    check(&[("/retry_loop", json!(false))], Kind::Hint, &["no failover within a request"]);
    check(&[("/versions/llm_failsafe", json!("0.0.1"))], Kind::Hint, &["this program has version"]);
}
