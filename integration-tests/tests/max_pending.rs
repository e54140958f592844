//! `max_pending` holds exactly over all workers, over changes of the configuration, and after a crash.

use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::{Request, Response};
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Outcome, ReceivedRequest, Script, ScriptedProvider};
use integration_tests::scene::Scene;
use serde_json::json;
use tokio::task::JoinSet;

use crate::crash::{can_crash, in_pieces};

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

/// Opens a stream that stays open. `None` if the place for it is not free.
async fn open_stream(port: u16) -> Option<Response> {
    let mut response = Request::chat("chat", true).send(port).await.unwrap();
    if response.status == 429 {
        assert_eq!(response.header("x-llm-reason"), Some("all_targets_throttled"));
        return None;
    }
    assert_eq!(response.status, 200, "{:?}", response.header("x-llm-reason"));
    response.next_chunk().await.unwrap().unwrap();
    Some(response)
}

#[tokio::test]
async fn streams_that_began_before_a_limit_or_another_limit_count() {
    let (provider, other) = (ScriptedProvider::start("only").await, ScriptedProvider::start("other").await);
    provider.by_default(Script::usual().hang_after_chunks(2));
    // Each configuration has a model of its own, so that a test can see which workers have it.
    let gateway = |number: usize, limits| {
        let models = json!({
            "chat": {"tiers": [["gpt-a"]], "retry": {"attempts": 1}},
            format!("of-{number}"): {"targets": ["haiku"]},
        });
        Gateway::new(Shape::Loop)
            .configure(&json!({"models": models, "targets": {"gpt-a": {"limits": limits}}}))
            .provider("openai", provider.port())
            .provider("anthropic", other.port())
            .concurrency(2)
            .reloadable()
    };
    let envoy = gateway(0, json!(null)).start().await;
    let port = envoy.port();
    // 20 streams, so that both workers have some.
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(open_stream(port).await.expect("there is no limit"));
    }
    for (number, most) in [(1, 22), (2, 25)] {
        gateway(number, json!({"max_pending": most})).update(&envoy);
        let model = format!("of-{number}");
        envoy.until_every_worker(|| Request::chat(&model, false), |read| read.status == 200).await;
        while let Some(stream) = open_stream(port).await {
            streams.push(stream);
            assert!(streams.len() <= most);
        }
        assert_eq!(streams.len(), most);
        // The places of streams that began under any earlier configuration become free like others.
        streams.drain(..2);
        let deadline = Instant::now() + SOON;
        while streams.len() < most {
            streams.extend(open_stream(port).await);
            assert!(Instant::now() < deadline, "{} of {most}", streams.len());
        }
        assert!(open_stream(port).await.is_none());
    }
    drop(streams);
    envoy.wait_until_idle().await;
}

#[tokio::test]
async fn after_a_crash_its_places_are_free_again_within_the_documented_time() {
    let gateway = Gateway::new(Shape::Loop).configure(&json!({
        "models": {
            "chat": {"tiers": null, "targets": ["gpt-a"], "retry": {"queue": {"max_wait": "30s"}}},
            "stream": {"targets": ["haiku"]},
        },
        "targets": {"gpt-a": {"limits": {"max_pending": 2}}},
    }));
    let (scene, _module) = can_crash(gateway).await;
    let Scene { envoy, providers: [first, spare], .. } = scene;
    let port = envoy.port();
    first.by_default(Script::usual().delay_headers(Duration::from_secs(2)));
    let mut clients = JoinSet::new();
    for _ in 0..2 {
        clients.spawn(async move { Request::chat("chat", false).ask(port).await });
    }
    first.wait_for(2, SOON).await;
    spare.script(in_pieces());
    let crashes = tokio::spawn(Request::chat("stream", true).send(port));
    envoy.wait_for_log("unreachable").await;
    let crashed = Instant::now();
    // The edge sends both once more, and they wait until the places of the old VM are free.
    while let Some(read) = clients.join_next().await {
        let read = read.unwrap();
        assert_eq!(read.status, 200, "{}", read.text());
    }
    drop(crashes.await);
    let received = first.received();
    assert_eq!((received.len(), at_once(&received)), (4, 2));
    let waited = received[2].arrived_at.duration_since(crashed);
    // 30 ticks of the new VM.
    assert!((Duration::from_millis(2_500)..Duration::from_secs(8)).contains(&waited), "{waited:?}");
    envoy.wait_until_idle().await;
}
