//! What the filter writes into Envoy's log: at `debug` its decisions, and none of them by default.

use std::time::{Duration, Instant};

use integration_tests::client::Request;
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Script, ScriptedProvider};
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);

const DECISIONS: [&str; 6] = [
    ": request held",
    ": request sent on",
    ": response held",
    ": first chunk held until the next callback",
    ": first chunk released",
    ": answered by the filter with status 404",
];

/// A provider of streams in several chunks.
async fn provider() -> ScriptedProvider {
    let provider = ScriptedProvider::start("provider").await;
    provider.by_default(Script::usual().delay_chunks(Duration::from_millis(20)));
    provider
}

fn gateway(provider: &ScriptedProvider) -> Gateway {
    Gateway::new(Shape::Loop)
        .plugin(&json!({
            "providers": {"p": {"kind": "openai-compatible", "cluster": "p", "host": "provider.test"}},
            "targets": {"t": {"provider": "p", "model": "m"}},
            "models": {"chat": {"targets": ["t"]}},
        }))
        .provider("p", provider.port())
}

async fn ask(envoy: &Envoy) {
    let read = Request::chat("chat", true).send(envoy.port()).await.unwrap().read().await;
    assert_eq!(read.status, 200, "{}", read.text());
    assert_eq!(Request::chat("unknown", true).send(envoy.port()).await.unwrap().status, 404);
}

async fn set_level(envoy: &Envoy, level: &str) {
    let path = format!("/logging?wasm={level}");
    assert_eq!(Request::post(&path).send(envoy.admin_port()).await.unwrap().status, 200);
}

fn decisions(envoy: &Envoy) -> usize {
    envoy.log().lines().filter(|line| line.contains("llm-failsafe: stream ")).count()
}

#[tokio::test]
async fn decisions_are_logged_from_the_start_at_debug() {
    let provider = provider().await;
    let envoy = Envoy::start(gateway(&provider).to_config().wasm_log_level("debug")).await;
    ask(&envoy).await;
    for decision in DECISIONS {
        envoy.wait_for_log(decision).await;
    }
    assert!(envoy.log().contains("llm-failsafe: configuration loaded: 1 models, 1 targets"));
}

#[tokio::test]
async fn operators_turn_decisions_on_and_off_while_envoy_runs() {
    let provider = provider().await;
    let envoy = gateway(&provider).start().await;
    ask(&envoy).await;
    assert_eq!(decisions(&envoy), 0, "{}", envoy.log());

    set_level(&envoy, "debug").await;
    let deadline = Instant::now() + SOON;
    while DECISIONS.iter().any(|decision| !envoy.log().contains(decision)) {
        assert!(Instant::now() < deadline, "no decisions in {}", envoy.log());
        ask(&envoy).await;
    }

    // Envoy hides the lines at once, so this shows only that nothing breaks.
    set_level(&envoy, "info").await;
    let before = decisions(&envoy);
    ask(&envoy).await;
    assert_eq!(decisions(&envoy), before);
}
