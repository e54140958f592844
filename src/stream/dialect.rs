//! What a stream's events mean, and what the stream as a whole has come to.
//!
//! The rules lean to one side where they are in doubt. What is not understood counts as content: holding back a healthy
//! stream is worse than missing a chance to fail over. An event that says it is an error is a failure, whatever
//! surrounds it; but only where the dialect says so, never because some text reads like one.

use crate::base::Endpoint;

use super::event::{Event, Form};
use super::json::{Json, is_filled};
use super::meaning::{Answers, Ending, Failure, FinishReason, Meaning, Reading, Terminal};
use super::usage::{Counts, Sums, Usage};
use super::{chat, gemini, messages, responses};

/// The family of events a stream speaks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamDialect {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completions,
    /// `/v1/responses`
    Responses,
    /// `/v1/messages`
    Messages,
    /// `:streamGenerateContent?alt=sse`
    Gemini,
}

impl StreamDialect {
    /// The dialect of an endpoint's streams; `None` where it has none.
    pub const fn of(endpoint: Endpoint) -> Option<Self> {
        match endpoint {
            Endpoint::Chat => Some(Self::Chat),
            Endpoint::Completions => Some(Self::Completions),
            Endpoint::Responses => Some(Self::Responses),
            Endpoint::Messages => Some(Self::Messages),
            Endpoint::Embeddings => None,
        }
    }

    const fn sums(self) -> Sums {
        match self {
            Self::Chat | Self::Completions | Self::Responses => Sums::Totals,
            Self::Messages => Sums::InputWithoutCache,
            Self::Gemini => Sums::OutputWithoutReasoning,
        }
    }
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// An event too large to read went by while it was open.
    OpenUnwatched,
    Ended,
    Failed,
}

/// What the events of one stream have said so far. Fixed size: it keeps counts and reasons, never text.
#[derive(Debug, Clone)]
pub struct StreamState {
    dialect: StreamDialect,
    phase: Phase,
    counts: Counts,
    finish: Option<FinishReason>,
    answers: Answers,
    events: u64,
}

impl StreamState {
    /// A stream of which nothing has arrived.
    pub fn new(dialect: StreamDialect) -> Self {
        Self {
            dialect,
            phase: Phase::Open,
            counts: Counts::default(),
            finish: None,
            answers: Answers::default(),
            events: 0,
        }
    }

    /// What `event` means; what it says of usage, finish reasons and the stream's end is remembered.
    pub fn read<'e>(&mut self, event: &Event<'e>) -> Meaning<'e> {
        self.events = self.events.saturating_add(1);
        let reading = interpret(self.dialect, event);
        if let Some(usage) = &reading.usage {
            self.counts.update(usage);
        }
        self.finish = reading.finish.or(self.finish);
        self.answers.add(reading.answers);
        self.phase = match (self.phase, reading.meaning) {
            (Phase::Failed, _) | (_, Meaning::Failed(_)) => Phase::Failed,
            (Phase::Ended, _) | (_, Meaning::Terminal(_)) => Phase::Ended,
            (Phase::Open, _) if event.form == Form::Oversize => Phase::OpenUnwatched,
            (phase, _) => phase,
        };
        reading.meaning
    }

    /// How many events have been read.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The dialect it is read in.
    pub const fn dialect(&self) -> StreamDialect {
        self.dialect
    }

    /// The tokens reported so far; `None` when none were.
    pub fn usage(&self) -> Option<Usage> {
        self.counts.usage(self.dialect.sums())
    }

    /// The last finish reason reported.
    pub const fn finish_reason(&self) -> Option<FinishReason> {
        self.finish
    }

    /// Whether its terminal event, or a failure, has come: nothing that follows changes what it was.
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended | Phase::Failed)
    }

    /// What the stream is if its bytes end here.
    pub const fn ending(&self) -> Ending {
        let finished = self.answers.all_finished();
        match self.phase {
            Phase::Failed => Ending::Failed,
            Phase::Ended if finished => Ending::Complete,
            Phase::Ended => Ending::Unfinished,
            Phase::Open | Phase::OpenUnwatched if finished => match self.dialect {
                StreamDialect::Gemini => Ending::Complete,
                _ => Ending::NoTerminal,
            },
            Phase::OpenUnwatched => Ending::Unwatched,
            Phase::Open => Ending::Truncated,
        }
    }
}

