//! What the headers say of who answered and why, on answers, on providers' errors and on refusals.

use serde_json::json;

use super::super::test_support::*;
use super::super::{RequestStep, Worker};
use super::{ANSWER, CHAT, OK_JSON, again, first};
use crate::config::Config;

/// What is told: target, model, attempts, why and from whom it moved, and why nothing more was tried.
const TOLD: [&str; 6] = [
    "x-llm-target",
    "x-llm-model",
    "x-llm-attempts",
    "x-llm-fallback",
    "x-llm-fallback-from",
    "x-llm-reason",
];

fn told(response: &FakeWire) -> [&str; 6] {
    TOLD.map(|name| response.get(name).unwrap_or_default())
}

fn answered(mut pass: Pass, worker: &mut Worker, status: &str) -> Pass {
    let body = if status == "200" { ANSWER } else { br#"{"error":{"message":"no","type":"x"}}"# };
    let headers = [&[(":status", status)], &OK_JSON[1..]].concat();
    pass.answer_from(worker, Origin::Upstream, &headers, body);
    pass.exchange.finish(worker, super::Ending::Complete, NOW);
    pass
}

/// `chat` with the first tier of the usual configuration and this beside it.
fn chat(model: serde_json::Value) -> Config {
    let mut chat = json!({"tiers": [["gpt-a"], ["gpt-b"], ["claude"]], "retry": {"attempts_per_target": 1}});
    chat.as_object_mut().unwrap().extend(model.as_object().unwrap().clone());
    config_with(json!({"models": {"chat": chat}, "retry_budget": {"ratio": 10}}))
}

/// What stands on a failure that the edge is to throw away, in case it does not.
const DECLINED: &str = "retry_declined";

#[test]
fn each_attempt_tells_whose_failure_led_to_it() {
    let worker = &mut worker(chat(json!({})));
    let sent = first(worker);
    assert_eq!(told(&answered(sent, worker, "500").response), ["gpt-a", "gpt-real", "1", "", "", DECLINED]);
    let sent = again(worker, 2);
    let second = answered(sent, worker, "429");
    assert_eq!(told(&second.response), ["gpt-b", "gpt-real", "2", "server", "gpt-a", DECLINED]);
    let sent = again(worker, 3);
    let third = answered(sent, worker, "200");
    assert_eq!(told(&third.response), ["claude", "claude-real", "3", "rate_limited", "gpt-b", ""]);
}

#[test]
fn the_errors_that_are_passed_through_tell_as_much_as_an_answer_and_why_they_are_the_last_word() {
    for (model, status, reason) in [
        (json!({}), "400", ""),
        (json!({"fallback": {"on": []}}), "500", ""),
        (json!({"retry": {"attempts": 1}}), "500", "attempts_used_up"),
        (json!({"tiers": [["gpt-a"]]}), "500", "nothing_left"),
    ] {
        let worker = &mut worker(chat(model.clone()));
        let sent = first(worker);
        let expected = ["gpt-a", "gpt-real", "1", "", "", reason];
        assert_eq!(told(&answered(sent, worker, status).response), expected, "{model} {status}");
    }
    let worker = &mut worker(chat(json!({})));
    let mut request = loop_request(CHAT, 1);
    request.headers.push(("x-llm-no-fallback".to_owned(), "true".to_owned()));
    let sent = pass(worker, request, br#"{"model":"chat"}"#, 100);
    let sent = answered(sent, worker, "500");
    assert_eq!(told(&sent.response), ["gpt-a", "gpt-real", "1", "", "", "client_forbids"]);
    assert_eq!(sent.response.get("x-should-retry"), None, "whoever forbids it may ask again");
}

#[test]
fn what_a_gate_keeps_out_is_named_and_a_refusal_tells_how_often_was_tried() {
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
    assert_eq!(told(&sent.response), ["able", "able", "1", "tools", "small", ""]);
    let forgotten = pass(worker, loop_request(CHAT, 9), br#"{"model":"chat"}"#, 100);
    let RequestStep::Answer(answer) = forgotten.step else { panic!("{:?}", forgotten.step) };
    assert!(answer.headers.contains(&("x-llm-attempts", "8".to_owned())), "{:?}", answer.headers);
    let nobody = pass(worker, loop_request(CHAT, 1), b"{\"model\":\"none\"}", 100);
    let RequestStep::Answer(answer) = nobody.step else { panic!("{:?}", nobody.step) };
    assert!(!answer.headers.iter().any(|(name, _)| *name == "x-llm-attempts"), "nothing was tried");
}
