//! What is done about streams on which nothing moves, and how the ends of streams are counted.

use std::time::Duration;

use serde_json::json;

use super::super::test_support::*;
use super::super::{AlarmStep, Ending, Origin, RequestStep, ResponseStep, Worker};
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
    /// Asked for, and nothing has come.
    fn ask(stream: &serde_json::Value) -> Self {
        let models = json!({"chat": {"tiers": [["gpt-a"], ["gpt-b"]], "stream": stream}});
        let mut worker = worker(config_with(json!({"models": models})));
        let pass =
            pass_at(&mut worker, loop_request(CHAT, 1), br#"{"model":"chat","stream":true}"#, 99, s(0));
        assert_eq!(pass.step, RequestStep::Send);
        Self { worker, pass, sent: String::new() }
    }

    fn headers(&mut self, now: Timestamp) -> ResponseStep {
        let block = HeaderBlock::of(OK_STREAM);
        let Pass { exchange, response, .. } = &mut self.pass;
        exchange.response_headers(&mut self.worker, block, false, now, || Origin::Upstream, response)
    }

    /// As the host does: what is not held goes to the client, a first chunk one turn later.
    fn bytes(&mut self, bytes: &str, now: Timestamp) -> ResponseStep {
        let Pass { exchange, response, .. } = &mut self.pass;
        response.body.extend_from_slice(bytes.as_bytes());
        let available = response.body.len();
        let step = exchange.response_body(&mut self.worker, available, false, now, response);
        if step != ResponseStep::Hold {
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
            AlarmStep::Wait | AlarmStep::Reset | AlarmStep::Answer(_) => {}
        }
        step
    }
}

#[test]
fn a_quiet_stream_is_kept_open_between_events_and_ends_when_it_would_have() {
    let mut stream = Stream::ask(&json!({"keep_alive": "5s", "idle": "12s"}));
    stream.headers(s(1));
    stream.bytes(CONTENT, s(1));
    assert_eq!(stream.pass.exchange.due(), Some(s(6)));
    assert_eq!(stream.look(s(6)), AlarmStep::KeepAlive(": keep-alive\n\n"));
    assert_eq!(stream.look(s(6)), AlarmStep::Wait, "once");
    // Half an event is held back: the client has heard nothing, and is still between two events.
    let (half, rest) = CONTENT.split_at(20);
    stream.bytes(half, s(9));
    assert_eq!(stream.pass.exchange.due(), Some(s(11)));
    assert_eq!(stream.look(s(11)), AlarmStep::KeepAlive(": keep-alive\n\n"));
    stream.bytes(rest, s(12));
    assert_eq!(stream.sent, [CONTENT, ": keep-alive\n\n", ": keep-alive\n\n", CONTENT].concat());
    assert!(matches!(stream.look(s(17)), AlarmStep::KeepAlive(_)));
    assert!(matches!(stream.look(s(22)), AlarmStep::KeepAlive(_)));
    assert!(matches!(stream.look(s(24)), AlarmStep::Tell(_)), "keep-alives are no sign of the provider");
    assert_eq!(counted(&mut stream.worker, Metric::KeepAlives), 4);
}

#[test]
fn nothing_is_put_where_it_would_do_harm_or_could_not_be() {
    // While it is held, and before anything of it has come.
    let mut stream = Stream::ask(&json!({"keep_alive": "5s"}));
    assert_eq!(stream.pass.exchange.due(), Some(s(30)));
    stream.headers(s(1));
    stream.bytes(ROLE, s(1));
    assert_eq!(stream.pass.exchange.due(), Some(s(30)));
    // Within an event too large to be held back.
    stream.bytes(CONTENT, s(2));
    stream.bytes(&format!("data: {}", "x".repeat(70_000)), s(3));
    assert_eq!(stream.look(s(8)), AlarmStep::Wait);
    assert_eq!(stream.pass.exchange.due(), Some(s(13)), "perhaps the next time");
    stream.bytes("x\n\n", s(9));
    assert!(matches!(stream.look(s(14)), AlarmStep::KeepAlive(_)));
    // After its end.
    stream.bytes(FINISH, s(15));
    assert_eq!((stream.pass.exchange.due(), stream.look(s(40))), (None, AlarmStep::Wait));
}

