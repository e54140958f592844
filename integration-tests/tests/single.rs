//! The same filter in an ordinary listener: one attempt per request, and nothing that a client says about attempts or
//! journeys is believed.

use std::time::Duration;

use integration_tests::client::{Protocol, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Outcome, RefusedPort, Script, ScriptedProvider, errors};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(5);

async fn start(openai: u16, anthropic: u16) -> Envoy {
    let gateway = Gateway::new(Shape::Single).provider("openai", openai).provider("anthropic", anthropic);
    gateway
        .configure(&json!({"mode": "shadow", "models": {"chat": {"tiers": [["gpt-a"], ["haiku"]]}}}))
        .start()
        .await
}

/// A chat request that claims to be a later attempt of some journey.
fn chat(stream: bool, protocol: Protocol) -> Request {
    let request = Request::chat("chat", stream)
        .header("x-envoy-attempt-count", "2")
        .header("x-llm-journey", "00000000-0000-4000-8000-000000000002");
    if protocol == Protocol::H2c { request.h2c() } else { request }
}

#[tokio::test]
async fn a_failure_reaches_the_client_unchanged_after_one_attempt() {
    let (a, b) = (ScriptedProvider::start("a").await, ScriptedProvider::start("b").await);
    let envoy = start(a.port(), b.port()).await;
    let scripts = [
        errors::openai_429(),
        errors::openai_500(),
        errors::openai_error_event(),
        Script::stream([]),
        Script::status(503),
    ];
    for script in scripts {
        for protocol in [Protocol::Http1, Protocol::H2c] {
            for stream in [false, true] {
                a.script(script.clone()).script(script.clone());
                let own = chat(stream, Protocol::Http1).send(a.port()).await.unwrap().read().await;
                let got = chat(stream, protocol).send(envoy.port()).await.unwrap().read().await;
                assert_eq!((got.status, got.text()), (own.status, own.text()));
                for name in ["content-type", "retry-after", "x-ratelimit-reset-requests"] {
                    assert_eq!(got.header(name), own.header(name), "{name}");
                }
                assert_eq!(got.header("x-llm-target"), Some("gpt-a"));
                assert_eq!(got.header("x-llm-attempts"), Some("1"));
                assert_eq!(got.header("x-llm-retry"), None);
                assert_eq!(got.header("x-llm-fallback"), None);
            }
        }
    }
    assert_eq!((a.received().len(), b.received().len()), (2 * 5 * 4, 0));
}

#[tokio::test]
async fn an_unreachable_provider_is_a_503_in_the_callers_dialect() {
    let (refused, b) = (RefusedPort::reserve(), ScriptedProvider::start("b").await);
    let envoy = start(refused.port(), b.port()).await;
    let read = chat(true, Protocol::Http1).send(envoy.port()).await.unwrap().read().await;
    let body: Value = serde_json::from_slice(&read.bytes()).unwrap();
    assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (503, Some("all_targets_failed")));
    let tried = json!([{"target": "gpt-a", "reason": "transport"}]);
    assert_eq!(body["error"]["llm_failsafe"]["targets"], tried);

    b.by_default(Script::cut());
    let message = Request::post("/v1/messages").json(&json!({"model": "chat", "max_tokens": 1}));
    let answer = message.send(envoy.port()).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("x-llm-fallback")), (503, Some("dialect")));
    let body = answer.json().await;
    assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!("overloaded_error")));
}

#[tokio::test]
async fn an_error_that_is_cut_short_is_still_told_in_the_callers_dialect() {
    let (a, b) = (ScriptedProvider::start("a").await, ScriptedProvider::start("b").await);
    let envoy = start(a.port(), b.port()).await;
    for protocol in [Protocol::Http1, Protocol::H2c] {
        a.script(errors::openai_500().cut_after_bytes(20));
        let read = chat(false, protocol).send(envoy.port()).await.unwrap().read().await;
        assert!(read.error.is_none() && read.status.is_server_error(), "{}", read.status);
        assert_eq!(read.header("content-type"), Some("application/json"), "{}", read.text());
        let body: Value = serde_json::from_slice(&read.bytes()).unwrap();
        assert!(body["error"]["message"].is_string(), "{body}");
        assert_eq!(read.header("x-llm-retry"), None);
    }
}

#[tokio::test]
async fn streams_pass_as_they_come_and_end_with_their_client() {
    let (a, b) = (ScriptedProvider::start("a").await, ScriptedProvider::start("b").await);
    let envoy = start(a.port(), b.port()).await;
    for (request, protocol) in [(0, Protocol::Http1), (2, Protocol::H2c)] {
        a.script(Script::usual().delay_chunks(Duration::from_millis(50)));
        let read = chat(true, protocol).send(envoy.port()).await.unwrap().read().await;
        assert!(read.error.is_none() && read.data().last().unwrap() == "[DONE]", "{}", read.text());
        let spread = read.chunks.last().unwrap().at - read.chunks[0].at;
        assert!(spread >= Duration::from_millis(150), "chunks arrive when they are sent: {spread:?}");

        a.script(Script::usual().hang_after_chunks(2));
        let mut streaming = chat(true, protocol).send(envoy.port()).await.unwrap();
        streaming.next_chunk().await.unwrap().unwrap();
        drop(streaming);
        let outcome = a.wait_for_outcome(request + 1, SOON).await;
        assert!(matches!(outcome, Outcome::ClosedByClient(_)), "{outcome:?}");
    }
    assert_eq!(envoy.wait_for_stat("wasmcustom.llm_failsafe_client_aborts", |count| count == 2).await, 2);
    assert_eq!(envoy.stat("wasmcustom.llm_failsafe_attempts_failed").await, Some(0));
    assert_eq!(envoy.stat("wasmcustom.llm_failsafe_journeys").await, Some(0));
}
