//! Providers that cannot be reached, break off, or stop sending. Before its response counts, another target answers; afterwards
//! the client sees the break.

use std::time::Duration;

use crate::scenes::{self, Ask, FirstAndSpare, assert_answered_by_spare, chat, messages, said};
use integration_tests::SOON;
use integration_tests::client::{Protocol, Read, Request};
use integration_tests::gateway::{Gateway, Shape, connection_manager};
use integration_tests::provider::{Ending, Outcome, Point, RefusedPort, Script, ScriptedProvider, errors};
use serde_json::{Value, json};

/// Every way to break off before there is anything to pass on.
fn breaks() -> Vec<Script> {
    let points = [Point::BeforeHeaders, Point::AfterBytes(0), Point::AfterBytes(10)];
    let endings = points.into_iter().flat_map(|p| [Ending::Cut(p), Ending::Reset(p), Ending::AbortStream(p)]);
    endings.map(|ending| Script::usual().ending(ending)).collect()
}

/// The reason: before the headers the provider may not have been reached, after them its response was truncated.
fn blamed(script: &Script) -> &'static str {
    if script.ending.is_before_headers() { "transport" } else { "stream_truncated" }
}

async fn check_breaks(scene: &FirstAndSpare) {
    for script in breaks() {
        for ask in [chat("openai"), chat("openai").streamed(), messages(), messages().streamed()] {
            scene.check_moves(ask, &script, blamed(&script)).await;
        }
    }
    // A stream without content so far, and a truncated error.
    let begun = Script::usual().cut_after_chunks(1);
    scene.check_moves(chat("openai").streamed(), &begun, "stream_truncated").await;
    scene.check_moves(messages().streamed(), &begun, "stream_truncated").await;
    scene.check_moves(chat("openai"), &errors::openai_500().cut_after_bytes(20), "stream_truncated").await;
    scene.check_moves(chat("openai"), &errors::openai_400().cut_after_bytes(20), "stream_truncated").await;
}

#[tokio::test]
async fn a_provider_that_breaks_off_before_its_response_is_replaced() {
    check_breaks(&FirstAndSpare::start().await).await;
}

#[tokio::test]
async fn an_http2_provider_that_resets_streams_or_connections_is_replaced() {
    let http2 = json!({"typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        },
    }});
    let scene = FirstAndSpare::with(|_| {}, |gateway| gateway.cluster_options("first", http2)).await;
    check_breaks(&scene).await;
    scene.check_moves(chat("openai"), &errors::openai_429(), "rate_limited").await;
    assert!(scene.first.received().iter().all(|request| request.version == "HTTP/2.0"));
}

#[tokio::test]
async fn a_provider_that_refuses_connections_is_replaced() {
    let (refused, spare) = (RefusedPort::reserve(), ScriptedProvider::start("spare").await);
    let gateway = Gateway::new(Shape::Loop)
        .plugin(&scenes::configuration())
        .provider("first", refused.port())
        .provider("spare", spare.port());
    let envoy = gateway.start().await;
    for ask in [chat("openai"), chat("openai").streamed(), messages(), messages().streamed()] {
        for protocol in [Protocol::Http1, Protocol::H2c] {
            let read = ask.send(envoy.port(), protocol).await;
            assert_eq!(said(&read, ask.stream), "hello from spare");
            assert_answered_by_spare(&read, "transport", &format!("{ask:?} {protocol:?}"));
        }
    }
    assert_eq!(spare.received().len(), 8);
}

#[tokio::test]
async fn a_silent_provider_is_replaced_when_envoys_idle_timeout_ends() {
    let scene = FirstAndSpare::with(
        |_| {},
        |gateway| gateway.edit(|config| connection_manager(config, 1)["stream_idle_timeout"] = json!("0.3s")),
    )
    .await;
    for ask in [chat("openai"), chat("openai").streamed()] {
        scene.check_moves(ask, &Script::hang(), "timeout").await;
        assert!(matches!(scene.first.wait_for_outcome(0, SOON).await, Outcome::ClosedByClient(_)));
    }
    // The shipped mark and body are for a filter that has crashed. One that runs says itself what happened.
    scene.first.script(Script::hang());
    scene.spare.script(Script::hang());
    let read = chat("openai").send(scene.envoy.port(), Protocol::Http1).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-retry")), (504, None));
    assert!(!read.text().contains("crashed") && read.json()["error"]["code"].is_string(), "{}", read.text());
}

/// Checks that the client saw its response break off. Before 1.37 Envoy resets HTTP/2 streams with NO_ERROR, which hyper
/// and others accept as an end. Then only the missing terminal event tells the client.
async fn assert_broken(scene: &FirstAndSpare, protocol: Protocol, read: &Read, case: &str) {
    let resets_without_error = scene.envoy.resets_http2_without_error().await;
    assert!(
        read.error.is_some() || (protocol == Protocol::H2c && resets_without_error),
        "{case}: {}",
        read.text()
    );
}

