//! Success statuses without an answer, labels that lie, and what is an answer although it looks like none.

use integration_tests::client::{Read, Request};
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::Script;
use integration_tests::scene::Scene;
use serde_json::{Value, json};

/// Two targets for every model but `lone`, whose only one is `odd`.
async fn start(shape: Shape, fallback: Value) -> Scene<2> {
    let target = |provider: &str| json!({"provider": provider, "model": "m"});
    let configuration = json!({
        // One target fails dozens of times here. Open breakers would skip it.
        "mode": "shadow",
        "providers": {"odd": compatible("odd"), "spare": compatible("spare")},
        "targets": {"odd": target("odd"), "spare": target("spare")},
        "models": {
            "chat": {"tiers": [["odd"], ["spare"]], "fallback": fallback},
            "lone": {"targets": ["odd"], "retry": {"attempts": 1}, "fallback": fallback},
        },
    });
    Gateway::new(shape).plugin(&configuration).start_with(["odd", "spare"]).await
}

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const EMBEDDINGS: &str = "/v1/embeddings";
const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

fn ask(path: &str, model: &str, stream: bool) -> Request {
    let turn = json!([{"role": "user", "content": "say hello"}]);
    let mut body = json!({"model": model, "max_tokens": 16});
    match path {
        EMBEDDINGS | RESPONSES => body["input"] = json!("hello"),
        COMPLETIONS => body["prompt"] = json!("hello"),
        _ => body["messages"] = turn,
    }
    if stream {
        body["stream"] = json!(true);
    }
    Request::post(path).json(&body)
}

fn script(label: &str, body: impl Into<Vec<u8>>) -> Script {
    Script::usual().bytes(body.into()).header("content-type", label)
}

/// Asks each question of which the first target makes nothing, and says which were answered wrongly.
async fn wrong(
    scene: &Scene<2>,
    cases: impl IntoIterator<Item = (&'static str, bool, Script, Option<&'static str>)>,
) -> Vec<String> {
    let [odd, _] = &scene.providers;
    let mut wrong = Vec::new();
    for (path, stream, script, class) in cases {
        odd.script(script.clone());
        let read = ask(path, "chat", stream).ask(scene.port()).await;
        let got = (read.status.as_u16(), read.header("x-llm-target"), read.header("x-llm-fallback"));
        let expected = match class {
            Some(class) => (200, Some("spare"), Some(class)),
            None => (200, Some("odd"), None),
        };
        if got != expected || read.error.is_some() {
            wrong
                .push(format!("{path} {stream} {script:?}: {got:?}, not {expected:?}: {:.200}", read.text()));
        }
    }
    wrong
}

fn choice(message: Value, finish: &str) -> Value {
    json!({"index": 0, "message": message, "finish_reason": finish})
}

fn chat(message: Value, finish: &str, output: u64) -> String {
    let usage = json!({"prompt_tokens": 7, "completion_tokens": output});
    json!({"id": "x", "object": "chat.completion", "choices": [choice(message, finish)], "usage": usage})
        .to_string()
}

