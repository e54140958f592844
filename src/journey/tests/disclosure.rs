//! The headers that say which target answered and why, on successes, on provider errors and on refusals.

use serde_json::json;

use super::super::test_support::*;
use super::super::{RequestStep, Worker};
use super::{ANSWER, CHAT, OK_JSON, again, first};
use crate::config::Config;

/// Target, model, attempts, why and from which target it moved, and why nothing more was tried.
const DISCLOSED: [&str; 6] = [
    "x-llm-target",
    "x-llm-model",
    "x-llm-attempts",
    "x-llm-fallback",
    "x-llm-fallback-from",
    "x-llm-reason",
];

fn disclosed(response: &FakeWire) -> [&str; 6] {
    DISCLOSED.map(|name| response.get(name).unwrap_or_default())
}

fn answered(mut pass: Pass, worker: &mut Worker, status: &str) -> Pass {
    let body = if status == "200" { ANSWER } else { br#"{"error":{"message":"no","type":"x"}}"# };
    let headers = [&[(":status", status)], &OK_JSON[1..]].concat();
    pass.answer_from(worker, Origin::Upstream, &headers, body);
    pass.exchange.finish(worker, super::Ending::Complete, NOW);
    pass
}

/// The model `chat` with three tiers and these settings.
fn chat(model: serde_json::Value) -> Config {
    let mut chat = json!({"tiers": [["gpt-a"], ["gpt-b"], ["claude"]], "retry": {"attempts_per_target": 1}});
    chat.as_object_mut().unwrap().extend(model.as_object().unwrap().clone());
    config_with(json!({"models": {"chat": chat}, "retry_budget": {"ratio": 10}}))
}

/// The reason on a failure that the edge should discard. The client sees it only if Envoy declines to retry.
const DECLINED: &str = "retry_declined";

#[test]
fn each_attempt_discloses_which_failure_led_to_it() {
    let worker = &mut worker(chat(json!({})));
    let sent = first(worker);
    assert_eq!(
        disclosed(&answered(sent, worker, "500").response),
        ["gpt-a", "gpt-real", "1", "", "", DECLINED]
    );
    let sent = again(worker, 2);
    let second = answered(sent, worker, "429");
    assert_eq!(disclosed(&second.response), ["gpt-b", "gpt-real", "2", "server", "gpt-a", DECLINED]);
    let sent = again(worker, 3);
    let third = answered(sent, worker, "200");
    assert_eq!(disclosed(&third.response), ["claude", "claude-real", "3", "rate_limited", "gpt-b", ""]);
}

#[test]
fn provider_errors_disclose_the_target_and_why_nothing_more_was_tried() {
    for (model, status, reason) in [
        (json!({}), "400", ""),
        (json!({"fallback": {"on": []}}), "500", ""),
        (json!({"retry": {"attempts": 1}}), "500", "attempts_used_up"),
        (json!({"tiers": [["gpt-a"]]}), "500", "nothing_left"),
    ] {
        let worker = &mut worker(chat(model.clone()));
        let sent = first(worker);
        let expected = ["gpt-a", "gpt-real", "1", "", "", reason];
        assert_eq!(disclosed(&answered(sent, worker, status).response), expected, "{model} {status}");
    }
    let worker = &mut worker(chat(json!({})));
    let mut request = loop_request(CHAT, 1);
    request.headers.push(("x-llm-no-fallback".to_owned(), "true".to_owned()));
    let sent = pass(worker, request, br#"{"model":"chat"}"#, 100);
    let sent = answered(sent, worker, "500");
    assert_eq!(disclosed(&sent.response), ["gpt-a", "gpt-real", "1", "", "", "client_forbids"]);
    assert_eq!(
        sent.response.get("x-should-retry"),
        None,
        "a client that forbids fallback may retry by itself"
    );
}

#[test]
fn the_gate_that_caused_a_fallback_is_disclosed_and_refusals_disclose_the_attempts() {
    let targets = json!({
        "small": {"account": "a", "model": "small", "tools": false},
        "able": {"account": "b", "model": "able", "tools": true},
    });
    let models = json!({"chat": {"tiers": [["small"], ["able"]]}});
    let worker = &mut worker(config_with(json!({"targets": targets, "models": models})));
    let body =
        json!({"model": "chat", "tools": [{"type": "function", "function": {"name": "f"}}]}).to_string();
    let sent = pass(worker, loop_request(CHAT, 1), body.as_bytes(), 100);
    let sent = answered(sent, worker, "200");
    assert_eq!(disclosed(&sent.response), ["able", "able", "1", "tools", "small", ""]);
    let forgotten = pass(worker, loop_request(CHAT, 9), br#"{"model":"chat"}"#, 100);
    let RequestStep::Answer(answer) = forgotten.step else { panic!("{:?}", forgotten.step) };
    assert!(answer.headers.contains(&("x-llm-attempts", "8".to_owned())), "{:?}", answer.headers);
    let unknown = pass(worker, loop_request(CHAT, 1), b"{\"model\":\"none\"}", 100);
    let RequestStep::Answer(answer) = unknown.step else { panic!("{:?}", unknown.step) };
    assert!(!answer.headers.iter().any(|(name, _)| *name == "x-llm-attempts"), "nothing was tried");
}
