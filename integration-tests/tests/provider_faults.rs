//! The faults of `docs/reliability.md`, each played to the shipped loop: before the first content another target answers, and
//! afterwards the client is told. No client takes half of an answer for a whole one.

use std::time::{Duration, Instant};

use crate::scenes::{said, with_stream_limits};
use integration_tests::SOON;
use integration_tests::body::Piece;
use integration_tests::client::{Protocol, Request};
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Ending, Event, Point, RefusedPort, Script, ScriptedProvider};
use integration_tests::scene::Scene;
use serde_json::json;

const ROLE: &str =
    r#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant"}}]}"#;
const CONTENT: &str =
    r#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"partial"}}]}"#;
const ERROR: &str = r#"{"error":{"message":"overloaded","type":"server_error","code":null}}"#;

/// A stream of these events, and then a comment every 50 ms.
fn comments_after(events: &[&str]) -> Script {
    let first = events.iter().map(|event| Piece::now(Event::data(event).to_wire()));
    let comments = std::iter::repeat_n(Piece::after(Duration::from_millis(50), ": ping\n\n"), 1000);
    Script::usual().header("content-type", "text/event-stream").pieces(first.chain(comments).collect())
}

fn stream(events: &[&str]) -> Script {
    Script::stream(events.iter().map(Event::data))
}

fn forty_tokens() -> Script {
    Script::usual().content_chunks(60).ending(Ending::Cut(Point::AfterChunks(41)))
}

/// Faults before the first content. Another target answers.
fn served() -> Vec<(&'static str, bool, Script)> {
    let page = Script::usual().header("content-type", "text/html").text("<html><body>Welcome</body></html>");
    vec![
        ("500", true, Script::status(500)),
        ("429", true, Script::status(429)),
        ("529", true, Script::status(529)),
        ("accepts, then silence", true, Script::hang()),
        ("headers, then silence", true, Script::usual().hang_after_chunks(0)),
        ("role chunk, then silence", true, Script::usual().hang_after_chunks(1)),
        ("pings only", true, comments_after(&[])),
        ("error event first in a 200", true, stream(&[ERROR])),
        ("only [DONE]", true, stream(&["[DONE]"])),
        ("cut after the role chunk", true, stream(&[ROLE, CONTENT]).cut_after_chunks(1)),
        ("200 with text/html", true, page),
        (
            "plain: error object under 200",
            false,
            Script::usual().text(ERROR).header("content-type", "application/json"),
        ),
    ]
}

/// Faults after content. The client is told.
fn told() -> Vec<(&'static str, Script)> {
    let reset = stream(&[ROLE, CONTENT, CONTENT]).ending(Ending::Reset(Point::AfterChunks(2)));
    vec![
        ("end of file after 40 tokens", forty_tokens()),
        ("silence after content", stream(&[ROLE, CONTENT, CONTENT]).hang_after_chunks(2)),
        ("comments for ever after content", comments_after(&[ROLE, CONTENT])),
        ("reset after content", reset),
        ("error event after content", stream(&[ROLE, CONTENT, ERROR])),
    ]
}

async fn start() -> Scene<2> {
    with_stream_limits(json!({"first_content": "1s", "idle": "1s", "content_idle": "1s", "answer": "1s"}))
        .await
}

#[tokio::test]
async fn before_the_first_content_another_target_answers() {
    let Scene { envoy, providers: [first, _spare], .. } = start().await;
    for (fault, streamed, script) in served() {
        for protocol in [Protocol::Http1, Protocol::H2c] {
            first.script(script.clone());
            let began = Instant::now();
            let read = Request::chat("chat", streamed).over(protocol).ask(envoy.port()).await;
            assert_eq!(read.status, 200, "{fault}: {}", read.text());
            assert_eq!(said(&read, streamed), "hello from spare", "{fault}");
            assert!(read.header("x-llm-fallback").is_some(), "{fault}");
            assert!(began.elapsed() < SOON, "{fault}: {:?}", began.elapsed());
        }
    }
}

#[tokio::test]
async fn after_content_the_client_is_told() {
    let Scene { envoy, providers: [first, _spare], .. } = start().await;
    for (fault, script) in told() {
        for protocol in [Protocol::Http1, Protocol::H2c] {
            first.script(script.clone());
            let read = Request::chat("chat", true).over(protocol).ask(envoy.port()).await;
            let text = read.text();
            assert!(!text.contains("[DONE]") && !text.contains("finish_reason\":\"stop"), "{fault}: {text}");
            assert!(text.contains("\"error\"") || read.error.is_some(), "{fault}: {text}");
            assert!(!text.contains("spare"), "{fault}: two answers in one: {text}");
        }
    }
}

#[tokio::test]
async fn a_refused_connection_moves_on() {
    let spare = ScriptedProvider::start("spare").await;
    let gone = RefusedPort::reserve();
    let models = json!({"chat": {"tiers": [["gpt-a"], ["haiku"]]}});
    let gateway = Gateway::new(Shape::Loop)
        .configure(&json!({"models": models}))
        .provider("openai", gone.port())
        .provider("anthropic", spare.port());
    let envoy = gateway.start().await;
    let read = Request::chat("chat", true).ask(envoy.port()).await;
    assert_eq!(said(&read, true), "hello from spare");
}

/// A lone target asks for two minutes. The client gets that at once, and waits for nothing.
#[tokio::test]
async fn a_long_retry_after_of_a_lone_target_reaches_the_client() {
    let models = json!({"chat": {"tiers": [["gpt-a"]]}});
    let gateway = Gateway::new(Shape::Loop).configure(&json!({"models": models}));
    let Scene { envoy, providers: [first], .. } = gateway.start_with([("first", "openai")]).await;
    first.script(Script::status(429).header("retry-after", "120"));
    let began = Instant::now();
    let read = Request::chat("chat", true).ask(envoy.port()).await;
    assert_eq!(read.status, 429, "{}", read.text());
    assert_eq!(read.header("retry-after"), Some("120"));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(first.received().len(), 1);
}

/// Every target fails: three attempts by default, and the client is not told to repeat them at once.
#[tokio::test]
async fn a_request_that_fails_everywhere_is_not_multiplied() {
    let Scene { envoy, providers, .. } = start().await;
    for provider in &providers {
        provider.by_default(Script::status(503));
    }
    let read = Request::chat("chat", true).ask(envoy.port()).await;
    assert_eq!(read.status, 503, "{}", read.text());
    let asked: usize = providers.iter().map(|provider| provider.received().len()).sum();
    assert!((2..=3).contains(&asked), "{asked}");
}
