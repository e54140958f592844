//! A committed stream: whole events pass, text can be inserted between them, and each chunk has one report.

use proptest::prelude::*;

use super::super::{ChunkReport, Follower, MAX_HELD_EVENT, Release};
use super::{OK_JSON, OK_STREAM, follower, passed, terms};
use crate::base::{Endpoint, ErrorClass};
use crate::request::test_support::FakeWire;

const CHUNK: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"héllo\"}}]}\r\n\r\n";
const FINISH: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

fn stream(wants_insertion: bool) -> Follower {
    follower(terms(Endpoint::Chat), OK_STREAM, wants_insertion)
}

/// Passes one chunk with `before` still in the host's buffer. Returns the report and the buffer afterwards.
fn piece(follower: &mut Follower, before: &str, chunk: &str) -> (ChunkReport, String) {
    let mut host = FakeWire { body: [before, chunk].concat().into_bytes(), ..FakeWire::default() };
    let available = host.body.len();
    let report = follower.chunk(&mut host, available, false);
    (report, String::from_utf8(host.body).unwrap())
}

proptest! {
    #[test]
    fn a_complete_stream_arrives_byte_for_byte(
        events in 1_usize..20,
        wants_insertion: bool,
        cuts in proptest::collection::vec(any::<usize>(), 0..30),
    ) {
        let sent = [CHUNK.repeat(events).as_bytes(), b": keep-alive\n\n", FINISH.as_bytes()].concat();
        prop_assert_eq!(passed(stream(wants_insertion), &sent, &cuts).concat(), sent);
    }

    #[test]
    fn forwarded_bytes_always_end_with_a_whole_event(
        cuts in proptest::collection::vec(any::<usize>(), 0..30)
    ) {
        let sent = CHUNK.repeat(5).replace("\r\n", "\n");
        let pieces = passed(stream(false), sent.as_bytes(), &cuts);
        let mut all = Vec::new();
        // The last chunk ends the stream, and an empty piece follows it.
        for piece in &pieces[..pieces.len() - 2] {
            all.extend_from_slice(piece);
            prop_assert!(all.is_empty() || all.ends_with(b"\n\n"));
        }
    }

    #[test]
    fn a_truncated_stream_ends_with_a_notice_after_its_last_whole_event(
        keep in 1_usize..400, cuts in proptest::collection::vec(any::<usize>(), 0..30)
    ) {
        let sent = CHUNK.repeat(6);
        let keep = keep.min(sent.len() - 1);
        let whole = sent.as_bytes()[..keep].windows(4).rposition(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4);
        let out = String::from_utf8(passed(stream(false), &sent.as_bytes()[..keep], &cuts).concat()).unwrap();
        let (before, notice) = out.split_once("data: {\"error\"").unwrap();
        // The last carriage return alone ends an event. The line feed after it may be missing.
        prop_assert!(before.len() >= whole);
        prop_assert!(before.is_empty() || before.trim_end_matches('\n').ends_with("\r\n\r"));
        prop_assert!(sent.starts_with(before));
        prop_assert!(notice.contains("stream_truncated") && notice.ends_with("\n\n"));
        prop_assert!(!out.contains("[DONE]"));
    }

    #[test]
    fn content_is_reported_once_for_any_chunking(
        events in 1_u64..20, cuts in proptest::collection::vec(any::<usize>(), 0..30)
    ) {
        let sent = [&*CHUNK.repeat(events as usize), FINISH].concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % sent.len()).collect();
        cuts.push(0);
        cuts.push(sent.len());
        cuts.sort_unstable();
        let mut follower = stream(false);
        let mut seen = 0;
        let bytes = sent.as_bytes();
        for pair in cuts.windows(2) {
            let mut host = FakeWire { body: bytes[pair[0]..pair[1]].to_vec(), ..FakeWire::default() };
            let report = follower.chunk(&mut host, pair[1] - pair[0], pair[1] == sent.len());
            prop_assert_eq!(report.forwarded, !host.body.is_empty());
            seen += report.content.unwrap_or(0);
            prop_assert_eq!(report.settled, follower.settled());
        }
        prop_assert_eq!(seen, events);
        prop_assert_eq!(follower.settled(), Some(Ok(())));
    }
}

#[test]
fn an_event_too_long_to_be_held_back_passes_on_and_is_ended_before_a_notice() {
    let long = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}", "x".repeat(2 * MAX_HELD_EVENT));
    let cuts: Vec<_> = (1..200).map(|n| n * 1000).filter(|cut| *cut < long.len()).collect();
    let out = passed(stream(false), long.as_bytes(), &cuts);
    let longest = out.iter().map(Vec::len).max().unwrap();
    assert!(longest <= MAX_HELD_EVENT + 2000, "{longest}");
    let out = String::from_utf8(out.concat()).unwrap();
    let rest = out.strip_prefix(&long).unwrap();
    assert!(rest.starts_with("\n\ndata: {\"error\""), "{rest}");
}

