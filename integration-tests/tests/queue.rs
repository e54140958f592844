//! Requests that wait inside the filter until somebody is free.

use std::time::{Duration, Instant};

use integration_tests::client::{Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Script, ScriptedProvider};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const HELD: &str = "wasmcustom.llm_failsafe_waiting";
const JOURNEYS: &str = "wasmcustom.llm_failsafe_journeys";

async fn gateway(provider: &ScriptedProvider, queue: Value) -> Envoy {
    let retry = json!({"attempts": 1, "queue": queue});
    let models = json!({"chat": {"tiers": null, "targets": ["gpt-a"], "retry": retry}});
    Gateway::new(Shape::Loop)
        .configure(&json!({"models": models, "targets": {"gpt-a": {"context_window": 1_000_000_000}}}))
        .provider("openai", provider.port())
        .start()
        .await
}

fn limited(seconds: &str) -> Script {
    Script::status(429).json(json!({"error": {"code": "rate_limit_exceeded"}})).header("retry-after", seconds)
}

async fn reach_the_limit(provider: &ScriptedProvider, envoy: &Envoy, seconds: &str) {
    provider.script(limited(seconds));
    let read = Request::chat("chat", false).send(envoy.port()).await.unwrap().read().await;
    assert_eq!(read.status, 429, "{}", read.text());
    provider.forget_received();
}

fn over(client: usize, request: Request) -> Request {
    if client.is_multiple_of(2) { request.h2c() } else { request }
}

fn spawn(tasks: &mut JoinSet<Read>, port: u16, request: Request) -> tokio::task::AbortHandle {
    tasks.spawn(async move { request.send(port).await.unwrap().read().await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_wait_for_a_limit_to_end_and_go_in_order_while_some_of_their_clients_leave() {
    let provider = ScriptedProvider::start("only").await;
    let envoy = gateway(&provider, json!({"max_wait": "20s"})).await;
    reach_the_limit(&provider, &envoy, "4").await;
    let mut waiting = JoinSet::new();
    let mut handles = Vec::new();
    for number in 0..50 {
        let body = json!({"model": "chat", "user": number.to_string(), "messages": []});
        let request = over(number, Request::post("/v1/chat/completions").json(&body));
        handles.push(spawn(&mut waiting, envoy.port(), request));
        envoy.wait_for_stat(HELD, |held| held == number as u64 + 1).await;
    }
    assert_eq!(provider.received().len(), 0);
    for handle in handles.iter().step_by(5) {
        handle.abort();
    }
    envoy.wait_for_stat(HELD, |held| held == 40).await;
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
    assert_eq!(order.len(), 40, "nobody is asked for a client that has left");
    assert_eq!(received[0].json()["user"], "1", "the first that stayed");
    // Connections to the provider race with each other by a few places within what goes on one tick.
    for (place, number) in (0..50).filter(|number| number % 5 != 0).enumerate() {
        let at = order.iter().position(|other| *other == number).unwrap();
        assert!(at.abs_diff(place) <= 32, "{order:?}");
    }
    let spread = received[39].arrived_at - received[0].arrived_at;
    assert!(spread >= Duration::from_millis(350), "no herd: {spread:?}");
    envoy.wait_for_stat(JOURNEYS, |value| value == 0).await;
    envoy.wait_for_stat(HELD, |value| value == 0).await;
}

#[tokio::test]
async fn the_line_is_bounded_and_who_cannot_make_it_is_told_when_to_come() {
    let provider = ScriptedProvider::start("only").await;
    let envoy = gateway(&provider, json!({"max_wait": "3s", "max_waiting": 2})).await;
    reach_the_limit(&provider, &envoy, "2").await;
    let mut waiting = JoinSet::new();
    for number in 0..2 {
        spawn(&mut waiting, envoy.port(), over(number, Request::chat("chat", true)));
        envoy.wait_for_stat(HELD, |held| held == number as u64 + 1).await;
    }
    let began = Instant::now();
    let refused = Request::chat("chat", false).send(envoy.port()).await.unwrap().read().await;
    assert_eq!((refused.status.as_u16(), refused.header("x-llm-reason")), (503, Some("queue_full")));
    assert!(refused.header("retry-after").is_some());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    while let Some(read) = waiting.join_next().await {
        assert_eq!(read.unwrap().status, 200);
    }
    reach_the_limit(&provider, &envoy, "10").await;
    let refused = Request::chat("chat", false).send(envoy.port()).await.unwrap().read().await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, Some("10")));
    assert_eq!(provider.received().len(), 0);
    envoy.wait_for_stat(JOURNEYS, |value| value == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_wait_and_arrive_whole() {
    let provider = ScriptedProvider::start("only").await;
    let envoy = gateway(&provider, json!({"max_wait": "20s"})).await;
    reach_the_limit(&provider, &envoy, "3").await;
    let mut waiting = JoinSet::new();
    let text = "plain text ".repeat(900_000);
    for number in 0..4 {
        let body = format!(r#"{{"messages":[{{"content":"{text}"}}],"model":"chat"}}"#);
        let request = Request::post("/v1/chat/completions").bytes(body).patience(Duration::from_secs(60));
        spawn(&mut waiting, envoy.port(), over(number, request));
    }
    envoy.wait_for_stat(HELD, |held| held == 4).await;
    while let Some(read) = waiting.join_next().await {
        assert_eq!(read.unwrap().status, 200);
    }
    let expected = format!(r#"{{"messages":[{{"content":"{text}"}}],"model":"gpt-4.1-mini"}}"#).len() as u64;
    let lengths: Vec<_> = provider.received().iter().map(|request| request.body_length).collect();
    assert_eq!(lengths, [expected; 4]);
    let memory = envoy.stat("wasmcustom.llm_failsafe_wasm_memory_bytes").await.unwrap();
    assert!(memory < 8 << 20, "{memory} bytes of Wasm memory");
}
