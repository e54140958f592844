//! Streams that break, that are wrong, or that are too large.

use super::super::order::{MAX_CALLS, MAX_WAITING};
use super::super::to_responses::MAX_OUTPUT;
use super::*;

/// Feeds events and returns how many of them were translated, and what was written.
fn feed(way: Translation, events: impl IntoIterator<Item = String>) -> (usize, Vec<u8>) {
    let mut out = Vec::new();
    let mut translator = StreamTranslator::new(way, terms());
    let count = events
        .into_iter()
        .take_while(|event| translator.event(b"", event.as_bytes(), &mut out).is_ok())
        .count();
    translator.finish(&mut out);
    (count, out)
}

fn content(text: &str) -> String {
    chat_chunk(&format!(r#"{{"content":"{text}"}}"#), "null")
}

fn call(index: usize, arguments: &str) -> String {
    let function = format!(r#"{{"name":"f","arguments":"{arguments}"}}"#);
    chat_chunk(
        &format!(r#"{{"tool_calls":[{{"index":{index},"id":"c{index}","function":{function}}}]}}"#),
        "null",
    )
}

#[test]
fn a_sentinel_without_a_finish_reason_is_no_end() {
    for way in [Translation::MessagesToChat, Translation::ResponsesToChat] {
        let (count, out) = feed(way, [content("a"), DONE.to_owned()]);
        assert_eq!(count, 2);
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("message_stop") && !text.contains("response.completed"), "{text}");
    }
}

#[test]
fn an_end_is_written_once() {
    let finish = chat_chunk("{}", "\"stop\"");
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":1}}"#.to_owned();
    let events = [content("a"), finish, usage.clone(), usage, DONE.to_owned(), DONE.to_owned(), content("b")];
    let (count, out) = feed(Translation::MessagesToChat, events);
    assert_eq!(count, 7);
    assert!(accumulate::messages(&client_events(&out)).1);
}

#[test]
fn the_end_waits_for_the_usage() {
    let (_, finished) = feed(Translation::MessagesToChat, [content("a")]);
    let mut out = Vec::new();
    let mut translator = StreamTranslator::new(Translation::MessagesToChat, terms());
    translator.event(b"", content("a").as_bytes(), &mut out).unwrap();
    assert_eq!(out, finished);
    translator.event(b"", chat_chunk("{}", "\"stop\"").as_bytes(), &mut out).unwrap();
    assert!(!String::from_utf8_lossy(&out).contains("message_delta"));
    translator.event(b"", br#"{"choices":[],"usage":{"completion_tokens":3}}"#, &mut out).unwrap();
    assert!(String::from_utf8_lossy(&out).contains("message_stop"));
}

#[test]
fn errors_and_texts_that_are_no_json_are_not_translated() {
    for wrong in [
        r#"{"error":{"message":"overloaded","code":529}}"#,
        r#"{"object":"error","message":"overloaded"}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a"#,
        "overloaded",
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\nb\"}}]}",
    ] {
        assert_eq!(feed(Translation::MessagesToChat, [content("a"), wrong.to_owned()]).0, 1, "{wrong}");
    }
    for wrong in [
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
        r#"{"error":{"message":"overloaded"}}"#,
        r#"{"type":"message_start""#,
        "overloaded",
        r#"{"type":"message_delta","delta":{"stop_reason":"error"}}"#,
        // There is no start.
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#,
    ] {
        assert_eq!(feed(Translation::ChatToMessages, [wrong.to_owned()]).0, 0, "{wrong}");
    }
}

#[test]
fn arguments_of_another_block_are_not_translated() {
    let events = [
        r#"{"type":"message_start","message":{}}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"a","name":"f","input":{}}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
    ];
    assert_eq!(feed(Translation::ChatToMessages, events.map(str::to_owned)).0, 2);
}

#[test]
fn names_of_events_and_comments_do_not_matter() {
    let stream = ": ping\n\nevent: ping\n\nevent: message_start\ndata: {\"message\":{\"id\":\"msg_1\"}}\n\n\
                  event: message_stop\ndata: {}\n\ndata: [DONE]\n\n";
    let out = translate_stream(Translation::ChatToMessages, &terms(), stream).unwrap();
    assert!(accumulate::chat(&client_events(&out)).1);
}

#[test]
fn what_waits_is_bounded() {
    let open = call(0, r#"{\"a\""#);
    let piece = "x".repeat(MAX_WAITING / 4);
    let late = (0..5).map(|_| content(&piece));
    assert_eq!(feed(Translation::MessagesToChat, std::iter::once(open.clone()).chain(late)).0, 5);
    let late = (0..5).map(|_| call(1, &piece));
    assert_eq!(feed(Translation::MessagesToChat, std::iter::once(open).chain(late)).0, 5);
}

#[test]
fn calls_are_bounded() {
    let calls = (0..=MAX_CALLS).map(|index| call(index, "{}"));
    assert_eq!(feed(Translation::MessagesToChat, calls).0, MAX_CALLS);
    let start = r#"{"type":"message_start","message":{}}"#.to_owned();
    let calls = (0..=MAX_CALLS).map(|_| {
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","name":"f"}}"#
            .to_owned()
    });
    let (count, _) = feed(Translation::ChatToMessages, std::iter::once(start).chain(calls));
    assert_eq!(count, MAX_CALLS + 1);
}

#[test]
fn the_output_that_is_kept_is_bounded() {
    let piece = "x".repeat(MAX_OUTPUT / 4);
    assert_eq!(feed(Translation::ResponsesToChat, (0..5).map(|_| content(&piece))).0, 4);
    // Nothing is kept of it.
    assert_eq!(feed(Translation::MessagesToChat, (0..5).map(|_| content(&piece))).0, 5);
}

#[test]
fn the_number_of_the_next_event_is_known() {
    let mut out = Vec::new();
    let mut translator = StreamTranslator::new(Translation::ResponsesToChat, terms());
    assert_eq!(translator.next_number(), 0);
    translator.event(b"", content("a").as_bytes(), &mut out).unwrap();
    assert_eq!(translator.next_number(), client_events(&out).len() as u64);
}

#[test]
fn a_head_that_each_chunk_would_repeat_is_short() {
    for (length, expected) in [(MAX_HEAD, 1), (MAX_HEAD + 1, 0)] {
        for member in ["id", "model"] {
            let mut start =
                serde_json::json!({"type": "message_start", "message": {"id": "a", "model": "b"}});
            start["message"][member] = "x".repeat(length).into();
            assert_eq!(feed(Translation::ChatToMessages, [start.to_string()]).0, expected, "{member}");
        }
    }
}
