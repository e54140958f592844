//! What nobody has declared about a target comes from the model catalogue: its price, its capabilities, its sizes.

use integration_tests::client::Request;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::Script;
use integration_tests::records;
use integration_tests::scene::Scene;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

/// A model that the catalogue knows, one that nobody knows, and one that it knows because of its provider's host.
async fn start(changes: &Value) -> Scene<2> {
    let groq = json!({"kind": "openai-compatible", "cluster": "spare", "host": "api.groq.com"});
    let configuration = json!({
        "mode": "shadow",
        "providers": {"openai": {"kind": "openai"}, "own": compatible("spare"), "groq": groq},
        "targets": {
            "first": {"provider": "openai", "model": "gpt-4.1-mini-2025-04-14"},
            "unknown": {"provider": "own", "model": "llama-3.3-70b-versatile"},
            "known": {"provider": "groq", "model": "llama-3.3-70b-versatile"},
        },
        "models": {"chat": {"tiers": [["first"], ["unknown"], ["known"]], "retry": {"attempts": 2}}},
    });
    let gateway = Gateway::new(Shape::Loop).plugin(&configuration).configure(changes);
    gateway.start_with([("first", "openai"), ("spare", "spare")]).await
}

fn with_content(content: Value, more: Value) -> Request {
    let mut body =
        json!({"model": "chat", "messages": [{"role": "user", "content": content}], "max_tokens": 16});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    Request::post(CHAT).json(&body)
}

/// The gate that excluded each target from the second attempt.
fn rejected(record: &Value) -> Value {
    let candidates = record["attempts"][1]["candidates"].as_array().unwrap().iter();
    candidates.map(|candidate| json!([candidate["target"], candidate["rejected"]])).collect()
}

#[tokio::test]
async fn a_record_has_the_cost_at_the_list_price_if_no_price_is_configured() {
    let scene = start(&json!({})).await;
    let [first, _] = &scene.providers;
    first.by_default(Script::usual().tokens(1000, 500));
    let read = Request::chat("chat", false).ask(scene.port()).await;
    assert_eq!(read.status, 200, "{}", read.text());
    let record = records::wait_for(&scene.envoy, 1).await.remove(0);
    // 1000 tokens at $0.40 and 500 at $1.60 per million.
    assert_eq!(record["cost"]["micro_usd"], 1200, "{record:#}");
    assert_eq!(record["cost"]["complete"], true);
}

#[tokio::test]
async fn a_substitute_that_only_the_catalogue_knows_to_have_tools_takes_over() {
    let scene = start(&json!({})).await;
    let [first, spare] = &scene.providers;
    first.by_default(Script::status(500));
    let tool = json!({"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}});
    let read = with_content(json!("hello"), json!({"tools": [tool]})).ask(scene.port()).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("known")), "{}", read.text());
    assert_eq!(spare.received().len(), 1);
    let record = records::wait_for(&scene.envoy, 1).await.remove(0);
    assert_eq!(rejected(&record)[1], json!(["unknown", "tools"]), "{record:#}");
}

#[tokio::test]
async fn a_substitute_that_the_catalogue_knows_to_read_no_images_gets_none() {
    let scene = start(&json!({})).await;
    let [first, spare] = &scene.providers;
    first.by_default(Script::status(500));
    let image = json!([{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]);
    let read = with_content(image.clone(), json!({})).ask(scene.port()).await;
    assert_eq!((read.status.as_u16(), spare.received().len()), (500, 0), "{}", read.text());
    drop(scene);
    // What the operator writes counts more.
    let scene = start(&json!({"targets": {"known": {"vision": true}}})).await;
    let [first, _] = &scene.providers;
    first.by_default(Script::status(500));
    let read = with_content(image, json!({})).ask(scene.port()).await;
    assert_eq!(read.header("x-llm-target"), Some("known"), "{}", read.text());
}

#[tokio::test]
async fn the_cheapest_target_and_the_price_ratio_follow_list_prices() {
    let targets = json!({
        "nano": {"provider": "openai", "model": "gpt-4.1-nano"},
        "large": {"provider": "openai", "model": "gpt-4.1"},
        "small": {"provider": "openai", "model": "gpt-4.1-mini"},
    });
    let models = json!({
        "chat": {"tiers": null, "targets": ["large", "small", "nano"], "balance": {"strategy": "cheapest"}},
        "near": {"tiers": [["small"], ["large"], ["nano"]], "fallback": {"max_price_ratio": 2}},
    });
    let scene = start(&json!({"targets": targets, "models": models})).await;
    let [first, _] = &scene.providers;
    let read = Request::chat("chat", false).ask(scene.port()).await;
    assert_eq!(read.header("x-llm-target"), Some("nano"), "{}", read.text());
    first.script(Script::status(500));
    let read = Request::chat("near", false).ask(scene.port()).await;
    assert_eq!(
        read.header("x-llm-target"),
        Some("nano"),
        "gpt-4.1 costs five times as much: {}",
        read.text()
    );
}
