//! Requests that are queued inside the filter until a target is free.

use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::{Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Outcome, ReceivedRequest, Script, ScriptedProvider};
use integration_tests::scene::Scene;
use integration_tests::turns::alone;
use serde_json::{Value, json};
use tokio::task::JoinSet;

async fn queued(queue: Value) -> Scene<1> {
    let retry = json!({"attempts": 1, "queue": queue});
    let models = json!({"chat": {"tiers": null, "targets": ["gpt-a"], "retry": retry}});
    Gateway::new(Shape::Loop)
        .configure(&json!({"models": models, "targets": {"gpt-a": {"context_window": 1_000_000_000}}}))
        .start_with([("only", "openai")])
        .await
}

fn limited(seconds: &str) -> Script {
    Script::status(429).json(json!({"error": {"code": "rate_limit_exceeded"}})).header("retry-after", seconds)
}

async fn reach_the_limit(provider: &ScriptedProvider, envoy: &Envoy, seconds: &str) {
    provider.script(limited(seconds));
    let read = Request::chat("chat", false).ask(envoy.port()).await;
    assert_eq!(read.status, 429, "{}", read.text());
    provider.forget_received();
}

fn over(client: usize, request: Request) -> Request {
    if client.is_multiple_of(2) { request.h2c() } else { request }
}

