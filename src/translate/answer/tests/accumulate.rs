//! What clients make of a stream: the plain answer. As strict as the vendors' libraries, and stricter.

use serde_json::{Value, json};

use super::{ClientEvent, DONE};

/// The whole answer of a stream, and whether it has its end.
pub(super) fn chat(events: &[ClientEvent]) -> (Value, bool) {
    let mut answer = json!({});
    let mut message = json!({"role": null, "content": "", "refusal": ""});
    let mut finish = Value::Null;
    let mut usage = Value::Null;
    let mut calls: Vec<Value> = Vec::new();
    let mut is_ended = false;
    for ClientEvent { name, data } in events {
        assert!(name.is_empty() && !is_ended, "{name} {data}");
        if data == DONE {
            is_ended = true;
            continue;
        }
        assert_eq!(data["object"], "chat.completion.chunk");
        for key in ["id", "created", "model"] {
            assert!(answer[key].is_null() || answer[key] == data[key], "{data}");
            answer[key] = data[key].clone();
        }
        if !data["usage"].is_null() {
            assert_eq!(data["choices"], json!([]));
            usage = data["usage"].clone();
            continue;
        }
        assert!(finish.is_null(), "{data}");
        let choice = &data["choices"][0];
        finish = choice["finish_reason"].clone();
        for (key, value) in choice["delta"].as_object().unwrap() {
            match (key.as_str(), value) {
                ("role", role) => message["role"] = role.clone(),
                ("tool_calls", parts) => {
                    parts.as_array().unwrap().iter().for_each(|part| add_call(&mut calls, part))
                }
                (key, value) => append(&mut message[key], value),
            }
        }
    }
    let has_other = !calls.is_empty() || message["refusal"] != "";
    for (key, may_be_empty) in [("content", !has_other), ("refusal", false)] {
        if message[key] == "" && !may_be_empty {
            message[key] = Value::Null;
        }
    }
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    answer["object"] = "chat.completion".into();
    answer["choices"] = json!([{"index": 0, "message": message, "logprobs": null, "finish_reason": finish}]);
    if !usage.is_null() {
        answer["usage"] = usage;
    }
    (answer, is_ended)
}

fn add_call(calls: &mut Vec<Value>, part: &Value) {
    let index = part["index"].as_u64().unwrap() as usize;
    if index == calls.len() {
        let mut call = part.clone();
        call.as_object_mut().unwrap().remove("index");
        calls.push(call);
        return;
    }
    assert_eq!(index + 1, calls.len());
    append(&mut calls[index]["function"]["arguments"], &part["function"]["arguments"]);
}

fn append(text: &mut Value, more: &Value) {
    let joined = format!("{}{}", text.as_str().unwrap_or_default(), more.as_str().unwrap());
    *text = joined.into();
}

/// The whole answer of a stream, and whether it has its end.
pub(super) fn messages(events: &[ClientEvent]) -> (Value, bool) {
    let mut answer = Value::Null;
    let mut arguments = String::new();
    let mut open = None;
    let mut is_ended = false;
    for ClientEvent { name, data } in events {
        assert!(*name == data["type"] && !is_ended, "{name} {data}");
        assert_eq!(answer.is_null(), name == "message_start", "{name}");
        let at = data["index"].as_u64().unwrap_or_default() as usize;
        match name.as_str() {
            "message_start" => answer = data["message"].clone(),
            "content_block_start" => {
                let content = answer["content"].as_array_mut().unwrap();
                assert!(open.is_none() && at == content.len(), "{data}");
                content.push(data["content_block"].clone());
                open = Some(at);
                arguments.clear();
            }
            "content_block_delta" => {
                assert_eq!(open, Some(at));
                let (block, delta) = (&mut answer["content"][at], &data["delta"]);
                match (block["type"].as_str().unwrap(), delta["type"].as_str().unwrap()) {
                    ("text", "text_delta") => append(&mut block["text"], &delta["text"]),
                    ("thinking", "thinking_delta") => append(&mut block["thinking"], &delta["thinking"]),
                    ("tool_use", "input_json_delta") => arguments += delta["partial_json"].as_str().unwrap(),
                    other => panic!("{other:?}"),
                }
            }
            "content_block_stop" => {
                assert_eq!(open.take(), Some(at));
                if !arguments.is_empty() {
                    let input = serde_json::from_str(&arguments);
                    answer["content"][at]["input"] =
                        input.unwrap_or_else(|_| json!({"INVALID_JSON": arguments}));
                    arguments.clear();
                }
            }
            "message_delta" => {
                assert_eq!(open, None);
                answer["stop_reason"] = data["delta"]["stop_reason"].clone();
                answer["stop_sequence"] = data["delta"]["stop_sequence"].clone();
                answer["usage"] = data["usage"].clone();
            }
            "message_stop" => {
                assert!(answer["stop_reason"].is_string());
                is_ended = true;
            }
            _ => panic!("{name}"),
        }
    }
    (answer, is_ended)
}

