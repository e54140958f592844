//! Requests that are held before their next attempt.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::test_support::*;
use super::super::{Ending, RequestStep, Worker};
use super::{ANSWER, CHAT, OK_JSON, first, refusal};
use crate::base::Timestamp;
use crate::record::Metric;

const ERROR: &[u8] = br#"{"error":{"message":"no"}}"#;
const BODY: &[u8] = br#"{"messages":[],"model":"chat"}"#;

fn ms(ms: u64) -> Timestamp {
    NOW.after(Duration::from_millis(ms))
}

/// A worker whose model has one target.
fn one_target(retry: Value) -> Worker {
    worker(config_with(json!({"models": {"chat": {"targets": ["gpt-a"], "retry": retry}}})))
}

/// Lets the first attempt fail with these headers. Returns the class for which the edge is asked to retry.
fn fail_first(worker: &mut Worker, headers: &[(&str, &str)]) -> Option<String> {
    let mut sent = first(worker);
    sent.answer(worker, headers, ERROR);
    sent.exchange.finish(worker, Ending::Complete, NOW);
    sent.response.get("x-llm-retry").map(str::to_owned)
}

/// The pass that the edge starts next, with the body in pieces.
fn next_pass(worker: &mut Worker, attempt: u8, piece: usize) -> Pass {
    let mut pass = pass(worker, loop_request(CHAT, attempt), BODY, piece);
    if pass.step == RequestStep::Hold {
        // The held body is still in the host's buffer.
        pass.request.body = BODY.to_vec();
    }
    pass
}

/// Wakes a held pass whenever it is due. Returns when it left or was answered, and the step.
fn wait(worker: &mut Worker, pass: &mut Pass) -> (Timestamp, RequestStep) {
    for _ in 0..1000 {
        let due = pass.exchange.due().expect("held");
        match pass.exchange.wake(worker, due, &mut pass.request) {
            RequestStep::Hold => {}
            step => return (due, step),
        }
    }
    panic!("held forever")
}

#[test]
fn the_only_target_gets_the_request_again_after_a_back_off() {
    for piece in [7, 1000] {
        let worker = &mut one_target(json!({"backoff": {"base": "10s", "max": "10s"}}));
        assert_eq!(fail_first(worker, &[(":status", "500")]).as_deref(), Some("server"));
        let mut held = next_pass(worker, 2, piece);
        assert_eq!(held.step, RequestStep::Hold);
        assert!(
            held.exchange.due().is_some_and(|due| due > NOW && due < ms(10_000)),
            "{:?}",
            held.exchange.due()
        );
        assert_eq!(
            held.exchange.wake(worker, NOW, &mut held.request),
            RequestStep::Hold,
            "not before its time"
        );
        let (_, step) = wait(worker, &mut held);
        assert_eq!(step, RequestStep::Send);
        assert_eq!(held.request.get("authorization"), Some("Bearer sk-provider-a"));
        assert_eq!(held.request.get("x-llm-journey"), None);
        assert_eq!(held.request.get("content-length"), Some("34"));
        assert_eq!(held.sent_json(), json!({"messages": [], "model": "gpt-real"}));
        held.answer(worker, OK_JSON, ANSWER);
        assert_eq!(held.response.get("x-llm-attempts"), Some("2"));
        assert_eq!(held.response.get("x-llm-fallback"), None, "it is still the first choice");
        held.exchange.finish(worker, Ending::Complete, NOW);
        assert!(worker.journeys.borrow().is_empty());
        let mut waiting = Vec::new();
        worker.tally.drain(|metric, delta| waiting.push((metric, delta)));
        assert!(!waiting.iter().any(|(metric, _)| *metric == Metric::Waiting), "{waiting:?}");
        assert!(waiting.contains(&(Metric::Repetitions, 1)) && waiting.contains(&(Metric::Waits, 1)));
    }
}

