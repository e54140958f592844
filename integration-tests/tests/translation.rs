//! Requests that are translated for a provider of another dialect, and their answers.
//!
//! `docs/translation.md` has a table whose cells name these tests.

use std::cmp::Ordering;
use std::time::Duration;

use integration_tests::client::{Read, Request};
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::node;
use integration_tests::paths;
use integration_tests::provider::tool_calls::{Api, tool_call};
use integration_tests::provider::{Ending, Point, Script, errors};
use integration_tests::python;
use integration_tests::records;
use integration_tests::scene::Scene;
use serde_json::{Value, json};

/// A client's API, the one of the provider, and the name of the translation.
const WAYS: [(Api, Api, &str); 4] = [
    (Api::Chat, Api::Messages, "chat>messages"),
    (Api::Messages, Api::Chat, "messages>chat"),
    (Api::Responses, Api::Chat, "responses>chat"),
    (Api::Responses, Api::Messages, "responses>messages"),
];

const fn path(api: Api) -> &'static str {
    match api {
        Api::Chat => "/v1/chat/completions",
        Api::Responses => "/v1/responses",
        Api::Messages => "/v1/messages",
    }
}

/// One target per way, named after its client's and its provider's API. All are at one provider.
fn gateway(shape: Shape) -> Gateway {
    let mut plugin = json!({"retry_budget": {"ratio": 10}});
    for (client, provider, _) in WAYS {
        let name = name(client, provider);
        let kind = if provider == Api::Messages { "anthropic" } else { "openai-compatible" };
        let endpoint = if provider == Api::Messages { "messages" } else { "chat" };
        plugin["providers"][&name] =
            json!({"kind": kind, "cluster": "only", "host": "only.test", "endpoints": [endpoint]});
        plugin["targets"][&name] =
            json!({"provider": name, "model": "m-real", "key": {"value": "sk-real"}, "translate": true});
        plugin["models"][&name] =
            json!({"targets": [name], "response_model": "logical", "retry": {"attempts_per_target": 1}});
    }
    Gateway::new(shape).plugin(&plugin)
}

fn name(client: Api, provider: Api) -> String {
    format!("{client:?}-{provider:?}").to_lowercase()
}

/// A request with a system prompt, in the words of the API.
fn request(api: Api, model: &str, stream: bool) -> Request {
    Request::post(path(api)).json(&body(api, model, stream))
}

fn body(api: Api, model: &str, stream: bool) -> Value {
    let turn = json!([{"role": "user", "content": "Say hello."}]);
    match api {
        Api::Chat => json!({"model": model, "stream": stream, "max_tokens": 100,
            "messages": [{"role": "system", "content": "Be brief."}, turn[0]]}),
        Api::Responses => json!({"model": model, "stream": stream, "max_output_tokens": 100,
            "instructions": "Be brief.", "input": turn}),
        Api::Messages => json!({"model": model, "stream": stream, "max_tokens": 100, "system": "Be brief.",
            "messages": turn}),
    }
}

fn with_tool(api: Api, model: &str, stream: bool) -> Request {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let mut body = body(api, model, stream);
    body["tools"] = match api {
        Api::Chat => json!([{"type": "function", "function": {"name": "weather", "parameters": schema}}]),
        Api::Responses => json!([{"type": "function", "name": "weather", "parameters": schema}]),
        Api::Messages => json!([{"name": "weather", "input_schema": schema}]),
    };
    Request::post(path(api)).json(&body)
}

/// The text of an answer.
fn text(api: Api, answer: &Value) -> String {
    let text = match api {
        Api::Chat => &answer["choices"][0]["message"]["content"],
        Api::Responses => &answer["output"][0]["content"][0]["text"],
        Api::Messages => &answer["content"][0]["text"],
    };
    text.as_str().unwrap_or_else(|| panic!("{answer:#}")).to_owned()
}

/// The tool's name and its arguments.
fn call(api: Api, answer: &Value) -> (Value, Value) {
    let parsed = |text: &Value| serde_json::from_str(text.as_str().unwrap()).unwrap();
    match api {
        Api::Chat => {
            let function = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
            (function["name"].clone(), parsed(&function["arguments"]))
        }
        Api::Responses => (answer["output"][0]["name"].clone(), parsed(&answer["output"][0]["arguments"])),
        Api::Messages => (answer["content"][0]["name"].clone(), answer["content"][0]["input"].clone()),
    }
}

