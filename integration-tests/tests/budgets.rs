//! Budgets of client keys: a refusal names the exhausted budget, and a budget is exact over all workers.

use std::time::Duration;

use integration_tests::SOON;
use integration_tests::client::{Read, Request};
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::Script;
use integration_tests::scene::Scene;
use integration_tests::sha256;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// A key called `team` with this budget, and one called `other` with none.
fn configuration(budget: &Value) -> Value {
    json!({
        // Failures are scripted here. Breakers have their own tests.
        "mode": "shadow",
        "providers": {
            "first": compatible("first"),
            "spare": compatible("spare"),
        },
        "targets": {
            "first": {"provider": "first", "model": "first-model", "price": {"input": 1, "output": 10}},
            "spare": {"provider": "spare", "model": "spare-model", "price": {"input": 1, "output": 10}},
        },
        "models": {"chat": {"tiers": [["first"], ["spare"]]}},
        "keys": {
            "team": {"sha256": sha256("team-key"), "budget": budget},
            "other": {"sha256": sha256("other-key")},
        },
    })
}

async fn start(budget: Value) -> Scene<2> {
    let gateway = Gateway::new(Shape::Loop).plugin(&configuration(&budget)).concurrency(2);
    gateway.start_with(["first", "spare"]).await
}

async fn ask(port: u16, key: &str, max_tokens: u64) -> Read {
    let body =
        json!({"model": "chat", "max_tokens": max_tokens, "messages": [{"role": "user", "content": "hi"}]});
    let request = Request::post("/v1/chat/completions").header("authorization", &format!("Bearer {key}"));
    request.json(&body).patience(SOON).ask(port).await
}

fn refusal(read: &Read) -> (Option<String>, Option<u64>) {
    let body = read.json();
    // Only a smaller request helps if no wait does.
    let helps = read.header("retry-after").is_some();
    let (status, kind) = if helps { (429, "rate_limit_error") } else { (400, "invalid_request_error") };
    let refused = (status, Some("budget_exhausted"));
    assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), refused, "{}", read.text());
    assert_eq!(body["error"]["code"], "budget_exhausted");
    assert_eq!(body["error"]["type"], kind);
    let name = body["error"]["llm_failsafe"]["budget"].as_str().map(str::to_owned);
    (name, read.header("retry-after").map(|seconds| seconds.parse().unwrap()))
}

#[tokio::test]
async fn two_hundred_requests_at_once_get_exactly_the_budget() {
    let Scene { envoy, providers: [first, _spare], .. } = start(json!({"requests_per_minute": 40})).await;
    first.by_default(Script::usual().delay_headers(Duration::from_millis(200)));
    let mut asked = JoinSet::new();
    for _ in 0..200 {
        let port = envoy.port();
        asked.spawn(async move { ask(port, "team-key", 10).await });
    }
    let mut served = 0;
    while let Some(read) = asked.join_next().await {
        let read = read.unwrap();
        if read.status == 200 {
            served += 1;
            continue;
        }
        let (name, wait) = refusal(&read);
        assert_eq!(name.as_deref(), Some("requests_per_minute"));
        assert!(wait.is_some_and(|seconds| (1..=65).contains(&seconds)), "{wait:?}");
        assert_eq!(read.header("x-llm-target"), None, "no target was asked");
    }
    assert_eq!(served, 40);
    assert_eq!(first.received().len(), 40);
    assert_eq!(ask(envoy.port(), "other-key", 10).await.status, 200, "another key has its own budget");
    envoy.expect_count("budget_refusals", 160).await;
}

#[tokio::test]
async fn tokens_are_reserved_as_estimated_and_settled_as_reported() {
    let budget = json!({"tokens_per_minute": 1000, "tokens_per_day": 2000, "warn_at": 0.9});
    let Scene { envoy, providers: [first, _spare], .. } = start(budget).await;
    first.by_default(Script::usual().tokens(30, 20));
    // Each request reserves 900 tokens and uses 50, so they fit one after the other.
    for round in 0..3 {
        let read = ask(envoy.port(), "team-key", 850).await;
        assert_eq!(read.status, 200, "{round}: {}", read.text());
        envoy.wait_for_count("journeys", 0).await;
    }
    // 150 are used. 750 more reach the warning mark of one budget, 860 exceed it now, and 3000 exceed it at any time.
    let warned = ask(envoy.port(), "team-key", 780).await;
    assert_eq!(
        (warned.status.as_u16(), warned.header("x-llm-budget-warning")),
        (200, Some("tokens_per_minute"))
    );
    envoy.wait_for_count("journeys", 0).await;
    let (name, wait) = refusal(&ask(envoy.port(), "team-key", 860).await);
    assert_eq!(name.as_deref(), Some("tokens_per_minute"));
    assert!(wait.is_some());
    let never = ask(envoy.port(), "team-key", 3000).await;
    assert_eq!((refusal(&never).1, never.header("x-should-retry")), (None, Some("false")));
}

#[tokio::test]
async fn a_failed_request_returns_its_reserved_tokens_and_money() {
    // 90 output tokens cost 900 microdollars.
    let Scene { envoy, providers: [first, spare], .. } =
        start(json!({"tokens_per_day": 150, "usd_per_day": 0.001})).await;
    first.by_default(Script::status(500));
    spare.by_default(Script::status(500));
    for _ in 0..3 {
        assert_eq!(ask(envoy.port(), "team-key", 90).await.status, 500);
        envoy.wait_for_count("journeys", 0).await;
    }
    first.by_default(Script::usual().tokens(10, 60));
    assert_eq!(ask(envoy.port(), "team-key", 90).await.status, 200);
    envoy.wait_for_count("journeys", 0).await;
    let (name, wait) = refusal(&ask(envoy.port(), "team-key", 70).await);
    assert_eq!(
        name.as_deref(),
        Some("usd_per_day"),
        "610 microdollars are spent, and 700 more exceed the budget"
    );
    assert!(wait.is_some_and(|seconds| seconds <= 86_400), "{wait:?}");
}
