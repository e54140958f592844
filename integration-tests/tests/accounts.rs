//! Accounts that are suspended, unpaid, blocked or revoked, and models whose allowance is used up: the request goes elsewhere at
//! once, and exactly what cannot be used gets no more requests.

use integration_tests::client::{Read, Request};
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Event, Script, ScriptedProvider};
use integration_tests::scene::Scene;
use serde_json::{Value, json};

/// A chat completion for a model, and what answered it.
async fn ask(scene: &Scene<2>, model: &str, stream: bool) -> Read {
    Request::chat(model, stream).ask(scene.port()).await
}

fn answered_by(read: &Read) -> (u16, Option<&str>) {
    (read.status.as_u16(), read.header("x-llm-target"))
}

/// The account `dead` with two models, and `spare`. Each case has an Envoy of its own accounts, so that one does not hide another.
fn configuration(kinds: &[&str]) -> Value {
    let mut configuration = json!({
        "providers": {"spare": {"kind": "openai-compatible", "cluster": "spare", "host": "spare.test"}},
        "accounts": {"spare": {"provider": "spare", "key": {"value": "sk-spare"}}},
        "targets": {"spare": {"account": "spare", "model": "spare"}},
        "models": {},
        "retry_budget": {"ratio": 10},
    });
    for (case, kind) in kinds.iter().enumerate() {
        configuration["providers"][format!("p{case}")] =
            json!({"kind": kind, "cluster": "dead", "host": "dead.test"});
        configuration["accounts"][format!("a{case}")] =
            json!({"provider": format!("p{case}"), "key": {"value": "sk"}});
        for model in ["small", "large"] {
            let target = format!("{model}{case}");
            configuration["targets"][&target] = json!({"account": format!("a{case}"), "model": model});
            configuration["models"][&target] = json!({"tiers": [[target], ["spare"]]});
        }
    }
    configuration
}

/// What a provider answers for a dead account: its kind, the answer, and the class.
fn dead() -> Vec<(&'static str, Script, &'static str)> {
    let error = |status: u16, body: Value| Script::status(status).json(body);
    let anthropic = |status: u16, kind: &str, message: &str| {
        error(status, json!({"type": "error", "error": {"type": kind, "message": message}}))
    };
    let google = |reason: &str| {
        error(
            403,
            json!({"error": {"code": 403, "message": "Permission denied.", "status": "PERMISSION_DENIED",
            "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]}}),
        )
    };
    let other = "openai-compatible";
    vec![
        (
            "anthropic",
            anthropic(400, "invalid_request_error", "This organization has been disabled."),
            "auth",
        ),
        (
            "anthropic",
            anthropic(
                403,
                "permission_error",
                "OAuth authentication is currently not allowed for this organization.",
            ),
            "auth",
        ),
        ("gemini", google("CONSUMER_SUSPENDED"), "auth"),
        ("gemini", google("BILLING_DISABLED"), "quota_exhausted"),
        (
            other,
            error(403, json!({"error": {"message": "quota", "code": "insufficient_user_quota"}})),
            "quota_exhausted",
        ),
        (
            other,
            error(
                403,
                json!({"error": "Your team has either used all available credits or reached its monthly spending limit."}),
            ),
            "quota_exhausted",
        ),
        (other, Script::status(403).text("Access denied due to overdue account"), "quota_exhausted"),
        (other, error(412, json!({"error": {"message": "Account x is suspended"}})), "auth"),
        (other, Script::status(402).text(""), "quota_exhausted"),
        (
            other,
            error(429, json!({"error": {"type": "usage_limit_reached", "resets_in_seconds": 600}})),
            "quota_exhausted",
        ),
        (
            other,
            error(429, json!({"error": {"code": "1113", "message": "您的账户已欠费，请充值后重试。"}})),
            "quota_exhausted",
        ),
        (other, error(400, json!({"code": "Arrearage", "message": "Access denied"})), "quota_exhausted"),
        // An error under a 200, and one in a stream.
        (other, error(200, json!({"error": {"message": "Your account is suspended."}})), "auth"),
        (
            other,
            Script::stream([Event::data(json!({"error": {"message": "Your credits are used up."}}))]),
            "quota_exhausted",
        ),
        // Words that no table has.
        (
            other,
            error(403, json!({"error": {"message": "The workspace was terminated by its owner."}})),
            "auth",
        ),
    ]
}

#[tokio::test]
async fn a_dead_account_is_blocked_for_all_its_models_at_once() {
    let cases = dead();
    let kinds: Vec<_> = cases.iter().map(|(kind, ..)| *kind).collect();
    let gateway = Gateway::new(Shape::Loop).plugin(&configuration(&kinds));
    let scene: Scene<2> = gateway.start_with(["dead", "spare"]).await;
    let [dead, spare] = &scene.providers;
    for (case, (kind, script, class)) in cases.into_iter().enumerate() {
        let (asked, helped) = (dead.received().len(), spare.received().len());
        let streams = script.to_owned();
        dead.script(streams);
        let what = format!("{kind} {script:?}");
        let read = ask(&scene, &format!("small{case}"), case % 2 == 1 || script_streams(&script)).await;
        assert_eq!(answered_by(&read), (200, Some("spare")), "{what}: {}", read.text());
        assert_eq!(read.header("x-llm-fallback"), Some(class), "{what}");
        // The account's other model is not asked either.
        let read = ask(&scene, &format!("large{case}"), false).await;
        assert_eq!(answered_by(&read), (200, Some("spare")), "{what}: {}", read.text());
        assert_eq!(read.header("x-llm-fallback"), Some("blocked"), "{what}");
        assert_eq!((dead.received().len(), spare.received().len()), (asked + 1, helped + 2), "{what}");
    }
}

fn script_streams(script: &Script) -> bool {
    format!("{script:?}").contains("event-stream")
}

/// The client's text in an error, however it sounds, blocks nobody.
#[tokio::test]
async fn a_client_cannot_block_an_account() {
    let gateway = Gateway::new(Shape::Loop).plugin(&configuration(&["openai-compatible"]));
    let scene: Scene<2> = gateway.start_with(["dead", "spare"]).await;
    let [provider, _] = &scene.providers;
    for message in [
        "Invalid value: 'Your account is suspended'.",
        "messages.0.content: Insufficient balance",
        "Your prompt was flagged: this organization has been disabled",
    ] {
        for status in [400, 403] {
            let error = json!({"error": {"message": message, "type": "invalid_request_error"}});
            provider.script(Script::status(status).json(error));
            let read = ask(&scene, "small0", false).await;
            assert_eq!(read.status, status, "{message}: {}", read.text());
            let read = ask(&scene, "large0", false).await;
            assert_eq!(answered_by(&read), (200, Some("large0")), "{message}");
        }
    }
}

/// Two accounts with two models each; `a` and `b` are in one quota pool, `c` is not.
fn pool() -> Value {
    let mut configuration = json!({
        "providers": {"google": {"kind": "gemini", "cluster": "google", "host": "google.test"},
            "spare": {"kind": "openai-compatible", "cluster": "spare", "host": "spare.test"}},
        "accounts": {
            "a": {"provider": "google", "key": {"value": "sk-a"}, "quota_pool": "project"},
            "b": {"provider": "google", "key": {"value": "sk-b"}, "quota_pool": "project"},
            "c": {"provider": "google", "key": {"value": "sk-c"}},
        },
        "targets": {"spare": {"provider": "spare", "model": "spare"}},
        "models": {},
    });
    for account in ["a", "b", "c"] {
        for model in ["flash", "pro"] {
            let name = format!("{account}-{model}");
            configuration["targets"][&name] = json!({"account": account, "model": model});
            configuration["models"][&name] = json!({"tiers": [[name], ["spare"]]});
        }
    }
    configuration
}

fn used_up(quota: &str) -> Script {
    Script::status(429).json(json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED",
    "message": "You exceeded your current quota, please check your plan and billing details.",
    "details": [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"},
    ]}}))
}

