//! Events that repeat an earlier one are read on a short way, which records the same as the ordinary one.

use proptest::prelude::*;

use super::super::stream_reader::StreamReader;
use crate::config::EmptyStop;
use crate::provider::ProviderKind;
use crate::stream::StreamDialect;

/// Events of each dialect: `T` stands for a text, `N` for a number. The first ones bring content.
const CHAT: &[&str] = &[
    r#"data: {"id":"c1","object":"chat.completion.chunk","created":N,"model":"m","choices":[{"index":0,"delta":{"content":"T"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"T"}"#,
    r#"data: {"id":"T","choices":[{"index":N,"delta":{"content":"T"},"finish_reason":null}]}"#,
    r#"data: {"choices":[{"delta":{"reasoning_content":"T","content":null},"index":0}],"created":N}"#,
    r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":N,"function":{"arguments":"T"}}]}}]}"#,
    r#"data: {"choices":[{"index":0,"text":"T","finish_reason":"T"}],"usage":{"prompt_tokens":N}}"#,
    r#"data: {"choices":[{"index":0,"delta":{"role":"T","content":"","name":"T"}}]}"#,
    r#"data: {"choices":[{"index":N,"delta":{},"finish_reason":"stop"}]}"#,
    r#"data: {"choices":[],"usage":{"prompt_tokens":N,"completion_tokens":N,"total_tokens":N}}"#,
    r#"data: {"object":"T","error":"T","message":"T"}"#,
    r#"data: {"type":"T","code":N}"#,
    r#"data: {"error":{"message":"T","code":N}}"#,
    "data: [DONE]",
];
const RESPONSES: &[&str] = &[
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"m\",\"output_index\":N,\"delta\":\"T\",\"logprobs\":[],\"obfuscation\":\"T\",\"sequence_number\":N}",
    r#"data: {"type":"response.function_call_arguments.delta","delta":"T","sequence_number":N}"#,
    r#"data: {"type":"response.output_text.done","text":"T","sequence_number":N}"#,
    r#"data: {"type":"T","delta":"T"}"#,
    "event: T\ndata: {\"delta\":\"T\"}",
    r#"data: {"type":"response.in_progress","response":{"status":"T"},"sequence_number":N}"#,
    r#"data: {"type":"response.completed","response":{"usage":{"input_tokens":N}},"sequence_number":N}"#,
    r#"data: {"type":"response.failed","response":{"error":{"code":"T"}}}"#,
    r#"data: {"type":"error","code":"T","message":"T"}"#,
];
const MESSAGES: &[&str] = &[
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":N,\"delta\":{\"type\":\"text_delta\",\"text\":\"T\"}}",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"T\"}}",
    r#"data: {"type":"content_block_delta","delta":{"type":"T","thinking":"T","stop_reason":"T"},"usage":{"output_tokens":N}}"#,
    "event: T\ndata: {\"delta\":{\"text\":\"T\"}}",
    "event: ping\ndata: {\"type\": \"ping\"}",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":N}}",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}",
    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"T\"}}",
];
const GEMINI: &[&str] = &[
    r#"data: {"candidates": [{"content": {"parts": [{"text": "T"}], "role": "model"}, "index": 0}], "responseId": "T"}"#,
    r#"data: {"candidates": [{"content": {"parts": [{"text": "T", "n": N}]}, "index": N}]}"#,
    r#"data: {"candidates": [{"content": {"parts": [{"text": "T"}]}}], "usageMetadata": {"promptTokenCount": N}}"#,
    r#"data: {"candidates": [{"content": {"parts": [{"text": "T"}]}, "finishReason": "T"}]}"#,
    r#"data: {"promptFeedback": {"blockReason": "T"}}"#,
    r#"data: {"error": {"status": "T"}}"#,
];
const MEDIA: &[&str] = &[
    r#"data: {"type":"speech.audio.delta","audio":"T"}"#,
    "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"T\",\"partial_image_index\":N}",
    r#"data: {"type":"T","audio":"T","image_index":N}"#,
    "event: T\ndata: {\"audio\":\"T\"}",
    r#"data: {"type":"image_generation.completed","image_index":N,"usage":{"input_tokens":N}}"#,
    r#"data: {"type":"error","error":{"code":"T"}}"#,
];
const ANYWHERE: &[&str] =
    &[": note", "id: 1\ndata: {}", "data: {\ndata: }", "data: T", "data: N", "retry: N"];

const TEXTS: &[&str] = &[
    "",
    "a",
    " word",
    "a longer text of several words, \\\"quoted\\\"",
    "\\n",
    "\\\\",
    "\\u00e9",
    "héllo 👋",
    "error",
    "stop",
    "ping",
    "response.output_text.delta",
    "content_block_delta",
    "\\\"error\\\":{",
];
const NUMBERS: &[&str] = &["0", "1", "12", "1764000000", "-1", "1.5e3", "null", "\"1\""];

fn of_dialect(dialect: StreamDialect) -> &'static [&'static str] {
    match dialect {
        StreamDialect::Chat | StreamDialect::Completions => CHAT,
        StreamDialect::Responses => RESPONSES,
        StreamDialect::Messages => MESSAGES,
        StreamDialect::Gemini => GEMINI,
        StreamDialect::Media => MEDIA,
    }
}

fn any_dialect() -> impl Strategy<Value = StreamDialect> {
    use StreamDialect::{Chat, Completions, Gemini, Media, Messages, Responses};
    proptest::sample::select(vec![Chat, Completions, Responses, Messages, Gemini, Media])
}

