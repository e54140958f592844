//! Aliases, patterns and the default model.

use integration_tests::client::{Read, Request};
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::errors;
use integration_tests::records;
use integration_tests::scene::Scene;
use integration_tests::sha256;
use serde_json::{Value, json};

const SHAPES: [Shape; 2] = [Shape::Loop, Shape::Single];

fn plugin() -> Value {
    json!({
        "retry_budget": {"ratio": 10},
        "breaker": {"consecutive": 2},
        "providers": {
            "first": compatible("first"),
            "azure": {"kind": "azure-openai", "cluster": "second", "host": "second.test", "api_version": "2024-06-01"},
        },
        "targets": {
            "fixed": {"provider": "first", "model": "fixed-model"},
            "any": {"provider": "first", "model": "*"},
            "deployed": {"provider": "azure", "model": "of-*", "key": {"value": "sk-own"}},
        },
        "models": {
            "chat": {"targets": ["fixed"], "aliases": ["gpt-4o", "lab/alias"], "response_model": "logical"},
            "open/*": {"tiers": [["any"], ["deployed"]], "response_model": "logical"},
            "open/fixed-*": {"targets": ["fixed"]},
        },
    })
}

async fn start(shape: Shape, more: impl FnOnce(&mut Value)) -> Scene<2> {
    let mut plugin = plugin();
    more(&mut plugin);
    Gateway::new(shape).plugin(&plugin).start_with(["first", "second"]).await
}

async fn ask(scene: &Scene<2>, model: &str) -> Read {
    Request::chat(model, false).ask(scene.port()).await
}

fn reason(read: &Read) -> (u16, &str) {
    (read.status.as_u16(), read.header("x-llm-reason").unwrap_or_default())
}

#[tokio::test]
async fn a_name_finds_its_model_and_the_provider_gets_the_rest_of_it() {
    for shape in SHAPES {
        let scene = start(shape, |plugin| plugin["models"]["chat"]["default"] = json!(true)).await;
        let [first, _] = &scene.providers;
        for (name, sent) in [
            ("chat", "fixed-model"),
            ("gpt-4o", "fixed-model"),
            ("lab/alias", "fixed-model"),
            ("open/gpt-5", "gpt-5"),
            ("open/meta/llama:free", "meta/llama:free"),
            ("open/fixed-1", "fixed-model"),
            ("unheard of", "fixed-model"),
            ("open/..", "fixed-model"),
            ("open/*", "fixed-model"),
        ] {
            let read = ask(&scene, name).await;
            assert_eq!(read.status, 200, "{name}: {}", read.text());
            assert_eq!(first.received().last().unwrap().json()["model"], sent, "{name}");
            assert_eq!(read.header("x-llm-model"), Some(sent), "{name}");
            if name != "open/fixed-1" {
                assert_eq!(read.json()["model"], name, "the client reads the name that it sent");
            }
        }
    }
}

#[tokio::test]
async fn the_rest_of_a_name_goes_into_a_path_as_one_segment() {
    let scene = start(Shape::Loop, |_| {}).await;
    let [first, second] = &scene.providers;
    first.script(errors::openai_500());
    let read = ask(&scene, "open/meta/llama:free").await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("deployed")));
    assert_eq!(read.header("x-llm-model"), Some("of-meta/llama:free"));
    let sent = &second.received()[0];
    assert_eq!(
        sent.path,
        "/openai/deployments/of-meta%2Fllama%3Afree/chat/completions?api-version=2024-06-01"
    );
    assert_eq!(sent.json()["model"], "of-meta/llama:free");
}