fn events(read: &Read) -> Vec<Value> {
    let data = read.data();
    data.iter().filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// The text that a stream has brought.
fn streamed_text(api: Api, events: &[Value]) -> String {
    let piece = |event: &Value| {
        let piece = match api {
            Api::Chat => &event["choices"][0]["delta"]["content"],
            Api::Responses if event["type"] == "response.output_text.delta" => &event["delta"],
            Api::Messages => &event["delta"]["text"],
            Api::Responses => &Value::Null,
        };
        piece.as_str().unwrap_or_default().to_owned()
    };
    events.iter().map(piece).collect()
}

/// The arguments of the tool call that a stream has brought.
fn streamed_arguments(api: Api, events: &[Value]) -> Value {
    let piece = |event: &Value| {
        let piece = match api {
            Api::Chat => &event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"],
            Api::Responses if event["type"] == "response.function_call_arguments.delta" => &event["delta"],
            Api::Messages => &event["delta"]["partial_json"],
            Api::Responses => &Value::Null,
        };
        piece.as_str().unwrap_or_default().to_owned()
    };
    let arguments: String = events.iter().map(piece).collect();
    serde_json::from_str(&arguments).unwrap_or_else(|_| panic!("{arguments}: {events:#?}"))
}

/// Whether a stream has its proper end.
fn has_ended(api: Api, read: &Read) -> bool {
    let data = read.data();
    let last = data.last().map(String::as_str).unwrap_or_default();
    match api {
        Api::Chat => last == "[DONE]",
        Api::Responses => last.contains("\"response.completed\""),
        Api::Messages => last.contains("\"message_stop\""),
    }
}

const SHAPES: [Shape; 2] = [Shape::Loop, Shape::Single];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_answers_come_in_the_clients_dialect() {
    for shape in SHAPES {
        let Scene { envoy, providers: [only], .. } = gateway(shape).start_with(["only"]).await;
        for (client, provider, way) in WAYS {
            only.forget_received();
            let name = name(client, provider);
            let answer =
                envoy.ask(request(client, &name, false).header("authorization", "Bearer sk-c")).await;
            assert_eq!(answer.status, 200, "{way}: {}", answer.text());
            assert_eq!(answer.header("x-llm-translated"), Some(way));
            assert_eq!(answer.header("content-type"), Some("application/json"));
            let answer = answer.json();
            assert_eq!(text(client, &answer), "hello from only", "{way}");
            assert_eq!(answer["model"], name, "{way}");
            let received = &only.received()[0];
            assert_eq!(received.path, path(provider), "{way}");
            assert_eq!(received.header("host"), Some("only.test"));
            let sent = received.json();
            assert_eq!(
                (&sent["model"], &sent["max_tokens"]),
                (&json!("m-real"), &json!(100)),
                "{way}: {sent}"
            );
            let (key, system) = match provider {
                Api::Messages => ("x-api-key", sent["system"].to_string()),
                _ => ("authorization", sent["messages"][0]["content"].to_string()),
            };
            assert!(received.header(key).unwrap().ends_with("sk-real"), "{way}: {received:?}");
            assert!(system.contains("Be brief."), "{way}: {sent}");
        }
        for (record, (.., way)) in records::wait_for(&envoy, WAYS.len()).await.iter().zip(WAYS) {
            records::check(record);
            assert_eq!(record["attempts"][0]["translated"], way);
            assert_eq!(record["attempts"][0].get("lost"), None);
            assert!(record["attempts"][0]["gen_ai.usage.output_tokens"].is_u64(), "{record:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_come_in_the_clients_dialect() {
    for shape in SHAPES {
        let Scene { envoy, providers: [only], .. } = gateway(shape).start_with(["only"]).await;
        for (client, provider, way) in WAYS {
            for script in [Script::usual(), Script::usual().split(7), Script::usual().content_chunks(200)] {
                only.script(script);
                let read = envoy.ask(request(client, &name(client, provider), true)).await;
                assert_eq!(read.status, 200, "{way}: {}", read.text());
                assert_eq!(read.header("x-llm-translated"), Some(way));
                assert!(read.header("content-type").unwrap().starts_with("text/event-stream"), "{way}");
                assert!(read.error.is_none() && has_ended(client, &read), "{way}: {}", read.text());
                let text = streamed_text(client, &events(&read));
                assert!(text.starts_with("hello from only") || text.len() > 200, "{way}: {text}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tool_calls_come_in_the_clients_dialect() {
    let oslo = json!({"city": "Oslo \"ü\"\n"});
    let Scene { envoy, providers: [only], .. } = gateway(Shape::Loop).start_with(["only"]).await;
    for (client, provider, way) in WAYS {
        only.script(tool_call(provider, false, "weather", &oslo));
        let answer = envoy.ask(with_tool(client, &name(client, provider), false)).await;
        assert_eq!(answer.status, 200, "{way}: {}", answer.text());
        assert_eq!(call(client, &answer.json()), (json!("weather"), oslo.clone()), "{way}");
        only.script(tool_call(provider, true, "weather", &oslo));
        let read = envoy.ask(with_tool(client, &name(client, provider), true)).await;
        assert!(has_ended(client, &read), "{way}: {}", read.text());
        assert_eq!(streamed_arguments(client, &events(&read)), oslo, "{way}");
    }
}

/// A client's own key, and what its vendor's headers say, are for no other vendor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_the_clients_vendor_reaches_another() {
    let gateway = gateway(Shape::Loop).configure(&json!({
        "targets": {"messages-chat": {"key": null}, "chat-messages": {"key": null}},
    }));
    let Scene { envoy, providers: [only], .. } = gateway.start_with(["only"]).await;
    let ask = |api, provider| {
        request(api, &name(api, provider), false)
            .header("authorization", "Bearer sk-client")
            .header("x-api-key", "sk-client")
            .header("anthropic-beta", "b-1")
            .header("anthropic-version", "2020-01-01")
            .header("openai-beta", "b-2")
            .header("openai-organization", "org")
    };
    for (api, provider) in [(Api::Messages, Api::Chat), (Api::Chat, Api::Messages)] {
        let answer = envoy.ask(ask(api, provider)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    for received in only.received() {
        for (name, value) in &received.headers {
            assert!(!value.contains("sk-client"), "{name} went to {}", received.path);
            assert!(
                !name.starts_with("openai-") && name != "anthropic-beta",
                "{name} went to {}",
                received.path
            );
        }
        let version = received.header("anthropic-version");
        assert_eq!(version, (received.path == path(Api::Messages)).then_some("2023-06-01"));
    }
}

/// The provider's status and message stay; the form is the client's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_come_in_the_clients_dialect() {
    for shape in SHAPES {
        let Scene { envoy, providers: [only], .. } = gateway(shape).start_with(["only"]).await;
        for (client, provider, way) in WAYS {
            let (error, limited) = match provider {
                Api::Messages => (errors::anthropic_400(), errors::anthropic_429()),
                _ => (errors::openai_400(), errors::openai_429()),
            };
            only.script(error).script(limited);
            let answer = envoy.ask(request(client, &name(client, provider), false)).await;
            assert_eq!(answer.status, 400, "{way}");
            let body = answer.json();
            assert_eq!(body["type"] == "error", client == Api::Messages, "{way}: {body}");
            assert_eq!(body["error"]["type"], "invalid_request_error", "{way}: {body}");
            assert!(body["error"]["message"].as_str().unwrap().len() > 10, "{way}: {body}");
            let answer = envoy.ask(request(client, &name(client, provider), true)).await;
            assert_eq!(answer.status, 429, "{way}");
            let body = answer.json();
            assert_eq!(body["error"]["type"], "rate_limit_error", "{way}: {body}");
        }
    }
}

/// A stream that its provider breaks off, or that an error ends, has no proper end for its client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stream_stays_broken() {
    for shape in SHAPES {
        let Scene { envoy, providers: [only], .. } = gateway(shape).start_with(["only"]).await;
        for (client, provider, way) in WAYS {
            let overloaded = match provider {
                Api::Messages => errors::anthropic_overloaded_event(),
                _ => errors::openai_error_event(),
            };
            let cut = Script::usual().content_chunks(20).delay_chunks(Duration::from_millis(5));
            for script in [cut.clone().cut_after_chunks(10), overloaded] {
                only.script(script);
                let read = envoy.ask(request(client, &name(client, provider), true)).await;
                assert!(!has_ended(client, &read), "{way}: {}", read.text());
                // A provider that resets its stream ends the client's the same way, without a word.
                let told = read.data().last().is_some_and(|last| last.contains("error"));
                assert!(read.status != 200 || read.error.is_some() || told, "{way}: {}", read.text());
            }
        }
    }
}

/// The body is already held, or put together, when the trailers come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_answers_that_end_with_trailers_come_in_the_clients_dialect() {
    for shape in SHAPES {
        let Scene { envoy, providers: [only], .. } = gateway(shape).start_with(["only"]).await;
        for (client, provider, way) in WAYS {
            for length in [10, 60_000] {
                let said = "x".repeat(length);
                only.script(Script::usual().say(&said).ending(Ending::Trailers(Point::AfterChunks(1))));
                let answer = envoy.ask(request(client, &name(client, provider), false)).await;
                assert_eq!(answer.status, 200, "{way} {length}: {}", answer.text());
                assert!(answer.error.is_none(), "{way} {length}: {:?}", answer.error);
                assert_eq!(text(client, &answer.json()), said, "{way} {length}");
            }
        }
    }
}

/// A request of Claude Code's kind goes to Anthropic, and after its failure to OpenAI's dialect, with everything that
/// matters. Its body is sent once more by the edge and translated as a whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_crosses_dialects() {
    let plugin = json!({
        "providers": {
            "a": {"kind": "anthropic", "cluster": "first"},
            "o": {"kind": "openai", "cluster": "spare"},
        },
        "targets": {
            "claude": {"provider": "a", "model": "claude-x", "key": {"value": "sk-a"}, "context_window": 1_000_000},
            "gpt": {"provider": "o", "model": "gpt-x", "key": {"value": "sk-o"}, "translate": true, "tools": true,
                "context_window": 1_000_000},
        },
        "models": {"code": {"tiers": [["claude"], ["gpt"]], "retry": {"attempts_per_target": 1}}},
    });
    let Scene { envoy, providers: [first, spare], .. } =
        Gateway::new(Shape::Loop).plugin(&plugin).start_with(["first", "spare"]).await;
    let long = "x".repeat(2_000_000);
    for (nth, stream) in [false, true, true].into_iter().enumerate() {
        first.script(errors::anthropic_529());
        let mut body = json!({
            "model": "code", "max_tokens": 1000, "stream": stream,
            "metadata": {"user_id": "u"},
            "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": "Read it."},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                    {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"file": "a"}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "done"},
                    {"type": "text", "text": "Go on."}]}],
            "tools": [{"name": "read", "input_schema": {"type": "object"}}],
        });
        if nth == 2 {
            body["messages"][0]["content"] = json!(long);
        }
        let read = envoy.ask(Request::post("/v1/messages?beta=true").json(&body)).await;
        assert_eq!(read.status, 200, "{}", read.text());
        assert_eq!(read.header("x-llm-translated"), Some("messages>chat"));
        assert_eq!(read.header("x-llm-target"), Some("gpt"));
        if stream {
            assert!(has_ended(Api::Messages, &read), "{}", read.text());
            assert_eq!(streamed_text(Api::Messages, &events(&read)), "hello from spare");
        } else {
            assert_eq!(text(Api::Messages, &read.json()), "hello from spare");
        }
        let received = &spare.received()[nth];
        assert_eq!(received.path, "/v1/chat/completions");
        if nth == 2 {
            assert!(received.body_complete && received.body_length > 2_000_000, "{}", received.body_length);
            continue;
        }
        let sent = received.json();
        let roles: Vec<_> =
            sent["messages"].as_array().unwrap().iter().map(|it| it["role"].clone()).collect();
        assert_eq!(json!(roles), json!(["system", "user", "assistant", "tool", "user"]), "{sent:#}");
        assert_eq!(sent["messages"][3]["tool_call_id"], "toolu_1");
        assert!(!sent.to_string().contains("c2ln"), "signed reasoning went to another maker");
    }
    let record = &records::wait_for(&envoy, 3).await[0];
    records::check(record);
    assert_eq!(record["attempts"][0].get("translated"), None, "{record:#}");
    assert_eq!(record["attempts"][1]["lost"], json!(["cache_control", "past_reasoning"]), "{record:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_translation_would_lose_is_named_in_the_refusal() {
    let gateway =
        gateway(Shape::Loop).reloadable().configure(&json!({"limits": {"max_translated_body": "1MiB"}}));
    let Scene { mut gateway, envoy, providers: [only] } = gateway.start_with(["only"]).await;
    let mut body = body(Api::Chat, "chat-messages", false);
    body["logit_bias"] = json!({"5": 1});
    let ask = || Request::post("/v1/chat/completions").json(&body);
    let refused = envoy.ask(ask()).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.header("x-llm-reason"), Some("no_target_may_take_it"));
    let message = refused.json()["error"]["message"].to_string();
    assert!(message.contains("allow: [logit_bias]"), "{message}");
    let mut long = body.clone();
    long.as_object_mut().unwrap().remove("logit_bias");
    long["messages"][1]["content"] = json!("x".repeat(1 << 20));
    let refused = envoy.ask(Request::post("/v1/chat/completions").json(&long)).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("max_translated_body"), "{}", refused.text());
    assert_eq!(only.received().len(), 0);
    gateway = gateway.configure(&json!({
        "targets": {"chat-messages": {"translate": {"allow": ["logit_bias"]}}},
    }));
    gateway.update(&envoy);
    envoy.until_every_worker(ask, |read| read.status == 200).await;
    let record = records::so_far(&envoy).pop().unwrap();
    assert_eq!(record["attempts"][0]["lost"], json!(["logit_bias"]), "{record:#}");
}

