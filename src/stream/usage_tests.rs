use proptest::prelude::*;
use serde_json::{Value, json};

use super::dialect::StreamDialect::{self, Chat, Gemini, Messages, Responses};
use super::dialect::StreamState;
use super::framer::Framer;
use super::plain::AnswerReader;
use crate::base::usage::{MAX_TOKENS, Usage};

/// Input, cached input, cache creation, output, reasoning.
type Numbers = [u64; 5];

fn numbers(usage: Option<Usage>) -> Option<Numbers> {
    let numbers =
        |usage: Usage| [usage.input, usage.cached_input, usage.cache_creation, usage.output, usage.reasoning];
    usage.map(numbers)
}

/// What is read from a response that is not a stream and has this `usage`.
fn in_plain(dialect: StreamDialect, usage: &Value) -> Option<Numbers> {
    let name = if dialect == Gemini { "usageMetadata" } else { "usage" };
    let mut reader = AnswerReader::in_dialect(dialect);
    reader.feed(json!({"id": "x", name: usage}).to_string().as_bytes());
    numbers(reader.usage())
}

/// What is read from a stream of these events.
fn in_stream(dialect: StreamDialect, events: &[Value]) -> Option<Numbers> {
    let stream: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let mut state = StreamState::new(dialect);
    Framer::new().feed(stream.as_bytes(), |event| {
        state.read(&event);
    });
    numbers(state.usage())
}

/// A stream's event with this `usage`, where the dialect has it.
fn event(dialect: StreamDialect, usage: &Value) -> Value {
    match dialect {
        Messages => json!({"type": "message_delta", "delta": {}, "usage": usage}),
        Responses => json!({"type": "response.completed", "response": {"usage": usage}}),
        Gemini => json!({"candidates": [], "usageMetadata": usage}),
        _ => json!({"choices": [], "usage": usage}),
    }
}

