//! In whichever way a client spells a path, it reaches the endpoint that it means, and the provider sees one spelling.

use hyper::Method;
use integration_tests::client::{Read, Request};
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::ScriptedProvider;
use integration_tests::provider::errors;
use integration_tests::scene::Scene;
use integration_tests::sha256;
use integration_tests::{node, python};
use serde_json::{Value, json};

const SHAPES: [Shape; 2] = [Shape::Loop, Shape::Single];

/// Two models, one of which the only key may use.
fn plugin() -> Value {
    json!({
        "mode": "shadow",
        "retry_budget": {"ratio": 10},
        "providers": {
            "first": compatible("first"),
            "azure": {"kind": "azure-openai", "cluster": "azure", "host": "azure.test", "api_version": "2024-06-01"},
        },
        "targets": {
            "first": {"provider": "first", "model": "first-model", "key": {"value": "sk-own"}},
            "azure": {"provider": "azure", "model": "azure deployment".replace(' ', "-"), "key": {"value": "sk-own"}},
        },
        "models": {
            "chat": {"tiers": [["first"], ["azure"]]},
            "hidden": {"targets": ["first"]},
        },
        "keys": {"team": {"sha256": sha256("sk-team"), "models": ["chat"]}},
    })
}

async fn start(shape: Shape, more: impl FnOnce(&mut Value)) -> Scene<3> {
    let mut plugin = plugin();
    more(&mut plugin);
    Gateway::new(shape).plugin(&plugin).start_with(["first", "azure", "other"]).await
}

fn body(model: Option<&str>) -> Value {
    let turn = json!([{"role": "user", "content": "say hello"}]);
    let mut body = json!({"messages": turn, "input": "x", "prompt": "x", "max_tokens": 16});
    if let Some(model) = model {
        body["model"] = json!(model);
    }
    body
}

async fn ask(scene: &Scene<3>, path: &str, model: Option<&str>, key: &str) -> Read {
    Request::post(path).json(&body(model)).header("authorization", key).ask(scene.port()).await
}

const TEAM: &str = "Bearer sk-team";

fn reason(read: &Read) -> (u16, &str) {
    (read.status.as_u16(), read.header("x-llm-reason").unwrap_or_default())
}