/// Some events in a row with different values: which one, and the values in each. The first events of a dialect
/// are the most frequent.
fn any_run() -> impl Strategy<Value = (usize, Vec<[usize; 4]>)> {
    let which = prop_oneof![4 => 0_usize..3, 4 => 0_usize..30];
    (which, proptest::collection::vec(any::<[usize; 4]>(), 1..8))
}

fn written(dialect: StreamDialect, line_end: &str, runs: &[(usize, Vec<[usize; 4]>)]) -> Vec<u8> {
    let mut stream = String::new();
    let events = runs.iter().flat_map(|(which, events)| events.iter().map(move |values| (which, values)));
    for (which, values) in events {
        let known = of_dialect(dialect);
        let event = known.iter().chain(ANYWHERE).nth(which % (known.len() + ANYWHERE.len())).unwrap();
        let mut values = values.iter().cycle();
        // Names of members have no capital T or N.
        for part in event.split_inclusive(['T', 'N']) {
            let slot = part.ends_with(['T', 'N']) && !part.ends_with("[DON");
            let kept = if slot { &part[..part.len() - 1] } else { part };
            stream.push_str(kept);
            match (slot, part.ends_with('T')) {
                (false, _) => {}
                (true, true) => stream.push_str(TEXTS[values.next().unwrap() % TEXTS.len()]),
                (true, false) => stream.push_str(NUMBERS[values.next().unwrap() % NUMBERS.len()]),
            }
        }
        stream.push_str("\n\n");
    }
    stream.replace('\n', line_end).into_bytes()
}

/// What is recorded of a stream after each piece of it.
fn recorded(mut reader: StreamReader, stream: &[u8], cuts: &[usize]) -> Vec<String> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    let mut all = Vec::new();
    for pair in cuts.windows(2) {
        let mut signs = Vec::new();
        reader.feed(&stream[pair[0]..pair[1]], |sign| signs.push(sign));
        let state =
            (reader.position(), reader.open_event(), reader.settled(), reader.since_disguised_failure());
        all.push(format!("{signs:?} {state:?} {:?} {:?}", reader.take_cuts(), reader.facts()));
    }
    let mut signs = Vec::new();
    reader.finish(|sign| signs.push(sign));
    all.push(format!("{signs:?} {:?} {:?}", reader.failure_at_end(), reader.facts()));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_short_way_records_what_the_ordinary_way_records(
        dialect in any_dialect(),
        line_end in proptest::sample::select(vec!["\n", "\n", "\n", "\r\n", "\r"]),
        runs in proptest::collection::vec(any_run(), 0..6),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        ends_of_events: bool,
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
        hides_usage: bool,
    ) {
        let mut stream = written(dialect, line_end, &runs);
        let mut cuts = cuts;
        if ends_of_events {
            let ends = stream.windows(2).enumerate().filter(|(_, end)| *end == b"\n\n");
            cuts.extend(ends.map(|(at, _)| at + 2));
        }
        for (at, byte) in changes {
            let at = at.checked_rem(stream.len()).unwrap_or(0);
            if let Some(old) = stream.get_mut(at) {
                // Half of the changes are of one bit.
                *old = if byte < 128 { *old ^ (1 << (byte % 8)) } else { b"\"\\{}[]:,\n\r 0x"[usize::from(byte) % 13] };
            }
        }
        let reader = || StreamReader::new(ProviderKind::OpenAi, dialect, hides_usage, EmptyStop::Fail);
        prop_assert_eq!(
            recorded(reader(), &stream, &cuts),
            recorded(reader().without_pattern(), &stream, &cuts),
            "{}", String::from_utf8_lossy(&stream)
        );
    }
}

/// Random streams rarely put two values side by side that mean different things, so here are all pairs.
#[test]
fn two_events_that_differ_in_one_value_are_recorded_as_on_the_ordinary_way() {
    use StreamDialect::{Chat, Gemini, Media, Messages, Responses};
    for dialect in [Chat, Responses, Messages, Gemini, Media] {
        for which in 0..of_dialect(dialect).len() {
            let event = |values| written(dialect, "\n", &[(which, vec![values])]);
            // The other values: a text, and the names of two events.
            let bases = [1, 11, 12].map(|value| [value; 4]);
            for (base, slot) in bases.into_iter().flat_map(|base| (0..4).map(move |slot| (base, slot))) {
                let with = |value| {
                    let mut values = base;
                    values[slot] = value;
                    event(values)
                };
                for (one, other) in
                    (0..TEXTS.len()).flat_map(|one| (0..TEXTS.len()).map(move |other| (one, other)))
                {
                    let (one, other) = (with(one), with(other));
                    if one == other {
                        continue;
                    }
                    let stream = [one.as_slice(), &other].concat();
                    let mut short = StreamReader::new(ProviderKind::OpenAi, dialect, true, EmptyStop::Fail);
                    short.feed(&one, drop);
                    // Only these take another way than the ordinary one.
                    if short.repeats(&other) {
                        let reader =
                            || StreamReader::new(ProviderKind::OpenAi, dialect, true, EmptyStop::Fail);
                        assert_eq!(
                            recorded(reader(), &stream, &[one.len()]),
                            recorded(reader().without_pattern(), &stream, &[one.len()]),
                            "{}",
                            String::from_utf8_lossy(&stream)
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn every_dialect_has_events_that_take_the_short_way() {
    use StreamDialect::{Chat, Completions, Gemini, Media, Messages, Responses};
    for dialect in [Chat, Completions, Responses, Messages, Gemini, Media] {
        let event = |text: usize| written(dialect, "\n", &[(0, vec![[1, text, 3, 1]])]);
        let mut reader = StreamReader::new(ProviderKind::OpenAi, dialect, true, EmptyStop::Fail);
        reader.feed(&event(1), drop);
        assert!(reader.repeats(&event(2)), "{dialect:?}");
    }
}
