//! The usual responses of a vendor, plain or streamed, in the dialect of the path.
//!
//! Shapes after the vendors' API references (OpenAI chat completions, completions, responses, embeddings and models;
//! Anthropic messages; Gemini generateContent). The text names the provider, so that a test sees which one answered.

use serde_json::{Value, json};

use super::script::{Event, Script, Tokens};

const CREATED: u64 = 1_760_000_000;
const USUAL_INPUT_TOKENS: u64 = 12;

/// A response before a script splits, delays or cuts it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status, unless the script has another.
    pub status: u16,
    /// Headers in addition to content-type.
    pub headers: Vec<(&'static str, String)>,
    /// The content.
    pub form: Form,
}

/// Whether a response is one document or a stream.
#[derive(Clone, Debug)]
pub enum Form {
    /// One JSON document.
    Plain(Value),
    /// Server-sent events.
    Stream(Vec<Event>),
}

struct Saying<'a> {
    id: String,
    model: &'a str,
    words: Vec<String>,
    tokens: Tokens,
}

impl Saying<'_> {
    fn text(&self) -> String {
        self.words.concat()
    }
}

/// The usual response of the provider called `name` to its `nth` request.
pub fn usual(name: &str, nth: usize, path: &str, request: &[u8], script: &Script) -> Answer {
    let request: Value = serde_json::from_slice(request).unwrap_or(Value::Null);
    let words = words(script, name);
    let usual_tokens = Tokens { input: USUAL_INPUT_TOKENS, output: words.len() as u64 };
    let said = Saying {
        id: format!("{name}-{nth}"),
        model: request.get("model").and_then(Value::as_str).unwrap_or("unknown"),
        tokens: script.tokens.unwrap_or(usual_tokens),
        words,
    };
    let stream = request.get("stream") == Some(&Value::Bool(true));
    let path = path.split('?').next().unwrap_or(path);
    let form = if path.ends_with("/chat/completions") {
        chat(&said, &request, stream)
    } else if path.ends_with("/completions") {
        completions(&said, &request, stream)
    } else if path.ends_with("/responses") {
        responses(&said, stream)
    } else if path.ends_with("/embeddings") {
        Form::Plain(embeddings(&said, &request))
    } else if path.ends_with("/messages") {
        messages(&said, stream)
    } else if path.ends_with("generateContent") || path.ends_with("GenerateContent") {
        gemini(&said, path.ends_with(":streamGenerateContent"))
    } else if let Some(answer) = without_text(&said, path, &request) {
        Form::Plain(answer)
    } else if path.ends_with("/models") {
        Form::Plain(json!({ "object": "list", "data": [
            { "id": format!("{name}-model"), "object": "model", "created": CREATED, "owned_by": name }] }))
    } else {
        return Answer { status: 404, ..error(path, 404) };
    };
    let id_header = if is_anthropic(path) { "request-id" } else { "x-request-id" };
    Answer { status: 200, headers: vec![(id_header, format!("req_{name}-{nth}"))], form }
}

/// The answer of an endpoint that generates no text.
fn without_text(said: &Saying<'_>, path: &str, request: &Value) -> Option<Value> {
    let Tokens { input, output } = said.tokens;
    let last = path.rsplit_once("/v").map_or(path, |(_, last)| last);
    Some(match last {
        "1/messages/count_tokens" => json!({ "input_tokens": input }),
        "1/moderations" => json!({ "id": format!("modr-{}", said.id), "model": said.model, "results": [{
            "flagged": false, "categories": { "hate": false }, "category_scores": { "hate": 0.001 } }] }),
        "1/rerank" | "2/rerank" => {
            let count = request.get("documents").and_then(Value::as_array).map_or(0, Vec::len);
            let results: Vec<Value> =
                (0..count).map(|index| json!({ "index": index, "relevance_score": 0.5 })).collect();
            json!({ "id": said.id, "results": results, "meta": { "billed_units": { "search_units": 1 } } })
        }
        "1/images/generations" => json!({ "created": CREATED, "data": [{ "b64_json": "iVBORw0KGgo=" }],
            "usage": { "input_tokens": input, "output_tokens": output, "total_tokens": input + output } }),
        _ => return None,
    })
}

/// A short error in the dialect of the path.
pub fn error(path: &str, status: u16) -> Answer {
    let message = format!("scripted status {status}");
    let body = if is_anthropic(path) {
        json!({ "type": "error", "error": { "type": "api_error", "message": message }, "request_id": "req_scripted" })
    } else {
        json!({ "error": { "message": message, "type": "server_error", "param": null, "code": null } })
    };
    Answer { status, headers: Vec::new(), form: Form::Plain(body) }
}

