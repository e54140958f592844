//! Bodies of any size: the provider gets what the client sent except for the model name. The filter holds none of it.

use std::time::Duration;

use bytes::Bytes;
use integration_tests::SOON;
use integration_tests::body::Piece;
use integration_tests::client::Request;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{ReceivedRequest, Script, ScriptedProvider, errors};
use integration_tests::sha256;
use integration_tests::turns::alone;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const CHAT: &str = "/v1/chat/completions";
const MAX_BODY: usize = 32 << 20;
const MEMORY: &str = "wasmcustom.llm_failsafe_wasm_memory_bytes";

/// Where the member `model` is in a body.
#[derive(Clone, Copy, Debug)]
enum Place {
    First,
    Middle,
    Last,
}

/// A chat request with `padding` bytes of text.
fn body(place: Place, model: &str, padding: usize) -> Bytes {
    let text = |length: usize| {
        let unit = r#"say \"model\":\"chat\", é, {[ and \\ "#.to_owned() + &"plain text ".repeat(1000);
        unit.repeat(length / unit.len()) + &"x".repeat(length % unit.len())
    };
    let body = match place {
        Place::First => {
            format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"{}"}}]}}"#, text(padding))
        }
        Place::Middle => {
            let (before, after) = (text(padding / 2), text(padding - padding / 2));
            format!(r#"{{"user":"{before}","model":"{model}","messages":[{{"content":"{after}"}}]}}"#)
        }
        Place::Last => {
            format!(r#"{{"messages":[{{"role":"user","content":"{}"}}],"model":"{model}"}}"#, text(padding))
        }
    };
    Bytes::from(body)
}

/// The padding for a request for `chat` of this length.
fn padding(place: Place, length: usize) -> usize {
    length - body(place, "chat", 0).len()
}

/// Whether this Envoy itself may refuse a large body without content-length (see `envoy/single.yaml`).
fn old_envoy() -> bool {
    std::env::var("ENVOY_VERSION").is_ok_and(|version| version.starts_with("1.36."))
}

fn check_arrived(received: &ReceivedRequest, expected: &Bytes, what: &str) {
    let hash = sha256(expected);
    assert_eq!(received.body_length, expected.len() as u64, "{what}");
    assert_eq!(received.body_sha256, hash, "{what}: the body differs in more than the model");
    assert!(received.body_complete, "{what}");
    let length = received.header("content-length").map(str::to_owned);
    assert_eq!(length, Some(expected.len().to_string()), "{what}");
}

fn gateway(shape: Shape, openai: &ScriptedProvider, anthropic: &ScriptedProvider) -> Gateway {
    Gateway::new(shape).provider("openai", openai.port()).provider("anthropic", anthropic.port())
}