#[test]
fn a_stream_that_is_reset_on_a_break_is_kept_open_and_told_nothing() {
    let mut stream = Stream::ask(&json!({"keep_alive": "5s", "idle": "12s", "on_break": "reset"}));
    stream.headers(s(1));
    stream.bytes(CONTENT, s(1));
    assert!(matches!(stream.look(s(6)), AlarmStep::KeepAlive(_)));
    assert_eq!(stream.look(s(13)), AlarmStep::Reset);
}

#[test]
fn a_held_stream_goes_on_when_it_has_been_held_for_long_enough() {
    let mut stream =
        Stream::ask(&json!({"first_content": "60s", "keep_alive": "5s", "gate": {"max_time": "10s"}}));
    assert_eq!(stream.pass.exchange.due(), Some(s(60)), "without headers there is nothing to let go");
    assert_eq!(stream.headers(s(1)), ResponseStep::Hold);
    assert_eq!(stream.pass.exchange.due(), Some(s(10)));
    let (half, rest) = CONTENT.split_at(20);
    assert_eq!(stream.bytes(ROLE, s(2)), ResponseStep::Hold);
    assert_eq!(stream.bytes(half, s(2)), ResponseStep::Hold);
    assert_eq!(stream.look(s(10)), AlarmStep::OpenGate);
    assert_eq!(stream.sent, ROLE, "up to the end of its last whole event");
    assert_eq!(stream.pass.response.get("x-llm-target"), Some("gpt-a"));
    assert!(matches!(stream.look(s(15)), AlarmStep::KeepAlive(_)), "it can take something at once");
    assert_eq!(stream.bytes(rest, s(16)), ResponseStep::Flow, "and is never let go otherwise again");
    assert_eq!(stream.sent, [ROLE, ": keep-alive\n\n", CONTENT].concat());
    assert_eq!(counted(&mut stream.worker, Metric::GatesOpenedByTime), 1);
}

#[test]
fn one_whose_headers_come_later_than_that_is_not_held_and_one_without_bytes_begins_as_any() {
    let gate = json!({"first_content": "60s", "keep_alive": "5s", "gate": {"max_time": "10s"}});
    let mut late = Stream::ask(&gate);
    assert_eq!(late.headers(s(11)), ResponseStep::Pass);
    let mut bare = Stream::ask(&gate);
    bare.headers(s(1));
    assert_eq!(bare.look(s(10)), AlarmStep::OpenGate);
    for mut stream in [late, bare] {
        assert_eq!(stream.look(s(20)), AlarmStep::Wait, "nothing can be put before its first chunk");
        assert_eq!(stream.bytes(ROLE, s(21)), ResponseStep::Stage);
        assert!(matches!(stream.look(s(26)), AlarmStep::KeepAlive(_)));
        assert!(matches!(stream.look(s(60)), AlarmStep::Tell(_)), "the first content is still owed");
    }
}

#[test]
fn the_time_of_the_gate_is_none_of_a_plain_answer() {
    let mut late = Stream::ask(&json!({"gate": {"max_time": "10s"}}));
    let block = HeaderBlock::of(super::OK_JSON);
    let Pass { exchange, response, .. } = &mut late.pass;
    let step =
        exchange.response_headers(&mut late.worker, block, false, s(11), || Origin::Upstream, response);
    assert_eq!((step, exchange.due()), (ResponseStep::Hold, Some(s(30))));
    late.bytes("{\"error\":{\"message\":\"no provider\"}", s(11));
    assert_eq!(late.look(s(20)), AlarmStep::Wait);
    assert_eq!(late.pass.response.get("x-llm-target"), None, "it is held still");
}

#[test]
fn a_stream_that_drips_is_ended_as_stalled() {
    let mut stream = Stream::ask(&json!({"min_rate": {"events": 4, "window": "10s"}}));
    stream.headers(s(1));
    stream.bytes(&CONTENT.repeat(4), s(1));
    let mut told = None;
    for second in (3..60).step_by(5) {
        if stream.pass.exchange.due().is_some_and(|due| due <= s(second)) {
            told = Some((second, stream.look(s(second))));
            break;
        }
        stream.bytes(CONTENT, s(second));
    }
    let Some((13, AlarmStep::Tell(notice))) = told else { panic!("{told:?}") };
    assert!(notice.contains("stream_stalled"));
    assert_eq!(counted(&mut stream.worker, Metric::StreamsStalled), 1);
}

#[test]
fn every_stream_that_reached_its_client_is_counted_once_by_its_end() {
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
    assert_eq!(ends(ROLE, None, Ending::UpstreamGone), [], "the client has seen nothing of it");
}
