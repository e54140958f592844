//! Requests that crash every server they are sent to, and one client that fails alone: neither opens the breakers of targets
//! that serve everybody else. Real outages open them as quickly as ever. Two workers.

use integration_tests::client::{Read, Request};
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Script, ScriptedProvider, errors};
use integration_tests::scene::Scene;
use integration_tests::sha256;
use serde_json::{Value, json};

const NAMES: [&str; 3] = ["one", "two", "three"];
/// Failures in a row that open a breaker, as configured by default.
const RUN: usize = 5;

/// Three targets behind the model `chat`, and a model for each of them alone.
async fn start(more: &Value) -> Scene<3> {
    let mut configuration = json!({
        "providers": {}, "targets": {},
        "models": {"chat": {"tiers": NAMES.map(|name| [name])}},
        "breaker": {"open": "60s"},
    });
    for name in NAMES {
        configuration["providers"][name] = compatible(name);
        configuration["targets"][name] = json!({"provider": name, "model": name, "key": {"value": "sk-x"}});
        configuration["models"][name] = json!({"targets": [name], "retry": {"attempts": 1}});
    }
    for (name, value) in more.as_object().unwrap() {
        configuration[name] = value.clone();
    }
    Gateway::new(Shape::Loop).plugin(&configuration).concurrency(2).start_with(NAMES).await
}

fn keys() -> Value {
    json!({"keys": {"poisoner": {"sha256": sha256("poisoner")}, "other": {"sha256": sha256("other")}}})
}

fn by(key: &str, model: &str) -> Request {
    Request::chat(model, false).header("authorization", &format!("Bearer {key}"))
}

fn all_answer(providers: &[ScriptedProvider; 3], script: &Script) {
    for provider in providers {
        provider.by_default(script.clone());
    }
}

async fn ask_each(scene: &Scene<3>, key: &str) {
    for name in NAMES {
        let read = scene.envoy.ask(by(key, name)).await;
        assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some(name)));
    }
}

fn served_by(read: &Read) -> (u16, Option<&str>, Option<&str>) {
    (read.status.as_u16(), read.header("x-llm-target"), read.header("x-llm-attempts"))
}

#[tokio::test]
async fn one_client_with_a_request_that_crashes_every_server_takes_no_target_from_the_others() {
    let scene = start(&keys()).await;
    ask_each(&scene, "other").await;
    all_answer(&scene.providers, &errors::openai_500());
    for _ in 0..4 * RUN {
        assert_eq!(
            served_by(&scene.envoy.ask(by("poisoner", "chat")).await),
            (500, Some("three"), Some("3"))
        );
    }
    // Enough failures for every breaker, and all of one key.
    all_answer(&scene.providers, &Script::usual());
    ask_each(&scene, "other").await;
    assert!(scene.envoy.count("breaker_held").await > 0);
    scene.envoy.expect_count("breaker_opened", 0).await;

    // A second key with the same trouble is a second witness.
    all_answer(&scene.providers, &errors::openai_500());
    for key in ["poisoner", "other"].into_iter().cycle().take(4 * RUN) {
        scene.envoy.ask(by(key, "chat")).await;
    }
    scene.envoy.expect_count("breaker_opened", 3).await;
}

#[tokio::test]
async fn a_key_that_fails_alone_opens_a_breaker_if_nobody_else_was_served() {
    let scene = start(&keys()).await;
    // Successes of the same key prove nothing: its other requests may be fine.
    ask_each(&scene, "poisoner").await;
    all_answer(&scene.providers, &errors::openai_500());
    for _ in 0..RUN {
        scene.envoy.ask(by("poisoner", "one")).await;
    }
    scene.envoy.expect_count("breaker_opened", 1).await;
    assert_eq!(scene.envoy.ask(by("other", "one")).await.status, 503);
}

