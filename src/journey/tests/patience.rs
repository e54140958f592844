//! The client's patience: how long attempts may take before the client gets its first byte.

use std::time::Duration;

use serde_json::json;

use super::super::test_support::*;
use super::super::{AlarmStep, Ending, RequestStep, Worker};
use super::{CHAT, OK_JSON, OK_STREAM, refusal};
use crate::base::{HeaderBlock, HeaderSink, Timestamp};

const ROLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n";
const CONTENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";

fn s(seconds: u64) -> Timestamp {
    ms(seconds * 1000)
}

fn ms(millis: u64) -> Timestamp {
    NOW.after(Duration::from_millis(millis))
}

fn two_targets() -> Worker {
    worker(config_with(json!({"models": {"chat": {"tiers": [["gpt-a"], ["gpt-b"]]}}})))
}

fn pass(worker: &mut Worker, attempt: u8, header: (&str, &str), now: Timestamp) -> Pass {
    pass_of(0, worker, attempt, header, now)
}

/// The same for one of several journeys.
fn pass_of(nth: u8, worker: &mut Worker, attempt: u8, header: (&str, &str), now: Timestamp) -> Pass {
    let mut request = loop_request(CHAT, attempt);
    request.set("x-llm-journey", &format!("{}{nth:02x}", &JOURNEY[..JOURNEY.len() - 2]));
    request.headers.push((header.0.to_owned(), header.1.to_owned()));
    pass_at(worker, request, br#"{"model":"chat","stream":true}"#, 99, now)
}

fn receive(worker: &mut Worker, pass: &mut Pass, bytes: &str, now: Timestamp) -> Release {
    if pass.response.headers.is_empty() {
        pass.response = FakeWire::new(OK_STREAM);
        let block = HeaderBlock::of(OK_STREAM);
        let _ = pass.exchange.response_headers(
            worker,
            block,
            false,
            now,
            || Origin::Upstream,
            &mut pass.response,
        );
    }
    pass.response.body.extend_from_slice(bytes.as_bytes());
    let available = pass.response.body.len();
    pass.exchange.response_body(worker, available, false, now, &mut pass.response)
}

#[test]
fn an_attempt_gets_half_while_another_target_remains_and_the_last_one_gets_the_rest() {
    let headers = [("x-llm-timeout", "8"), ("x-stainless-timeout", "8"), ("x-stainless-read-timeout", "8.0")];
    for header in headers {
        let worker = &mut two_targets();
        let mut first = pass(worker, 1, header, s(0));
        assert_eq!(first.exchange.due(), Some(s(4)), "{header:?}");
        assert!(matches!(first.exchange.alarm(worker, ms(3_999)), AlarmStep::Wait));
        let AlarmStep::Answer(answer) = first.exchange.alarm(worker, s(4)) else { panic!("{header:?}") };
        assert!(answer.headers.iter().any(|(name, value)| *name == "x-llm-retry" && value == "timeout"));
        first.exchange.finish(worker, Ending::Complete, s(4));
        let mut second = pass(worker, 2, header, s(4));
        assert_eq!(second.exchange.due(), Some(s(6)), "looks whether another target remains");
        assert!(matches!(second.exchange.alarm(worker, s(6)), AlarmStep::Wait), "none does");
        assert_eq!(second.exchange.due(), Some(s(8)));
        let AlarmStep::Answer(answer) = second.exchange.alarm(worker, s(8)) else { panic!("{header:?}") };
        assert_eq!(answer.status, 504);
        assert!(!answer.headers.iter().any(|(name, _)| *name == "x-llm-retry"), "the client has given up");
    }
}

#[test]
fn patience_blames_no_target() {
    let worker = &mut two_targets();
    for nth in 0..50 {
        let mut first = pass_of(nth, worker, 1, ("x-stainless-timeout", "2"), s(0));
        assert_eq!(first.step, RequestStep::Send);
        assert!(matches!(first.exchange.alarm(worker, s(1)), AlarmStep::Answer(_)));
        first.exchange.finish(worker, Ending::ClientGone, s(1));
    }
    let first = pass_of(50, worker, 1, ("x-llm-timeout", "2"), s(1));
    assert_eq!(first.request.get("authorization"), Some("Bearer sk-provider-a"));
}

#[test]
fn it_never_ends_a_stream_that_has_begun() {
    let worker = &mut two_targets();
    let mut first = pass(worker, 1, ("x-llm-timeout", "8"), s(0));
    assert_ne!(receive(worker, &mut first, CONTENT, s(1)), Release::Hold);
    // From now on the stream's own limits hold: 30 s between two bytes.
    assert_eq!(first.exchange.due(), Some(s(31)));
    assert!(matches!(first.exchange.alarm(worker, s(9)), AlarmStep::Wait));
}

#[test]
fn a_held_stream_that_has_bytes_is_released_a_second_before_the_end() {
    let worker = &mut worker(config_with(json!({
        "models": {"chat": {"tiers": [["gpt-a"], ["gpt-b"]], "stream": {"first_content": "60s"}}},
        "retry_budget": {"ratio": 0, "floor": 1},
    })));
    let patience = ("x-llm-timeout", "8");
    // One retry a second for ten seconds, and all of them now. So the next request stays at its target.
    for nth in 0..10 {
        let mut first = pass_of(nth, worker, 1, patience, s(0));
        assert!(matches!(first.exchange.alarm(worker, s(4)), AlarmStep::Answer(_)));
        first.exchange.finish(worker, Ending::ClientGone, s(4));
    }
    let mut held = pass_of(10, worker, 1, patience, s(0));
    assert_eq!(receive(worker, &mut held, ROLE, s(1)), Release::Hold, "the role is no content");
    assert!(matches!(held.exchange.alarm(worker, s(4)), AlarmStep::Wait));
    assert_eq!(held.exchange.due(), Some(s(7)));
    assert!(matches!(held.exchange.alarm(worker, s(7)), AlarmStep::OpenGate));
    held.exchange.open_gate(worker, s(7), &mut held.response);
    assert_eq!(held.exchange.due(), Some(s(60)), "the rest is the stream's own time");
}

#[test]
fn a_plain_response_that_has_begun_gets_all_of_it() {
    let worker = &mut two_targets();
    let mut request = loop_request(CHAT, 1);
    request.headers.push(("x-llm-timeout".to_owned(), "8".to_owned()));
    let mut first = pass_at(worker, request, br#"{"model":"chat"}"#, 99, s(0));
    assert_eq!(first.exchange.due(), Some(s(4)));
    first.response = FakeWire::new(OK_JSON);
    let block = HeaderBlock::of(OK_JSON);
    let wire = &mut first.response;
    let _ = first.exchange.response_headers(worker, block, false, s(1), || Origin::Upstream, wire);
    assert_eq!(first.exchange.due(), Some(s(4)), "headers are no answer");
    let _ = receive(worker, &mut first, r#"{"choices":["#, s(1));
    assert_eq!(first.exchange.due(), Some(s(8)));
}

#[test]
fn it_bounds_all_attempts_together() {
    let worker = &mut two_targets();
    let mut first = pass(worker, 1, ("x-llm-timeout", "5"), s(0));
    let AlarmStep::Answer(_) = first.exchange.alarm(worker, ms(2_500)) else { panic!() };
    first.exchange.finish(worker, Ending::Complete, ms(2_500));
    let late = pass(worker, 2, ("x-llm-timeout", "5"), s(5));
    let (status, body) = refusal(&late.step);
    assert_eq!((status, &body["error"]["code"]), (504, &json!("all_targets_failed")));
}

#[test]
fn a_value_that_is_no_duration_is_refused_if_the_client_wrote_it_and_ignored_if_its_sdk_did() {
    let due = |header: (&str, &str)| {
        let worker = &mut two_targets();
        let pass = pass(worker, 1, header, s(0));
        match pass.step {
            RequestStep::Send => Ok(pass.exchange.due()),
            step => Err(refusal(&step)),
        }
    };
    for (written, half) in
        [("10s", 5_000), ("10", 5_000), ("10.0", 5_000), (" 12000ms ", 6_000), ("1h", 30_000)]
    {
        assert_eq!(due(("x-llm-timeout", written)), Ok(Some(ms(half))), "{written}");
    }
    for wrong in ["", "0", "0s", "-1", "soon", "10 parsecs", "1e3", "∞"] {
        let (status, body) = due(("x-llm-timeout", wrong)).unwrap_err();
        assert_eq!((status, &body["error"]["code"]), (400, &json!("invalid_timeout")), "{wrong}");
    }
    for wrong in ["", "0", "-1", "None", "NaN", "inf", "1e400", "NOT_GIVEN", "600s"] {
        assert_eq!(due(("x-stainless-timeout", wrong)), Ok(Some(s(30))), "{wrong}");
    }
}
