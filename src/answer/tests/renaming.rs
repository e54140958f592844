//! With a logical model name exactly the model names change, and everything else passes unchanged.

use proptest::prelude::*;
use serde_json::json;

use super::super::{ChunkReport, Follower, MAX_HELD_EVENT, Release, Terms};
use super::{OK_JSON, OK_STREAM, follower, passed, terms};
use crate::base::{Endpoint, ErrorClass};
use crate::request::test_support::FakeWire;

/// The logical name. In JSON it has an escape.
const LOGICAL: &str = "te\"am";
const QUOTED: &str = r#""te\"am""#;
const PROVIDERS: &str = r#""gpt-real-2026-01-01""#;

/// A stream of the endpoint with `events` pieces of content; its names are [`PROVIDERS`].
fn stream(endpoint: Endpoint, line_end: &str, events: usize, usage: bool) -> String {
    let many = |event: &str| std::iter::repeat_n(event.to_owned(), events).collect::<Vec<_>>();
    let events = match endpoint {
        Endpoint::Messages => [
            vec![format!(
                "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":\"1\",\"model\":{PROVIDERS}}}}}\n\n"
            )],
            many(
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"héllo \\\"model\\\":\"}}\n\n",
            ),
            vec![
                ": ping\n\n".to_owned(),
                "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n".to_owned(),
            ],
        ],
        Endpoint::Responses => [
            vec![format!(
                "data: {{\"type\":\"response.created\",\"response\":{{\"output\":[],\"model\":{PROVIDERS}}}}}\n\n"
            )],
            many("data: {\"type\":\"response.output_text.delta\",\"delta\":\"héllo\"}\n\n"),
            vec![format!(
                "data: {{\"type\":\"response.completed\",\"response\":{{\"model\":{PROVIDERS},\"status\":\"completed\"}}}}\n\n"
            )],
        ],
        _ => [
            many(&format!(
                "data: {{\"model\":{PROVIDERS},\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"héllo \\\"model\\\":\"}}}}]}}\n\n"
            )),
            vec![
                format!(
                    "data: {{\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\"}}],\"model\":{PROVIDERS}}}\n\n"
                ),
                if usage { USAGE.to_owned() } else { String::new() },
            ],
            vec![": note\n\n".to_owned(), "data: [DONE]\n\n".to_owned()],
        ],
    };
    events.concat().concat().replace('\n', line_end)
}

const USAGE: &str = "data: {\"model\":\"gpt-real-2026-01-01\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";

fn renamed(
    endpoint: Endpoint,
    headers: &[(&str, &str)],
    hides_usage: bool,
    wants_insertion: bool,
) -> Follower {
    let terms = Terms { model_name: Some(LOGICAL.into()), hides_usage, ..terms(endpoint) };
    follower(terms, headers, wants_insertion)
}

fn passed_stream(
    endpoint: Endpoint,
    stream: &str,
    cuts: &[usize],
    wants_insertion: bool,
    hides_usage: bool,
) -> String {
    let follower = renamed(endpoint, OK_STREAM, hides_usage, wants_insertion);
    String::from_utf8(passed(follower, stream.as_bytes(), cuts).concat()).unwrap()
}

const STREAMED: [Endpoint; 4] =
    [Endpoint::Chat, Endpoint::Completions, Endpoint::Messages, Endpoint::Responses];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn exactly_the_names_are_replaced_for_any_chunking_of_a_stream(
        endpoint in 0_usize..4,
        line_end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        events in 1_usize..6,
        wants_insertion: bool,
        hides_usage: bool,
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let endpoint = STREAMED[endpoint];
        let chat = matches!(endpoint, Endpoint::Chat | Endpoint::Completions);
        let sent = stream(endpoint, line_end, events, true);
        let expected = stream(endpoint, line_end, events, !(hides_usage && chat)).replace(PROVIDERS, QUOTED);
        prop_assert_eq!(passed_stream(endpoint, &sent, &cuts, wants_insertion, hides_usage), expected);
    }

    #[test]
    fn the_name_in_a_plain_response_is_replaced_for_any_chunking(
        before in "[a-z\\PC]{0,40}", after in "[a-z\\PC]{0,40}", cuts in proptest::collection::vec(any::<usize>(), 0..12)
    ) {
        let answer = json!({"a": before, "b": {"model": "no"}, "z": after}).to_string();
        let named = |name: &str| answer.replace(r#","z":"#, &format!(r#","model": {name} ,"z":"#));
        let follower = renamed(Endpoint::Chat, OK_JSON, false, false);
        let out = passed(follower, named(PROVIDERS).as_bytes(), &cuts).concat();
        prop_assert_eq!(String::from_utf8(out).unwrap(), named(QUOTED));
    }

    #[test]
    fn bytes_that_cannot_be_read_pass_unchanged(
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'{'), Just(b'"'), Just(b':')], 0..200),
        plain: bool,
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let headers = if plain { OK_JSON } else { OK_STREAM };
        // A stream may end with a notice. The bytes before it are unchanged.
        let out = passed(renamed(Endpoint::Chat, headers, false, false), &bytes, &cuts).concat();
        if plain {
            prop_assert_eq!(out, bytes);
        } else {
            let notice_at = out.windows(13).position(|at| at == b"data: {\"error");
            let kept = &out[..notice_at.unwrap_or(out.len())];
            prop_assert!(bytes.starts_with(kept.strip_suffix(b"\n\n").unwrap_or(kept)) || bytes.starts_with(kept));
        }
    }
}

