//! Tables of Messages requests and the chat requests that they become.

use serde_json::{Value, json};

use super::{CHAT, body, check, messages, terms, translated};
use crate::translate::request::translate_request;
use crate::translate::{Loss, ReasoningPolicy, Translation};

const WAY: Translation = Translation::MessagesToChat;

fn settings(input: Value, expected: Value, losses: &[Loss]) {
    check(WAY, CHAT, input, expected, losses);
}

fn turns(input: Value, expected: Value, losses: &[&str]) {
    let (found, _, lost) = messages(WAY, input.clone());
    assert_eq!(found, expected, "{input:#}");
    assert_eq!(lost, losses, "{input:#}");
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

#[test]
fn members_that_both_have_are_carried_over() {
    for (input, expected) in [
        (json!({"temperature": 0.5, "top_p": 0.4}), json!({"temperature": 0.5, "top_p": 0.4})),
        (json!({"stop_sequences": ["a", "b"]}), json!({"stop": ["a", "b"]})),
        (json!({"stop_sequences": []}), json!({})),
        (json!({"metadata": {"user_id": "u-1"}}), json!({"user": "u-1"})),
        (json!({"stream": true}), json!({"stream": true, "stream_options": {"include_usage": true}})),
        (json!({"stream": false, "service_tier": "auto", "speed": "standard"}), json!({})),
    ] {
        settings(input, expected, &[]);
    }
}

#[test]
fn what_chat_does_not_have_is_a_loss() {
    for (input, loss) in [
        (json!({"top_k": 3}), Loss::TopK),
        (json!({"cache_control": {"type": "ephemeral"}}), Loss::CacheControl),
        (json!({"context_management": {"edits": []}}), Loss::ContextManagement),
        (json!({"service_tier": "priority"}), Loss::ServiceTier),
        (json!({"metadata": {"user_id": "u".repeat(70)}}), Loss::Metadata),
        (json!({"metadata": {"other": "u"}}), Loss::Metadata),
        (json!({"mcp_servers": [{"type": "url"}]}), Loss::HostedTools),
        (json!({"container": "c"}), Loss::State),
        (json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}), Loss::HostedTools),
        (json!({"something_new": true}), Loss::Unknown),
        (json!({"output_config": {"effort": "high"}}), Loss::Reasoning),
    ] {
        settings(input, json!({}), &[loss]);
    }
    let stops = json!({"stop_sequences": ["1", "2", "3", "4", "5"]});
    settings(stops, json!({"stop": ["1", "2", "3", "4"]}), &[Loss::Stop]);
}

#[test]
fn a_schema_is_strict_if_openai_enforces_it() {
    let schema = |required: Value| {
        json!({"type": "object", "properties": {"a": {"type": "string"}},
        "required": required, "additionalProperties": false})
    };
    let format =
        |schema: &Value| json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}});
    let made = |format: Value| json!({"response_format": {"type": "json_schema", "json_schema": format}});
    let strict = schema(json!(["a"]));
    settings(format(&strict), made(json!({"name": "answer", "schema": strict, "strict": true})), &[]);
    let loose = schema(json!([]));
    settings(format(&loose), made(json!({"name": "answer", "schema": loose})), &[Loss::JsonSchema]);
    settings(format(&json!({"anyOf": [strict]})), json!({}), &[Loss::JsonSchema]);
}

#[test]
fn tools_and_their_choice_have_their_forms() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let tool = json!({"type": "custom", "name": "get", "description": "d", "input_schema": schema,
        "eager_input_streaming": true, "defer_loading": false, "allowed_callers": ["direct"]});
    let made =
        json!([{"type": "function", "function": {"name": "get", "description": "d", "parameters": schema}}]);
    for (choice, expected) in [
        (json!({"type": "auto"}), json!({})),
        (json!({"type": "auto", "disable_parallel_tool_use": true}), json!({"parallel_tool_calls": false})),
        (json!({"type": "any"}), json!({"tool_choice": "required"})),
        (json!({"type": "none"}), json!({"tool_choice": "none"})),
        (
            json!({"type": "tool", "name": "get"}),
            json!({"tool_choice": {"type": "function", "function": {"name": "get"}}}),
        ),
    ] {
        let expected = super::merged(json!({"tools": made}), expected);
        settings(json!({"tools": [tool], "tool_choice": choice}), expected, &[]);
    }
    settings(json!({"tool_choice": {"type": "any"}}), json!({}), &[]);
}

#[test]
fn a_long_name_of_a_tool_is_made_to_fit_everywhere() {
    let name = format!("mcp__{}", "server_".repeat(12));
    let input = json!({
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": name, "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
        ],
        "tools": [{"name": name, "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": name},
    });
    let found = translated(WAY, CHAT, &input);
    let body = body(&found);
    let made = body["tools"][0]["function"]["name"].as_str().unwrap();
    assert!(made.len() <= 64 && made.starts_with("mcp__server_"), "{made}");
    assert_eq!(body["messages"][1]["tool_calls"][0]["function"]["name"], made);
    assert_eq!(body["tool_choice"]["function"]["name"], made);
    assert_eq!(&*found.context.renamed(made.as_bytes()).unwrap().client, name.as_bytes());
}

#[test]
fn the_system_prompt_is_one_message() {
    let messages = json!([{"role": "user", "content": "Hi"}]);
    for (system, expected) in [
        (json!("Be kind."), "Be kind."),
        (
            json!([text("Be kind."), {"type": "text", "text": "Be\nbrief.", "cache_control": null}]),
            "Be kind.\n\nBe\nbrief.",
        ),
    ] {
        let found = translated(WAY, CHAT, &json!({"system": system, "messages": messages}));
        assert_eq!(body(&found)["messages"][0], json!({"role": "system", "content": expected}));
    }
}

