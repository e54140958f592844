//! A client that is to read the name it asked for reads it, and everything else as the provider sent it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::flow::{MAX_WAITING, Passing};
use super::super::judge::{Judge, MAX_HELD_PLAIN};
use super::super::renaming::Rename;
use super::super::response::ResponseStep;
use super::super::test_support::*;
use super::super::{Origin, RequestStep, Worker};
use super::{CHAT, OK_JSON, OK_STREAM};
use crate::base::{Endpoint, ErrorClass, HeaderBlock};
use crate::config::{Config, Gate};
use crate::provider::ProviderKind;

/// What clients ask for; it is written with an escape in JSON.
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

fn judge(endpoint: Endpoint, headers: &[(&str, &str)], spares_usage: bool) -> Judge {
    let headers = HeaderBlock::of(headers);
    let judge = Judge::of_success(ProviderKind::OpenAi, endpoint, headers, true, Gate::default()).unwrap();
    let judge = judge.renaming(Rename { to: LOGICAL.into(), announced: false });
    if spares_usage { judge.sparing_usage() } else { judge }
}

/// What the client gets of an answer that comes in pieces that end at these places. A piece that waits in the host's buffer
/// is there again with the next.
fn passed(judge: Judge, answer: &[u8], cuts: &[usize], primed: bool) -> Vec<u8> {
    let mut passing = Passing::of(judge);
    if let (Passing::Stream(flow), true) = (&mut passing, primed) {
        flow.prime();
    }
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (answer.len() + 1)).collect();
    cuts.push(answer.len());
    cuts.sort_unstable();
    let (mut start, mut out, mut waits) = (0, Vec::new(), Vec::new());
    for (index, cut) in cuts.iter().enumerate() {
        let body = [std::mem::take(&mut waits).as_slice(), &answer[start..*cut]].concat();
        let mut host = FakeWire { body, ..FakeWire::default() };
        let (available, end) = (host.body.len(), index + 1 == cuts.len());
        let (_, step) = match &mut passing {
            Passing::Stream(flow) => flow.chunk(&mut host, available, end),
            Passing::Plain(plain) => plain.chunk(&mut host, available, end),
            Passing::Unread => panic!(),
        };
        start = *cut;
        match (step, &mut passing) {
            // Every other time the next piece comes before the first one has been released.
            (ResponseStep::Stage, _) if index % 2 == 0 => waits = host.body,
            (ResponseStep::Stage, Passing::Stream(flow)) => {
                flow.released();
                out.extend(host.body);
            }
            (ResponseStep::Hold, _) => waits = host.body,
            _ => out.extend(host.body),
        }
    }
    out.extend(waits);
    out
}

fn passed_stream(
    endpoint: Endpoint,
    stream: &str,
    cuts: &[usize],
    primed: bool,
    spares_usage: bool,
) -> String {
    let judge = judge(endpoint, OK_STREAM, spares_usage);
    String::from_utf8(passed(judge, stream.as_bytes(), cuts, primed)).unwrap()
}

const STREAMED: [Endpoint; 4] =
    [Endpoint::Chat, Endpoint::Completions, Endpoint::Messages, Endpoint::Responses];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn exactly_the_names_are_replaced_however_the_stream_is_cut(
        endpoint in 0_usize..4,
        line_end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        events in 0_usize..6,
        primed: bool,
        spares_usage: bool,
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let endpoint = STREAMED[endpoint];
        let chat = matches!(endpoint, Endpoint::Chat | Endpoint::Completions);
        let sent = stream(endpoint, line_end, events, true);
        let expected = stream(endpoint, line_end, events, !(spares_usage && chat)).replace(PROVIDERS, QUOTED);
        prop_assert_eq!(passed_stream(endpoint, &sent, &cuts, primed, spares_usage), expected);
    }

    #[test]
    fn a_plain_answers_name_is_replaced_however_it_is_cut(
        before in "[a-z\\PC]{0,40}", after in "[a-z\\PC]{0,40}", cuts in proptest::collection::vec(any::<usize>(), 0..12)
    ) {
        let answer = json!({"a": before, "b": {"model": "no"}, "z": after}).to_string();
        let named = |name: &str| answer.replace(r#","z":"#, &format!(r#","model": {name} ,"z":"#));
        let headers = &[(":status", "200"), ("content-type", "application/json")];
        let out = passed(judge(Endpoint::Chat, headers, false), named(PROVIDERS).as_bytes(), &cuts, false);
        prop_assert_eq!(String::from_utf8(out).unwrap(), named(QUOTED));
    }

    #[test]
    fn what_cannot_be_read_passes_byte_for_byte(
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'{'), Just(b'"'), Just(b':')], 0..200),
        plain: bool,
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let headers = if plain { OK_JSON } else { OK_STREAM };
        // An open notice at the end is the stream's affair, not a change of what came.
        let out = passed(judge(Endpoint::Chat, headers, false), &bytes, &cuts, false);
        if plain {
            prop_assert_eq!(out, bytes);
        } else {
            let told = out.windows(13).position(|at| at == b"data: {\"error");
            let kept = &out[..told.unwrap_or(out.len())];
            prop_assert!(bytes.starts_with(kept.strip_suffix(b"\n\n").unwrap_or(kept)) || bytes.starts_with(kept));
        }
    }
}

