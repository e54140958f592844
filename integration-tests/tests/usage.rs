//! The tokens that providers report are read from whatever they answer, and counted once.

#[expect(dead_code, reason = "other scenarios use the rest of the scene")]
mod scene;

use integration_tests::client::Protocol;
use integration_tests::envoy::Envoy;
use integration_tests::provider::Script;
use scene::{Ask, Scene, chat, messages};
use serde_json::json;

async fn tokens(envoy: &Envoy, kind: &str) -> u64 {
    envoy.stat(&format!("wasmcustom.llm_failsafe_{kind}")).await.unwrap_or_default()
}

/// The endpoints, each with the model that is asked there.
fn asks() -> Vec<Ask> {
    let responses = Ask { path: "/v1/responses", ..chat("openai") };
    vec![chat("openai"), chat("mistral"), responses, messages()]
}

#[tokio::test]
async fn every_dialects_tokens_are_counted_plain_and_streamed() {
    let scene = Scene::start(&json!({})).await;
    let (mut input, mut output) = (0, 0);
    for ask in asks() {
        // A chat stream tells its usage only to whom asks for it; that is another scenario.
        let forms = if ask.path.ends_with("/completions") { vec![ask] } else { vec![ask, ask.streamed()] };
        for ask in forms {
            // Once so small that all of it is held, once far too large for that.
            for words in [3, 20_000] {
                let script = Script::usual().content_chunks(words).tokens(1000 + words as u64, 7);
                scene.first.script(if ask.stream { script } else { script.split(5000) });
                let read = ask.send(scene.envoy.port(), Protocol::Http1).await;
                assert!(read.error.is_none() && read.status == 200, "{ask:?}");
                input += 1000 + words as u64;
                output += 7;
                let name = "wasmcustom.llm_failsafe_tokens_input";
                scene.envoy.wait_for_stat(name, |count| count >= input).await;
                let counted =
                    (tokens(&scene.envoy, "tokens_input").await, tokens(&scene.envoy, "tokens_output").await);
                assert_eq!(counted, (input, output), "{ask:?} of {words} words");
            }
        }
    }
    assert_eq!(tokens(&scene.envoy, "usage_missing").await, 0);
}

#[tokio::test]
async fn an_answer_that_does_not_say_what_it_took_is_counted_as_such() {
    let scene = Scene::start(&json!({})).await;
    let silent = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]});
    scene.first.script(Script::usual().json(silent));
    let read = chat("openai").send(scene.envoy.port(), Protocol::Http1).await;
    assert_eq!(read.status, 200);
    scene.envoy.wait_for_stat("wasmcustom.llm_failsafe_usage_missing", |count| count == 1).await;
    assert_eq!(tokens(&scene.envoy, "tokens_input").await, 0);
}
