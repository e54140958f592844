//! There and back, conversations that both dialects can express stay as they are.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CHAT, CLAUDE, body, translated};
use crate::translate::Translation;

/// A text that every dialect sends: not blank.
fn text() -> impl Strategy<Value = String> {
    "[a-z\"\\\\\\n\u{e9}\u{1f600}/]{0,12}".prop_map(|text| format!("t{text}"))
}

fn object() -> impl Strategy<Value = Value> {
    let value =
        prop_oneof![text().prop_map(Value::from), any::<i32>().prop_map(Value::from), Just(json!([1, {}]))];
    proptest::collection::btree_map("[a-z\u{e9}]{1,4}", value, 0..3)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

/// What a user says beside texts: chat's form, and that of Messages.
fn media() -> impl Strategy<Value = (Value, Value)> {
    let web = "[a-z]{1,8}".prop_map(|name| {
        let url = format!("https://example.com/{name}.png");
        (
            json!({"type": "image_url", "image_url": {"url": url}}),
            json!({"type": "image", "source": {"type": "url", "url": url}}),
        )
    });
    let held = "[A-Za-z0-9+/]{4,8}".prop_map(|data| {
        (
            json!({"type": "image_url", "image_url": {"url": format!("data:image/webp;base64,{data}")}}),
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": data}}),
        )
    });
    let pdf = ("[A-Za-z0-9+/]{4,8}", text()).prop_map(|(data, title)| {
        (
            json!({"type": "file", "file": {"filename": title,
                "file_data": format!("data:application/pdf;base64,{data}")}}),
            json!({"type": "document", "title": title,
                "source": {"type": "base64", "media_type": "application/pdf", "data": data}}),
        )
    });
    prop_oneof![web, held, pdf]
}

/// The content of a message and the blocks of a turn that say the same.
type Content = (Value, Vec<Value>);

fn of_texts(texts: &[String]) -> Content {
    let blocks: Vec<_> = texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
    match texts {
        [text] => (json!(text), blocks),
        _ => (json!(blocks), blocks),
    }
}

fn question() -> impl Strategy<Value = Content> {
    prop_oneof![
        vec(text(), 1..3).prop_map(|texts| of_texts(&texts)),
        (vec(text(), 0..2), vec(media(), 1..3)).prop_map(|(texts, media)| {
            let texts: Vec<_> = texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
            let (chat, blocks): (Vec<_>, Vec<_>) = media.into_iter().unzip();
            (json!([texts.clone(), chat].concat()), [texts, blocks].concat())
        }),
    ]
}

#[derive(Debug, Clone)]
struct Call {
    name: String,
    input: Value,
    result: Vec<String>,
}

/// A question, rounds of calls with what is said before them, and an answer.
#[derive(Debug, Clone)]
struct Exchange {
    question: Content,
    rounds: Vec<(Vec<String>, Vec<Call>)>,
    answer: Vec<String>,
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let call = ("[a-z_-]{1,10}", object(), vec(text(), 0..3)).prop_map(|(name, input, result)| Call {
        name,
        input,
        result,
    });
    (question(), vec((vec(text(), 0..2), vec(call, 1..4)), 0..3), vec(text(), 1..3))
        .prop_map(|(question, rounds, answer)| Exchange { question, rounds, answer })
}

/// The same conversation as messages of chat and as turns of Messages.
fn conversation(exchanges: &[Exchange], last: &Content) -> (Vec<Value>, Vec<Value>) {
    let (mut chat, mut turns) = (Vec::new(), Vec::new());
    let mut number = 0;
    for exchange in exchanges {
        chat.push(json!({"role": "user", "content": exchange.question.0}));
        turns.push(json!({"role": "user", "content": exchange.question.1}));
        for (said, calls) in &exchange.rounds {
            let (content, mut blocks) = of_texts(said);
            let content = if said.is_empty() { Value::Null } else { content };
            let (mut tool_calls, mut messages, mut results) = (Vec::new(), Vec::new(), Vec::new());
            for call in calls {
                number += 1;
                let id = format!("call_{number}");
                tool_calls.push(json!({"id": id, "type": "function",
                    "function": {"name": call.name, "arguments": call.input.to_string()}}));
                blocks.push(json!({"type": "tool_use", "id": id, "name": call.name, "input": call.input}));
                let (content, result) = of_texts(&call.result);
                let content = if call.result.is_empty() { json!("") } else { content };
                messages.push(json!({"role": "tool", "tool_call_id": id, "content": content}));
                results.push(if result.is_empty() {
                    json!({"type": "tool_result", "tool_use_id": id})
                } else {
                    json!({"type": "tool_result", "tool_use_id": id, "content": result})
                });
            }
            chat.push(json!({"role": "assistant", "content": content, "tool_calls": tool_calls}));
            chat.extend(messages);
            turns.push(json!({"role": "assistant", "content": blocks}));
            turns.push(json!({"role": "user", "content": results}));
        }
        let (content, blocks) = of_texts(&exchange.answer);
        chat.push(json!({"role": "assistant", "content": content}));
        turns.push(json!({"role": "assistant", "content": blocks}));
    }
    chat.push(json!({"role": "user", "content": last.0}));
    turns.push(json!({"role": "user", "content": last.1}));
    (chat, turns)
}

/// Settings of a chat request and those of a Messages request that say the same.
fn settings() -> impl Strategy<Value = (Value, Value)> {
    let one = |chat: Value, messages: Value| Just((chat, messages));
    let choice = prop_oneof![
        one(json!({}), json!({})),
        one(json!({"tool_choice": "none"}), json!({"tool_choice": {"type": "none"}})),
        one(
            json!({"tool_choice": "required", "parallel_tool_calls": false}),
            json!({"tool_choice": {"type": "any", "disable_parallel_tool_use": true}})
        ),
        one(
            json!({"tool_choice": {"type": "function", "function": {"name": "get"}}}),
            json!({"tool_choice": {"type": "tool", "name": "get"}})
        ),
        one(
            json!({"parallel_tool_calls": false}),
            json!({"tool_choice": {"type": "auto", "disable_parallel_tool_use": true}})
        ),
    ];
    let sampling = prop_oneof![
        one(json!({"temperature": 0.25}), json!({"temperature": 0.25})),
        one(json!({"top_p": 0.5}), json!({"top_p": 0.5})),
    ];
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"],
        "additionalProperties": false});
    let form = prop_oneof![
        one(json!({}), json!({})),
        one(
            json!({"response_format": {"type": "json_schema",
                "json_schema": {"name": "answer", "schema": schema, "strict": true}}}),
            json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}),
        ),
    ];
    let stops =
        vec(text(), 1..4).prop_map(|stops| (json!({"stop": stops}), json!({"stop_sequences": stops})));
    let tool = (text(), object()).prop_map(move |(description, properties)| {
        let schema = json!({"type": "object", "properties": properties});
        (
            json!({"tools": [{"type": "function",
                "function": {"name": "get", "description": description, "parameters": schema}}]}),
            json!({"tools": [{"name": "get", "description": description, "input_schema": schema}]}),
        )
    });
    let system = text();
    (choice, sampling, form, stops, tool, system, any::<bool>()).prop_map(
        |(choice, sampling, form, stops, tool, system, stream)| {
            let (mut chat, mut messages) =
                (json!({"max_tokens": 99, "user": "u"}), json!({"max_tokens": 99}));
            messages["metadata"] = json!({"user_id": "u"});
            messages["system"] = json!([{"type": "text", "text": system}]);
            chat["system"] = json!(system);
            if stream {
                chat["stream"] = json!(true);
                chat["stream_options"] = json!({"include_usage": true});
                messages["stream"] = json!(true);
            }
            for (more, other) in [choice, sampling, form, stops, tool] {
                chat = super::merged(chat, more);
                messages = super::merged(messages, other);
            }
            (chat, messages)
        },
    )
}

/// The same request in both dialects.
fn requests() -> impl Strategy<Value = (Value, Value)> {
    (vec(exchange(), 0..3), question(), settings()).prop_map(|(exchanges, last, (mut chat, mut messages))| {
        let (mut said, turns) = conversation(&exchanges, &last);
        let system = chat.as_object_mut().unwrap().remove("system").unwrap();
        said.insert(0, json!({"role": "system", "content": system}));
        chat["messages"] = json!(said);
        chat["model"] = json!(CHAT);
        messages["messages"] = json!(turns);
        messages["model"] = json!(CLAUDE);
        (chat, messages)
    })
}

proptest! {
    #[test]
    fn each_dialect_becomes_the_other_without_loss((chat, messages) in requests()) {
        let there = translated(Translation::ChatToMessages, CLAUDE, &chat);
        prop_assert!(there.losses.is_empty(), "{:?}", there.losses);
        prop_assert_eq!(body(&there), messages.clone());
        let back = translated(Translation::MessagesToChat, CHAT, &messages);
        prop_assert!(back.losses.is_empty(), "{:?}", back.losses);
        prop_assert_eq!(body(&back), chat);
    }
}