fn plain_failures() -> Vec<(&'static str, String, &'static str)> {
    let empty_message = json!({"role": "assistant", "content": ""});
    let mut all = vec![
        (CHAT, chat(empty_message.clone(), "stop", 0), "empty"),
        (CHAT, chat(json!({"content": null}), "tool_calls", 0), "empty"),
        (CHAT, chat(json!({"content": null}), "network_error", 0), "server"),
        (CHAT, chat(json!({"content": null}), "insufficient_system_resource", 0), "server"),
        (CHAT, chat(json!({"content": null}), "malformed_function_call", 0), "server"),
        (CHAT, json!({"choices": [choice(empty_message, "stop")]}).to_string(), "empty"),
        (CHAT, r#"{"type":"message","content":[{"type":"text","text":"hi"}]}"#.into(), "empty"),
        (MESSAGES, chat(json!({"content": "hi"}), "stop", 3), "empty"),
        (MESSAGES, r#"{"type":"message","content":[],"stop_reason":"end_turn"}"#.into(), "empty"),
        (
            MESSAGES,
            r#"{"content":[{"type":"text","text":""}],"stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":0}}"#.into(),
            "empty",
        ),
        (MESSAGES, r#"{"content":[],"stop_reason":"network-error"}"#.into(), "server"),
        (RESPONSES, r#"{"object":"response","status":"completed","output":[]}"#.into(), "empty"),
        (
            RESPONSES,
            r#"{"status":"completed","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":""}]}]}"#.into(),
            "empty",
        ),
        (RESPONSES, r#"{"object":"response","status":"failed","output":[]}"#.into(), "server"),
        (COMPLETIONS, r#"{"choices":[{"text":"","finish_reason":"stop"}]}"#.into(), "empty"),
        (EMBEDDINGS, r#"{"object":"list","data":[]}"#.into(), "empty"),
        (EMBEDDINGS, r#"{"choices":[{"text":"x"}]}"#.into(), "empty"),
        (CHAT, format!("{}{}", " \n".repeat(10_000), r#"{"error":{"message":"no","code":502}}"#), "server"),
        (CHAT, r#"{"id":"x","choices":[{"message":{"content":"he"llo"}}]}"#.into(), "malformed"),
        (CHAT, "<html><body>Sign in</body></html>".into(), "server"),
        (CHAT, "Internal Server Error".into(), "malformed"),
        (CHAT, r#"{"choices":[{"message":{"content":"cut of"#.into(), "stream_truncated"),
    ];
    let flat = [
        r#"{"code":1002,"msg":"busy"}"#,
        r#"{"error_code":110,"error_msg":"no"}"#,
        r#"{"detail":"Something broke"}"#,
        r#"{"message":"no healthy upstream"}"#,
        r#"{"errors":[{"message":"x"}]}"#,
        r#"{"error":true}"#,
        r#"{"error":{}}"#,
        r#"[{"error":{"code":500,"message":"x"}}]"#,
    ];
    let nothing = ["{}", "null", "17", "\"text\"", "[]", r#"{"id":"x","object":"y"}"#, r#"{"choices":null}"#];
    for path in [CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES] {
        all.extend(flat.map(|body| (path, body.to_owned(), "server")));
        all.extend(nothing.map(|body| (path, body.to_owned(), "empty")));
        all.push((path, r#"{"a":"#.to_owned() + "}", "malformed"));
    }
    all
}

fn plain_answers() -> Vec<(&'static str, String)> {
    let call = json!([{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    vec![
        (CHAT, chat(json!({"content": null, "tool_calls": call}), "tool_calls", 0)),
        (CHAT, chat(json!({"content": null, "function_call": {"name": "f", "arguments": ""}}), "stop", 0)),
        (CHAT, chat(json!({"content": null, "refusal": "No."}), "stop", 0)),
        (CHAT, chat(json!({"content": "", "reasoning_content": "Hm."}), "stop", 0)),
        (CHAT, chat(json!({"content": null, "audio": {"id": "a", "data": "AA=="}}), "stop", 0)),
        (CHAT, chat(json!({"content": "", "images": [{"type": "image_url", "image_url": {"url": "data:x"}}]}), "stop", 0)),
        (CHAT, chat(json!({"content": ""}), "length", 0)),
        (CHAT, chat(json!({"content": ""}), "content_filter", 0)),
        (CHAT, chat(json!({"content": ""}), "stop", 2)),
        (CHAT, json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 4}}).to_string()),
        (CHAT, json!({"choices": [{"message": {"content": "x"}}], "code": 0, "message": "ok", "error": null}).to_string()),
        (CHAT, format!("\u{feff}{}", chat(json!({"content": "x"}), "stop", 2))),
        (COMPLETIONS, r#"{"choices":[{"text":"x"}]}"#.into()),
        (COMPLETIONS, r#"{"choices":[{"text":"","logprobs":{"tokens":["a"],"token_logprobs":[-1.5]}}]}"#.into()),
        (EMBEDDINGS, r#"{"data":[{"object":"embedding","index":0,"embedding":[0.5]}]}"#.into()),
        (EMBEDDINGS, r#"{"data":[{"object":"embedding","index":0,"embedding":"AAAA"}]}"#.into()),
        (MESSAGES, r#"{"content":[],"stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":2}}"#.into()),
        (MESSAGES, r#"{"content":[],"stop_reason":"max_tokens"}"#.into()),
        (MESSAGES, r#"{"content":[],"stop_reason":"refusal"}"#.into()),
        (MESSAGES, r#"{"content":[{"type":"tool_use","id":"t","name":"f","input":{}}],"stop_reason":"tool_use"}"#.into()),
        (MESSAGES, r#"{"content":[{"type":"thinking","thinking":"Hm.","signature":"x"}],"stop_reason":"end_turn"}"#.into()),
        (RESPONSES, r#"{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[]}"#.into()),
        (RESPONSES, r#"{"status":"queued","background":true,"output":[]}"#.into()),
        (RESPONSES, r#"{"status":"completed","output":[{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}]}"#.into()),
        (RESPONSES, r#"{"status":"completed","output":[{"type":"message","content":[{"type":"refusal","refusal":"No."}]}]}"#.into()),
        (RESPONSES, r#"{"status":"completed","output":[{"type":"reasoning","summary":[]}],"usage":{"output_tokens":40}}"#.into()),
    ]
}

#[tokio::test]
async fn a_plain_200_that_is_no_answer_goes_to_the_next_target_and_nothing_else_does() {
    let scene = start(Shape::Loop, json!({})).await;
    let failures = plain_failures();
    let failures =
        failures.into_iter().map(|(path, body, class)| (path, false, script(JSON, body), Some(class)));
    let answers = plain_answers().into_iter().map(|(path, body)| (path, false, script(JSON, body), None));
    let statuses =
        [202, 204, 206].map(|status| (CHAT, false, Script::status(status).bytes(""), Some("empty")));
    let wrong = wrong(&scene, failures.chain(answers).chain(statuses)).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn data(events: &[&str]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

const ROLE: &str = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const CONTENT: &str = r#"{"choices":[{"index":0,"delta":{"content":"hi"}}]}"#;
const CREATED: &str = r#"{"type":"response.created","response":{"status":"in_progress","output":[]}}"#;
const START: &str = r#"{"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}"#;

fn chat_with(members: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{{}},{members}}}]}}"#)
}

fn streamed_failures() -> Vec<(&'static str, String, &'static str)> {
    let finish =
        |reason: &str| data(&[ROLE, &chat_with(&format!(r#""finish_reason":"{reason}""#)), "[DONE]"]);
    let usage = |output: u32| {
        format!(r#"{{"choices":[],"usage":{{"prompt_tokens":7,"completion_tokens":{output}}}}}"#)
    };
    let mut all = vec![
        (CHAT, data(&["[DONE]"]), "empty"),
        (CHAT, data(&[ROLE, "[DONE]"]), "empty"),
        (CHAT, data(&[&usage(0), "[DONE]"]), "empty"),
        (CHAT, data(&[&usage(3), "[DONE]"]), "empty"),
        (CHAT, data(&[r#"{"choices":[]}"#, "[DONE]"]), "empty"),
        (CHAT, data(&[ROLE, STOP, "[DONE]"]), "empty"),
        (CHAT, data(&[ROLE, STOP, &usage(0), "[DONE]"]), "empty"),
        (CHAT, data(&[ROLE, STOP]), "empty"),
        (
            COMPLETIONS,
            data(&[r#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}"#, "[DONE]"]),
            "empty",
        ),
        (MESSAGES, data(&[START, r#"{"type":"message_stop"}"#]), "empty"),
        (
            MESSAGES,
            data(&[
                START,
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":0}}"#,
                r#"{"type":"message_stop"}"#,
            ]),
            "empty",
        ),
        (
            MESSAGES,
            data(&[START, r#"{"type":"message_delta","delta":{"stop_reason":"network_error"}}"#]),
            "stream_error",
        ),
        (
            RESPONSES,
            data(&[
                CREATED,
                r#"{"type":"response.completed","response":{"status":"completed","output":[]}}"#,
            ]),
            "empty",
        ),
        (
            RESPONSES,
            data(&[
                CREATED,
                r#"{"type":"response.completed","response":{"status":"failed","error":{"code":"server_error","message":"x"},"output":[]}}"#,
            ]),
            "server",
        ),
    ];
    for reason in [
        "network_error",
        "network-error",
        "insufficient_system_resource",
        "abort",
        "error",
        "MALFORMED_FUNCTION_CALL",
    ] {
        all.push((CHAT, finish(reason), "stream_error"));
    }
    for path in [CHAT, COMPLETIONS, MESSAGES, RESPONSES] {
        all.push((path, data(&["Internal Server Error"]), "malformed"));
        all.push((path, data(&[r#"{"id": "x", "choi"#]), "malformed"));
        for flat in
            [r#"{"code":1002,"msg":"busy"}"#, r#"{"detail":"x"}"#, r#"{"error":true}"#, r#"{"message":"x"}"#]
        {
            all.push((path, data(&[flat]), "stream_error"));
        }
        all.push((path, r#"{"error":{"message":"x","code":502}}"#.into(), "server"));
        all.push((path, String::new(), "empty"));
    }
    all
}

fn streamed_answers() -> Vec<(&'static str, String)> {
    let part = |delta: &str| format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#);
    let chat = |delta: &str| data(&[ROLE, &part(delta), STOP, "[DONE]"]);
    let finish =
        |reason: &str| data(&[ROLE, &chat_with(&format!(r#""finish_reason":"{reason}""#)), "[DONE]"]);
    let spent = r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#;
    let stop = r#"{"type":"message_stop"}"#;
    let end = |reason: &str, output: u32| {
        let delta = format!(
            r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}},"usage":{{"output_tokens":{output}}}}}"#
        );
        data(&[START, &delta, stop])
    };
    vec![
        (CHAT, chat(r#"{"content":"x"}"#)),
        (CHAT, chat(r#"{"refusal":"No."}"#)),
        (CHAT, chat(r#"{"reasoning_content":"Hm."}"#)),
        (CHAT, chat(r#"{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]}"#)),
        (CHAT, chat(r#"{"function_call":{"name":"f"}}"#)),
        (CHAT, chat(r#"{"audio":{"data":"AA=="}}"#)),
        (CHAT, data(&[&chat_with(r#""logprobs":{"content":[{"token":"x"}]}"#), STOP, "[DONE]"])),
        (CHAT, data(&[r#"{"something":"new"}"#, "[DONE]"])),
        (CHAT, data(&[ROLE, STOP, spent, "[DONE]"])),
        (CHAT, finish("length")),
        (CHAT, finish("content_filter")),
        (MESSAGES, end("end_turn", 2)),
        (MESSAGES, end("max_tokens", 0)),
        (MESSAGES, end("refusal", 0)),
        (
            RESPONSES,
            data(&[
                CREATED,
                r#"{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[]}}"#,
            ]),
        ),
        (
            RESPONSES,
            data(&[
                CREATED,
                r#"{"type":"response.completed","response":{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"hi"}]}]}}"#,
            ]),
        ),
        (
            RESPONSES,
            data(&[
                CREATED,
                r#"{"type":"response.completed","response":{"status":"completed","output":[],"usage":{"output_tokens":9}}}"#,
            ]),
        ),
    ]
}

#[tokio::test]
async fn a_stream_without_an_answer_goes_to_the_next_target_and_nothing_else_does() {
    let scene = start(Shape::Loop, json!({})).await;
    let failures = streamed_failures();
    let failures =
        failures.into_iter().map(|(path, body, class)| (path, true, script(EVENTS, body), Some(class)));
    let answers = streamed_answers().into_iter().map(|(path, body)| (path, true, script(EVENTS, body), None));
    let wrong = wrong(&scene, failures.chain(answers)).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The error in the client's dialect, and who failed why.
fn check_refusal(read: &Read, path: &str, class: &str) {
    assert_eq!(read.status, 502, "{path} {class}: {}", read.text());
    assert_eq!(read.header("content-type"), Some(JSON), "{path} {class}");
    let body = read.json();
    assert_eq!(body["type"] == "error", path == MESSAGES, "{body}");
    let target = &body["error"]["llm_failsafe"]["targets"][0];
    assert_eq!((&target["target"], &target["reason"]), (&json!("odd"), &json!(class)), "{path} {body}");
}

#[tokio::test]
async fn the_client_gets_502_in_its_dialect_if_nobody_is_left() {
    for shape in [Shape::Loop, Shape::Single] {
        let scene = start(shape, json!({})).await;
        let [odd, _] = &scene.providers;
        for path in [CHAT, MESSAGES, RESPONSES, EMBEDDINGS] {
            for (script, class) in [
                (script(JSON, "{}"), "empty"),
                (script(JSON, r#"{"code":1002,"msg":"busy"}"#), "server"),
                (script(JSON, "strange"), "malformed"),
                (script("", "strange"), "malformed"),
                (Script::status(204).bytes(""), "empty"),
                (script(JSON, ""), "empty"),
            ] {
                odd.script(script);
                check_refusal(&ask(path, "lone", false).ask(scene.port()).await, path, class);
            }
        }
        // A stream of a doubtful type is held until its first event.
        odd.script(script("text/plain", data(&["[DONE]"])));
        check_refusal(&ask(CHAT, "lone", true).ask(scene.port()).await, CHAT, "empty");
        scene.envoy.wait_until_idle().await;
    }
}

#[tokio::test]
async fn a_stream_that_is_not_held_ends_with_an_error_event_in_place_of_what_is_no_answer() {
    for shape in [Shape::Loop, Shape::Single] {
        let scene = start(shape, json!({})).await;
        let [odd, _] = &scene.providers;
        let mut truncated = 0;
        for (events, passed, class) in [
            (data(&["[DONE]"]), "", "empty"),
            (data(&[ROLE, "[DONE]"]), &*data(&[ROLE]), "empty"),
            (
                data(&[ROLE, CONTENT, r#"{"id": "x", "choi"#, CONTENT, "[DONE]"]),
                &data(&[ROLE, CONTENT]),
                "malformed",
            ),
            (data(&[CONTENT, "Internal Server Error"]), &data(&[CONTENT]), "malformed"),
            (data(&[CONTENT, r#"{"code":1002,"msg":"busy"}"#]), &data(&[CONTENT]), "stream_error"),
            (r#"{"error":{"message":"x","type":"overloaded_error"}}"#.to_owned(), "", "overloaded"),
        ] {
            odd.script(script(EVENTS, events.clone()));
            let read = ask(CHAT, "lone", true).ask(scene.port()).await;
            let text = read.text();
            let notice = text.strip_prefix(passed).unwrap_or_else(|| panic!("{events}: {text}"));
            let error: Value =
                serde_json::from_str(notice.strip_prefix("data: ").unwrap().trim_end()).unwrap();
            assert_eq!(error["error"]["code"], class, "{events}: {text}");
            truncated += 1;
            scene.envoy.expect_count("streams_failed", truncated).await;
        }
        // A finish reason that says failure after content passes as it is, and counts.
        let events = data(&[CONTENT, &chat_with(r#""finish_reason":"network_error""#), "[DONE]"]);
        odd.script(script(EVENTS, events.clone()));
        let read = ask(CHAT, "lone", true).ask(scene.port()).await;
        assert_eq!(read.text(), events);
        scene.envoy.expect_count("streams_failed", truncated + 1).await;
        scene.envoy.wait_until_idle().await;
    }
}

#[tokio::test]
async fn an_empty_stop_passes_where_the_operator_allows_it() {
    let scene = start(Shape::Loop, json!({"empty_stop": "pass"})).await;
    let empty = json!({"role": "assistant", "content": ""});
    let cases = [
        (CHAT, false, script(JSON, chat(empty, "stop", 0)), None),
        (CHAT, true, script(EVENTS, data(&[ROLE, STOP, "[DONE]"])), None),
        (MESSAGES, false, script(JSON, r#"{"content":[],"stop_reason":"end_turn"}"#), None),
        (CHAT, true, script(EVENTS, data(&["[DONE]"])), Some("empty")),
        (CHAT, false, script(JSON, r#"{"choices":[]}"#), Some("empty")),
    ];
    let wrong = wrong(&scene, cases).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn bytes_decide_and_the_client_gets_the_right_label() {
    let answer = chat(json!({"content": "hi"}), "stop", 2);
    let stream = data(&[ROLE, CONTENT, STOP, "[DONE]"]);
    let error = r#"{"error":{"message":"x","type":"overloaded_error"}}"#;
    for (shape, model) in [(Shape::Loop, "chat"), (Shape::Single, "lone")] {
        let scene = start(shape, json!({})).await;
        let [odd, _] = &scene.providers;
        for label in
            ["", JSON, EVENTS, "text/plain", "application/octet-stream", "application/x-ndjson", "text/html"]
        {
            for stream_asked in [true, false] {
                let mut bodies = vec![(&stream, EVENTS), (&answer, JSON)];
                // What has the label that it should have is not held if nobody is left.
                if stream_asked && label == EVENTS && model == "lone" {
                    bodies.pop();
                }
                for (body, shown) in bodies {
                    for lead in ["", "\n\n", "\u{feff}"] {
                        let body = format!("{lead}{body}");
                        odd.script(script(label, body.clone()));
                        let read = ask(CHAT, model, stream_asked).ask(scene.port()).await;
                        let what = format!("{shape:?} {label:?} {stream_asked} {body}");
                        assert_eq!(read.header("content-type"), Some(shown), "{what}: {}", read.text());
                        assert_eq!((read.header("x-llm-target"), read.text()), (Some("odd"), body), "{what}");
                    }
                }
                odd.script(script(label, error));
                let read = ask(CHAT, model, stream_asked).ask(scene.port()).await;
                let what = format!("{shape:?} {label:?} {stream_asked}: {}", read.text());
                if model == "chat" {
                    assert_eq!(read.header("x-llm-fallback"), Some("overloaded"), "{what}");
                } else if !stream_asked || label != EVENTS {
                    assert_eq!(
                        (read.status.as_u16(), read.header("content-type")),
                        (503, Some(JSON)),
                        "{what}"
                    );
                }
            }
        }
        // Compressed bytes pass as they are.
        let mut unread = 0;
        for bytes in [&b"\x1f\x8b\x08\x00abc"[..], b"\x28\xb5\x2f\xfd\x04abc"] {
            for label in ["", JSON, EVENTS] {
                for stream_asked in [true, false] {
                    odd.script(script(label, bytes));
                    let read = ask(CHAT, model, stream_asked).ask(scene.port()).await;
                    assert_eq!(read.bytes(), bytes, "{label} {stream_asked}");
                    unread += 1;
                }
            }
        }
        scene.envoy.expect_count("answers_unread", unread).await;
        scene.envoy.wait_until_idle().await;
    }
}
