//! Endpoints that generate no text: counting tokens, moderations, rerank, images and speech.

use integration_tests::client::Request;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Event, Script, errors};
use integration_tests::scene::Scene;
use integration_tests::sha256;
use serde_json::{Value, json};

const SPEECH: &str = "/v1/audio/speech";
const IMAGES: &str = "/v1/images/generations";
const COUNT: &str = "/v1/messages/count_tokens";

/// Two targets for the model `any`, and one for `lone`.
async fn start(shape: Shape, more: &Value) -> Scene<2> {
    let mut configuration = json!({
        "providers": {"first": compatible("first"), "spare": compatible("spare")},
        "targets": {
            "first": {"provider": "first", "model": "first-model", "key": {"value": "sk-first"}},
            "spare": {"provider": "spare", "model": "spare-model", "key": {"value": "sk-spare"}},
        },
        "models": {
            "any": {"tiers": [["first"], ["spare"]]},
            "lone": {"targets": ["first"], "retry": {"attempts": 1}},
        },
    });
    for (name, value) in more.as_object().unwrap() {
        configuration[name] = value.clone();
    }
    Gateway::new(shape).plugin(&configuration).start_with(["first", "spare"]).await
}

fn body(path: &str, model: &str) -> Value {
    match path {
        COUNT => json!({"model": model, "messages": [{"role": "user", "content": "hello"}]}),
        IMAGES => json!({"model": model, "prompt": "a fox", "n": 2, "response_format": "b64_json"}),
        SPEECH => json!({"model": model, "input": "hello", "voice": "alloy", "response_format": "mp3"}),
        "/v1/moderations" => json!({"model": model, "input": ["hello", "world"]}),
        _ => json!({"model": model, "query": "capital", "documents": ["Paris", "Berlin"], "top_n": 1}),
    }
}

fn ask(path: &str, model: &str) -> Request {
    Request::post(path).json(&body(path, model))
}

/// A recording whose bytes are neither text nor JSON.
fn recording() -> Script {
    let mut bytes = b"ID3\x04\x00\x00".to_vec();
    bytes.extend((0..200_000_u32).map(|at| (at % 251) as u8));
    Script::usual().bytes(bytes).header("content-type", "audio/mpeg")
}

#[tokio::test]
async fn every_endpoint_moves_to_another_target_and_gets_its_own_model_there() {
    for shape in [Shape::Loop, Shape::Single] {
        let scene = start(shape, &json!({"mode": "shadow"})).await;
        let [first, spare] = &scene.providers;
        spare.by_default(Script::usual());
        for path in [COUNT, "/v1/moderations", "/v1/rerank", "/v2/rerank", IMAGES] {
            let read = ask(path, "any").ask(scene.port()).await;
            assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("first")), "{path}");
            let received = first.received().last().unwrap().clone();
            assert_eq!(received.json()["model"], "first-model", "{path}");
            assert_eq!(received.path, path.replace("/v2/", "/v1/"));
            if shape == Shape::Single {
                continue;
            }
            // An error, and a success without an answer.
            for script in [errors::openai_500(), Script::usual().json(json!({"choices": []}))] {
                first.script(script);
                let read = ask(path, "any").ask(scene.port()).await;
                let got = (read.status.as_u16(), read.header("x-llm-target"), read.header("x-llm-attempts"));
                assert_eq!(got, (200, Some("spare"), Some("2")), "{path}: {}", read.text());
                assert_eq!(spare.received().last().unwrap().json()["model"], "spare-model", "{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_recording_passes_untouched_and_what_is_none_moves_on() {
    let scene = start(Shape::Loop, &json!({"mode": "shadow"})).await;
    let [first, spare] = &scene.providers;
    spare.by_default(recording());
    let expected = recording();
    first.script(expected.clone());
    let read = ask(SPEECH, "any").ask(scene.port()).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("first")));
    assert_eq!(read.header("content-type"), Some("audio/mpeg"));
    assert_eq!(read.bytes().len(), 200_006);
    assert!(read.bytes().starts_with(b"ID3\x04\x00\x00\x00\x01\x02"));
    let failures = [
        errors::openai_500(),
        Script::usual().json(json!({"error": {"message": "busy", "type": "server_error"}})),
        Script::usual().bytes("<html>log in</html>").header("content-type", "text/html"),
        Script::usual().bytes("").header("content-type", "audio/mpeg"),
    ];
    for script in failures {
        first.script(script.clone());
        let read = ask(SPEECH, "any").ask(scene.port()).await;
        let got = (read.status.as_u16(), read.header("x-llm-target"), read.bytes().len());
        assert_eq!(got, (200, Some("spare"), 200_006), "{script:?}");
    }
    scene.envoy.expect_count("answers_unread", 0).await;
}