/// The whole answer of a stream, and whether it has its end.
pub(super) fn responses(events: &[ClientEvent]) -> (Value, bool) {
    let mut answer = Value::Null;
    let mut output: Vec<Value> = Vec::new();
    let mut open: Option<Value> = None;
    let mut is_ended = false;
    for (number, ClientEvent { name, data }) in events.iter().enumerate() {
        assert!(*name == data["type"] && !is_ended, "{name} {data}");
        assert_eq!(data["sequence_number"], number, "{data}");
        if let Some(item) = data.get("item_id") {
            assert_eq!(open.as_ref().map(|open| &open["id"]), Some(item), "{data}");
        }
        if let Some(at) = data.get("output_index") {
            assert_eq!(*at, output.len(), "{data}");
        }
        match name.as_str() {
            "response.created" => answer = data["response"].clone(),
            "response.in_progress" => assert_eq!(answer, data["response"]),
            "response.output_item.added" => {
                assert!(open.is_none());
                open = Some(data["item"].clone());
            }
            "response.output_item.done" => {
                let mut open = open.take().unwrap();
                if open["status"].is_string() {
                    open["status"] = data["item"]["status"].clone();
                }
                assert_eq!(open, data["item"]);
                output.push(open);
            }
            "response.completed" | "response.incomplete" => {
                assert!(open.is_none());
                answer = data["response"].clone();
                assert_eq!(answer["output"], Value::from(output.clone()));
                assert_eq!(name.strip_prefix("response."), answer["status"].as_str());
                is_ended = true;
            }
            name => change(open.as_mut().unwrap(), name, data),
        }
    }
    (answer, is_ended)
}

fn change(item: &mut Value, name: &str, data: &Value) {
    match name {
        "response.content_part.added" => add_part(&mut item["content"], &data["content_index"], data),
        "response.reasoning_summary_part.added" => {
            add_part(&mut item["summary"], &data["summary_index"], data);
        }
        "response.content_part.done" => assert_eq!(item["content"][0], data["part"]),
        "response.reasoning_summary_part.done" => assert_eq!(item["summary"][0], data["part"]),
        "response.output_text.annotation.added" => {
            let annotations = item["content"][0]["annotations"].as_array_mut().unwrap();
            assert_eq!(data["annotation_index"], annotations.len());
            annotations.push(data["annotation"].clone());
        }
        "response.output_text.delta" => append(&mut item["content"][0]["text"], &data["delta"]),
        "response.output_text.done" => assert_eq!(item["content"][0]["text"], data["text"]),
        "response.refusal.delta" => append(&mut item["content"][0]["refusal"], &data["delta"]),
        "response.refusal.done" => assert_eq!(item["content"][0]["refusal"], data["refusal"]),
        "response.reasoning_summary_text.delta" => append(&mut item["summary"][0]["text"], &data["delta"]),
        "response.reasoning_summary_text.done" => assert_eq!(item["summary"][0]["text"], data["text"]),
        "response.function_call_arguments.delta" => append(&mut item["arguments"], &data["delta"]),
        "response.function_call_arguments.done" => assert_eq!(item["arguments"], data["arguments"]),
        "response.custom_tool_call_input.delta" => append(&mut item["input"], &data["delta"]),
        "response.custom_tool_call_input.done" => assert_eq!(item["input"], data["input"]),
        _ => panic!("{name}"),
    }
}

fn add_part(parts: &mut Value, index: &Value, data: &Value) {
    assert_eq!(*index, 0, "{data}");
    assert_eq!(*parts, json!([]), "{data}");
    *parts = json!([data["part"]]);
}
