//! `response_model: logical`: a response body names the model that the client asked for. Nothing else in it changes.

use std::time::Duration;

use integration_tests::body::Piece;
use integration_tests::client::{Protocol, Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Script, errors};
use integration_tests::scene::Scene;
use serde_json::{Value, json};

const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::H2c];
const PATHS: [&str; 5] =
    ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings"];

/// The first provider's model name. It appears nowhere else in its responses.
const FIRST: &str = "first-model-2026-01-01";

/// `chat` responds with the logical name, `told` with the provider's. Both have the same targets.
async fn start(shape: Shape, stream: &Value) -> Scene<2> {
    let tiers = json!([["first"], ["spare"]]);
    let plugin = json!({
        "mode": "shadow",
        "retry_budget": {"ratio": 10},
        "providers": {"first": compatible("first"), "spare": compatible("spare")},
        "targets": {
            "first": {"provider": "first", "model": FIRST},
            "spare": {"provider": "spare", "model": "spare-model"},
        },
        "models": {
            "chat": {"tiers": tiers, "stream": stream, "response_model": "logical"},
            "told": {"tiers": tiers, "stream": stream},
        },
    });
    Gateway::new(shape).plugin(&plugin).start_with(["first", "spare"]).await
}

async fn ask(envoy: &Envoy, path: &str, model: &str, stream: bool, protocol: Protocol) -> Read {
    let turn = json!([{"role": "user", "content": "say hello"}]);
    let body = json!({"model": model, "messages": turn, "input": "x", "prompt": "x", "max_tokens": 16, "stream": stream});
    let request = Request::post(path).json(&body);
    let request = request.over(protocol);
    let read = request.ask(envoy.port()).await;
    assert!(read.error.is_none(), "{path} {protocol:?}: {:?} {}", read.error, read.text());
    read
}

/// The model names in a response, wherever its dialect has them.
fn models(read: &Read, stream: bool) -> Vec<String> {
    let documents: Vec<String> = if stream { read.data() } else { vec![read.text()] };
    let documents = documents.iter().filter_map(|text| serde_json::from_str::<Value>(text).ok());
    let named = documents.filter_map(|document| {
        let places = ["/model", "/message/model", "/response/model"];
        places.iter().find_map(|place| document.pointer(place)?.as_str().map(str::to_owned))
    });
    named.collect()
}