/// One target in each of two tiers, with context windows for prompts that no real model could take.
fn two_tiers() -> Value {
    let window = json!({"context_window": 1_000_000_000});
    json!({
        "mode": "shadow",
        "targets": {"gpt-a": window, "haiku": window},
        "models": {"chat": {"tiers": [["gpt-a"], ["haiku"]]}},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_any_size_arrives_unchanged_except_for_the_model() {
    let a = ScriptedProvider::start("alpha").await;
    let b = ScriptedProvider::start("beta").await;
    for shape in [Shape::Loop, Shape::Single] {
        let envoy = gateway(shape, &a, &b).configure(&two_tiers()).start().await;
        let one_byte = Request::post(CHAT).bytes("{").send(envoy.port()).await.unwrap();
        assert_eq!(one_byte.status, 400);
        for length in [100, 65_535, 65_536, 65_537, 1_000_000, 10_000_000, 20_000_000] {
            for place in [Place::First, Place::Middle, Place::Last] {
                for failover in [false, true] {
                    let repeats = length > 1_000_000 && matches!(place, Place::Middle);
                    if repeats || failover && shape == Shape::Single {
                        continue;
                    }
                    let what = format!("{shape:?} {length} bytes, model {place:?}, failover {failover}");
                    let padding = padding(place, length);
                    if failover {
                        a.script(errors::openai_500());
                    }
                    let request = Request::post(CHAT).bytes(body(place, "chat", padding));
                    let answer = request.send(envoy.port()).await.unwrap_or_else(|e| panic!("{what}: {e}"));
                    assert_eq!(answer.status, 200, "{what}");
                    check_arrived(&a.received()[0], &body(place, "gpt-4.1-mini", padding), &what);
                    if failover {
                        check_arrived(&b.received()[0], &body(place, "claude-haiku-4-5", padding), &what);
                    }
                    drop(answer.text().await);
                    a.forget_received();
                    b.forget_received();
                }
            }
        }
        let memory = envoy.stat(MEMORY).await.unwrap();
        println!("{shape:?}: {memory} bytes of Wasm memory");
        assert!(memory < 8 << 20, "{shape:?}: {memory} bytes of Wasm memory");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_large_requests_at_once_fail_over_whole_in_little_memory() {
    const REQUESTS: usize = 50;
    // This test measures no time, but its load would disturb tests that do.
    let _alone = alone().await;
    let a = ScriptedProvider::start("alpha").await;
    let b = ScriptedProvider::start("beta").await;
    a.by_default(errors::openai_503());
    let envoy = gateway(Shape::Loop, &a, &b).configure(&two_tiers()).concurrency(2).start().await;
    let padding = padding(Place::Last, 10_000_000);
    let sent = body(Place::Last, "chat", padding);

    let mut requests = JoinSet::new();
    for _ in 0..REQUESTS {
        let request = Request::post(CHAT).bytes(sent.clone()).patience(SOON);
        let port = envoy.port();
        requests.spawn(async move { request.send(port).await.expect("a response").read().await });
    }
    while let Some(answer) = requests.join_next().await {
        let answer = answer.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("x-llm-target")), (200, Some("haiku")));
        assert!(answer.error.is_none() && answer.text().contains("hello from beta"), "{}", answer.text());
    }

    for (provider, model) in [(&a, "gpt-4.1-mini"), (&b, "claude-haiku-4-5")] {
        let (expected, received) = (body(Place::Last, model, padding), provider.received());
        assert_eq!(received.len(), REQUESTS);
        received.iter().for_each(|request| check_arrived(request, &expected, model));
    }
    let memory = envoy.stat(MEMORY).await.unwrap();
    println!("{memory} bytes of Wasm memory");
    assert!(memory < 8 << 20, "{memory} bytes of Wasm memory");
    envoy.wait_for_count("journeys", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_body_fails_over_and_one_byte_more_is_refused() {
    let a = ScriptedProvider::start("alpha").await;
    let b = ScriptedProvider::start("beta").await;
    for shape in [Shape::Loop, Shape::Single] {
        let envoy = gateway(shape, &a, &b).configure(&two_tiers()).start().await;
        for (length, chunked, h2) in [
            (MAX_BODY, false, false),
            (MAX_BODY, true, true),
            (MAX_BODY + 1, false, false),
            (MAX_BODY + 1, true, false),
            (MAX_BODY + 1, true, true),
            (MAX_BODY + (8 << 20), false, true),
            (MAX_BODY + (8 << 20), true, false),
        ] {
            let what = format!("{shape:?}, {length} bytes, chunked {chunked}, h2 {h2}");
            if shape == Shape::Single && length > MAX_BODY && chunked && !h2 && old_envoy() {
                continue;
            }
            let sent = body(Place::Last, "chat", padding(Place::Last, length));
            let request = if chunked {
                let pieces =
                    (0..length).step_by(1 << 20).map(|at| sent.slice(at..length.min(at + (1 << 20))));
                Request::post(CHAT).pieces(pieces.map(Piece::now).collect())
            } else {
                Request::post(CHAT).bytes(sent)
            };
            if length == MAX_BODY && shape == Shape::Loop {
                a.script(errors::openai_500());
            }
            let request = if h2 { request.h2c() } else { request };
            let answer = request.send(envoy.port()).await.unwrap_or_else(|e| panic!("{what}: {e}"));
            let reason = answer.header("x-llm-reason").map(str::to_owned);
            if length == MAX_BODY {
                assert_eq!((answer.status.as_u16(), reason), (200, None), "{what}");
            } else {
                assert_eq!(
                    (answer.status.as_u16(), reason.as_deref()),
                    (413, Some("request_too_large")),
                    "{what}"
                );
                assert_eq!(answer.json().await["error"]["code"], "request_too_large", "{what}");
            }
        }
    }
    let taken = [("gpt-4.1-mini", &a, 4), ("claude-haiku-4-5", &b, 2)];
    for (model, provider, count) in taken {
        let lengths: Vec<_> = provider.received().iter().map(|request| request.body_length).collect();
        assert_eq!(lengths, vec![(MAX_BODY + model.len() - "chat".len()) as u64; count], "{model}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_response_arrives_whole_after_its_beginning_was_held() {
    let a = ScriptedProvider::start("alpha").await;
    let rest = Bytes::from(vec![b' '; 8_000_000]);
    let beginning = r#"{"choices":[{"message":{"content":"hello"}}]}"#;
    a.by_default(
        Script::usual()
            .header("content-type", "application/json")
            .pieces(vec![Piece::now(beginning), Piece::after(Duration::from_millis(50), rest.clone())]),
    );
    for shape in [Shape::Loop, Shape::Single] {
        let envoy = gateway(shape, &a, &a).start().await;
        let answer = Request::chat("chat", false).send(envoy.port()).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text().await.len(), beginning.len() + rest.len(), "{shape:?}");
    }
}