async fn who(scene: &Scene<2>, model: &str) -> String {
    let read = ask(scene, model, false).await;
    assert_eq!(read.status, 200, "{}", read.text());
    read.header("x-llm-target").unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_daily_quota_of_a_model_rests_that_model_of_the_account_and_its_pool() {
    let scene: Scene<2> = Gateway::new(Shape::Loop).plugin(&pool()).start_with(["google", "spare"]).await;
    let [google, _] = &scene.providers;
    google.script(used_up("GenerateRequestsPerDayPerProjectPerModel-FreeTier"));
    let read = ask(&scene, "a-flash", false).await;
    assert_eq!(answered_by(&read), (200, Some("spare")), "{}", read.text());
    assert_eq!(read.header("x-llm-fallback"), Some("model_quota"));
    // Longer than the delay of two seconds that the provider gives for another limit.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(who(&scene, "a-flash").await, "spare", "it rests until the reset");
    assert_eq!(who(&scene, "a-pro").await, "a-pro", "the account's other model goes on");
    assert_eq!(who(&scene, "b-flash").await, "spare", "the pool shares the quota");
    assert_eq!(who(&scene, "b-pro").await, "b-pro");
    assert_eq!(who(&scene, "c-flash").await, "c-flash", "another project has a quota of its own");
}

#[tokio::test]
async fn a_daily_quota_of_a_project_blocks_the_account() {
    let scene: Scene<2> = Gateway::new(Shape::Loop).plugin(&pool()).start_with(["google", "spare"]).await;
    scene.providers[0].script(used_up("GenerateRequestsPerDayPerProject"));
    assert_eq!(who(&scene, "c-flash").await, "spare");
    assert_eq!(who(&scene, "c-pro").await, "spare", "all models of the account");
    assert_eq!(who(&scene, "a-flash").await, "a-flash");
}

/// Without another target the client is told the truth: the last error, and not to come back at once.
#[tokio::test]
async fn a_client_without_another_target_is_told_not_to_retry() {
    let mut configuration = pool();
    configuration["models"]["lone"] = json!({"targets": ["c-pro"]});
    let scene: Scene<2> =
        Gateway::new(Shape::Loop).plugin(&configuration).start_with(["google", "spare"]).await;
    let google: &ScriptedProvider = &scene.providers[0];
    google.script(used_up("GenerateRequestsPerDayPerProjectPerModel-FreeTier"));
    let read = ask(&scene, "lone", false).await;
    assert_eq!(read.status, 429, "{}", read.text());
    assert_eq!(read.header("x-should-retry"), Some("false"));
    let read = ask(&scene, "lone", false).await;
    assert_eq!(read.status, 429, "{}", read.text());
    assert_eq!(read.header("x-llm-reason"), Some("all_targets_throttled"));
    assert_eq!(google.received().len(), 1);
}
