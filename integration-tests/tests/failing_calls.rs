//! Calls to Envoy that fail: no client waits in vain, and each failure is counted and logged. Envoy fails the calls here
//! because `capability_restriction_config` withholds them from the filter.

use std::time::Duration;

use integration_tests::client::{Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Script, ScriptedProvider, errors};
use serde_json::{Map, Value, json};

/// How long a client waits at most. The provider's time limits are much longer.
const SOON: Duration = Duration::from_secs(20);

const FAILED: &str = "wasmcustom.llm_failsafe_host_calls_failed";

/// What the filter needs of Envoy and Envoy of the filter.
const CAPABILITIES: [&str; 38] = [
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "proxy_close_stream",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_dequeue_shared_queue",
    "proxy_enqueue_shared_queue",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_log_level",
    "proxy_get_metric",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_log",
    "proxy_on_queue_ready",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_response_body",
    "proxy_on_response_headers",
    "proxy_on_tick",
    "proxy_record_metric",
    "proxy_register_shared_queue",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_send_local_response",
    "proxy_set_buffer_bytes",
    "proxy_set_effective_context",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
    "random_get",
];

struct Scene {
    provider: ScriptedProvider,
    envoy: Envoy,
}

impl Scene {
    /// Envoy with a filter that may not call `withheld`.
    async fn without(withheld: &str) -> Self {
        let provider = ScriptedProvider::start("provider").await;
        // Several chunks, so that the first one is held until it is released by itself.
        provider.by_default(Script::usual().delay_chunks(Duration::from_millis(50)));
        let allowed: Map<String, Value> = CAPABILITIES
            .iter()
            .filter(|name| **name != withheld)
            .map(|name| ((*name).to_owned(), json!({})))
            .collect();
        assert_eq!(allowed.len() + usize::from(!withheld.is_empty()), CAPABILITIES.len());
        let envoy = Gateway::new(Shape::Loop)
            .plugin(&json!({
                "providers": {"p": {"kind": "openai-compatible", "cluster": "p", "host": "provider.test"}},
                "targets": {"t": {"provider": "p", "model": "m"}},
                "models": {
                    "chat": {"targets": ["t"]},
                    "reset": {"targets": ["t"], "stream": {"idle": "500ms", "on_break": "reset"}},
                },
                "mode": "shadow",
                "retry_budget": {"ratio": 10},
            }))
            .provider("p", provider.port())
            .edit(|config| {
                let manager = &mut config["static_resources"]["listeners"][1]["filter_chains"][0]["filters"][0];
                manager["typed_config"]["http_filters"][0]["typed_config"]["config"]["capability_restriction_config"] =
                    json!({"allowed_capabilities": allowed});
            })
            .start()
            .await;
        Self { provider, envoy }
    }

    /// The client's response, or `None` if the stream was reset before it began.
    async fn ask(&self, model: &str, stream: bool) -> Option<Read> {
        let request = Request::chat(model, stream).h2c();
        let read = async { Some(request.send(self.envoy.port()).await.ok()?.read().await) };
        tokio::time::timeout(SOON, read).await.expect("the client waits in vain")
    }

    async fn failed(&self, call: &str) {
        assert!(self.envoy.wait_for_stat(FAILED, |failed| failed > 0).await > 0);
        self.envoy.wait_for_log(&format!("llm-failsafe: {call}) failed with status ")).await;
    }
}

fn assert_whole(read: Option<Read>) {
    let read = read.expect("a response");
    assert_eq!(read.status, 200, "{}", read.text());
    assert!(read.error.is_none(), "{:?} after {}", read.error, read.text());
    assert_eq!(read.data().last().map(String::as_str), Some("[DONE]"));
}

/// What other tests rely on: the list of capabilities is complete.
#[tokio::test]
async fn no_call_fails_in_ordinary_requests() {
    let scene = Scene::without("").await;
    assert_whole(scene.ask("chat", true).await);
    assert_eq!(scene.ask("chat", false).await.unwrap().status, 200);
    assert_eq!(scene.ask("unknown", false).await.unwrap().status, 404);
    scene.provider.script(errors::openai_503());
    assert_eq!(scene.ask("chat", false).await.unwrap().status, 200);
    scene.provider.script(Script::usual().hang_after_chunks(2));
    assert!(scene.ask("reset", true).await.unwrap().error.is_some());
    assert_eq!(scene.envoy.stat(FAILED).await.unwrap_or(0), 0, "{}", scene.envoy.log());
    let log = scene.envoy.log();
    assert!(!log.contains("restricted proxy-wasm capability"), "{log}");
}

#[tokio::test]
async fn a_local_response_that_cannot_be_sent_becomes_a_reset() {
    let scene = Scene::without("proxy_send_local_response").await;
    let read = scene.ask("unknown", false).await;
    assert!(read.is_none_or(|read| read.status == 503), "Envoy's own answer or none");
    scene.failed("sending a local response (proxy_send_local_response").await;
    assert_eq!(scene.provider.received().len(), 0);
}

#[tokio::test]
async fn a_held_request_that_cannot_be_resumed_is_answered_and_streams_pass_on() {
    let scene = Scene::without("proxy_continue_stream").await;
    assert_whole(scene.ask("chat", true).await);
    scene.failed("resuming a response (proxy_continue_stream").await;
    let served = scene.provider.received().len();
    scene.provider.script(errors::openai_503());
    let read = scene.ask("chat", false).await.expect("a response");
    assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (500, Some("internal")));
    assert_eq!(scene.provider.received().len(), served + 1);
    scene.failed("resuming a request (proxy_continue_stream").await;
    scene.envoy.wait_for_stat("wasmcustom.llm_failsafe_attempts_in_flight", |value| value == 0).await;
    scene.envoy.wait_for_stat("wasmcustom.llm_failsafe_waiting", |value| value == 0).await;
}

#[tokio::test]
async fn a_request_whose_headers_cannot_be_read_or_changed_goes_to_no_provider() {
    for (withheld, call) in [
        ("proxy_replace_header_map_value", "changing headers (proxy_replace/remove_header_map_value"),
        ("proxy_get_header_map_pairs", "reading headers (proxy_get_header_map_pairs"),
    ] {
        let scene = Scene::without(withheld).await;
        let read = scene.ask("chat", false).await.expect("a response");
        assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (500, Some("internal")));
        scene.failed(call).await;
        assert_eq!(scene.provider.received().len(), 0);
    }
}

#[tokio::test]
async fn a_stream_whose_first_chunk_cannot_be_released_goes_with_the_next_one() {
    for (withheld, call) in [
        ("proxy_set_effective_context", "selecting a stream (proxy_set_effective_context"),
        ("proxy_enqueue_shared_queue", "waking a stream (proxy_enqueue_shared_queue"),
    ] {
        let scene = Scene::without(withheld).await;
        assert_whole(scene.ask("chat", true).await);
        scene.failed(call).await;
    }
}

#[tokio::test]
async fn a_stream_that_cannot_be_reset_is_ended_all_the_same() {
    let scene = Scene::without("proxy_close_stream").await;
    scene.provider.script(Script::usual().hang_after_chunks(2));
    let read = scene.ask("reset", true).await.expect("a response");
    assert!(read.error.is_some(), "{}", read.text());
    scene.failed("resetting a stream (proxy_close_stream").await;
}