#[tokio::test]
async fn a_stream_that_breaks_after_its_first_content_is_not_retried() {
    let scene = FirstAndSpare::start().await;
    // One chunk at a time, so that Envoy does not see the end together with the content.
    let script = Script::usual().delay_chunks(Duration::from_millis(30));
    for ending in [Ending::Cut(Point::AfterChunks(3)), Ending::Reset(Point::AfterChunks(3))] {
        for protocol in [Protocol::Http1, Protocol::H2c] {
            scene.first.script(script.clone().ending(ending));
            let read = chat("openai").streamed().send(scene.envoy.port(), protocol).await;
            let case = format!("{ending:?} {protocol:?}: {}", read.text());
            assert_broken(&scene, protocol, &read, &case).await;
            assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("openai")), "{case}");
            assert!(read.text().contains("hello ") && !read.text().contains("[DONE]"), "{case}");
        }
    }
    assert_eq!((scene.first.received().len(), scene.spare.received().len()), (4, 0));
}

#[tokio::test]
async fn a_long_plain_response_that_breaks_is_cut_and_not_retried() {
    let scene = FirstAndSpare::start().await;
    let long =
        Script::usual().say(&"word ".repeat(40_000)).split(20_000).delay_chunks(Duration::from_millis(20));
    for protocol in [Protocol::Http1, Protocol::H2c] {
        scene.first.script(long.clone().cut_after_bytes(100_000));
        let read = chat("openai").send(scene.envoy.port(), protocol).await;
        assert_broken(&scene, protocol, &read, "long").await;
        assert!(read.bytes().len() <= 100_000 && read.text().starts_with('{'));
    }
    assert_eq!((scene.first.received().len(), scene.spare.received().len()), (2, 0));
}

#[tokio::test]
async fn when_every_target_breaks_off_the_client_gets_an_error_in_its_dialect() {
    let models = |configuration: &mut Value| {
        for kind in ["openai", "anthropic"] {
            configuration["models"][format!("{kind}-never")] =
                json!({"tiers": [[kind], ["spare"]], "fallback": {"on": []}});
            // No target follows the spare one, so holding its stream gains nothing.
            configuration["models"][kind]["retry"] = json!({"attempts": 2});
        }
    };
    let scene = FirstAndSpare::with(models, |gateway| gateway).await;
    for script in breaks() {
        let told = |name: &str| json!({"target": name, "reason": blamed(&script)});
        for stream in [false, true] {
            let case = format!("{:?} streamed: {stream}", script.ending);
            scene.first.by_default(script.clone());
            scene.spare.by_default(script.clone());
            let last = Ask { stream, ..messages() };
            // A plain response is held until it is complete or judged, because only its status can report a failure.
            let held = script.ending.is_before_headers() || !stream;
            if held {
                let (status, body) = refusal(&scene, last, &case).await;
                assert_eq!((status, &body["type"]), (503, &json!("error")), "{case}: {body}");
                let tried = json!([told("anthropic"), told("spare")]);
                assert_eq!(body["error"]["llm_failsafe"]["targets"], tried, "{case}");
            } else {
                // The last target's stream had begun, so the client gets it with the break. Over HTTP/1
                // Envoy would flush and then wait a second (`delayed_close_timeout`) for the client to close first.
                let read = last.send(scene.envoy.port(), Protocol::H2c).await;
                assert_eq!(
                    (read.status.as_u16(), read.header("x-llm-target")),
                    (200, Some("spare")),
                    "{case}"
                );
                assert_broken(&scene, Protocol::H2c, &read, &case).await;
            }
            let never = Ask { stream, ..chat("openai-never") };
            if held {
                let (status, body) = refusal(&scene, never, &case).await;
                assert_eq!(
                    (status, &body["error"]["code"]),
                    (503, &json!("all_targets_failed")),
                    "{case}: {body}"
                );
                assert_eq!(body["error"]["llm_failsafe"]["targets"], json!([told("openai")]), "{case}");
            } else {
                // Without another eligible target no stream is held.
                let read = never.send(scene.envoy.port(), Protocol::H2c).await;
                assert_eq!(read.status, 200, "{case}");
                assert_broken(&scene, Protocol::H2c, &read, &case).await;
            }
        }
    }
}

/// The status and body of a refusal by the filter.
async fn refusal(scene: &FirstAndSpare, ask: Ask, case: &str) -> (u16, Value) {
    let read = ask.send(scene.envoy.port(), Protocol::Http1).await;
    assert!(read.error.is_none(), "{case}");
    assert_eq!(read.header("content-type"), Some("application/json"), "{case}: {}", read.text());
    assert_eq!(read.header("x-llm-retry"), None, "{case}");
    (read.status.as_u16(), serde_json::from_slice(&read.bytes()).unwrap_or_default())
}

#[tokio::test]
async fn an_idle_connection_closed_by_the_provider_fails_no_request() {
    let scene = FirstAndSpare::start().await;
    let mut first = scene.first;
    for round in 0..3 {
        let read = chat("openai").send(scene.envoy.port(), Protocol::Http1).await;
        assert_eq!(read.header("x-llm-target"), Some("openai"), "{round}");
        first.restart().await;
        scene.envoy.wait_for_stat("cluster.first.upstream_cx_active", |count| count == 0).await;
    }
    let answer = Request::chat("openai", false).send(scene.envoy.port()).await.unwrap();
    assert_eq!(answer.header("x-llm-attempts"), Some("1"));
}
