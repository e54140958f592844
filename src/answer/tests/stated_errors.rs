//! An answer is searched for an error only if reading it has shown that there may be one.

use proptest::prelude::*;
use serde_json::Value;

use crate::base::{Endpoint, HeaderBlock};
use crate::provider::{ProviderKind, failure_in_success};
use crate::stream::AnswerReader;

const ENDPOINTS: [Endpoint; 4] =
    [Endpoint::Chat, Endpoint::Responses, Endpoint::Messages, Endpoint::Embeddings];

fn read(endpoint: Endpoint, text: &str, piece: usize) -> AnswerReader {
    let mut reader = AnswerReader::new(endpoint);
    text.as_bytes().chunks(piece).for_each(|piece| reader.feed(piece));
    reader
}

fn states_error(text: &str) -> bool {
    failure_in_success(ProviderKind::OpenAi, &HeaderBlock::default(), text.as_bytes()).is_some()
}

#[test]
fn an_ordinary_answer_is_not_searched() {
    for (endpoint, text) in [
        (
            Endpoint::Chat,
            r#"{"object":"chat.completion","choices":[{"message":{"role":"assistant","content":"\"error\": error"},
            "finish_reason":"stop"}],"usage":{"completion_tokens":1}}"#,
        ),
        (Endpoint::Messages, r#"{"type":"message","content":[{"type":"text","text":"error"}]}"#),
        (Endpoint::Responses, r#"{"object":"response","status":"completed","output":[]}"#),
    ] {
        assert!(!read(endpoint, text, text.len()).may_state_error(), "{text}");
    }
}

/// Objects of the words that errors consist of.
fn any_answer() -> impl Strategy<Value = Value> {
    let word = || {
        prop::sample::select(vec![
            "error",
            "type",
            "object",
            "status",
            "choices",
            "response",
            "finish_reason",
            "failed",
            "message",
            "response.failed",
            "stop",
            "id",
            "content",
            "output",
            "",
        ])
    };
    let leaf = prop_oneof![Just(Value::Null), (0..2_u8).prop_map(Value::from), word().prop_map(Value::from)];
    let value = leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from), object(word(), inner),]
    });
    object(word(), value)
}

fn object(
    key: impl Strategy<Value = &'static str>,
    value: impl Strategy<Value = Value>,
) -> impl Strategy<Value = Value> {
    let members = prop::collection::vec((key, value), 0..5);
    members.prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_answer_that_states_an_error_is_searched(
        answer in any_answer(), endpoint in prop::sample::select(&ENDPOINTS[..]), piece in 1_usize..40
    ) {
        let text = answer.to_string();
        if states_error(&text) {
            prop_assert!(read(endpoint, &text, piece).may_state_error(), "{}", text);
        }
    }
}

#[test]
fn the_words_above_make_errors() {
    for text in [
        r#"{"error":"stop"}"#,
        r#"{"type":"error"}"#,
        r#"{"type":"response.failed"}"#,
        r#"{"object":"response","status":"failed","id":"error"}"#,
        r#"{"choices":[{"finish_reason":"error"}]}"#,
        r#"{"choices":[{"error":{"message":"stop"}}]}"#,
    ] {
        assert!(states_error(text), "{text}");
        for endpoint in ENDPOINTS {
            assert!(read(endpoint, text, 1).may_state_error(), "{text}");
        }
    }
}
