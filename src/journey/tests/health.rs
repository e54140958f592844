//! What breakers do to requests, over several workers that share their data.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use super::super::test_support::*;
use super::super::{Ending, RequestStep, Worker};
use super::{ANSWER, CHAT, OK_JSON, OK_STREAM, refusal};
use crate::base::Timestamp;
use crate::base::memory::{Memory, Shelf};
use crate::config::Config;
use crate::record::Metric;

const ERROR: &[u8] = br#"{"error":{"message":"no","type":"server_error"}}"#;

fn s(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

/// One request, one attempt, the provider's answer, the end.
fn one(worker: &mut Worker, model: &str, now: Timestamp, status: &str, body: &[u8]) -> Pass {
    let request = loop_request(CHAT, 1);
    let wanted = json!({"model": model}).to_string();
    let mut pass = pass_at(worker, request, wanted.as_bytes(), 1000, now);
    if pass.step == RequestStep::Send {
        pass.answer(worker, &[(":status", status), ("content-type", "application/json")], body);
    }
    pass.exchange.finish(worker, Ending::Complete, now);
    worker.journeys.borrow_mut().expire(now.after(Duration::from_secs(60)));
    pass
}

fn key(pass: &Pass) -> Option<&str> {
    pass.request.get("authorization")
}

/// A model of one target, so that nothing hides what its breakers do.
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
        assert_eq!(one(worker, "gpt", now, "500", ERROR).step, RequestStep::Send);
    }
}

#[test]
fn a_failing_target_is_left_alone_then_probed_then_used_again() {
    let worker = &mut worker(lone());
    outage(worker, s(0));
    let refused = one(worker, "gpt", s(1), "200", ANSWER);
    let (status, body) = refusal(&refused.step);
    assert_eq!((status, &body["error"]["code"]), (503, &json!("all_targets_open")));
    assert_eq!(body["error"]["llm_failsafe"]["targets"], json!([{"target": "gpt-a", "reason": "open"}]));
    let RequestStep::Answer(answer) = &refused.step else { panic!() };
    let wait: u64 =
        answer.headers.iter().find(|(name, _)| *name == "retry-after").unwrap().1.parse().unwrap();
    assert!((29..=33).contains(&wait), "{wait}");

    assert_eq!(one(worker, "gpt", s(34), "200", ANSWER).step, RequestStep::Send, "a probe");
    assert_eq!(one(worker, "gpt", s(35), "200", ANSWER).step, RequestStep::Send, "another");
    assert_eq!(counted(worker, Metric::BreakerClosed), 1);
    for _ in 0..20 {
        assert_eq!(
            one(worker, "gpt", s(36), "200", ANSWER).step,
            RequestStep::Send,
            "nobody else is there to ramp with"
        );
    }
}