#[test]
fn a_held_request_leaves_when_its_time_and_its_body_have_come() {
    for trailers in [false, true] {
        let worker = &mut one_target(json!({}));
        fail_first(worker, &[(":status", "500")]);
        let mut request = loop_request(CHAT, 2);
        let mut exchange = super::super::Exchange::default();
        let block = request.block();
        exchange.request_headers(worker, &block, false, NOW, &mut request);
        request.body = BODY.to_vec();
        assert_eq!(exchange.request_body(worker, 20, false, NOW, &mut request), RequestStep::Hold);
        assert_eq!(exchange.wake(worker, ms(1000), &mut request), RequestStep::Hold);
        let last = exchange.request_body(worker, BODY.len(), !trailers, ms(1005), &mut request);
        assert_eq!(last, RequestStep::Hold);
        if trailers {
            assert_eq!(exchange.request_trailers(worker, ms(1005), &mut request), RequestStep::Hold);
        }
        assert_eq!(exchange.wake(worker, ms(1010), &mut request), RequestStep::Send);
        assert_eq!(String::from_utf8_lossy(&request.body), r#"{"messages":[],"model":"gpt-real"}"#);
    }
}

#[test]
fn body_that_arrives_after_the_release_is_edited_as_it_streams_by() {
    let worker = &mut one_target(json!({}));
    fail_first(worker, &[(":status", "500")]);
    let mut request = loop_request(CHAT, 2);
    let mut exchange = super::super::Exchange::default();
    let block = request.block();
    let step = exchange.request_headers(worker, &block, false, NOW, &mut request);
    assert_eq!(step, RequestStep::Hold);
    let (one, other) = BODY.split_at(20);
    request.body = one.to_vec();
    assert_eq!(exchange.request_body(worker, one.len(), false, NOW, &mut request), RequestStep::Hold);
    assert_eq!(
        exchange.wake(worker, ms(1000), &mut request),
        RequestStep::Hold,
        "the body is not complete yet"
    );
    assert_eq!(exchange.due(), Some(ms(1010)));
    assert_eq!(exchange.wake(worker, ms(14_999), &mut request), RequestStep::Hold);
    assert_eq!(exchange.wake(worker, ms(16_000), &mut request), RequestStep::Send, "the body took too long");
    let mut sent = std::mem::take(&mut request.body);
    request.body = other.to_vec();
    assert_eq!(exchange.request_body(worker, other.len(), true, NOW, &mut request), RequestStep::Send);
    sent.append(&mut request.body);
    assert_eq!(String::from_utf8(sent).unwrap(), r#"{"messages":[],"model":"gpt-real"}"#);
}

#[test]
fn a_request_waits_for_a_rate_limit_up_to_the_cap() {
    let worker = &mut one_target(json!({}));
    assert!(fail_first(worker, &[(":status", "429"), ("retry-after", "3")]).is_some());
    let mut held = next_pass(worker, 2, 1000);
    let (at, step) = wait(worker, &mut held);
    assert_eq!(step, RequestStep::Send);
    assert!(at >= ms(3000) && at <= ms(3100), "{at:?}");

    let worker = &mut one_target(json!({"retry_after_cap": "2s"}));
    assert_eq!(
        fail_first(worker, &[(":status", "429"), ("retry-after", "3")]),
        None,
        "the wait is longer than the cap"
    );
    assert!(worker.journeys.borrow().is_empty());
}

#[test]
fn retry_after_on_an_error_under_a_200_is_followed() {
    let worker = &mut one_target(json!({}));
    let mut sent = first(worker);
    let headers = [(":status", "200"), ("content-type", "application/json"), ("retry-after", "3")];
    sent.answer(worker, &headers, br#"{"error":{"message":"Rate limit exceeded","code":429}}"#);
    sent.exchange.finish(worker, Ending::Complete, NOW);
    assert_eq!(sent.response.get("x-llm-retry"), Some("rate_limited"));
    let mut held = next_pass(worker, 2, 1000);
    let (at, step) = wait(worker, &mut held);
    assert_eq!(step, RequestStep::Send);
    assert!(at >= ms(3000) && at <= ms(3100), "{at:?}");
}

#[test]
fn retry_after_keeps_other_requests_away_too() {
    let worker = &mut worker(load(CONFIG));
    assert!(fail_first(worker, &[(":status", "503"), ("retry-after", "7")]).is_some());
    let another = |worker: &mut Worker, at| {
        let mut request = loop_request(CHAT, 1);
        request.set_journey("00000000000000000000000000000009");
        let mut sent = pass_at(worker, request, BODY, 1000, at);
        sent.exchange.finish(worker, Ending::ClientGone, at);
        sent.request.get("authorization").map(str::to_owned)
    };
    assert_eq!(another(worker, ms(6_900)).as_deref(), Some("Bearer sk-provider-b"));
    assert_eq!(another(worker, ms(7_000)).as_deref(), Some("Bearer sk-provider-a"));
}

#[test]
fn a_request_that_would_wait_in_vain_gets_a_retry_after_at_once() {
    let worker = &mut one_target(json!({}));
    fail_first(worker, &[(":status", "429"), ("retry-after", "3")]);
    let mut held = next_pass(worker, 2, 1000);
    // Another request learns in the meantime that the limit lasts longer.
    throttle(worker, 0, 60);
    let (at, step) = wait(worker, &mut held);
    assert!(at <= ms(100), "not held for as long as the cap allows: {at:?}");
    let (status, body) = refusal(&step);
    assert_eq!((status, &body["error"]["code"]), (429, &json!("all_targets_throttled")));
    let RequestStep::Answer(answer) = step else { panic!() };
    assert!(answer.headers.contains(&("retry-after", "60".to_owned())), "{:?}", answer.headers);
    held.exchange.finish(worker, Ending::Complete, at);
    assert!(worker.journeys.borrow().is_empty());
    assert_eq!(counted(worker, Metric::Waiting), 0);
}

#[test]
fn a_client_that_leaves_while_held_leaves_no_journey_and_no_waiter() {
    let worker = &mut one_target(json!({}));
    fail_first(worker, &[(":status", "500")]);
    let mut held = next_pass(worker, 2, 1000);
    held.exchange.finish(worker, Ending::ClientGone, NOW);
    assert!(worker.journeys.borrow().is_empty());
    let mut counts = Vec::new();
    worker.tally.drain(|metric, delta| counts.push((metric, delta)));
    assert!(!counts.iter().any(|(metric, _)| *metric == Metric::Waiting));
    assert!(counts.contains(&(Metric::ClientAborts, 1)));
    assert_eq!(held.exchange.due(), None);
}

#[test]
fn no_target_gets_more_than_attempts_per_target() {
    for (attempts_per_target, expected) in [(1, 1), (2, 2), (3, 3), (10, 4)] {
        let worker = &mut one_target(json!({"attempts": 4, "attempts_per_target": attempts_per_target}));
        let mut sent = first(worker);
        let mut attempts = 1;
        loop {
            sent.answer(worker, &[(":status", "503")], ERROR);
            sent.exchange.finish(worker, Ending::Complete, NOW);
            if sent.response.get("x-llm-retry").is_none() {
                break;
            }
            attempts += 1;
            sent = next_pass(worker, attempts, 1000);
            assert_eq!(wait(worker, &mut sent).1, RequestStep::Send);
        }
        assert_eq!(attempts, expected, "{attempts_per_target}");
    }
}

#[test]
fn x_should_retry_true_sends_the_request_to_the_same_target_only() {
    let worker = &mut worker(load(CONFIG));
    assert!(fail_first(worker, &[(":status", "409"), ("x-should-retry", "false")]).is_some(), "elsewhere");
    let worker = &mut super::worker(load(CONFIG));
    assert_eq!(
        fail_first(worker, &[(":status", "400"), ("x-should-retry", "true")]).as_deref(),
        Some("invalid")
    );
    let mut held = next_pass(worker, 2, 1000);
    assert_eq!(wait(worker, &mut held).1, RequestStep::Send);
    assert_eq!(held.request.get("authorization"), Some("Bearer sk-provider-a"));
}

#[test]
fn the_last_error_says_why_nothing_more_was_tried_and_whether_to_retry() {
    let advice = |retry: Value, headers: &[(&str, &str)]| {
        let worker = &mut one_target(retry);
        let mut sent = first(worker);
        sent.answer(worker, headers, ERROR);
        let get = |name| sent.response.get(name).map(str::to_owned);
        let found = [get("x-llm-reason"), get("retry-after"), get("x-should-retry")];
        assert_eq!(sent.response.get("x-llm-retry"), None);
        assert_eq!(sent.response.body, ERROR, "the provider's own error");
        found.map(Option::unwrap_or_default)
    };
    let once = || json!({"attempts": 1});
    // Nothing says when a retry would help, so a retry by the client could only add load.
    assert_eq!(advice(once(), &[(":status", "500")]), ["attempts_used_up", "", "false"]);
    assert_eq!(
        advice(json!({"attempts_per_target": 1}), &[(":status", "503")]),
        ["nothing_left", "", "false"]
    );
    // The provider's own `retry-after` stays.
    assert_eq!(advice(once(), &[(":status", "503"), ("retry-after", "7")]), ["attempts_used_up", "7", ""]);
    assert_eq!(advice(json!({}), &[(":status", "429"), ("retry-after", "30")]), ["wait_too_long", "30", ""]);
    // For a rate limit without a time the filter sets one.
    assert_eq!(advice(once(), &[(":status", "429")]), ["attempts_used_up", "1", ""]);
    // SDKs ignore a longer wait and would retry at once.
    assert_eq!(
        advice(json!({}), &[(":status", "429"), ("retry-after", "600")]),
        ["wait_too_long", "600", "false"]
    );
    let [reason, wait, again] = advice(json!({}), &[(":status", "401")]);
    assert_eq!((reason.as_str(), again.as_str()), ("nothing_left", "false"));
    assert!(wait.parse::<u64>().is_ok_and(|wait| wait >= 300), "{wait}");
    // The request itself is wrong: the provider's error stands alone.
    assert_eq!(advice(json!({}), &[(":status", "400")]), ["", "", ""]);
}

#[test]
fn a_held_request_past_its_total_is_not_sent() {
    let model = json!({"targets": ["gpt-a"], "retry": {"backoff": {"base": "1s", "max": "1s"}}, "stream": {"total": "1s"}});
    let worker = &mut worker(config_with(json!({"models": {"chat": model}})));
    assert!(fail_first(worker, &[(":status", "500")]).is_some());
    let mut held = next_pass(worker, 2, 1000);
    assert!(held.exchange.due().is_some_and(|due| due < ms(1000)), "within its total");
    // The tick is a little later than that.
    let step = held.exchange.wake(worker, ms(1000), &mut held.request);
    assert_eq!(refusal(&step).0, 503);
    held.exchange.finish(worker, Ending::Complete, ms(1000));
    assert!(worker.journeys.borrow().is_empty());
    assert_eq!(counted(worker, Metric::Waiting), 0);
}

/// The health view learns that a target is at its limit.
fn throttle(worker: &mut Worker, place: usize, seconds: u64) {
    let config = worker.generation.config.clone();
    let target = config.models()[0].tiers[0][place];
    let health_view = &worker.generation.health_view;
    let scope = crate::breaker::Scope::Target(target);
    let ticket = health_view.borrow().ticket(scope).unwrap();
    let limit = (ticket, crate::breaker::HealthSignal::Throttled(Some(Duration::from_secs(seconds))));
    health_view.borrow_mut().report(&mut *worker.store, scope, &config.breaker, limit, NOW, 0);
}

#[test]
fn a_pass_without_a_target_says_whether_to_retry() {
    let advice = |step: &RequestStep| {
        let RequestStep::Answer(answer) = step else { panic!("{step:?}") };
        let get = |name: &str| {
            let found = answer.headers.iter().find(|(candidate, _)| *candidate == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        (answer.status, [get("retry-after"), get("x-should-retry")])
    };
    let says = |wait: &str, should: &str| [wait.to_owned(), should.to_owned()];
    let lost = |worker: &mut Worker, request: FakeWire| {
        let mut sent = pass(worker, request, BODY, 1000);
        sent.exchange.finish(worker, Ending::UpstreamGone, NOW);
        advice(&next_pass(worker, 2, 1000).step)
    };
    // The provider broke off and no other target exists. Nothing says when a retry would help.
    let worker = &mut one_target(json!({"attempts_per_target": 1}));
    assert_eq!(lost(worker, loop_request(CHAT, 1)), (503, says("", "false")));
    // The provider may have charged for it, so neither the filter nor the client should send it again.
    let worker = &mut one_target(json!({"replay_uncertain": "never"}));
    assert_eq!(lost(worker, loop_request(CHAT, 1)), (503, says("", "false")));
    // A client that forbids fallback decides about retries by itself.
    let worker = &mut one_target(json!({}));
    let mut only = loop_request(CHAT, 1);
    only.headers.push(("x-llm-no-fallback".to_owned(), "true".to_owned()));
    assert_eq!(lost(worker, only), (503, says("", "")));
    // The other target has reached its limit in the meantime. The first of both limits ends in seven seconds.
    let two = json!({"targets": ["gpt-a", "gpt-b"]});
    let worker = &mut super::worker(config_with(json!({"models": {"chat": two}})));
    assert!(fail_first(worker, &[(":status", "429"), ("retry-after", "7")]).is_some());
    throttle(worker, 1, 20);
    assert_eq!(advice(&next_pass(worker, 2, 1000).step), (429, says("7", "")));
    // Attempts made before a crash of the VM count as failed attempts.
    let worker = &mut one_target(json!({}));
    assert_eq!(advice(&next_pass(worker, 4, 1000).step), (503, says("", "false")));
}

#[test]
fn last_error_own_replaces_the_providers_error() {
    for (status, expected) in [("500", "503"), ("429", "429"), ("504", "504"), ("400", "400")] {
        let worker = &mut one_target(json!({"attempts": 1, "last_error": "own"}));
        let mut sent = first(worker);
        sent.answer(worker, &[(":status", status), ("retry-after", "700")], ERROR);
        assert_eq!(sent.response.get(":status"), Some(expected), "{status}");
        if status == "400" {
            assert_eq!(sent.response.body, ERROR, "an error caused by the request passes unchanged");
            continue;
        }
        let body: Value = serde_json::from_slice(&sent.response.body).unwrap();
        assert_eq!(body["error"]["code"], "all_targets_failed");
        assert_eq!(body["error"]["llm_failsafe"]["targets"][0]["target"], "gpt-a");
        assert_eq!(sent.response.get("x-llm-reason"), Some("all_targets_failed"));
        assert_eq!(sent.response.get("x-llm-target"), Some("gpt-a"));
    }
}
