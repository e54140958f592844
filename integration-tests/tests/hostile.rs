//! Clients and providers at the limits of HTTP get one response and do not affect others.

use std::time::Duration;

use integration_tests::body::Piece;
use integration_tests::client::{Protocol, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Ending, Event, Point, Script, ScriptedProvider, errors};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

struct HostileScene {
    first: ScriptedProvider,
    spare: ScriptedProvider,
    envoy: Envoy,
}

/// `chat` has a second target, `lone` has none. Other paths go to `first`.
async fn scene(stream: Value) -> HostileScene {
    let models = json!({
        "chat": {"tiers": [["gpt-a"], ["haiku"]]},
        "lone": {"targets": ["gpt-a"], "stream": stream},
    });
    let gateway = Gateway::new(Shape::Loop)
        .configure(&json!({"mode": "shadow", "models": models, "other_paths": {"cluster": "openai"}}))
        .concurrency(2);
    let scene = gateway.start_with([("first", "openai"), ("spare", "anthropic")]).await;
    let [first, spare] = scene.providers;
    HostileScene { first, spare, envoy: scene.envoy }
}

fn with_headers(request: Request, count: usize, bytes: usize) -> Request {
    (0..count)
        .fold(request, |request, n| request.header(&format!("x-client-{n}"), &"z".repeat(bytes / count)))
}

#[tokio::test]
async fn an_upstream_x_envoy_ratelimited_header_does_not_prevent_a_retry() {
    let scene = scene(json!({})).await;
    for protocol in [Protocol::Http1, Protocol::H2c] {
        scene.first.script(errors::openai_429().header("x-envoy-ratelimited", "true"));
        let request = Request::chat("chat", false);
        let request = request.over(protocol);
        let answer = request.send(scene.envoy.port()).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("x-llm-target")), (200, Some("haiku")));
        assert_eq!(answer.header("x-llm-fallback"), Some("rate_limited"));
    }
}

#[tokio::test]
async fn a_request_without_a_model_is_sent_once_even_if_it_fails() {
    let scene = scene(json!({})).await;
    let failures = [
        Script::usual().ending(Ending::Cut(Point::BeforeHeaders)),
        Script::usual().ending(Ending::Reset(Point::BeforeHeaders)),
        Script::status(500).header("x-llm-retry", "server"),
    ];
    for (asked, script) in failures.into_iter().enumerate() {
        scene.first.script(script);
        let answer = Request::post("/v1/files").bytes("rows").send(scene.envoy.port()).await.unwrap();
        assert!(answer.status.is_server_error());
        assert_eq!(scene.first.received().len(), asked + 1);
    }
}

#[tokio::test]
async fn the_loop_carries_as_many_headers_as_the_edge_accepts() {
    let scene = scene(json!({})).await;
    for protocol in [Protocol::Http1, Protocol::H2c] {
        for (count, bytes) in [(94, 1000), (1, 60_900)] {
            scene.first.script(errors::openai_500());
            let request = with_headers(Request::chat("chat", false), count, bytes);
            let request = request.over(protocol);
            let answer = request.send(scene.envoy.port()).await.unwrap();
            let case = format!("{protocol:?} {count} headers of {bytes} bytes");
            assert_eq!(answer.status, 200, "{case}");
            assert_eq!(answer.header("x-llm-attempts"), Some("2"), "{case}");
        }
    }
    let many = (0..95).fold(Script::usual(), |script, n| script.header(&format!("x-provider-{n}"), "v"));
    scene.first.script(many);
    let asked = scene.first.received().len();
    // Over HTTP/1 hyper accepts at most 100 headers.
    let answer = Request::chat("chat", false).h2c().send(scene.envoy.port()).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("x-llm-target")), (200, Some("gpt-a")));
    assert_eq!(scene.first.received().len(), asked + 1);
}

#[tokio::test]
async fn first_content_applies_to_a_lone_target_after_its_headers() {
    let scene = scene(json!({"first_content": "5s", "idle": "300ms"})).await;
    let content = r#"{"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}"#;
    let events = [Event::data(content), Event::data("[DONE]")];
    scene.first.script(Script::stream(events).delay_body(Duration::from_millis(900)));
    let read = Request::chat("lone", true).ask(scene.envoy.port()).await;
    assert!(read.error.is_none() && read.text().contains("[DONE]"), "{:?} {}", read.error, read.text());
}

#[tokio::test]
async fn a_client_that_leaves_at_any_moment_leaves_nothing_behind() {
    let scene = scene(json!({})).await;
    for moment in [0, 5, 15, 40, 60, 90, 130] {
        for protocol in [Protocol::Http1, Protocol::H2c] {
            // The first target fails after 20 ms. The spare one answers after another 20 ms, with 20 ms between chunks.
            let pause = Duration::from_millis(20);
            scene.first.script(errors::openai_500().delay_headers(pause));
            scene.spare.script(Script::usual().delay_headers(pause).delay_chunks(pause));
            let body: &'static [u8] = br#"{"model":"chat","stream":true,"messages":[],"max_tokens":16}"#;
            let pieces = body.chunks(16).map(|bytes| Piece::after(Duration::from_millis(3), bytes));
            let request = Request::post("/v1/chat/completions").pieces(pieces.collect());
            let request = request.over(protocol);
            let port = scene.envoy.port();
            let exchange = async move { request.ask(port).await };
            drop(tokio::time::timeout(Duration::from_millis(moment), exchange).await);
        }
    }
    scene.envoy.wait_until_idle().await;
}

/// A proxy to `port` that after half a second sends a frame that HTTP/2 forbids: DATA on stream 0.
async fn vandal(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut gateway = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let copying = tokio::io::copy_bidirectional(&mut client, &mut gateway);
        drop(tokio::time::timeout(Duration::from_millis(500), copying).await);
        gateway.write_all(&[0, 0, 1, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
        drop(tokio::io::copy(&mut gateway, &mut tokio::io::sink()).await);
    });
    own
}

#[tokio::test]
async fn a_clients_protocol_error_does_not_count_against_the_provider() {
    for shape in [Shape::Loop, Shape::Single] {
        let models = json!({"chat": {"tiers": [["gpt-a"]]}});
        let gateway =
            Gateway::new(shape).configure(&json!({"models": models, "breaker": {"consecutive": 1}}));
        let scene = gateway.start_with([("first", ["openai", "anthropic"])]).await;
        let [first] = scene.providers;
        let envoy = scene.envoy;
        first.script(Script::usual().content_chunks(100).delay_chunks(Duration::from_millis(50)));
        let answer = Request::chat("chat", true).h2c().send(vandal(envoy.port()).await).await.unwrap();
        assert!(answer.read().await.error.is_some(), "{shape:?}");
        envoy.wait_for_count("attempts_in_flight", 0).await;
        let answer = Request::chat("chat", false).send(envoy.port()).await.unwrap();
        assert_eq!(answer.status, 200, "{shape:?}");
    }
}
