//! What all attempts of a request may cost.

use serde_json::{Value, json};

use super::super::Worker;
use super::super::test_support::*;
use super::{Ending, again, first};
use crate::record::Metric;
use crate::retry::Received;

const TIMED_OUT: &[(&str, &str)] = &[(":status", "504"), ("content-type", "application/json")];
const OVERLOADED: &[(&str, &str)] = &[(":status", "503"), ("content-type", "application/json")];
const ERROR: &[u8] = br#"{"error":{"message":"no","type":"x"}}"#;

/// An attempt is 1024 tokens of answer, and hardly any of the prompt: about 1 cent at `gpt-a` and `gpt-b`, and at `claude`
/// what is given here per million.
fn with_ceiling(max_cost: f64, claude: f64) -> Worker {
    let mut config: Value = serde_json::from_str(CONFIG).unwrap();
    for (target, output) in [("gpt-a", 10.0), ("gpt-b", 10.0), ("claude", claude)] {
        config["targets"][target]["price"] = json!({"input": 0, "output": output});
    }
    config["models"]["chat"]["retry"] = json!({"attempts": 3, "max_cost": max_cost});
    worker(load(&config.to_string()))
}

/// What the client is told of each attempt until it gets the failure: the target and the reason.
fn play(worker: &mut Worker, headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut told = Vec::new();
    for attempt in 1.. {
        let mut sent = if attempt == 1 { first(worker) } else { again(worker, attempt) };
        sent.answer(worker, headers, ERROR);
        let get = |name| sent.response.get(name).unwrap_or_default().to_owned();
        told.push((get("x-llm-target"), get("x-llm-reason")));
        let over = sent.response.get("x-llm-retry").is_none();
        assert!(!over || sent.response.body == ERROR, "the original failure");
        sent.exchange.finish(worker, Ending::Complete, NOW);
        if over {
            break;
        }
    }
    assert!(worker.journeys.borrow().is_empty());
    told
}

fn names(told: &[(String, String)]) -> Vec<&str> {
    told.iter().map(|(target, _)| target.as_str()).collect()
}

#[test]
fn what_may_have_been_paid_for_leaves_less_for_the_next_attempt() {
    let worker = &mut with_ceiling(0.015, 10.0);
    let told = play(worker, TIMED_OUT);
    assert_eq!(told, [("gpt-a".to_owned(), "spend_ceiling".to_owned())]);
    assert_eq!(counted(worker, Metric::GaveUpSpendCeiling), 1);
}

#[test]
fn what_never_arrived_costs_nothing_and_what_perhaps_did_is_counted() {
    for (received, reason) in [(Received::Perhaps, Some("spend_ceiling")), (Received::Never, None)] {
        let worker = &mut with_ceiling(0.015, 10.0);
        let mut sent = first(worker);
        sent.answer_from(worker, Origin::Envoy { received }, &[(":status", "503")], ERROR);
        assert_eq!(sent.response.get("x-llm-retry").is_none(), reason.is_some(), "{received:?}");
        // Of an answer that Envoy made, the reason is that all failed; why it was given up is counted.
        let gave_up = i64::from(reason.is_some());
        assert_eq!(counted(worker, Metric::GaveUpSpendCeiling), gave_up, "{received:?}");
    }
}

#[test]
fn a_provider_that_refuses_costs_nothing() {
    let worker = &mut with_ceiling(0.015, 10.0);
    let told = play(worker, OVERLOADED);
    assert_eq!(names(&told), ["gpt-a", "gpt-b", "claude"]);
    assert_eq!(told[2].1, "attempts_used_up");
    assert_eq!(counted(worker, Metric::GaveUpSpendCeiling), 0);
}

#[test]
fn who_is_cheap_enough_is_still_asked() {
    let worker = &mut with_ceiling(0.015, 1.0);
    assert_eq!(names(&play(worker, TIMED_OUT)), ["gpt-a", "claude"]);
}

#[test]
fn the_first_attempt_is_made_whatever_it_costs() {
    let worker = &mut with_ceiling(0.000_001, 10.0);
    let told = play(worker, OVERLOADED);
    assert_eq!(told, [("gpt-a".to_owned(), "spend_ceiling".to_owned())]);
}

#[test]
fn a_stop_that_money_would_not_have_changed_keeps_its_name() {
    let mut config: Value = serde_json::from_str(CONFIG).unwrap();
    config["targets"]["gpt-a"]["price"] = json!({"input": 0, "output": 10});
    config["models"]["gpt"]["retry"] = json!({"attempts": 1, "max_cost": 0.001});
    let worker = &mut worker(load(&config.to_string()));
    let mut sent = pass(worker, loop_request(super::CHAT, 1), br#"{"messages":[],"model":"gpt"}"#, 1000);
    sent.answer(worker, TIMED_OUT, ERROR);
    assert_eq!(sent.response.get("x-llm-reason"), Some("attempts_used_up"));
}
