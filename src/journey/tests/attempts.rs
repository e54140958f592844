//! A request across its attempts: where it goes, what a failure leads to, and how it ends.

use serde_json::json;

use super::super::test_support::*;
use super::super::{Ending, RequestStep};
use super::{ANSWER, CHAT, OK_JSON, again, at, first, refusal};
use crate::base::HeaderBlock;
use crate::record::Metric;

#[test]
fn a_request_is_addressed_to_its_target_without_private_headers() {
    let worker = &mut worker(load(CONFIG));
    let sent = first(worker);
    assert_eq!(sent.step, RequestStep::Send);
    let mut headers = sent.request.headers.clone();
    headers.sort();
    let expected = [
        (":authority", "api.openai.com"),
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        ("accept-encoding", "identity"),
        ("authorization", "Bearer sk-provider-a"),
        ("content-length", "34"),
        ("content-type", "application/json"),
        ("x-llm-cluster", "openai-cluster"),
    ];
    assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(sent.sent_json(), json!({"messages": [], "model": "gpt-real"}));
    assert_eq!(sent.request.body.len(), 34);
}

#[test]
fn failures_move_on_within_the_tier_then_to_the_next_tier() {
    let worker = &mut worker(load(CONFIG));
    let answers = [
        (1, "gpt-a", "500", None, true),
        (2, "gpt-b", "429", Some("server"), true),
        (3, "claude", "529", Some("rate_limited"), false),
    ];
    for (attempt, target, status, fallback, retried) in answers {
        let mut sent = if attempt == 1 { first(worker) } else { again(worker, attempt) };
        assert_eq!(sent.step, RequestStep::Send);
        let error = br#"{"error":{"message":"no","type":"x"}}"#;
        let step = sent.answer(worker, &[(":status", status), ("content-type", "application/json")], error);
        assert_eq!(step, Release::Pass);
        assert_eq!(sent.response.get("x-llm-target"), Some(target));
        assert_eq!(sent.response.get("x-llm-attempts"), Some(attempt.to_string().as_str()));
        assert_eq!(sent.response.get("x-llm-fallback"), fallback);
        assert_eq!(sent.response.get("x-llm-retry").is_some(), retried, "attempt {attempt}");
        assert_eq!(
            sent.response.get(":status"),
            Some(status),
            "valid for the client if Envoy does not retry"
        );
        assert_eq!(sent.response.body, error);
        sent.exchange.finish(worker, Ending::Complete, at(0));
    }
    assert!(worker.journeys.borrow().is_empty());
}

#[test]
fn later_attempts_edit_the_body_as_it_streams_by() {
    let worker = &mut worker(load(CONFIG));
    first(worker).answer(worker, &[(":status", "503")], b"{}");
    let second = again(worker, 2);
    assert_eq!(second.sent_json(), json!({"messages": [], "model": "gpt-real"}));
    assert_eq!(second.request.get("content-length"), Some("34"));
    assert_eq!(second.request.get("authorization"), Some("Bearer sk-provider-b"));
}

#[test]
fn errors_outside_the_fallback_policy_reach_the_client_at_once() {
    for status in ["400", "403", "413", "422"] {
        let worker = &mut worker(load(CONFIG));
        let mut sent = first(worker);
        sent.answer(worker, &[(":status", status)], br#"{"error":{"message":"bad"}}"#);
        assert_eq!(sent.response.get("x-llm-retry"), None, "{status}");
        sent.exchange.finish(worker, Ending::Complete, at(0));
        assert!(worker.journeys.borrow().is_empty());
    }
}

#[test]
fn a_break_off_while_held_leads_to_another_target() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    let block = HeaderBlock::of(OK_JSON);
    sent.exchange.response_headers(worker, block, false, NOW, || Origin::Upstream, &mut sent.response);
    sent.exchange.finish(worker, Ending::UpstreamGone, at(0));
    let mut sent = again(worker, 2);
    assert_eq!(sent.step, RequestStep::Send);
    sent.answer(worker, OK_JSON, ANSWER);
    assert_eq!(sent.response.get("x-llm-fallback"), Some("stream_truncated"));
}