/// A body that an agent has sent, and the headers that came with it.
fn recorded(name: &str) -> Value {
    let file = paths::root().join(format!("integration-tests/tests/recorded/{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// A session of a coding agent: each turn sends the whole conversation, and each answer calls a tool.
struct Session {
    api: Api,
    recorded: Value,
}

impl Session {
    fn of(name: &str) -> Self {
        let mut recorded = recorded(name);
        let api = if name.starts_with("codex") { Api::Responses } else { Api::Messages };
        recorded["body"]["model"] = json!("code");
        Self { api, recorded }
    }

    fn request(&self) -> Request {
        let request = Request::post(self.recorded["path"].as_str().unwrap()).json(&self.recorded["body"]);
        let headers = self.recorded["headers"].as_object().unwrap().iter();
        headers.fold(request, |request, (name, value)| request.header(name, value.as_str().unwrap()))
    }

    /// Adds the answer and the result of its call to the conversation, as the agent does.
    fn goes_on(&mut self, read: &Read) {
        let events = events(read);
        match self.api {
            Api::Messages => {
                let start = events.iter().find(|event| event["content_block"]["type"] == "tool_use");
                let mut call = start.unwrap_or_else(|| panic!("{events:#?}"))["content_block"].clone();
                call["input"] = streamed_arguments(Api::Messages, &events);
                let result = json!({"type": "tool_result", "tool_use_id": call["id"], "content": "done"});
                let turns = self.recorded["body"]["messages"].as_array_mut().unwrap();
                turns.push(json!({"role": "assistant", "content": [call]}));
                turns.push(json!({"role": "user", "content": [result]}));
            }
            _ => {
                let last = events.iter().find(|event| event["type"] == "response.completed");
                let output = last.unwrap_or_else(|| panic!("{events:#?}"))["response"]["output"].clone();
                let items = self.recorded["body"]["input"].as_array_mut().unwrap();
                for item in output.as_array().unwrap() {
                    items.push(item.clone());
                    let kind = item["type"].as_str().unwrap();
                    if kind.ends_with("_call") {
                        items.push(json!({"type": format!("{kind}_output"), "call_id": item["call_id"],
                            "output": "done"}));
                    }
                }
            }
        }
    }
}

/// The names of calls and results in the order in which the provider got them.
fn calls_and_results(sent: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for message in sent["messages"].as_array().unwrap() {
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            found.push(format!("call {}", call["id"].as_str().unwrap()));
        }
        if message["role"] == "tool" {
            found.push(format!("result {}", message["tool_call_id"].as_str().unwrap()));
        }
        for block in message["content"].as_array().into_iter().flatten() {
            match block["type"].as_str() {
                Some("tool_use") => found.push(format!("call {}", block["id"].as_str().unwrap())),
                Some("tool_result") => {
                    found.push(format!("result {}", block["tool_use_id"].as_str().unwrap()));
                }
                _ => {}
            }
        }
    }
    found
}

/// Ten turns of coding agents. In the middle of the fifth answer the first provider dies, so the agent repeats that turn. From
/// then on a provider of another dialect answers, and gets the whole conversation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_a_coding_agent_goes_on_at_a_provider_of_another_dialect() {
    const TURNS: usize = 10;
    const DIES_IN: usize = 5;
    for (agent, spare_api) in
        [("claude-code", Api::Chat), ("codex", Api::Chat), ("codex-with-deferred-tools", Api::Messages)]
    {
        let mut session = Session::of(agent);
        let endpoint = if spare_api == Api::Chat { "chat" } else { "messages" };
        let translate = match session.api {
            Api::Messages => json!(true),
            _ => json!({"allow": ["hosted_tools", "tool_grammar", "verbosity"]}),
        };
        let kind = |api: Api| if api == Api::Messages { "anthropic" } else { "openai" };
        let Scene { envoy, providers: [first, spare], .. } = Gateway::new(Shape::Loop)
            .plugin(&json!({
                "mode": "shadow",
                "providers": {
                    "first": {"kind": kind(session.api), "cluster": "first"},
                    "spare": {"kind": "openai-compatible", "host": "spare.test", "endpoints": [endpoint]},
                },
                "targets": {
                    "first": {"provider": "first", "model": "m", "key": {"value": "sk-a"}},
                    "spare": {"provider": "spare", "model": "m", "key": {"value": "sk-b"}, "translate": translate,
                        "tools": true, "parallel_tools": true, "strict_tools": true,
                        "reasoning": true, "context_window": 1_000_000, "max_output_tokens": 1_000_000},
                },
                "models": {"code": {"tiers": [["first"], ["spare"]], "retry": {"attempts_per_target": 1}}},
            }))
            .start_with(["first", "spare"])
            .await;
        let arguments = json!({"path": "src/lib.rs", "text": "a \"b\"\n"});
        spare.by_default(tool_call(spare_api, true, "Read", &arguments));
        for turn in 1..=TURNS {
            let script = tool_call(session.api, true, "Read", &arguments);
            match turn.cmp(&DIES_IN) {
                Ordering::Less => _ = first.script(script),
                Ordering::Equal => {
                    first.script(script.cut_after_chunks(3));
                    let broken = envoy.ask(session.request()).await;
                    assert!(!has_ended(session.api, &broken), "{agent}: {}", broken.text());
                    first.by_default(Script::reset());
                }
                Ordering::Greater => {}
            }
            let read = envoy.ask(session.request()).await;
            assert_eq!(read.status, 200, "{agent}, turn {turn}: {}", read.text());
            assert!(has_ended(session.api, &read), "{agent}, turn {turn}: {}", read.text());
            let translated = read.header("x-llm-translated").is_some();
            assert_eq!(translated, turn >= DIES_IN, "{agent}, turn {turn}");
            session.goes_on(&read);
        }
        let received = spare.received();
        assert_eq!(received.len(), TURNS - DIES_IN + 1, "{agent}");
        for (nth, request) in received.iter().enumerate() {
            let found = calls_and_results(&request.json());
            // Each call is followed by its result.
            let turns = DIES_IN - 1 + nth;
            let own: Vec<_> = found.iter().rev().take(2 * turns).rev().collect();
            assert_eq!(own.len(), 2 * turns, "{agent}: {found:?}");
            for pair in own.chunks(2) {
                assert_eq!(
                    pair[0].strip_prefix("call "),
                    pair[1].strip_prefix("result "),
                    "{agent}: {found:?}"
                );
            }
        }
    }
}

/// The vendors' own Python SDKs, each against a provider of the other vendor's dialect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendors_sdks_accept_translated_answers() {
    let compatible = |endpoint: &str| json!({"kind": "openai-compatible", "cluster": "only", "host": "only.test", "endpoints": [endpoint]});
    let target = |provider: &str| json!({"provider": provider, "model": "m", "translate": true});
    let Scene { envoy, providers: [only], .. } = Gateway::new(Shape::Loop)
        .plugin(&json!({
            "providers": {"messages": compatible("messages"), "chat": compatible("chat")},
            "targets": {"claude": target("messages"), "gpt": target("chat")},
            "models": {"m-1": {"targets": ["claude"]}, "m-2": {"targets": ["gpt"]}},
        }))
        .start_with(["only"])
        .await;
    let base_url = format!("http://127.0.0.1:{}", envoy.port());
    let said = python::run("sdk_chat.py", &[("BASE_URL", &base_url)]).await.expect_success();
    let answers: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 6, "{said}");
    assert!(answers.iter().all(|answer| answer["text"] == "hello from only"), "{said}");
    assert_eq!((&answers[0]["tokens"], &answers[1]["tokens"]), (&json!(15), &json!(15)), "{said}");
    assert_eq!(answers[3]["last"], "response.completed");
    assert_eq!(answers[5]["stop"], "end_turn");
    let paths: Vec<_> = only.received().iter().map(|request| request.path.clone()).collect();
    let (messages, chat) = (path(Api::Messages), path(Api::Chat));
    assert_eq!(paths, [messages, messages, messages, messages, chat, chat]);
}

