//! The configuration: both forms of it, reports of all mistakes at once, updates at run time, and the shipped files.

use std::process::Command;
use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::Request;
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, PROVIDER_KEYS, Shape};
use integration_tests::paths;
use integration_tests::provider::{Script, ScriptedProvider};
use serde_json::{Value, json};

/// The shipped loop with two providers: `gpt-a` and `gpt-b` at one, `haiku` at the other.
fn gateway(a: &ScriptedProvider, b: &ScriptedProvider) -> Gateway {
    Gateway::new(Shape::Loop).provider("openai", a.port()).provider("anthropic", b.port())
}

#[tokio::test]
async fn a_struct_and_a_json_string_configure_the_same() {
    let a = ScriptedProvider::start("alpha").await;
    let written = gateway(&a, &a).configure(&json!({
        "limits": {"max_journeys": 10, "max_body": "1MiB"},
        "targets": {"gpt-a": {"weight": 3.0}},
        "breaker": {"failure_ratio": 0.75},
        "models": {"chat": {"targets": ["gpt-a"], "tiers": null, "fallback": {"on": []}}},
    }));
    for gateway in [written.clone(), written.as_json_string()] {
        let envoy = gateway.start().await;
        let answer = Request::chat("chat", false).send(envoy.port()).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("x-llm-target")), (200, Some("gpt-a")));
        let models = Request::get("/v1/models").send(envoy.port()).await.unwrap().json().await;
        assert_eq!(models["data"].as_array().unwrap().len(), 1);
    }
    assert_eq!(a.received()[0].header("authorization"), Some("Bearer sk-openai-a-secret"));
    assert_eq!(a.received().len(), 2);
}

#[tokio::test]
async fn envoy_does_not_start_with_mistakes_and_logs_them_all_without_secrets() {
    let a = ScriptedProvider::start("alpha").await;
    let wrong = json!({
        "providers": {"mistral": {"kind": "mistrol"}},
        "accounts": {
            "openai-b": {"key": {"env": "OPENAI_KEY_C"}},
            "claude": {"key": {"env": null, "value": "sk-with a-blank-secret"}},
        },
        "targets": {"gpt-a": {"weight": 0, "wieght": 2}},
        "models": {"chat": {"tiers": [["gpt-a", "gpt-c"]], "retry": {"attempts": 99}}},
        "keys": {"team": {"sha256": "secret-in-the-wrong-place"}},
        "limits": {"max_body": "32"},
    });
    let expected = [
        "accounts.claude.key.value: ",
        "accounts.openai-b.key.env: environment variable `OPENAI_KEY_C` is unset",
        "keys.team.sha256: ",
        "limits.max_body: `32` is not a size",
        "models.chat.retry.attempts: is 99, expected 1 to 10",
        "models.chat.tiers[0][1]: no target is called `gpt-c`, did you mean `gpt-a`?",
        "providers.mistral.kind: `mistrol` is not a provider kind, did you mean `mistral`?",
        "targets.gpt-a.weight: is 0",
        "targets.gpt-a.wieght: unknown field `wieght`, did you mean `weight`?",
    ];
    let written = gateway(&a, &a).configure(&wrong);
    for gateway in [written.clone(), written.as_json_string()] {
        let log = Envoy::expect_start_failure(gateway.to_config()).await;
        for mistake in expected {
            assert!(log.contains(mistake), "{mistake:?} is not reported:\n{log}");
        }
        assert!(log.contains("the configuration has 9 mistakes"), "{log}");
        let secrets = PROVIDER_KEYS.map(|(_, key)| key);
        for secret in secrets.iter().chain(&["a-blank-secret", "secret-in-the-wrong-place"]) {
            assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        }
    }
}

#[tokio::test]
async fn a_value_that_is_no_configuration_is_refused() {
    for nothing in [json!({}), json!("providers"), json!({"providers": [], "models": "chat"})] {
        let gateway = Gateway::new(Shape::Single).plugin(&nothing).as_json_string();
        let log = Envoy::expect_start_failure(gateway.to_config()).await;
        assert!(log.contains("llm-failsafe: the configuration has "), "{log}");
    }
}

