use proptest::prelude::*;

use serde_json::json;

use super::*;
use crate::stream::framer::Framer;
use crate::stream::samples::{self, letter};

/// Feeds `chunks` as one stream. Returns the meanings as letters and the final state.
fn replay<'c>(dialect: StreamDialect, chunks: impl IntoIterator<Item = &'c [u8]>) -> (String, StreamState) {
    let (mut framer, mut state, mut letters) = (Framer::new(), StreamState::new(dialect), String::new());
    for chunk in chunks {
        framer.feed(chunk, |event| letters.push(letter(&state.read(&event))));
    }
    framer.finish(|event| letters.push(letter(&state.read(&event))));
    (letters, state)
}

fn check_meaning(dialect: StreamDialect, name: &str, data: &str, expected: Meaning<'_>) {
    let event = Event { name: name.as_bytes(), data: data.as_bytes(), start: 0, end: 0, form: Form::Whole };
    assert_eq!(StreamState::new(dialect).read(&event), expected, "{dialect:?} {name} {data}");
    let torn = StreamState::new(dialect).read(&Event { form: Form::Torn, ..event });
    let unread = matches!(expected, Meaning::Unknown | Meaning::Malformed) && torn == Meaning::Empty;
    assert!(torn == expected || unread, "{dialect:?} {name} {data}, torn: {torn:?}");
}

fn check_oversize(dialect: StreamDialect, name: &str, expected: Meaning<'_>) -> StreamState {
    let event = Event { name: name.as_bytes(), data: b"", start: 0, end: 9, form: Form::Oversize };
    let mut state = StreamState::new(dialect);
    assert_eq!(state.read(&event), expected, "{dialect:?} {name}");
    state
}

fn failed(error: &str) -> Meaning<'_> {
    Meaning::Failed(EventFailure::Error(error.as_bytes()))
}

use StreamDialect::{Chat, Completions, Gemini, Media, Messages, Responses};

const ALL_DIALECTS: [StreamDialect; 6] = [Chat, Completions, Responses, Messages, Gemini, Media];

#[test]
fn every_sample_means_what_its_provider_documents() {
    for sample in samples::ALL {
        let (letters, state) = replay(sample.dialect, [sample.bytes]);
        assert_eq!(letters, sample.meanings, "{}", sample.name);
        assert_eq!(state.ending(), sample.ending, "{}", sample.name);
        assert_eq!(state.finish_reason(), sample.finish, "{}", sample.name);
        assert_eq!(state.usage(), sample.usage(), "{}", sample.name);
    }
}

#[test]
fn a_split_anywhere_changes_no_meaning() {
    for sample in samples::ALL {
        for at in 0..=sample.bytes.len() {
            let (head, tail) = sample.bytes.split_at(at);
            let (letters, state) = replay(sample.dialect, [head, tail]);
            assert_eq!(letters, sample.meanings, "{} at {at}", sample.name);
            assert_eq!((state.ending(), state.usage()), (sample.ending, sample.usage()), "{}", sample.name);
        }
    }
}

#[test]
fn a_stream_cut_anywhere_never_looks_complete() {
    for sample in samples::ALL.iter().filter(|sample| sample.ending == StreamEnding::Complete) {
        for at in 0..sample.bytes.len() {
            let (letters, state) = replay(sample.dialect, [&sample.bytes[..at]]);
            let whole = letters.trim_end_matches('.') == sample.meanings.trim_end_matches('.');
            assert_eq!(state.ending() == StreamEnding::Complete, whole, "{} cut at {at}", sample.name);
        }
    }
}

#[test]
fn role_only_and_empty_deltas_are_not_content() {
    for delta in [
        r#"{}"#,
        r#"{"role":"assistant"}"#,
        r#"{"role":"assistant","content":""}"#,
        r#"{"role":"assistant","content":null,"refusal":null,"tool_calls":null,"function_call":null}"#,
        r#"{"role":"assistant","content":null,"audio":null}"#,
        r#"{"content":"","tool_calls":[],"reasoning_content":"","reasoning":null,"reasoning_details":[]}"#,
        r#"{"provider_specific_fields":{},"content":[]}"#,
        "null",
    ] {
        let data = format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#);
        check_meaning(Chat, "", &data, Meaning::Empty);
    }
}

