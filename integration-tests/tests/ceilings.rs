//! Cost ceilings per request over all attempts: if the next attempt could exceed `max_cost`, the client gets the original error.

use integration_tests::client::{Protocol, Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Event, Script, ScriptedProvider, errors};
use integration_tests::records;
use serde_json::{Value, json};

struct CeilingScene {
    first: ScriptedProvider,
    spare: ScriptedProvider,
    envoy: Envoy,
}

impl CeilingScene {
    /// A request without a token limit is estimated at 1024 output tokens. They cost about 1 cent at `gpt-a` and `gpt-b`, and at
    /// `haiku` what this price gives. All attempts together may cost 1.5 cents.
    async fn start(haiku: f64) -> Self {
        let price = |output: f64| json!({"price": {"input": 10, "output": output}});
        let gateway = Gateway::new(Shape::Loop).configure(&json!({
            "mode": "shadow",
            "targets": {"gpt-a": price(10.0), "gpt-b": price(10.0), "haiku": price(haiku)},
            "models": {"chat": {"tiers": [["gpt-a"], ["gpt-b"], ["haiku"]], "retry": {"max_cost": 0.015}}},
        }));
        let scene = gateway.start_with([("first", "openai"), ("spare", "anthropic")]).await;
        let [first, spare] = scene.providers;
        Self { first, spare, envoy: scene.envoy }
    }

    async fn ask(&self, stream: bool, protocol: Protocol) -> Read {
        let request = Request::chat("chat", stream);
        let request = request.over(protocol);
        request.ask(self.envoy.port()).await
    }

    async fn given_up(&self) -> u64 {
        self.envoy.count("gave_up_spend_ceiling").await
    }
}

/// A timeout of the provider's gateway. The work until then may be billed.
fn timed_out() -> Script {
    Script::status(504)
        .json(json!({"error": {"message": "took too long", "type": "server_error", "code": null}}))
}

/// A stream that reports usage and then fails before any content.
fn failed_after_usage(input: u64) -> Script {
    let usage = json!({"prompt_tokens": input, "completion_tokens": 0, "total_tokens": input});
    let told = json!({"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": usage});
    let failed = json!({"error": {"message": "busy", "type": "server_error", "code": null}});
    Script::stream([Event::data(told), Event::data(failed)])
}

/// Each attempt in the record: its target, what followed, and whether it may be billed.
fn attempts_of(record: &Value) -> Value {
    let attempts = record["attempts"].as_array().unwrap().iter();
    attempts.map(|attempt| json!([attempt["target"], attempt["then"], attempt["billed"]])).collect()
}

#[tokio::test]
async fn an_attempt_that_may_be_billed_uses_up_the_cost_ceiling() {
    let scene = CeilingScene::start(10.0).await;
    for protocol in [Protocol::Http1, Protocol::H2c] {
        for stream in [false, true] {
            scene.first.script(timed_out());
            let read = scene.ask(stream, protocol).await;
            assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (504, Some("spend_ceiling")));
            assert_eq!(
                read.header("x-should-retry"),
                Some("false"),
                "retries by the client would cost as much"
            );
            assert_eq!(read.header("x-llm-target"), Some("gpt-a"));
            let error = read.json();
            assert_eq!(error["error"]["message"], "took too long", "the original error");
        }
    }
    assert_eq!((scene.first.received().len(), scene.spare.received().len()), (4, 0));
    assert_eq!(scene.given_up().await, 4);
    for record in records::wait_for(&scene.envoy, 4).await {
        assert_eq!(attempts_of(&record), json!([["gpt-a", "spend_ceiling", "maybe"]]), "{record}");
        assert_eq!((&record["outcome"], &record["attempts_maybe_billed"]), (&json!("refused"), &json!(1)));
    }
}

#[tokio::test]
async fn reported_usage_counts_instead_of_the_estimate() {
    let scene = CeilingScene::start(10.0).await;
    // 0.4 cents and another attempt of 1 cent are within the ceiling.
    scene.first.script(failed_after_usage(400));
    let read = scene.ask(true, Protocol::H2c).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("gpt-b")), "{}", read.text());
    // 0.6 cents and another attempt exceed it.
    scene.first.script(failed_after_usage(600));
    let read = scene.ask(true, Protocol::H2c).await;
    assert_eq!(read.header("x-llm-reason"), Some("spend_ceiling"), "{}", read.text());
    assert!(read.text().contains("busy") && !read.text().contains("[DONE]"), "{}", read.text());
    assert_eq!(scene.first.received().len(), 3);
    let records = records::wait_for(&scene.envoy, 2).await;
    assert_eq!(attempts_of(&records[0])[0], json!(["gpt-a", "elsewhere", "maybe"]), "{}", records[0]);
    assert_eq!(attempts_of(&records[1]), json!([["gpt-a", "spend_ceiling", "maybe"]]), "{}", records[1]);
}

#[tokio::test]
async fn a_cheap_enough_target_is_still_asked_and_a_refused_attempt_costs_nothing() {
    let scene = CeilingScene::start(1.0).await;
    scene.first.script(timed_out());
    let read = scene.ask(false, Protocol::Http1).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("haiku")), "{}", read.text());
    assert_eq!(read.header("x-llm-attempts"), Some("2"));
    scene.first.script(errors::openai_503()).script(errors::openai_503());
    let read = scene.ask(false, Protocol::Http1).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-attempts")), (200, Some("3")), "{}", read.text());
    assert_eq!((scene.first.received().len(), scene.spare.received().len()), (3, 2));
    assert_eq!(scene.given_up().await, 0);
}
