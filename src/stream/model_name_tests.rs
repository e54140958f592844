use proptest::prelude::*;

use super::*;

const OF_STREAMS: [StreamDialect; 5] = [
    StreamDialect::Chat,
    StreamDialect::Completions,
    StreamDialect::Responses,
    StreamDialect::Messages,
    StreamDialect::Gemini,
];

/// The names found in a response that comes in these pieces.
fn found<'a>(mut finder: ModelFinder, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Range<u64>> {
    for piece in pieces {
        finder.feed(piece);
        assert!(finder.open_name() <= MAX_MODEL_NAME);
    }
    finder.finish();
    finder.found().to_vec()
}

/// The names as they are in `answer`.
fn names(finder: ModelFinder, answer: &str) -> Vec<&str> {
    let found = found(finder, std::iter::once(answer.as_bytes()));
    found.iter().map(|name| &answer[name.start as usize..name.end as usize]).collect()
}

fn check_stream(dialect: StreamDialect, stream: &str, expected: &[&str]) {
    assert_eq!(names(ModelFinder::of_stream(dialect), stream), expected, "{stream:?}");
    let bytes = found(ModelFinder::of_stream(dialect), stream.as_bytes().chunks(1));
    assert_eq!(bytes.len(), expected.len(), "byte by byte: {stream:?}");
}

fn check_answer(answer: &str, expected: &[&str]) {
    assert_eq!(names(ModelFinder::of_answer(), answer), expected, "{answer:?}");
}

