//! Tests the edits in a buffer with only the host's operations.

use proptest::prelude::*;
use serde_json::Value;

use super::super::{
    BodyBuffer, BodyEdit, EDIT_WINDOW_BYTES, EditError, MAX_MODEL_MEMBERS, MAX_USAGE_SPOTS, StreamEditor,
};
use super::bodies::{Json, Style, body};
use super::scan;

/// A buffer like the host's. It counts reads and writes and checks their bounds.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    largest_write: usize,
    reads: usize,
    writes: usize,
}

impl BodyBuffer for Held {
    type Error = &'static str;

    fn read(&mut self, start: usize, len: usize) -> Result<Vec<u8>, Self::Error> {
        assert!(len <= EDIT_WINDOW_BYTES, "a read of {len} bytes");
        self.reads += 1;
        self.bytes.get(start..start + len).map(<[u8]>::to_vec).ok_or("out of range")
    }

    fn replace_front(&mut self, len: usize, with: &[u8]) -> Result<(), Self::Error> {
        self.wrote(with);
        self.bytes.splice(..len, with.iter().copied());
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.wrote(bytes);
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl Held {
    fn of(body: &str) -> Self {
        Self { bytes: body.as_bytes().to_vec(), ..Self::default() }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        self.writes += 1;
        self.largest_write = self.largest_write.max(bytes.len());
    }
}

fn edit_of(body: &str, new_model: &str) -> BodyEdit {
    BodyEdit::of_model(&scan(body).unwrap(), new_model)
}

fn asking_edit_of(body: &str, new_model: &str) -> BodyEdit {
    let facts = scan(body).unwrap();
    BodyEdit::of_model(&facts, new_model).asking_for_usage(&facts)
}

/// The whole body with every model replaced by its span.
fn expected(body: &str, new_model: &str) -> String {
    let mut out = body.to_owned();
    for span in scan(body).unwrap().model_spans.iter().rev() {
        out.replace_range(span.start..span.end, &serde_json::to_string(new_model).unwrap());
    }
    out
}

fn held(body: &str, new_model: &str) -> Held {
    held_with(&edit_of(body, new_model), body, MAX_MODEL_MEMBERS * (2 + 6 * new_model.len()))
}

fn held_with(edit: &BodyEdit, body: &str, most_put_in: usize) -> Held {
    let mut buffer = Held::of(body);
    let new_len = edit.apply_held(&mut buffer, body.len()).unwrap();
    assert_eq!(new_len, buffer.bytes.len());
    assert_eq!(new_len, edit.new_length(body.len()));
    assert!(buffer.largest_write <= EDIT_WINDOW_BYTES + most_put_in);
    if body.len() <= EDIT_WINDOW_BYTES {
        let mut unread = Held::of(body);
        assert_eq!(edit.apply_known(&mut unread, body.as_bytes().to_vec()), Ok(new_len));
        assert_eq!((unread.reads, &unread.bytes), (0, &buffer.bytes));
    }
    buffer
}

/// The edited body when it passes in chunks of the lengths `cuts`, and the number of reads.
fn streamed(body: &str, new_model: &str, cuts: &[usize]) -> (Vec<u8>, usize) {
    streamed_with(edit_of(body, new_model), body, cuts)
}

fn streamed_with(edit: BodyEdit, body: &str, cuts: &[usize]) -> (Vec<u8>, usize) {
    let new_length = edit.new_length(body.len());
    let mut editor = StreamEditor::new(edit);
    let (mut out, mut reads, mut rest) = (Vec::new(), 0, body.as_bytes());
    for cut in cuts.iter().chain(std::iter::repeat(&body.len())) {
        let (chunk, later) = rest.split_at((*cut).min(rest.len()));
        let mut buffer = Held { bytes: chunk.to_vec(), ..Held::default() };
        let new_len = editor.edit_chunk(&mut buffer, chunk.len()).unwrap();
        assert_eq!(new_len, buffer.bytes.len());
        reads += buffer.reads;
        out.extend(buffer.bytes);
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(out.len(), new_length);
    (out, reads)
}

fn with_model(value: &Value, model: &str) -> Value {
    let mut value = value.clone();
    if let Some(old) = value.get_mut("model") {
        *old = model.into();
    }
    value
}

fn large(before: usize, between: usize, after: usize) -> String {
    let text = |length: usize| "x".repeat(length);
    format!(
        r#"{{"a":"{}","model":"old","b":"{}","model":"a-much-longer-name","c":"{}"}}"#,
        text(before),
        text(between),
        text(after)
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn an_edit_changes_only_the_model(
        body in body(),
        style in any::<u64>(),
        first in proptest::option::of("[a-z]{0,8}"),
        new_model in prop_oneof![any::<String>(), "[a-z]{0,8}", Just("gpt-4.1-mini".to_owned())],
        cuts in proptest::collection::vec(0..60_usize, 0..40),
    ) {
        let body = match (body, first) {
            (Json::Object(mut members), Some(model)) => {
                members.insert(0, ("model".to_owned(), Json::Text(model)));
                Json::Object(members)
            }
            (body, _) => body,
        };
        prop_assume!(body.all("model").count() <= MAX_MODEL_MEMBERS);
        let text = body.write(Style(style));
        let parsed: Value = serde_json::from_str(&text).unwrap();

        let held = held(&text, &new_model).bytes;
        let edited: Value = serde_json::from_slice(&held).unwrap();
        prop_assert_eq!(edited, with_model(&parsed, &new_model));
        if !edit_of(&text, &new_model).is_noop() {
            prop_assert_eq!(std::str::from_utf8(&held).unwrap(), expected(&text, &new_model));
        }
        prop_assert_eq!(&streamed(&text, &new_model, &cuts).0, &held);
        prop_assert_eq!(&streamed(&text, &new_model, &vec![1; text.len()]).0, &held);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn large_bodies_are_edited_correctly(
        before in 0..3 * EDIT_WINDOW_BYTES,
        between in 0..2 * EDIT_WINDOW_BYTES,
        after in 0..3 * EDIT_WINDOW_BYTES,
        new_model in "[a-z\"é]{0,30}",
        cuts in proptest::collection::vec(0..2 * EDIT_WINDOW_BYTES, 0..6),
    ) {
        let body = large(before, between, after);
        let expected = expected(&body, &new_model).into_bytes();
        prop_assert!(held(&body, &new_model).bytes == expected);
        prop_assert!(streamed(&body, &new_model, &cuts).0 == expected);
    }
}

#[test]
fn a_model_at_any_position_around_the_window_is_edited() {
    for before in EDIT_WINDOW_BYTES - 60..EDIT_WINDOW_BYTES + 10 {
        let body = large(before, 0, 100);
        assert!(held(&body, "n").bytes == expected(&body, "n").into_bytes(), "{before}");
    }
}

#[test]
fn an_early_model_costs_one_short_read_and_one_write_in_a_large_body() {
    let body = format!(r#"{{"model":"old","messages":[{{"content":"{}"}}]}}"#, "x".repeat(1 << 20));
    let buffer = held(&body, "new");
    assert_eq!((buffer.reads, buffer.writes, buffer.largest_write), (1, 1, r#"{"model":"new""#.len()));
}

#[test]
fn a_late_model_rotates_the_body_once() {
    let body = large(4 * EDIT_WINDOW_BYTES, 0, 0);
    assert_eq!(held(&body, "new").reads, body.len().div_ceil(EDIT_WINDOW_BYTES));
}

#[test]
fn chunks_without_a_model_are_not_read() {
    let body = format!(r#"{{"a":"{}","model":"old","b":"{}"}}"#, "x".repeat(1000), "x".repeat(1000));
    let (out, reads) = streamed(&body, "new", &[100; 25]);
    assert_eq!((out, reads), (expected(&body, "new").into_bytes(), 1));
}

#[test]
fn an_edit_to_the_same_model_does_nothing() {
    for (body, noop) in [
        (r#"{"model":"same"}"#, true),
        (r#"{"model":"s\u0061me"}"#, true),
        (r#"{}"#, true),
        (r#"{"model":"other"}"#, false),
        (r#"{"model":"other","model":"same"}"#, false),
        (r#"{"model":null}"#, false),
    ] {
        assert_eq!(edit_of(body, "same").is_noop(), noop, "{body}");
        let buffer = held(body, "same");
        assert_eq!(buffer.reads == 0 && buffer.writes == 0, noop, "{body}");
    }
    assert_eq!(edit_of(r#"{"model":"same"}"#, "same").new_length(16), 16);
}

#[test]
fn a_failing_or_short_buffer_is_an_error() {
    struct Short;
    impl BodyBuffer for Short {
        type Error = ();
        fn read(&mut self, _: usize, len: usize) -> Result<Vec<u8>, ()> {
            Ok(vec![0; len - 1])
        }
        fn replace_front(&mut self, _: usize, _: &[u8]) -> Result<(), ()> {
            Err(())
        }
        fn append(&mut self, _: &[u8]) -> Result<(), ()> {
            Err(())
        }
    }
    let edit = edit_of(r#"{"model":"old"}"#, "new");
    assert_eq!(edit.apply_held(&mut Short, 15), Err(EditError::Length { asked: 14, got: 13 }));
    let lost = edit.apply_held(&mut Held::default(), 15);
    assert_eq!(lost, Err(EditError::Buffer("out of range")));
}

/// The body with a request for usage, as a parser reads it that keeps the last duplicate; `None` if the body
/// is left unchanged.
fn asking(body: &Value) -> Option<Value> {
    let mut body = body.clone();
    match &mut body["stream_options"] {
        options @ Value::Null => *options = serde_json::json!({"include_usage": true}),
        Value::Object(options) => drop(options.insert("include_usage".to_owned(), Value::Bool(true))),
        _ => return None,
    }
    Some(body)
}

fn any_options() -> impl Strategy<Value = Json> {
    let word = |word: &str| Just(Json::Bare(word.to_owned()));
    let value = prop_oneof![
        word("true"),
        word("false"),
        word("null"),
        Just(Json::Object(Vec::new())),
        Just(Json::Array(vec![Json::Bare("null".to_owned())]))
    ];
    let key = prop_oneof![Just("include_usage".to_owned()), "[a-z]{0,3}"];
    prop_oneof![word("null"), proptest::collection::vec((key, value), 0..4).prop_map(Json::Object)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn an_edit_that_asks_for_usage_changes_nothing_else(
        body in body(),
        options in proptest::collection::vec((any::<proptest::sample::Index>(), any_options()), 0..3),
        style in any::<u64>(),
        cuts in proptest::collection::vec(0..60_usize, 0..40),
    ) {
        let Json::Object(mut members) = body else { return Ok(()) };
        members.push(("model".to_owned(), Json::Text("old".to_owned())));
        for (index, options) in options {
            members.insert(index.index(members.len()), ("stream_options".to_owned(), options));
        }
        let body = Json::Object(members);
        prop_assume!(body.all("model").count() <= MAX_MODEL_MEMBERS);
        let text = body.write(Style(style));
        let edit = asking_edit_of(&text, "new");
        let held = held_with(&edit, &text, 1000).bytes;
        let parsed = with_model(&serde_json::from_str(&text).unwrap(), "new");
        let edited: Value = serde_json::from_slice(&held).unwrap();
        if edit.asks_for_usage() {
            let mut expected = asking(&parsed).unwrap();
            // Duplicates within `stream_options` make the whole object differ, so only the rest is compared.
            prop_assert_eq!(&edited["stream_options"]["include_usage"], &Value::Bool(true));
            prop_assert!(scan(std::str::from_utf8(&held).unwrap()).unwrap().include_usage);
            expected["stream_options"] = edited["stream_options"].clone();
            prop_assert_eq!(edited, expected);
        } else {
            prop_assert_eq!(edited, parsed);
        }
        prop_assert_eq!(&streamed_with(edit.clone(), &text, &cuts).0, &held);
        prop_assert_eq!(&streamed_with(edit, &text, &vec![1; text.len()]).0, &held);
    }
}

#[test]
fn usage_is_requested_in_every_stream_options_of_the_body() {
    for (body, expected) in [
        (r#"{"model":"m"}"#, r#"{"stream_options":{"include_usage":true},"model":"m"}"#),
        (r#" { "model":"m"}"#, r#" {"stream_options":{"include_usage":true}, "model":"m"}"#),
        (
            r#"{"model":"m","stream_options":null}"#,
            r#"{"model":"m","stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"m","stream_options":{ }}"#,
            r#"{"model":"m","stream_options":{"include_usage":true }}"#,
        ),
        (
            r#"{"stream_options":{"include_obfuscation":false},"model":"m"}"#,
            r#"{"stream_options":{"include_usage":true,"include_obfuscation":false},"model":"m"}"#,
        ),
        (
            r#"{"stream_options":{"a":1,"include_usage": false ,"b":2},"model":"m"}"#,
            r#"{"stream_options":{"a":1,"include_usage": true ,"b":2},"model":"m"}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":[{"include_usage":1}],"include_usage":null},"model":"m"}"#,
            r#"{"stream_options":{"include_usage":true,"include_usage":true},"model":"m"}"#,
        ),
        (
            r#"{"stream_options":null,"model":"m","stream_options":{"x":{"include_usage":false}}}"#,
            r#"{"stream_options":{"include_usage":true},"model":"m","stream_options":{"include_usage":true,"x":{"include_usage":false}}}"#,
        ),
    ] {
        let held = held_with(&asking_edit_of(body, "m"), body, 1000).bytes;
        assert_eq!(std::str::from_utf8(&held).unwrap(), expected);
        assert_eq!(streamed_with(asking_edit_of(body, "m"), body, &vec![1; body.len()]).0, held);
    }
}

#[test]
fn invalid_or_too_many_stream_options_are_left_unchanged() {
    let many = format!(r#"{{"model":"m"{}}}"#, r#","stream_options":null"#.repeat(MAX_USAGE_SPOTS + 1));
    for body in [r#"{"model":"m","stream_options":"x"}"#, r#"{"model":"m","stream_options":[{}]}"#, &many] {
        let edit = asking_edit_of(body, "m");
        assert!(edit.is_noop() && !edit.asks_for_usage(), "{body}");
    }
    let most = format!(r#"{{"model":"m"{}}}"#, r#","stream_options":null"#.repeat(MAX_USAGE_SPOTS));
    assert!(asking_edit_of(&most, "m").asks_for_usage());
}

#[test]
fn a_model_is_added_to_a_body_that_has_none() {
    for (body, plain, asking) in [
        (
            r#"{"messages":[]}"#,
            r#"{"model":"gpt","messages":[]}"#,
            r#"{"stream_options":{"include_usage":true},"model":"gpt","messages":[]}"#,
        ),
        (
            r#"  {  "stream_options" : {} }  "#,
            r#"  {"model":"gpt",  "stream_options" : {} }  "#,
            r#"  {"model":"gpt",  "stream_options" : {"include_usage":true} }  "#,
        ),
        (
            r#"{"stream_options":null,"n":1}"#,
            r#"{"model":"gpt","stream_options":null,"n":1}"#,
            r#"{"model":"gpt","stream_options":{"include_usage":true},"n":1}"#,
        ),
    ] {
        let facts = scan(body).unwrap();
        let adding = edit_of(body, "gpt").or_adding_it(&facts);
        for (edit, expected) in [(adding.clone(), plain), (adding.asking_for_usage(&facts), asking)] {
            let held = held_with(&edit, body, 100);
            assert_eq!(std::str::from_utf8(&held.bytes).unwrap(), expected);
            for size in 1..4 {
                let cuts = vec![size; body.len()];
                let (streamed, _) = streamed_with(edit.clone(), body, &cuts);
                assert_eq!(std::str::from_utf8(&streamed).unwrap(), expected, "in pieces of {size}");
            }
        }
    }
}
