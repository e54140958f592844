//! Refusals that depend on the request: another target gets it, and the one that refused is neither blamed nor throttled.

use integration_tests::client::{Read, Request};
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::Script;
use integration_tests::scene::Scene;
use serde_json::{Value, json};

/// More of them in a row than would open a breaker.
const TIMES: usize = 7;

async fn start(kinds: &[&str]) -> Scene<2> {
    let mut configuration = json!({
        "providers": {"spare": compatible("spare")},
        "targets": {"spare": {"provider": "spare", "model": "spare"}},
        "models": {},
        "retry_budget": {"ratio": 10},
    });
    for kind in kinds {
        configuration["providers"][kind] = json!({"kind": kind, "cluster": "picky", "host": "picky.test"});
        configuration["targets"][kind] = json!({"provider": kind, "model": "m", "key": {"value": "sk-own"}});
        configuration["models"][kind] = json!({"tiers": [[kind], ["spare"]]});
    }
    configuration["models"]["lone"] = json!({"targets": ["openai"]});
    Gateway::new(Shape::Loop).plugin(&configuration).start_with(["picky", "spare"]).await
}

async fn ask(scene: &Scene<2>, model: &str) -> Read {
    Request::chat(model, false).ask(scene.port()).await
}

fn error(status: u16, message: &str, param: Value, code: Value) -> Script {
    let error = json!({"message": message, "type": "invalid_request_error", "param": param, "code": code});
    Script::status(status).json(json!({ "error": error }))
}

fn refusals() -> Vec<(&'static str, Script, &'static str)> {
    let plain = |status, message: &str| error(status, message, Value::Null, Value::Null);
    let anthropic = json!({"type": "error",
        "error": {"type": "rate_limit_error", "message": "Extra usage is required for long context requests."}});
    vec![
        (
            "openrouter",
            plain(
                402,
                "This request requires more credits, or fewer max_tokens. You requested up to 64000 tokens, but can only afford 2666.",
            ),
            "unsuitable",
        ),
        (
            "openrouter",
            plain(402, "This request requires more credits, or fewer max_tokens. You can only afford 2666.")
                .header("retry-after", "30"),
            "unsuitable",
        ),
        ("openrouter", plain(404, "No endpoints found that support tool use."), "unsuitable"),
        ("openrouter", plain(404, "No endpoints found matching your data policy."), "unsuitable"),
        (
            "openrouter",
            plain(503, "There is no available model provider that meets your routing requirements"),
            "unsuitable",
        ),
        ("anthropic", Script::status(429).json(anthropic), "unsuitable"),
        (
            "openai",
            error(
                404,
                "This is a chat model and not supported in the v1/completions endpoint.",
                json!("model"),
                Value::Null,
            ),
            "unsuitable",
        ),
        (
            "openai",
            error(
                401,
                "OpenAI-Organization header should match organization for API key",
                Value::Null,
                json!("mismatched_organization"),
            ),
            "unsuitable",
        ),
        ("openai", plain(424, "Error retrieving tool list from MCP server: 'x'."), "unsuitable"),
        (
            "openai",
            plain(429, "Request too large for m on tokens per min (TPM): Limit 30, Requested 43."),
            "unsuitable",
        ),
        ("openai", plain(404, "Item with id 'rs_68a0c0ffee' not found."), "state_not_found"),
        ("openai", plain(404, "Prompt with id 'pmpt_68a0c0ffee' not found."), "state_not_found"),
        ("openai", plain(404, "Container with id 'cntr_68a0c0ffee' not found."), "state_not_found"),
        (
            "openai",
            error(
                400,
                "The encrypted content could not be verified.",
                Value::Null,
                json!("invalid_encrypted_content"),
            ),
            "state_not_found",
        ),
        (
            "openai",
            error(
                409,
                "Another process is operating on this conversation.",
                Value::Null,
                json!("conversation_locked"),
            ),
            "conflict",
        ),
        (
            "openai-compatible",
            plain(400, "registry.ollama.ai/library/gemma:2b does not support tools"),
            "unsuitable",
        ),
    ]
}