#[tokio::test]
async fn a_key_opens_models_by_all_names_that_lead_to_them() {
    for shape in SHAPES {
        let scene = start(shape, |plugin| {
            plugin["models"]["chat"]["default"] = json!(true);
            plugin["keys"] = json!({
                "chat": {"sha256": sha256("sk-chat"), "models": ["chat"]},
                "open": {"sha256": sha256("sk-open"), "models": ["open/*"]},
            });
        })
        .await;
        for (key, name, expected) in [
            ("sk-chat", "chat", 200),
            ("sk-chat", "gpt-4o", 200),
            ("sk-chat", "unheard-of", 200),
            ("sk-chat", "open/gpt-5", 404),
            ("sk-open", "open/gpt-5", 200),
            ("sk-open", "open/fixed-1", 404),
            ("sk-open", "gpt-4o", 404),
            ("sk-open", "unheard-of", 404),
        ] {
            let bearer = format!("Bearer {key}");
            let asked = Request::chat(name, false).header("authorization", &bearer).ask(scene.port()).await;
            assert_eq!(asked.status, expected, "{key} {name}");
            let path = format!("/v1/models/{name}");
            let listed = Request::get(&path).header("authorization", &bearer).ask(scene.port()).await;
            assert_eq!(listed.status, expected, "{key} {path}");
            if expected == 404 {
                assert_eq!(reason(&asked), (404, "model_not_found"));
            } else {
                assert_eq!(listed.json()["id"], name);
            }
        }
        for (key, names) in [("sk-chat", json!(["chat", "gpt-4o", "lab/alias"])), ("sk-open", json!([]))] {
            let list =
                Request::get("/v1/models").header("x-goog-api-key", key).ask(scene.port()).await.json();
            let ids: Vec<_> =
                list["data"].as_array().unwrap().iter().map(|model| model["id"].clone()).collect();
            assert_eq!(json!(ids), names, "{key}");
        }
    }
}

#[tokio::test]
async fn a_name_that_no_provider_knows_blames_nobody() {
    let scene = start(Shape::Loop, |plugin| plugin["models"]["open/*"] = json!({"targets": ["any"]})).await;
    let [first, _] = &scene.providers;
    for number in 0..5 {
        first.script(errors::openai_404());
        let read = ask(&scene, &format!("open/made-up-{number}")).await;
        assert_eq!(
            (read.status.as_u16(), read.header("x-llm-attempts")),
            (404, Some("1")),
            "{}",
            read.text()
        );
        assert!(
            read.json()["error"]["code"] == "model_not_found",
            "the provider's own error: {}",
            read.text()
        );
    }
    assert_eq!(ask(&scene, "open/gpt-5").await.status, 200);
    scene.envoy.expect_count("breaker_opened", 0).await;
    // A fixed name that the provider does not know is the target's own failure.
    for _ in 0..2 {
        first.script(errors::openai_404());
        assert_eq!(ask(&scene, "chat").await.status, 404);
    }
    scene.envoy.wait_for_count("breaker_opened", 1).await;
}

#[tokio::test]
async fn metrics_carry_the_pattern_and_records_both_names() {
    for strict in [false, true] {
        let scene = start(Shape::Loop, |plugin| {
            plugin["models"]["chat"]["default"] = json!(true);
            plugin["record"] = json!({"log": "all", "redact": if strict { "strict" } else { "standard" }});
        })
        .await;
        let cases = [
            ("chat", "chat", None, "fixed-model", true),
            ("gpt-4o", "chat", Some("gpt-4o"), "fixed-model", true),
            ("open/secret-project", "open/*", Some("open/secret-project"), "secret-project", false),
            ("secret-project", "chat", Some("secret-project"), "fixed-model", false),
        ];
        for (number, (name, model, requested, at, configured)) in cases.into_iter().enumerate() {
            assert_eq!(ask(&scene, name).await.status, 200);
            let records = records::wait_for(&scene.envoy, number + 1).await;
            let record = &records[number];
            assert_eq!(record["gen_ai.request.model"], model);
            let shown = requested.filter(|_| configured || !strict);
            assert_eq!(record.get("requested_name").and_then(Value::as_str), shown, "{record}");
            let at = if strict && at == "secret-project" { "*" } else { at };
            assert_eq!(record["attempts"][0]["gen_ai.request.model"], at);
            assert_eq!(record["gen_ai.response.model"], at);
        }
        scene.envoy.wait_for_count("requests", 4).await;
        let stats = scene.envoy.admin("/stats").await;
        assert!(stats.contains("model=open/*"), "{stats}");
        assert!(!stats.contains("secret-project"));
    }
}
