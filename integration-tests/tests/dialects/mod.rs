//! The parts of a stream in each dialect. Tests combine them into the streams of failing providers.

use integration_tests::provider::Event;
use serde_json::{Value, json};

/// A dialect: its path and its events.
pub struct Dialect {
    pub path: &'static str,
    /// Events before the first content.
    pub opening: Vec<Event>,
    /// An event without content.
    pub ping: Event,
    /// The end of a complete stream.
    pub closing: Vec<Event>,
    /// The error event of a provider.
    pub error: Event,
    /// How a client is told that its stream was cut or stalled: a JSON pointer into the error event and the value there.
    pub told_cut: (&'static str, &'static str),
    content: fn(&str) -> Event,
}

impl Dialect {
    /// An event with this content.
    pub fn content(&self, text: &str) -> Event {
        (self.content)(text)
    }

    /// A complete stream with these pieces of content.
    pub fn whole(&self, contents: &[&str]) -> Vec<Event> {
        let contents = contents.iter().map(|text| self.content(text));
        self.opening.iter().cloned().chain(contents).chain(self.closing.iter().cloned()).collect()
    }

    /// Whether a stream contains what clients accept as a normal end.
    pub fn claims_completion(&self, text: &str) -> bool {
        ["[DONE]", "message_stop", "response.completed"].iter().any(|end| text.contains(end))
    }
}

/// OpenAI's chat completions.
pub fn chat() -> Dialect {
    fn chunk(delta: Value, finish: Value) -> Event {
        Event::data(json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}))
    }
    Dialect {
        path: "/v1/chat/completions",
        opening: vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)],
        ping: chunk(json!({}), Value::Null),
        closing: vec![chunk(json!({}), json!("stop")), Event::data("[DONE]")],
        error: Event::data(
            json!({"error": {"message": "busy", "type": "server_error", "code": "overloaded"}}),
        ),
        told_cut: ("/error/code", "stream_truncated"),
        content: |text| chunk(json!({"content": text}), Value::Null),
    }
}

/// OpenAI's responses.
pub fn responses() -> Dialect {
    fn event(name: &str, mut payload: Value) -> Event {
        payload["type"] = json!(name);
        Event::named(name, payload)
    }
    Dialect {
        path: "/v1/responses",
        opening: vec![event("response.created", json!({"sequence_number": 0, "response": {"id": "r"}}))],
        ping: event("response.in_progress", json!({"sequence_number": 1, "response": {"id": "r"}})),
        closing: vec![event(
            "response.completed",
            json!({"sequence_number": 9, "response": {"id": "r", "status": "completed",
            "usage": {"input_tokens": 1, "output_tokens": 1}}}),
        )],
        error: event("error", json!({"sequence_number": 3, "code": "server_error", "message": "busy"})),
        told_cut: ("/code", "stream_truncated"),
        content: |text| {
            event(
                "response.output_text.delta",
                json!({"sequence_number": 2, "item_id": "i", "output_index": 0,
                "content_index": 0, "delta": text}),
            )
        },
    }
}

/// Anthropic's messages.
pub fn messages() -> Dialect {
    fn event(name: &str, mut payload: Value) -> Event {
        payload["type"] = json!(name);
        Event::named(name, payload)
    }
    let message = json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1}});
    let block = json!({"index": 0, "content_block": {"type": "text", "text": ""}});
    Dialect {
        path: "/v1/messages",
        opening: vec![
            event("message_start", json!({"message": message})),
            event("content_block_start", block),
        ],
        ping: event("ping", json!({})),
        closing: vec![
            event("content_block_stop", json!({"index": 0})),
            event(
                "message_delta",
                json!({"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}),
            ),
            event("message_stop", json!({})),
        ],
        error: event("error", json!({"error": {"type": "overloaded_error", "message": "busy"}})),
        told_cut: ("/error/type", "api_error"),
        content: |text| {
            event("content_block_delta", json!({"index": 0, "delta": {"type": "text_delta", "text": text}}))
        },
    }
}

/// All dialects.
pub fn all() -> [Dialect; 3] {
    [chat(), responses(), messages()]
}

/// Events as they are sent.
pub fn wire(events: &[Event]) -> String {
    events.iter().map(Event::to_wire).collect()
}
