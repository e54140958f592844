//! With `response_model: logical` the client reads the model name that it asked for.

use serde_json::{Value, json};

use super::super::test_support::*;
use super::super::{RequestStep, Worker};
use super::{CHAT, OK_JSON, OK_STREAM};
use crate::answer::MAX_HELD_PLAIN;
use crate::config::Config;

fn logical() -> Config {
    config_with(json!({"models": {
        "chat": {"tiers": [["gpt-a", "gpt-b"], ["claude"]], "response_model": "logical"},
        "gpt": {"targets": ["gpt-a"], "response_model": "logical"},
    }}))
}

fn sent(worker: &mut Worker, body: &Value) -> Pass {
    let sent = pass(worker, loop_request(CHAT, 1), body.to_string().as_bytes(), 99);
    assert_eq!(sent.step, RequestStep::Send);
    sent
}

#[test]
fn the_body_names_the_logical_model_and_the_header_the_real_one() {
    let worker = &mut worker(logical());
    let answer = json!({"choices": [{"message": {"content": "hi"}}], "model": "gpt-real-2026"}).to_string();
    let length = answer.len().to_string();
    let headers = [OK_JSON, &[("content-length", &*length)]].concat();
    let mut whole = sent(worker, &json!({"model": "chat"}));
    whole.answer(worker, &headers, answer.as_bytes());
    let expected = answer.replace("gpt-real-2026", "chat");
    assert_eq!(String::from_utf8(whole.response.body.clone()).unwrap(), expected);
    assert_eq!(whole.response.get("content-length"), Some(expected.len().to_string().as_str()));
    assert_eq!(whole.response.get("x-llm-model"), Some("gpt-real"));
    // Without a length from the provider the client gets none.
    let mut whole = sent(worker, &json!({"model": "chat"}));
    whole.answer(worker, OK_JSON, answer.as_bytes());
    assert_eq!(whole.response.get("content-length"), None);
    let mut streamed = sent(worker, &json!({"model": "gpt", "stream": true}));
    let content = r#"data: {"model":"gpt-real-2026","choices":[{"index":0,"delta":{"content":"hi"}}]}"#;
    let finish =
        r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"model":"gpt-real-2026"}"#;
    let usage = r#"data: {"model":"gpt-real-2026","choices":[],"usage":{"prompt_tokens":3}}"#;
    let whole = [content, finish, usage, "data: [DONE]", ""].join("\n\n");
    streamed.answer(worker, OK_STREAM, whole.as_bytes());
    let expected = [content, finish, "data: [DONE]", ""].join("\n\n").replace("gpt-real-2026", "gpt");
    assert_eq!(String::from_utf8(streamed.response.body).unwrap(), expected);
}

#[test]
fn a_plain_response_longer_than_the_held_size_is_renamed_without_a_wrong_length() {
    for name_first in [true, false] {
        let worker = &mut worker(logical());
        let text = "x".repeat(2 * MAX_HELD_PLAIN);
        let answer = if name_first {
            format!(r#"{{"model":"gpt-real","choices":[{{"message":{{"content":"{text}"}}}}]}}"#)
        } else {
            format!(r#"{{"choices":[{{"message":{{"content":"{text}"}}}}],"model":"gpt-real"}}"#)
        };
        let mut pass = sent(worker, &json!({"model": "chat"}));
        let length = answer.len().to_string();
        pass.response = FakeWire::new(&[OK_JSON, &[("content-length", &*length)]].concat());
        let block = pass.response.block();
        let step = pass.exchange.response_headers(
            worker,
            block,
            false,
            NOW,
            || Origin::Upstream,
            &mut pass.response,
        );
        assert_eq!(step, Release::Hold);
        // The name is cut in two, wherever it stands.
        let cut = answer.find("real").unwrap();
        let pieces = [&answer[..cut], &answer[cut..]];
        let mut got = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            pass.response.body.extend_from_slice(piece.as_bytes());
            let available = pass.response.body.len();
            let step = pass.exchange.response_body(worker, available, index == 1, NOW, &mut pass.response);
            if index == 0 {
                assert_eq!(step, Release::Hold, "half a name is held back");
            } else {
                assert_eq!(step, Release::Pass);
                got.append(&mut pass.response.body);
            }
        }
        let got = String::from_utf8(got).unwrap();
        assert_eq!(got, answer.replace("gpt-real", "chat"));
        let length = pass.response.get("content-length");
        assert!(length.is_none_or(|length| length == got.len().to_string()), "{length:?}");
    }
}

#[test]
fn errors_compressed_responses_and_models_without_the_option_stay_as_they_are() {
    let body = br#"{"model":"gpt-real","error":{"message":"no","type":"invalid_request_error"}}"#;
    let length = body.len().to_string();
    let gzip = [OK_JSON, &[("content-encoding", "gzip"), ("content-length", &*length)]].concat();
    let bad = [(":status", "400"), ("content-type", "application/json"), ("content-length", &*length)];
    for (config, headers) in [(logical(), &gzip[..]), (logical(), &bad[..])] {
        let worker = &mut worker(config);
        let mut pass = sent(worker, &json!({"model": "gpt"}));
        pass.answer(worker, headers, body);
        assert_eq!(pass.response.body, body);
        assert_eq!(pass.response.get("content-length"), Some(&*length));
    }
    let worker = &mut worker(load(CONFIG));
    let mut pass = sent(worker, &json!({"model": "chat"}));
    let answer = br#"{"model":"gpt-real","choices":[{"text":"hi"}]}"#;
    pass.answer(worker, &[OK_JSON, &[("content-length", "46")]].concat(), answer);
    assert_eq!((&pass.response.body[..], pass.response.get("content-length")), (&answer[..], Some("46")));
}