#[test]
fn a_failure_that_the_provider_reported_needs_no_notice() {
    let sent = [CHUNK, "data: {\"error\":{\"message\":\"no\"}}\n\n"].concat();
    assert_eq!(passed(stream(false), sent.as_bytes(), &[10, 90]).concat(), sent.as_bytes());
}

#[test]
fn a_chunk_is_reported_with_its_content_and_what_settles_the_stream() {
    let mut follower = stream(false);
    let (half, rest) = CHUNK.split_at(20);
    let mut report_of = |chunk: &str| {
        let (report, _) = piece(&mut follower, "", chunk);
        (report.content, report.forwarded, report.settled)
    };
    assert_eq!(report_of(": wait\n\n"), (None, true, None), "a comment is not content");
    assert_eq!(report_of(half), (None, false, None));
    assert_eq!(report_of(&[rest, CHUNK].concat()), (Some(2), true, None));
    assert_eq!(report_of("data: {\"error\":{\"message\":\"no\"}}\n\n").2, Some(Err(ErrorClass::StreamError)));
    assert_eq!(report_of(FINISH).2, Some(Err(ErrorClass::StreamError)), "the first failure stays");
    let facts = follower.facts().stream.unwrap();
    assert_eq!((facts.events, follower.finish()), (5, Some(ErrorClass::StreamError)));
}

#[test]
fn the_first_chunk_is_staged_the_others_flow_and_a_notice_is_the_last() {
    let mut follower = stream(true);
    let (half, rest) = CHUNK.split_at(20);
    let mut passes = |before: &str, chunk: &str| {
        let (report, body) = piece(&mut follower, before, chunk);
        (report.release, report.new_bytes, body)
    };
    assert_eq!(passes("", half), (Release::Pass, half.len(), String::new()), "nothing to release yet");
    let first = [rest, half].concat();
    assert_eq!(passes("", &first), (Release::Stage, first.len(), CHUNK.to_owned()));
    // The second chunk comes before the first has been released, and stands behind it.
    assert_eq!(passes(CHUNK, rest), (Release::Flow, rest.len(), CHUNK.repeat(2)));
    assert_eq!(passes("", half), (Release::Flow, half.len(), String::new()));
    assert!(follower.end_with_notice(ErrorClass::StreamStalled).unwrap().contains("stream_stalled"));
    assert!(follower.has_ended_with_notice());
    let (report, body) = piece(&mut follower, "", rest);
    assert_eq!((report.release, report.forwarded, body), (Release::Flow, false, String::new()));
    assert_eq!(follower.end_with_notice(ErrorClass::StreamStalled), None, "only once");
}

#[test]
fn text_can_be_inserted_only_after_the_first_release_and_between_two_events() {
    let mut follower = stream(true);
    assert_eq!(follower.keep_alive(), None);
    let _ = piece(&mut follower, "", CHUNK);
    assert_eq!(follower.keep_alive(), None, "the first chunk is still staged");
    assert_eq!(follower.end_with_notice(ErrorClass::StreamStalled), None);
    follower.released();
    assert!(follower.keep_alive().is_some());
    let _ = piece(&mut follower, "", &format!("data: {{\"x\":\"{}", "x".repeat(MAX_HELD_EVENT + 1)));
    assert_eq!(follower.keep_alive(), None, "the client has the beginning of an event");
    let _ = piece(&mut follower, "", "\"}\n\n");
    assert!(follower.keep_alive().is_some());
    // If the host has no other callback for the first chunk, no text can be inserted.
    let mut follower = stream(true);
    let _ = piece(&mut follower, "", CHUNK);
    follower.cannot_stage();
    assert_eq!((piece(&mut follower, "", CHUNK).0.release, follower.keep_alive()), (Release::Pass, None));
}

#[test]
fn a_plain_response_takes_no_inserted_text_and_settles_at_its_end() {
    let mut plain = follower(terms(Endpoint::Chat), OK_JSON, true);
    let (report, _) =
        piece(&mut plain, "", "{\"choices\":[{\"text\":\"x\"}],\"usage\":{\"prompt_tokens\":3}");
    assert_eq!((report.release, report.content, report.settled), (Release::Pass, Some(0), None));
    assert_eq!((plain.keep_alive(), plain.is_stream()), (None, false));
    assert_eq!(plain.finish(), Some(ErrorClass::StreamTruncated), "its last brace is missing");
    let _ = piece(&mut plain, "", "}");
    assert_eq!((plain.finish(), plain.facts().usage.map(|usage| usage.input)), (None, Some(3)));
    let mut unread = Follower::unread();
    let (report, body) = piece(&mut unread, "", "\0");
    assert_eq!((report.content, report.new_bytes, &*body), (Some(0), 1, "\0"));
    assert_eq!(unread.finish(), None);
}

#[test]
fn an_error_object_that_was_not_held_is_found_at_its_end() {
    let error = "{\"error\":{\"message\":\"busy\",\"type\":\"overloaded_error\"}}";
    let mut plain = follower(terms(Endpoint::Chat), OK_JSON, false);
    let _ = piece(&mut plain, "", error);
    assert_eq!(plain.finish(), Some(ErrorClass::Overloaded));
}