/// The clients, the API that each speaks, and whether it asks for structured output by a tool of this name.
const CLIENTS: [(&str, Api, Option<&str>); 5] = [
    ("vercel-chat", Api::Chat, None),
    ("vercel-responses", Api::Responses, None),
    ("vercel-anthropic", Api::Messages, Some("json")),
    ("langchain-js", Api::Chat, None),
    ("langchain-js-anthropic", Api::Messages, Some("place")),
];

/// Whole conversations of Vercel's AI SDK and LangChain, unmodified, in which every request goes to a provider of another
/// dialect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_of_vercels_sdk_and_langchain_cross_dialects() {
    for (client, api, structured_tool) in CLIENTS {
        let provider = if api == Api::Messages { Api::Chat } else { Api::Messages };
        let endpoint = if provider == Api::Chat { "chat" } else { "messages" };
        let scene = Gateway::new(Shape::Loop)
            .plugin(&json!({
                "providers": {"only": {"kind": "openai-compatible", "host": "only.test", "endpoints": [endpoint]}},
                "targets": {"only": {"provider": "only", "model": "m-only",
                    "translate": {"allow": ["json_object", "json_schema", "strict_tools"]}}},
                "models": {"chat": {"targets": ["only"]}},
            }))
            .start_with(["only"])
            .await;
        let [only] = &scene.providers;
        let oslo = json!({"city": "Oslo"});
        let structured = match structured_tool {
            Some(tool) => tool_call(provider, false, tool, &oslo),
            None => Script::usual().say(&oslo.to_string()),
        };
        for script in [
            Script::usual(),
            Script::usual(),
            Script::usual(),
            tool_call(provider, false, "weather", &oslo),
            Script::usual(),
            tool_call(provider, true, "weather", &oslo),
            Script::usual(),
            structured,
        ] {
            only.script(script);
        }
        let base_url = format!("http://127.0.0.1:{}", scene.port());
        let Some(output) = node::run("conversation.mjs", &[client], &[("BASE_URL", &base_url)]).await else {
            return;
        };
        let lines = output.expect_lines();
        let find = |step: &str| -> &Value {
            let found = lines.iter().find(|line| line["step"] == step);
            found.unwrap_or_else(|| panic!("{client}: no line for {step}: {lines:#?}"))
        };
        for step in ["plain", "second turn", "stream", "tool", "streamed tool"] {
            assert_eq!(find(step)["text"], "hello from only", "{client} {step}");
        }
        for step in ["tool", "streamed tool"] {
            assert_eq!(find(step)["results"], json!(["rain in Oslo"]), "{client} {step}");
        }
        if client.starts_with("vercel") {
            assert_eq!(find("stream")["finish"], "stop", "{client}");
        }
        assert_eq!(find("structured")["text"], "Oslo", "{client}");
        assert_eq!(find("plain")["tokens"], 15, "{client}");
        assert_eq!(only.received().len(), 8, "{client}");
    }
}