/// The text without the number that the provider gives each response.
fn without_number(text: &str) -> String {
    text.replace("first-model", "FIRST-model")
        .split("first-")
        .map(|part| part.trim_start_matches(|digit: char| digit.is_ascii_digit()))
        .collect::<Vec<_>>()
        .join("first-")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_name_the_logical_model_and_are_otherwise_unchanged() {
    for shape in [Shape::Loop, Shape::Single] {
        let Scene { envoy, providers: [first, _spare], .. } = start(shape, &json!({})).await;
        for (path, stream) in PATHS.into_iter().flat_map(|path| [(path, false), (path, true)]) {
            let stream = stream && path != "/v1/embeddings";
            for protocol in PROTOCOLS {
                // Whole events, and pieces that end anywhere; bodies that are held as a whole, and larger ones.
                for (split, words) in [(None, 3), (Some(7), 3), (Some(1000), 4000)] {
                    let case = format!("{shape:?} {path} {stream} {protocol:?} {split:?}");
                    let script = Script { split, ..Script::usual().content_chunks(words) };
                    first.script(script.clone()).script(script);
                    let told = ask(&envoy, path, "told", stream, protocol).await;
                    let read = ask(&envoy, path, "chat", stream, protocol).await;
                    let named = models(&read, stream);
                    assert!(
                        !named.is_empty() && named.iter().all(|name| name == "chat"),
                        "{case}: {named:?}"
                    );
                    assert_eq!(named.len(), models(&told, stream).len(), "{case}");
                    let expected = told.text().replace(FIRST, "chat");
                    assert!(
                        without_number(&read.text()) == without_number(&expected),
                        "{case}: {}",
                        read.text()
                    );
                    for read in [&told, &read] {
                        assert_eq!(read.header("x-llm-model"), Some(FIRST), "{case}");
                        let length = read.header("content-length");
                        assert!(
                            length.is_none_or(|length| length == read.bytes().len().to_string()),
                            "{case}"
                        );
                    }
                    let short = !stream && words == 3;
                    assert!(
                        shape != Shape::Loop || !short || read.header("content-length").is_some(),
                        "{case}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_fallback_target_is_named_in_the_header_and_not_in_the_body() {
    let Scene { envoy, providers: [first, _spare], .. } = start(Shape::Loop, &json!({})).await;
    for (path, stream) in PATHS.into_iter().flat_map(|path| [(path, false), (path, true)]) {
        let stream = stream && path != "/v1/embeddings";
        for protocol in PROTOCOLS {
            first.script(errors::openai_503()).script(errors::openai_503());
            let read = ask(&envoy, path, "chat", stream, protocol).await;
            let named = models(&read, stream);
            assert!(!named.is_empty() && named.iter().all(|name| name == "chat"), "{path}: {named:?}");
            assert_eq!(read.header("x-llm-model"), Some("spare-model"), "{path}");
            assert!(!read.text().contains("spare-model"), "{path}: {}", read.text());
        }
    }
}

#[tokio::test]
async fn a_stream_released_early_and_kept_open_names_the_logical_model() {
    let quiet = json!({"gate": {"max_time": "300ms"}, "keep_alive": "1s"});
    let Scene { envoy, providers: [first, _spare], .. } = start(Shape::Loop, &quiet).await;
    let chunk = |delta: Value| {
        format!("data: {}\n\n", json!({"id": "c", "model": FIRST, "choices": [{"index": 0, "delta": delta}]}))
    };
    let opening = chunk(json!({"role": "assistant", "content": ""}));
    let end = format!(
        "{}data: [DONE]\n\n",
        chunk(json!({"content": "bye"})).replace("\"bye\"}", "\"bye\"},\"finish_reason\":\"stop\"")
    );
    let content = chunk(json!({"content": "hi"}));
    // The second event is cut within the model name and continues after several keep-alives.
    let (half, rest) = content.split_at(content.find("2026").unwrap());
    let piece =
        |after: u64, text: &str| Piece { after: Duration::from_millis(after), bytes: text.to_owned().into() };
    for protocol in PROTOCOLS {
        let pieces = vec![piece(0, &opening), piece(1000, half), piece(2500, rest), piece(0, &end)];
        first.script(Script::usual().header("content-type", "text/event-stream").pieces(pieces));
        let read = ask(&envoy, "/v1/chat/completions", "chat", true, protocol).await;
        let told = [opening.as_str(), &content, &end].concat().replace(FIRST, "chat");
        let comments = read.text().matches(":\n\n").count() + read.text().matches(": keep-alive\n\n").count();
        let text = read.text().replace(": keep-alive\n\n", "").replace(":\n\n", "");
        assert_eq!(text, told, "{protocol:?}: {}", read.text());
        assert!(comments > 0, "{protocol:?}: {}", read.text());
    }
}

#[tokio::test]
async fn errors_and_unreadable_bodies_stay_unchanged() {
    let Scene { envoy, providers: [first, _spare], .. } = start(Shape::Loop, &json!({})).await;
    let named = format!(r#"{{"model":"{FIRST}","error":{{"message":"no","type":"invalid_request_error"}}}}"#);
    let odd = format!(
        r#"{{"model":["{FIRST}"],"choices":[{{"message":{{"content":"hi"}}}}],"other":{{"model":"{FIRST}"}}}}"#
    );
    let latin = [
        b"{\"note\":\"\xe9\",\"model\":\"".as_slice(),
        FIRST.as_bytes(),
        b"\",\"choices\":[{\"message\":{\"content\":\"hi\"}}]}",
    ]
    .concat();
    for protocol in PROTOCOLS {
        let mut bad = Script::status(400).header("content-type", "application/json").text(&named);
        bad.split = Some(9);
        let gzip =
            Script::usual().header("content-encoding", "gzip").header("content-type", "application/json");
        first
            .script(bad)
            .script(gzip.text(&odd))
            .script(Script::usual().header("content-type", "application/json").text(&odd));
        for expected in [&named, &odd, &odd] {
            let read = ask(&envoy, "/v1/chat/completions", "chat", false, protocol).await;
            assert_eq!(&read.text(), expected, "{protocol:?}");
        }
        // The body is not UTF-8, but the model name can be read.
        first.script(Script::usual().header("content-type", "application/json").bytes(latin.clone()));
        let read = ask(&envoy, "/v1/chat/completions", "chat", false, protocol).await;
        let place = latin.windows(FIRST.len()).position(|at| at == FIRST.as_bytes()).unwrap();
        let expected = [&latin[..place], b"chat", &latin[place + FIRST.len()..]].concat();
        assert_eq!(read.bytes(), expected, "{protocol:?}");
    }
}
