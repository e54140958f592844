//! Responses that call one tool, as the vendors write them.

use serde_json::{Value, json};

use super::script::{Event, Script};

const CREATED: u64 = 1_760_000_000;

/// The API whose shape a response has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// OpenAI chat completions.
    Chat,
    /// OpenAI responses.
    Responses,
    /// Anthropic messages.
    Messages,
}

/// A response, plain or streamed, that calls `tool` with these arguments.
pub fn tool_call(api: Api, stream: bool, tool: &str, arguments: &Value) -> Script {
    match api {
        Api::Chat => chat(stream, tool, &arguments.to_string()),
        Api::Responses => responses(stream, tool, &arguments.to_string()),
        Api::Messages => messages(stream, tool, arguments),
    }
}

fn chat(stream: bool, tool: &str, arguments: &str) -> Script {
    let body = |object: &str, choice: Value| json!({"id": "chatcmpl-tool", "object": object, "created": CREATED, "model": "m", "choices": [choice]});
    let call = |arguments: &str| json!([{"index": 0, "id": "call_1", "type": "function", "function": {"name": tool, "arguments": arguments}}]);
    if !stream {
        let message =
            json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": call(arguments)});
        let choice = json!({"index": 0, "logprobs": null, "finish_reason": "tool_calls", "message": message});
        let mut body = body("chat.completion", choice);
        body["usage"] = json!({"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14});
        return Script::usual().json(body);
    }
    let delta = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "logprobs": null, "delta": delta, "finish_reason": finish});
        Event::data(body("chat.completion.chunk", choice))
    };
    let (begin, end) = arguments.split_at(arguments.len() / 2);
    let more = json!([{"index": 0, "function": {"arguments": end}}]);
    Script::stream([
        delta(json!({"role": "assistant", "content": null, "tool_calls": call(begin)}), Value::Null),
        delta(json!({"tool_calls": more}), Value::Null),
        delta(json!({}), json!("tool_calls")),
        Event::data("[DONE]"),
    ])
}

fn responses(stream: bool, tool: &str, arguments: &str) -> Script {
    let item = |status: &str, arguments: &str| {
        json!({"id": "fc_1", "type": "function_call", "call_id": "call_1", "status": status, "name": tool,
            "arguments": arguments})
    };
    let response = |status: &str, output: Value| {
        json!({"id": "resp_tool", "object": "response", "created_at": CREATED, "status": status, "error": null,
            "incomplete_details": null, "instructions": null, "metadata": {}, "model": "m", "output": output,
            "parallel_tool_calls": true, "temperature": 1.0, "top_p": 1.0, "tool_choice": "auto", "tools": [],
            "usage": {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5,
                "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 14}})
    };
    let completed = response("completed", json!([item("completed", arguments)]));
    if !stream {
        return Script::usual().json(completed);
    }
    let (begin, end) = arguments.split_at(arguments.len() / 2);
    let delta = |delta: &str| json!({"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 0, "delta": delta});
    named([
        json!({"type": "response.created", "response": response("in_progress", json!([]))}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item("in_progress", "")}),
        delta(begin),
        delta(end),
        json!({"type": "response.function_call_arguments.done", "item_id": "fc_1", "output_index": 0, "arguments": arguments}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item("completed", arguments)}),
        json!({"type": "response.completed", "response": completed}),
    ])
}

fn messages(stream: bool, tool: &str, arguments: &Value) -> Script {
    let message = |content: Value, stop: Value| {
        json!({"id": "msg_tool", "type": "message", "role": "assistant", "model": "m", "content": content,
            "stop_reason": stop, "stop_sequence": null, "usage": {"input_tokens": 9, "output_tokens": 5}})
    };
    let call = |input: &Value| json!({"type": "tool_use", "id": "toolu_1", "name": tool, "input": input});
    if !stream {
        return Script::usual().json(message(json!([call(arguments)]), json!("tool_use")));
    }
    let arguments = arguments.to_string();
    let (begin, end) = arguments.split_at(arguments.len() / 2);
    let delta = |part: &str| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": part}});
    named([
        json!({"type": "message_start", "message": message(json!([]), Value::Null)}),
        json!({"type": "content_block_start", "index": 0, "content_block": call(&json!({}))}),
        delta(begin),
        delta(end),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null},
            "usage": {"output_tokens": 5}}),
        json!({"type": "message_stop"}),
    ])
}

/// A stream whose events have their type as their name, as in the APIs that name them.
fn named<const N: usize>(payloads: [Value; N]) -> Script {
    let numbered = payloads.into_iter().enumerate().map(|(number, mut payload)| {
        let name = payload["type"].as_str().unwrap_or_default().to_owned();
        if name.starts_with("response.") {
            payload["sequence_number"] = json!(number);
        }
        Event::named(&name, payload)
    });
    Script::stream(numbered)
}
