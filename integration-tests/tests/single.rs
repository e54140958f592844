//! The filter in an ordinary listener: one attempt per request. Client headers about attempts or journeys have no effect.

use std::time::Duration;

use integration_tests::SOON;
use integration_tests::client::{Protocol, Request};
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Outcome, RefusedPort, Script, errors};
use integration_tests::scene::Scene;
use serde_json::json;

fn gateway() -> Gateway {
    Gateway::new(Shape::Single)
        .configure(&json!({"mode": "shadow", "models": {"chat": {"tiers": [["gpt-a"], ["haiku"]]}}}))
}

async fn start() -> Scene<2> {
    gateway().start_with([("a", "openai"), ("b", "anthropic")]).await
}

/// A chat request that claims to be a later attempt of a journey.
fn chat(stream: bool, protocol: Protocol) -> Request {
    let request = Request::chat("chat", stream)
        .header("x-envoy-attempt-count", "2")
        .header("x-llm-journey", "00000000-0000-4000-8000-000000000002");
    request.over(protocol)
}

#[tokio::test]
async fn a_failure_reaches_the_client_unchanged_after_one_attempt() {
    let Scene { envoy, providers: [a, b], .. } = start().await;
    let scripts =
        [errors::openai_429(), errors::openai_500(), errors::openai_error_event(), Script::status(503)];
    for script in scripts {
        for protocol in [Protocol::Http1, Protocol::H2c] {
            for stream in [false, true] {
                a.script(script.clone()).script(script.clone());
                let own = chat(stream, Protocol::Http1).ask(a.port()).await;
                let got = chat(stream, protocol).ask(envoy.port()).await;
                assert_eq!((got.status, got.text()), (own.status, own.text()));
                for name in ["content-type", "retry-after"] {
                    assert_eq!(got.header(name), own.header(name), "{name}");
                }
                assert_eq!(got.header("x-llm-target"), Some("gpt-a"));
                assert_eq!(got.header("x-llm-attempts"), Some("1"));
                assert_eq!(got.header("x-llm-retry"), None);
                assert_eq!(got.header("x-llm-fallback"), None);
            }
        }
    }
    assert_eq!((a.received().len(), b.received().len()), (2 * 4 * 4, 0));
}

#[tokio::test]
async fn an_unreachable_provider_gives_a_503_in_the_clients_dialect() {
    let refused = RefusedPort::reserve();
    let gateway = gateway().provider("openai", refused.port());
    let Scene { envoy, providers: [b], .. } = gateway.start_with([("b", "anthropic")]).await;
    let read = chat(true, Protocol::Http1).ask(envoy.port()).await;
    let body = read.json();
    assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (503, Some("all_targets_failed")));
    let tried = json!([{"target": "gpt-a", "reason": "transport"}]);
    assert_eq!(body["error"]["llm_failsafe"]["targets"], tried);

    b.by_default(Script::cut());
    let message = Request::post("/v1/messages").json(&json!({"model": "chat", "max_tokens": 1}));
    let answer = message.send(envoy.port()).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("x-llm-fallback")), (503, None));
    let body = answer.json().await;
    assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!("api_error")));
}

#[tokio::test]
async fn a_truncated_error_becomes_an_error_in_the_clients_dialect() {
    let Scene { envoy, providers: [a, _b], .. } = start().await;
    for protocol in [Protocol::Http1, Protocol::H2c] {
        a.script(errors::openai_500().cut_after_bytes(20));
        let read = chat(false, protocol).ask(envoy.port()).await;
        assert!(read.error.is_none() && read.status.is_server_error(), "{}", read.status);
        assert_eq!(read.header("content-type"), Some("application/json"), "{}", read.text());
        let body = read.json();
        assert!(body["error"]["message"].is_string(), "{body}");
        assert_eq!(read.header("x-llm-retry"), None);
    }
}

#[tokio::test]
async fn streams_pass_without_delay_and_end_when_the_client_leaves() {
    let Scene { envoy, providers: [a, _b], .. } = start().await;
    for (request, protocol) in [(0, Protocol::Http1), (2, Protocol::H2c)] {
        a.script(Script::usual().delay_chunks(Duration::from_millis(50)));
        let read = chat(true, protocol).ask(envoy.port()).await;
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
    envoy.wait_for_count("client_aborts", 2).await;
    envoy.expect_count("attempts_failed", 0).await;
    envoy.expect_count("journeys", 0).await;
}