fn spawn(tasks: &mut JoinSet<Read>, port: u16, request: Request) -> tokio::task::AbortHandle {
    tasks.spawn(async move { request.ask(port).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_queued_requests_leave_in_order_when_a_limit_ends() {
    let Scene { envoy, providers: [provider], .. } = queued(json!({"max_wait": "20s"})).await;
    reach_the_limit(&provider, &envoy, "10").await;
    let mut waiting = JoinSet::new();
    let mut handles = Vec::new();
    for number in 0..50 {
        let body = json!({"model": "chat", "user": number.to_string(), "messages": []});
        let request = over(number, Request::post("/v1/chat/completions").json(&body));
        handles.push(spawn(&mut waiting, envoy.port(), request));
        envoy.wait_for_count("waiting", number as u64 + 1).await;
    }
    assert_eq!(provider.received().len(), 0);
    for handle in handles.iter().step_by(5) {
        handle.abort();
    }
    envoy.wait_for_count("waiting", 40).await;
    let mut answered = 0;
    while let Some(read) = waiting.join_next().await {
        let Ok(read) = read else { continue };
        assert_eq!(read.status, 200, "{}", read.text());
        answered += 1;
    }
    assert_eq!(answered, 40);
    let received = provider.received();
    let order: Vec<usize> =
        received.iter().map(|request| request.json()["user"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(order.len(), 40, "no attempt is made for a client that has left");
    assert_eq!(received[0].json()["user"], "1", "the first request whose client stayed");
    // Requests that leave with the same tick may overtake each other on their connections.
    for (place, number) in (0..50).filter(|number| number % 5 != 0).enumerate() {
        let at = order.iter().position(|other| *other == number).unwrap();
        assert!(at.abs_diff(place) <= 32, "{order:?}");
    }
    let spread = received[39].arrived_at - received[0].arrived_at;
    assert!(spread >= Duration::from_millis(350), "the requests are spread out: {spread:?}");
    envoy.wait_for_count("journeys", 0).await;
    envoy.wait_for_count("waiting", 0).await;
}

#[tokio::test]
async fn a_full_queue_refuses_with_retry_after() {
    let Scene { envoy, providers: [provider], .. } =
        queued(json!({"max_wait": "8s", "max_waiting": 2})).await;
    reach_the_limit(&provider, &envoy, "5").await;
    let mut waiting = JoinSet::new();
    for number in 0..2 {
        spawn(&mut waiting, envoy.port(), over(number, Request::chat("chat", true)));
        envoy.wait_for_count("waiting", number as u64 + 1).await;
    }
    let refused = Request::chat("chat", false).ask(envoy.port()).await;
    assert_eq!((refused.status.as_u16(), refused.header("x-llm-reason")), (503, Some("queue_full")));
    assert!(refused.header("retry-after").is_some());
    let took = refused.ended_at - refused.sent_at;
    assert!(took < Duration::from_secs(3), "{took:?}");
    while let Some(read) = waiting.join_next().await {
        assert_eq!(read.unwrap().status, 200);
    }
    reach_the_limit(&provider, &envoy, "10").await;
    let refused = Request::chat("chat", false).ask(envoy.port()).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, Some("10")));
    assert_eq!(provider.received().len(), 0);
    envoy.wait_for_count("journeys", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_large_bodies_arrive_whole() {
    let Scene { envoy, providers: [provider], .. } = queued(json!({"max_wait": "20s"})).await;
    reach_the_limit(&provider, &envoy, "3").await;
    let mut waiting = JoinSet::new();
    let text = "plain text ".repeat(900_000);
    for number in 0..4 {
        let body = format!(r#"{{"messages":[{{"content":"{text}"}}],"model":"chat"}}"#);
        let request = Request::post("/v1/chat/completions").bytes(body).patience(Duration::from_secs(60));
        spawn(&mut waiting, envoy.port(), over(number, request));
    }
    envoy.wait_for_count("waiting", 4).await;
    while let Some(read) = waiting.join_next().await {
        assert_eq!(read.unwrap().status, 200);
    }
    let expected = format!(r#"{{"messages":[{{"content":"{text}"}}],"model":"gpt-4.1-mini"}}"#).len() as u64;
    let lengths: Vec<_> = provider.received().iter().map(|request| request.body_length).collect();
    assert_eq!(lengths, [expected; 4]);
    let memory = envoy.count("wasm_memory_bytes").await;
    assert!(memory < 8 << 20, "{memory} bytes of Wasm memory");
}

/// A gateway with these limits and a queue for the only target.
async fn busy(limits: Value, workers: u32) -> Scene<1> {
    let retry = json!({"attempts": 1, "queue": {"max_wait": "20s"}});
    let models = json!({"chat": {"tiers": null, "targets": ["gpt-a"], "retry": retry}});
    Gateway::new(Shape::Loop)
        .configure(&json!({"models": models}))
        .configure(&limits)
        .concurrency(workers)
        .start_with([("only", "openai")])
        .await
}

fn numbered(number: usize) -> Request {
    let body = json!({"model": "chat", "user": number.to_string(), "messages": []});
    over(number, Request::post("/v1/chat/completions").json(&body))
}

/// The numbers of the received requests, once there are this many.
async fn users(provider: &ScriptedProvider, count: usize) -> Vec<usize> {
    let whole = |all: &[ReceivedRequest]| {
        let numbers = all.iter().map(|request| request.json()["user"].as_str()?.parse().ok());
        numbers.collect::<Option<Vec<usize>>>().filter(|numbers| numbers.len() >= count)
    };
    provider.wait_until(SOON, whole).await.expect("enough requests")
}

/// The largest number of requests that were at the provider at the same time.
fn at_once(received: &[ReceivedRequest]) -> usize {
    let ended = |request: &ReceivedRequest| match request.outcome {
        Outcome::Answered(at) | Outcome::ClosedByClient(at) | Outcome::BrokenByProvider(at) => Some(at),
        Outcome::InProgress => None,
    };
    let there = |one: &ReceivedRequest, at: Instant| {
        one.arrived_at <= at && ended(one).is_none_or(|ended| ended > at)
    };
    received
        .iter()
        .map(|request| received.iter().filter(|one| there(one, request.arrived_at)).count())
        .max()
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_with_two_places_gets_two_requests_and_the_others_queue_in_order() {
    let of_target = json!({"targets": {"gpt-a": {"limits": {"max_pending": 2}}}});
    let of_account = json!({"accounts": {"openai-a": {"limits": {"max_pending": 2}}}});
    for limits in [of_target, of_account] {
        let Scene { envoy, providers: [provider], .. } = busy(limits, 1).await;
        provider.by_default(Script::usual().delay_headers(Duration::from_secs(1)));
        let mut clients = JoinSet::new();
        for number in 0..6 {
            spawn(&mut clients, envoy.port(), numbered(number));
            provider.wait_for(number.min(1) + 1, SOON).await;
            let count = (number as u64 + 1).saturating_sub(2);
            envoy.wait_for_count("waits", count).await;
        }
        while let Some(read) = clients.join_next().await {
            let read = read.unwrap();
            assert_eq!((read.status.as_u16(), read.header("x-llm-attempts")), (200, Some("1")));
        }
        let received = provider.received();
        assert_eq!((received.len(), at_once(&received)), (6, 2));
        // Two requests that leave together may overtake each other on their connections.
        let mut order = users(&provider, 6).await;
        order.chunks_mut(2).for_each(<[usize]>::sort);
        assert_eq!(order, [0, 1, 2, 3, 4, 5]);
        envoy.wait_for_count("journeys", 0).await;
        envoy.wait_for_count("waiting", 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_free_place_is_taken_without_waiting_for_the_next_tick() {
    let _alone = alone().await;
    let Scene { envoy, providers: [provider], .. } =
        busy(json!({"targets": {"gpt-a": {"limits": {"max_pending": 1}}}}), 1).await;
    provider.by_default(Script::usual().delay_headers(Duration::from_millis(20)));
    let mut clients = JoinSet::new();
    for number in 0..40 {
        spawn(&mut clients, envoy.port(), numbered(number));
    }
    while let Some(read) = clients.join_next().await {
        assert_eq!(read.unwrap().status, 200);
    }
    let received = provider.received();
    assert_eq!((received.len(), at_once(&received)), (40, 1));
    let mut gaps: Vec<_> = received
        .windows(2)
        .map(|pair| match pair[0].outcome {
            Outcome::Answered(at) => pair[1].arrived_at - at,
            other => panic!("{other:?}"),
        })
        .collect();
    gaps.sort();
    // Waiting for the next tick would take 50 ms on average.
    assert!(gaps[gaps.len() / 2] < Duration::from_millis(30), "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_frees_its_place_or_its_queue_position() {
    let Scene { envoy, providers: [provider], .. } =
        busy(json!({"targets": {"gpt-a": {"limits": {"max_pending": 1}}}}), 1).await;
    provider.by_default(Script::hang());
    let mut clients = JoinSet::new();
    let mut handles = Vec::new();
    for number in 0..4 {
        handles.push(spawn(&mut clients, envoy.port(), numbered(number)));
        envoy.wait_for_count("waiting", number as u64).await;
        provider.wait_for(1, SOON).await;
    }
    handles[1].abort();
    envoy.wait_for_count("waiting", 2).await;
    handles[0].abort();
    assert_eq!(users(&provider, 2).await, [0, 2]);
    provider.by_default(Script::usual());
    handles[2].abort();
    assert_eq!(users(&provider, 3).await, [0, 2, 3]);
    let mut answered = 0;
    while let Some(read) = clients.join_next().await {
        answered += usize::from(read.is_ok_and(|read| read.status == 200));
    }
    assert_eq!(answered, 1);
    envoy.wait_for_count("journeys", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_uses_another_target_before_it_queues() {
    let queue = json!({"queue": {"max_wait": "500ms"}});
    let scene = Gateway::new(Shape::Loop)
        .configure(&json!({
            "targets": {"gpt-a": {"limits": {"max_pending": 1}}, "haiku": {"limits": {"max_pending": 1}}},
            "models": {
                "chat": {"tiers": [["gpt-a"], ["haiku"]], "retry": queue},
                "now": {"tiers": [["gpt-a"], ["haiku"]]},
            },
        }))
        .start_with([("first", "openai"), ("spare", "anthropic")])
        .await;
    let Scene { envoy, providers: [first, spare], .. } = scene;
    first.by_default(Script::hang());
    let mut clients = JoinSet::new();
    spawn(&mut clients, envoy.port(), numbered(0));
    first.wait_for(1, SOON).await;
    let read = Request::chat("chat", false).ask(envoy.port()).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-fallback")), (200, Some("max_pending")));
    spare.by_default(Script::hang());
    spawn(&mut clients, envoy.port(), numbered(1));
    spare.wait_for(2, SOON).await;
    for (model, least, most) in [("now", 0, 450), ("chat", 500, 5000)] {
        let read = Request::chat(model, false).ask(envoy.port()).await;
        let took = (read.ended_at - read.sent_at).as_millis();
        assert_eq!((read.status.as_u16(), read.header("retry-after")), (429, Some("1")), "{model}");
        assert_eq!(read.header("x-llm-reason"), Some("all_targets_throttled"), "{model}");
        assert!((least..=most).contains(&took), "{model}: {took} ms");
    }
    envoy.expect_count("queue_timeouts", 1).await;
    clients.abort_all();
    envoy.wait_for_count("journeys", 0).await;
}