#[tokio::test]
async fn every_spelling_reaches_the_provider_by_one_path() {
    for shape in SHAPES {
        let scene = start(shape, |_| {}).await;
        let [first, azure, _] = &scene.providers;
        for (path, sent) in [
            ("/chat/completions", "/v1/chat/completions"),
            ("//v1/chat/completions", "/v1/chat/completions"),
            ("/v1/chat/completions/", "/v1/chat/completions"),
            ("/openai/v1/chat/completions?api-version=preview", "/v1/chat/completions?api-version=preview"),
            ("/embeddings", "/v1/embeddings"),
            ("/v1//responses", "/v1/responses"),
            ("/openai/responses?api-version=2025-03-01-preview", "/v1/responses"),
            ("/anthropic/v1/messages?beta=true", "/v1/messages?beta=true"),
            ("/openai/deployments/chat/chat/completions?api-version=2024-10-21", "/v1/chat/completions"),
            ("/openai/deployments/chat/embeddings?api-version=2024-10-21", "/v1/embeddings"),
        ] {
            let before = first.received().len();
            if shape == Shape::Loop && path.ends_with("completions/") {
                // The second attempt is addressed anew.
                first.script(errors::openai_500());
                let read = ask(&scene, path, Some("chat"), TEAM).await;
                assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("azure")));
                let paths: Vec<_> = azure.received().iter().map(|request| request.path.clone()).collect();
                assert_eq!(
                    paths,
                    ["/openai/deployments/azure-deployment/chat/completions?api-version=2024-06-01"]
                );
                assert_eq!(first.received()[before].path, sent);
                continue;
            }
            let read = ask(&scene, path, Some("chat"), TEAM).await;
            assert_eq!(read.status, 200, "{path}: {}", read.text());
            let received = first.received();
            assert_eq!(received[before..].len(), 1, "{path}");
            assert_eq!(
                (&*received[before].path, &received[before].json()["model"]),
                (sent, &json!("first-model"))
            );
            // The same models and keys are needed as with the usual path.
            assert_eq!(
                reason(&ask(&scene, path, Some("chat"), "Bearer sk-other").await),
                (401, "invalid_api_key")
            );
            if !path.contains("deployments") {
                let hidden = ask(&scene, path, Some("hidden"), TEAM).await;
                assert_eq!(reason(&hidden), (404, "model_not_found"), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn azure_s_path_chooses_the_model_whatever_the_body_says() {
    let path = |model: &str| format!("/openai/deployments/{model}/chat/completions?api-version=2024-10-21");
    for shape in SHAPES {
        let scene = start(shape, |_| {}).await;
        let [first, ..] = &scene.providers;
        for in_body in [None, Some("chat"), Some("hidden"), Some("first-model"), Some("gpt-4o")] {
            let read = ask(&scene, &path("ch%61t"), in_body, TEAM).await;
            assert_eq!(read.status, 200, "{in_body:?}: {}", read.text());
            assert_eq!(first.received().last().unwrap().json()["model"], "first-model", "{in_body:?}");
        }
        let mut streamed = body(None);
        streamed["stream"] = json!(true);
        let read =
            Request::post(&path("chat")).json(&streamed).header("api-key", "sk-team").ask(scene.port()).await;
        assert_eq!(read.status, 200, "{}", read.text());
        let sent = first.received().last().unwrap().json();
        assert_eq!(
            (&sent["model"], &sent["stream_options"]["include_usage"]),
            (&json!("first-model"), &json!(true))
        );
        let count = first.received().len();
        for (model, in_body, expected) in [
            ("hidden", Some("chat"), (404, "model_not_found")),
            ("nothing", Some("chat"), (404, "model_not_found")),
            ("..%2F..%2Fv1%2Fmodels", Some("chat"), (404, "model_not_found")),
            (&*"x".repeat(257), Some("chat"), (400, "model_not_a_string")),
        ] {
            assert_eq!(reason(&ask(&scene, &path(model), in_body, TEAM).await), expected, "{model}");
        }
        let empty =
            Request::post(&path("chat")).bytes(" { } ").header("authorization", TEAM).ask(scene.port()).await;
        assert_eq!(reason(&empty), (400, "model_missing"));
        assert_eq!(first.received().len(), count);
    }
}

#[tokio::test]
async fn a_retry_of_a_body_without_a_model_has_the_second_target_s_model() {
    let scene = start(Shape::Loop, |plugin| {
        plugin["providers"]["azure"] = compatible("azure");
    })
    .await;
    let [first, second, _] = &scene.providers;
    first.script(errors::openai_500());
    let read = ask(&scene, "/openai/deployments/chat/chat/completions", None, TEAM).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-attempts")), (200, Some("2")));
    assert_eq!(first.received()[0].json()["model"], "first-model");
    assert_eq!(second.received()[0].json()["model"], "azure-deployment");
    assert_eq!(second.received()[0].json()["messages"], body(None)["messages"]);
}

#[tokio::test]
async fn an_unknown_path_gets_the_nearest_known_one() {
    for shape in SHAPES {
        let scene = start(shape, |_| {}).await;
        for (path, said) in [
            ("/v1/chat/completion", "Did you mean `/v1/chat/completions`?"),
            ("/v1/v1/messages", "Did you mean `/v1/messages`?"),
            ("/api/v1/embeddings", "Did you mean `/v1/embeddings`?"),
            ("/v1/%63hat/completions", "Did you mean `/v1/chat/completions`?"),
            ("/v1/messages/count_token", "Did you mean `/v1/messages/count_tokens`?"),
            ("/v1/responses/compact", "`/v1/responses/compact` is not supported"),
            ("/v1/images/edits", "This path is not served here."),
            ("/llm-failsafe/status", "configuration has no `operator`"),
        ] {
            let read = ask(&scene, path, Some("chat"), TEAM).await;
            assert_eq!(reason(&read), (404, "unknown_path"), "{path}");
            let message = read.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(message.contains(said), "{path}: {message}");
        }
        assert_eq!(scene.asked(), 0);
    }
}

/// The cluster might decode a path, and would serve a model that the key may not use.
#[tokio::test]
async fn no_spelling_of_an_endpoint_reaches_the_cluster_for_other_paths() {
    for shape in SHAPES {
        let scene = start(shape, |plugin| plugin["other_paths"] = json!({"cluster": "other"})).await;
        let [_, _, other] = &scene.providers;
        for path in [
            "/v1/%63hat/completions",
            "/v1%2Fchat%2Fcompletions",
            "/v1/%2563hat/completions",
            "/v1/./chat/completions",
            "/x/../v1/chat/completions",
            "/x/%2e%2e/v1/messages",
            "/v1/Chat/Completions",
            "/v1/chat/completions;a=b",
            "/v1/mod%65ls",
            "/x%3F/../v1/chat/completions",
            "/x%23/../v1/messages",
            "/v1/chat/completions//..",
            "/v1/chat/completions%00",
            "//llm-failsafe/status",
            "/llm%2Dfailsafe/status",
        ] {
            for key in [TEAM, "Bearer sk-other"] {
                let read = ask(&scene, path, Some("hidden"), key).await;
                assert_eq!(reason(&read), (404, "unknown_path"), "{path}");
            }
        }
        for path in
            ["//v1/chat/completions", "/chat/completions", "/openai/deployments/hidden/chat/completions"]
        {
            assert_eq!(
                reason(&ask(&scene, path, Some("hidden"), TEAM).await),
                (404, "model_not_found"),
                "{path}"
            );
        }
        assert_eq!(scene.asked(), 0);
        // An endpoint that the filter does not have may be served there.
        assert_eq!(ask(&scene, "/v1/images/edits", Some("hidden"), TEAM).await.header("x-llm-reason"), None);
        assert_eq!(other.received().len(), 1);
    }
}

#[tokio::test]
async fn a_head_is_answered_like_a_get_without_its_body() {
    for shape in SHAPES {
        let scene =
            start(shape, |plugin| plugin["operator"] = json!({"sha256": sha256("sk-operator")})).await;
        for (path, key) in [
            ("/v1/models", TEAM),
            ("/models/", TEAM),
            ("/v1/models/chat", TEAM),
            ("/llm-failsafe/health", ""),
            ("/llm-failsafe/", ""),
            ("/llm-failsafe/status", "Bearer sk-operator"),
        ] {
            let get = Request::get(path).header("authorization", key).ask(scene.port()).await;
            let head = Request::new(Method::HEAD, path).header("authorization", key).ask(scene.port()).await;
            assert_eq!((get.status.as_u16(), head.status.as_u16()), (200, 200), "{path}");
            assert_eq!(get.header("content-type"), head.header("content-type"), "{path}");
            assert!(!get.bytes().is_empty() && head.bytes().is_empty(), "{path}");
        }
        for (method, path, allowed) in [
            (Method::HEAD, "/v1/chat/completions", "POST"),
            (Method::OPTIONS, "/chat/completions", "POST"),
            (Method::OPTIONS, "/v1/models", "GET, HEAD"),
            (Method::POST, "/llm-failsafe/health", "GET, HEAD"),
        ] {
            let read = Request::new(method.clone(), path).ask(scene.port()).await;
            assert_eq!(read.status, 405, "{method} {path}");
            assert_eq!(read.header("allow"), Some(allowed), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn health_needs_no_key_and_says_only_ok() {
    for shape in SHAPES {
        for operators in [false, true] {
            let scene = start(shape, |plugin| {
                if operators {
                    plugin["operator"] = json!({"sha256": sha256("sk-operator")});
                }
            })
            .await;
            for path in ["/llm-failsafe/health", "/llm-failsafe/health?a=b"] {
                let read = Request::get(path).ask(scene.port()).await;
                assert_eq!((read.status.as_u16(), &*read.text()), (200, "ok"));
                assert_eq!(read.header("content-type"), Some("text/plain; charset=utf-8"));
                assert!(read.header("x-llm-reason").is_none());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azure_s_sdk_works_unchanged() {
    let scene = start(Shape::Loop, |plugin| {
        plugin["models"]["chat"]["response_model"] = json!("logical");
        plugin["models"]["meta/llama"] = json!({"targets": ["first"]});
        plugin["keys"]["team"]["models"] = json!(["chat", "meta/llama"]);
    })
    .await;
    let [first, ..] = &scene.providers;
    let base_url = format!("http://127.0.0.1:{}", scene.port());
    first.script(errors::openai_500());
    let output = python::run("sdk_azure.py", &[("BASE_URL", &*base_url), ("CLIENT_KEY", "sk-team")]).await;
    let lines: Vec<Value> =
        output.expect_success().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    check_azures_client(&lines, first);

    // The one for Node.
    first.script(errors::openai_500());
    let env = [("BASE_URL", &*base_url), ("CLIENT_KEY", "sk-team")];
    if let Some(output) = node::run("azure.mjs", &[], &env).await {
        check_azures_client(&output.expect_lines(), first);
    }
}

fn check_azures_client(lines: &[Value], first: &ScriptedProvider) {
    let names: Vec<_> = lines.iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["chat", "chat stream", "other model", "embeddings", "responses", "deployment", "unknown", "models"]
    );
    assert_eq!((&lines[0]["model"], &lines[0]["attempts"]), (&json!("chat"), &json!("2")));
    assert_eq!(lines[6]["error"], "NotFoundError");
    assert_eq!(lines[7]["ids"], json!(["chat", "meta/llama"]));
    assert!(
        lines[..6].iter().all(|line| line["text"].as_str().is_some_and(|text| !text.is_empty())),
        "{lines:?}"
    );
    for request in first.received() {
        assert!(!request.path.contains("api-version"), "{}", request.path);
        assert_eq!(request.json()["model"], "first-model");
    }
}
