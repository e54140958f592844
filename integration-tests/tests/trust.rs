//! A first choice is trusted with what is not declared about it, and a refusal says what to declare.

use integration_tests::client::{Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Script, errors};
use integration_tests::scene::Scene;
use integration_tests::{paths, sha256};
use serde_json::{Value, json};

const OPERATOR: &str = "op-trust-secret";

/// Bodies that Codex 0.171 and Claude Code 2.1.332 have sent, with long texts cut.
const RECORDED: [&str; 4] =
    ["codex", "codex-with-deferred-tools", "claude-code", "claude-code-without-tool-search"];

fn recorded(name: &str) -> Value {
    let file = paths::root().join(format!("integration-tests/tests/recorded/{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn replay(recorded: &Value) -> Request {
    let request = Request::post(recorded["path"].as_str().unwrap()).json(&recorded["body"]);
    let headers = recorded["headers"].as_object().unwrap().iter();
    headers.fold(request, |request, (name, value)| request.header(name, value.as_str().unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coding_agents_are_served_by_a_first_choice_of_which_nothing_is_declared() {
    let kinds = ["openai-compatible", "openrouter"];
    let mut plugin = json!({"providers": {}, "targets": {}, "models": {}});
    for kind in kinds {
        plugin["providers"][kind] = json!({"kind": kind, "cluster": "only", "host": "only.test"});
        plugin["targets"][kind] = json!({"provider": kind, "model": "m"});
        plugin["models"][kind] = json!({"targets": [kind]});
    }
    let Scene { envoy, providers: [only], .. } =
        Gateway::new(Shape::Loop).plugin(&plugin).start_with(["only"]).await;
    for name in RECORDED {
        for kind in kinds {
            let mut recorded = recorded(name);
            recorded["body"]["model"] = json!(kind);
            // The texts are cut, so this makes up for their length.
            let list = if recorded["body"]["input"].is_array() { "input" } else { "messages" };
            let turn = json!({"role": "user", "content": "word ".repeat(30_000)});
            recorded["body"][list].as_array_mut().unwrap().push(turn);
            let asked = only.received().len();
            let read = replay(&recorded).ask(envoy.port()).await;
            assert_eq!(read.status, 200, "{name} {kind}: {}", read.text());
            assert_eq!(only.received().len(), asked + 1, "{name} {kind}");
            let mut sent: Value = only.received()[asked].json();
            sent["model"] = json!(kind);
            assert_eq!(sent["tools"], recorded["body"]["tools"], "{name} {kind}: nothing is removed");
        }
    }
}

fn image(model: &str) -> Request {
    let content = json!([
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    ]);
    Request::post("/v1/chat/completions")
        .json(&json!({"model": model, "messages": [{"role": "user", "content": content}]}))
}

fn no_images() -> Script {
    Script::status(400).json(json!({
        "object": "error", "type": "BadRequestError", "code": 400,
        "message": "At most 0 image(s) may be provided in one request.",
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_first_choice_cannot_do_goes_to_a_substitute_that_is_known_to_do_it() {
    let plugin = json!({
        "providers": {"first": compatible("first"), "spare": compatible("spare")},
        "targets": {
            "text": {"provider": "first", "model": "m"},
            "sees": {"provider": "spare", "model": "n", "vision": true},
            "unknown": {"provider": "spare", "model": "n"},
            "equal": {"provider": "spare", "model": "m"},
            "large": {"provider": "spare", "model": "n", "context_window": 200_000},
        },
        "models": {
            "helped": {"tiers": [["text"], ["unknown"], ["sees"]]},
            "alone": {"tiers": [["text"], ["unknown"]]},
            "equal": {"tiers": [["text"], ["equal"]]},
            "long": {"tiers": [["text"], ["large"]], "fallback": {"context_length": "larger_window"}},
        },
    });
    let Scene { envoy, providers: [first, spare], .. } =
        Gateway::new(Shape::Loop).plugin(&plugin).start_with(["first", "spare"]).await;
    let answered_by = |read: &Read, target: &str| {
        assert_eq!(
            (read.status.as_u16(), read.header("x-llm-target")),
            (200, Some(target)),
            "{}",
            read.text()
        );
    };
    first.script(no_images());
    let read = image("helped").ask(envoy.port()).await;
    answered_by(&read, "sees");
    assert_eq!(
        (read.header("x-llm-fallback"), read.header("x-llm-attempts")),
        (Some("unsuitable"), Some("2"))
    );

    first.script(no_images());
    let read = image("alone").ask(envoy.port()).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-rejected")), (400, Some("unknown=vision")));
    assert!(read.text().contains("At most 0 image(s)"), "the provider's own error: {}", read.text());
    assert_eq!(spare.received().len(), 1, "the unknown substitute got nothing");

    first.script(errors::openai_500());
    answered_by(&image("equal").ask(envoy.port()).await, "equal");

    let words = json!([{"role": "user", "content": "word ".repeat(100_000)}]);
    let long = || Request::post("/v1/chat/completions").json(&json!({"model": "long", "messages": words}));
    answered_by(&long().ask(envoy.port()).await, "text");
    first.script(errors::openai_context_length());
    answered_by(&long().ask(envoy.port()).await, "large");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_prefers_targets_in_which_the_prompt_fits_with_a_margin() {
    let plugin = json!({
        "providers": {"first": compatible("first"), "spare": compatible("spare")},
        "targets": {
            "small": {"provider": "first", "model": "m", "context_window": 11_000, "weight": 1_000_000},
            "large": {"provider": "spare", "model": "m", "context_window": 100_000, "weight": 1},
        },
        "models": {"both": {"targets": ["small", "large"]}, "small": {"targets": ["small"]}},
    });
    let Scene { envoy, providers: _providers, .. } =
        Gateway::new(Shape::Loop).plugin(&plugin).start_with(["first", "spare"]).await;
    for (model, bytes, target) in
        [("both", 20_000, "small"), ("both", 35_000, "large"), ("small", 35_000, "small")]
    {
        let turns = json!([{"role": "user", "content": "x".repeat(bytes)}]);
        let body = json!({"model": model, "messages": turns});
        let read = Request::post("/v1/chat/completions").json(&body).ask(envoy.port()).await;
        assert_eq!(
            (read.status.as_u16(), read.header("x-llm-target")),
            (200, Some(target)),
            "{bytes}: {}",
            read.text()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_what_to_declare() {
    let plugin = json!({
        "providers": {"first": compatible("first")},
        "targets": {"gpt": {"provider": "first", "model": "m", "tools": false}},
        "models": {"chat": {"targets": ["gpt"]}, "kept": {"targets": ["gpt"], "fallback": {"zero_retention": "required"}}},
    });
    let scene = Gateway::new(Shape::Loop).plugin(&plugin).start_with(["first"]).await;
    for (model, path, status, advice) in [
        (
            "chat",
            "/v1/chat/completions",
            400,
            "`gpt` does not offer `tools`, because `tools: false` is declared. If it does, declare `tools: true` at the target.",
        ),
        (
            "chat",
            "/v1/messages",
            400,
            "`gpt` does not offer `tools`, because `tools: false` is declared. If it does, declare `tools: true` at the target.",
        ),
        (
            "kept",
            "/v1/messages",
            403,
            "`gpt` does not declare `zero_retention`, which `models.kept.fallback.zero_retention` requires. If it offers that, \
             declare `zero_retention: true` at the target.",
        ),
    ] {
        let tools = if model == "chat" {
            json!([{"type": "function", "name": "f", "function": {"name": "f"}}])
        } else {
            json!([])
        };
        let messages = json!([{"role": "user", "content": "hello"}]);
        let body = json!({"model": model, "max_tokens": 9, "messages": messages, "tools": tools});
        let read = Request::post(path).json(&body).ask(scene.port()).await;
        assert_eq!(read.status, status, "{}", read.text());
        let error = read.json();
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.ends_with(advice), "{message}");
    }
}

async fn status(envoy: &Envoy) -> Value {
    let key = format!("Bearer {OPERATOR}");
    Request::get("/llm-failsafe/status").header("authorization", &key).ask(envoy.port()).await.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_cluster_is_named_to_the_client_in_the_log_and_in_the_status() {
    for shape in [Shape::Loop, Shape::Single] {
        let lost = json!({"kind": "openai-compatible", "host": "lost.test", "cluster": "nowhere"});
        let plugin = json!({
            "providers": {"lost": lost, "spare": compatible("spare")},
            "targets": {"gpt": {"provider": "lost", "model": "m"}, "spare": {"provider": "spare", "model": "n"}},
            "models": {"alone": {"targets": ["gpt"]}, "helped": {"tiers": [["gpt"], ["spare"]]}},
            "operator": {"keys": {"anna": {"sha256": sha256(OPERATOR)}}},
        });
        let Scene { envoy, providers: [_spare], .. } =
            Gateway::new(shape).plugin(&plugin).start_with(["spare"]).await;
        let advice = "Envoy has no cluster `nowhere`, which `gpt` needs. Define it in Envoy's configuration, or write the name \
                      of another as `providers.lost.cluster`.";
        // More than open the breaker: a refusal without an attempt says it, too.
        for _ in 0..8 {
            for (path, stream) in
                [("/v1/chat/completions", false), ("/v1/chat/completions", true), ("/v1/messages", true)]
            {
                let messages = json!([{"role": "user", "content": "hello"}]);
                let body = json!({"model": "alone", "max_tokens": 9, "messages": messages, "stream": stream});
                let read = Request::post(path).json(&body).ask(envoy.port()).await;
                assert_eq!(read.status, 503, "{shape:?} {}", read.text());
                assert_eq!(read.header("content-type"), Some("application/json"), "{shape:?} {path}");
                let error = read.json();
                assert_eq!(error["type"] == "error", path == "/v1/messages", "the client's dialect: {error}");
                let message = error["error"]["message"].as_str().unwrap();
                assert!(message.ends_with(advice), "{shape:?} {message}");
                assert_eq!(error["error"]["llm_failsafe"]["targets"][0]["target"], "gpt");
            }
        }
        if shape == Shape::Loop {
            let read = Request::chat("helped", false).ask(envoy.port()).await;
            assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("spare")));
        }
        let report = status(&envoy).await;
        assert_eq!(report["targets"][0]["missing_cluster"], "nowhere", "{report:#}");
        assert_eq!(report["targets"][1]["missing_cluster"], Value::Null);
        envoy.wait_for_log("Envoy has no cluster `nowhere`, so target `gpt` cannot be asked").await;
        assert_eq!(
            envoy.log().matches("so target `gpt` cannot be asked").count(),
            1,
            "once, not per request"
        );
    }
}
