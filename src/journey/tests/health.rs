//! Circuit breakers: which requests they let through, on one worker and on several that share data.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use super::super::test_support::*;
use super::super::{Ending, RequestStep, Worker};
use super::{ANSWER, CHAT, OK_STREAM, refusal};
use crate::base::Timestamp;
use crate::base::memory::{Memory, Shelf};
use crate::config::Config;
use crate::record::Metric;

const ERROR: &[u8] = br#"{"error":{"message":"no","type":"server_error"}}"#;

fn s(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

/// One request with one attempt, from the client to the end of the response.
fn send_one(worker: &mut Worker, model: &str, now: Timestamp, status: &str, body: &[u8]) -> Pass {
    let request = loop_request(CHAT, 1);
    let wanted = json!({"model": model}).to_string();
    let mut pass = pass_at(worker, request, wanted.as_bytes(), 1000, now);
    if pass.step == RequestStep::Send {
        pass.answer(worker, &[(":status", status), ("content-type", "application/json")], body);
    }
    pass.exchange.finish(worker, Ending::Complete, now);
    let orphans = worker.journeys.borrow_mut().expire(now.after(Duration::from_secs(60)));
    orphans.iter().for_each(|journey| worker.end(journey, now));
    pass
}

fn key(pass: &Pass) -> Option<&str> {
    pass.request.get("authorization")
}

/// Models with one target each, so that no fallback hides what the breakers do.
fn lone() -> Config {
    config_with(
        json!({"models": {"gpt": {"targets": ["gpt-a"]}, "other": {"targets": ["gpt-a2"]}}, "targets": {
            "gpt-a": {"account": "a", "model": "gpt-real"},
            "gpt-a2": {"account": "a", "model": "gpt-other"},
        }}),
    )
}

fn outage(worker: &mut Worker, now: Timestamp) {
    for _ in 0..5 {
        assert_eq!(send_one(worker, "gpt", now, "500", ERROR).step, RequestStep::Send);
    }
}

#[test]
fn a_failing_target_is_opened_then_probed_then_closed() {
    let worker = &mut worker(lone());
    outage(worker, s(0));
    let refused = send_one(worker, "gpt", s(1), "200", ANSWER);
    let (status, body) = refusal(&refused.step);
    assert_eq!((status, &body["error"]["code"]), (503, &json!("all_targets_open")));
    assert_eq!(body["error"]["llm_failsafe"]["targets"], json!([{"target": "gpt-a", "reason": "open"}]));
    let RequestStep::Answer(answer) = &refused.step else { panic!() };
    let wait: u64 =
        answer.headers.iter().find(|(name, _)| *name == "retry-after").unwrap().1.parse().unwrap();
    assert!((4..=6).contains(&wait), "{wait}");

    assert_eq!(send_one(worker, "gpt", s(7), "200", ANSWER).step, RequestStep::Send, "a probe");
    assert_eq!(send_one(worker, "gpt", s(8), "200", ANSWER).step, RequestStep::Send, "another");
    assert_eq!(counted(worker, Metric::BreakerClosed), 1);
    for _ in 0..20 {
        assert_eq!(
            send_one(worker, "gpt", s(9), "200", ANSWER).step,
            RequestStep::Send,
            "slow start has no effect without another target"
        );
    }
}

#[test]
fn one_probe_at_a_time_is_allowed_over_all_workers() {
    let shelf: Rc<RefCell<Shelf>> = Rc::default();
    let first = &mut worker_on(lone(), Memory::on(Rc::clone(&shelf)));
    let second = &mut worker_on(lone(), Memory::on(shelf));
    outage(first, s(0));
    second.tick(s(33));
    let probe = pass_at(first, loop_request(CHAT, 1), br#"{"model":"gpt"}"#, 99, s(34));
    assert_eq!(probe.step, RequestStep::Send);
    assert_eq!(
        refusal(&send_one(second, "gpt", s(34), "200", ANSWER).step).0,
        503,
        "this worker's view is stale, but the lease is taken in the shared record"
    );
    // The probe's client leaves. The lease goes to the next request on any worker.
    let mut probe = probe;
    probe.exchange.finish(first, Ending::ClientGone, s(35));
    second.tick(s(35));
    assert_eq!(send_one(second, "gpt", s(35), "200", ANSWER).step, RequestStep::Send);
}

#[test]
fn a_refused_credential_blocks_its_account_and_no_other() {
    let worker = &mut worker(config_with(json!({"models": {
        "gpt": {"targets": ["gpt-a"]}, "other": {"tiers": [["gpt-a"], ["gpt-b"]]},
    }})));
    send_one(worker, "gpt", s(0), "401", br#"{"error":{"message":"bad key","code":"invalid_api_key"}}"#);
    let refused = send_one(worker, "gpt", s(1), "200", ANSWER);
    assert_eq!(refusal(&refused.step).1["error"]["llm_failsafe"]["targets"][0]["reason"], "blocked");
    let mut other = send_one(worker, "other", s(1), "200", ANSWER);
    assert_eq!(key(&other), Some("Bearer sk-provider-b"));
    assert_eq!(other.response.get("x-llm-fallback"), Some("blocked"));
    other.response.headers.clear();
}

#[test]
fn an_unreachable_endpoint_opens_for_all_its_targets() {
    let worker = &mut worker(load(CONFIG));
    for _ in 0..5 {
        let mut pass = pass_at(worker, loop_request(CHAT, 1), br#"{"model":"gpt"}"#, 99, s(0));
        pass.answer_from(
            worker,
            Origin::Envoy { received: crate::retry::Received::Never },
            &[(":status", "503")],
            b"upstream connect error",
        );
        pass.exchange.finish(worker, Ending::Complete, s(0));
    }
    let pass = send_one(worker, "chat", s(1), "200", ANSWER);
    assert_eq!(key(&pass), Some("Bearer sk-provider-c"), "gpt-b has the same endpoint");
}

#[test]
fn a_throttled_target_is_refused_with_429() {
    let worker = &mut worker(lone());
    send_one(worker, "gpt", s(0), "429", br#"{"error":{"message":"slow","type":"rate_limit_error"}}"#);
    let refused = send_one(worker, "gpt", s(0), "200", ANSWER);
    let (status, body) = refusal(&refused.step);
    assert_eq!((status, &body["error"]["code"]), (429, &json!("all_targets_throttled")));
    assert_eq!(
        send_one(worker, "other", s(0), "200", ANSWER).step,
        RequestStep::Send,
        "another model of the account"
    );
    assert_eq!(send_one(worker, "gpt", s(1), "200", ANSWER).step, RequestStep::Send);
}

#[test]
fn a_providers_retry_after_holds_for_all_requests() {
    let worker = &mut worker(lone());
    let mut pass = pass_at(worker, loop_request(CHAT, 1), br#"{"model":"gpt"}"#, 99, s(0));
    pass.answer(worker, &[(":status", "429"), ("retry-after", "7")], b"{}");
    pass.exchange.finish(worker, Ending::Complete, s(0));
    let refused = send_one(worker, "gpt", s(3), "200", ANSWER);
    let RequestStep::Answer(answer) = &refused.step else { panic!() };
    assert!(answer.headers.contains(&("retry-after", "4".to_owned())), "{answer:?}");
    assert_eq!(send_one(worker, "gpt", s(7), "200", ANSWER).step, RequestStep::Send);
}

#[test]
fn errors_caused_by_the_request_never_open_the_target() {
    for (status, body) in [
        ("400", &br#"{"error":{"message":"bad","type":"invalid_request_error"}}"#[..]),
        ("403", br#"{"error":{"message":"no"}}"#),
        ("413", br#"{"error":{"message":"big"}}"#),
        ("400", br#"{"error":{"message":"long","code":"context_length_exceeded"}}"#),
    ] {
        let worker = &mut worker(lone());
        for _ in 0..50 {
            assert_eq!(send_one(worker, "gpt", s(0), status, body).step, RequestStep::Send, "{status}");
        }
    }
}

#[test]
fn a_stream_counts_as_a_success_only_at_its_end() {
    let content = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
    let end =
        b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let run = |worker: &mut Worker, tail: &[u8]| {
        let mut pass = pass_at(worker, loop_request(CHAT, 1), br#"{"model":"gpt","stream":true}"#, 99, s(0));
        assert_eq!(pass.step, RequestStep::Send);
        pass.answer(worker, OK_STREAM, content);
        pass.response.body = tail.to_vec();
        pass.exchange.response_body(worker, tail.len(), true, s(0), &mut pass.response);
        pass.exchange.finish(worker, Ending::Complete, s(0));
        assert!(pass.response.body.starts_with(tail), "the body is unchanged, and a notice may follow");
    };
    let cut = &mut worker(lone());
    for _ in 0..5 {
        run(cut, b": bye\n\n");
    }
    assert_eq!(counted(cut, Metric::BreakerOpened), 1, "truncated under a 200");
    let whole = &mut worker(lone());
    for _ in 0..20 {
        run(whole, end);
    }
    assert_eq!(counted(whole, Metric::BreakerOpened), 0);
}

const CONTENT: &[u8] = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";

/// A stream of content and `tail`, in pieces. Then the client leaves.
fn stream_to_a_client_that_leaves(worker: &mut Worker, tail: &[u8], piece: usize) {
    let mut pass = pass_at(worker, loop_request(CHAT, 1), br#"{"model":"gpt","stream":true}"#, 99, s(0));
    assert_eq!(pass.step, RequestStep::Send);
    let block = crate::base::HeaderBlock::of(OK_STREAM);
    let origin = || Origin::Upstream;
    pass.exchange.response_headers(worker, block, false, s(0), origin, &mut pass.response);
    for piece in [CONTENT].into_iter().chain(tail.chunks(piece)) {
        pass.response.body = piece.to_vec();
        pass.exchange.response_body(worker, piece.len(), false, s(0), &mut pass.response);
        pass.exchange.released();
    }
    pass.exchange.finish(worker, Ending::ClientGone, s(0));
}

fn metrics(worker: &mut Worker) -> Vec<(Metric, i64)> {
    let mut counts = Vec::new();
    worker.tally.drain(|metric, delta| counts.push((metric, delta)));
    counts
}

#[test]
fn a_settled_stream_counts_although_its_client_leaves_before_the_end() {
    let error = b"data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}\n\n";
    let end =
        b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    for piece in [1, 1000] {
        let failing = &mut worker(lone());
        for _ in 0..5 {
            stream_to_a_client_that_leaves(failing, error, piece);
        }
        assert!(
            metrics(failing).contains(&(Metric::BreakerOpened, 1)),
            "an error event counts although the client leaves"
        );

        let healthy = &mut worker(lone());
        for _ in 0..4 {
            send_one(healthy, "gpt", s(0), "500", ERROR);
        }
        stream_to_a_client_that_leaves(healthy, end, piece);
        for _ in 0..4 {
            send_one(healthy, "gpt", s(0), "500", ERROR);
        }
        let counts = metrics(healthy);
        let unwanted =
            |(metric, _): &(Metric, i64)| matches!(metric, Metric::BreakerOpened | Metric::ClientAborts);
        assert!(!counts.iter().any(unwanted), "the client had the whole response: {counts:?}");

        let left = &mut worker(lone());
        for _ in 0..20 {
            stream_to_a_client_that_leaves(left, CONTENT, piece);
        }
        let counts = metrics(left);
        assert!(counts.contains(&(Metric::ClientAborts, 20)), "{counts:?}");
        assert!(!counts.iter().any(|(metric, _)| *metric == Metric::BreakerOpened));
    }
}

#[test]
fn a_failure_in_a_stream_is_blamed_by_its_class() {
    let declined =
        br#"data: {"error":{"message":"no","type":"invalid_request_error","code":"content_filter"}}"#;
    let declined = [declined.as_slice(), b"\n\n"].concat();
    let worker = &mut worker(lone());
    for _ in 0..20 {
        stream_to_a_client_that_leaves(worker, &declined, 1000);
    }
    assert_eq!(
        counted(worker, Metric::BreakerOpened),
        0,
        "refused content does not count against the target"
    );
}

#[test]
fn an_error_under_a_200_counts_even_if_nobody_is_left() {
    let error = br#"{"error":{"code":502,"message":"Provider returned error"}}"#;
    let long = [error.as_slice(), &[b' '; 20_000]].concat();
    // Nobody is left: one has a single target, the other no retry loop.
    let single = || config_with(json!({"retry_loop": false, "models": {"gpt": {"targets": ["gpt-a"]}}}));
    for config in [&lone as &dyn Fn() -> _, &single] {
        for (body, opened) in [(ANSWER, 0), (&long, 1), (error, 1)] {
            let worker = &mut worker(config());
            for _ in 0..5 {
                let pass = send_one(worker, "gpt", s(0), "200", body);
                assert_eq!(pass.response.body, body, "the body is unchanged");
            }
            assert_eq!(counted(worker, Metric::BreakerOpened), opened, "{} bytes", body.len());
        }
    }
}

#[test]
fn a_new_worker_knows_open_breakers_from_its_first_request() {
    let shelf: Rc<RefCell<Shelf>> = Rc::default();
    outage(&mut worker_on(lone(), Memory::on(Rc::clone(&shelf))), s(0));
    // A worker after a change of the configuration or a crash, before its first tick.
    let new = &mut worker_on(lone(), Memory::on(shelf));
    assert_eq!(refusal(&send_one(new, "gpt", s(1), "200", ANSWER).step).0, 503);
}

#[test]
fn shadow_mode_counts_what_breakers_would_have_done_and_sends_anyway() {
    let models = json!({"gpt": {"targets": ["gpt-a"]}});
    let worker = &mut worker(config_with(json!({"models": models, "mode": "shadow"})));
    outage(worker, s(0));
    assert_eq!(send_one(worker, "gpt", s(1), "200", ANSWER).step, RequestStep::Send);
    let mut counts = Vec::new();
    worker.tally.drain(|metric, delta| counts.push((metric, delta)));
    assert!(counts.contains(&(Metric::BreakerOpened, 1)));
    assert!(counts.contains(&(Metric::ShadowWouldRefuse, 1)), "{counts:?}");
}

#[test]
fn an_open_target_is_tried_anyway_only_if_configured() {
    let gpt = json!({"targets": ["gpt-a"], "when_all_open": "try_anyway"});
    let worker = &mut worker(config_with(json!({"models": {"gpt": gpt}})));
    outage(worker, s(0));
    let pass = send_one(worker, "gpt", s(1), "200", ANSWER);
    assert_eq!(pass.response.get("x-llm-fallback"), Some("tried_anyway"));
    assert_eq!(counted(worker, Metric::TriedAnyway), 1);
}

#[test]
fn a_healthy_request_makes_no_shared_data_call() {
    let shelf: Rc<RefCell<Shelf>> = Rc::default();
    let mut memory = Memory::on(shelf);
    memory.broken = true;
    // The store fails on every call, so any call would be counted as a failure.
    let worker = &mut worker_on(load(CONFIG), memory);
    for _ in 0..100 {
        assert_eq!(send_one(worker, "chat", s(0), "200", ANSWER).step, RequestStep::Send);
    }
    assert_eq!(counted(worker, Metric::SharedDataFailed), 0);
}

#[test]
fn traffic_continues_when_shared_data_fails_and_the_failures_are_counted() {
    let mut memory = Memory::new();
    memory.broken = true;
    let worker = &mut worker_on(lone(), memory);
    outage(worker, s(0));
    // Five breaker changes and four grants from the retry budget. The request that trips the breaker gets
    // no retry.
    assert_eq!(counted(worker, Metric::SharedDataFailed), 9);
    // The worker keeps its own view: it refuses while the breaker is open and probes afterwards.
    assert_eq!(refusal(&send_one(worker, "gpt", s(1), "200", ANSWER).step).0, 503);
    assert_eq!(send_one(worker, "gpt", s(40), "200", ANSWER).step, RequestStep::Send);
}