#[test]
fn any_other_filled_member_of_a_delta_is_content() {
    for delta in [
        r#"{"content":" "}"#,
        r#"{"content":"\n"}"#,
        r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"x"}]}]}"#,
        r#"{"refusal":"I"}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}"#,
        r#"{"function_call":{"name":"f","arguments":""}}"#,
        r#"{"reasoning_content":"x"}"#,
        r#"{"reasoning":"x"}"#,
        r#"{"audio":{"id":"audio_1","transcript":"x"}}"#,
        r#"{"content":"\"error\":{\"message\":1}","role":"assistant"}"#,
    ] {
        let data = format!(r#"{{"error":null,"choices":[{{"delta":{delta}}}]}}"#);
        check_meaning(Chat, "", &data, Meaning::Content);
    }
    check_meaning(Completions, "", r#"{"choices":[{"text":"x","finish_reason":null}]}"#, Meaning::Content);
    check_meaning(Completions, "", r#"{"choices":[{"text":"","finish_reason":null}]}"#, Meaning::Empty);
}

#[test]
fn an_in_band_error_is_a_failure_in_every_format() {
    for dialect in ALL_DIALECTS {
        check_meaning(dialect, "", r#"{"error":{"message":"m"}}"#, failed(r#"{"message":"m"}"#));
        check_meaning(dialect, "", r#"{"error":"m"}"#, failed(r#""m""#));
        check_meaning(dialect, "", r#"[{"error":{"code":429}}]"#, failed(r#"{"code":429}"#));
        check_meaning(dialect, "error", r#"{"error":{"code":1}}"#, failed(r#"{"code":1}"#));
        check_meaning(dialect, "error", r#"{"code":1}"#, failed(r#"{"code":1}"#));
        check_meaning(dialect, "error", "boom", failed("boom"));
        check_meaning(dialect, "error", "", failed(""));
    }
    let flat = r#"{"object":"error","message":"m","type":"t","param":null,"code":400}"#;
    check_meaning(Chat, "", flat, failed(flat));
    let choice = r#"{"choices":[{"error":{"code":502},"delta":{"content":"x"},"finish_reason":"error"}]}"#;
    check_meaning(Chat, "", choice, failed(r#"{"code":502}"#));
    let finish = r#"{"choices":[{"delta":{"content":"x"},"finish_reason":"error"}]}"#;
    check_meaning(Chat, "", finish, Meaning::Failed(EventFailure::FinishedInError));
    let typed = r#"{"type":"error","code":"server_error","message":"m","sequence_number":3}"#;
    check_meaning(Responses, "", typed, failed(typed));
    let response = r#"{"type":"response.failed","response":{"error":{"code":"c"},"status":"failed"}}"#;
    check_meaning(Responses, "response.failed", response, failed(r#"{"code":"c"}"#));
    let blocked = r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#;
    check_meaning(Gemini, "", blocked, Meaning::Failed(EventFailure::PromptBlocked));
    check_meaning(Gemini, "", r#"{"promptFeedback":{"safetyRatings":[]}}"#, Meaning::Empty);
}

#[test]
fn text_about_errors_is_not_an_error() {
    let text = r#"\"error\": {\"type\":\"error\"} event: error data: [DONE] finish_reason \\\"error\\\""#;
    for (dialect, data) in [
        (Chat, format!(r#"{{"choices":[{{"delta":{{"content":"{text}"}}}}]}}"#)),
        (Responses, format!(r#"{{"type":"response.output_text.delta","delta":"{text}"}}"#)),
        (
            Messages,
            format!(r#"{{"type":"content_block_delta","delta":{{"type":"text_delta","text":"{text}"}}}}"#),
        ),
        (Gemini, format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}}}}]}}"#)),
    ] {
        check_meaning(dialect, "", &data, Meaning::Content);
    }
}

#[test]
fn an_empty_error_member_is_no_error() {
    for nothing in ["null", "\"\"", "{}", "false"] {
        let data = format!(r#"{{"error":{nothing},"choices":[{{"delta":{{"content":"x"}}}}]}}"#);
        check_meaning(Chat, "", &data, Meaning::Content);
    }
}

#[test]
fn unknown_events_count_as_content_unless_torn() {
    for dialect in ALL_DIALECTS {
        for data in ["[1]", r#"{"something":"new"}"#, r#"{"type":"brand_new","message":"hi"}"#] {
            check_meaning(dialect, "", data, Meaning::Unknown);
        }
        for data in ["null", "7", "true", "\"text\""] {
            check_meaning(dialect, "", data, Meaning::Empty);
        }
        for data in
            ["hello", "Internal Server Error", "{\"a\":", r#"{"id": "x", "choi"#, "{}{}", "{'a':1}", "nul"]
        {
            check_meaning(dialect, "", data, Meaning::Malformed);
        }
        assert!(Meaning::Unknown.is_content() && !Meaning::Malformed.is_content());
    }
    let torn =
        Event { name: b"", data: br#"{"choices":[{"delta":{"con"#, start: 0, end: 26, form: Form::Torn };
    assert_eq!(StreamState::new(Chat).read(&torn), Meaning::Empty);
}

#[test]
fn pings_and_empty_data_are_not_content() {
    for dialect in ALL_DIALECTS {
        check_meaning(dialect, "ping", "{}", Meaning::Empty);
        check_meaning(dialect, "ping", r#"{"type": "ping"}"#, Meaning::Empty);
        check_meaning(dialect, "", r#"{"type": "ping"}"#, Meaning::Empty);
        check_meaning(dialect, "", "", Meaning::Empty);
        check_meaning(dialect, "heartbeat", "  ", Meaning::Empty);
    }
}

#[test]
fn the_sentinel_ends_chat_and_is_tolerated_elsewhere() {
    for dialect in ALL_DIALECTS {
        let ends = matches!(dialect, Chat | Completions);
        let expected = if ends { Meaning::Terminal(Terminal::Completed) } else { Meaning::Empty };
        check_meaning(dialect, "", "[DONE]", expected);
        check_meaning(dialect, "", " [DONE]\r", expected);
    }
}

#[test]
fn the_type_in_the_data_or_the_event_name_is_enough() {
    check_meaning(Messages, "", r#"{"type":"message_stop"}"#, Meaning::Terminal(Terminal::Completed));
    check_meaning(Messages, "message_stop", "{}", Meaning::Terminal(Terminal::Completed));
    check_meaning(Responses, "", r#"{"type":"response.completed"}"#, Meaning::Terminal(Terminal::Completed));
    let delta = r#"{"delta":{"text":"x","type":"text_delta"},"index":0,"type":"content_block_delta"}"#;
    check_meaning(Messages, "", delta, Meaning::Content);
}

#[test]
fn usage_of_unexpected_types_is_ignored() {
    let data = br#"{"choices":[{"delta":{"content":"x"}}],
        "usage":{"prompt_tokens":"7","completion_tokens":null,"total_tokens":{}}}"#;
    let event = Event { name: b"", data, start: 0, end: 0, form: Form::Whole };
    let mut state = StreamState::new(Chat);
    assert_eq!(state.read(&event), Meaning::Content);
    assert_eq!(state.usage(), None);
}

#[test]
fn a_later_count_replaces_an_earlier_one_and_a_missing_one_does_not() {
    let start =
        json!({"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}});
    let delta = |usage| json!({"type": "message_delta", "delta": {}, "usage": usage});
    let events =
        [start, delta(json!({"output_tokens": 4})), delta(json!({"input_tokens": 6, "output_tokens": 9}))];
    let stream: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let (_, state) = replay(Messages, [stream.as_bytes()]);
    assert_eq!(state.usage(), Some(Usage { input: 6, output: 9, ..Usage::default() }));
}

#[test]
fn the_ending_distinguishes_a_missing_sentinel_from_a_missing_finish_reason() {
    let end = |text: &str, dialect| replay(dialect, [text.as_bytes()]).1.ending();
    let finish = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let two = r#"{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]}"#;
    assert_eq!(end(&format!("data: {finish}\n\n"), Chat), StreamEnding::NoTerminal);
    assert_eq!(
        end(&format!("data: {two}\n\ndata: {finish}\n\ndata: [DONE]\n\n"), Chat),
        StreamEnding::Unfinished
    );
    assert_eq!(end(&format!("data: {two}\n\ndata: {finish}\n\n"), Chat), StreamEnding::Truncated);
    assert_eq!(end(&format!("data: {finish}\n\ndata: [DONE]"), Chat), StreamEnding::Complete);
    assert_eq!(end("data: [DONE]\n\n", Chat), StreamEnding::Unfinished);
    assert_eq!(end("", Chat), StreamEnding::Truncated);
    assert_eq!(end("data: {\"type\":\"message_stop\"}\n\n", Messages), StreamEnding::Unfinished);
}

#[test]
fn a_terminal_event_after_a_failure_does_not_make_the_stream_complete() {
    let stream = b"data: {\"error\":{\"code\":1}}\n\n\
        data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let (letters, state) = replay(Chat, [&stream[..]]);
    assert_eq!((letters.as_str(), state.ending()), ("XfT", StreamEnding::Failed));
}

#[test]
fn an_oversize_event_is_read_by_its_name_and_excuses_a_missing_end() {
    let done = Meaning::Terminal(Terminal::Completed);
    assert_eq!(check_oversize(Responses, "response.completed", done).ending(), StreamEnding::Complete);
    assert_eq!(check_oversize(Messages, "message_stop", done).ending(), StreamEnding::Unfinished);
    assert_eq!(check_oversize(Responses, "response.failed", failed("")).ending(), StreamEnding::Failed);
    assert_eq!(
        check_oversize(Responses, "response.created", Meaning::Empty).ending(),
        StreamEnding::Unwatched
    );
    check_oversize(Responses, "response.image_generation_call.partial_image", Meaning::Content);
    check_oversize(Messages, "content_block_delta", Meaning::Content);
    for dialect in ALL_DIALECTS {
        assert_eq!(check_oversize(dialect, "", Meaning::Unknown).ending(), StreamEnding::Unwatched);
        check_oversize(dialect, "error", failed(""));
    }
}

#[test]
fn only_endpoints_that_stream_have_a_dialect() {
    assert_eq!(StreamDialect::of(Endpoint::Embeddings), None);
    assert_eq!(StreamDialect::of(Endpoint::Messages), Some(Messages));
}

proptest! {
    #[test]
    fn random_chunks_change_no_meaning(which in 0..samples::ALL.len(), size in 1_usize..40) {
        let sample = &samples::ALL[which];
        let (letters, state) = replay(sample.dialect, sample.bytes.chunks(size));
        prop_assert_eq!(letters.as_str(), sample.meanings);
        prop_assert_eq!(state.ending(), sample.ending);
    }

    #[test]
    fn damaged_events_never_panic(
        which in 0..samples::ALL.len(), at: proptest::sample::Index, byte: u8, dialect in 0..5_usize
    ) {
        let mut bytes = samples::ALL[which].bytes.to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        replay(ALL_DIALECTS[dialect], [bytes.as_slice()]);
    }

    #[test]
    fn arbitrary_data_never_panics(
        data in proptest::collection::vec(any::<u8>(), 0..200), name in "(error|ping|response.completed|)",
        dialect in 0..5_usize
    ) {
        for form in [Form::Whole, Form::Torn, Form::Oversize] {
            let event = Event { name: name.as_bytes(), data: &data, start: 0, end: 0, form };
            let mut state = StreamState::new(ALL_DIALECTS[dialect]);
            state.read(&event);
            state.ending();
        }
    }
}

#[test]
fn finish_reasons_are_told_apart_by_their_words_in_any_case() {
    for (name, reason) in [
        ("error", FinishReason::Error),
        ("network_error", FinishReason::Error),
        ("network-error", FinishReason::Error),
        ("networkError", FinishReason::Error),
        ("insufficient_system_resource", FinishReason::Error),
        ("abort", FinishReason::Error),
        ("malformed_function_call", FinishReason::Error),
        ("MALFORMED_FUNCTION_CALL", FinishReason::Error),
        ("UNEXPECTED_TOOL_CALL", FinishReason::Error),
        ("cancelled", FinishReason::Error),
        ("pause_turn", FinishReason::Other),
        ("eos", FinishReason::Other),
        ("END_TURN", FinishReason::Stop),
        ("LENGTH", FinishReason::Length),
        ("token_limit", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::Length),
        ("ERROR_TOXIC", FinishReason::ContentFilter),
        ("content_filtered", FinishReason::ContentFilter),
        ("content_filter: OTHER", FinishReason::ContentFilter),
        ("guardrail_intervened", FinishReason::ContentFilter),
        ("IMAGE_PROHIBITED_CONTENT", FinishReason::ContentFilter),
        ("content_filter_error", FinishReason::Error),
        ("sensitive", FinishReason::ContentFilter),
        ("SAFETY", FinishReason::ContentFilter),
        ("tool_use", FinishReason::ToolCalls),
    ] {
        assert_eq!(FinishReason::from_wire(name.as_bytes()), Some(reason), "{name}");
    }
}

#[test]
fn a_finish_reason_of_null_is_none_in_every_dialect() {
    for name in ["", "null", "NULL"] {
        assert_eq!(FinishReason::from_wire(name.as_bytes()), None, "{name}");
    }
    let chunk = r#"{"choices":[{"delta":{"content":"x"},"finish_reason":"null"}]}"#;
    check_meaning(Chat, "", chunk, Meaning::Content);
    let delta = r#"{"type":"message_delta","delta":{"stop_reason":""}}"#;
    check_meaning(Messages, "message_delta", delta, Meaning::Empty);
}

#[test]
fn text_in_an_event_that_anthropics_clients_do_not_know_is_nothing() {
    check_meaning(Messages, "vendor", "hello", Meaning::Empty);
    for name in ["", "content_block_delta", "message_stop"] {
        check_meaning(Messages, name, "hello", Meaning::Malformed);
    }
    check_meaning(Responses, "vendor", "hello", Meaning::Malformed);
}

#[test]
fn nothing_is_malformed_after_the_end() {
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\n\
        data: [DONE]\n\ndata: bye\n\n";
    let (letters, state) = replay(Chat, [stream.as_bytes()]);
    assert_eq!((letters.len(), state.ending()), (3, StreamEnding::Complete));
    assert!(letters.ends_with(letter(&Meaning::Empty)), "{letters}");
}