#[tokio::test]
async fn streams_of_images_and_speech_are_held_until_their_first_part() {
    let scene = start(Shape::Loop, &json!({"mode": "shadow"})).await;
    let [first, spare] = &scene.providers;
    let part = || {
        Event::named(
            "image_generation.partial_image",
            r#"{"type":"image_generation.partial_image","b64_json":"iVBO"}"#,
        )
    };
    let last = || {
        Event::named(
            "image_generation.completed",
            r#"{"type":"image_generation.completed","b64_json":"iVBORw==","usage":{"input_tokens":5,"output_tokens":60}}"#,
        )
    };
    let failed =
        || Event::named("error", r#"{"type":"error","error":{"message":"busy","code":"server_error"}}"#);
    let mut body = body(IMAGES, "any");
    body["stream"] = json!(true);
    body["n"] = json!(1);
    first.script(Script::stream([failed()]));
    spare.script(Script::stream([part(), last()]));
    let read = Request::post(IMAGES).json(&body).ask(scene.port()).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("spare")), "{}", read.text());
    assert_eq!(read.data().len(), 2);
    // A stream that ends before its last event does not look complete.
    first.script(Script::stream([part()]));
    let read = Request::post(IMAGES).json(&body).ask(scene.port()).await;
    assert_eq!(read.header("x-llm-target"), Some("first"));
    assert!(read.data().last().unwrap().contains("stream_truncated"), "{}", read.text());
}

#[tokio::test]
async fn a_failing_endpoint_leaves_the_others_of_its_target_alone() {
    let scene = start(Shape::Loop, &json!({})).await;
    let [first, _] = &scene.providers;
    first.by_default(errors::openai_500());
    for _ in 0..5 {
        assert!(ask(COUNT, "lone").ask(scene.port()).await.status.is_server_error());
    }
    scene.envoy.expect_count("breaker_opened", 1).await;
    first.by_default(Script::usual());
    let refused = ask(COUNT, "lone").ask(scene.port()).await;
    assert_eq!((refused.status.as_u16(), refused.header("x-llm-reason")), (503, Some("all_targets_open")));
    assert_eq!(refused.json()["type"], "error", "an error in the dialect of Anthropic's clients");
    for path in ["/v1/moderations", "/v1/rerank", IMAGES] {
        assert_eq!(ask(path, "lone").ask(scene.port()).await.status, 200, "{path}");
    }
    assert_eq!(scene.envoy.ask(Request::chat("lone", false)).await.status, 200);
}

#[tokio::test]
async fn keys_budgets_and_records_hold_at_every_endpoint() {
    let keys = json!({
        "team": {"sha256": sha256("team"), "models": ["any"], "budget": {"tokens_per_day": 100}},
    });
    let scene = start(Shape::Loop, &json!({"keys": keys})).await;
    let [first, _] = &scene.providers;
    let by = |key: &str, path: &str, model: &str| {
        ask(path, model).header("authorization", &format!("Bearer {key}")).ask(scene.port())
    };
    for path in [COUNT, "/v1/moderations", "/v1/rerank", "/v2/rerank", IMAGES, SPEECH] {
        assert_eq!(by("other", path, "any").await.status, 401, "{path}");
        assert_eq!(by("team", path, "lone").await.status, 404, "{path}");
        assert_eq!(Request::get(path).ask(scene.port()).await.status, 405, "{path}");
    }
    assert!(first.received().is_empty());
    // Tokens are counted for nothing, however often.
    for _ in 0..3 {
        let read = by("team", COUNT, "any").await;
        assert_eq!((read.status.as_u16(), &read.json()["input_tokens"]), (200, &json!(12)));
    }
    // An image costs what its answer says.
    let usage = json!({"input_tokens": 10, "output_tokens": 1000, "total_tokens": 1010});
    first.script(Script::usual().json(json!({"data": [{"b64_json": "x"}], "usage": usage})));
    assert_eq!(by("team", IMAGES, "any").await.status, 200);
    let refused = by("team", IMAGES, "any").await;
    assert_eq!((refused.status.as_u16(), refused.header("x-llm-reason")), (429, Some("budget_exhausted")));
}
