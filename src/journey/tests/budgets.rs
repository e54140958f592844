//! Budgets of client keys: a request's reservation is settled exactly once, however the request ends.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::super::registry::ORPHAN_AFTER;
use super::super::test_support::*;
use super::super::{Ending, Worker};
use super::{ANSWER, CHAT, OK_JSON, OK_STREAM};
use crate::base::memory::{Memory, Shelf};
use crate::base::{MicroDollars, Store};
use crate::config::Budget;
use crate::retry::Received;
use crate::tenancy::{BudgetKind, Ledger};

const BODY: &[u8] = br#"{"messages":[],"model":"chat","max_tokens":96}"#;
/// Two tokens for the text `chat` and 96 of the response.
const ESTIMATE: u64 = 98;

struct Setup {
    worker: Worker,
    shelf: Rc<RefCell<Shelf>>,
}

fn setup(retry_loop: bool) -> Setup {
    let sha256: String = Sha256::digest(b"client-key").iter().map(|byte| format!("{byte:02x}")).collect();
    let keys = json!({"team": {"sha256": sha256, "budget": {"tokens_per_day": 1000}}});
    let shelf: Rc<RefCell<Shelf>> = Rc::default();
    let config = config_with(json!({"keys": keys, "retry_loop": retry_loop}));
    Setup { worker: worker_on(config, Memory::on(Rc::clone(&shelf))), shelf }
}

impl Setup {
    fn ask(&mut self, attempt: u8) -> Pass {
        pass(&mut self.worker, loop_request(CHAT, attempt), BODY, 1000)
    }

    fn used(&self) -> u64 {
        let stored = Memory::on(Rc::clone(&self.shelf)).read("llm-failsafe/budget/team").unwrap();
        stored.map_or(0, |stored| {
            Ledger::decode(&stored.bytes).unwrap().used_at(BudgetKind::TokensPerDay, NOW.moment())
        })
    }
}

const USAGE: &[u8] =
    br#"{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":7,"completion_tokens":5}}"#;
const OVERLOADED: &[(&str, &str)] = &[(":status", "503"), ("content-type", "application/json")];

#[test]
fn reported_usage_replaces_the_estimate() {
    for retry_loop in [true, false] {
        let mut setup = setup(retry_loop);
        let mut sent = setup.ask(1);
        assert_eq!(setup.used(), ESTIMATE, "reserved while it is under way");
        sent.answer(&mut setup.worker, OK_JSON, USAGE);
        sent.exchange.finish(&mut setup.worker, Ending::Complete, NOW);
        assert_eq!(setup.used(), 12);
    }
}

#[test]
fn without_reported_usage_the_estimate_stays() {
    let mut setup = setup(true);
    let mut sent = setup.ask(1);
    sent.answer(&mut setup.worker, OK_JSON, ANSWER);
    sent.exchange.finish(&mut setup.worker, Ending::Complete, NOW);
    assert_eq!(setup.used(), ESTIMATE);
    let mut left = setup.ask(1);
    left.exchange.finish(&mut setup.worker, Ending::ClientGone, NOW);
    assert_eq!(setup.used(), 2 * ESTIMATE, "the provider still charges after the client has left");
}

#[test]
fn a_provider_error_costs_nothing_and_the_next_attempt_reserves_nothing_more() {
    let mut setup = setup(true);
    let mut failed = setup.ask(1);
    failed.answer(&mut setup.worker, OVERLOADED, b"{}");
    failed.exchange.finish(&mut setup.worker, Ending::Complete, NOW);
    assert_eq!(setup.used(), ESTIMATE, "the reservation stays until the request is over");
    let mut second = setup.ask(2);
    assert_eq!(setup.used(), ESTIMATE);
    second.answer(&mut setup.worker, OK_JSON, USAGE);
    second.exchange.finish(&mut setup.worker, Ending::Complete, NOW);
    assert_eq!(setup.used(), 12);
}

/// A request that Envoy could not send, or that got no response.
fn lost(setup: &mut Setup, attempt: u8, origin: Origin, status: &str) {
    let mut sent = setup.ask(attempt);
    let headers = [(":status", status), ("content-type", "text/plain")];
    sent.answer_from(&mut setup.worker, origin, &headers, b"upstream connect error");
    sent.exchange.finish(&mut setup.worker, Ending::Complete, NOW);
}