/// Waits until a request for `model` is served.
async fn wait_until_served(envoy: &Envoy, model: &str) {
    let started = Instant::now();
    loop {
        let answer = Request::chat(model, false).send(envoy.port()).await.unwrap();
        if answer.status == 200 {
            return;
        }
        assert!(started.elapsed() < SOON, "{model} still gets {}", answer.status);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn models(names: &[&str]) -> Value {
    let mut all = json!({"chat": null});
    for name in names {
        all[name] = json!({"tiers": [["gpt-a"], ["haiku"]]});
    }
    json!({"models": all})
}

#[tokio::test]
async fn a_valid_update_replaces_the_configuration_and_an_invalid_one_changes_nothing() {
    let a = ScriptedProvider::start("alpha").await;
    let old = gateway(&a, &a).configure(&models(&["old"])).reloadable();
    let envoy = old.start().await;
    wait_until_served(&envoy, "old").await;
    let rejected = envoy.stat("listener_manager.lds.update_rejected").await.unwrap();

    let wrong = old.clone().configure(&json!({"models": {"new": {"tiers": [["nobody"]]}}}));
    wrong.update(&envoy);
    envoy.wait_for_stat("listener_manager.lds.update_rejected", |count| count > rejected).await;
    envoy.wait_for_log("models.new.tiers[0][0]: no target is called `nobody`").await;
    wait_until_served(&envoy, "old").await;

    old.configure(&models(&["new"])).configure(&json!({"models": {"old": null}})).update(&envoy);
    wait_until_served(&envoy, "new").await;
    let answer = Request::chat("old", false).send(envoy.port()).await.unwrap();
    assert_eq!(answer.status, 404, "the old model is gone");
}

#[tokio::test]
async fn a_stream_and_a_failover_survive_an_update() {
    let mut a = ScriptedProvider::start("alpha").await;
    let b = ScriptedProvider::start("beta").await;
    let old = gateway(&a, &b).configure(&models(&["old"])).reloadable();
    let envoy = old.start().await;

    // One request streams slowly. Another waits for its first response.
    b.script(Script::usual().content_chunks(40).delay_chunks(Duration::from_millis(50)));
    a.script(Script::status(500)).script(Script::hang());
    let mut stream = Request::chat("old", true).send(envoy.port()).await.unwrap();
    let first = stream.next_chunk().await.unwrap().unwrap();
    let port = envoy.port();
    let waiting = tokio::spawn(async move { Request::chat("old", false).send(port).await });
    a.wait_for(2, SOON).await;

    old.configure(&models(&["new"])).configure(&json!({"models": {"old": null}})).update(&envoy);
    wait_until_served(&envoy, "new").await;
    let updated_at = Instant::now();
    a.stop().await;

    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(answer.status, 200, "the second attempt came after the update");
    assert_eq!(answer.header("x-llm-target"), Some("haiku"));
    assert_eq!(answer.header("x-llm-attempts"), Some("2"));
    assert_eq!(answer.header("x-llm-fallback"), Some("transport"));
    let rest = stream.read().await;
    assert!(rest.error.is_none() && rest.ended_at > updated_at, "{:?}", rest.error);
    let text = String::from_utf8_lossy(&first.bytes).into_owned() + &rest.text();
    assert!(text.ends_with("data: [DONE]\n\n") && text.matches("\"content\":").count() >= 40, "{text}");
}

#[test]
fn the_shipped_files_are_valid_once_the_keys_are_set() {
    for file in ["envoy/envoy.yaml", "envoy/single.yaml"] {
        for keys in [true, false] {
            let mut envoy = Command::new(paths::envoy());
            // The files name the module by its path from the root.
            envoy.current_dir(paths::root()).args(["--mode", "validate", "-c", file]);
            if keys {
                envoy.envs(PROVIDER_KEYS);
            }
            let said = envoy.output().unwrap();
            let log =
                String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
            assert_eq!(said.status.success(), keys, "{file}\n{log}");
        }
    }
}