fn interpret<'e>(dialect: StreamDialect, event: &Event<'e>) -> Reading<'e> {
    if event.name == b"error" {
        return Reading::of(Meaning::Failed(Failure::Error(error_in(event.data))));
    }
    let data = event.data.trim_ascii();
    if event.form != Form::Oversize {
        if data.is_empty() || event.name == b"ping" {
            return Reading::of(Meaning::Empty);
        }
        if data.starts_with(b"[DONE]") {
            return Reading::of(done(dialect));
        }
    }
    let read = match dialect {
        StreamDialect::Responses => responses::read(event),
        StreamDialect::Messages => messages::read(event),
        _ if event.form == Form::Oversize => Ok(Reading::of(Meaning::Unknown)),
        StreamDialect::Chat | StreamDialect::Completions => chat::read(data),
        StreamDialect::Gemini => gemini::read(data),
    };
    let reading = read.unwrap_or(Reading::of(match event.form {
        // Cut off in the middle: the client can make nothing of it, so it must not pass for an answer.
        Form::Torn => Meaning::Empty,
        Form::Whole | Form::Oversize => Meaning::Unknown,
    }));
    if reading.meaning == Meaning::Unknown && event.form != Form::Oversize {
        return stranger(data).map_or(reading, Reading::of);
    }
    reading
}

/// The chat dialects' sentinel. Elsewhere it ends nothing, but some servers send it all the same.
const fn done(dialect: StreamDialect) -> Meaning<'static> {
    match dialect {
        StreamDialect::Chat | StreamDialect::Completions => Meaning::Terminal(Terminal::Completed),
        StreamDialect::Responses | StreamDialect::Messages | StreamDialect::Gemini => Meaning::Empty,
    }
}

/// Events that are of no dialect but still say something: `{"type":"ping"}`, and Gemini's error in an array of one.
fn stranger(data: &[u8]) -> Option<Meaning<'_>> {
    let mut ping = false;
    let mut error = None;
    let mut json = Json::new(data);
    if json.peek() == Some(b'{') {
        json.object(|key, json| {
            match key {
                b"type" => ping = matches!(json.text()?, Some(b"ping" | b"keepalive" | b"heartbeat")),
                _ => drop(json.value()?),
            }
            Ok(())
        })
        .ok()?;
    } else {
        json.array(|json| {
            error = error.or(error_member(json));
            Ok(())
        })
        .ok()?;
    }
    match error {
        Some(error) => Some(Meaning::Failed(Failure::Error(error))),
        None => ping.then_some(Meaning::Empty),
    }
}

/// The error in the data of an event named `error`: its `error` member if there is one, else all of it.
fn error_in(data: &[u8]) -> &[u8] {
    error_member(&mut Json::new(data)).unwrap_or(data)
}

