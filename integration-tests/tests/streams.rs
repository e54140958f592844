//! A stream that ends without the end of its dialect never looks complete to the client.

use crate::scenes::{check_that_sdks_raise, one_provider};
use integration_tests::client::{Protocol, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::Shape;
use integration_tests::provider::{Event, Script};
use integration_tests::scene::Scene;
use serde_json::{Value, json};

/// Content in each dialect, after which the provider ends the stream normally.
fn cut_streams() -> Vec<(&'static str, Vec<Event>)> {
    let chat = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": "hel"}, "finish_reason": null}]});
    let text = json!({"id": "c", "object": "text_completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "text": "hel", "logprobs": null, "finish_reason": null}]});
    let delta = json!({"type": "response.output_text.delta", "sequence_number": 0, "item_id": "i", "output_index": 0,
        "content_index": 0, "delta": "hel", "logprobs": []});
    let start = json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant",
        "model": "m", "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": 1, "output_tokens": 1}}});
    let block =
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
    let part =
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hel"}});
    vec![
        ("/v1/chat/completions", vec![Event::data(chat)]),
        ("/v1/completions", vec![Event::data(text)]),
        ("/v1/responses", vec![Event::named("response.output_text.delta", delta)]),
        (
            "/v1/messages",
            vec![
                Event::named("message_start", start),
                Event::named("content_block_start", block),
                Event::named("content_block_delta", part),
            ],
        ),
    ]
}

#[tokio::test]
async fn a_truncated_stream_ends_cleanly_after_an_error_in_its_dialect() {
    for shape in [Shape::Loop, Shape::Single] {
        let gateway = one_provider(shape, &json!({}));
        let Scene { envoy, providers: [provider], .. } = gateway.start_with(["all"]).await;
        for (path, events) in cut_streams() {
            let whole: String = events.iter().map(Event::to_wire).collect();
            // Whole, and cut within its last event, in pieces of any size.
            for (lost, split) in [(0, None), (7, None), (0, Some(5)), (7, Some(11))] {
                for protocol in [Protocol::Http1, Protocol::H2c] {
                    let case = format!("{shape:?} {path} {protocol:?} lost {lost} split {split:?}");
                    let sent = whole[..whole.len() - lost].to_owned();
                    let mut script = Script::usual().header("content-type", "text/event-stream").text(&sent);
                    script.split = split;
                    provider.script(script);
                    check(&envoy, path, protocol, &whole, lost, &case).await;
                }
            }
        }
    }
}

async fn check(envoy: &Envoy, path: &str, protocol: Protocol, whole: &str, lost: usize, case: &str) {
    let request = Request::post(path).json(&json!({"model": "chat", "stream": true, "max_tokens": 5}));
    let request = request.over(protocol);
    let read = request.ask(envoy.port()).await;
    if read.header("x-llm-attempts") == Some("2") {
        // No complete event with content had arrived.
        assert!(lost > 0, "{case}");
        return;
    }
    assert_eq!(read.status, 200, "{case}");
    assert!(read.error.is_none(), "{case}: the response itself ends cleanly: {:?}", read.error);
    let text = read.text();
    let last_whole = if lost == 0 {
        whole.len()
    } else {
        whole[..whole.len() - lost].rfind("\n\n").map_or(0, |at| at + 2)
    };
    let notice = text.strip_prefix(&whole[..last_whole]).unwrap_or_else(|| panic!("{case}: {text}"));
    let data = notice
        .lines()
        .find_map(|line| line.strip_prefix("data: "))
        .unwrap_or_else(|| panic!("{case}: {text}"));
    let error: Value = serde_json::from_str(data).unwrap();
    match path {
        "/v1/messages" => assert_eq!(error["error"]["type"], "api_error", "{case}"),
        "/v1/responses" => {
            assert_eq!((&error["type"], &error["sequence_number"]), (&json!("error"), &json!(1)), "{case}");
        }
        _ => assert_eq!(error["error"]["code"], "stream_truncated", "{case}"),
    }
    assert_eq!(notice.matches("data: ").count(), 1, "{case}: exactly one event");
    assert!(!text.contains("[DONE]") && !text.contains("message_stop"), "{case}");
}

#[tokio::test]
async fn the_vendors_sdks_raise_an_error_on_a_truncated_stream() {
    let gateway = one_provider(Shape::Loop, &json!({}));
    let Scene { envoy, providers: [provider], .. } = gateway.start_with(["all"]).await;
    for (path, events) in cut_streams() {
        if path != "/v1/completions" {
            provider.script(Script::stream(events));
        }
    }
    check_that_sdks_raise(envoy.port()).await;
}
