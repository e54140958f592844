//! The kinds that are rows of one table: what reaches such a provider, and what its own errors lead to.

use integration_tests::client::Request;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{ReceivedRequest, Script, ScriptedProvider};
use integration_tests::records;
use integration_tests::scene::Scene;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const PROJECT: &str = "/v1/projects/p/locations/l/endpoints/openapi";

/// The providers of these tests, each with its cluster and the host that it must be called at.
fn providers() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("groq", json!({"kind": "groq"}), "api.groq.com"),
        ("deepseek", json!({"kind": "deepseek"}), "api.deepseek.com"),
        ("fireworks", json!({"kind": "fireworks"}), "api.fireworks.ai"),
        ("xai", json!({"kind": "xai"}), "api.x.ai"),
        ("cn", json!({"kind": "moonshot", "host": "api.moonshot.cn"}), "api.moonshot.cn"),
        ("bedrock", json!({"kind": "bedrock", "host": "bedrock.test"}), "bedrock.test"),
        ("vertex", json!({"kind": "vertex", "host": "vertex.test", "path_prefix": PROJECT}), "vertex.test"),
        ("ollama", json!({"kind": "ollama", "host": "ollama.test:11434"}), "ollama.test:11434"),
    ]
}

/// Each provider is the first choice of the model with its name. The second choice is Groq, and for Groq it is Fireworks. The
/// scripted provider `spare` is Fireworks, and `first` is all others.
async fn start(shape: Shape) -> Scene<2> {
    let mut configuration = json!({"providers": {}, "targets": {}, "models": {}});
    for (name, mut provider, _) in providers() {
        let substitute = if name == "groq" { "fireworks" } else { "groq" };
        provider["cluster"] = json!(if name == "fireworks" { "spare" } else { "first" });
        configuration["providers"][name] = provider;
        configuration["targets"][name] =
            json!({"provider": name, "key": {"value": format!("secret-of-{name}")}, "model": "real/model"});
        configuration["models"][name] = json!({"tiers": [[name], [substitute]]});
    }
    Gateway::new(shape).plugin(&configuration).start_with(["first", "spare"]).await
}

/// Sends this request, and returns what the provider has received.
async fn received(
    port: u16,
    provider: &ScriptedProvider,
    path: &str,
    body: &Value,
) -> (ReceivedRequest, String) {
    let before = provider.received().len();
    let request = Request::post(path)
        .json(body)
        .header("authorization", "Bearer client-secret")
        .header("x-grok-conv-id", "conversation");
    let read = request.ask(port).await;
    assert!(read.error.is_none() && read.status == 200, "{body}: {} {}", read.status, read.text());
    let mut all = provider.received();
    assert_eq!(all.len(), before + 1, "{body}");
    (all.pop().unwrap(), read.text())
}

#[tokio::test]
async fn a_provider_of_each_kind_gets_its_path_host_and_key() {
    for shape in [Shape::Loop, Shape::Single] {
        let scene = start(shape).await;
        let [first, spare] = &scene.providers;
        for (model, path, arrives_at) in [
            ("groq", CHAT, "/openai/v1/chat/completions"),
            ("groq", "/v1/responses", "/openai/v1/responses"),
            ("deepseek", CHAT, "/chat/completions"),
            ("fireworks", CHAT, "/inference/v1/chat/completions"),
            ("fireworks", "/v1/embeddings", "/inference/v1/embeddings"),
            ("fireworks", "/v1/messages", "/inference/v1/messages"),
            ("xai", CHAT, "/v1/chat/completions"),
            ("cn", CHAT, "/v1/chat/completions"),
            ("bedrock", CHAT, "/openai/v1/chat/completions"),
            ("vertex", CHAT, "/v1/projects/p/locations/l/endpoints/openapi/chat/completions"),
            ("ollama", CHAT, "/v1/chat/completions"),
        ] {
            let provider = if model == "fireworks" { spare } else { first };
            let body = json!({"model": model, "messages": [], "input": "hi", "max_tokens": 5});
            let (seen, _) = received(scene.port(), provider, path, &body).await;
            let (_, _, host) = providers().into_iter().find(|(name, ..)| *name == model).unwrap();
            let key = format!("Bearer secret-of-{model}");
            assert_eq!((seen.path.as_str(), seen.header("host")), (arrives_at, Some(host)), "{model}");
            assert_eq!(seen.header("authorization"), Some(key.as_str()), "{model}");
            assert_eq!(seen.json()["model"], "real/model");
            assert_eq!(seen.header("x-grok-conv-id").is_some(), model == "xai", "{model}");
        }
    }
}

