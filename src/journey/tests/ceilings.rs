//! `max_cost`: what all attempts of a request together may cost.

use serde_json::{Value, json};

use super::super::Worker;
use super::super::test_support::*;
use super::{Ending, again, first};
use crate::record::Metric;
use crate::retry::Received;

const TIMED_OUT: &[(&str, &str)] = &[(":status", "504"), ("content-type", "application/json")];
const OVERLOADED: &[(&str, &str)] = &[(":status", "503"), ("content-type", "application/json")];
const ERROR: &[u8] = br#"{"error":{"message":"no","type":"x"}}"#;

/// An attempt is 1024 output tokens and hardly any input: about 1 cent at `gpt-a` and `gpt-b`. `claude` is
/// the price per million output tokens at that target.
fn with_ceiling(max_cost: f64, claude: f64) -> Worker {
    let mut config: Value = serde_json::from_str(CONFIG).unwrap();
    for (target, output) in [("gpt-a", 10.0), ("gpt-b", 10.0), ("claude", claude)] {
        config["targets"][target]["price"] = json!({"input": 0, "output": output});
    }
    config["models"]["chat"]["retry"] = json!({"attempts": 3, "max_cost": max_cost});
    worker(load(&config.to_string()))
}

/// The target and the reason in the headers of each attempt, until the client gets the failure.
fn play(worker: &mut Worker, headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut disclosed = Vec::new();
    for attempt in 1.. {
        let mut sent = if attempt == 1 { first(worker) } else { again(worker, attempt) };
        sent.answer(worker, headers, ERROR);
        let get = |name| sent.response.get(name).unwrap_or_default().to_owned();
        disclosed.push((get("x-llm-target"), get("x-llm-reason")));
        let over = sent.response.get("x-llm-retry").is_none();
        assert!(!over || sent.response.body == ERROR, "the provider's own error");
        sent.exchange.finish(worker, Ending::Complete, NOW);
        if over {
            break;
        }
    }
    assert!(worker.journeys.borrow().is_empty());
    disclosed
}

fn names(disclosed: &[(String, String)]) -> Vec<&str> {
    disclosed.iter().map(|(target, _)| target.as_str()).collect()
}

#[test]
fn a_possibly_billed_attempt_counts_towards_max_cost() {
    let worker = &mut with_ceiling(0.015, 10.0);
    let disclosed = play(worker, TIMED_OUT);
    assert_eq!(disclosed, [("gpt-a".to_owned(), "spend_ceiling".to_owned())]);
    assert_eq!(counted(worker, Metric::GaveUpSpendCeiling), 1);
}

#[test]
fn an_unsent_attempt_costs_nothing_and_a_possibly_received_one_counts() {
    for (received, reason) in [(Received::Perhaps, Some("spend_ceiling")), (Received::Never, None)] {
        let worker = &mut with_ceiling(0.015, 10.0);
        let mut sent = first(worker);
        sent.answer_from(worker, Origin::Envoy { received }, &[(":status", "503")], ERROR);
        assert_eq!(sent.response.get("x-llm-retry").is_none(), reason.is_some(), "{received:?}");
        // On a response made by Envoy `x-llm-reason` says that all targets failed, so only the counter has
        // the reason.
        let gave_up = i64::from(reason.is_some());
        assert_eq!(counted(worker, Metric::GaveUpSpendCeiling), gave_up, "{received:?}");
    }
}

#[test]
fn an_attempt_refused_by_the_provider_costs_nothing() {
    let worker = &mut with_ceiling(0.015, 10.0);
    let disclosed = play(worker, OVERLOADED);
    assert_eq!(names(&disclosed), ["gpt-a", "gpt-b", "claude"]);
    assert_eq!(disclosed[2].1, "attempts_used_up");
    assert_eq!(counted(worker, Metric::GaveUpSpendCeiling), 0);
}

#[test]
fn a_target_cheap_enough_for_the_rest_is_still_asked() {
    let worker = &mut with_ceiling(0.015, 1.0);
    assert_eq!(names(&play(worker, TIMED_OUT)), ["gpt-a", "claude"]);
}

#[test]
fn max_cost_never_prevents_the_first_attempt() {
    let worker = &mut with_ceiling(0.000_001, 10.0);
    let disclosed = play(worker, OVERLOADED);
    assert_eq!(disclosed, [("gpt-a".to_owned(), "spend_ceiling".to_owned())]);
}

#[test]
fn spend_ceiling_is_not_reported_when_another_limit_stops_the_request() {
    let mut config: Value = serde_json::from_str(CONFIG).unwrap();
    config["targets"]["gpt-a"]["price"] = json!({"input": 0, "output": 10});
    config["models"]["gpt"]["retry"] = json!({"attempts": 1, "max_cost": 0.001});
    let worker = &mut worker(load(&config.to_string()));
    let mut sent = pass(worker, loop_request(super::CHAT, 1), br#"{"messages":[],"model":"gpt"}"#, 1000);
    sent.answer(worker, TIMED_OUT, ERROR);
    assert_eq!(sent.response.get("x-llm-reason"), Some("attempts_used_up"));
}
