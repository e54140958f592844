//! What the module exports, and when it forgets the contexts of streams and configurations: it has no `proxy_on_delete`.

use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::body::Piece;
use integration_tests::client::{Protocol, Request};
use integration_tests::gateway::{Gateway, Shape, compatible, connection_manager};
use integration_tests::module;
use integration_tests::paths;
use integration_tests::provider::{Script, ScriptedProvider};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a client waits for a provider that is silent.
const PATIENCE: Duration = Duration::from_millis(300);

/// The line that the tick writes for a stream whose last callback did not come.
const LOST: &str = "Envoy has deleted it without its last callback";

#[test]
fn the_module_exports_only_the_callbacks_that_it_needs() {
    let bytes = std::fs::read(paths::wasm()).unwrap();
    let mut exported: Vec<_> = module::exports(&bytes).into_iter().map(|(name, _)| name).collect();
    exported.sort();
    assert_eq!(
        exported,
        [
            "_initialize",
            "proxy_abi_version_0_2_1",
            "proxy_on_configure",
            "proxy_on_context_create",
            "proxy_on_log",
            "proxy_on_memory_allocate",
            "proxy_on_queue_ready",
            "proxy_on_request_body",
            "proxy_on_request_headers",
            "proxy_on_request_trailers",
            "proxy_on_response_body",
            "proxy_on_response_headers",
            "proxy_on_response_trailers",
            "proxy_on_tick",
        ]
    );
}

/// Ends streams in every way that a client or a provider can.
async fn end_streams(port: u16, provider: &ScriptedProvider) {
    for protocol in [Protocol::Http1, Protocol::H2c] {
        let ask = async |request: Request, script: Script| {
            provider.script(script);
            let request = request.over(protocol).patience(PATIENCE);
            if let Ok(response) = request.send(port).await {
                response.read().await;
            }
        };
        for stream in [false, true] {
            for script in
                [Script::usual(), Script::status(500), Script::cut(), Script::reset(), Script::hang()]
            {
                ask(Request::chat("chat", stream), script).await;
            }
            ask(Request::chat("chat", stream), Script::usual().cut_after_chunks(1)).await;
            ask(Request::chat("chat", stream), Script::usual().hang_after_chunks(1)).await;
        }
        // Refused by the filter, at different times. No provider is asked.
        for request in
            [Request::get("/"), Request::chat("unknown", false), Request::post("/v1/chat/completions")]
        {
            let _ = request.over(protocol).patience(PATIENCE).send(port).await;
        }
        // The client leaves in the middle of its request.
        let body = vec![Piece::now("{\"model\": \"chat\","), Piece::after(SOON, "}")];
        let request = Request::post("/v1/chat/completions").pieces(body).over(protocol).patience(PATIENCE);
        assert!(request.send(port).await.is_err());
    }
    // Refused by Envoy: before its filters, and before it is a request.
    for text in
        ["POST / HTTP/1.1\r\n\r\n", "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n", "\0\0\r\n\r\n"]
    {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        connection.write_all(text.as_bytes()).await.unwrap();
        let mut answer = [0; 16];
        let _ = tokio::time::timeout(PATIENCE, connection.read(&mut answer)).await;
    }
}

#[tokio::test]
async fn every_stream_of_a_listener_is_forgotten_in_its_last_callback() {
    for shape in [Shape::Loop, Shape::Single] {
        let gateway = Gateway::new(shape).plugin(&json!({
            "providers": {"p": compatible("p")},
            "targets": {"t": {"provider": "p", "model": "m"}},
            "models": {"chat": {"targets": ["t"]}},
            "mode": "shadow",
        }));
        let scene = gateway.start_with(["p"]).await;
        end_streams(scene.envoy.port(), &scene.providers[0]).await;
        scene.envoy.wait_for_count("attempts_in_flight", 0).await;
        // Several rounds of the tick's check.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let log = scene.envoy.log();
        assert!(!log.contains(LOST), "{shape:?}: {log}");
    }
}

/// As a filter of an upstream cluster, streams get no last callback. That place makes no sense for this filter, but it must
/// not fill the memory there.
#[tokio::test]
async fn a_stream_that_envoy_deletes_without_its_last_callback_is_ended_on_a_tick() {
    let mut filter = Value::Null;
    let gateway = Gateway::new(Shape::Single)
        .plugin(&json!({
            "providers": {"p": compatible("p")},
            // Both filters read the model. It must have one name for both.
            "targets": {"t": {"provider": "p", "model": "chat"}},
            "models": {"chat": {"targets": ["t"]}},
        }))
        .edit(|config| {
            let filters = connection_manager(config, 0)["http_filters"].as_array().unwrap();
            filter = filters.iter().find(|filter| filter["name"] == "llm-failsafe").unwrap().clone();
        });
    let codec = json!({"name": "envoy.filters.http.upstream_codec", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
    }});
    let options = json!({"typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http_protocol_options": {}},
            "http_filters": [filter, codec],
        },
    }});
    let scene = gateway.cluster_options("p", options).start_with(["p"]).await;
    let read = Request::chat("chat", false).ask(scene.envoy.port()).await;
    assert_eq!(read.status, 200, "{}", read.text());
    scene.envoy.wait_for_log(LOST).await;
    // What the lost stream held is returned. On 1.36 its metrics have other names.
    let deadline = Instant::now() + SOON;
    loop {
        let gauges = scene.envoy.admin("/stats?filter=llm_failsafe_attempts_in_flight").await;
        if !gauges.trim().is_empty() && gauges.lines().all(|line| line.ends_with(": 0")) {
            break;
        }
        assert!(Instant::now() < deadline, "{gauges}");
        tokio::time::sleep(PATIENCE).await;
    }
    assert_eq!(scene.envoy.log().matches(LOST).count(), 1);
}
