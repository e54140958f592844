//! `max_pending` holds exactly over all workers.

use std::time::{Duration, Instant};

use integration_tests::client::Request;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Outcome, ReceivedRequest, Script};
use integration_tests::scene::Scene;
use serde_json::json;
use tokio::task::JoinSet;

/// The largest number of requests that were at the provider at the same time.
fn at_once(received: &[ReceivedRequest]) -> usize {
    let ended = |request: &ReceivedRequest| match request.outcome {
        Outcome::Answered(at) | Outcome::ClosedByClient(at) | Outcome::BrokenByProvider(at) => Some(at),
        Outcome::InProgress => None,
    };
    let there = |one: &ReceivedRequest, at: Instant| {
        one.arrived_at <= at && ended(one).is_none_or(|ended| ended > at)
    };
    let beside =
        |request: &ReceivedRequest| received.iter().filter(|one| there(one, request.arrived_at)).count();
    received.iter().map(beside).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_and_four_workers_together_never_exceed_the_limit_and_use_all_of_it() {
    for workers in [2, 4] {
        let retry = json!({"attempts": 1, "queue": {"max_wait": "30s"}});
        let Scene { envoy, providers: [provider], .. } = Gateway::new(Shape::Loop)
            .configure(&json!({
                "models": {"chat": {"tiers": null, "targets": ["gpt-a"], "retry": retry}},
                "targets": {"gpt-a": {"limits": {"max_pending": 3}}},
            }))
            .concurrency(workers)
            .start_with([("only", "openai")])
            .await;
        provider.by_default(Script::usual().delay_headers(Duration::from_millis(250)));
        let mut clients = JoinSet::new();
        let port = envoy.port();
        for _ in 0..40 {
            clients.spawn(async move { Request::chat("chat", false).ask(port).await });
        }
        while let Some(read) = clients.join_next().await {
            let read = read.unwrap();
            assert_eq!(read.status, 200, "{}", read.text());
        }
        let received = provider.received();
        assert_eq!((received.len(), at_once(&received)), (40, 3), "{workers} workers");
        envoy.wait_for_count("journeys", 0).await;
        envoy.wait_for_count("waiting", 0).await;
    }
}