#[tokio::test]
async fn streams_are_asked_for_usage_and_clients_do_not_see_it() {
    let scene = start(Shape::Loop).await;
    let [first, _] = &scene.providers;
    first.by_default(Script::usual().tokens(100, 7));
    for model in ["groq", "deepseek", "vertex", "ollama"] {
        let body = json!({"model": model, "messages": [], "stream": true});
        let (seen, text) = received(scene.port(), first, CHAT, &body).await;
        assert_eq!(seen.json()["stream_options"]["include_usage"], true, "{model}");
        assert!(text.contains("[DONE]") && !text.contains("\"choices\":[]"), "{model}: {text}");
    }
    for record in records::wait_for(&scene.envoy, 4).await {
        assert_eq!(record["attempts"][0]["gen_ai.usage.input_tokens"], 100, "{record:#}");
    }
}

#[tokio::test]
async fn a_vendors_own_error_has_its_class_and_the_next_target_answers() {
    let scene = start(Shape::Loop).await;
    let [first, spare] = &scene.providers;
    let error = |status: u16, body: Value| Script::status(status).json(body);
    let cases = [
        (
            "xai",
            "x_ai",
            error(
                400,
                json!({"code": "Client specified an invalid argument",
            "error": "Incorrect API key provided: sk***gA. You can obtain an API key from https://console.x.ai."}),
            ),
            "auth",
        ),
        (
            "deepseek",
            "deepseek",
            error(402, json!({"error": {"message": "Insufficient Balance"}})),
            "quota_exhausted",
        ),
        (
            "vertex",
            "gcp.vertex_ai",
            error(
                429,
                json!([{"error": {"code": 429, "message": "Resource exhausted.",
            "status": "RESOURCE_EXHAUSTED"}}]),
            ),
            "rate_limited",
        ),
        ("bedrock", "aws.bedrock", error(429, json!({"message": "Too many tokens"})), "rate_limited"),
        (
            "groq",
            "groq",
            Script::status(498).json(json!({"error": {"message": "Flex tier capacity exceeded."}})),
            "overloaded",
        ),
    ];
    for (index, (model, vendor, script, class)) in cases.into_iter().enumerate() {
        first.script(script);
        let read = Request::chat(model, false).ask(scene.port()).await;
        assert_eq!(read.status, 200, "{model}: {}", read.text());
        let record = records::wait_for(&scene.envoy, index + 1).await.remove(index);
        let attempt = &record["attempts"][0];
        assert_eq!(
            (&attempt["error.type"], &attempt["gen_ai.provider.name"]),
            (&json!(class), &json!(vendor))
        );
        assert_eq!(record["attempts"].as_array().unwrap().len(), 2, "{record:#}");
    }
    // Groq stood in for the other four, and Fireworks for Groq.
    assert_eq!(spare.received().len(), 1);
}

#[tokio::test]
async fn an_endpoint_that_a_vendor_does_not_have_is_not_asked_for() {
    let scene = start(Shape::Loop).await;
    let [first, spare] = &scene.providers;
    let body = json!({"model": "groq", "input": "hi"});
    let read = Request::post("/v1/embeddings").json(&body).ask(scene.port()).await;
    // Fireworks, the second choice, has it.
    assert_eq!(
        (read.status.as_u16(), first.received().len(), spare.received().len()),
        (200, 0, 1),
        "{}",
        read.text()
    );
    assert_eq!(spare.received()[0].path, "/inference/v1/embeddings");
    let body = json!({"model": "deepseek", "input": "hi"});
    let read = Request::post("/v1/embeddings").json(&body).ask(scene.port()).await;
    assert_eq!((read.status.as_u16(), scene.asked()), (400, 1), "{}", read.text());
    assert!(read.text().contains("dialect"), "{}", read.text());
}
