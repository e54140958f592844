//! Time limits for slow providers: before the first content another target answers, afterwards the response ends.

use crate::scenes::{one_provider, with_stream_limits};
use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::{Protocol, Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::Shape;
use integration_tests::provider::{Event, Outcome, Script, ScriptedProvider};
use integration_tests::scene::Scene;
use serde_json::json;

/// The first event of a chat stream, without content.
const ROLE: &str = r#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
const CONTENT: &str =
    r#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"hi"}}]}"#;

async fn ask(envoy: &Envoy, stream: bool, protocol: Protocol) -> Read {
    let request = Request::chat("chat", stream);
    let request = request.over(protocol);
    request.ask(envoy.port()).await
}

/// Stalls before the first content: before the headers, after them and the role, and hidden by keep-alives.
fn silences() -> Vec<(&'static str, Script)> {
    let ping = std::iter::repeat_n(Event::data(ROLE), 1000);
    vec![
        ("no headers", Script::hang()),
        ("headers and role", Script::usual().hang_after_chunks(1)),
        ("only empty chunks", Script::stream(ping).delay_chunks(Duration::from_millis(50))),
    ]
}

#[tokio::test]
async fn a_stream_without_content_moves_on_when_first_content_ends() {
    let Scene { envoy, providers: [first, _spare], .. } =
        with_stream_limits(json!({"first_content": "500ms"})).await;
    for (case, script) in silences() {
        for protocol in [Protocol::Http1, Protocol::H2c] {
            let asked = first.received().len();
            first.script(script.clone());
            let began = Instant::now();
            let read = ask(&envoy, true, protocol).await;
            assert!(began.elapsed() >= Duration::from_millis(500), "{case}: {:?}", began.elapsed());
            assert!(began.elapsed() < Duration::from_secs(20), "{case}: {:?}", began.elapsed());
            assert_eq!(read.status, 200, "{case}: {}", read.text());
            assert_eq!(read.header("x-llm-fallback"), Some("timeout"), "{case}");
            assert!(read.text().contains("spare") && read.text().contains("[DONE]"), "{case}");
            assert!(!read.text().contains(r#""id":"c""#), "nothing of the first stream is in the response");
            let outcome = first.wait_for_outcome(asked, SOON).await;
            assert!(matches!(outcome, Outcome::ClosedByClient(_)), "{case}: {outcome:?}");
        }
    }
    envoy.expect_count("alarms", 6).await;
    envoy.wait_for_count("journeys", 0).await;
}

/// For each dialect: its path, an event with content, and one without.
fn dialects() -> [(&'static str, Event, Event); 3] {
    let delta = json!({"type": "response.output_text.delta", "sequence_number": 0, "delta": "hi"});
    let queued = json!({"type": "response.in_progress", "sequence_number": 1, "response": {}});
    let text =
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}});
    [
        ("/v1/chat/completions", Event::data(CONTENT), Event::data(ROLE)),
        (
            "/v1/responses",
            Event::named("response.output_text.delta", delta),
            Event::named("response.in_progress", queued),
        ),
        (
            "/v1/messages",
            Event::named("content_block_delta", text),
            Event::named("ping", json!({"type": "ping"})),
        ),
    ]
}

#[tokio::test]
async fn a_stalled_chat_ends_with_an_error_and_never_looks_complete() {
    let [chat, _, _] = dialects();
    check_stalls(chat).await;
}

#[tokio::test]
async fn a_stalled_responses_stream_ends_with_an_error_and_never_looks_complete() {
    let [_, responses, _] = dialects();
    check_stalls(responses).await;
}

#[tokio::test]
async fn a_stalled_messages_stream_ends_with_an_error_and_never_looks_complete() {
    let [_, _, messages] = dialects();
    check_stalls(messages).await;
}

async fn check_stalls((path, content, ping): (&str, Event, Event)) {
    let provider = ScriptedProvider::start("all").await;
    let limits = json!({"idle": "400ms", "content_idle": "1s"});
    let told = one_provider(Shape::Loop, &limits).provider("all", provider.port()).start().await;
    let mut limits = limits;
    limits["on_break"] = json!("reset");
    let cut = one_provider(Shape::Loop, &limits).provider("all", provider.port()).start().await;
    let pings = [content.clone(), content.clone()].into_iter().chain(std::iter::repeat_n(ping, 1000));
    let stalls = [
        ("silent after one", Script::stream([content.clone(), content.clone()]).hang_after_chunks(1), 400),
        (
            "silent after two",
            Script::stream(vec![content; 3]).delay_chunks(Duration::from_millis(30)).hang_after_chunks(2),
            400,
        ),
        ("hidden by keep-alives", Script::stream(pings).delay_chunks(Duration::from_millis(50)), 1000),
    ];
    for (case, script, at_least) in stalls {
        for protocol in [Protocol::Http1, Protocol::H2c] {
            for (envoy, says) in [(&told, true), (&cut, false)] {
                let case = format!("{path} {case} {protocol:?} {says}");
                let asked = provider.received().len();
                provider.script(script.clone());
                let began = Instant::now();
                let request = Request::post(path).json(&json!({"model": "chat", "stream": true}));
                let request = request.over(protocol);
                let read = request.ask(envoy.port()).await;
                let took = began.elapsed();
                assert!(
                    took >= Duration::from_millis(at_least) && took < Duration::from_secs(20),
                    "{case}: {took:?}"
                );
                let text = read.text();
                assert!(read.status == 200 && text.contains("hi"), "{case}: {text}");
                assert!(!text.contains("[DONE]") && !text.contains("message_stop"), "{case}");
                let looks_clean = protocol == Protocol::H2c && envoy.resets_http2_without_error().await;
                assert!(
                    read.error.is_some() || looks_clean,
                    "{case}: the client must see that the stream was cut"
                );
                let notices = text.matches("stopped sending before the answer was complete").count();
                assert_eq!(notices, usize::from(says), "{case}: {text}");
                if says {
                    assert!(text.ends_with("\n\n"), "{case}: nothing follows the error event: {text}");
                }
                let outcome = provider.wait_for_outcome(asked, SOON).await;
                assert!(matches!(outcome, Outcome::ClosedByClient(_)), "{case}: {outcome:?}");
                assert_eq!(
                    provider.received().len(),
                    asked + 1,
                    "{case}: a stream that has begun is not retried"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_slow_but_steady_stream_is_not_ended() {
    let limits = json!({"first_content": "2s", "idle": "1s", "content_idle": "1s"});
    let Scene { envoy, providers: [first, _spare], .. } = with_stream_limits(limits).await;
    first.by_default(Script::usual().content_chunks(30).delay_chunks(Duration::from_millis(100)));
    let read = ask(&envoy, true, Protocol::Http1).await;
    assert!(read.error.is_none() && read.text().contains("[DONE]"));
    assert_eq!(read.header("x-llm-attempts"), Some("1"));
}

#[tokio::test]
async fn the_total_time_limit_ends_a_request_with_an_error_in_its_dialect() {
    let Scene { envoy, providers: [first, spare], .. } = with_stream_limits(json!({"total": "600ms"})).await;
    first.by_default(Script::hang());
    spare.by_default(Script::hang());
    for stream in [false, true] {
        let began = Instant::now();
        let read = ask(&envoy, stream, Protocol::Http1).await;
        assert!(began.elapsed() >= Duration::from_millis(600));
        assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (504, Some("all_targets_failed")));
        assert_eq!(read.header("x-llm-retry"), None);
        let body = read.json();
        assert_eq!(
            body["error"]["llm_failsafe"]["targets"],
            json!([{"target": "gpt-a", "reason": "timeout"}])
        );
    }
    assert_eq!(spare.received().len(), 0);
}
