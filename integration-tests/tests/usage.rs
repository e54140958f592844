//! The token usage that providers report is read from every kind of response and counted once.

use crate::scenes::{Ask, FirstAndSpare, chat, messages, said};
use integration_tests::client::{Protocol, Request};
use integration_tests::envoy::Envoy;
use integration_tests::provider::Script;
use integration_tests::records;
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

/// Streams in which vendors put usage elsewhere, and what the record must say: input, cached, output, reasoning.
fn odd_streams() -> Vec<(&'static str, &'static str, Vec<Value>, [u64; 4])> {
    let content = json!({"choices": [{"index": 0, "delta": {"content": "hi"}}]});
    let finish = json!({"index": 0, "delta": {}, "finish_reason": "stop"});
    let end = |choice: &Value, more: Value| {
        let mut chunk = json!({"choices": [choice]});
        chunk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        vec![content.clone(), chunk]
    };
    let mut moonshot = finish.clone();
    moonshot["usage"] = json!({"prompt_tokens": 19, "completion_tokens": 13, "cached_tokens": 10});
    let xai = json!({"usage": {"prompt_tokens": 10120, "completion_tokens": 1499, "total_tokens": 14428,
        "completion_tokens_details": {"reasoning_tokens": 2809}}});
    let groq = json!({"x_groq": {"id": "req_1", "usage": {"prompt_tokens": 18, "completion_tokens": 5}}});
    let mut zeros = end(&finish, json!({"usage": {"prompt_tokens": 7, "completion_tokens": 3}}));
    zeros.push(json!({"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}));
    let relay = vec![
        json!({"type": "message_start", "message": {"usage": {"input_tokens": 1200, "output_tokens": 0}}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"},
            "usage": {"input_tokens": 0, "output_tokens": 30}}),
        json!({"type": "message_stop"}),
    ];
    let chat = "/v1/chat/completions";
    vec![
        ("xAI", chat, end(&finish, xai), [10120, 0, 4308, 2809]),
        ("Moonshot", chat, end(&moonshot, json!({})), [19, 10, 13, 0]),
        ("Groq", chat, end(&finish, groq), [18, 0, 5, 0]),
        ("zeros in the last chunk", chat, zeros, [7, 0, 3, 0]),
        ("a relay to Anthropic", "/v1/messages", relay, [1200, 0, 30, 0]),
    ]
}

#[tokio::test]
async fn records_hold_the_usage_of_vendors_that_report_it_in_their_own_way() {
    let scene = FirstAndSpare::start().await;
    for (nth, (vendor, path, events, expected)) in odd_streams().into_iter().enumerate() {
        let mut text: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        let model = if path == "/v1/messages" { "anthropic" } else { "openai" };
        if model == "openai" {
            text.push_str("data: [DONE]\n\n");
        }
        scene.first.script(Script::usual().header("content-type", "text/event-stream").text(&text));
        let read = Ask { path, model, stream: true }.send(scene.envoy.port(), Protocol::Http1).await;
        assert!(read.error.is_none() && read.status == 200, "{vendor}: {}", read.text());
        let records = records::wait_for(&scene.envoy, nth + 1).await;
        let names = ["input", "cache_read.input", "output", "reasoning.output"];
        let recorded = names.map(|name| records[nth][format!("gen_ai.usage.{name}_tokens")].as_u64());
        assert_eq!(recorded.map(Option::unwrap_or_default), expected, "{vendor}: {}", records[nth]);
    }
}

#[tokio::test]
async fn a_provider_that_rejects_the_request_for_usage_is_asked_again_without_it() {
    let scene = FirstAndSpare::start().await;
    let rejection = json!({"error": {"message": "Unrecognized request argument supplied: stream_options",
        "type": "invalid_request_error", "param": null, "code": null}});
    scene.first.script(Script::status(400).json(rejection.clone()));
    let read = chat("openai").streamed().send(scene.envoy.port(), Protocol::Http1).await;
    assert_eq!(said(&read, true), "hello from first");
    assert_eq!(read.header("x-llm-attempts"), Some("2"));
    let again = chat("openai").streamed().send(scene.envoy.port(), Protocol::Http1).await;
    assert_eq!(said(&again, true), "hello from first", "the target is remembered");
    assert_eq!(again.header("x-llm-attempts"), Some("1"));
    let options: Vec<_> =
        scene.first.received().iter().map(|request| request.json()["stream_options"].clone()).collect();
    assert_eq!(options, [json!({"include_usage": true}), Value::Null, Value::Null]);
    assert_eq!(scene.spare.received().len(), 0);
    scene.envoy.wait_for_log("target openai rejects `stream_options`").await;

    // What the client asked for itself is the client's to take back.
    scene.first.script(Script::status(400).json(rejection));
    let body =
        json!({"model": "openai", "stream": true, "messages": [], "stream_options": {"include_usage": true}});
    let read = Request::post("/v1/chat/completions").json(&body).ask(scene.envoy.port()).await;
    assert_eq!(read.status, 400, "{}", read.text());
    assert!(read.text().contains("stream_options"), "{}", read.text());
}