fn is_anthropic(path: &str) -> bool {
    path.split('?').next().is_some_and(|path| path.contains("/messages"))
}

/// The content chunks: each word with the space before it, repeated up to this number.
fn words(script: &Script, name: &str) -> Vec<String> {
    let usual = format!("hello from {name}");
    let text = script.say.as_deref().unwrap_or(&usual);
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    let count = script.content_chunks.unwrap_or(words.len());
    words.iter().cycle().take(count).map(|word| (*word).to_owned()).collect()
}

fn chat_usage(tokens: Tokens) -> Value {
    json!({
        "prompt_tokens": tokens.input, "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": 0, "audio_tokens": 0 },
    })
}

fn asks_for_usage(request: &Value) -> bool {
    request.pointer("/stream_options/include_usage") == Some(&Value::Bool(true))
}

fn chat(said: &Saying<'_>, request: &Value, stream: bool) -> Form {
    let id = format!("chatcmpl-{}", said.id);
    if !stream {
        return Form::Plain(json!({
            "id": id, "object": "chat.completion", "created": CREATED, "model": said.model,
            "choices": [{ "index": 0, "logprobs": null, "finish_reason": "stop",
                "message": { "role": "assistant", "content": said.text(), "refusal": null, "annotations": [] } }],
            "usage": chat_usage(said.tokens), "service_tier": "default", "system_fingerprint": "fp_scripted",
        }));
    }
    let with_usage = asks_for_usage(request);
    let chunk = |choices: Value, usage: Value| {
        let mut chunk = json!({
            "id": id, "object": "chat.completion.chunk", "created": CREATED, "model": said.model,
            "service_tier": "default", "system_fingerprint": "fp_scripted", "choices": choices,
        });
        if with_usage {
            chunk["usage"] = usage;
        }
        Event::data(chunk)
    };
    let delta = |delta: Value, finish: Value| {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish });
        chunk(json!([choice]), Value::Null)
    };
    let mut events = vec![delta(json!({ "role": "assistant", "content": "", "refusal": null }), Value::Null)];
    events.extend(said.words.iter().map(|word| delta(json!({ "content": word }), Value::Null)));
    events.push(delta(json!({}), json!("stop")));
    if with_usage {
        events.push(chunk(json!([]), chat_usage(said.tokens)));
    }
    events.push(Event::data("[DONE]"));
    Form::Stream(events)
}

fn completions(said: &Saying<'_>, request: &Value, stream: bool) -> Form {
    let id = format!("cmpl-{}", said.id);
    let chunk = |choices: Value| json!({ "id": id, "object": "text_completion", "created": CREATED, "model": said.model, "choices": choices });
    let choice = |text: &str, finish: Value| json!([{ "text": text, "index": 0, "logprobs": null, "finish_reason": finish }]);
    if !stream {
        let mut document = chunk(choice(&said.text(), json!("stop")));
        document["usage"] = chat_usage(said.tokens);
        return Form::Plain(document);
    }
    let mut events: Vec<Event> =
        said.words.iter().map(|word| Event::data(chunk(choice(word, Value::Null)))).collect();
    events.push(Event::data(chunk(choice("", json!("stop")))));
    if asks_for_usage(request) {
        let mut usage = chunk(json!([]));
        usage["usage"] = chat_usage(said.tokens);
        events.push(Event::data(usage));
    }
    events.push(Event::data("[DONE]"));
    Form::Stream(events)
}

fn response_object(said: &Saying<'_>, status: &str, output: Value, usage: Value) -> Value {
    json!({
        "id": format!("resp_{}", said.id), "object": "response", "created_at": CREATED, "status": status,
        "error": null, "incomplete_details": null, "instructions": null, "metadata": {}, "model": said.model,
        "output": output, "parallel_tool_calls": true, "temperature": 1.0, "top_p": 1.0, "tool_choice": "auto",
        "tools": [], "usage": usage,
    })
}

