//! Ends of responses: when a request is over although its stream is open, and what ends in the middle.

use std::time::Duration;

use serde_json::json;

use super::super::test_support::*;
use super::super::{AlarmStep, Ending, RequestStep, Worker};
use super::{CHAT, OK_JSON, OK_STREAM, again};
use crate::base::{HeaderBlock, Timestamp};
use crate::record::Metric;

const CONTENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const SECOND: &str = "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"ho\"}}]}\n\n";
const SECOND_FINISH: &str = "data: {\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const ERROR: &str = "data: {\"error\":{\"message\":\"no\"}}\n\n";

fn ms(ms: u64) -> Timestamp {
    NOW.after(Duration::from_millis(ms))
}

/// A pass whose response is a stream, or a plain response, that has begun.
struct Answered {
    worker: Worker,
    pass: Pass,
}

impl Answered {
    fn begin(stream: &serde_json::Value, body: &[u8], headers: &[(&str, &str)]) -> Self {
        let models = json!({"chat": {"tiers": [["gpt-a"], ["gpt-b"]], "stream": stream}});
        let mut worker = worker(config_with(json!({"models": models})));
        let mut pass = pass_at(&mut worker, loop_request(CHAT, 1), body, 99, ms(0));
        assert_eq!(pass.step, RequestStep::Send);
        let block = HeaderBlock::of(headers);
        let Pass { exchange, response, .. } = &mut pass;
        exchange.response_headers(&mut worker, block, false, ms(0), || Origin::Upstream, response);
        Self { worker, pass }
    }

    fn stream(stream: &serde_json::Value) -> Self {
        Self::begin(stream, br#"{"model":"chat","stream":true}"#, OK_STREAM)
    }

    /// Sends bytes as the host does, which releases a staged chunk at once if `releases`.
    fn send(&mut self, bytes: &str, end: bool, releases: bool, now: Timestamp) -> Release {
        let Pass { exchange, response, .. } = &mut self.pass;
        response.body.extend_from_slice(bytes.as_bytes());
        let available = response.body.len();
        let release = exchange.response_body(&mut self.worker, available, end, now, response);
        let waits = release == Release::Hold || (release == Release::Stage && !releases);
        if !waits {
            response.body.clear();
            exchange.released();
        }
        release
    }

    fn bytes(&mut self, bytes: &str, now: Timestamp) -> Release {
        self.send(bytes, false, true, now)
    }

    fn trailers(&mut self, now: Timestamp) -> Release {
        let Pass { exchange, response, .. } = &mut self.pass;
        exchange.response_trailers(&mut self.worker, now, response)
    }

    fn look(&mut self, now: Timestamp) -> AlarmStep {
        self.pass.exchange.alarm(&mut self.worker, now)
    }

    fn due(&self) -> Option<Timestamp> {
        self.pass.exchange.due()
    }

    fn finish(&mut self, ending: Ending, now: Timestamp) {
        self.pass.exchange.finish(&mut self.worker, ending, now);
    }

    fn counted(&mut self, metric: Metric) -> i64 {
        counted(&mut self.worker, metric)
    }
}

#[test]
fn after_its_end_a_request_is_over_and_only_its_stream_lingers() {
    for (end, metric) in [
        ([FINISH, DONE].concat(), Metric::StreamsComplete),
        (DONE.to_owned(), Metric::StreamsComplete),
        (ERROR.to_owned(), Metric::StreamsFailed),
    ] {
        let mut stream = Answered::stream(&json!({"idle": "2s"}));
        stream.bytes(CONTENT, ms(0));
        assert_eq!(stream.worker.journeys.borrow().len(), 1);
        stream.bytes(&end, ms(100));
        assert!(stream.worker.journeys.borrow().is_empty(), "{end}");
        assert_eq!(stream.due(), Some(ms(5_100)), "{end}");
        // Pings and rubbish move nothing.
        stream.bytes(": ping\n\n", ms(3_000));
        stream.bytes("data: {\"what\":1}\n\n", ms(4_000));
        assert_eq!((stream.due(), stream.look(ms(5_000))), (Some(ms(5_100)), AlarmStep::Wait), "{end}");
        assert_eq!(stream.look(ms(5_100)), AlarmStep::Reset, "{end}");
        assert_eq!((stream.due(), stream.look(ms(9_000))), (None, AlarmStep::Wait), "{end}");
        stream.finish(Ending::UpstreamGone, ms(5_200));
        // What has been drained once is not counted again, so all metrics are read in one place.
        let mut seen = Vec::new();
        stream.worker.tally.drain(|metric, delta| seen.push((metric, delta)));
        let sum = |wanted| seen.iter().filter(|(m, _)| *m == wanted).map(|(_, d)| d).sum::<i64>();
        assert_eq!((sum(metric), sum(Metric::StreamsLeftOpen), sum(Metric::Alarms)), (1, 1, 0), "{end}");
        assert_eq!((sum(Metric::AttemptsInFlight), sum(Metric::Journeys)), (0, 0), "{end}");
        assert_eq!((sum(Metric::StreamsBrokenOff), sum(Metric::ClientAborts)), (0, 0), "{end}");
    }
}

#[test]
fn linger_is_configured_and_the_total_comes_first() {
    for (stream, reset) in [
        (json!({"linger": "500ms"}), 500),
        (json!({"linger": "1h", "total": "20s"}), 20_000),
        (json!({"linger": "provider", "total": "30s"}), 30_000),
        (json!({"total": "3s"}), 3_000),
    ] {
        let mut answer = Answered::stream(&stream);
        answer.bytes(&[CONTENT, DONE].concat(), ms(0));
        assert_eq!(answer.due(), Some(ms(reset)), "{stream}");
        assert_eq!(answer.look(ms(reset)), AlarmStep::Reset, "{stream}");
        answer.finish(Ending::UpstreamGone, ms(reset));
        assert_eq!(answer.counted(Metric::StreamsComplete), 1, "{stream}");
    }
}

#[test]
fn a_finish_reason_completes_an_answer_a_short_grace_later() {
    let mut stream = Answered::stream(&json!({"idle": "500ms"}));
    stream.bytes(CONTENT, ms(0));
    stream.bytes(FINISH, ms(100));
    assert_eq!(stream.due(), Some(ms(1_100)), "no limit applies");
    stream.bytes(USAGE, ms(900));
    stream.bytes(": ping\n\n", ms(1_000));
    assert_eq!(stream.due(), Some(ms(1_100)));
    assert_eq!(stream.worker.journeys.borrow().len(), 1, "the terminal event may still come");
    assert_eq!(stream.look(ms(1_100)), AlarmStep::Wait);
    assert!(stream.worker.journeys.borrow().is_empty());
    assert_eq!(stream.due(), Some(ms(6_100)), "then it lingers");
    stream.bytes(DONE, ms(2_000));
    assert_eq!(stream.due(), Some(ms(6_100)), "a late terminal event changes nothing");
    assert_eq!(stream.look(ms(6_100)), AlarmStep::Reset);
    stream.finish(Ending::UpstreamGone, ms(6_200));
    assert_eq!(stream.counted(Metric::StreamsComplete), 1);
}

#[test]
fn an_answer_with_a_finish_reason_in_every_chunk_goes_on() {
    let chunk = CONTENT.replace("\"delta\"", "\"finish_reason\":\"stop\",\"delta\"");
    let mut stream = Answered::stream(&json!({}));
    for at in [0, 700, 1_400] {
        stream.bytes(&chunk, ms(at));
        assert_eq!(stream.due(), Some(ms(at + 1_000)));
    }
    assert_eq!(stream.look(ms(2_400)), AlarmStep::Wait);
    assert_eq!(stream.due(), Some(ms(7_400)), "it lingers");
    stream.bytes(&chunk, ms(7_000));
    assert_eq!(stream.look(ms(7_400)), AlarmStep::Wait, "it has gone on");
    assert_eq!(stream.look(ms(8_000)), AlarmStep::Wait);
    stream.bytes(DONE, ms(8_100));
    stream.finish(Ending::Complete, ms(8_200));
    assert_eq!(stream.counted(Metric::StreamsComplete), 1);
}

#[test]
fn an_answer_without_content_is_held_no_longer_than_to_its_finish_reason() {
    for reason in ["length", "content_filter"] {
        let mut stream = Answered::stream(&json!({}));
        assert_eq!(stream.bytes(&FINISH.replace("stop", reason), ms(100)), Release::Stage, "{reason}");
        assert_eq!(stream.due(), Some(ms(1_100)), "{reason}");
    }
    let mut stream = Answered::stream(&json!({}));
    assert_eq!(stream.bytes(FINISH, ms(100)), Release::Hold, "it may be empty");
}

#[test]
fn a_client_that_leaves_after_the_finish_reason_has_the_whole_answer() {
    for (sent, metric) in
        [([CONTENT, FINISH].concat(), Metric::StreamsComplete), (CONTENT.repeat(2), Metric::StreamsAbandoned)]
    {
        let mut stream = Answered::stream(&json!({}));
        stream.bytes(&sent, ms(0));
        stream.finish(Ending::ClientGone, ms(100));
        assert_eq!(stream.counted(metric), 1, "{sent}");
    }
}

#[test]
fn a_connection_that_breaks_before_the_terminal_event_broke_for_the_client() {
    let mut stream = Answered::stream(&json!({}));
    stream.bytes(&[CONTENT, FINISH].concat(), ms(0));
    stream.finish(Ending::UpstreamGone, ms(100));
    assert_eq!(stream.counted(Metric::StreamsBrokenOff), 1);
}

#[test]
fn a_stream_of_several_choices_is_complete_with_the_last_of_them() {
    let body = br#"{"model":"chat","stream":true,"n":2}"#;
    let mut stream = Answered::begin(&json!({"idle": "4s"}), body, OK_STREAM);
    stream.bytes(&[CONTENT, FINISH].concat(), ms(0));
    assert_eq!(stream.due(), Some(ms(4_000)), "the second choice is still to come");
    stream.bytes(SECOND, ms(3_000));
    stream.bytes(SECOND_FINISH, ms(3_500));
    assert_eq!(stream.due(), Some(ms(4_500)));
    // The client asked for one, and the provider sends another after the grace.
    let mut stream = Answered::stream(&json!({"idle": "4s"}));
    stream.bytes(&[CONTENT, FINISH].concat(), ms(0));
    stream.look(ms(1_000));
    assert_eq!(stream.due(), Some(ms(6_000)));
    stream.bytes(SECOND, ms(5_000));
    assert_eq!(stream.due(), Some(ms(9_000)), "a stream that goes on is not reset");
    stream.bytes(SECOND_FINISH, ms(8_000));
    assert_eq!(stream.due(), Some(ms(9_000)));
}

#[test]
fn trailers_in_the_middle_end_a_stream_with_a_notice() {
    // Once text can be put in, the notice goes with the next tick, and the trailers wait for it.
    let mut stream = Answered::stream(&json!({}));
    stream.bytes(CONTENT, ms(0));
    assert_eq!(stream.trailers(ms(100)), Release::Hold);
    assert_eq!(stream.due(), Some(ms(100)));
    let AlarmStep::Tell(notice) = stream.look(ms(200)) else { panic!() };
    assert!(notice.contains("stream_truncated"), "{notice}");
    assert_eq!(stream.look(ms(300)), AlarmStep::Reset, "if they do not end it");
    stream.finish(Ending::Complete, ms(300));
    let mut seen = Vec::new();
    stream.worker.tally.drain(|metric, delta| seen.push((metric, delta)));
    assert!(seen.contains(&(Metric::StreamsTruncated, 1)), "{seen:?}");
    assert!(!seen.iter().any(|(metric, _)| *metric == Metric::Alarms), "no limit was exceeded: {seen:?}");
    // The first chunk is still in the host's buffer: the notice follows it there.
    let mut stream = Answered::stream(&json!({}));
    let half = &CONTENT[..20];
    assert_eq!(stream.send(&[CONTENT, half].concat(), false, false, ms(0)), Release::Stage);
    assert_eq!(stream.trailers(ms(0)), Release::Pass);
    let body = String::from_utf8(stream.pass.response.body.clone()).unwrap();
    let notice = body.strip_prefix(CONTENT).unwrap();
    assert!(notice.starts_with("data: {\"error\"") && notice.ends_with("\n\n"), "{notice}");
    stream.finish(Ending::Complete, ms(0));
    assert_eq!(stream.counted(Metric::StreamsTruncated), 1);
    // Without a notice only a reset is left.
    let mut stream = Answered::stream(&json!({"on_break": "reset"}));
    stream.bytes(CONTENT, ms(0));
    assert_eq!((stream.trailers(ms(100)), stream.look(ms(200))), (Release::Hold, AlarmStep::Reset));
    // After the last event they pass.
    let mut stream = Answered::stream(&json!({}));
    stream.bytes(&[CONTENT, FINISH].concat(), ms(0));
    assert_eq!((stream.trailers(ms(100)), stream.due()), (Release::Pass, None));
    stream.finish(Ending::Complete, ms(100));
    assert_eq!(stream.counted(Metric::StreamsComplete), 1);
}

#[test]
fn a_plain_response_cut_after_its_commit_is_reset() {
    let long = format!("{{\"choices\":[{{\"message\":{{\"content\":\"{}", "x".repeat(20_000));
    for trailers in [false, true] {
        let mut plain = Answered::begin(&json!({}), br#"{"model":"chat"}"#, OK_JSON);
        assert_eq!(plain.bytes(&long, ms(0)), Release::Pass);
        let release = if trailers { plain.trailers(ms(100)) } else { plain.send("xx", true, true, ms(100)) };
        assert_eq!((release, plain.due()), (Release::Hold, Some(ms(100))));
        assert_eq!(plain.look(ms(200)), AlarmStep::Reset);
        let outcome = plain.pass.exchange.finish(&mut plain.worker, Ending::Complete, ms(200)).unwrap();
        let record = String::from_utf8(outcome.json).unwrap();
        assert!(record.contains("\"outcome\":\"broken\"") && record.contains("stream_truncated"), "{record}");
    }
    // The same with its end is complete.
    let mut plain = Answered::begin(&json!({}), br#"{"model":"chat"}"#, OK_JSON);
    plain.bytes(&long, ms(0));
    assert_eq!(plain.send("\"}}]}", true, true, ms(100)), Release::Pass);
    assert_eq!(plain.due(), None);
}

const PLAIN: &str = r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#;

#[test]
fn a_held_plain_response_that_stays_open_is_delivered() {
    let mut plain = Answered::begin(&json!({}), br#"{"model":"chat"}"#, OK_JSON);
    assert_eq!(plain.bytes(&PLAIN[..30], ms(0)), Release::Hold);
    assert_ne!(plain.due(), Some(ms(1_000)), "it is not complete");
    assert_eq!(plain.bytes(&PLAIN[30..], ms(500)), Release::Hold);
    assert_eq!(plain.bytes(" ", ms(900)), Release::Hold);
    assert_eq!((plain.due(), plain.look(ms(1_499))), (Some(ms(1_500)), AlarmStep::Wait));
    assert_eq!(plain.look(ms(1_500)), AlarmStep::Deliver);
    let Pass { exchange, response, .. } = &mut plain.pass;
    exchange.deliver(&mut plain.worker, ms(1_500), response);
    assert_eq!(response.get("x-llm-target"), Some("gpt-a"));
    assert!(plain.worker.journeys.borrow().is_empty());
    // The host's own response passes the same callbacks.
    plain.pass.response.body.clear();
    assert_eq!(plain.send(PLAIN, true, true, ms(1_500)), Release::Pass);
    let record = plain.pass.exchange.finish(&mut plain.worker, Ending::Complete, ms(1_500)).unwrap();
    let record = String::from_utf8(record.json).unwrap();
    assert!(record.contains("\"outcome\":\"served\""), "{record}");
    assert_eq!(plain.counted(Metric::StreamsLeftOpen), 1);
}

#[test]
fn a_held_plain_response_that_is_no_answer_and_stays_open_is_attempted_again() {
    for body in [r#"{"error":{"message":"overloaded"}}"#, r#"{"choices":[]}"#] {
        let mut plain = Answered::begin(&json!({}), br#"{"model":"chat"}"#, OK_JSON);
        assert_eq!(plain.bytes(body, ms(0)), Release::Hold);
        assert_eq!(plain.look(ms(1_000)), AlarmStep::Deliver, "{body}");
        let Pass { exchange, response, .. } = &mut plain.pass;
        exchange.deliver(&mut plain.worker, ms(1_000), response);
        assert!(response.get("x-llm-retry").is_some(), "{body}");
        plain.finish(Ending::Complete, ms(1_000));
        let second = again(&mut plain.worker, 2);
        assert_eq!(second.request.get("authorization"), Some("Bearer sk-provider-b"), "{body}");
    }
}

#[test]
fn an_error_whose_body_stays_open_is_attempted_again() {
    let unavailable = &[(":status", "503"), ("content-type", "application/json")];
    let mut plain = Answered::begin(&json!({}), br#"{"model":"chat"}"#, unavailable);
    assert_eq!(plain.bytes(r#"{"error":{"message":"over"#, ms(0)), Release::Hold);
    assert_ne!(plain.due(), Some(ms(1_000)), "it is not complete");
    assert_eq!(plain.bytes(r#"loaded"}}"#, ms(100)), Release::Hold);
    assert_eq!(plain.look(ms(1_100)), AlarmStep::Deliver);
    let Pass { exchange, response, .. } = &mut plain.pass;
    exchange.deliver(&mut plain.worker, ms(1_100), response);
    assert!(response.get("x-llm-retry").is_some());
}

#[test]
fn a_long_plain_response_that_stays_open_is_settled_and_lingers() {
    let long = PLAIN.replace("hi", &"x".repeat(20_000));
    let mut plain = Answered::begin(&json!({}), br#"{"model":"chat"}"#, OK_JSON);
    assert_eq!(plain.bytes(&long, ms(0)), Release::Pass);
    assert_eq!(plain.due(), Some(ms(1_000)));
    assert_eq!(plain.look(ms(1_000)), AlarmStep::Wait);
    assert!(plain.worker.journeys.borrow().is_empty(), "its place is free");
    assert_eq!(plain.due(), Some(ms(6_000)));
    plain.bytes("\n", ms(2_000));
    assert_eq!(plain.due(), Some(ms(6_000)), "white space moves nothing");
    assert_eq!(plain.look(ms(6_000)), AlarmStep::Reset);
    let record = plain.pass.exchange.finish(&mut plain.worker, Ending::UpstreamGone, ms(6_000)).unwrap();
    assert!(String::from_utf8(record.json).unwrap().contains("\"outcome\":\"served\""));
}

#[test]
fn a_first_chunk_that_a_break_overtook_is_attempted_again() {
    let mut stream = Answered::stream(&json!({}));
    assert_eq!(stream.send(CONTENT, false, false, ms(0)), Release::Stage);
    stream.finish(Ending::UpstreamGone, ms(0));
    let second = again(&mut stream.worker, 2);
    assert_eq!(second.step, RequestStep::Send);
    assert_eq!(second.request.get("authorization"), Some("Bearer sk-provider-b"));
    // Once it has been released, nothing more is attempted.
    let mut stream = Answered::stream(&json!({}));
    stream.bytes(CONTENT, ms(0));
    stream.finish(Ending::UpstreamGone, ms(0));
    assert_eq!(stream.counted(Metric::StreamsBrokenOff), 1);
    assert!(stream.worker.journeys.borrow().is_empty());
    // A stream that came whole needs no further callback, so it cannot be overtaken.
    let mut stream = Answered::stream(&json!({}));
    assert_eq!(stream.send(&[CONTENT, FINISH, DONE].concat(), false, false, ms(0)), Release::Pass);
    stream.finish(Ending::UpstreamGone, ms(0));
    assert_eq!(stream.counted(Metric::StreamsComplete), 1);
}
