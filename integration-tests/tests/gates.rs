//! How long a stream is held before the client gets it, and what happens if it fails meanwhile.

use std::time::{Duration, Instant};

use crate::scenes::{FirstAndSpare, chat, messages, said, with_stream_limits};
use integration_tests::client::{Protocol, Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::provider::{Event, Script};
use integration_tests::scene::Scene;
use serde_json::json;

const ROLE: &str = r#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
const ERROR: &str = r#"{"error":{"message":"busy","type":"overloaded_error"}}"#;

#[tokio::test]
async fn an_invalid_body_under_a_200_moves_on() {
    let scene = FirstAndSpare::start().await;
    let page = Script::usual().header("content-type", "text/html").text("<html>please sign in</html>");
    let cut = r#"{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assi"#;
    for ask in [chat("openai"), messages()] {
        scene.check_moves(ask, &page, "server").await;
        scene.check_moves(ask.streamed(), &page, "server").await;
        let error = Script::usual().json(json!({"error": {"message": "no provider", "code": 502}}));
        scene.check_moves(ask.streamed(), &error, "server").await;
        let json = Script::usual().header("content-type", "application/json");
        scene.check_moves(ask, &json.clone().text(cut), "stream_truncated").await;
        scene.check_moves(ask, &json.clone().text(""), "empty").await;
        // The provider closes before it has sent its content-length.
        scene.check_moves(ask, &Script::usual().cut_after_bytes(20), "stream_truncated").await;
        scene
            .check_moves(
                ask.streamed(),
                &Script::usual().header("content-type", "text/plain").text("hello"),
                "stream_truncated",
            )
            .await;
    }
}

#[tokio::test]
async fn a_plain_response_to_a_streamed_request_is_passed_on() {
    let scene = FirstAndSpare::start().await;
    let whole = json!({"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": "all at once"}, "finish_reason": "stop"}]});
    scene.first.script(Script::usual().json(whole));
    let read = chat("openai").streamed().send(scene.envoy.port(), Protocol::Http1).await;
    assert_eq!(said(&read, false), "all at once");
    assert_eq!(read.header("x-llm-attempts"), Some("1"));
}

#[tokio::test]
async fn streams_have_no_length_and_are_not_buffered_by_proxies() {
    let scene = FirstAndSpare::start().await;
    for protocol in [Protocol::Http1, Protocol::H2c] {
        scene.first.script(Script::usual());
        let read = chat("openai").streamed().send(scene.envoy.port(), protocol).await;
        assert_eq!(said(&read, true), "hello from first");
        assert_eq!(read.header("cache-control"), Some("no-cache"));
        assert_eq!(read.header("x-accel-buffering"), Some("no"));
        assert_eq!(read.header("content-length"), None);
        scene.first.script(Script::usual().header("cache-control", "private"));
        let read = chat("openai").streamed().send(scene.envoy.port(), protocol).await;
        assert_eq!(read.header("cache-control"), Some("private"), "the provider's header is kept");
        // A plain response keeps its length and gets none of these headers.
        scene.first.script(Script::usual());
        let read = chat("openai").send(scene.envoy.port(), protocol).await;
        assert_eq!(read.header("content-length"), Some(read.bytes().len().to_string().as_str()));
        assert_eq!(read.header("x-accel-buffering"), None);
    }
}

async fn ask(envoy: &Envoy) -> Read {
    Request::chat("chat", true).ask(envoy.port()).await
}

#[tokio::test]
async fn a_stream_is_held_until_headers_first_event_or_first_content() {
    for until in ["headers", "first_event", "first_content"] {
        let scene = with_stream_limits(json!({"gate": {"until": until}})).await;
        let Scene { envoy, providers: [first, _spare], .. } = scene;
        let error = Script::stream([Event::data(ERROR)]).delay_body(Duration::from_millis(50));
        first.script(error);
        let read = ask(&envoy).await;
        if until == "headers" {
            assert!(read.text().contains("busy") && read.header("x-llm-attempts") == Some("1"), "{until}");
        } else {
            assert_eq!(read.header("x-llm-fallback"), Some("overloaded"), "{until}");
        }
        let error_later = [Event::data(ROLE), Event::data(ERROR)];
        first.script(Script::stream(error_later).delay_chunks(Duration::from_millis(50)));
        let read = ask(&envoy).await;
        if until == "first_content" {
            assert_eq!(read.header("x-llm-fallback"), Some("overloaded"), "{until}");
        } else {
            assert!(read.text().contains("busy") && read.header("x-llm-attempts") == Some("1"), "{until}");
        }
    }
}

#[tokio::test]
async fn attempts_share_the_clients_patience_and_it_never_ends_a_stream_that_has_begun() {
    let scene = with_stream_limits(json!({"first_content": "10s", "total": "20s"})).await;
    let Scene { envoy, providers: [first, spare], .. } = scene;
    let send = |header: &'static str, value: &'static str| {
        let request = Request::chat("chat", true).header(header, value);
        async { request.ask(envoy.port()).await }
    };

    // The first target is silent, and the second one still answers in time.
    for header in ["x-llm-timeout", "x-stainless-timeout", "x-stainless-read-timeout"] {
        first.script(Script::hang());
        let began = Instant::now();
        let read = send(header, "2").await;
        let took = began.elapsed();
        assert_eq!(
            (said(&read, true).as_str(), read.header("x-llm-attempts")),
            ("hello from spare", Some("2"))
        );
        assert!(took >= Duration::from_secs(1), "{header}: {took:?}");
    }
    assert_eq!(first.received()[0].header("x-llm-timeout"), None);

    // Nobody answers in time.
    first.script(Script::hang());
    spare.script(Script::hang());
    let began = Instant::now();
    let read = send("x-llm-timeout", "900ms").await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(9), "{took:?}");
    assert_eq!((read.status.as_u16(), read.header("x-llm-attempts")), (504, Some("2")), "{}", read.text());

    // A stream that takes longer than the client's patience but begins in time.
    first.script(Script::usual().content_chunks(8).delay_chunks(Duration::from_millis(250)));
    let began = Instant::now();
    let read = send("x-llm-timeout", "1").await;
    assert!(began.elapsed() > Duration::from_millis(1500), "it must take longer than the client's patience");
    assert!(read.error.is_none() && read.text().ends_with("data: [DONE]\n\n"), "{}", read.text());
    assert_eq!(read.header("x-llm-attempts"), Some("1"));

    let asked = first.received().len();
    let read = send("x-llm-timeout", "whenever").await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (400, Some("invalid_timeout")));
    assert_eq!(first.received().len(), asked);
    let read = send("x-llm-timeout", "30").await;
    assert_answered_by_first(&read);
}

fn assert_answered_by_first(read: &Read) {
    assert_eq!((said(read, true).as_str(), read.header("x-llm-attempts")), ("hello from first", Some("1")));
    assert_eq!(read.status, 200);
}
