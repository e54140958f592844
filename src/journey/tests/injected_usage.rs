//! A client that did not ask for usage gets a stream as if it had not been asked for.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::flow::Passing;
use super::super::judge::Judge;
use super::super::response::ResponseStep;
use super::super::test_support::*;
use super::super::{Ending, Origin, RequestStep, Worker};
use super::{CHAT, OK_STREAM};
use crate::base::{Endpoint, HeaderBlock};
use crate::config::Gate;
use crate::provider::ProviderKind;
use crate::record::Metric;

const CONTENT: &str = r#"{"choices":[{"index":0,"delta":{"content":"héllo"}}],"usage":null}"#;
const FINISH: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#;
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
/// What Azure begins with: no choices either, but no usage.
const FILTERS: &str = r#"{"choices":[],"prompt_filter_results":[]}"#;

/// A chat stream whose lines end so, whole and without its event of usage.
fn stream(line_end: &str, contents: usize, comment: bool, done: bool) -> (String, String) {
    let event = |data: &str| format!("data: {data}{line_end}{line_end}");
    let mut before = vec![event(FILTERS)];
    before.extend(std::iter::repeat_n(event(CONTENT), contents));
    before.push(event(FINISH));
    if comment {
        before.push(format!(": keep-alive{line_end}{line_end}"));
    }
    let after = if done { event("[DONE]") } else { String::new() };
    let before = before.concat();
    ([before.as_str(), &event(USAGE), &after].concat(), [before, after].concat())
}

/// What the client gets when the stream comes in pieces that end at these places, of which the first is held.
fn passed(stream: &str, cuts: &[usize], primed: bool) -> String {
    let headers = HeaderBlock::of(OK_STREAM);
    let judge =
        Judge::of_success(ProviderKind::OpenAi, Endpoint::Chat, headers, true, Gate::default()).unwrap();
    let Passing::Stream(mut flow) = Passing::of(judge.sparing_usage()) else { panic!() };
    if primed {
        flow.prime();
    }
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.push(stream.len());
    cuts.sort_unstable();
    let (mut start, mut out, mut staged) = (0, Vec::new(), Vec::new());
    for (index, cut) in cuts.iter().enumerate() {
        let new = &stream.as_bytes()[start..*cut];
        let mut host =
            FakeWire { body: [std::mem::take(&mut staged).as_slice(), new].concat(), ..FakeWire::default() };
        let available = host.body.len();
        let (_, step) = flow.chunk(&mut host, available, index + 1 == cuts.len());
        start = *cut;
        match step {
            // Every other time the next piece comes before the first one has been released.
            ResponseStep::Stage if index % 2 == 0 => staged = host.body,
            ResponseStep::Stage => {
                flow.released();
                out.extend(host.body);
            }
            _ => out.extend(host.body),
        }
    }
    out.extend(staged);
    String::from_utf8(out).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn exactly_the_event_of_usage_is_taken_out_however_the_stream_is_cut(
        line_end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        contents in 0_usize..6,
        comment: bool,
        done: bool,
        primed: bool,
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let (whole, without) = stream(line_end, contents, comment, done);
        prop_assert_eq!(passed(&whole, &cuts, primed), without);
    }
}

#[test]
fn so_it_is_at_every_split_into_two_and_byte_by_byte() {
    for line_end in ["\n", "\r\n", "\r"] {
        let (whole, without) = stream(line_end, 1, true, true);
        for at in 0..=whole.len() {
            assert_eq!(passed(&whole, &[at], true), without, "{line_end:?} at {at}");
        }
        assert_eq!(passed(&whole, &(0..whole.len()).collect::<Vec<_>>(), true), without);
    }
}

fn streamed(worker: &mut Worker, body: &Value) -> Pass {
    let sent = pass(worker, loop_request(CHAT, 1), body.to_string().as_bytes(), 99);
    assert_eq!(sent.step, RequestStep::Send);
    assert_eq!(sent.request.get("content-length"), Some(sent.request.body.len().to_string().as_str()));
    sent
}

#[test]
fn usage_is_asked_for_where_the_client_does_not_and_its_event_stays_here() {
    let ask = json!({"model": "chat", "stream": true});
    let asks = json!({"model": "chat", "stream": true, "stream_options": {"include_usage": true}});
    let declines =
        json!({"model": "chat", "stream": true, "stream_options": {"include_usage": false, "x": 1}});
    let (whole, without) = stream("\n", 2, false, true);
    for (body, expected) in [(&ask, &without), (&asks, &whole), (&declines, &without)] {
        let worker = &mut worker(load(CONFIG));
        let mut sent = streamed(worker, body);
        assert_eq!(sent.sent_json()["stream_options"]["include_usage"], true, "{body}");
        sent.answer(worker, OK_STREAM, whole.as_bytes());
        assert_eq!(std::str::from_utf8(&sent.response.body).unwrap(), expected, "{body}");
        sent.exchange.finish(worker, Ending::Complete, NOW);
        assert_eq!(counted(worker, Metric::TokensInput), 3, "{body}");
    }
}

#[test]
fn nothing_is_asked_for_where_that_makes_no_sense_or_the_operator_does_not_want_it() {
    let left = config_with(json!({"providers": {
        "openai": {"kind": "openai", "usage": "leave"}, "anthropic": {"kind": "anthropic"}}}));
    let streams = json!({"model": "chat", "stream": true});
    for (config, path, body) in [
        (left, CHAT, &streams),
        (load(CONFIG), CHAT, &json!({"model": "chat"})),
        (load(CONFIG), CHAT, &json!({"model": "chat", "stream": true, "stream_options": "odd"})),
        (load(CONFIG), "/v1/responses", &streams),
        (load(CONFIG), "/v1/messages", &streams),
    ] {
        let worker = &mut worker(config);
        let mut sent = pass(worker, loop_request(path, 1), body.to_string().as_bytes(), 99);
        assert_eq!(sent.sent_json().get("stream_options"), body.get("stream_options"), "{path} {body}");
        // What comes unasked from a provider that was not asked is the provider's affair.
        let (whole, _) = stream("\n", 1, false, true);
        sent.answer(worker, OK_STREAM, whole.as_bytes());
        assert!(path != CHAT || sent.response.body == whole.as_bytes());
    }
}

#[test]
fn an_attempt_after_another_asks_too_and_an_answer_in_one_piece_is_left_alone() {
    let worker = &mut worker(load(CONFIG));
    let body = br#"{"model":"chat","stream":true}"#;
    let mut sent = pass(worker, loop_request(CHAT, 1), body, 99);
    sent.answer_from(worker, Origin::Upstream, &[(":status", "503")], b"{}");
    let mut sent = pass(worker, loop_request(CHAT, 2), body, 7);
    assert_eq!(
        sent.sent_json(),
        json!({"model": "gpt-real", "stream": true, "stream_options": {"include_usage": true}})
    );
    assert_eq!(sent.request.get("content-length"), Some(sent.request.body.len().to_string().as_str()));
    let answer = br#"{"choices":[],"usage":{"prompt_tokens":1}}"#;
    sent.answer(worker, &[(":status", "200"), ("content-type", "application/json")], answer);
    assert_eq!(sent.response.body, answer);
}