#[test]
fn a_pass_after_the_last_attempt_returns_all_targets_failed() {
    let model = json!({"targets": ["gpt-a"], "retry": {"attempts_per_target": 1}});
    let config = config_with(json!({"models": {"chat": model}}));
    let worker = &mut worker(config);
    let mut sent = first(worker);
    sent.exchange.finish(worker, Ending::UpstreamGone, at(0));
    let mut last = again(worker, 2);
    let (status, body) = refusal(&last.step);
    assert_eq!(status, 503);
    assert_eq!(body["error"]["code"], "all_targets_failed");
    assert_eq!(body["error"]["llm_failsafe"]["targets"], json!([{"target": "gpt-a", "reason": "transport"}]));
    last.exchange.finish(worker, Ending::Complete, at(0));
    assert!(worker.journeys.borrow().is_empty());
}

#[test]
fn a_client_that_leaves_ends_the_journey_without_blame() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    sent.exchange.finish(worker, Ending::ClientGone, at(0));
    assert!(worker.journeys.borrow().is_empty());
    let mut counts = Vec::new();
    worker.tally.drain(|metric, delta| counts.push((metric, delta)));
    assert!(counts.contains(&(Metric::ClientAborts, 1)));
    assert!(!counts.iter().any(|(metric, _)| matches!(metric, Metric::AttemptsFailed | Metric::Failovers)));
}

#[test]
fn two_attempts_of_one_journey_may_be_in_flight() {
    let worker = &mut worker(load(CONFIG));
    let mut one = first(worker);
    // A hedge: the edge starts a second attempt while the first has no response yet.
    let mut two = again(worker, 2);
    assert_eq!(two.step, RequestStep::Send);
    assert_ne!(two.request.get("authorization"), one.request.get("authorization"), "another target");
    one.answer(worker, &[(":status", "500")], b"{}");
    two.answer(worker, OK_JSON, ANSWER);
    two.exchange.finish(worker, Ending::Complete, at(0));
    assert_eq!(worker.journeys.borrow().len(), 1, "the first attempt has not ended");
    one.exchange.finish(worker, Ending::ClientGone, at(0));
    worker.journeys.borrow_mut().expire(at(10_000));
    assert!(worker.journeys.borrow().is_empty());
}

#[test]
fn without_a_retry_loop_loop_headers_are_ignored_and_no_journey_is_kept() {
    let worker = &mut worker(config_with(json!({"retry_loop": false})));
    for attempt in [1, 2, 7] {
        let mut sent = again(worker, attempt);
        assert_eq!(sent.request.get("authorization"), Some("Bearer sk-provider-a"), "always a first attempt");
        sent.answer(worker, &[(":status", "500")], b"{}");
        assert_eq!(sent.response.get("x-llm-retry"), None);
        assert_eq!(sent.response.get("x-llm-attempts"), Some("1"));
        assert!(worker.journeys.borrow().is_empty());
    }
}