#[test]
fn turns_become_messages() {
    turns(
        json!([
            {"role": "user", "content": [text("a"), text("b")]},
            {"role": "assistant", "content": [text("c")]},
            {"role": "system", "content": "d"},
            {"role": "user", "content": "e"},
        ]),
        json!([
            {"role": "user", "content": [text("a"), text("b")]},
            {"role": "assistant", "content": "c"},
            {"role": "system", "content": "d"},
            {"role": "user", "content": "e"},
        ]),
        &[],
    );
}

#[test]
fn results_become_messages_before_what_is_said_beside_them() {
    let image =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}});
    let call = |id: &str, input: Value| json!({"type": "tool_use", "id": id, "name": "get", "input": input});
    let result =
        |id: &str, content: Value| json!({"type": "tool_result", "tool_use_id": id, "content": content});
    let made = |id: &str, arguments: &str| {
        json!({"id": id, "type": "function",
        "function": {"name": "get", "arguments": arguments}})
    };
    turns(
        json!([
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [text("b"), call("t1", json!({"x": "\"\n"})), call("t2", json!({}))]},
            {"role": "user", "content": [
                result("t1", json!("1")), result("t2", json!([image])), text("c"),
            ]},
        ]),
        json!([
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b", "tool_calls": [made("t1", "{\"x\":\"\\\"\\n\"}"), made("t2", "{}")]},
            {"role": "tool", "tool_call_id": "t1", "content": "1"},
            {"role": "tool", "tool_call_id": "t2", "content": "(The result is in the next message.)"},
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}, text("c"),
            ]},
        ]),
        &[],
    );
}

#[test]
fn documents_become_files_or_texts() {
    let document = |source: Value| json!({"type": "document", "title": "a.pdf", "source": source});
    turns(
        json!([{"role": "user", "content": [
            document(json!({"type": "base64", "media_type": "application/pdf", "data": "JVBE"})),
            document(json!({"type": "text", "media_type": "text/plain", "data": "one"})),
            document(json!({"type": "content", "content": [text("two")]})),
            {"type": "search_result", "title": "t", "source": "s", "content": [text("three")]},
        ]}]),
        json!([{"role": "user", "content": [
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
            text("a.pdf"), text("one"), text("a.pdf"), text("two"), text("t"), text("s"), text("three"),
        ]}]),
        &[],
    );
}

#[test]
fn blocks_that_chat_does_not_take_are_losses() {
    let source = |kind: &str| json!({"type": kind, "file_id": "f", "url": "https://example.com/a"});
    for (block, losses) in [
        (json!({"type": "image", "source": source("file")}), &["state"][..]),
        (json!({"type": "document", "source": source("file")}), &["state"]),
        (json!({"type": "document", "source": source("url")}), &["documents"]),
        (json!({"type": "container_upload", "file_id": "f"}), &["state", "unknown"]),
        (json!({"type": "web_search_tool_result", "tool_use_id": "t", "content": []}), &["hosted_tools"]),
        (json!({"type": "novel"}), &["unknown"]),
        (json!(7), &["unknown"]),
    ] {
        turns(
            json!([{"role": "user", "content": [text("a"), block]}]),
            json!([{"role": "user", "content": "a"}]),
            losses,
        );
    }
    for (block, losses) in [
        (json!({"type": "thinking", "thinking": "hm", "signature": "s"}), &["past_reasoning"][..]),
        (json!({"type": "redacted_thinking", "data": "s"}), &["past_reasoning"]),
        (json!({"type": "server_tool_use", "id": "t", "name": "web_search", "input": {}}), &["hosted_tools"]),
    ] {
        turns(
            json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": [block]}]),
            json!([{"role": "user", "content": "a"}]),
            losses,
        );
    }
    let marked = json!({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"},
        "citations": [{"type": "char_location"}]});
    turns(
        json!([{"role": "user", "content": [marked]}]),
        json!([{"role": "user", "content": "a"}]),
        &["cache_control", "citations"],
    );
}

#[test]
fn a_tool_that_failed_and_a_prefill_are_losses() {
    let failed = json!({"type": "tool_result", "tool_use_id": "t", "is_error": true, "content": "no"});
    turns(
        json!([{"role": "user", "content": [failed]}]),
        json!([{"role": "tool", "tool_call_id": "t", "content": "no"}]),
        &["tool_error"],
    );
    turns(
        json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "{"}]),
        json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "{"}]),
        &["prefill"],
    );
}

#[test]
fn only_unsigned_thinking_is_kept_and_only_if_asked_for() {
    let input = |signature: &str| {
        json!({"messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": signature}, text("b")]},
            {"role": "user", "content": "c"},
        ]})
        .to_string()
    };
    for (signature, policy, kept) in [
        ("", ReasoningPolicy::Keep, true),
        ("s", ReasoningPolicy::Keep, false),
        ("", ReasoningPolicy::Drop, false),
        ("", ReasoningPolicy::Refuse, false),
    ] {
        let found = translate_request(WAY, input(signature).as_bytes(), &terms(CHAT, policy)).unwrap();
        let answer = &body(&found)["messages"][1];
        let reasoning = answer.get("reasoning_content").and_then(Value::as_str);
        assert_eq!(reasoning, kept.then_some("hm"), "{signature} {policy:?}");
        assert_eq!(found.losses.contains(Loss::PastReasoning), !kept, "{signature} {policy:?}");
    }
}