fn responses(said: &Saying<'_>, stream: bool) -> Form {
    let item_id = format!("msg_{}", said.id);
    let item = |status: &str, content: Value| json!({ "id": item_id, "type": "message", "role": "assistant", "status": status, "content": content });
    let part = |text: &str| json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] });
    let usage = json!({
        "input_tokens": said.tokens.input, "input_tokens_details": { "cached_tokens": 0 },
        "output_tokens": said.tokens.output, "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": said.tokens.input + said.tokens.output,
    });
    let done_item = item("completed", json!([part(&said.text())]));
    let completed = response_object(said, "completed", json!([done_item]), usage);
    if !stream {
        return Form::Plain(completed);
    }
    let started = response_object(said, "in_progress", json!([]), Value::Null);
    let place = |mut event: Value| {
        event["item_id"] = json!(item_id);
        event["content_index"] = json!(0);
        event["output_index"] = json!(0);
        event
    };
    let mut payloads = vec![
        json!({ "type": "response.created", "response": started }),
        json!({ "type": "response.in_progress", "response": started }),
        json!({ "type": "response.output_item.added", "output_index": 0, "item": item("in_progress", json!([])) }),
        place(json!({ "type": "response.content_part.added", "part": part("") })),
    ];
    payloads.extend(
        said.words.iter().map(|word| {
            place(json!({ "type": "response.output_text.delta", "delta": word, "logprobs": [] }))
        }),
    );
    payloads.extend([
        place(json!({ "type": "response.output_text.done", "text": said.text(), "logprobs": [] })),
        place(json!({ "type": "response.content_part.done", "part": part(&said.text()) })),
        json!({ "type": "response.output_item.done", "output_index": 0, "item": done_item }),
        json!({ "type": "response.completed", "response": completed }),
    ]);
    let numbered = payloads.into_iter().enumerate().map(|(number, mut payload)| {
        payload["sequence_number"] = json!(number);
        let name = payload["type"].as_str().unwrap_or_default().to_owned();
        Event::named(&name, payload)
    });
    Form::Stream(numbered.collect())
}

fn embeddings(said: &Saying<'_>, request: &Value) -> Value {
    let count = request.get("input").and_then(Value::as_array).map_or(1, Vec::len);
    let rows: Vec<Value> = (0..count)
        .map(|index| json!({ "object": "embedding", "index": index, "embedding": [0.25, -0.5, 0.125, 1.0] }))
        .collect();
    let input = said.tokens.input;
    json!({ "object": "list", "data": rows, "model": said.model,
        "usage": { "prompt_tokens": input, "total_tokens": input } })
}

fn messages(said: &Saying<'_>, stream: bool) -> Form {
    let usage = |output: u64| {
        json!({ "input_tokens": said.tokens.input, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "output_tokens": output, "service_tier": "standard" })
    };
    let message = |content: Value, stop: Value, usage: Value| {
        json!({ "id": format!("msg_{}", said.id), "type": "message", "role": "assistant", "model": said.model,
            "content": content, "stop_reason": stop, "stop_sequence": null, "usage": usage })
    };
    if !stream {
        let content = json!([{ "type": "text", "text": said.text() }]);
        return Form::Plain(message(content, json!("end_turn"), usage(said.tokens.output)));
    }
    let mut payloads = vec![
        json!({ "type": "message_start", "message": message(json!([]), Value::Null, usage(1)) }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "ping" }),
    ];
    payloads.extend(said.words.iter().map(|word| {
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": word } })
    }));
    payloads.extend([
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn", "stop_sequence": null },
            "usage": { "output_tokens": said.tokens.output } }),
        json!({ "type": "message_stop" }),
    ]);
    let named = payloads.into_iter().map(|payload| {
        let name = payload["type"].as_str().unwrap_or_default().to_owned();
        Event::named(&name, payload)
    });
    Form::Stream(named.collect())
}

fn gemini(said: &Saying<'_>, stream: bool) -> Form {
    let chunk = |text: &str, finish: Option<&str>, output: u64| {
        let mut candidate =
            json!({ "index": 0, "content": { "role": "model", "parts": [{ "text": text }] } });
        if let Some(finish) = finish {
            candidate["finishReason"] = json!(finish);
        }
        json!({ "candidates": [candidate], "modelVersion": said.model, "responseId": said.id,
            "usageMetadata": { "promptTokenCount": said.tokens.input, "candidatesTokenCount": output,
                "totalTokenCount": said.tokens.input + output } })
    };
    if !stream {
        return Form::Plain(chunk(&said.text(), Some("STOP"), said.tokens.output));
    }
    let last = said.words.len().saturating_sub(1);
    let chunks = said.words.iter().enumerate().map(|(index, word)| {
        let output = if index == last { said.tokens.output } else { index as u64 + 1 };
        Event::data(chunk(word, (index == last).then_some("STOP"), output))
    });
    Form::Stream(chunks.collect())
}
