//! Another attempt that the filter asked for and Envoy did not make: the client has an answer that is fit for it all the
//! same, the record and the counters tell, and nothing is left behind.

use std::sync::Arc;
use std::time::Duration;

use integration_tests::client::{Protocol, Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible, edge_host};
use integration_tests::provider::{RefusedPort, Script, ScriptedProvider, errors};
use integration_tests::records;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Why Envoy declines.
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

    /// Where Envoy counts it.
    const fn counter(self) -> &'static str {
        match self {
            Self::Buffer => "cluster.loop.retry_or_shadow_abandoned",
            Self::Overflow => "cluster.loop.upstream_rq_retry_overflow",
            Self::Ceiling => "cluster.loop.upstream_rq_retry_limit_exceeded",
        }
    }

    /// The flag with which the edge's access log tells of it.
    const fn flag(self) -> &'static str {
        match self {
            Self::Buffer => "-",
            Self::Overflow => "UO",
            Self::Ceiling => "URX",
        }
    }

    /// Makes Envoy decline for this cause and no other.
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

/// What the edge keeps of a body where it shall not be enough.
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

/// A request whose body the edge does not keep whole where it shall not.
fn request(path: &str, model: &str, stream: bool, protocol: Protocol) -> Request {
    let text = "plain text ".repeat(KEPT / 5);
    let body = json!({
        "model": model, "stream": stream, "max_tokens": 16, "messages": [{"role": "user", "content": text}],
    });
    let request = Request::post(path).json(&body);
    request.over(protocol)
}

/// A whole error that clients of either dialect can read: as a body, or in a stream under a 200.
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

/// How an attempt may fail, and what the client is told of it: a status, and a reason where the filter could say one.
fn failures() -> Vec<(&'static str, Script, u16, Option<&'static str>)> {
    let (declined, own) = (Some("retry_declined"), Some("all_targets_failed"));
    let json = |bytes: &'static str| Script::usual().bytes(bytes).header("content-type", "application/json");
    vec![
        ("chat", errors::openai_500(), 500, declined),
        ("chat", errors::openai_429(), 429, declined),
        ("chat", errors::openai_error_event(), 200, declined),
        ("chat", errors::openrouter_error_under_200(), 502, declined),
        // What would look like an answer, or like the beginning of one.
        ("chat", Script::usual().text(": wait\n\n").header("content-type", "text/event-stream"), 502, own),
        ("chat", Script::usual().text("<html>").header("content-type", "text/html"), 502, own),
        ("chat", json(" "), 502, own),
        ("chat", json("{\"choices\":[{\"message\":{\"content\":\"h"), 502, own),
        // A filter cannot give an answer a body that has none; that it is a failure the status says.
        ("chat", nothing(), 502, declined),
        // What Envoy or the filter has to say in the provider's place.
        ("chat", Script::cut(), 503, own),
        ("chat", Script::usual().cut_after_chunks(1).delay_chunks(Duration::from_millis(20)), 502, None),
        ("silent", Script::hang(), 504, own),
        ("gone", Script::usual(), 503, own),
    ]
}

/// A 200 whose headers are all of it.
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
    // Many at a time: all of them are kept until it is certain that nobody comes for them.
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
async fn whatever_keeps_envoy_from_retrying_the_client_has_a_whole_error_and_nothing_is_left() {
    tokio::join!(check(Cause::Buffer), check(Cause::Overflow), check(Cause::Ceiling));
}

/// What the edge keeps is retried as ever beside what it does not.
#[tokio::test]
async fn only_what_is_too_large_is_not_retried() {
    let scene = DeclinedScene::start(Cause::Buffer).await;
    scene.first.by_default(errors::openai_500());
    let read = scene.ask("/v1/chat/completions", "chat", false, Protocol::H2c).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (500, Some("retry_declined")));
    let read = Request::chat("chat", false).ask(scene.envoy.port()).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("spare")));
    assert_eq!(read.header("x-llm-reason"), None);
}