#[test]
fn an_unsent_request_costs_nothing_and_a_possibly_received_one_counts() {
    let over = NOW.after(ORPHAN_AFTER + Duration::from_secs(1));
    for (received, status, expected) in [
        (Received::Never, "503", 0),
        (Received::Perhaps, "503", ESTIMATE),
        (Received::Perhaps, "504", ESTIMATE),
    ] {
        let mut setup = setup(true);
        lost(&mut setup, 1, Origin::Envoy { received }, status);
        setup.worker.tick(over);
        assert_eq!(setup.used(), expected, "{received:?} {status}");
    }
    // A request whose stream broke without a response from Envoy may have been received too.
    let mut setup = setup(true);
    let mut sent = setup.ask(1);
    sent.exchange.finish(&mut setup.worker, Ending::UpstreamGone, NOW);
    setup.worker.tick(over);
    assert_eq!(setup.used(), ESTIMATE);
}

#[test]
fn a_possibly_billed_attempt_counts_in_addition_to_the_successful_one() {
    let mut setup = setup(true);
    lost(&mut setup, 1, Origin::Envoy { received: Received::Perhaps }, "503");
    let mut second = setup.ask(2);
    second.answer(&mut setup.worker, OK_JSON, USAGE);
    second.exchange.finish(&mut setup.worker, Ending::Complete, NOW);
    assert_eq!(setup.used(), ESTIMATE + 12);
}

#[test]
fn a_request_whose_next_attempt_never_comes_is_settled() {
    let mut setup = setup(true);
    let mut failed = setup.ask(1);
    failed.answer(&mut setup.worker, OVERLOADED, b"{}");
    failed.exchange.finish(&mut setup.worker, Ending::Complete, NOW);
    setup.worker.tick(NOW.after(ORPHAN_AFTER + Duration::from_secs(1)));
    assert_eq!(setup.used(), 0);
}

#[test]
fn a_stream_that_breaks_off_after_content_costs_its_estimate() {
    let mut setup = setup(true);
    let mut sent = setup.ask(1);
    let event = br#"data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}"#;
    sent.answer(&mut setup.worker, OK_STREAM, &[event.as_slice(), b"\n\n"].concat());
    sent.exchange.finish(&mut setup.worker, Ending::Complete, NOW);
    assert_eq!(setup.used(), ESTIMATE);
}

#[test]
fn a_refused_request_keeps_no_journey_and_succeeds_once_the_budget_allows() {
    let mut setup = setup(true);
    let budget = Budget { tokens_per_day: Some(1000), ..Budget::default() };
    let amount = crate::tenancy::Amount { tokens: 1000, cost: MicroDollars::ZERO };
    let mut store = Memory::on(Rc::clone(&setup.shelf));
    let granted =
        crate::tenancy::reserve(&mut store, "team", &budget, amount, NOW.moment()).unwrap().unwrap();
    let refused = setup.ask(1);
    let (status, body) = super::refusal(&refused.step);
    assert_eq!((status, body["error"]["llm_failsafe"]["budget"].as_str()), (429, Some("tokens_per_day")));
    assert!(setup.worker.journeys.borrow().is_empty());
    assert!(crate::tenancy::settle(
        &mut store,
        "team",
        granted.reservation,
        Default::default(),
        NOW.moment()
    ));
    assert!(matches!(setup.ask(1).step, super::RequestStep::Send));
}

#[test]
fn a_reservation_uses_the_learned_estimate_and_later_learning_does_not_change_it() {
    let mut setup = setup(true);
    let target = crate::base::TargetId::from_index(1).unwrap();
    assert_eq!(&*setup.worker.generation.config.target(target).unwrap().name, "gpt-a");
    let text = "x".repeat(3_500);
    let body = format!(r#"{{"messages":[{{"content":"{text}"}}],"model":"chat","max_tokens":1}}"#);
    let ask = |setup: &mut Setup| pass(&mut setup.worker, loop_request(CHAT, 1), body.as_bytes(), 10_000);
    assert!(
        matches!(ask(&mut setup).step, super::RequestStep::Answer(_)),
        "the estimate is larger than the budget"
    );
    assert_eq!(setup.used(), 0);
    for _ in 0..100 {
        setup.worker.generation.estimates.learn(target, 1_000, 500);
    }
    let mut sent = ask(&mut setup);
    let reserved = setup.used();
    assert!((450..600).contains(&reserved), "{reserved}");
    for _ in 0..1_000 {
        setup.worker.generation.estimates.learn(target, 1_000, 2_000);
    }
    sent.answer(&mut setup.worker, OK_JSON, ANSWER);
    sent.exchange.finish(&mut setup.worker, Ending::Complete, NOW);
    assert_eq!(setup.used(), reserved, "without reported usage the original estimate stays");
}