#[test]
fn names_are_replaced_at_every_split_into_two_and_byte_by_byte() {
    for endpoint in STREAMED {
        let sent = stream(endpoint, "\r\n", 1, true);
        let expected = sent.replace(PROVIDERS, QUOTED);
        for at in 0..=sent.len() {
            assert_eq!(passed_stream(endpoint, &sent, &[at], true, false), expected, "{endpoint:?} at {at}");
        }
        let every: Vec<_> = (0..sent.len()).collect();
        assert_eq!(passed_stream(endpoint, &sent, &every, true, false), expected);
        assert_eq!(passed_stream(endpoint, &sent, &every, false, false), expected);
    }
}

#[test]
fn an_event_too_long_to_be_held_back_is_renamed_and_only_its_name_is_held_back() {
    let long = "x".repeat(3 * MAX_HELD_EVENT);
    let sent = [
        stream(Endpoint::Chat, "\n", 1, false).replace("data: [DONE]\n\n", ""),
        format!("data: {{\"pad\":\"{long}\",\"model\":{PROVIDERS},\"choices\":[]}}\n\ndata: [DONE]\n\n"),
    ]
    .concat();
    let expected = sent.replace(PROVIDERS, QUOTED);
    let place = sent.rfind("gpt-real").unwrap();
    for cut in [place - 1, place, place + 5, place + PROVIDERS.len()] {
        let cuts: Vec<usize> =
            (1..40).map(|n| n * 10_000).filter(|at| *at < place - 2).chain([cut]).collect();
        assert!(passed_stream(Endpoint::Chat, &sent, &cuts, false, false) == expected, "at {cut}");
    }
}

#[test]
fn whole_events_of_a_truncated_stream_are_renamed_and_the_notice_follows() {
    let sent = stream(Endpoint::Chat, "\n", 3, false);
    for keep in [sent.len() / 2, sent.len() / 3] {
        let out = passed_stream(Endpoint::Chat, &sent[..keep], &[10, 50, keep - 3], false, false);
        let (before, notice) = out.split_once("data: {\"error\"").unwrap();
        assert!(sent.replace(PROVIDERS, QUOTED).starts_with(before) && before.ends_with("\n\n"), "{out}");
        assert!(notice.contains("stream_truncated"), "{out}");
    }
}

/// Counts how often the host's buffer is read and written.
#[derive(Default)]
struct Counting {
    wire: FakeWire,
    calls: Vec<&'static str>,
}

impl crate::request::BodyBuffer for Counting {
    type Error = ();

    fn read(&mut self, start: usize, len: usize) -> Result<Vec<u8>, ()> {
        self.calls.push("read");
        self.wire.read(start, len)
    }

    fn replace_front(&mut self, len: usize, with: &[u8]) -> Result<(), ()> {
        self.calls.push("write");
        self.wire.replace_front(len, with)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.calls.push("append");
        self.wire.append(bytes)
    }
}

#[test]
fn a_chunk_costs_one_read_and_one_write_only_if_something_changes() {
    let named =
        format!("data: {{\"model\":{PROVIDERS},\"choices\":[{{\"delta\":{{\"content\":\"x\"}}}}]}}\n\n");
    let nameless = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    let (half, rest) = nameless.split_at(20);
    let chunks = [&named, nameless, &[nameless, half].concat(), rest, half, rest];
    let plain = follower(terms(Endpoint::Chat), OK_STREAM, false);
    let renamed = renamed(Endpoint::Chat, OK_STREAM, false, false);
    let (read, write): (&[_], &[_]) = (&["read"], &["read", "write"]);
    // The tail of a chunk that ends within an event is held back and put before the next chunk.
    for (mut follower, costs) in [
        (plain, [read, read, write, write, write, write]),
        (renamed, [write, read, write, write, write, write]),
    ] {
        for (chunk, calls) in chunks.into_iter().zip(costs) {
            let mut host = Counting::default();
            host.wire.body = chunk.as_bytes().to_vec();
            let _ = follower.chunk(&mut host, chunk.len(), false);
            assert_eq!(host.calls, calls, "{chunk}");
        }
    }
}

#[test]
fn a_notice_can_be_put_into_a_renamed_stream() {
    let mut follower = renamed(Endpoint::Chat, OK_STREAM, false, true);
    let sent = stream(Endpoint::Chat, "\n", 2, false);
    let half = sent.find("gpt-real").unwrap() + 200;
    let mut host = FakeWire { body: sent.as_bytes()[..half].to_vec(), ..FakeWire::default() };
    let ChunkReport { release, forwarded, .. } = follower.chunk(&mut host, half, false);
    assert_eq!((release, forwarded), (Release::Stage, true));
    assert!(host.body.ends_with(b"\n\n") && String::from_utf8(host.body).unwrap().contains(QUOTED));
    follower.released();
    assert!(follower.keep_alive().is_some());
    assert!(follower.end_with_notice(ErrorClass::StreamStalled).is_some());
}
