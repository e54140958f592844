//! Time limits: what happens when a provider takes too long.

use std::time::Duration;

use serde_json::json;

use super::super::test_support::*;
use super::super::{AlarmStep, Ending, RequestStep, Worker};
use super::{CHAT, OK_STREAM, again};
use crate::base::{HeaderBlock, Timestamp};
use crate::record::Metric;

const CONTENT: &[u8] = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";

fn s(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

fn streamed(worker: &mut Worker) -> Pass {
    let pass = pass_at(worker, loop_request(CHAT, 1), br#"{"model":"chat","stream":true}"#, 99, s(0));
    assert_eq!(pass.step, RequestStep::Send);
    pass
}

fn headers_come(worker: &mut Worker, pass: &mut Pass, now: Timestamp) {
    let block = HeaderBlock::of(OK_STREAM);
    pass.exchange.response_headers(worker, block, false, now, || Origin::Upstream, &mut pass.response);
}

fn bytes_come(worker: &mut Worker, pass: &mut Pass, bytes: &[u8], now: Timestamp) {
    pass.response.body.extend_from_slice(bytes);
    let available = pass.response.body.len();
    let step = pass.exchange.response_body(worker, available, false, now, &mut pass.response);
    if step != Release::Hold {
        pass.response.body.clear();
        pass.exchange.released();
    }
}

fn header<'a>(answer: &'a LocalAnswer, name: &str) -> Option<&'a str> {
    answer.headers.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| value.as_str())
}

#[test]
fn a_silent_provider_times_out_and_another_target_is_asked() {
    let worker = &mut worker(load(CONFIG));
    let mut first = streamed(worker);
    assert_eq!(first.exchange.due(), Some(s(30)));
    assert_eq!(first.exchange.alarm(worker, s(29)), AlarmStep::Wait);
    let AlarmStep::Answer(answer) = first.exchange.alarm(worker, s(30)) else { panic!() };
    assert_eq!((answer.status, header(&answer, "x-llm-retry")), (504, Some("timeout")));
    assert_eq!(first.exchange.due(), None);
    first.exchange.finish(worker, Ending::Complete, s(30));
    let second = again(worker, 2);
    assert_eq!(second.request.get("authorization"), Some("Bearer sk-provider-b"));
}

#[test]
fn bytes_without_content_do_not_extend_the_first_content_limit() {
    let worker = &mut worker(load(CONFIG));
    let mut first = streamed(worker);
    headers_come(worker, &mut first, s(1));
    bytes_come(worker, &mut first, b": ping\n\n", s(20));
    bytes_come(
        worker,
        &mut first,
        b"data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n",
        s(28),
    );
    let AlarmStep::Answer(answer) = first.exchange.alarm(worker, s(30)) else { panic!() };
    assert_eq!(header(&answer, "x-llm-retry"), Some("timeout"));
    assert_eq!(
        header(&answer, "x-llm-target"),
        Some("gpt-a"),
        "valid for the client if the edge does not retry"
    );
    assert_eq!(header(&answer, "x-llm-attempts"), Some("1"));
}

#[test]
fn the_response_made_for_a_timeout_passes_the_filter_unchanged() {
    let worker = &mut worker(load(CONFIG));
    let mut first = streamed(worker);
    let AlarmStep::Answer(answer) = first.exchange.alarm(worker, s(30)) else { panic!() };
    let mut headers: Vec<_> = answer.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    headers.push((":status", "504"));
    first.answer_from(
        worker,
        Origin::Envoy { received: crate::retry::Received::Never },
        &headers,
        answer.body.as_bytes(),
    );
    assert_eq!(first.response.get("x-llm-retry"), Some("timeout"));
    assert_eq!(first.response.body, answer.body.as_bytes());
}

#[test]
fn a_stream_that_stalls_after_content_ends_with_a_notice_and_is_not_retried() {
    for (pings, expected) in [(false, 35), (true, 125)] {
        let worker = &mut worker(load(CONFIG));
        let mut first = streamed(worker);
        headers_come(worker, &mut first, s(1));
        bytes_come(worker, &mut first, CONTENT, s(5));
        let mut told_at = None;
        for second in 6..200 {
            if pings {
                bytes_come(worker, &mut first, b": ping\n\n", s(second));
            }
            if first.exchange.due().is_some_and(|due| due <= s(second))
                && let AlarmStep::Tell(notice) = first.exchange.alarm(worker, s(second))
            {
                assert!(notice.contains("stream_stalled"));
                told_at = Some(second);
                break;
            }
        }
        assert_eq!(told_at, Some(expected), "pings: {pings}");
        assert_eq!(first.exchange.due(), Some(s(expected)), "on the next tick");
        assert_eq!(first.exchange.alarm(worker, s(expected)), AlarmStep::Reset);
        assert_eq!(first.exchange.alarm(worker, s(expected + 1)), AlarmStep::Wait);
        first.exchange.finish(worker, Ending::UpstreamGone, s(200));
        assert!(worker.journeys.borrow().is_empty(), "no further attempt is expected");
    }
}

