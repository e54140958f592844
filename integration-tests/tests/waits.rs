//! No request waits in vain: when no target can be free within its wait, it is refused on the next tick.

use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::{Read, Request};
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::Script;
use integration_tests::scene::Scene;
use serde_json::json;
use tokio::task::JoinSet;

/// What a tick (100 ms) may take on a busy machine. The waits that these tests exclude last ten seconds.
const TICK: Duration = Duration::from_millis(1500);

fn spawn(clients: &mut JoinSet<Read>, port: u16, count: usize) {
    for number in 0..count {
        let request = Request::chat("chat", false);
        let request = if number.is_multiple_of(2) { request.h2c() } else { request };
        clients.spawn(async move { request.ask(port).await });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_total_outage_every_client_is_answered_as_soon_as_the_attempts_are_over() {
    let backoff = json!({"base": "20s", "max": "20s"});
    let retry =
        json!({"attempts": 6, "attempts_per_target": 3, "backoff": backoff, "queue": {"max_wait": "10s"}});
    let scene = Gateway::new(Shape::Loop)
        .configure(&json!({
            "models": {"chat": {"tiers": [["gpt-a"], ["haiku"]], "targets": null, "retry": retry}},
            "breaker": {"open": "60s"},
            "retry_budget": {"ratio": 10, "floor": 1000},
        }))
        .concurrency(2)
        .start_with([("first", "openai"), ("spare", "anthropic")])
        .await;
    let Scene { envoy, providers: [first, spare], .. } = scene;
    let pause = Duration::from_millis(300);
    for provider in [&first, &spare] {
        provider.by_default(Script::status(500).delay_headers(pause));
    }
    let began = Instant::now();
    let mut clients = JoinSet::new();
    spawn(&mut clients, envoy.port(), 30);
    while let Some(read) = clients.join_next().await {
        let read = read.unwrap();
        assert!(read.status.is_server_error(), "{}", read.text());
        // An attempt at each target, one after the other.
        let took = read.ended_at - began;
        assert!(took < pause * 2 + TICK, "{took:?}: {}", read.text());
    }
    envoy.wait_for_count("journeys", 0).await;
    envoy.wait_for_count("waiting", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_queued_requests_are_refused_on_the_tick_after_the_only_breaker_has_opened() {
    let scene = Gateway::new(Shape::Loop)
        .configure(&json!({
            "models": {"chat": {
                "tiers": null, "targets": ["gpt-a"], "retry": {"attempts": 1, "queue": {"max_wait": "20s"}},
            }},
            "targets": {"gpt-a": {"limits": {"max_pending": 1}}},
            "breaker": {"consecutive": 1, "open": "60s"},
        }))
        .start_with([("only", "openai")])
        .await;
    let Scene { envoy, providers: [provider], .. } = scene;
    provider.by_default(Script::status(500).delay_headers(Duration::from_secs(3)));
    let mut clients = JoinSet::new();
    spawn(&mut clients, envoy.port(), 1);
    provider.wait_for(1, SOON).await;
    spawn(&mut clients, envoy.port(), 50);
    envoy.wait_for_count("waiting", 50).await;
    let mut reads = Vec::new();
    while let Some(read) = clients.join_next().await {
        reads.push(read.unwrap());
    }
    let failed = reads.iter().find(|read| read.status == 500).expect("the one that was sent");
    for read in reads.iter().filter(|read| read.status != 500) {
        assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (503, Some("all_targets_open")));
        let seconds: u64 = read.header("retry-after").unwrap().parse().unwrap();
        assert!((40..=80).contains(&seconds), "{seconds}");
        let late = read.ended_at.saturating_duration_since(failed.ended_at);
        assert!(late < TICK, "{late:?}");
    }
    assert_eq!((reads.len(), provider.received().len()), (51, 1));
    envoy.wait_for_count("journeys", 0).await;
    envoy.wait_for_count("waiting", 0).await;
}
