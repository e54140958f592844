//! Memory is bounded by configuration: that of Envoy for request bodies, and that of the VM. Logs that nobody takes lose no
//! request.

use std::time::Duration;

use bytes::Bytes;
use integration_tests::SOON;
use integration_tests::body::Piece;
use integration_tests::client::{Read, Request};
use integration_tests::gateway::{Gateway, Shape, connection_manager};
use integration_tests::provider::{Event, Script, ScriptedProvider};
use integration_tests::turns::alone;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const CHAT: &str = "/v1/chat/completions";
const WASM_MEMORY: &str = "wasmcustom.llm_failsafe_wasm_memory_bytes";
const HELD: &str = "wasmcustom.llm_failsafe_held_bytes";
const MB: usize = 1_000_000;

fn body(length: usize) -> Bytes {
    let (head, tail) = (r#"{"model":"chat","messages":[{"role":"user","content":""#, r#""}]}"#);
    Bytes::from([head, &"x".repeat(length - head.len() - tail.len()), tail].concat())
}

/// One target that takes prompts of any size.
fn gateway(shape: Shape, provider: &ScriptedProvider, more: &Value) -> Gateway {
    let mut plugin = json!({
        "providers": {"p": {"kind": "openai-compatible", "cluster": "p", "host": "provider.test"}},
        "targets": {"t": {"provider": "p", "model": "m"}},
        "models": {"chat": {"targets": ["t"]}},
    });
    for (name, value) in more.as_object().unwrap() {
        plugin[name] = value.clone();
    }
    Gateway::new(shape).plugin(&plugin).provider("p", provider.port())
}

fn check_refused(read: &Read) {
    let headers = (read.header("x-llm-reason"), read.header("retry-after"));
    assert_eq!((read.status.as_u16(), headers), (503, (Some("memory_full"), Some("5"))), "{}", read.text());
    assert_eq!(read.json()["error"]["code"], "memory_full");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_beyond_the_limit_gets_503_and_small_ones_pass() {
    for shape in [Shape::Loop, Shape::Single] {
        let provider = ScriptedProvider::start("provider").await;
        provider.by_default(Script::usual());
        provider.script(Script::usual().delay_headers(Duration::from_secs(4)));
        let envoy = gateway(shape, &provider, &json!({"limits": {"max_held_bytes": "40MiB"}})).start().await;
        let port = envoy.port();
        let first =
            tokio::spawn(
                async move { Request::post(CHAT).bytes(body(25 * MB)).patience(SOON).ask(port).await },
            );
        envoy.wait_for_stat(HELD, |held| held == 25 * MB as u64).await;
        check_refused(&Request::post(CHAT).bytes(body(20 * MB)).ask(port).await);
        // Without a length it is refused on the way.
        let sent = body(20 * MB);
        let pieces = (0..20).map(|at| Piece::now(sent.slice(at * MB..(at + 1) * MB))).collect();
        check_refused(&Request::post(CHAT).pieces(pieces).h2c().ask(port).await);
        let small = Request::post(CHAT).bytes(body(60_000)).ask(port).await;
        assert_eq!(small.status, 200, "{shape:?}: {}", small.text());
        assert_eq!(first.await.unwrap().status, 200, "{shape:?}");
        envoy.wait_for_stat(HELD, |held| held == 0).await;
        let again = Request::post(CHAT).bytes(body(20 * MB)).ask(port).await;
        assert_eq!(again.status, 200, "{shape:?}: {}", again.text());
        envoy.wait_for_count("held_refusals", 2).await;
    }
}

/// The provider's cluster has a large buffer, so its answers come in chunks of many megabytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wasm_memory_does_not_depend_on_the_buffers_of_providers() {
    let provider = ScriptedProvider::start("provider").await;
    let event = |text: &str| {
        let data = json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": text}}]});
        Event::data(data).to_wire()
    };
    let end = Event::data(
        json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    )
    .to_wire();
    let stream = [event(&"x".repeat(500)).repeat(10_000), end, "data: [DONE]\n\n".to_owned()].concat();
    let script = Script::usual().header("content-type", "text/event-stream");
    provider.by_default(script.pieces(vec![Piece::now(Bytes::from(stream.clone()))]));
    for (shape, name) in [(Shape::Loop, "logical"), (Shape::Single, "logical"), (Shape::Loop, "provider")] {
        let models = json!({"chat": {"targets": ["t"], "response_model": name}});
        let buffers = json!({"per_connection_buffer_limit_bytes": 64 << 20});
        let envoy =
            gateway(shape, &provider, &json!({"models": models})).cluster_options("p", buffers.clone());
        // The options apply to clusters that are added later.
        let envoy = envoy.cluster("p2", provider.port(), &buffers).configure(&json!({
            "providers": {"p": {"cluster": "p2"}},
        }));
        let envoy = envoy.start().await;
        let mut all = JoinSet::new();
        for _ in 0..2 {
            let (port, chat) = (envoy.port(), Request::chat("chat", true));
            all.spawn(async move { chat.patience(SOON).ask(port).await });
        }
        while let Some(read) = all.join_next().await {
            let expected =
                if name == "logical" { stream.replace(r#""m""#, r#""chat""#) } else { stream.clone() };
            assert!(read.unwrap().text() == expected, "{shape:?} {name}");
        }
        let memory = envoy.stat(WASM_MEMORY).await.unwrap();
        println!("{shape:?} {name}: {memory} bytes of Wasm memory");
        assert!(memory < 4 << 20, "{shape:?} {name}: {memory} bytes of Wasm memory");
    }
}

/// The figures of docs/performance.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_burst_of_large_bodies_those_beyond_the_limit_are_refused() {
    let _alone = alone().await;
    for (number, size) in [(40, 30 * MB)] {
        let provider = ScriptedProvider::start("provider").await;
        provider.by_default(Script::usual().delay_headers(Duration::from_secs(5)));
        let envoy = gateway(Shape::Loop, &provider, &json!({})).start().await;
        let before = envoy.resident_bytes();
        let (sent, mut all) = (body(size), JoinSet::new());
        for _ in 0..number {
            let (port, sent) = (envoy.port(), sent.clone());
            // Over HTTP/1 Envoy closes the connection 50 ms after an early refusal, and a busy client may not have read it.
            let request = Request::post(CHAT).bytes(sent).h2c().patience(Duration::from_secs(60));
            all.spawn(async move { request.ask(port).await });
        }
        let (mut served, mut refused, mut most) = (0, 0, 0);
        while !all.is_empty() {
            most = most.max(envoy.resident_bytes());
            let Ok(Some(read)) = tokio::time::timeout(Duration::from_millis(50), all.join_next()).await
            else {
                continue;
            };
            let read = read.unwrap();
            match read.status.as_u16() {
                200 => served += 1,
                _ => {
                    check_refused(&read);
                    refused += 1;
                }
            }
        }
        assert_eq!(served + refused, number);
        println!(
            "{number} bodies of {} MB: {served} served, {refused} refused; resident {} MB before, at most {} MB, {} MB after",
            size / MB,
            before / MB,
            most / MB,
            envoy.resident_bytes() / MB
        );
        assert!(served >= 10 && (refused > 0) == (number * size > 512 << 20), "{served} and {refused}");
    }
}

#[tokio::test]
async fn a_full_disk_loses_no_request_and_is_counted() {
    let provider = ScriptedProvider::start("provider").await;
    let envoy = gateway(Shape::Loop, &provider, &json!({})).edit(|config| {
        let log = &mut connection_manager(config, 1)["access_log"][0];
        log["name"] = json!("envoy.access_loggers.file");
        log["typed_config"]["@type"] =
            json!("type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog");
        log["typed_config"]["path"] = json!("/dev/full");
    });
    let envoy = envoy.start().await;
    // Envoy writes 64 KiB at once.
    for _ in 0..150 {
        let read = Request::chat("chat", false).ask(envoy.port()).await;
        assert_eq!(read.status, 200, "{}", read.text());
    }
    envoy.wait_for_stat("filesystem.write_failed", |failed| failed > 0).await;
    assert_eq!(Request::chat("chat", false).ask(envoy.port()).await.status, 200);
}
