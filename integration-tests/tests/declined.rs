//! Retries that the filter requests and Envoy declines: the client gets a complete response, the record and the counters report
//! it, and nothing stays behind.

use std::sync::Arc;
use std::time::Duration;

use integration_tests::client::{Protocol, Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible, edge_host};
use integration_tests::provider::{RefusedPort, Script, ScriptedProvider, errors};
use integration_tests::records;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Why Envoy declines a retry.
#[derive(Clone, Copy, Debug)]
enum Cause {
    /// The body is larger than what the edge keeps for a retry.
    Buffer,
    /// The cluster `loop` allows no retry at the moment.
    Overflow,
    /// The edge's `num_retries` are used up.
    Ceiling,
}

impl Cause {
    const ALL: [Self; 3] = [Self::Buffer, Self::Overflow, Self::Ceiling];

    /// The counter in which Envoy counts it.
    const fn counter(self) -> &'static str {
        match self {
            Self::Buffer => "cluster.loop.retry_or_shadow_abandoned",
            Self::Overflow => "cluster.loop.upstream_rq_retry_overflow",
            Self::Ceiling => "cluster.loop.upstream_rq_retry_limit_exceeded",
        }
    }

    /// The response flag in the edge's access log.
    const fn flag(self) -> &'static str {
        match self {
            Self::Buffer => "-",
            Self::Overflow => "UO",
            Self::Ceiling => "URX",
        }
    }

    /// Makes Envoy decline for this cause only.
    fn provoke(self, config: &mut Value) {
        let edge = edge_host(config);
        edge["response_headers_to_add"] =
            json!([{"header": {"key": "x-flags", "value": "%RESPONSE_FLAGS%"}}]);
        match self {
            Self::Buffer => edge["request_body_buffer_limit"] = json!(KEPT),
            Self::Ceiling => edge["retry_policy"]["num_retries"] = json!(0),
            Self::Overflow => {
                let clusters = config["static_resources"]["clusters"].as_array_mut().unwrap();
                let hop = clusters.iter_mut().find(|cluster| cluster["name"] == "loop").unwrap();
                hop["circuit_breakers"]["thresholds"][0]["max_retries"] = json!(0);
            }
        }
    }
}

/// The edge's buffer for bodies when it must be too small.
const KEPT: usize = 64 * 1024;

struct DeclinedScene {
    first: ScriptedProvider,
    spare: ScriptedProvider,
    envoy: Envoy,
}

impl DeclinedScene {
    async fn start(cause: Cause) -> Self {
        let target = |name: &str| json!({"provider": name, "model": "m", "context_window": 10_000_000});
        let gone = RefusedPort::reserve();
        let gateway = Gateway::new(Shape::Loop)
            .plugin(&json!({
                "providers": {"first": compatible("first"), "spare": compatible("spare"), "gone": compatible("gone")},
                "targets": {"first": target("first"), "spare": target("spare"), "gone": target("gone")},
                "models": {
                    "chat": {"tiers": [["first"], ["spare"]]},
                    "silent": {"tiers": [["first"], ["spare"]], "stream": {"first_content": "300ms", "answer": "300ms"}},
                    "gone": {"tiers": [["gone"], ["spare"]]},
                },
                "mode": "shadow",
                "retry_budget": {"ratio": 10},
            }))
            .provider("gone", gone.port())
            .edit(|config| cause.provoke(config));
        let scene = gateway.start_with(["first", "spare"]).await;
        let [first, spare] = scene.providers;
        Self { first, spare, envoy: scene.envoy }
    }

    async fn ask(&self, path: &str, model: &str, stream: bool, protocol: Protocol) -> Read {
        request(path, model, stream, protocol).ask(self.envoy.port()).await
    }
}

/// A request whose body is larger than that buffer.
fn request(path: &str, model: &str, stream: bool, protocol: Protocol) -> Request {
    let text = "plain text ".repeat(KEPT / 5);
    let body = json!({
        "model": model, "stream": stream, "max_tokens": 16, "messages": [{"role": "user", "content": text}],
    });
    let request = Request::post(path).json(&body);
    request.over(protocol)
}

/// Checks for a complete error that clients of either dialect can read: as a body, or in a stream under a 200.
fn assert_fit(read: &Read, case: &str) {
    let text = read.text();
    assert!(read.error.is_none(), "{case}: {:?} after {text}", read.error);
    assert_eq!(read.header("x-llm-retry"), None, "{case}");
    let error: Option<Value> = if read.status == 200 {
        read.data().iter().find_map(|data| serde_json::from_str(data).ok())
    } else {
        assert!(read.status.is_server_error() || read.status == 429, "{case}: {}", read.status);
        serde_json::from_str(&text).ok()
    };
    let error = error.unwrap_or_else(|| panic!("{case}: {} {text}", read.status));
    assert!(error["error"]["message"].is_string(), "{case}: {} {text}", read.status);
}