#[tokio::test]
async fn how_much_a_failure_counts_depends_on_the_other_attempts() {
    // Each case has targets of its own behind the same three providers.
    let cases = ["everywhere", "differently", "plain", "streamed", "twice"];
    let mut more = json!({"targets": {}, "models": {}});
    for case in cases {
        let targets = NAMES.map(|name| format!("{case}-{name}"));
        for (target, name) in targets.iter().zip(NAMES) {
            more["targets"][target] = json!({"provider": name, "model": target, "key": {"value": "sk-x"}});
        }
        more["models"][case] = json!({"tiers": targets.map(|target| [target])});
    }
    let twice = json!({"targets": ["twice-one"], "retry": {"attempts": 2, "attempts_per_target": 2}});
    more["models"]["twice"] = twice;
    let scene = start(&more).await;
    let (crash, overload, good) = (errors::openai_500(), errors::openai_503(), Script::usual());

    let mut opened = 0;
    for (case, scripts, requests, opens) in [
        ("everywhere", [&crash, &crash, &crash], 2 * RUN, 3),
        ("differently", [&crash, &overload, &crash], RUN, 3),
        ("plain", [&crash, &good, &good], RUN, 1),
        ("streamed", [&crash, &crash, &good], RUN, 2),
        // One request is one witness, however often it asks.
        ("twice", [&crash, &good, &good], RUN, 1),
    ] {
        for (provider, script) in scene.providers.iter().zip(scripts) {
            provider.by_default(script.clone());
        }
        let ask = || scene.envoy.ask(Request::chat(case, case == "streamed"));
        for _ in 0..requests - 1 {
            ask().await;
        }
        scene.envoy.expect_count("breaker_opened", opened).await;
        ask().await;
        opened += opens;
        scene.envoy.expect_count("breaker_opened", opened).await;
    }
}

#[tokio::test]
async fn failing_embeddings_leave_chat_alone() {
    let operator = json!({"keys": {"anna": {"sha256": sha256("anna")}}});
    let scene = start(&json!({"operator": operator})).await;
    let embed = || Request::post("/v1/embeddings").json(&json!({"model": "one", "input": "x"}));
    // An error is the target's, a reset before any response is the endpoint's.
    for (opened, script) in [(1, errors::openai_500()), (2, Script::reset())] {
        scene.providers[0].by_default(script);
        let model = if opened == 1 { "one" } else { "two" };
        scene.providers[1].by_default(Script::reset());
        for _ in 0..RUN {
            let input = json!({"model": model, "input": "x"});
            let read = scene.envoy.ask(Request::post("/v1/embeddings").json(&input)).await;
            assert!(read.status.is_server_error(), "{}", read.status);
        }
        scene.envoy.expect_count("breaker_opened", opened).await;
        all_answer(&scene.providers, &Script::usual());
        let read = scene.envoy.ask(Request::chat("chat", false)).await;
        assert_eq!(served_by(&read), (200, Some("one"), Some("1")));
        assert_eq!(scene.envoy.ask(Request::chat(model, false)).await.status, 200);
    }
    let refused = scene.envoy.ask(embed()).await;
    assert_eq!((refused.status.as_u16(), refused.header("x-llm-reason")), (503, Some("all_targets_open")));

    // Operators see the breaker that is in trouble, and their orders reach both.
    let status = || Request::get("/llm-failsafe/status").header("authorization", "Bearer anna");
    let one = scene.envoy.ask(status()).await.json()["targets"][0].clone();
    assert_eq!(
        (&one["state"], &one["family"], &one["fit"]),
        (&json!("open"), &json!("embeddings"), &json!(true))
    );
    let reset = Request::post("/llm-failsafe/targets/one/reset").header("authorization", "Bearer anna");
    assert_eq!(scene.envoy.ask(reset).await.status, 200);
    scene.envoy.until_every_worker(embed, |read| read.status == 200).await;

    // And the other way round: failing chat leaves embeddings alone.
    scene.providers[0].by_default(errors::openai_500());
    for _ in 0..RUN {
        scene.envoy.ask(Request::chat("one", false)).await;
    }
    scene.envoy.expect_count("breaker_opened", 3).await;
    scene.providers[0].by_default(Script::usual());
    assert_eq!(scene.envoy.ask(embed()).await.status, 200);
}
