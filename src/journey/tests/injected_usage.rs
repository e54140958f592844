//! A client that did not ask for usage gets a stream as if it had not been asked for.

use serde_json::{Value, json};

use super::super::test_support::*;
use super::super::{Ending, RequestStep, Worker};
use super::{CHAT, OK_STREAM};
use crate::record::Metric;

/// A chat stream with so many events of content, with and without its usage event.
fn stream(contents: usize) -> (String, String) {
    let content = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n".repeat(contents);
    let finish = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
    let done = "data: [DONE]\n\n";
    ([&*content, finish, usage, done].concat(), [&*content, finish, done].concat())
}

fn streamed(worker: &mut Worker, body: &Value) -> Pass {
    let sent = pass(worker, loop_request(CHAT, 1), body.to_string().as_bytes(), 99);
    assert_eq!(sent.step, RequestStep::Send);
    assert_eq!(sent.request.get("content-length"), Some(sent.request.body.len().to_string().as_str()));
    sent
}

#[test]
fn the_filter_asks_for_usage_if_the_client_does_not_and_removes_its_event() {
    let ask = json!({"model": "chat", "stream": true});
    let asks = json!({"model": "chat", "stream": true, "stream_options": {"include_usage": true}});
    let declines =
        json!({"model": "chat", "stream": true, "stream_options": {"include_usage": false, "x": 1}});
    let (whole, without) = stream(2);
    for (body, expected) in [(&ask, &without), (&asks, &whole), (&declines, &without)] {
        let worker = &mut worker(load(CONFIG));
        let mut sent = streamed(worker, body);
        assert_eq!(sent.sent_json()["stream_options"]["include_usage"], true, "{body}");
        sent.answer(worker, OK_STREAM, whole.as_bytes());
        assert_eq!(std::str::from_utf8(&sent.response.body).unwrap(), expected, "{body}");
        sent.exchange.finish(worker, Ending::Complete, NOW);
        assert_eq!(counted(worker, Metric::TokensInput), 3, "{body}");
    }
}

#[test]
fn usage_is_not_asked_for_outside_chat_streams_or_against_the_configuration() {
    let left = config_with(json!({"providers": {
        "openai": {"kind": "openai", "usage": "leave"}, "anthropic": {"kind": "anthropic"}}}));
    let streams = json!({"model": "chat", "stream": true});
    for (config, path, body) in [
        (left, CHAT, &streams),
        (load(CONFIG), CHAT, &json!({"model": "chat"})),
        (load(CONFIG), CHAT, &json!({"model": "chat", "stream": true, "stream_options": "odd"})),
        (load(CONFIG), "/v1/responses", &streams),
        (load(CONFIG), "/v1/messages", &streams),
    ] {
        let worker = &mut worker(config);
        let mut sent = pass(worker, loop_request(path, 1), body.to_string().as_bytes(), 99);
        assert_eq!(sent.sent_json().get("stream_options"), body.get("stream_options"), "{path} {body}");
        // A usage event that the filter did not ask for stays.
        let (whole, _) = stream(1);
        sent.answer(worker, OK_STREAM, whole.as_bytes());
        assert!(path != CHAT || sent.response.body == whole.as_bytes());
    }
}

#[test]
fn a_second_attempt_asks_for_usage_and_a_plain_response_stays_as_it_is() {
    let worker = &mut worker(load(CONFIG));
    let body = br#"{"model":"chat","stream":true}"#;
    let mut sent = pass(worker, loop_request(CHAT, 1), body, 99);
    sent.answer_from(worker, Origin::Upstream, &[(":status", "503")], b"{}");
    let mut sent = pass(worker, loop_request(CHAT, 2), body, 7);
    assert_eq!(
        sent.sent_json(),
        json!({"model": "gpt-real", "stream": true, "stream_options": {"include_usage": true}})
    );
    assert_eq!(sent.request.get("content-length"), Some(sent.request.body.len().to_string().as_str()));
    let answer = br#"{"choices":[],"usage":{"completion_tokens":1}}"#;
    sent.answer(worker, &[(":status", "200"), ("content-type", "application/json")], answer);
    assert_eq!(sent.response.body, answer);
}
