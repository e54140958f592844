//! Quiet streams: keep-alives, the gate's time limit, idle limits, and how the ends of streams are counted.

use std::time::Duration;

use serde_json::json;

use super::super::test_support::*;
use super::super::{AlarmStep, Ending, RequestStep, Worker};
use super::{CHAT, OK_STREAM};
use crate::base::{HeaderBlock, Timestamp};
use crate::record::Metric;

const ROLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n";
const CONTENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
const FINISH: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

fn s(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

struct Stream {
    worker: Worker,
    pass: Pass,
    sent: String,
}

impl Stream {
    /// A stream whose request was sent and whose response has not begun.
    fn ask(stream: &serde_json::Value) -> Self {
        let models = json!({"chat": {"tiers": [["gpt-a"], ["gpt-b"]], "stream": stream}});
        let mut worker = worker(config_with(json!({"models": models})));
        let pass =
            pass_at(&mut worker, loop_request(CHAT, 1), br#"{"model":"chat","stream":true}"#, 99, s(0));
        assert_eq!(pass.step, RequestStep::Send);
        Self { worker, pass, sent: String::new() }
    }

    fn headers(&mut self, now: Timestamp) -> Release {
        let block = HeaderBlock::of(OK_STREAM);
        let Pass { exchange, response, .. } = &mut self.pass;
        exchange.response_headers(&mut self.worker, block, false, now, || Origin::Upstream, response)
    }

    /// Sends bytes as the host does. Bytes that are not held go to the client.
    fn bytes(&mut self, bytes: &str, now: Timestamp) -> Release {
        let Pass { exchange, response, .. } = &mut self.pass;
        response.body.extend_from_slice(bytes.as_bytes());
        let available = response.body.len();
        let step = exchange.response_body(&mut self.worker, available, false, now, response);
        if step != Release::Hold {
            self.sent.push_str(&String::from_utf8(std::mem::take(&mut response.body)).unwrap());
            exchange.released();
        }
        step
    }

    fn look(&mut self, now: Timestamp) -> AlarmStep {
        let Pass { exchange, response, .. } = &mut self.pass;
        let step = exchange.alarm(&mut self.worker, now);
        match &step {
            AlarmStep::OpenGate => {
                exchange.open_gate(&mut self.worker, now, response);
                self.sent.push_str(&String::from_utf8(std::mem::take(&mut response.body)).unwrap());
            }
            AlarmStep::KeepAlive(text) => self.sent.push_str(text),
            AlarmStep::Tell(text) => self.sent.push_str(text),
            AlarmStep::Wait | AlarmStep::Reset | AlarmStep::Deliver | AlarmStep::Answer(_) => {}
        }
        step
    }
}

#[test]
fn keep_alives_go_between_events_and_do_not_extend_the_idle_limit() {
    let mut stream = Stream::ask(&json!({"keep_alive": "5s", "idle": "12s"}));
    stream.headers(s(1));
    stream.bytes(CONTENT, s(1));
    assert_eq!(stream.pass.exchange.due(), Some(s(6)));
    assert_eq!(stream.look(s(6)), AlarmStep::KeepAlive(": keep-alive\n\n"));
    assert_eq!(stream.look(s(6)), AlarmStep::Wait, "only once per interval");
    // Half an event is held back, so the client is still between two events.
    let (half, rest) = CONTENT.split_at(20);
    stream.bytes(half, s(9));
    assert_eq!(stream.pass.exchange.due(), Some(s(11)));
    assert_eq!(stream.look(s(11)), AlarmStep::KeepAlive(": keep-alive\n\n"));
    stream.bytes(rest, s(12));
    assert_eq!(stream.sent, [CONTENT, ": keep-alive\n\n", ": keep-alive\n\n", CONTENT].concat());
    assert!(matches!(stream.look(s(17)), AlarmStep::KeepAlive(_)));
    assert!(matches!(stream.look(s(22)), AlarmStep::KeepAlive(_)));
    assert!(
        matches!(stream.look(s(24)), AlarmStep::Tell(_)),
        "keep-alives do not count as bytes from the provider"
    );
    assert_eq!(counted(&mut stream.worker, Metric::KeepAlives), 4);
}

#[test]
fn no_keep_alive_before_the_commit_within_an_event_or_after_the_end() {
    // Before the response, and while it is held.
    let mut stream = Stream::ask(&json!({"keep_alive": "5s"}));
    assert_eq!(stream.pass.exchange.due(), Some(s(30)));
    stream.headers(s(1));
    stream.bytes(ROLE, s(1));
    assert_eq!(stream.pass.exchange.due(), Some(s(30)));
    // Within an event too large to be held back.
    stream.bytes(CONTENT, s(2));
    stream.bytes(&format!("data: {{\"x\":\"{}", "x".repeat(70_000)), s(3));
    assert_eq!(stream.look(s(8)), AlarmStep::Wait);
    assert_eq!(stream.pass.exchange.due(), Some(s(13)), "it tries again after another interval");
    stream.bytes("x\"}\n\n", s(9));
    assert!(matches!(stream.look(s(14)), AlarmStep::KeepAlive(_)));
    // After its end.
    stream.bytes(FINISH, s(15));
    assert_eq!(stream.pass.exchange.due(), Some(s(20)), "only its linger is left");
}

#[test]
fn on_break_reset_sends_keep_alives_but_no_notice() {
    let mut stream = Stream::ask(&json!({"keep_alive": "5s", "idle": "12s", "on_break": "reset"}));
    stream.headers(s(1));
    stream.bytes(CONTENT, s(1));
    assert!(matches!(stream.look(s(6)), AlarmStep::KeepAlive(_)));
    assert_eq!(stream.look(s(13)), AlarmStep::Reset);
}

#[test]
fn gate_max_time_releases_a_held_stream() {
    let mut stream =
        Stream::ask(&json!({"first_content": "60s", "keep_alive": "5s", "gate": {"max_time": "10s"}}));
    assert_eq!(stream.pass.exchange.due(), Some(s(60)), "without headers there is nothing to release");
    assert_eq!(stream.headers(s(1)), Release::Hold);
    assert_eq!(stream.pass.exchange.due(), Some(s(10)));
    let (half, rest) = CONTENT.split_at(20);
    assert_eq!(stream.bytes(ROLE, s(2)), Release::Hold);
    assert_eq!(stream.bytes(half, s(2)), Release::Hold);
    assert_eq!(stream.look(s(10)), AlarmStep::OpenGate);
    assert_eq!(stream.sent, ROLE, "released up to the last whole event");
    assert_eq!(stream.pass.response.get("x-llm-target"), Some("gpt-a"));
    assert!(matches!(stream.look(s(15)), AlarmStep::KeepAlive(_)), "text can be inserted at once");
    assert_eq!(stream.bytes(rest, s(16)), Release::Flow, "later chunks flow");
    assert_eq!(stream.sent, [ROLE, ": keep-alive\n\n", CONTENT].concat());
    assert_eq!(counted(&mut stream.worker, Metric::GatesOpenedByTime), 1);
}

#[test]
fn a_stream_is_not_held_past_gate_max_time_and_its_first_chunk_is_staged() {
    let gate = json!({"first_content": "60s", "keep_alive": "5s", "gate": {"max_time": "10s"}});
    let mut late = Stream::ask(&gate);
    assert_eq!(late.headers(s(11)), Release::Pass);
    let mut bare = Stream::ask(&gate);
    bare.headers(s(1));
    assert_eq!(bare.look(s(10)), AlarmStep::OpenGate);
    for mut stream in [late, bare] {
        assert_eq!(stream.look(s(20)), AlarmStep::Wait, "no text can be inserted before the first chunk");
        assert_eq!(stream.bytes(ROLE, s(21)), Release::Stage);
        assert!(matches!(stream.look(s(26)), AlarmStep::KeepAlive(_)));
        assert!(matches!(stream.look(s(60)), AlarmStep::Tell(_)), "the first-content limit still applies");
    }
}

#[test]
fn gate_max_time_does_not_apply_to_plain_responses() {
    let mut late = Stream::ask(&json!({"gate": {"max_time": "10s"}}));
    let block = HeaderBlock::of(super::OK_JSON);
    let Pass { exchange, response, .. } = &mut late.pass;
    let step =
        exchange.response_headers(&mut late.worker, block, false, s(11), || Origin::Upstream, response);
    assert_eq!((step, exchange.due()), (Release::Hold, Some(s(30))));
    late.bytes("{\"error\":{\"message\":\"no provider\"}", s(11));
    assert_eq!(late.look(s(20)), AlarmStep::Wait);
    assert_eq!(late.pass.response.get("x-llm-target"), None, "it is still held");
}

#[test]
fn a_stream_below_the_minimum_rate_ends_as_stalled() {
    let mut stream = Stream::ask(&json!({"min_rate": {"events": 4, "window": "10s"}}));
    stream.headers(s(1));
    stream.bytes(&CONTENT.repeat(4), s(1));
    let mut ended = None;
    for second in (3..60).step_by(5) {
        if stream.pass.exchange.due().is_some_and(|due| due <= s(second)) {
            ended = Some((second, stream.look(s(second))));
            break;
        }
        stream.bytes(CONTENT, s(second));
    }
    let Some((13, AlarmStep::Tell(notice))) = ended else { panic!("{ended:?}") };
    assert!(notice.contains("stream_stalled"));
    assert_eq!(counted(&mut stream.worker, Metric::StreamsStalled), 1);
}

#[test]
fn every_stream_that_reached_its_client_counts_once_by_its_end() {
    let ends = |bytes: &str, alarm: Option<Timestamp>, ending: Ending| {
        let mut stream = Stream::ask(&json!({"total": "50s"}));
        stream.headers(s(1));
        stream.bytes(bytes, s(1));
        if let Some(at) = alarm {
            while stream.pass.exchange.due().is_some_and(|due| due < at) {
                stream.bytes(CONTENT, stream.pass.exchange.due().unwrap());
            }
            stream.look(at);
            stream.look(at);
        }
        stream.pass.exchange.finish(&mut stream.worker, ending, s(2));
        let mut ends = Vec::new();
        stream.worker.tally.drain(|metric, delta| {
            if let Some(end) = metric.name().strip_prefix("llm_failsafe_streams_") {
                ends.push((end, delta));
            }
        });
        ends
    };
    let error = &[CONTENT, "data: {\"error\":{\"message\":\"busy\"}}\n\n"].concat();
    let whole = &[CONTENT, FINISH].concat();
    for (bytes, alarm, ending, expected) in [
        (whole, None, Ending::Complete, "complete"),
        (whole, None, Ending::ClientGone, "complete"),
        (whole, None, Ending::UpstreamGone, "complete"),
        (&CONTENT.to_owned(), None, Ending::Complete, "truncated"),
        (&CONTENT.to_owned(), None, Ending::UpstreamGone, "broken_off"),
        (&CONTENT.to_owned(), None, Ending::ClientGone, "abandoned"),
        (error, None, Ending::Complete, "failed"),
        (error, None, Ending::ClientGone, "failed"),
        (&CONTENT.to_owned(), Some(s(31)), Ending::UpstreamGone, "stalled"),
        (&CONTENT.to_owned(), Some(s(50)), Ending::ClientGone, "out_of_time"),
    ] {
        assert_eq!(ends(bytes, alarm, ending), [(expected, 1)], "{bytes} {ending:?}");
    }
    assert_eq!(
        ends(ROLE, None, Ending::UpstreamGone),
        [],
        "a stream that the client never saw does not count"
    );
}
