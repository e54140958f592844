//! Streams without data for a while, before and after their first content, with a real Envoy.

use crate::scenes::one_provider;
use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::body::Piece;
use integration_tests::client::{Protocol, Read, Request, Response};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::Shape;
use integration_tests::provider::{Event, Outcome, Script};
use integration_tests::scene::Scene;
use serde_json::{Value, json};

const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::H2c];

async fn ask(envoy: &Envoy, path: &str, protocol: Protocol) -> Response {
    let request = Request::post(path).json(&json!({"model": "chat", "stream": true, "max_tokens": 9}));
    let request = request.over(protocol);
    request.send(envoy.port()).await.unwrap()
}

fn chat(delta: &Value) -> Event {
    Event::data(
        json!({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}),
    )
}

/// For each dialect: its path, an event before content, a content event, and the events at the end.
fn dialects() -> [(&'static str, Event, Event, Vec<Event>); 3] {
    let finish = json!({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    let text =
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}});
    let start = json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant",
        "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}}});
    let stop =
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}});
    let created = json!({"type": "response.created", "sequence_number": 0, "response": {"id": "r"}});
    let delta = json!({"type": "response.output_text.delta", "sequence_number": 1, "delta": "hi"});
    let completed =
        json!({"type": "response.completed", "sequence_number": 2, "response": {"status": "completed"}});
    [
        (
            "/v1/chat/completions",
            chat(&json!({"role": "assistant", "content": ""})),
            chat(&json!({"content": "hi"})),
            vec![Event::data(finish), Event::data("[DONE]")],
        ),
        (
            "/v1/responses",
            Event::named("response.created", created),
            Event::named("response.output_text.delta", delta),
            vec![Event::named("response.completed", completed)],
        ),
        (
            "/v1/messages",
            Event::named("message_start", start),
            Event::named("content_block_delta", text),
            vec![
                Event::named("message_delta", stop),
                Event::named("message_stop", json!({"type": "message_stop"})),
            ],
        ),
    ]
}

/// These events, each after a pause in milliseconds.
fn paced(events: &[(u64, &Event)]) -> Script {
    let pieces = events
        .iter()
        .map(|(ms, event)| Piece { after: Duration::from_millis(*ms), bytes: event.to_wire().into() })
        .collect();
    Script::usual().header("content-type", "text/event-stream").pieces(pieces)
}

fn keep_alive(path: &str) -> &'static str {
    if path == "/v1/messages" { "event: ping\ndata: {\"type\": \"ping\"}\n\n" } else { ": keep-alive\n\n" }
}

#[tokio::test]
async fn a_quiet_stream_gets_keep_alives_and_is_otherwise_unchanged() {
    let Scene { envoy, providers: [provider], .. } =
        one_provider(Shape::Loop, &json!({"keep_alive": "1s"})).start_with(["all"]).await;
    let mut sent = 0;
    for (path, first, content, end) in dialects() {
        for protocol in PROTOCOLS {
            let case = format!("{path} {protocol:?}");
            let mut events = vec![(0, &first), (0, &content), (2600, &content), (1600, &content)];
            events.extend(end.iter().map(|event| (0, event)));
            provider.script(paced(&events));
            let read = ask(&envoy, path, protocol).await.read().await;
            assert!(read.error.is_none(), "{case}: {:?}", read.error);
            let text = read.text();
            let alive = text.matches(keep_alive(path)).count();
            assert!((3..=4).contains(&alive), "{case}: {alive} in {text}");
            let whole: String = events.iter().map(|(_, event)| event.to_wire()).collect();
            assert_eq!(text.replace(keep_alive(path), ""), whole, "{case}");
            sent += alive as u64;
        }
    }
    let counted = |count| count == sent;
    envoy.wait_for_stat("wasmcustom.llm_failsafe_keep_alives", counted).await;
    envoy.expect_count("streams_complete", 6).await;
}

#[tokio::test]
async fn a_keep_alive_never_splits_an_event_and_resets_no_timer() {
    let Scene { envoy, providers: [provider], .. } =
        one_provider(Shape::Loop, &json!({"keep_alive": "1s", "idle": "2500ms"})).start_with(["all"]).await;
    for (path, _, content, _) in dialects() {
        for protocol in PROTOCOLS {
            let wire = content.to_wire();
            let (half, _) = wire.split_at(wire.len() / 2);
            let pieces = [wire.as_str(), half].map(|text| Piece::now(text.to_owned()));
            let script = Script::usual().header("content-type", "text/event-stream").pieces(pieces.to_vec());
            provider.script(script.hang_after_chunks(2));
            let began = Instant::now();
            let read = ask(&envoy, path, protocol).await.read().await;
            assert!(began.elapsed() >= Duration::from_millis(2500), "{:?}", began.elapsed());
            let text = read.text();
            let rest = text.strip_prefix(&wire).unwrap_or_else(|| panic!("{path} {protocol:?}: {text}"));
            let notice = rest.replace(keep_alive(path), "");
            assert_eq!(rest.matches(keep_alive(path)).count(), 2, "{path} {protocol:?}: {text}");
            assert!(notice.contains("stopped sending before the answer was complete"), "{path}: {text}");
            assert!(!notice.contains("hi"), "nothing of the partial event: {text}");
        }
    }
    envoy.wait_for_count("streams_stalled", 6).await;
}

/// Reads until this text has arrived.
async fn read_until(response: &mut Response, text: &str) -> Duration {
    let began = Instant::now();
    let mut read = String::new();
    while !read.contains(text) {
        let chunk = response.next_chunk().await.unwrap_or_else(|| panic!("it ended after {read}")).unwrap();
        read.push_str(&String::from_utf8_lossy(&chunk.bytes));
    }
    began.elapsed()
}

