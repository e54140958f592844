//! Properties of all ways.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::sample::{Cuts, Sample, cuts, sample};
use super::*;

/// What the client of a way makes of a stream.
fn accumulated(way: Translation, out: &[u8]) -> (Value, bool) {
    let events = client_events(out);
    match way.from() {
        Endpoint::Messages => accumulate::messages(&events),
        Endpoint::Responses => accumulate::responses(&events),
        _ => accumulate::chat(&events),
    }
}

fn provider_plain(way: Translation, sample: &Sample) -> Value {
    if way.to() == Endpoint::Messages { sample.messages() } else { sample.chat() }
}

fn provider_stream(way: Translation, sample: &Sample, cuts: &Cuts) -> String {
    if way.to() == Endpoint::Messages { sample.messages_stream(cuts) } else { sample.chat_stream(cuts) }
}

fn translate(way: Translation, body: &Value, terms: &AnswerTerms) -> Value {
    let out = translate_answer(way, body.to_string().as_bytes(), terms).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn any_way() -> impl Strategy<Value = Translation> {
    proptest::sample::select(&Translation::ALL)
}

proptest! {
    #[test]
    fn a_stream_says_what_the_plain_answer_says(way in any_way(), sample in sample(), cuts in cuts()) {
        let plain = translate(way, &provider_plain(way, &sample), &terms());
        let stream = provider_stream(way, &sample, &cuts);
        let out = translate_stream(way, &terms(), &stream).unwrap();
        prop_assert_eq!(accumulated(way, &out), (plain, true));
    }

    #[test]
    fn there_and_back_is_the_same(sample in sample()) {
        let terms = AnswerTerms {
            created: 1_700_000_000,
            reasoning: ReasoningPolicy::Keep,
            ..AnswerTerms::default()
        };
        let mut chat = sample.chat();
        let there = translate(Translation::MessagesToChat, &chat, &terms);
        let back = translate(Translation::ChatToMessages, &there, &terms);
        chat["id"] = "chatcmpl-msg_chatcmpl-1".into();
        prop_assert_eq!(back, chat);

        let mut message = sample.messages();
        let there = translate(Translation::ChatToMessages, &message, &terms);
        let back = translate(Translation::MessagesToChat, &there, &terms);
        message["id"] = "msg_chatcmpl-msg_1".into();
        prop_assert_eq!(back, message);
    }

    #[test]
    fn a_cut_stream_has_an_end_only_if_the_model_has_ended(
        way in any_way(), sample in sample(), cuts in cuts(), part in 0.0..1.0_f64,
    ) {
        let stream = provider_stream(way, &sample, &cuts);
        let events: Vec<&str> = stream.split_inclusive("\n\n").collect();
        let kept = events[..(events.len() as f64 * part) as usize].concat();
        let has_ended = kept.contains(r#""finish_reason":""#) || kept.contains(r#""stop_reason":""#);
        let out = translate_stream(way, &terms(), &kept).unwrap();
        prop_assert_eq!(accumulated(way, &out).1, has_ended);
    }

    #[test]
    fn any_json_is_translated_to_whole_events_without_an_end(
        way in any_way(), events in proptest::collection::vec(any_event(), 0..12),
    ) {
        let mut out = Vec::new();
        let mut translator = StreamTranslator::new(way, terms());
        for event in &events {
            if translator.event(b"", event.to_string().as_bytes(), &mut out).is_err() {
                break;
            }
        }
        translator.finish(&mut out);
        let ends = [json!(DONE), json!("message_stop"), json!("response.completed"), json!("response.incomplete")];
        let has_end = |event: &ClientEvent| ends.contains(&event.data) || ends.contains(&event.data["type"]);
        prop_assert!(!client_events(&out).iter().any(has_end));
    }

    #[test]
    fn any_body_is_translated_to_json_or_not_at_all(way in any_way(), body in any_event()) {
        if let Some(out) = translate_answer(way, body.to_string().as_bytes(), &terms()) {
            serde_json::from_slice::<Value>(&out).unwrap();
        }
    }
}

/// Objects with the members of both dialects at every place, and anything in them. None of them says that the
/// model has ended.
fn any_event() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_u64).prop_map(Value::from),
        "[a-z\"\\\\\n😀{}:]{0,6}".prop_map(Value::from),
        proptest::sample::select(&KINDS[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let keys = proptest::sample::select(&KEYS[..]).prop_map(str::to_owned);
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => proptest::collection::btree_map(keys, inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

const KINDS: [&str; 12] = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "text",
    "thinking",
    "tool_use",
    "text_delta",
    "input_json_delta",
    "thinking_delta",
    "apply_patch",
];

const KEYS: [&str; 25] = [
    "type",
    "message",
    "content_block",
    "delta",
    "index",
    "usage",
    "content",
    "text",
    "thinking",
    "partial_json",
    "id",
    "name",
    "input",
    "choices",
    "tool_calls",
    "function",
    "arguments",
    "refusal",
    "reasoning_content",
    "reasoning_details",
    "model",
    "stop_details",
    "explanation",
    "prompt_tokens",
    "input_tokens",
];