#[test]
fn while_one_request_probes_others_are_refused_or_go_elsewhere() {
    let shelf: Rc<RefCell<Shelf>> = Rc::default();
    let first = &mut worker_on(lone(), Memory::on(Rc::clone(&shelf)));
    let second = &mut worker_on(lone(), Memory::on(shelf));
    outage(first, s(0));
    second.tick(s(33));
    let probe = pass_at(first, loop_request(CHAT, 1), br#"{"model":"gpt"}"#, 99, s(34));
    assert_eq!(probe.step, RequestStep::Send);
    assert_eq!(
        refusal(&one(second, "gpt", s(34), "200", ANSWER).step).0,
        503,
        "its own view is old, the lease is not"
    );
    // The probe's client leaves: the lease goes to the next request, on whichever worker.
    let mut probe = probe;
    probe.exchange.finish(first, Ending::ClientGone, s(35));
    second.tick(s(35));
    assert_eq!(one(second, "gpt", s(35), "200", ANSWER).step, RequestStep::Send);
}

#[test]
fn a_refused_credential_blocks_the_account_for_all_its_models_and_no_other_account() {
    let worker = &mut worker(config_with(json!({"models": {
        "gpt": {"targets": ["gpt-a"]}, "other": {"tiers": [["gpt-a"], ["gpt-b"]]},
    }})));
    one(worker, "gpt", s(0), "401", br#"{"error":{"message":"bad key","code":"invalid_api_key"}}"#);
    let refused = one(worker, "gpt", s(1), "200", ANSWER);
    assert_eq!(refusal(&refused.step).1["error"]["llm_failsafe"]["targets"][0]["reason"], "blocked");
    let mut other = one(worker, "other", s(1), "200", ANSWER);
    assert_eq!(key(&other), Some("Bearer sk-provider-b"));
    assert_eq!(other.response.get("x-llm-fallback"), Some("blocked"));
    other.response.headers.clear();
}

#[test]
fn an_endpoint_that_cannot_be_reached_takes_everything_behind_it_out() {
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
    let pass = one(worker, "chat", s(1), "200", ANSWER);
    assert_eq!(key(&pass), Some("Bearer sk-provider-c"), "not gpt-b either");
}

#[test]
fn rate_limits_throttle_and_are_refused_as_such() {
    let worker = &mut worker(lone());
    one(worker, "gpt", s(0), "429", br#"{"error":{"message":"slow","type":"rate_limit_error"}}"#);
    let refused = one(worker, "gpt", s(0), "200", ANSWER);
    let (status, body) = refusal(&refused.step);
    assert_eq!((status, &body["error"]["code"]), (429, &json!("all_targets_throttled")));
    assert_eq!(
        one(worker, "other", s(0), "200", ANSWER).step,
        RequestStep::Send,
        "another model of the account"
    );
    assert_eq!(one(worker, "gpt", s(1), "200", ANSWER).step, RequestStep::Send);
}

#[test]
fn a_providers_word_on_how_long_to_wait_holds_for_everyone() {
    let worker = &mut worker(lone());
    let mut pass = pass_at(worker, loop_request(CHAT, 1), br#"{"model":"gpt"}"#, 99, s(0));
    pass.answer(worker, &[(":status", "429"), ("retry-after", "7")], b"{}");
    pass.exchange.finish(worker, Ending::Complete, s(0));
    let refused = one(worker, "gpt", s(3), "200", ANSWER);
    let RequestStep::Answer(answer) = &refused.step else { panic!() };
    assert!(answer.headers.contains(&("retry-after", "4".to_owned())), "{answer:?}");
    assert_eq!(one(worker, "gpt", s(7), "200", ANSWER).step, RequestStep::Send);
}

#[test]
fn what_is_no_fault_of_the_target_never_opens_it() {
    for (status, body) in [
        ("400", &br#"{"error":{"message":"bad","type":"invalid_request_error"}}"#[..]),
        ("403", br#"{"error":{"message":"no"}}"#),
        ("413", br#"{"error":{"message":"big"}}"#),
        ("400", br#"{"error":{"message":"long","code":"context_length_exceeded"}}"#),
    ] {
        let worker = &mut worker(lone());
        for _ in 0..50 {
            assert_eq!(one(worker, "gpt", s(0), status, body).step, RequestStep::Send, "{status}");
        }
    }
}

#[test]
fn a_stream_is_a_success_only_at_its_end() {
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
        assert!(pass.response.body.starts_with(tail), "nothing is altered; a notice may follow");
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

/// A stream that begins with content and goes on with `tail`, piece by piece, and whose client then leaves.
fn streamed_to_a_client_that_leaves(worker: &mut Worker, tail: &[u8], piece: usize) {
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
fn what_a_stream_has_come_to_counts_though_its_client_leaves_before_the_connection_ends() {
    let error = b"data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}\n\n";
    let end =
        b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    for piece in [1, 1000] {
        let failing = &mut worker(lone());
        for _ in 0..5 {
            streamed_to_a_client_that_leaves(failing, error, piece);
        }
        assert!(metrics(failing).contains(&(Metric::BreakerOpened, 1)), "clients leave at an error event");

        let healthy = &mut worker(lone());
        for _ in 0..4 {
            one(healthy, "gpt", s(0), "500", ERROR);
        }
        streamed_to_a_client_that_leaves(healthy, end, piece);
        for _ in 0..4 {
            one(healthy, "gpt", s(0), "500", ERROR);
        }
        let counts = metrics(healthy);
        let unwanted =
            |(metric, _): &(Metric, i64)| matches!(metric, Metric::BreakerOpened | Metric::ClientAborts);
        assert!(!counts.iter().any(unwanted), "they had the whole answer: {counts:?}");

        let left = &mut worker(lone());
        for _ in 0..20 {
            streamed_to_a_client_that_leaves(left, CONTENT, piece);
        }
        let counts = metrics(left);
        assert!(counts.contains(&(Metric::ClientAborts, 20)), "{counts:?}");
        assert!(!counts.iter().any(|(metric, _)| *metric == Metric::BreakerOpened));
    }
}

#[test]
fn a_failure_within_a_stream_is_blamed_as_what_it_is() {
    let declined =
        br#"data: {"error":{"message":"no","type":"invalid_request_error","code":"content_filter"}}"#;
    let declined = [declined.as_slice(), b"\n\n"].concat();
    let worker = &mut worker(lone());
    for _ in 0..20 {
        streamed_to_a_client_that_leaves(worker, &declined, 1000);
    }
    assert_eq!(counted(worker, Metric::BreakerOpened), 0, "refused content is no fault of the target");
}

#[test]
fn an_error_under_a_success_counts_also_where_it_could_lead_nowhere_else() {
    let error = br#"{"error":{"code":502,"message":"Provider returned error"}}"#;
    let long = [error.as_slice(), &[b' '; 20_000]].concat();
    // Held nowhere: there is one target, or no loop.
    for config in
        [lone(), config_with(json!({"retry_loop": false, "models": {"gpt": {"targets": ["gpt-a"]}}}))]
    {
        let worker = &mut worker(config);
        for (body, opened) in [(ANSWER, 0), (&long, 0), (error, 1)] {
            for _ in 0..5 {
                let pass = one(worker, "gpt", s(0), "200", body);
                assert_eq!(pass.response.body, body, "nothing is altered");
            }
            assert_eq!(counted(worker, Metric::BreakerOpened), opened, "{} bytes", body.len());
        }
    }
}

#[test]
fn a_new_worker_knows_from_its_first_request_what_the_others_have_shared() {
    let shelf: Rc<RefCell<Shelf>> = Rc::default();
    outage(&mut worker_on(lone(), Memory::on(Rc::clone(&shelf))), s(0));
    // After a change of the configuration, or of the VM, and before its first tick.
    let new = &mut worker_on(lone(), Memory::on(shelf));
    assert_eq!(refusal(&one(new, "gpt", s(1), "200", ANSWER).step).0, 503);
}

#[test]
fn shadow_counts_what_it_would_have_done_and_does_nothing() {
    let models = json!({"gpt": {"targets": ["gpt-a"]}});
    let worker = &mut worker(config_with(json!({"models": models, "mode": "shadow"})));
    outage(worker, s(0));
    assert_eq!(one(worker, "gpt", s(1), "200", ANSWER).step, RequestStep::Send);
    let mut counts = Vec::new();
    worker.tally.drain(|metric, delta| counts.push((metric, delta)));
    assert!(counts.contains(&(Metric::BreakerOpened, 1)));
    assert!(counts.contains(&(Metric::ShadowWouldRefuse, 1)), "{counts:?}");
}

#[test]
fn a_lone_open_target_is_tried_anyway_only_if_configured() {
    let gpt = json!({"targets": ["gpt-a"], "when_all_open": "try_anyway"});
    let worker = &mut worker(config_with(json!({"models": {"gpt": gpt}})));
    outage(worker, s(0));
    let pass = one(worker, "gpt", s(1), "200", ANSWER);
    assert_eq!(pass.response.get("x-llm-fallback"), Some("tried_anyway"));
    assert_eq!(counted(worker, Metric::TriedAnyway), 1);
}

#[test]
fn a_healthy_request_costs_no_call_of_the_shared_data() {
    let shelf: Rc<RefCell<Shelf>> = Rc::default();
    let mut memory = Memory::on(shelf);
    memory.broken = true;
    // A store that fails on every call is never noticed by healthy traffic.
    let worker = &mut worker_on(load(CONFIG), memory);
    for _ in 0..100 {
        assert_eq!(one(worker, "chat", s(0), "200", ANSWER).step, RequestStep::Send);
    }
    assert_eq!(counted(worker, Metric::SharedDataFailed), 0);
}

#[test]
fn when_shared_data_fails_traffic_goes_on_and_a_counter_tells() {
    let mut memory = Memory::new();
    memory.broken = true;
    let worker = &mut worker_on(lone(), memory);
    outage(worker, s(0));
    // Five changes of a breaker, and four further attempts out of the budget: what trips it is not tried again.
    assert_eq!(counted(worker, Metric::SharedDataFailed), 9);
    // This worker still knows what it saw itself, and finds out by itself when it is over.
    assert_eq!(refusal(&one(worker, "gpt", s(1), "200", ANSWER).step).0, 503);
    assert_eq!(one(worker, "gpt", s(40), "200", ANSWER).step, RequestStep::Send);
    let _ = OK_JSON;
}
