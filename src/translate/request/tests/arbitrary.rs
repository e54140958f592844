//! Requests with any JSON at any place.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CHAT, CLAUDE, terms};
use crate::translate::request::{losses_of, translate_request};
use crate::translate::{ReasoningPolicy, Translation};

/// Words that mean something somewhere.
const WORDS: &[&str] = &[
    "type",
    "text",
    "role",
    "user",
    "assistant",
    "tool",
    "system",
    "developer",
    "content",
    "messages",
    "input",
    "tools",
    "function",
    "custom",
    "name",
    "arguments",
    "id",
    "call_id",
    "tool_call_id",
    "tool_calls",
    "tool_use",
    "tool_result",
    "tool_use_id",
    "image",
    "image_url",
    "url",
    "source",
    "base64",
    "media_type",
    "data",
    "document",
    "file",
    "file_data",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "output",
    "message",
    "reasoning",
    "thinking",
    "namespace",
    "input_text",
    "input_image",
    "parameters",
    "input_schema",
    "strict",
    "response_format",
    "json_schema",
    "schema",
    "output_config",
    "format",
    "effort",
    "tool_choice",
    "stop",
    "stop_sequences",
    "instructions",
    "data:image/png;base64,AA",
    "data:text/plain;base64,aGk=",
    "high",
    "max_tokens",
    "refusal",
    "title",
    "properties",
];

fn any_json() -> impl Strategy<Value = Value> {
    let word = proptest::sample::select(WORDS);
    let leaf = prop_oneof![
        4 => word.clone().prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(word.clone().prop_map(String::from), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A request of every kind that has much of what is read.
fn full_requests() -> [(Translation, Value); 4] {
    let chat = json!({
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "https://a"}},
                {"type": "file", "file": {"filename": "f", "file_data": "data:application/pdf;base64,AA"}}]},
            {"role": "assistant", "content": "b", "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "n", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ],
        "tools": [{"type": "function", "function": {"name": "n", "parameters": {"type": "object"}, "strict": true}}],
        "tool_choice": {"type": "function", "function": {"name": "n"}},
        "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
        "stop": ["x"], "temperature": 0.5, "reasoning_effort": "high", "stream": true, "user": "u",
    });
    let messages = json!({
        "system": [{"type": "text", "text": "s"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"},
                {"type": "image", "source": {"type": "url", "url": "https://a"}},
                {"type": "document", "title": "t", "source": {"type": "text", "data": "d"}}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t",
                "content": [{"type": "text", "text": "1"}]}]},
        ],
        "tools": [{"name": "n", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": "n"},
        "thinking": {"type": "enabled", "budget_tokens": 2000}, "metadata": {"user_id": "u"},
        "output_config": {"effort": "high", "format": {"schema": {"type": "object"}}}, "stop_sequences": ["x"],
    });
    let responses = json!({
        "instructions": "i",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "a"},
                {"type": "input_image", "image_url": "https://a"}]},
            {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "r"}]},
            {"type": "function_call", "call_id": "c", "name": "n", "namespace": "s", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "1"}]},
            {"type": "custom_tool_call", "call_id": "d", "name": "n", "input": "x"},
        ],
        "tools": [{"type": "custom", "name": "n", "format": {"type": "grammar", "definition": "g"}},
            {"type": "namespace", "name": "s", "tools": [{"type": "function", "name": "n"}]}],
        "tool_choice": {"type": "custom", "name": "n"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
        "reasoning": {"effort": "high"},
    });
    [
        (Translation::ChatToMessages, chat),
        (Translation::MessagesToChat, messages),
        (Translation::ResponsesToChat, responses.clone()),
        (Translation::ResponsesToMessages, responses),
    ]
}

/// Every place of a value, as JSON pointers.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| places(value, &format!("{here}/{key}"), found))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| places(value, &format!("{here}/{at}"), found));
        }
        _ => {}
    }
}

fn check(way: Translation, body: &Value, policy: ReasoningPolicy) {
    let text = serde_json::to_vec(body).unwrap();
    for model in [CLAUDE, CHAT, "claude-opus-5-5", "gpt-5.6"] {
        if let Ok(found) = translate_request(way, &text, &terms(model, policy)) {
            let read = serde_json::from_slice::<Value>(&found.body);
            assert!(read.is_ok(), "{way:?} {body}\n{}", String::from_utf8_lossy(&found.body));
        }
    }
    let _ = losses_of(way, &text, policy);
}

fn policies() -> impl Strategy<Value = ReasoningPolicy> {
    proptest::sample::select(vec![ReasoningPolicy::Drop, ReasoningPolicy::Keep, ReasoningPolicy::Refuse])
}

proptest! {
    #[test]
    fn any_value_at_any_place_gives_valid_json_or_no_request(
        which in 0..4_usize,
        place: proptest::sample::Index,
        value in any_json(),
        policy in policies(),
    ) {
        let (way, mut body) = full_requests()[which].clone();
        let mut found = Vec::new();
        places(&body, "", &mut found);
        let place: &String = place.get(&found);
        *body.pointer_mut(place).unwrap() = value;
        check(way, &body, policy);
    }

    #[test]
    fn any_value_gives_valid_json_or_no_request(which in 0..4_usize, value in any_json(), policy in policies()) {
        let (way, _) = full_requests()[which].clone();
        let list = json!({"messages": value, "input": value, "tools": value, "tool_choice": value});
        check(way, &list, policy);
    }

    #[test]
    fn any_bytes_do_not_panic(which in 0..4_usize, bytes: Vec<u8>, at: usize, cut: usize) {
        let (way, body) = full_requests()[which].clone();
        let mut text = serde_json::to_vec(&body).unwrap();
        let at = at % text.len();
        text.splice(at..(at + cut % 16).min(text.len()), bytes);
        let _ = translate_request(way, &text, &terms(CLAUDE, ReasoningPolicy::Keep));
    }
}