/// Failures of an attempt, each with the status for the client, and the reason if the filter can give one.
fn failures() -> Vec<(&'static str, Script, u16, Option<&'static str>)> {
    let (declined, own) = (Some("retry_declined"), Some("all_targets_failed"));
    let json = |bytes: &'static str| Script::usual().bytes(bytes).header("content-type", "application/json");
    vec![
        ("chat", errors::openai_500(), 500, declined),
        ("chat", errors::openai_429(), 429, declined),
        ("chat", errors::openai_error_event(), 200, declined),
        ("chat", errors::openrouter_error_under_200(), 502, declined),
        // Bodies that look like a response or the beginning of one.
        ("chat", Script::usual().text(": wait\n\n").header("content-type", "text/event-stream"), 502, own),
        ("chat", Script::usual().text("<html>").header("content-type", "text/html"), 502, own),
        ("chat", json(" "), 502, own),
        ("chat", json("{\"choices\":[{\"message\":{\"content\":\"h"), 502, own),
        // A filter cannot add a body to a response without one. The status reports the failure.
        ("chat", nothing(), 502, declined),
        // Responses that Envoy or the filter makes for the provider.
        ("chat", Script::cut(), 503, own),
        ("chat", Script::usual().cut_after_chunks(1).delay_chunks(Duration::from_millis(20)), 502, None),
        ("silent", Script::hang(), 504, own),
        ("gone", Script::usual(), 503, own),
    ]
}

/// A 200 without a body.
fn nothing() -> Script {
    Script::stream([])
}

async fn check(cause: Cause) {
    let scene = DeclinedScene::start(cause).await;
    let mut declined = 0;
    for (model, script, status, reason) in failures() {
        for (path, stream, protocol) in [
            ("/v1/chat/completions", true, Protocol::Http1),
            ("/v1/chat/completions", false, Protocol::H2c),
            ("/v1/messages", true, Protocol::H2c),
        ] {
            let case = format!("{cause:?} {path} {stream} {protocol:?} {script:?}");
            scene.first.by_default(script.clone());
            let read = scene.ask(path, model, stream, protocol).await;
            assert_eq!(read.status, status, "{case}: {}", read.text());
            if script == nothing() {
                assert_eq!(read.text(), "", "{case}");
            } else if script == errors::openrouter_error_under_200() {
                assert!(read.text().contains("\"error\""), "{case}: {}", read.text());
            } else {
                assert_fit(&read, &case);
            }
            assert_eq!(read.header("x-llm-reason"), reason, "{case}");
            assert_eq!(read.header("x-flags"), Some(cause.flag()), "{case}");
            declined += 1;
        }
    }
    // Many requests at a time: their journeys are kept until it is certain that no attempt follows.
    scene.first.by_default(errors::openai_500());
    let scene = Arc::new(scene);
    let mut clients = JoinSet::new();
    for client in 0..20 {
        let scene = Arc::clone(&scene);
        clients.spawn(async move {
            for number in 0..15 {
                let protocol = if client % 2 == 0 { Protocol::Http1 } else { Protocol::H2c };
                let read = scene.ask("/v1/chat/completions", "chat", number % 2 == 0, protocol).await;
                assert_eq!(read.status, 500, "{}", read.text());
            }
        });
    }
    declined += 20 * 15;
    clients.join_all().await;
    scene.envoy.wait_until_idle().await;
    scene.envoy.expect_count("journeys_orphaned", declined).await;
    for counter in Cause::ALL.map(Cause::counter) {
        let counted = if counter == cause.counter() { declined } else { 0 };
        assert_eq!(scene.envoy.stat(counter).await.unwrap_or(0), counted, "{cause:?}: {counter}");
    }
    let memory = scene.envoy.count("wasm_memory_bytes").await;
    assert!(memory < 8 << 20, "{cause:?}: {memory} bytes of Wasm memory");
    assert_eq!(scene.spare.received().len(), 0);
    let records = records::logged(&scene.envoy.log());
    assert!(records.len() >= 10, "{cause:?}: {}", records.len());
    for record in records {
        assert_eq!(record["outcome_reason"], "no_next_attempt", "{record}");
        assert_eq!(record["attempts"][0]["then"], "elsewhere", "{record}");
        assert!(record["needs"]["body_bytes"].as_u64() > Some(KEPT as u64), "{record}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_envoy_declines_to_retry_the_client_gets_a_whole_error() {
    tokio::join!(check(Cause::Buffer), check(Cause::Overflow), check(Cause::Ceiling));
}

/// Smaller bodies are still retried.
#[tokio::test]
async fn only_a_too_large_body_is_not_retried() {
    let scene = DeclinedScene::start(Cause::Buffer).await;
    scene.first.by_default(errors::openai_500());
    let read = scene.ask("/v1/chat/completions", "chat", false, Protocol::H2c).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (500, Some("retry_declined")));
    let read = Request::chat("chat", false).ask(scene.envoy.port()).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("spare")));
    assert_eq!(read.header("x-llm-reason"), None);
}
