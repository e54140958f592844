//! Vercel's AI SDK and LangChain, unmodified and with their default settings: whole conversations through the gateway, in
//! which every second turn fails at the first target.

use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::node;
use integration_tests::provider::tool_calls::{Api, tool_call};
use integration_tests::provider::{Script, errors};
use serde_json::{Value, json};

/// The clients, the API that each speaks, and whether it asks for structured output by a tool of this name.
const CLIENTS: [(&str, Api, Option<&str>); 5] = [
    ("vercel-chat", Api::Chat, None),
    ("vercel-responses", Api::Responses, None),
    ("vercel-anthropic", Api::Messages, Some("json")),
    ("langchain-js", Api::Chat, None),
    ("langchain-js-anthropic", Api::Messages, Some("place")),
];

/// What the first target answers in the steps of a conversation: `plain`, `second turn`, `stream`, `tool` (two turns),
/// `streamed tool` (two turns), `structured`.
fn first_targets_part(api: Api, structured_tool: Option<&str>) -> Vec<Script> {
    let oslo = json!({"city": "Oslo"});
    let [failure, overloaded, broken_stream] = match api {
        Api::Chat => [errors::openai_500(), errors::openai_503(), errors::openai_error_event()],
        Api::Responses => [errors::openai_500(), errors::openai_429(), errors::openai_response_failed()],
        Api::Messages => {
            [errors::anthropic_500(), errors::anthropic_529(), errors::anthropic_overloaded_event()]
        }
    };
    let structured = match structured_tool {
        Some(tool) => tool_call(api, false, tool, &oslo),
        None => Script::usual().say(&oslo.to_string()),
    };
    vec![
        Script::usual(),
        failure,
        broken_stream.clone(),
        tool_call(api, false, "weather", &oslo),
        overloaded,
        tool_call(api, true, "weather", &oslo),
        broken_stream,
        structured,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_of_vercels_sdk_and_langchain_survive_failovers() {
    let target = |name: &str| {
        let mut target = json!({"provider": name, "model": format!("m-{name}")});
        for capability in ["tools", "parallel_tools", "strict_tools", "json_object", "json_schema"] {
            target[capability] = json!(true);
        }
        target
    };
    let scene = Gateway::new(Shape::Loop)
        .plugin(&json!({
            "mode": "shadow",
            "retry_budget": {"ratio": 10},
            "providers": {"first": compatible("first"), "spare": compatible("spare")},
            "targets": {"first": target("first"), "spare": target("spare")},
            "models": {"chat": {"tiers": [["first"], ["spare"]]}},
        }))
        .start_with(["first", "spare"])
        .await;
    let [first, spare] = &scene.providers;
    for (_, api, structured_tool) in CLIENTS {
        for script in first_targets_part(api, structured_tool) {
            first.script(script);
        }
    }
    let names = CLIENTS.map(|(name, ..)| name);
    let base_url = format!("http://127.0.0.1:{}", scene.port());
    let Some(output) = node::run("conversation.mjs", &names, &[("BASE_URL", &base_url)]).await else {
        return;
    };
    let lines = output.expect_lines();
    let find = |client: &str, step: &str| -> &Value {
        let found = lines.iter().find(|line| line["client"] == client && line["step"] == step);
        found.unwrap_or_else(|| panic!("{client}: no line for {step}: {lines:#?}"))
    };
    for (client, api, _) in CLIENTS {
        assert_eq!(find(client, "plain")["text"], "hello from first");
        assert_eq!(find(client, "plain")["tokens"], 15, "{client}");
        for step in ["second turn", "stream", "tool", "streamed tool"] {
            assert_eq!(find(client, step)["text"], "hello from spare", "{client} {step}");
        }
        for step in ["tool", "streamed tool"] {
            assert_eq!(find(client, step)["results"], json!(["rain in Oslo"]), "{client} {step}");
        }
        if client.starts_with("vercel") {
            assert_eq!(find(client, "stream")["finish"], "stop", "{client} {api:?}");
        }
        assert_eq!(find(client, "structured")["text"], "Oslo", "{client}");
    }
    // The clients' own retries are on. If they had noticed a failure, there would be more requests.
    assert_eq!(scene.counts(), [8 * CLIENTS.len(), 4 * CLIENTS.len()]);
    // The target that took over has got the whole conversation, with the call that another target made and its result.
    for (index, (client, ..)) in CLIENTS.iter().enumerate() {
        for turn in [4 * index + 2, 4 * index + 3] {
            let body = spare.received()[turn].json().to_string();
            for part in ["weather in Oslo?", "weather", "rain in Oslo"] {
                assert!(body.contains(part), "{client}: {part} is missing in {body}");
            }
        }
    }
}
