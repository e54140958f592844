//! What a request takes before it is sent is returned when it is not sent: one key cannot use up a limit that all keys share.

use std::time::{Duration, Instant};

use integration_tests::client::{Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Script, ScriptedProvider};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(10);
const SHAPES: [Shape; 2] = [Shape::Loop, Shape::Single];
/// The tokens that each request is estimated to take: two of text, and the rest of the answer.
const ESTIMATE: u64 = 100;

fn digest(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One target in reach of two keys: `team` has this budget and `other` has none.
async fn gateway(
    shape: Shape,
    provider: &ScriptedProvider,
    budget: &Value,
    changes: &Value,
    workers: u32,
) -> Envoy {
    let configuration = json!({
        "providers": {"only": {"kind": "openai-compatible", "cluster": "only", "host": "only.test"}},
        "accounts": {"only": {"provider": "only", "key": {"value": "sk-only"}}},
        "targets": {"only": {"account": "only", "model": "only-model"}},
        "models": {"chat": {"targets": ["only"], "retry": {"attempts": 1}}},
        "keys": {
            "team": {"sha256": digest("team-key"), "budget": budget},
            "other": {"sha256": digest("other-key")},
        },
    });
    let gateway = Gateway::new(shape).plugin(&configuration).configure(changes).concurrency(workers);
    gateway.provider("only", provider.port()).start().await
}

fn request(key: &str) -> Request {
    let messages = json!([{"role": "user", "content": "say hi"}]);
    let body = json!({"model": "chat", "max_tokens": ESTIMATE - 2, "messages": messages});
    let request = Request::post("/v1/chat/completions").header("authorization", &format!("Bearer {key}"));
    request.json(&body).patience(SOON)
}

async fn ask(envoy: &Envoy, key: &str) -> Read {
    request(key).send(envoy.port()).await.unwrap().read().await
}

fn outcome(read: &Read) -> (u16, Option<&str>) {
    (read.status.as_u16(), read.header("x-llm-reason"))
}

const REFUSED: (u16, Option<&str>) = (429, Some("budget_exhausted"));
const THROTTLED: (u16, Option<&str>) = (429, Some("all_targets_throttled"));

/// A budget refuses five requests after the first one. Then the target must still have room for four requests of another key.
async fn a_refused_key_leaves_the_limit_to_others(place: &str, limit: Value) {
    for shape in SHAPES {
        let provider = ScriptedProvider::start("only").await;
        // The provider does not say what a request took, so the estimate stays counted.
        provider.by_default(Script::usual().json(
            json!({"id": "x", "object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}),
        ));
        let changes = json!({place: {"only": {"limits": limit}}});
        let envoy = gateway(shape, &provider, &json!({"requests_per_minute": 1}), &changes, 1).await;
        assert_eq!(ask(&envoy, "team-key").await.status, 200, "{shape:?}");
        for _ in 0..5 {
            assert_eq!(outcome(&ask(&envoy, "team-key").await), REFUSED, "{shape:?} {place} {limit}");
        }
        for number in 1..=4 {
            let read = ask(&envoy, "other-key").await;
            assert_eq!(read.status, 200, "{shape:?} {place} {limit}: request {number}: {}", read.text());
        }
        let last = ask(&envoy, "other-key").await;
        assert_eq!(
            outcome(&last),
            (429, Some("all_targets_throttled")),
            "{shape:?} {place} {limit}: the limit holds"
        );
        assert_eq!(provider.received().len(), 5, "{shape:?} {place} {limit}");
    }
}

#[tokio::test]
async fn requests_refused_by_a_budget_do_not_count_against_the_requests_of_the_target() {
    a_refused_key_leaves_the_limit_to_others("targets", json!({"requests_per_minute": 5})).await;
}

#[tokio::test]
async fn requests_refused_by_a_budget_do_not_count_against_the_tokens_of_the_account() {
    // Five requests fit, and a little is left because the estimate is not exact.
    let limit = json!({"tokens_per_minute": 5 * ESTIMATE + ESTIMATE / 2});
    a_refused_key_leaves_the_limit_to_others("accounts", limit).await;
}

/// A request waits, is then refused by the budget, and must leave the target's limit as it was. So must one whose client
/// leaves the queue.
#[tokio::test]
async fn requests_that_end_in_the_queue_return_what_they_took() {
    const WAITING: &str = "wasmcustom.llm_failsafe_waiting";
    for shape in SHAPES {
        let provider = ScriptedProvider::start("only").await;
        let changes = json!({
            "targets": {"only": {"limits": {"requests_per_minute": 3}}},
            "accounts": {"only": {"limits": {"max_pending": 1}}},
            "models": {"chat": {"retry": {"queue": {"max_wait": "10s"}}}},
        });
        let envoy = gateway(shape, &provider, &json!({"tokens_per_day": ESTIMATE / 2}), &changes, 1).await;
        let port = envoy.port();
        provider.script(Script::usual().delay_headers(Duration::from_secs(2)));
        let busy = tokio::spawn(async move { request("other-key").send(port).await.unwrap().read().await });
        provider.wait_for(1, SOON).await;
        let leaves = tokio::spawn(async move { request("other-key").send(port).await });
        envoy.wait_for_stat(WAITING, |waiting| waiting == 1).await;
        leaves.abort();
        envoy.wait_for_stat(WAITING, |waiting| waiting == 0).await;
        // Larger than the whole budget.
        let refused = (400, Some("budget_exhausted"));
        assert_eq!(outcome(&ask(&envoy, "team-key").await), refused, "{shape:?}: after it waited");
        assert_eq!(busy.await.unwrap().status, 200, "{shape:?}");
        for number in 2..=3 {
            let read = ask(&envoy, "other-key").await;
            assert_eq!(read.status, 200, "{shape:?}: request {number}: {}", read.text());
        }
        assert_eq!(ask(&envoy, "other-key").await.status, 429, "{shape:?}: the limit holds");
        assert_eq!(envoy.stat("wasmcustom.llm_failsafe_waits").await, Some(2), "{shape:?}");
    }
}

/// On two workers, many requests at once race for the last tokens of the account. The losers return what they took of the
/// target's limit, and they take nothing of the key's budget.
#[tokio::test]
async fn requests_that_lose_the_race_for_a_limit_return_the_rest() {
    const ALL: usize = 8;
    let provider = ScriptedProvider::start("only").await;
    let changes = json!({
        "targets": {"only": {"limits": {"requests_per_minute": ALL}}},
        // Three requests fit at a time. Each of them takes little in the end, so then there is room for others.
        "accounts": {"only": {"limits": {"tokens_per_minute": 3 * ESTIMATE + ESTIMATE / 2}}},
    });
    let budget = json!({"requests_per_minute": ALL});
    let envoy = gateway(Shape::Loop, &provider, &budget, &changes, 2).await;
    provider.by_default(Script::usual().tokens(1, 1).delay_headers(Duration::from_secs(1)));
    let port = envoy.port();
    let mut asked = JoinSet::new();
    for _ in 0..30 {
        asked.spawn(async move { request("team-key").send(port).await.unwrap().read().await });
    }
    let mut served = 0;
    while let Some(read) = asked.join_next().await {
        let read = read.unwrap();
        served += usize::from(read.status == 200);
        assert!(read.status == 200 || outcome(&read) == THROTTLED, "{read:?}");
    }
    assert!((1..=3).contains(&served), "{served}");
    provider.by_default(Script::usual().tokens(1, 1));
    let deadline = Instant::now() + SOON;
    while served < ALL {
        // A worker learns within a tick what the other one has returned.
        served += usize::from(ask(&envoy, "team-key").await.status == 200);
        assert!(Instant::now() < deadline, "only {served} of {ALL} were served");
    }
    assert_eq!(ask(&envoy, "team-key").await.status, 429);
    assert_eq!(provider.received().len(), ALL);
}
