use proptest::prelude::*;
use serde_json::{Value, json};

use super::dialect::StreamDialect::{self, Chat, Completions, Gemini, Messages, Responses};
use super::meaning::Substance;
use super::plain::{AnswerReader, PlainEnding};
use crate::base::Endpoint;
use crate::base::FinishReason;
use crate::base::usage::{MAX_TOKENS, Usage};

type Read = (Option<[u64; 5]>, Option<FinishReason>);

fn read<'c>(dialect: StreamDialect, pieces: impl IntoIterator<Item = &'c [u8]>) -> Read {
    let mut reader = AnswerReader::in_dialect(dialect);
    pieces.into_iter().for_each(|piece| reader.feed(piece));
    let numbers =
        |usage: Usage| [usage.input, usage.cached_input, usage.cache_creation, usage.output, usage.reasoning];
    (reader.usage().map(numbers), reader.finish_reason())
}

fn read_whole(dialect: StreamDialect, text: &str) -> Read {
    read(dialect, [text.as_bytes()])
}

/// Responses from the providers' references, and what is to be read in them.
fn samples() -> Vec<(StreamDialect, Value, Read)> {
    let response = |status: &str, details: Value| {
        json!({
            "id": "resp_1", "object": "response", "status": status, "error": null,
            "incomplete_details": details,
            "output": [{"type": "message", "status": "completed", "content": [
                {"type": "output_text", "text": "{\"usage\":{\"input_tokens\":9}}"}]}],
            "usage": {"input_tokens": 36, "input_tokens_details": {"cached_tokens": 8}, "output_tokens": 87,
                "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 123}
        })
    };
    let counts = Some([36, 8, 0, 87, 5]);
    vec![
        (
            Chat,
            json!({
                "id": "chatcmpl-1", "object": "chat.completion", "model": "m",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "\"usage\": 👋",
                    "annotations": [{"usage": {"prompt_tokens": 1}, "finish_reason": "length"}]},
                    "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29,
                    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
                    "completion_tokens_details": {"reasoning_tokens": 3}},
                "service_tier": "default"
            }),
            (Some([19, 4, 0, 10, 3]), Some(FinishReason::Stop)),
        ),
        (
            Chat,
            json!({"choices": [
                {"message": {"tool_calls": [{"function": {"name": "f"}}]}, "finish_reason": "tool_calls"},
                {"message": {"content": "x"}, "finish_reason": "length"}], "usage": null}),
            (None, Some(FinishReason::Length)),
        ),
        (
            Chat,
            json!({"choices": [{"message": {"content": "x"}, "finish_reason": "length"},
                {"message": {}, "finish_reason": "error"}]}),
            (None, Some(FinishReason::Length)),
        ),
        (
            Chat,
            json!({"choices": [{"message": {}, "finish_reason": "error"}, {"message": {}, "finish_reason": "error"}]}),
            (None, Some(FinishReason::Error)),
        ),
        (
            Chat,
            json!({"data": [{"embedding": [0.1, 0.2]}], "usage": {"prompt_tokens": 8, "total_tokens": 8}}),
            (Some([8, 0, 0, 0, 0]), None),
        ),
        (
            Completions,
            json!({"choices": [{"text": "x", "finish_reason": "length"}], "usage": {"prompt_tokens": 5}}),
            (Some([5, 0, 0, 0, 0]), Some(FinishReason::Length)),
        ),
        (Responses, response("completed", Value::Null), (counts, Some(FinishReason::Stop))),
        (
            Responses,
            response("incomplete", json!({"reason": "max_output_tokens"})),
            (counts, Some(FinishReason::Length)),
        ),
        (Responses, response("failed", Value::Null), (counts, Some(FinishReason::Error))),
        (Responses, json!({"status": "queued", "usage": null}), (None, None)),
        (
            Messages,
            json!({"id": "msg_1", "type": "message", "role": "assistant",
                "content": [{"type": "text", "text": "hi"}],
                "stop_reason": "end_turn", "stop_sequence": null,
                "usage": {"input_tokens": 25, "cache_creation_input_tokens": 100,
                    "cache_read_input_tokens": 1000,
                    "cache_creation": {"ephemeral_5m_input_tokens": 100}, "output_tokens": 15}}),
            (Some([1125, 1000, 100, 15, 0]), Some(FinishReason::Stop)),
        ),
        (
            Gemini,
            json!({"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "MAX_TOKENS"}],
                "usageMetadata": {"promptTokenCount": 8, "cachedContentTokenCount": 2,
                    "candidatesTokenCount": 20,
                    "thoughtsTokenCount": 12, "promptTokensDetails": [{"tokenCount": 8}]}}),
            (Some([8, 2, 0, 32, 12]), Some(FinishReason::Length)),
        ),
    ]
}

