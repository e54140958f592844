//! The token usage that providers report is read from every kind of response and counted once.

use crate::scenes::{Ask, FirstAndSpare, chat, messages};
use integration_tests::client::{Protocol, Request};
use integration_tests::envoy::Envoy;
use integration_tests::provider::Script;
use serde_json::{Value, json};

async fn tokens(envoy: &Envoy, kind: &str) -> u64 {
    envoy.count(kind).await
}

/// The endpoints, each with its model.
fn asks() -> Vec<Ask> {
    let responses = Ask { path: "/v1/responses", ..chat("openai") };
    vec![chat("openai"), chat("mistral"), responses, messages()]
}

#[tokio::test]
async fn tokens_of_every_dialect_are_counted_plain_and_streamed() {
    let scene = FirstAndSpare::start().await;
    let (mut input, mut output) = (0, 0);
    for ask in asks() {
        // Mistral is not asked for the usage of streams because it always sends it. The scripted provider does not.
        let forms = if ask.model == "mistral" { vec![ask] } else { vec![ask, ask.streamed()] };
        for ask in forms {
            // Small enough to be held as a whole, and far too large for that.
            for words in [3, 20_000] {
                let script = Script::usual().content_chunks(words).tokens(1000 + words as u64, 7);
                scene.first.script(if ask.stream { script } else { script.split(5000) });
                let read = ask.send(scene.envoy.port(), Protocol::Http1).await;
                assert!(read.error.is_none() && read.status == 200, "{ask:?}");
                input += 1000 + words as u64;
                output += 7;
                let name = "wasmcustom.llm_failsafe_tokens_input";
                scene.envoy.wait_for_stat(name, |count| count >= input).await;
                let counted =
                    (tokens(&scene.envoy, "tokens_input").await, tokens(&scene.envoy, "tokens_output").await);
                assert_eq!(counted, (input, output), "{ask:?} of {words} words");
            }
        }
    }
    assert_eq!(tokens(&scene.envoy, "usage_missing").await, 0);
}

#[tokio::test]
async fn a_response_without_usage_is_counted_as_usage_missing() {
    let scene = FirstAndSpare::start().await;
    let silent = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]});
    scene.first.script(Script::usual().json(silent));
    let read = chat("openai").send(scene.envoy.port(), Protocol::Http1).await;
    assert_eq!(read.status, 200);
    scene.envoy.wait_for_count("usage_missing", 1).await;
    assert_eq!(tokens(&scene.envoy, "tokens_input").await, 0);
}

/// Sends this body. Returns the text for the client and the provider's request.
async fn asked(scene: &FirstAndSpare, path: &str, protocol: Protocol, body: &Value) -> (String, Value) {
    let request = Request::post(path).json(body);
    let request = request.over(protocol);
    let read = request.ask(scene.envoy.port()).await;
    assert!(read.error.is_none() && read.status == 200, "{:?} {}", read.error, read.text());
    let received = scene.first.received();
    (read.text(), received.last().unwrap().json())
}

#[tokio::test]
async fn the_usage_event_goes_only_to_clients_that_asked_for_it() {
    let scene = FirstAndSpare::start().await;
    let mut input = 0;
    for protocol in [Protocol::Http1, Protocol::H2c] {
        for path in ["/v1/chat/completions", "/v1/completions"] {
            // Whole events, and pieces that end anywhere.
            for split in [None, Some(7), Some(1000)] {
                for options in
                    [None, Some(json!({"include_usage": false})), Some(json!({"include_usage": true}))]
                {
                    let case = format!("{protocol:?} {path} {split:?} {options:?}");
                    let mut body = json!({"model": "openai", "stream": true, "messages": [], "prompt": "x"});
                    let asks = options == Some(json!({"include_usage": true}));
                    if let Some(options) = options {
                        body["stream_options"] = options;
                    }
                    let mut script = Script::usual().tokens(100, 7);
                    script.split = split;
                    scene.first.script(script);
                    let (text, request) = asked(&scene, path, protocol, &body).await;
                    assert_eq!(request["stream_options"]["include_usage"], true, "{case}");
                    assert_eq!(text.contains("\"choices\":[]"), asks, "{case}: {text}");
                    assert!(text.ends_with("data: [DONE]\n\n"), "{case}: {text}");
                    let whole = text.split_terminator("\n\n").all(|event| event.starts_with("data: "));
                    assert!(whole, "{case}: {text}");
                    input += 100;
                    scene.envoy.wait_for_count("tokens_input", input).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn usage_is_not_requested_from_a_provider_without_that_option() {
    let scene = FirstAndSpare::start().await;
    let body = json!({"model": "mistral", "stream": true, "messages": []});
    let (text, request) = asked(&scene, "/v1/chat/completions", Protocol::Http1, &body).await;
    assert_eq!(request.get("stream_options"), None);
    assert!(text.contains("[DONE]"));
    scene.envoy.wait_for_count("usage_missing", 1).await;
}

#[tokio::test]
async fn a_usage_event_at_the_end_or_of_a_large_request_is_removed_too() {
    let scene = FirstAndSpare::start().await;
    // Without `[DONE]`: the event that is removed is the last of the stream.
    let chunk = |rest: &str| format!("data: {{\"choices\":[{rest}]}}\r\n\r\n");
    let said = [
        chunk(r#"{"index":0,"delta":{"content":"hi"}}"#),
        chunk(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#),
    ]
    .concat();
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\r\n\r\n";
    let large = "x".repeat(300_000);
    for (split, words) in [(None, ""), (Some(said.len()), ""), (Some(3), large.as_str())] {
        let mut script =
            Script::usual().header("content-type", "text/event-stream").text(&(said.clone() + usage));
        script.split = split;
        scene.first.script(script);
        let body =
            json!({"messages": [{"role": "user", "content": words}], "model": "openai", "stream": true});
        let (text, request) = asked(&scene, "/v1/chat/completions", Protocol::Http1, &body).await;
        assert_eq!(text, said, "{split:?}");
        let expected = json!({"messages": [{"role": "user", "content": words}], "model": "openai-model", "stream": true,
            "stream_options": {"include_usage": true}});
        assert!(request == expected, "{split:?}");
    }
    scene.envoy.wait_for_count("tokens_input", 15).await;
}