#[test]
fn a_client_may_decline_fallback() {
    let worker = &mut worker(load(CONFIG));
    let mut request = loop_request(CHAT, 1);
    request.headers.push(("x-llm-no-fallback".to_owned(), "true".to_owned()));
    let mut sent = pass(worker, request, br#"{"model":"chat"}"#, 100);
    assert_eq!(sent.request.get("x-llm-no-fallback"), None);
    sent.answer(worker, &[(":status", "500")], b"{}");
    assert_eq!(sent.response.get("x-llm-retry"), None);

    // Any value other than `false` or `0` forbids fallback.
    for (values, forbids) in [
        (&["TRUE"][..], true),
        (&["yes"], true),
        (&[""], true),
        (&["false", "true"], true),
        (&["false"], false),
        (&[" False "], false),
        (&["0"], false),
    ] {
        let mut request = loop_request(CHAT, 1);
        for value in values {
            request.headers.push(("x-llm-no-fallback".to_owned(), (*value).to_owned()));
        }
        let worker = &mut super::super::test_support::worker(load(CONFIG));
        let mut sent = pass(worker, request, br#"{"model":"chat"}"#, 100);
        sent.answer(worker, &[(":status", "500")], b"{}");
        assert_eq!(sent.response.get("x-llm-retry").is_none(), forbids, "{values:?}");
    }

    // The edge retries without having been asked to, at a worker that does not know the request.
    let worker = &mut super::super::test_support::worker(load(CONFIG));
    let mut request = loop_request(CHAT, 2);
    request.headers.push(("x-llm-no-fallback".to_owned(), "true".to_owned()));
    let sent = pass(worker, request, br#"{"model":"chat"}"#, 100);
    assert_eq!(refusal(&sent.step).0, 503);
}

#[test]
fn requests_past_max_journeys_get_one_attempt() {
    let worker = &mut worker(config_with(json!({"limits": {"max_journeys": 1}})));
    let _running = first(worker);
    let mut request = loop_request(CHAT, 1);
    request.set_journey("ffffffff-ffff-ffff-ffff-ffffffffffff");
    let mut sent = pass(worker, request, br#"{"model":"chat"}"#, 100);
    assert_eq!(sent.step, RequestStep::Send);
    sent.answer(worker, &[(":status", "500")], b"{}");
    assert_eq!(sent.response.get("x-llm-retry"), None);
    assert_eq!(counted(worker, Metric::JourneysFull), 1);
}

#[test]
fn attempts_of_a_journey_lost_with_its_vm_still_count() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = again(worker, 2);
    assert_eq!(sent.step, RequestStep::Send);
    sent.answer(worker, OK_JSON, ANSWER);
    assert_eq!(sent.response.get("x-llm-attempts"), Some("2"));
    assert_eq!(sent.response.get("x-llm-fallback"), Some("unknown"));
    let over = again(&mut super::super::test_support::worker(load(CONFIG)), 4);
    assert_eq!(refusal(&over.step).0, 503);
}

/// Each lost attempt may have been billed.
#[test]
fn after_a_crash_replay_uncertain_says_whether_a_request_is_sent_again() {
    const STATE: &[u8] = br#"{"model":"chat","input":"go on","previous_response_id":"resp_1"}"#;
    const PLAIN: &[u8] = br#"{"model":"chat","input":"go on"}"#;
    for (replay, endpoint, body, most) in [
        ("never", "/v1/responses", PLAIN, 0),
        ("once", "/v1/responses", PLAIN, 1),
        ("always", "/v1/responses", PLAIN, 3),
        ("always", "/v1/responses", STATE, 0),
    ] {
        for lost in 1..=4_u8 {
            let model = json!({"targets": ["gpt-a"], "retry": {"attempts": 4, "replay_uncertain": replay}});
            let worker = &mut worker(config_with(json!({"models": {"chat": model}})));
            let sent = pass(worker, loop_request(endpoint, lost + 1), body, 100);
            if lost <= most {
                assert_eq!(sent.step, RequestStep::Send, "{replay} {lost}");
                continue;
            }
            let RequestStep::Answer(answer) = sent.step else { panic!("{replay} {lost}: {:?}", sent.step) };
            assert_eq!(answer.status, 503);
            assert!(answer.headers.contains(&("x-llm-reason", "attempt_lost".to_owned())), "{answer:?}");
            assert!(answer.headers.contains(&("x-llm-attempts", lost.to_string())), "{answer:?}");
        }
    }
}

/// One replay is one replay, whether the filter remembers the first attempt or not.
#[test]
fn a_request_that_was_sent_again_after_a_crash_has_used_its_replay() {
    let model = json!({"targets": ["gpt-a", "gpt-b"], "retry": {"attempts": 4}});
    let worker = &mut worker(config_with(json!({"models": {"chat": model}})));
    let mut sent = again(worker, 2);
    assert_eq!(sent.step, RequestStep::Send);
    sent.exchange.finish(worker, Ending::UpstreamGone, at(200));
    assert_eq!(refusal(&again(worker, 3).step).0, 503);
}

#[test]
fn requests_for_an_endpoint_begin_at_the_first_tier_that_serves_it() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = pass(worker, loop_request("/v1/messages", 1), br#"{"model":"chat"}"#, 100);
    assert_eq!(sent.request.get("x-llm-cluster"), Some("anthropic-cluster"));
    assert_eq!(sent.request.get("x-api-key"), Some("sk-provider-c"));
    assert_eq!(sent.request.get("anthropic-version"), Some("2023-06-01"));
    assert_eq!(sent.request.get("authorization"), None);
    sent.answer(worker, OK_JSON, b"{}");
    assert_eq!(sent.response.get("x-llm-fallback"), None, "it is no substitute");
}

#[test]
fn an_ineligible_tier_is_skipped_and_its_reason_is_reported() {
    let models =
        json!({"chat": {"tiers": [["gpt-a"], ["claude"]], "fallback": {"targets": {"deny": ["gpt-a"]}}}});
    let worker = &mut worker(config_with(json!({"models": models})));
    let mut sent = pass(worker, loop_request(CHAT, 1), br#"{"model":"chat"}"#, 100);
    assert_eq!(sent.request.get("x-llm-cluster"), Some("anthropic-cluster"));
    sent.answer(worker, OK_JSON, ANSWER);
    assert_eq!(sent.response.get("x-llm-fallback"), Some("target_list"));
}