#[test]
fn usage_and_finish_reason_are_read_in_every_dialect() {
    for (dialect, answer, expected) in samples() {
        assert_eq!(read_whole(dialect, &answer.to_string()), expected, "{answer}");
        assert_eq!(read_whole(dialect, &serde_json::to_string_pretty(&answer).unwrap()), expected);
    }
}

#[test]
fn a_split_anywhere_changes_nothing() {
    for (dialect, answer, expected) in samples() {
        let text = answer.to_string();
        for at in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(at);
            assert_eq!(read(dialect, [head, tail]), expected, "{answer} at {at}");
        }
        assert_eq!(read(dialect, text.as_bytes().chunks(1)), expected);
    }
}

#[test]
fn counts_are_read_only_in_their_place_and_once_complete() {
    let none = (None, None);
    for text in [
        r#"{"x":{"usage":{"prompt_tokens":1}}}"#,
        r#"{"choices":[{"usage":{"prompt_tokens":1}}]}"#,
        r#"{"choices":[[{"finish_reason":"stop"}]]}"#,
        r#"{"choices":{"finish_reason":"stop"}}"#,
        r#"{"usage":[{"prompt_tokens":1}]}"#,
        r#"{"usage":{"x":{"prompt_tokens":1}}}"#,
        r#"{"usage":{"prompt_tokens":"1","completion_tokens":-3}}"#,
        r#"{"usage":{"prompt_tokens":[1]}}"#,
        r#"{"usage":{"prompt_tokens":1"#,
        r#"[{"usage":{"prompt_tokens":1}}]"#,
        "hello",
        "",
    ] {
        assert_eq!(read_whole(Chat, text), none, "{text}");
    }
    let said = |text| read_whole(Chat, text).0;
    assert_eq!(
        said(r#"{"usage":{"prompt_tokens":1},"choices":[{"mess"#),
        Some([1, 0, 0, 0, 0]),
        "whole, then cut"
    );
    assert_eq!(
        said(r#"{"usage":{"prompt_tokens":1},"usage":{"completion_tokens":2}}"#),
        Some([0, 0, 0, 2, 0])
    );
    assert_eq!(said(r#"{"\u0075sage":{"prompt_tokens":1e2}}"#), Some([100, 0, 0, 0, 0]));
    let absurd = said(r#"{"usage":{"prompt_tokens":1e300,"completion_tokens":18446744073709551615}}"#);
    assert_eq!(absurd, Some([MAX_TOKENS, 0, 0, MAX_TOKENS, 0]));
}

#[test]
fn embeddings_are_counted_like_chat() {
    let mut reader = AnswerReader::new(Endpoint::Embeddings);
    reader.feed(br#"{"data":[],"usage":{"prompt_tokens":8}}"#);
    assert_eq!(reader.usage().map(|usage| usage.input), Some(8));
}

#[test]
fn an_answer_that_is_no_text_is_known_by_the_member_that_holds_it() {
    use Endpoint::{CountTokens, Embeddings, Images, Moderations, Rerank, Speech};
    let ending = |endpoint, text: &str| {
        let mut reader = AnswerReader::new(endpoint);
        reader.feed(text.as_bytes());
        reader.ending()
    };
    let answer = PlainEnding::Answer(Substance::Answer);
    let nothing = PlainEnding::Answer(Substance::Nothing);
    for (endpoint, text, expected) in [
        (CountTokens, r#"{"input_tokens":2095}"#, answer),
        (CountTokens, r#"{"input_tokens":0,"original_input_tokens":7}"#, answer),
        (CountTokens, r#"{"type":"message","content":[{"type":"text","text":"hi"}]}"#, PlainEnding::Foreign),
        (Moderations, r#"{"id":"m","results":[{"flagged":false,"category_scores":{"hate":0.01}}]}"#, answer),
        (Moderations, r#"{"id":"m","results":[]}"#, nothing),
        (Rerank, r#"{"results":[{"index":3,"relevance_score":0.99}],"meta":{}}"#, answer),
        (Rerank, r#"{"object":"list","data":[{"index":0,"relevance_score":0.4}]}"#, answer),
        (Rerank, r#"{"results":[]}"#, nothing),
        (Images, r#"{"created":1,"data":[{"b64_json":"iVBO"}]}"#, answer),
        (Images, r#"{"created":1,"data":[{"url":"https://x/y.png","revised_prompt":null}]}"#, answer),
        (Images, r#"{"created":1,"data":[]}"#, nothing),
        (Images, r#"{"choices":[{"message":{"content":"hi"}}]}"#, PlainEnding::Foreign),
        (Speech, r#"{"audio":"SUQz"}"#, answer),
        (Speech, r#"{"status":"ok"}"#, PlainEnding::Foreign),
        (Embeddings, r#"{"data":[{"embedding":[0.5]}]}"#, answer),
    ] {
        assert_eq!(ending(endpoint, text), expected, "{endpoint:?} {text}");
    }
}

#[test]
fn the_tokens_of_an_image_are_counted() {
    let mut reader = AnswerReader::new(Endpoint::Images);
    reader.feed(br#"{"data":[{"b64_json":"x"}],"usage":{"input_tokens":50,"output_tokens":1056,"total_tokens":1106}}"#);
    let usage = reader.usage().unwrap();
    assert_eq!((usage.input, usage.output), (50, 1056));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<u32>().prop_map(Value::from),
        any::<String>().prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = prop_oneof![Just("usage".to_owned()), Just("prompt_tokens".to_owned()), "[a-z]{0,4}"];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_surrounds_the_usage_does_not_matter(
        before in any_json(), after in any_json(), input in 0_u64..MAX_TOKENS, piece in 1_usize..40
    ) {
        let text = format!(r#"{{"before":{before},"usage":{{"prompt_tokens":{input},"x":{before}}},
            "choices":[{{"message":{after},"finish_reason":"stop"}}],"after":{after}}}"#);
        let said = read(Chat, text.as_bytes().chunks(piece));
        prop_assert_eq!(said, (Some([input, 0, 0, 0, 0]), Some(FinishReason::Stop)));
    }
}

#[test]
fn an_ending_says_what_there_is_of_an_answer_for_any_chunking() {
    use PlainEnding::{CutOff, Failed, Foreign, NoObject, NotJson, Unread};
    const ANSWER: PlainEnding = PlainEnding::Answer(Substance::Answer);
    const EMPTY_STOP: PlainEnding = PlainEnding::Answer(Substance::EmptyStop);
    const NOTHING: PlainEnding = PlainEnding::Answer(Substance::Nothing);
    let deep = format!("{{\"choices\":{}", "[".repeat(300));
    for (endpoint, text, expected) in [
        (Endpoint::Chat, r#"{"choices":[{"message":{"role":"assistant","content":"x"}}]}"#, ANSWER),
        (Endpoint::Chat, r#"{"choices":[{"message":{"content":[{"type":"text","text":"x"}]}}]}"#, ANSWER),
        (Endpoint::Chat, r#"{"choices":[{"message":{"content":[{"type":"text","text":""}]}}]}"#, NOTHING),
        (Endpoint::Chat, r#"{"choices":[{"message":{"tool_calls":[{"id":"c"}]}}]}"#, ANSWER),
        (Endpoint::Chat, r#"{"choices":[{"message":{"tool_calls":[],"x":{"y":null}}}]}"#, NOTHING),
        (
            Endpoint::Chat,
            r#"{"choices":[{"message":{"name":"x","role":"y"},"finish_reason":"stop"}]}"#,
            EMPTY_STOP,
        ),
        (Endpoint::Chat, r#"{"choices":[{"message":{"content":""}},{"message":{"content":"x"}}]}"#, ANSWER),
        (Endpoint::Chat, r#"{"choices":[],"usage":{"completion_tokens":1}}"#, ANSWER),
        (Endpoint::Chat, r#"{"choices":[{"finish_reason":"abort","message":{"content":"x"}}]}"#, Failed),
        (Endpoint::Chat, r#"{"data":[{"embedding":[1]}]}"#, Foreign),
        (Endpoint::Chat, r#"{"choices":null}"#, Foreign),
        (Endpoint::Chat, r#"{"choices":[{"mess"#, CutOff),
        (Endpoint::Chat, "", CutOff),
        (Endpoint::Chat, "[1]", NoObject),
        (Endpoint::Chat, "Error", NotJson),
        (Endpoint::Chat, r#"{"choices":[]}{"choices":[]}"#, NotJson),
        (Endpoint::Chat, &deep, Unread),
        (Endpoint::Completions, r#"{"choices":[{"text":""}]}"#, NOTHING),
        (Endpoint::Completions, r#"{"choices":[{"text":"","logprobs":{"tokens":[],"top":null}}]}"#, NOTHING),
        (Endpoint::Embeddings, r#"{"choices":[{"text":"x"}]}"#, Foreign),
        (Endpoint::Embeddings, r#"{"data":[{"index":0,"object":"embedding","embedding":[]}]}"#, NOTHING),
        (Endpoint::Embeddings, r#"{"data":[{"index":0,"object":"embedding","embedding":[0]}]}"#, ANSWER),
        (
            Endpoint::Messages,
            r#"{"content":[{"type":"text","text":""}],"stop_reason":"end_turn"}"#,
            EMPTY_STOP,
        ),
        (Endpoint::Messages, r#"{"content":[{"type":"tool_use","id":"t","name":"f","input":{}}]}"#, ANSWER),
        (Endpoint::Messages, r#"{"content":"text"}"#, ANSWER),
        (Endpoint::Messages, r#"{"content":[],"stop_reason":"max_tokens"}"#, ANSWER),
        (
            Endpoint::Responses,
            r#"{"status":"completed","output":[{"type":"message","id":"m","content":[]}]}"#,
            EMPTY_STOP,
        ),
        (
            Endpoint::Responses,
            r#"{"status":"completed","output":[{"type":"reasoning","summary":[{"type":"s","text":"x"}]}]}"#,
            ANSWER,
        ),
        (Endpoint::Responses, r#"{"status":"in_progress","output":[]}"#, ANSWER),
        (Endpoint::Responses, r#"{"status":"cancelled","output":[]}"#, Failed),
        (Endpoint::Responses, r#"{"status":"completed"}"#, Foreign),
    ] {
        let ending = |pieces: &[&[u8]]| {
            let mut reader = AnswerReader::new(endpoint);
            pieces.iter().for_each(|piece| reader.feed(piece));
            reader.ending()
        };
        for at in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(at);
            assert_eq!(ending(&[head, tail]), expected, "{endpoint:?} {text} cut at {at}");
        }
        if !text.is_empty() {
            assert_eq!(ending(&[b"\xef", b"\xbb\xbf", text.as_bytes()]), expected, "{text} after a mark");
        }
    }
}