fn error_member<'e>(json: &mut Json<'e>) -> Option<&'e [u8]> {
    let mut error = None;
    let read = json.object(|key, json| {
        let raw = json.value()?;
        if key == b"error" && is_filled(raw) {
            error = Some(raw);
        }
        Ok(())
    });
    read.ok().and(error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::framer::Framer;
    use super::super::samples::{self, letter};
    use super::*;

    /// Feeds `chunks` as one stream; the meanings in letters, and what it came to.
    fn replay<'c>(
        dialect: StreamDialect,
        chunks: impl IntoIterator<Item = &'c [u8]>,
    ) -> (String, StreamState) {
        let (mut framer, mut state, mut letters) = (Framer::new(), StreamState::new(dialect), String::new());
        for chunk in chunks {
            framer.feed(chunk, |event| letters.push(letter(&state.read(&event))));
        }
        framer.finish(|event| letters.push(letter(&state.read(&event))));
        (letters, state)
    }

    fn check_meaning(dialect: StreamDialect, name: &str, data: &str, expected: Meaning<'_>) {
        let event =
            Event { name: name.as_bytes(), data: data.as_bytes(), start: 0, end: 0, form: Form::Whole };
        assert_eq!(StreamState::new(dialect).read(&event), expected, "{dialect:?} {name} {data}");
        let torn = StreamState::new(dialect).read(&Event { form: Form::Torn, ..event });
        let unread = expected == Meaning::Unknown && torn == Meaning::Empty;
        assert!(torn == expected || unread, "{dialect:?} {name} {data}, torn: {torn:?}");
    }

    fn check_oversize(dialect: StreamDialect, name: &str, expected: Meaning<'_>) -> StreamState {
        let event = Event { name: name.as_bytes(), data: b"", start: 0, end: 9, form: Form::Oversize };
        let mut state = StreamState::new(dialect);
        assert_eq!(state.read(&event), expected, "{dialect:?} {name}");
        state
    }

    fn failed(error: &str) -> Meaning<'_> {
        Meaning::Failed(Failure::Error(error.as_bytes()))
    }

    use StreamDialect::{Chat, Completions, Gemini, Messages, Responses};

    const ALL_DIALECTS: [StreamDialect; 5] = [Chat, Completions, Responses, Messages, Gemini];

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
                assert_eq!(
                    (state.ending(), state.usage()),
                    (sample.ending, sample.usage()),
                    "{}",
                    sample.name
                );
            }
        }
    }

    #[test]
    fn a_stream_cut_anywhere_never_looks_complete() {
        for sample in samples::ALL.iter().filter(|sample| sample.ending == Ending::Complete) {
            for at in 0..sample.bytes.len() {
                let (letters, state) = replay(sample.dialect, [&sample.bytes[..at]]);
                let whole = letters.trim_end_matches('.') == sample.meanings.trim_end_matches('.');
                assert_eq!(state.ending() == Ending::Complete, whole, "{} cut at {at}", sample.name);
            }
        }
    }

    #[test]
    fn role_only_and_empty_deltas_are_not_content() {
        for delta in [
            r#"{}"#,
            r#"{"role":"assistant"}"#,
            r#"{"role":"assistant","content":""}"#,
            r#"{"role":"assistant","content":null,"refusal":null,"tool_calls":null,"function_call":null,"audio":null}"#,
            r#"{"content":"","tool_calls":[],"reasoning_content":"","reasoning":null,"reasoning_details":[]}"#,
            r#"{"provider_specific_fields":{},"content":[]}"#,
            "null",
        ] {
            let data = format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#);
            check_meaning(Chat, "", &data, Meaning::Empty);
        }
    }

    #[test]
    fn whatever_else_a_delta_carries_is_content() {
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
        check_meaning(
            Completions,
            "",
            r#"{"choices":[{"text":"x","finish_reason":null}]}"#,
            Meaning::Content,
        );
        check_meaning(Completions, "", r#"{"choices":[{"text":"","finish_reason":null}]}"#, Meaning::Empty);
    }

    #[test]
    fn an_in_band_error_is_failed_in_whatever_shape_it_comes() {
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
        let choice =
            r#"{"choices":[{"error":{"code":502},"delta":{"content":"x"},"finish_reason":"error"}]}"#;
        check_meaning(Chat, "", choice, failed(r#"{"code":502}"#));
        let finish = r#"{"choices":[{"delta":{"content":"x"},"finish_reason":"error"}]}"#;
        check_meaning(Chat, "", finish, Meaning::Failed(Failure::FinishedInError));
        let typed = r#"{"type":"error","code":"server_error","message":"m","sequence_number":3}"#;
        check_meaning(Responses, "", typed, failed(typed));
        let response = r#"{"type":"response.failed","response":{"error":{"code":"c"},"status":"failed"}}"#;
        check_meaning(Responses, "response.failed", response, failed(r#"{"code":"c"}"#));
        let blocked = r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#;
        check_meaning(Gemini, "", blocked, Meaning::Failed(Failure::PromptBlocked));
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
                format!(
                    r#"{{"type":"content_block_delta","delta":{{"type":"text_delta","text":"{text}"}}}}"#
                ),
            ),
            (Gemini, format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}}}}]}}"#)),
        ] {
            check_meaning(dialect, "", &data, Meaning::Content);
        }
    }

    #[test]
    fn an_error_member_that_says_nothing_is_no_error() {
        for nothing in ["null", "\"\"", "{}", "false"] {
            let data = format!(r#"{{"error":{nothing},"choices":[{{"delta":{{"content":"x"}}}}]}}"#);
            check_meaning(Chat, "", &data, Meaning::Content);
        }
    }

    #[test]
    fn what_is_not_understood_counts_as_content_unless_it_is_torn() {
        for dialect in ALL_DIALECTS {
            for data in ["hello", "{\"a\":", "[1]", "7", r#"{"something":"new"}"#, r#"{"type":"brand_new"}"#]
            {
                check_meaning(dialect, "", data, Meaning::Unknown);
            }
            assert!(Meaning::Unknown.is_content());
        }
        let torn =
            Event { name: b"", data: br#"{"choices":[{"delta":{"con"#, start: 0, end: 26, form: Form::Torn };
        assert_eq!(StreamState::new(Chat).read(&torn), Meaning::Empty);
    }

    #[test]
    fn pings_and_empty_data_are_nothing() {
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
    fn the_type_in_the_data_is_enough_without_an_event_name_and_the_name_without_a_type() {
        check_meaning(Messages, "", r#"{"type":"message_stop"}"#, Meaning::Terminal(Terminal::Completed));
        check_meaning(Messages, "message_stop", "{}", Meaning::Terminal(Terminal::Completed));
        check_meaning(
            Responses,
            "",
            r#"{"type":"response.completed"}"#,
            Meaning::Terminal(Terminal::Completed),
        );
        let delta = r#"{"delta":{"text":"x","type":"text_delta"},"index":0,"type":"content_block_delta"}"#;
        check_meaning(Messages, "", delta, Meaning::Content);
    }

    #[test]
    fn usage_of_odd_types_spoils_nothing() {
        let data = br#"{"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":"7","completion_tokens":null,"total_tokens":{}}}"#;
        let event = Event { name: b"", data, start: 0, end: 0, form: Form::Whole };
        let mut state = StreamState::new(Chat);
        assert_eq!(state.read(&event), Meaning::Content);
        assert_eq!(state.usage(), None);
    }

    #[test]
    fn a_later_count_replaces_an_earlier_one_and_silence_does_not() {
        let (_, state) = replay(Messages, [&b"data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":5,\"output_tokens\":1}}}\n\n\
            data: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":4}}\n\n\
            data: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"input_tokens\":6,\"output_tokens\":9}}\n\n"[..]]);
        assert_eq!(state.usage(), Some(Usage { input: 6, output: 9, ..Usage::default() }));
    }

    #[test]
    fn the_ending_tells_a_missing_sentinel_from_a_missing_finish_reason() {
        let end = |text: &str, dialect| replay(dialect, [text.as_bytes()]).1.ending();
        let finish = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        let two = r#"{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]}"#;
        assert_eq!(end(&format!("data: {finish}\n\n"), Chat), Ending::NoTerminal);
        assert_eq!(
            end(&format!("data: {two}\n\ndata: {finish}\n\ndata: [DONE]\n\n"), Chat),
            Ending::Unfinished
        );
        assert_eq!(end(&format!("data: {two}\n\ndata: {finish}\n\n"), Chat), Ending::Truncated);
        assert_eq!(end(&format!("data: {finish}\n\ndata: [DONE]"), Chat), Ending::Complete);
        assert_eq!(end("data: [DONE]\n\n", Chat), Ending::Unfinished);
        assert_eq!(end("", Chat), Ending::Truncated);
        assert_eq!(end("data: {\"type\":\"message_stop\"}\n\n", Messages), Ending::Unfinished);
    }

    #[test]
    fn a_success_after_a_failure_does_not_heal_the_stream() {
        let (letters, state) = replay(Chat, [&b"data: {\"error\":{\"code\":1}}\n\ndata: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"[..]]);
        assert_eq!((letters.as_str(), state.ending()), ("XfT", Ending::Failed));
    }

    #[test]
    fn an_oversize_event_is_judged_by_its_name_and_excuses_a_missing_end() {
        let done = Meaning::Terminal(Terminal::Completed);
        assert_eq!(check_oversize(Responses, "response.completed", done).ending(), Ending::Complete);
        assert_eq!(check_oversize(Messages, "message_stop", done).ending(), Ending::Unfinished);
        assert_eq!(check_oversize(Responses, "response.failed", failed("")).ending(), Ending::Failed);
        assert_eq!(check_oversize(Responses, "response.created", Meaning::Empty).ending(), Ending::Unwatched);
        check_oversize(Responses, "response.image_generation_call.partial_image", Meaning::Content);
        check_oversize(Messages, "content_block_delta", Meaning::Content);
        for dialect in ALL_DIALECTS {
            assert_eq!(check_oversize(dialect, "", Meaning::Unknown).ending(), Ending::Unwatched);
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
        fn damaged_events_never_panic(which in 0..samples::ALL.len(), at: proptest::sample::Index, byte: u8, dialect in 0..5_usize) {
            let mut bytes = samples::ALL[which].bytes.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            replay(ALL_DIALECTS[dialect], [bytes.as_slice()]);
        }

        #[test]
        fn arbitrary_data_never_panics(data in proptest::collection::vec(any::<u8>(), 0..200), name in "(error|ping|response.completed|)", dialect in 0..5_usize) {
            for form in [Form::Whole, Form::Torn, Form::Oversize] {
                let event = Event { name: name.as_bytes(), data: &data, start: 0, end: 0, form };
                let mut state = StreamState::new(ALL_DIALECTS[dialect]);
                state.read(&event);
                state.ending();
            }
        }
    }
}