#[test]
fn the_total_limits_all_attempts_together_and_allows_no_further_one() {
    let stream = json!({"first_content": "20s", "total": "30s"});
    let models = json!({"chat": {"tiers": [["gpt-a"], ["gpt-b"]], "stream": stream}});
    let worker = &mut worker(config_with(json!({"models": models})));
    let mut first = streamed(worker);
    let AlarmStep::Answer(answer) = first.exchange.alarm(worker, s(20)) else { panic!() };
    assert!(header(&answer, "x-llm-retry").is_some());
    first.exchange.finish(worker, Ending::Complete, s(20));
    let mut second = pass_at(worker, loop_request(CHAT, 2), br#"{"model":"chat","stream":true}"#, 99, s(20));
    assert_eq!(second.exchange.due(), Some(s(30)));
    let AlarmStep::Answer(answer) = second.exchange.alarm(worker, s(30)) else { panic!() };
    assert_eq!((answer.status, header(&answer, "x-llm-retry")), (504, None));
}

#[test]
fn a_plain_response_has_its_own_time_limit() {
    let worker = &mut worker(load(CONFIG));
    let mut first = pass_at(worker, loop_request(CHAT, 1), br#"{"model":"chat"}"#, 99, s(0));
    let AlarmStep::Answer(answer) = first.exchange.alarm(worker, s(300)) else { panic!() };
    assert_eq!(header(&answer, "x-llm-retry"), Some("timeout"));
}

/// With a single target nothing is held, so the headers pass long before there is content.
#[test]
fn unheld_headers_do_not_shorten_the_first_content_limit() {
    let stream = json!({"first_content": "100s", "idle": "20s"});
    let models = json!({"chat": {"targets": ["gpt-a"], "stream": stream}});
    let worker = &mut worker(config_with(json!({"models": models})));
    let mut only = streamed(worker);
    headers_come(worker, &mut only, s(1));
    assert_eq!(only.exchange.due(), Some(s(100)));
    bytes_come(worker, &mut only, b": ping\n\n", s(50));
    assert_eq!(only.exchange.due(), Some(s(100)), "a ping is not content");
    bytes_come(worker, &mut only, CONTENT, s(90));
    assert_eq!(only.exchange.due(), Some(s(110)), "the idle limit applies from now on");
}

#[test]
fn slow_first_content_is_measured_at_the_content_not_at_the_headers() {
    for (content_at, opened) in [(4, 0), (6, 1)] {
        let breaker = json!({"consecutive": 1, "slow_first_content": "5s"});
        let models = json!({"chat": {"targets": ["gpt-a"]}});
        let worker = &mut worker(config_with(json!({"models": models, "breaker": breaker})));
        let mut only = streamed(worker);
        headers_come(worker, &mut only, s(1));
        bytes_come(worker, &mut only, CONTENT, s(content_at));
        bytes_come(worker, &mut only, b"data: [DONE]\n\n", s(content_at));
        only.exchange.finish(worker, Ending::Complete, s(content_at));
        assert_eq!(counted(worker, Metric::BreakerOpened), opened, "{content_at}");
    }
}

/// What has come during a pause may be read before the tick that notices it.
#[test]
fn a_pause_before_the_first_content_is_not_slowness() {
    for (ticks, opened) in [(&[1][..], 0), (&[1, 9], 1)] {
        let breaker = json!({"consecutive": 1, "slow_first_content": "5s"});
        let models = json!({"chat": {"targets": ["gpt-a"]}});
        let worker = &mut worker(config_with(json!({"models": models, "breaker": breaker})));
        let mut only = streamed(worker);
        headers_come(worker, &mut only, s(1));
        for at in ticks {
            worker.tick(s(*at));
        }
        bytes_come(worker, &mut only, CONTENT, s(9));
        bytes_come(worker, &mut only, b"data: [DONE]\n\n", s(9));
        only.exchange.finish(worker, Ending::Complete, s(9));
        assert_eq!(counted(worker, Metric::BreakerOpened), opened, "{ticks:?}");
    }
}

#[test]
fn trailers_end_the_time_limits_of_a_complete_response() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = streamed(worker);
    headers_come(worker, &mut sent, s(1));
    bytes_come(worker, &mut sent, CONTENT, s(2));
    bytes_come(worker, &mut sent, b"data: [DONE]\n\n", s(2));
    assert!(sent.exchange.due().is_some());
    assert_eq!(sent.exchange.response_trailers(worker, s(3), &mut sent.response), Release::Pass);
    assert_eq!(sent.exchange.due(), None);
}

#[test]
fn a_healthy_stream_ended_by_the_total_does_not_count_against_its_target() {
    let models = json!({"chat": {"targets": ["gpt-a"], "stream": {"total": "10s"}}});
    let worker = &mut worker(config_with(json!({"models": models})));
    for _ in 0..10 {
        let mut pass = streamed(worker);
        headers_come(worker, &mut pass, s(1));
        for second in 2..10 {
            bytes_come(worker, &mut pass, CONTENT, s(second));
        }
        assert!(matches!(pass.exchange.alarm(worker, s(10)), AlarmStep::Tell(_)));
        pass.exchange.finish(worker, Ending::UpstreamGone, s(10));
    }
    assert_eq!(counted(worker, crate::record::Metric::BreakerOpened), 0);
}
