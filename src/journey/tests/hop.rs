//! The hop of the loop closes: no provider is blamed, and requests that can go on do.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::test_support::*;
use super::super::{AlarmStep, Ending, RequestStep, Worker};
use super::{ANSWER, CHAT, OK_JSON, OK_STREAM, again, refusal};
use crate::base::Timestamp;
use crate::record::Metric;

const CONTENT: &[u8] = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";

/// The body that `again` sends.
const AGAIN: &[u8] = br#"{"messages":[],"model":"chat"}"#;

fn ms(ms: u64) -> Timestamp {
    NOW.after(Duration::from_millis(ms))
}

/// A worker with one target, whose breaker opens with the first failure.
fn touchy(changes: Value) -> Worker {
    let mut config = json!({
        "breaker": {"consecutive": 1},
        "models": {"chat": {"targets": ["gpt-a"], "retry": {"backoff": {"base": "1ms", "max": "1ms"}}}},
    });
    config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    worker(config_with(config))
}

fn begins(worker: &mut Worker) -> Pass {
    let pass = pass(worker, loop_request(CHAT, 1), br#"{"model":"chat","stream":true}"#, 99);
    assert_eq!(pass.step, RequestStep::Send);
    pass
}

#[test]
fn flags_and_details_tell_who_ended_a_stream() {
    use Ending::{ClientGone, HopClosed, UpstreamGone};
    const DC: u64 = 1 << 14;
    const DR: u64 = 1 << 28;
    const DPE: u64 = 1 << 18;
    const OM: u64 = 1 << 25;
    const UC: u64 = 1 << 6;
    const UR: u64 = 1 << 4;
    const UPE: u64 = 1 << 23;
    const SI: u64 = 1 << 16;
    for (flags, details, ending) in [
        (Some(DC), Some("downstream_remote_disconnect"), ClientGone),
        (Some(DR), Some("http2.remote_reset"), ClientGone),
        (Some(DR | UC), Some("http2.remote_reset"), ClientGone),
        (Some(DPE), Some("http2.violation.of.messaging.rule"), HopClosed),
        (Some(OM), Some("overload_error"), HopClosed),
        (Some(0), Some("too_many_premature_resets"), HopClosed),
        (Some(0), Some("a_limit_of_a_later_envoy"), HopClosed),
        (Some(UPE), Some("upstream_reset_after_response_started{protocol_error}"), UpstreamGone),
        (Some(UR), Some("upstream_reset_before_response_started{remote_reset}"), UpstreamGone),
        (Some(UC), Some("upstream_reset_after_response_started{connection_termination}"), UpstreamGone),
        (Some(SI), Some("stream_idle_timeout"), UpstreamGone),
        (Some(0), Some("upstream_reset_after_response_started{}"), UpstreamGone),
        (Some(0), Some("via_upstream"), UpstreamGone),
        (Some(0), None, UpstreamGone),
        (None, Some("too_many_premature_resets"), UpstreamGone),
    ] {
        assert_eq!(Ending::of(flags, || details), ending, "{flags:?} {details:?}");
    }
}

#[test]
fn a_hop_that_closes_before_an_answer_opens_no_breaker_and_the_request_goes_on() {
    for (headers_came, ending, goes_on) in [
        (false, Ending::HopClosed, true),
        (true, Ending::HopClosed, true),
        (false, Ending::UpstreamGone, false),
        (true, Ending::UpstreamGone, false),
    ] {
        let worker = &mut touchy(json!({}));
        let mut first = begins(worker);
        if headers_came {
            first.response = FakeWire::new(OK_JSON);
            let block = first.response.block();
            let Pass { exchange, response, .. } = &mut first;
            exchange.response_headers(worker, block, false, NOW, || Origin::Upstream, response);
        }
        first.exchange.finish(worker, ending, NOW);
        let case = format!("{headers_came} {ending:?}");
        assert_eq!(counted(worker, Metric::BreakerOpened), i64::from(!goes_on), "{case}");
        let mut second = again(worker, 2);
        if !goes_on {
            assert!(matches!(second.step, RequestStep::Answer(_)), "{case}");
            continue;
        }
        // The same target, after the back-off.
        assert_eq!(second.step, RequestStep::Hold, "{case}");
        second.request.body = AGAIN.to_vec();
        let step = second.exchange.wake(worker, ms(1), &mut second.request);
        assert_eq!(step, RequestStep::Send, "{case}");
        assert_eq!(second.answer(worker, OK_JSON, ANSWER), Release::Pass, "{case}");
    }
}

#[test]
fn a_stream_that_the_hop_cuts_counts_by_itself() {
    // Whether the filter is in the loop, the ending, and the counter of it.
    for (retry_loop, ending, metric) in [
        (true, Ending::HopClosed, Metric::StreamsHopClosed),
        (true, Ending::UpstreamGone, Metric::StreamsBrokenOff),
        (true, Ending::ClientGone, Metric::StreamsAbandoned),
        // Without the loop the connection is the client's own.
        (false, Ending::HopClosed, Metric::StreamsAbandoned),
    ] {
        let worker = &mut touchy(json!({"retry_loop": retry_loop}));
        let mut pass = begins(worker);
        pass.response = FakeWire::new(OK_STREAM);
        let block = pass.response.block();
        let Pass { exchange, response, .. } = &mut pass;
        exchange.response_headers(worker, block, false, NOW, || Origin::Upstream, response);
        response.body = CONTENT.to_vec();
        let release = exchange.response_body(worker, CONTENT.len(), false, NOW, response);
        assert_ne!(release, Release::Hold);
        exchange.released();
        let record = exchange.finish(worker, ending, ms(5)).unwrap();
        let mut seen = Vec::new();
        worker.tally.drain(|metric, delta| seen.push((metric, delta)));
        let sum = |wanted| seen.iter().filter(|(m, _)| *m == wanted).map(|(_, d)| d).sum::<i64>();
        let case = format!("{retry_loop} {ending:?}");
        let opened = i64::from(ending == Ending::UpstreamGone);
        assert_eq!((sum(metric), sum(Metric::BreakerOpened)), (1, opened), "{case}");
        let record: Value = serde_json::from_slice(&record.json).unwrap();
        let class = match metric {
            Metric::StreamsHopClosed => json!("hop_closed"),
            Metric::StreamsBrokenOff => json!("stream_truncated"),
            _ => json!(null),
        };
        assert_eq!(record["attempts"][0]["error.type"], class, "{record}");
    }
}

#[test]
fn a_queued_request_waits_on_when_the_hop_closes() {
    let model = json!({"targets": ["gpt-a"], "retry": {"attempts": 1, "queue": {}}});
    let worker = &mut touchy(json!({"models": {"chat": model}}));
    let mut limited = loop_request(CHAT, 1);
    limited.set_journey(&format!("{:032x}", 7));
    let mut limited = pass(worker, limited, br#"{"model":"chat"}"#, 99);
    limited.answer(worker, &[(":status", "429"), ("retry-after", "1")], b"{}");
    limited.exchange.finish(worker, Ending::Complete, NOW);

    let mut queued = pass(worker, loop_request(CHAT, 1), br#"{"model":"chat"}"#, 99);
    assert_eq!(queued.step, RequestStep::Hold);
    assert!(queued.exchange.finish(worker, Ending::HopClosed, ms(100)).is_none(), "its record comes later");
    assert_eq!((worker.queues.len(), worker.journeys.borrow().len()), (0, 1));
    let mut next = again(worker, 2);
    assert_eq!((next.step, worker.queues.len()), (RequestStep::Hold, 1));
    next.request.body = AGAIN.to_vec();
    assert_eq!(next.exchange.wake(worker, ms(1_100), &mut next.request), RequestStep::Send);
    assert_eq!(next.exchange.alarm(worker, ms(1_100)), AlarmStep::Wait);

    // A client that leaves takes its request along.
    let mut left = loop_request(CHAT, 1);
    left.set_journey(&format!("{:032x}", 8));
    let mut left = pass(worker, left, br#"{"model":"unknown"}"#, 99);
    assert_eq!(refusal(&left.step).0, 404);
    assert!(left.exchange.finish(worker, Ending::HopClosed, ms(1_200)).is_some());
}