#[tokio::test]
async fn another_target_serves_what_one_refuses_and_nobody_is_blamed() {
    let scene = start(&["openai", "openrouter", "anthropic", "openai-compatible"]).await;
    let [picky, spare] = &scene.providers;
    for (kind, script, class) in refusals() {
        let what = format!("{kind} {script:?}");
        let (asked, helped) = (picky.received().len(), spare.received().len());
        for _ in 0..TIMES {
            picky.script(script.clone());
            let read = ask(&scene, kind).await;
            assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("spare")), "{what}");
            assert_eq!(read.header("x-llm-fallback"), Some(class), "{what}");
        }
        assert_eq!(picky.received().len(), asked + TIMES, "it was asked each time: {what}");
        assert_eq!(spare.received().len(), helped + TIMES, "{what}");
        // It still serves every other request.
        let read = ask(&scene, kind).await;
        assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some(kind)), "{what}");
    }
    scene.envoy.expect_count("breaker_opened", 0).await;
    scene.envoy.expect_count("breaker_throttled", 0).await;
}

#[tokio::test]
async fn a_conflict_passes_by_itself_at_the_only_target() {
    let scene = start(&["openai"]).await;
    let [picky, _] = &scene.providers;
    picky.script(error(409, "In use.", Value::Null, json!("conversation_locked")));
    let read = ask(&scene, "lone").await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-attempts")), (200, Some("2")), "{}", read.text());
}

#[tokio::test]
async fn the_client_gets_the_refusal_if_nobody_else_can_serve_it() {
    let scene = start(&["openai"]).await;
    let [picky, _] = &scene.providers;
    picky.script(error(404, "Item with id 'rs_68a0c0ffee' not found.", json!("input"), Value::Null));
    let read = ask(&scene, "lone").await;
    assert_eq!(read.status, 404);
    assert!(read.text().contains("rs_68a0c0ffee"), "{}", read.text());
    assert_eq!(picky.received().len(), 1);
}

/// A client's organisation does not go with the operator's key; the operator's own does.
#[tokio::test]
async fn a_client_s_organisation_and_project_never_go_with_an_operator_s_key() {
    let configuration = json!({
        "providers": {
            "plain": {"kind": "openai", "cluster": "plain", "host": "plain.test"},
            "own": {"kind": "openai", "cluster": "own", "host": "own.test", "headers": {"OpenAI-Organization": "org-operator"}},
        },
        "targets": {
            "plain": {"provider": "plain", "model": "m", "key": {"value": "sk-own"}},
            "own": {"provider": "own", "model": "m", "key": {"value": "sk-own"}},
            "keyless": {"provider": "plain", "model": "m"},
        },
        "models": {"plain": {"targets": ["plain"]}, "own": {"targets": ["own"]}, "keyless": {"targets": ["keyless"]}},
    });
    let scene = Gateway::new(Shape::Loop).plugin(&configuration).start_with(["plain", "own"]).await;
    let [plain, own] = &scene.providers;
    for (model, provider, organization, project) in [
        ("plain", plain, None, None),
        ("own", own, Some("org-operator"), None),
        // Without a key of its own, the target is called with the client's key, and whose it is.
        ("keyless", plain, Some("org-client"), Some("proj-client")),
    ] {
        let before = provider.received().len();
        let read = Request::chat(model, false)
            .header("authorization", "Bearer sk-client")
            .header("openai-organization", "org-client")
            .header("openai-project", "proj-client")
            .ask(scene.port())
            .await;
        assert_eq!(read.status, 200, "{model}: {}", read.text());
        let received = &provider.received()[before];
        let seen = (received.header("openai-organization"), received.header("openai-project"));
        assert_eq!(seen, (organization, project), "{model}");
    }
}
