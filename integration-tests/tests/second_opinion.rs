//! Envoy 1.40 has a translator of its own, which nobody here wrote. It is unfinished and marked as unstable, so nothing
//! depends on it. But where both translate, they must say the same. Each difference that is known has its reason here.

use integration_tests::client::Request;
use integration_tests::envoy::{Envoy, EnvoyConfig};
use integration_tests::provider::tool_calls::{Api, tool_call};
use integration_tests::provider::{Script, ScriptedProvider};
use llm_failsafe::translate::{
    AnswerTerms, ReasoningPolicy, RequestTerms, Translation, translate_answer, translate_request,
};
use serde_json::{Value, json};

const WAY: Translation = Translation::MessagesToChat;

/// An Envoy that translates from Messages to chat by itself.
async fn envoys_own(provider: &ScriptedProvider) -> Envoy {
    let of = "type.googleapis.com/envoy.extensions";
    let config = json!({
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {
            "listeners": [{
                "name": "main",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                "filter_chains": [{"filters": [{"name": "manager", "typed_config": {
                    "@type": format!("{of}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
                    "stat_prefix": "own",
                    "http_filters": [
                        {"name": "envoy.filters.http.ai_protocol_manager", "typed_config": {
                            "@type": format!("{of}.filters.http.ai_protocol_manager.v3.AiProtocolManager"),
                            "request_handling": { }, "response_handling": { },
                            "filters": [{"name": "envoy.http.ai_filters.transcoder", "typed_config": {
                                "@type": format!("{of}.http.ai_filters.transcoder.v3.Transcoder"),
                                "request_handling": "TO_IR", "response_handling": "FROM_IR"}}]}},
                        {"name": "envoy.filters.http.router",
                            "typed_config": {"@type": format!("{of}.filters.http.router.v3.Router")}}],
                    "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{
                        "match": {"prefix": "/"},
                        "route": {"cluster": "only", "prefix_rewrite": "/v1/chat/completions"},
                        "typed_per_filter_config": {"envoy.filters.http.ai_protocol_manager": {
                            "@type": format!("{of}.filters.http.ai_protocol_manager.v3.AiProtocolManagerPerRoute"),
                            "request": {"llm_protocol": "ANTHROPIC_MESSAGES"},
                            "response": {"llm_protocol": "OPENAI_CHAT_COMPLETIONS"}}}}]}]}}}]}]}],
            "clusters": [{"name": "only", "type": "STATIC", "load_assignment": {"cluster_name": "only", "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address":
                    {"socket_address": {"address": "127.0.0.1", "port_value": provider.port()}}}}]}]}}]}});
    Envoy::start(EnvoyConfig::from_text(serde_json::to_string_pretty(&config).unwrap())).await
}

/// Requests that both translate.
fn requests() -> Vec<Value> {
    let turn = json!([{"role": "user", "content": "Say hello."}]);
    let tool = json!([{"name": "weather", "description": "The weather", "input_schema": {"type": "object",
        "properties": {"city": {"type": "string"}}}}]);
    vec![
        json!({"model": "m", "max_tokens": 9, "messages": turn}),
        json!({"model": "m", "max_tokens": 9, "system": "Be brief.", "messages": turn}),
        json!({"model": "m", "max_tokens": 9, "messages": turn, "temperature": 0.5, "top_p": 0.9,
            "stop_sequences": ["END"]}),
        json!({"model": "m", "max_tokens": 9, "messages": [turn[0], {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "Again \"ü\"\n"}]}),
        json!({"model": "m", "max_tokens": 9, "messages": turn, "tools": tool}),
        json!({"model": "m", "max_tokens": 9, "messages": turn, "tools": tool, "tool_choice": {"type": "any"}}),
    ]
}

/// What ours is known to write in another way.
fn alike(mut chat: Value) -> Value {
    let members = chat.as_object_mut().unwrap();
    // Many compatible servers know only the older name. Both mean the same.
    if let Some(limit) = members.remove("max_completion_tokens") {
        members.insert("max_tokens".to_owned(), limit);
    }
    chat
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_translated_as_envoys_own_translator_does() {
    let provider = ScriptedProvider::start("only").await;
    let envoy = envoys_own(&provider).await;
    let terms = RequestTerms { model: "m", max_output_tokens: 100, reasoning: ReasoningPolicy::Drop };
    for (nth, body) in requests().into_iter().enumerate() {
        let answer = envoy.ask(Request::post("/v1/messages").json(&body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let theirs = provider.received()[nth].json();
        let ours = translate_request(WAY, body.to_string().as_bytes(), &terms).unwrap();
        let ours: Value = serde_json::from_slice(&ours.body).unwrap();
        assert_eq!(alike(ours), alike(theirs), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_translated_as_envoys_own_translator_does() {
    let provider = ScriptedProvider::start("only").await;
    let envoy = envoys_own(&provider).await;
    let oslo = json!({"city": "Oslo"});
    let words = |text: &str, finish: &str| {
        json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0,
            "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}})
    };
    for (name, script, body) in [
        ("text", Script::usual().json(words("Hello \"ü\"\n", "stop")), Some(words("Hello \"ü\"\n", "stop"))),
        ("cut off", Script::usual().json(words("Hel", "length")), Some(words("Hel", "length"))),
        ("call", tool_call(Api::Chat, false, "weather", &oslo), None),
    ] {
        provider.script(script);
        let request = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q"}]});
        let theirs = envoy.ask(Request::post("/v1/messages").json(&request)).await.json();
        let Some(body) = body else {
            // Envoy's translator does not turn calls of tools into blocks yet.
            assert_eq!(theirs["stop_reason"], "tool_use", "{theirs}");
            continue;
        };
        let ours = translate_answer(WAY, body.to_string().as_bytes(), &AnswerTerms::default()).unwrap();
        let ours: Value = serde_json::from_slice(&ours).unwrap();
        for member in ["type", "role", "model", "content", "stop_reason"] {
            assert_eq!(ours[member], theirs[member], "{name}: {member}");
        }
        for tokens in ["input_tokens", "output_tokens"] {
            assert_eq!(ours["usage"][tokens], theirs["usage"][tokens], "{name}: {tokens}");
        }
    }
}