#[test]
fn a_non_streamed_response_names_its_model_at_the_top_level() {
    check_answer(r#"{"id":"1","model":"m-1","choices":[{"model":"no"}]}"#, &[r#""m-1""#]);
    check_answer(r#" { "data" : [[1,2],{"model":"no"}] , "model" : "m\"1" } "#, &[r#""m\"1""#]);
    check_answer(r#"{"mod\u0065l":"escaped key"}"#, &[r#""escaped key""#]);
    check_answer(r#"{"model":"a","model":"b"}"#, &[r#""a""#, r#""b""#]);
    check_answer(r#"{"model":""}"#, &[r#""""#]);
    for other in [r#"{"model":null}"#, r#"{"model":["m"]}"#, r#"{"model":{"model":"m"}}"#, r#"{"Model":"m"}"#]
    {
        check_answer(other, &[]);
    }
    for none in
        ["", "[]", r#"[{"model":"m"}]"#, r#""model""#, "model", r#"{"model":"m"#, r#"data: {"model":"m"}"#]
    {
        check_answer(none, &[]);
    }
}

#[test]
fn each_event_of_a_chat_stream_names_it_at_the_top_level() {
    let stream = "data: {\"model\":\"m-1\",\"choices\":[]}\n\n\
        data:{\"choices\":[],\"model\":\"m-2\"}\n\ndata: [DONE]\n\n";
    check_stream(StreamDialect::Chat, stream, &[r#""m-1""#, r#""m-2""#]);
    check_stream(StreamDialect::Chat, &stream.replace('\n', "\r\n"), &[r#""m-1""#, r#""m-2""#]);
    check_stream(StreamDialect::Chat, &stream.replace('\n', "\r"), &[r#""m-1""#, r#""m-2""#]);
    check_stream(StreamDialect::Completions, stream, &[r#""m-1""#, r#""m-2""#]);
}

#[test]
fn other_dialects_name_it_in_the_event_s_object() {
    let started = "event: message_start\ndata: {\"type\":\"message_start\",\
        \"message\":{\"usage\":{\"model\":\"no\"},\"model\":\"m-1\"},\"model\":\"no\"}\n\n";
    check_stream(StreamDialect::Messages, started, &[r#""m-1""#]);
    let created = "data: {\"type\":\"response.created\",\
        \"response\":{\"tools\":[{\"model\":\"no\"}],\"model\":\"m-1\"}}\n\n";
    check_stream(StreamDialect::Responses, created, &[r#""m-1""#]);
    check_stream(
        StreamDialect::Responses,
        "data: {\"response\":[\"model\",\"m\"],\"x\":{\"model\":\"m\"}}\n\n",
        &[],
    );
    check_stream(StreamDialect::Responses, "data: {\"response\":[{\"model\":\"m\"}]}\n\n", &[]);
    check_stream(StreamDialect::Chat, created, &[]);
}

#[test]
fn lines_follow_the_event_stream_grammar() {
    for (stream, expected) in [
        // A document over several data lines, with other lines between them.
        ("data: {\"a\":1,\nid: 7\n: note\ndata: \"model\":\ndata:\"m\"}\n\n", 1),
        ("\u{feff}data: {\"model\":\"m\"}\n\n", 1),
        ("\u{feff}\ndata: {\"model\":\"m\"}\n\n", 1),
        // The last event lacks its end. A client may accept it anyway.
        ("data: {\"model\":\"m\"}", 1),
        ("data: {\"model\":\"m\"", 0),
        ("dat: {\"model\":\"m\"}\n\n", 0),
        ("data : {\"model\":\"m\"}\n\n", 0),
        (" data: {\"model\":\"m\"}\n\n", 0),
        (":data: {\"model\":\"m\"}\n\n", 0),
        ("event: data: {\"model\":\"m\"}\n\n", 0),
        // A string over two lines is invalid.
        ("data: {\"model\":\"m\ndata: n\"}\n\n", 0),
    ] {
        check_stream(StreamDialect::Chat, stream, &["\"m\""][..expected]);
    }
}

#[test]
fn an_invalid_event_stays_unchanged_and_the_next_is_read() {
    let next = "data: {\"model\":\"m\"}\n\n";
    for odd in [
        "{\"model\":\"x\"}}",
        "{\"model\":\"x\"} {\"model\":\"x\"}",
        "{\"model\":\"x\",}",
        "{\"model\":\"x\"",
        "{\"model\":\"x",
        "{\"model\":\"x\\",
        "[{\"model\":\"x\"}]",
        "{\"model\":\"x\",\"deep\":",
    ] {
        let deep = if odd.ends_with(':') { "[".repeat(1000) } else { String::new() };
        check_stream(StreamDialect::Chat, &format!("data: {odd}{deep}\n\n{next}"), &["\"m\""]);
    }
}

#[test]
fn names_beyond_the_limits_are_ignored() {
    let long = |length: usize| format!(r#"{{"model":"{}"}}"#, "x".repeat(length - 2));
    assert_eq!(names(ModelFinder::of_answer(), &long(MAX_MODEL_NAME)).len(), 1);
    assert_eq!(names(ModelFinder::of_answer(), &long(MAX_MODEL_NAME + 1)).len(), 0);
    let many = |count: usize| format!("{{{}\"a\":1}}", r#""model":"m","#.repeat(count));
    assert_eq!(names(ModelFinder::of_answer(), &many(MAX_MODEL_NAMES)).len(), MAX_MODEL_NAMES);
    assert_eq!(names(ModelFinder::of_answer(), &many(100)).len(), MAX_MODEL_NAMES);
    let event = |count: usize| format!("data: {}\n\n", many(count));
    check_stream(StreamDialect::Chat, &event(MAX_MODEL_NAMES), &[r#""m""#; MAX_MODEL_NAMES]);
    check_stream(StreamDialect::Chat, &event(MAX_MODEL_NAMES + 1), &[]);
}

#[test]
fn a_name_is_open_from_its_first_quote_to_its_last() {
    let answer = r#"{"id":"x","model":"a\u0041\"b","n":1}"#;
    let (begin, end) = (answer.find("\"a").unwrap(), answer.find(",\"n").unwrap());
    for at in 0..=answer.len() {
        let mut finder = ModelFinder::of_answer();
        finder.feed(&answer.as_bytes()[..at]);
        let expected = if at > begin && at < end { at - begin } else { 0 };
        assert_eq!(finder.open_name(), expected, "at {at}");
    }
    let mut finder = ModelFinder::of_answer();
    finder.feed(br#"{"model":"#);
    finder.feed(&[b'"'; 1]);
    finder.feed(&[b'x'; MAX_MODEL_NAME - 1]);
    assert_eq!(finder.open_name(), MAX_MODEL_NAME);
    finder.feed(b"x");
    assert_eq!(finder.open_name(), 0, "the name is too long to wait for");
}

/// Pieces of streams with model names, and pieces that break them.
fn bits() -> impl Strategy<Value = String> {
    let bit = prop_oneof![
        Just("data: "),
        Just("data:"),
        Just("\n"),
        Just("\r\n"),
        Just("\r"),
        Just("\n\n"),
        Just("{"),
        Just("}"),
        Just("\"model\""),
        Just(":"),
        Just(","),
        Just("\"m\""),
        Just("\"m"),
        Just("\\"),
        Just("[1]"),
        Just("\"response\":{"),
        Just("\"message\":{"),
        Just("{\"model\":\"m-1\"}"),
        Just("é"),
        Just("\u{feff}"),
        Just(": c"),
        Just("event: x\n"),
    ];
    proptest::collection::vec(bit, 0..24).prop_map(|bits| bits.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_chunking_finds_the_same_names(
        stream in bits(), dialect in 0_usize..6, cuts in proptest::collection::vec(any::<usize>(), 0..12)
    ) {
        let finder = || match OF_STREAMS.get(dialect) {
            Some(dialect) => ModelFinder::of_stream(*dialect),
            None => ModelFinder::of_answer(),
        };
        let whole = found(finder(), std::iter::once(stream.as_bytes()));
        prop_assert_eq!(found(finder(), stream.as_bytes().chunks(1)), whole.clone());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        cuts.push(stream.len());
        cuts.sort_unstable();
        let starts = std::iter::once(0).chain(cuts.iter().copied());
        let pieces = starts.zip(cuts.iter().copied()).map(|(start, end)| &stream.as_bytes()[start..end]);
        prop_assert_eq!(found(finder(), pieces), whole.clone());
        for name in whole {
            let text = &stream[name.start as usize..name.end as usize];
            prop_assert!(serde_json::from_str::<String>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 1_usize..40
    ) {
        for dialect in OF_STREAMS {
            let _ = found(ModelFinder::of_stream(dialect), bytes.chunks(size));
        }
        let _ = found(ModelFinder::of_answer(), bytes.chunks(size));
    }
}