#[tokio::test]
async fn a_slow_models_stream_is_released_early_and_kept_open() {
    let stream = json!({"first_content": "20s", "keep_alive": "1s", "gate": {"max_time": "1s"}});
    let Scene { envoy, providers: [provider], .. } =
        one_provider(Shape::Loop, &stream).start_with(["all"]).await;
    for (path, first, content, end) in dialects() {
        for protocol in PROTOCOLS {
            let case = format!("{path} {protocol:?}");
            let asked = provider.received().len();
            let mut events = vec![(0, &first), (4000, &content)];
            events.extend(end.iter().map(|event| (0, event)));
            provider.script(paced(&events));
            let began = Instant::now();
            let mut response = ask(&envoy, path, protocol).await;
            assert_eq!(response.header("x-llm-target"), Some("one"), "{case}");
            read_until(&mut response, keep_alive(path)).await;
            let first_alive = began.elapsed();
            assert!(
                first_alive >= Duration::from_secs(1) && first_alive < Duration::from_millis(3900),
                "{case}: {first_alive:?}"
            );
            let read = response.read().await;
            assert!(read.error.is_none(), "{case}: {:?}", read.error);
            assert!(read.text().ends_with(&end.last().unwrap().to_wire()), "{case}: {}", read.text());
            assert_eq!(provider.received().len(), asked + 1, "{case}");
        }
    }
    envoy.wait_for_count("gates_opened_by_time", 6).await;
    envoy.wait_for_count("streams_complete", 6).await;
}

#[tokio::test]
async fn a_stream_released_early_fails_visibly() {
    let stream = json!({"first_content": "2500ms", "gate": {"max_time": "500ms"}});
    let Scene { envoy, providers: [provider], .. } =
        one_provider(Shape::Loop, &stream).start_with(["all"]).await;
    for (path, first, _, _) in dialects() {
        for protocol in PROTOCOLS {
            for (case, script) in [
                ("stalls", paced(&[(0, &first)]).hang_after_chunks(1)),
                ("ends", paced(&[(0, &first), (1200, &first)])),
            ] {
                let asked = provider.received().len();
                provider.script(script);
                let read = ask(&envoy, path, protocol).await.read().await;
                let text = read.text();
                assert!(read.status == 200 && text.starts_with(&first.to_wire()), "{path} {case}: {text}");
                assert_eq!(
                    text.matches("before the answer was complete").count(),
                    1,
                    "{path} {case}: {text}"
                );
                assert_eq!(
                    provider.received().len(),
                    asked + 1,
                    "{path} {case}: no other target may be asked any more"
                );
            }
        }
    }
}

/// Headers alone can be released, but nothing can be sent before the provider's first chunk. Before the provider's headers,
/// nothing can be released.
#[tokio::test]
async fn nothing_is_sent_before_the_providers_headers_and_first_chunk() {
    let stream = json!({"first_content": "20s", "keep_alive": "1s", "gate": {"max_time": "500ms"}});
    let Scene { envoy, providers: [provider], .. } =
        one_provider(Shape::Loop, &stream).start_with(["all"]).await;
    let [(path, first, content, end), ..] = dialects();
    for protocol in PROTOCOLS {
        let mut events = vec![(3000, &first), (1500, &content)];
        events.extend(end.iter().map(|event| (0, event)));
        provider.script(paced(&events));
        let began = Instant::now();
        let mut response = ask(&envoy, path, protocol).await;
        assert!(began.elapsed() < Duration::from_millis(2500), "the headers: {:?}", began.elapsed());
        let chunk = response.next_chunk().await.unwrap().unwrap();
        assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
        assert_eq!(String::from_utf8_lossy(&chunk.bytes), first.to_wire());
        let rest = response.read().await;
        assert_eq!(rest.text().matches(keep_alive(path)).count(), 1, "{}", rest.text());
        assert!(rest.error.is_none() && rest.text().ends_with("[DONE]\n\n"), "{}", rest.text());

        let mut events = vec![(0, &first), (0, &content)];
        events.extend(end.iter().map(|event| (0, event)));
        provider.script(paced(&events).delay_headers(Duration::from_millis(1500)));
        let began = Instant::now();
        let read: Read = ask(&envoy, path, protocol).await.read().await;
        assert!(began.elapsed() >= Duration::from_millis(1500));
        assert!(read.text().ends_with("[DONE]\n\n") && read.header("x-llm-attempts") == Some("1"));
    }
}

#[tokio::test]
async fn a_stream_below_the_minimum_rate_is_ended() {
    let Scene { envoy, providers: [provider], .. } =
        one_provider(Shape::Loop, &json!({"min_rate": {"events": 10, "window": "1s"}}))
            .start_with(["all"])
            .await;
    for (path, _, content, _) in dialects() {
        let asked = provider.received().len();
        let quick = std::iter::repeat_n(content.clone(), 40);
        provider.script(Script::stream(quick.clone()).delay_chunks(Duration::from_millis(40)));
        let read = ask(&envoy, path, Protocol::Http1).await.read().await;
        assert_eq!(
            read.text().matches("data: ").count(),
            41,
            "the whole stream and the error event: {}",
            read.text()
        );
        assert!(read.text().contains("ended the stream before"), "{}", read.text());
        provider.script(Script::stream(quick).delay_chunks(Duration::from_millis(200)));
        let read = ask(&envoy, path, Protocol::Http1).await.read().await;
        assert!(read.text().contains("stopped sending before"), "{path}: {}", read.text());
        let outcome = provider.wait_for_outcome(asked + 1, SOON).await;
        assert!(matches!(outcome, Outcome::ClosedByClient(_)), "{outcome:?}");
    }
    envoy.wait_for_count("streams_stalled", 3).await;
    envoy.expect_count("streams_truncated", 3).await;
}