#[test]
fn the_counts_of_each_vendor_add_up() {
    let cases = [
        (
            "xAI leaves reasoning out of the output",
            Chat,
            json!({"prompt_tokens": 10120, "completion_tokens": 1499, "total_tokens": 14428,
                "completion_tokens_details": {"reasoning_tokens": 2809}}),
            [10120, 0, 0, 4308, 2809],
        ),
        (
            "the same in the Responses API",
            Responses,
            json!({"input_tokens": 10, "output_tokens": 5, "total_tokens": 35,
                "output_tokens_details": {"reasoning_tokens": 20}}),
            [10, 0, 0, 25, 20],
        ),
        (
            "without a total, more reasoning than output is not part of it",
            Chat,
            json!({"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 20}}),
            [10, 0, 0, 25, 20],
        ),
        (
            "OpenAI's reasoning is part of the output",
            Chat,
            json!({"prompt_tokens": 10, "completion_tokens": 25, "total_tokens": 35,
                "completion_tokens_details": {"reasoning_tokens": 20}}),
            [10, 0, 0, 25, 20],
        ),
        (
            "thoughts that are not reported, at Google's endpoint for OpenAI's clients",
            Chat,
            json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 95}),
            [10, 0, 0, 85, 0],
        ),
        (
            "DeepSeek",
            Chat,
            json!({"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105,
                "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36}),
            [100, 64, 0, 5, 0],
        ),
        (
            "Moonshot",
            Chat,
            json!({"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105, "cached_tokens": 64}),
            [100, 64, 0, 5, 0],
        ),
        (
            "the same count under two names, one of them zero",
            Chat,
            json!({"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": 64,
                "prompt_tokens_details": {"cached_tokens": 0}}),
            [100, 64, 0, 5, 0],
        ),
        (
            "a relay to Anthropic that leaves cached tokens out of the input",
            Chat,
            json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 1515,
                "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 500}),
            [1510, 1000, 500, 5, 0],
        ),
        ("embeddings with a total only", Chat, json!({"total_tokens": 8}), [8, 0, 0, 0, 0]),
        (
            "a total that is smaller than its parts says nothing",
            Chat,
            json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 0}),
            [10, 0, 0, 5, 0],
        ),
        (
            "Anthropic's input excludes the cache",
            Messages,
            json!({"input_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20, "output_tokens": 5}),
            [123, 100, 20, 5, 0],
        ),
        (
            "Anthropic's output includes thinking, which it reports",
            Messages,
            json!({"input_tokens": 3, "output_tokens": 50, "output_tokens_details": {"thinking_tokens": 40}}),
            [3, 0, 0, 50, 40],
        ),
        (
            "Gemini's candidates exclude thoughts",
            Gemini,
            json!({"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 20,
                "toolUsePromptTokenCount": 7, "totalTokenCount": 42}),
            [17, 0, 0, 25, 20],
        ),
        (
            "Gemini without a count of thoughts",
            Gemini,
            json!({"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 35}),
            [10, 0, 0, 25, 0],
        ),
    ];
    for (name, dialect, usage, expected) in cases {
        assert_eq!(in_plain(dialect, &usage), Some(expected), "{name}, plain");
        assert_eq!(in_stream(dialect, &[event(dialect, &usage)]), Some(expected), "{name}, streamed");
    }
}

#[test]
fn usage_is_found_wherever_a_stream_has_it() {
    let usage = json!({"prompt_tokens": 9, "completion_tokens": 2, "cached_tokens": 4});
    let last = |choice: Value| json!({"choices": [choice]});
    let zeros = json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0});
    let in_chunk = |output: u64| {
        json!({"choices": [{"delta": {"content": "x"}}], "usage": {"prompt_tokens": 9,
            "completion_tokens": output, "prompt_tokens_details": {"cached_tokens": 4}}})
    };
    let start = |usage: Value| json!({"type": "message_start", "message": {"usage": usage}});
    let delta = |usage: Value| json!({"type": "message_delta", "delta": {}, "usage": usage});
    let cases = [
        (
            "Moonshot: in a choice",
            Chat,
            vec![last(json!({"delta": {}, "finish_reason": "stop", "usage": usage}))],
            [9, 4, 0, 2, 0],
        ),
        (
            "Groq: in a member of its own",
            Chat,
            vec![
                json!({"choices": [{"delta": {}, "finish_reason": "stop"}], "x_groq": {"id": "r", "usage": usage}}),
            ],
            [9, 4, 0, 2, 0],
        ),
        ("in every chunk", Chat, vec![in_chunk(1), in_chunk(2)], [9, 4, 0, 2, 0]),
        (
            "in every chunk, with zeros in the last",
            Chat,
            vec![in_chunk(2), event(Chat, &zeros)],
            [9, 4, 0, 2, 0],
        ),
        (
            "in two places of one chunk, one of them with zeros",
            Chat,
            vec![json!({"choices": [{"delta": {}, "usage": usage}], "usage": zeros})],
            [9, 4, 0, 2, 0],
        ),
        (
            "a relay that says zero at the end",
            Messages,
            vec![
                start(json!({"input_tokens": 1200, "output_tokens": 1})),
                delta(json!({"input_tokens": 0, "output_tokens": 30})),
            ],
            [1200, 0, 0, 30, 0],
        ),
        (
            "a relay that says zero at the start",
            Messages,
            vec![
                start(json!({"input_tokens": 0, "output_tokens": 0})),
                delta(json!({"input_tokens": 1200, "cache_read_input_tokens": 7, "output_tokens": 30})),
            ],
            [1207, 7, 0, 30, 0],
        ),
        (
            "a later input with its cache replaces both",
            Messages,
            vec![
                start(json!({"input_tokens": 200, "cache_read_input_tokens": 1000, "output_tokens": 1})),
                delta(json!({"input_tokens": 1200, "cache_read_input_tokens": 0, "output_tokens": 30})),
            ],
            [1200, 0, 0, 30, 0],
        ),
    ];
    for (name, dialect, events, expected) in cases {
        assert_eq!(in_stream(dialect, &events), Some(expected), "{name}");
    }
    assert_eq!(in_stream(Chat, &[event(Chat, &zeros)]), Some([0; 5]), "zeros alone are a report");
}

proptest! {
    /// However a provider splits a total, nothing of it is lost and no part exceeds what it can be.
    #[test]
    fn the_total_is_never_exceeded_by_more_than_its_parts(
        input in 0_u64..2 * MAX_TOKENS, output in 0_u64..2 * MAX_TOKENS, reasoning in 0_u64..1000,
        cached in 0_u64..1000, total in 0_u64..3 * MAX_TOKENS,
    ) {
        let usage = json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": total,
            "cached_tokens": cached, "reasoning_tokens": reasoning});
        let [counted_input, _, _, counted_output, _] = in_plain(Chat, &usage).unwrap();
        let sum = counted_input + counted_output;
        let (input, output, total) = (input.min(MAX_TOKENS), output.min(MAX_TOKENS), total.min(MAX_TOKENS));
        prop_assert!(counted_input >= input && counted_output >= output);
        let without_total = input + output + if reasoning > output { reasoning } else { 0 };
        prop_assert_eq!(sum, if total == 0 { without_total } else { total.max(input + output) });
    }

    /// Zeros at the end of a stream change nothing.
    #[test]
    fn a_report_of_zeros_changes_nothing(input in 1_u64..1000, cached in 0_u64..1000, output in 1_u64..1000) {
        let said = json!({"prompt_tokens": input, "completion_tokens": output, "cached_tokens": cached});
        let zeros = json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "cached_tokens": 0});
        let (said, zeros) = (event(Chat, &said), event(Chat, &zeros));
        prop_assert_eq!(in_stream(Chat, &[said.clone(), zeros]), in_stream(Chat, &[said]));
    }
}
