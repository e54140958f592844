//! An operator drains a target under load: no client notices, the target gets no new request, its requests in progress end
//! normally, and after a reset it is used again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::Request;
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Outcome, ReceivedRequest, Script, ScriptedProvider};
use integration_tests::scene::Scene;
use integration_tests::sha256;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const OPERATOR: &str = "op-drain-secret";
/// The number of clients. Each sends one request after the other.
const CLIENTS: usize = 8;
/// An order holds on every worker after this.
const HOLDS_AFTER: Duration = Duration::from_secs(1);
/// A stream of about a second, so that some are in progress when an order comes.
fn slow() -> Script {
    Script::usual().content_chunks(10).delay_chunks(Duration::from_millis(80))
}

async fn start() -> Scene<2> {
    let sha256 = sha256(OPERATOR);
    Gateway::new(Shape::Loop)
        .plugin(&json!({
            "providers": {"a": compatible("a"), "b": compatible("b")},
            "targets": {"a": {"provider": "a", "model": "m"}, "b": {"provider": "b", "model": "m"}},
            "models": {"chat": {"tiers": [["a", "b"]]}},
            "operator": {"keys": {"anna": {"sha256": sha256}}},
        }))
        .concurrency(2)
        .start_with(["a", "b"])
        .await
}

async fn order(envoy: &Envoy, path: &str) {
    let request = Request::post(&format!("/llm-failsafe/targets/{path}"));
    let answer = request.header("authorization", &format!("Bearer {OPERATOR}")).send(envoy.port()).await;
    assert_eq!(answer.unwrap().status, 200, "{path}");
}

async fn target_a(envoy: &Envoy) -> Value {
    let request = Request::get("/llm-failsafe/status");
    let request = request.header("authorization", &format!("Bearer {OPERATOR}"));
    let status = request.send(envoy.port()).await.unwrap().json().await;
    status["targets"].as_array().unwrap().iter().find(|target| target["name"] == "a").unwrap().clone()
}

/// Waits until more than this many requests have arrived.
async fn more_than(provider: &ScriptedProvider, count: usize) -> Vec<ReceivedRequest> {
    provider.wait_for(count + 1, SOON).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_under_load_fails_no_request_and_a_reset_restores_traffic() {
    let Scene { envoy, providers: [a, b], .. } = start().await;
    a.by_default(slow());
    b.by_default(slow());
    let (port, over) = (envoy.port(), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let over = Arc::clone(&over);
        clients.spawn(async move {
            let mut served = 0;
            while !over.load(Ordering::Relaxed) {
                let request = Request::chat("chat", true);
                let request = if client % 2 == 0 { request.h2c() } else { request };
                let read = request.ask(port).await;
                let whole = read.error.is_none() && read.text().ends_with("data: [DONE]\n\n");
                assert!(read.status == 200 && whole, "{:?} {}", read.status, read.text());
                assert_eq!(read.header("x-llm-attempts"), Some("1"), "no attempt was repeated");
                served += 1;
            }
            served
        });
    }
    for provider in [&a, &b] {
        more_than(provider, 2 * CLIENTS).await;
    }

    let drained_at = Instant::now();
    let before = a.received();
    order(&envoy, "a/drain").await;
    let under_way = before.iter().filter(|request| request.outcome == Outcome::InProgress).count();
    assert!(under_way > 0, "streams were in progress at the target");
    tokio::time::sleep(HOLDS_AFTER).await;
    // All of the load goes to the other target, and requests in progress end normally.
    let asked = a.received().len();
    more_than(&b, b.received().len() + 3 * CLIENTS).await;
    let last = a.received();
    assert_eq!(last.len(), asked, "the drained target gets no new request");
    assert!(last.iter().all(|request| request.arrived_at < drained_at + HOLDS_AFTER));
    for index in 0..last.len() {
        let outcome = a.wait_for_outcome(index, SOON).await;
        assert!(matches!(outcome, Outcome::Answered(_)), "{index}: {outcome:?}");
    }
    let deadline = Instant::now() + SOON;
    loop {
        let target = target_a(&envoy).await;
        assert_eq!(target["state"], "drained", "{target}");
        if target["pending"] == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{target}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    order(&envoy, "a/reset").await;
    more_than(&a, asked + 2 * CLIENTS).await;
    assert_eq!(target_a(&envoy).await["state"], "closed");
    over.store(true, Ordering::Relaxed);
    let mut served = 0;
    while let Some(client) = clients.join_next().await {
        served += client.expect("no request failed");
    }
    assert_eq!(served, a.received().len() + b.received().len(), "each request had one attempt");
}