#[test]
fn so_it_is_at_every_split_into_two_and_byte_by_byte() {
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
fn an_event_too_long_to_wait_for_is_renamed_too_and_its_name_waits_alone() {
    let long = "x".repeat(3 * MAX_WAITING);
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
fn of_a_stream_cut_off_whole_events_are_renamed_and_the_notice_follows() {
    let sent = stream(Endpoint::Chat, "\n", 3, false);
    for keep in [sent.len() / 2, sent.len() / 3] {
        let out = passed_stream(Endpoint::Chat, &sent[..keep], &[10, 50, keep - 3], false, false);
        let (before, notice) = out.split_once("data: {\"error\"").unwrap();
        assert!(sent.replace(PROVIDERS, QUOTED).starts_with(before) && before.ends_with("\n\n"), "{out}");
        assert!(notice.contains("stream_truncated"), "{out}");
    }
}

/// How often the host's buffer was read and written.
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
fn a_chunk_costs_one_read_and_where_it_has_a_name_one_write() {
    let headers = HeaderBlock::of(OK_STREAM);
    let plain =
        Judge::of_success(ProviderKind::OpenAi, Endpoint::Chat, headers, true, Gate::default()).unwrap();
    let named =
        format!("data: {{\"model\":{PROVIDERS},\"choices\":[{{\"delta\":{{\"content\":\"x\"}}}}]}}\n\n");
    let nameless = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    for (judge, costs) in [
        (plain, [&["read"][..], &["read"]]),
        (judge(Endpoint::Chat, OK_STREAM, false), [&["read", "write"][..], &["read"]]),
    ] {
        let Passing::Stream(mut flow) = Passing::of(judge) else { panic!() };
        for (chunk, calls) in [named.as_str(), nameless].into_iter().zip(costs) {
            let mut host = Counting::default();
            host.wire.body = chunk.as_bytes().to_vec();
            let _ = flow.chunk(&mut host, chunk.len(), false);
            assert_eq!(host.calls, calls);
        }
    }
}

#[test]
fn a_notice_is_put_in_between_two_events_as_ever() {
    let Passing::Stream(mut flow) = Passing::of(judge(Endpoint::Chat, OK_STREAM, false)) else { panic!() };
    flow.prime();
    let sent = stream(Endpoint::Chat, "\n", 2, false);
    let half = sent.find("gpt-real").unwrap() + 200;
    let mut host = FakeWire { body: sent.as_bytes()[..half].to_vec(), ..FakeWire::default() };
    assert_eq!(flow.chunk(&mut host, half, false).1, ResponseStep::Stage);
    assert!(host.body.ends_with(b"\n\n") && String::from_utf8(host.body).unwrap().contains(QUOTED));
    flow.released();
    assert!(flow.keep_alive().is_some());
    assert!(flow.tell(ErrorClass::StreamStalled).is_some());
}

fn logical() -> Config {
    config_with(json!({"models": {
        "chat": {"tiers": [["gpt-a", "gpt-b"], ["claude"]], "response_model": "logical"},
        "gpt": {"targets": ["gpt-a"], "response_model": "logical"},
    }}))
}

fn sent(worker: &mut Worker, body: &Value) -> Pass {
    let sent = pass(worker, loop_request(CHAT, 1), body.to_string().as_bytes(), 99);
    assert_eq!(sent.step, RequestStep::Send);
    sent
}

#[test]
fn the_body_names_what_was_asked_for_and_the_header_what_answered() {
    let worker = &mut worker(logical());
    let answer = json!({"choices": [{"message": {"content": "hi"}}], "model": "gpt-real-2026"}).to_string();
    let length = answer.len().to_string();
    let headers = [OK_JSON, &[("content-length", &*length)]].concat();
    let mut whole = sent(worker, &json!({"model": "chat"}));
    whole.answer(worker, &headers, answer.as_bytes());
    let expected = answer.replace("gpt-real-2026", "chat");
    assert_eq!(String::from_utf8(whole.response.body.clone()).unwrap(), expected);
    assert_eq!(whole.response.get("content-length"), Some(expected.len().to_string().as_str()));
    assert_eq!(whole.response.get("x-llm-model"), Some("gpt-real"));
    // Without an announced length none is announced.
    let mut whole = sent(worker, &json!({"model": "chat"}));
    whole.answer(worker, OK_JSON, answer.as_bytes());
    assert_eq!(whole.response.get("content-length"), None);
    let mut streamed = sent(worker, &json!({"model": "gpt", "stream": true}));
    streamed.answer(worker, OK_STREAM, stream(Endpoint::Chat, "\n", 2, true).as_bytes());
    let expected = stream(Endpoint::Chat, "\n", 2, false).replace(PROVIDERS, "\"gpt\"");
    assert_eq!(String::from_utf8(streamed.response.body).unwrap(), expected);
}

#[test]
fn a_large_plain_answer_loses_its_length_and_is_renamed_behind_what_was_held() {
    for name_first in [true, false] {
        let worker = &mut worker(logical());
        let text = "x".repeat(2 * MAX_HELD_PLAIN);
        let answer = if name_first {
            format!(r#"{{"model":"gpt-real","choices":[{{"message":{{"content":"{text}"}}}}]}}"#)
        } else {
            format!(r#"{{"choices":[{{"message":{{"content":"{text}"}}}}],"model":"gpt-real"}}"#)
        };
        let mut pass = sent(worker, &json!({"model": "chat"}));
        let length = answer.len().to_string();
        pass.response = FakeWire::new(&[OK_JSON, &[("content-length", &*length)]].concat());
        let block = pass.response.block();
        let step = pass.exchange.response_headers(
            worker,
            block,
            false,
            NOW,
            || Origin::Upstream,
            &mut pass.response,
        );
        assert_eq!(step, ResponseStep::Hold);
        // The name is cut in two, wherever it stands.
        let cut = answer.find("real").unwrap();
        let pieces = [&answer[..cut], &answer[cut..]];
        let mut got = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            pass.response.body.extend_from_slice(piece.as_bytes());
            let available = pass.response.body.len();
            let step = pass.exchange.response_body(worker, available, index == 1, NOW, &mut pass.response);
            if index == 0 {
                assert_eq!(step, ResponseStep::Hold, "half a name waits");
            } else {
                assert_eq!(step, ResponseStep::Pass);
                got.append(&mut pass.response.body);
            }
        }
        let got = String::from_utf8(got).unwrap();
        assert_eq!(got, answer.replace("gpt-real", "chat"));
        let length = pass.response.get("content-length");
        assert!(length.is_none_or(|length| length == got.len().to_string()), "{length:?}");
    }
}

#[test]
fn errors_compressed_answers_and_models_without_the_option_stay_as_they_are() {
    let body = br#"{"model":"gpt-real","error":{"message":"no","type":"invalid_request_error"}}"#;
    let length = body.len().to_string();
    let gzip = [OK_JSON, &[("content-encoding", "gzip"), ("content-length", &*length)]].concat();
    let bad = [(":status", "400"), ("content-type", "application/json"), ("content-length", &*length)];
    for (config, headers) in [(logical(), &gzip[..]), (logical(), &bad[..])] {
        let worker = &mut worker(config);
        let mut pass = sent(worker, &json!({"model": "gpt"}));
        pass.answer(worker, headers, body);
        assert_eq!(pass.response.body, body);
        assert_eq!(pass.response.get("content-length"), Some(&*length));
    }
    let worker = &mut worker(load(CONFIG));
    let mut pass = sent(worker, &json!({"model": "chat"}));
    let answer = br#"{"model":"gpt-real","choices":[]}"#;
    pass.answer(worker, &[OK_JSON, &[("content-length", "33")]].concat(), answer);
    assert_eq!((&pass.response.body[..], pass.response.get("content-length")), (&answer[..], Some("33")));
}
