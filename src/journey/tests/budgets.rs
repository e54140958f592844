//! A key's budgets: what a request has reserved is settled once, whichever way it ends.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::super::registry::ORPHAN_AFTER;
use super::super::test_support::*;
use super::super::{Ending, Origin, Worker};
use super::{ANSWER, CHAT, OK_JSON, OK_STREAM};
use crate::base::memory::{Memory, Shelf};
use crate::base::{MicroDollars, Store};
use crate::config::Budget;
use crate::retry::Received;
use crate::tenancy::{BudgetKind, Ledger};

const BODY: &[u8] = br#"{"messages":[],"model":"chat","max_tokens":96}"#;
/// `chat` is all the text there is: two tokens, and 96 of the answer.
const ESTIMATE: u64 = 98;

struct OperatorRateLimit {
    worker: Worker,
    shelf: Rc<RefCell<Shelf>>,
}

fn operator_limit(retry_loop: bool) -> OperatorRateLimit {
    let sha256: String = Sha256::digest(b"client-key").iter().map(|byte| format!("{byte:02x}")).collect();
    let keys = json!({"team": {"sha256": sha256, "budget": {"tokens_per_day": 1000}}});
    let shelf: Rc<RefCell<Shelf>> = Rc::default();
    let config = config_with(json!({"keys": keys, "retry_loop": retry_loop}));
    OperatorRateLimit { worker: worker_on(config, Memory::on(Rc::clone(&shelf))), shelf }
}

impl OperatorRateLimit {
    fn ask(&mut self, attempt: u8) -> Pass {
        pass(&mut self.worker, loop_request(CHAT, attempt), BODY, 1000)
    }

    fn used(&self) -> u64 {
        let stored = Memory::on(Rc::clone(&self.shelf)).read("llm-failsafe/budget/team").unwrap();
        stored
            .map_or(0, |stored| Ledger::decode(&stored.bytes).unwrap().used_at(BudgetKind::TokensPerDay, NOW))
    }
}

const USAGE: &[u8] =
    br#"{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":7,"completion_tokens":5}}"#;
const OVERLOADED: &[(&str, &str)] = &[(":status", "503"), ("content-type", "application/json")];

#[test]
fn what_the_provider_reports_takes_the_place_of_the_estimate() {
    for retry_loop in [true, false] {
        let mut operator_limit = operator_limit(retry_loop);
        let mut sent = operator_limit.ask(1);
        assert_eq!(operator_limit.used(), ESTIMATE, "while it is under way");
        sent.answer(&mut operator_limit.worker, OK_JSON, USAGE);
        sent.exchange.finish(&mut operator_limit.worker, Ending::Complete, NOW);
        assert_eq!(operator_limit.used(), 12);
    }
}

#[test]
fn what_nobody_reports_stays_as_estimated() {
    let mut operator_limit = operator_limit(true);
    let mut sent = operator_limit.ask(1);
    sent.answer(&mut operator_limit.worker, OK_JSON, ANSWER);
    sent.exchange.finish(&mut operator_limit.worker, Ending::Complete, NOW);
    assert_eq!(operator_limit.used(), ESTIMATE);
    let mut left = operator_limit.ask(1);
    left.exchange.finish(&mut operator_limit.worker, Ending::ClientGone, NOW);
    assert_eq!(operator_limit.used(), 2 * ESTIMATE, "a client that left does not stop the bill");
}

#[test]
fn a_failure_that_the_provider_owns_up_to_costs_nothing_and_the_next_attempt_reserves_nothing_more() {
    let mut operator_limit = operator_limit(true);
    let mut failed = operator_limit.ask(1);
    failed.answer(&mut operator_limit.worker, OVERLOADED, b"{}");
    failed.exchange.finish(&mut operator_limit.worker, Ending::Complete, NOW);
    assert_eq!(operator_limit.used(), ESTIMATE, "the request goes on");
    let mut second = operator_limit.ask(2);
    assert_eq!(operator_limit.used(), ESTIMATE);
    second.answer(&mut operator_limit.worker, OK_JSON, USAGE);
    second.exchange.finish(&mut operator_limit.worker, Ending::Complete, NOW);
    assert_eq!(operator_limit.used(), 12);
}

/// A request that Envoy could not send, or to which no answer came.
fn lost(operator_limit: &mut OperatorRateLimit, attempt: u8, origin: Origin, status: &str) {
    let mut sent = operator_limit.ask(attempt);
    let headers = [(":status", status), ("content-type", "text/plain")];
    sent.answer_from(&mut operator_limit.worker, origin, &headers, b"upstream connect error");
    sent.exchange.finish(&mut operator_limit.worker, Ending::Complete, NOW);
}

#[test]
fn what_never_arrived_is_given_back_and_what_perhaps_did_stays_counted() {
    let over = NOW.after(ORPHAN_AFTER + Duration::from_secs(1));
    for (received, status, expected) in [
        (Received::Never, "503", 0),
        (Received::Perhaps, "503", ESTIMATE),
        (Received::Perhaps, "504", ESTIMATE),
    ] {
        let mut operator_limit = operator_limit(true);
        lost(&mut operator_limit, 1, Origin::Envoy { received }, status);
        operator_limit.worker.tick(over);
        assert_eq!(operator_limit.used(), expected, "{received:?} {status}");
    }
    // A stream that broke without a word of Envoy's may have been received, too.
    let mut operator_limit = operator_limit(true);
    let mut sent = operator_limit.ask(1);
    sent.exchange.finish(&mut operator_limit.worker, Ending::UpstreamGone, NOW);
    operator_limit.worker.tick(over);
    assert_eq!(operator_limit.used(), ESTIMATE);
}

#[test]
fn an_attempt_that_may_have_been_paid_for_counts_beside_the_one_that_answered() {
    let mut operator_limit = operator_limit(true);
    lost(&mut operator_limit, 1, Origin::Envoy { received: Received::Perhaps }, "503");
    let mut second = operator_limit.ask(2);
    second.answer(&mut operator_limit.worker, OK_JSON, USAGE);
    second.exchange.finish(&mut operator_limit.worker, Ending::Complete, NOW);
    assert_eq!(operator_limit.used(), ESTIMATE + 12);
}

#[test]
fn a_request_whose_next_attempt_never_comes_is_settled_too() {
    let mut operator_limit = operator_limit(true);
    let mut failed = operator_limit.ask(1);
    failed.answer(&mut operator_limit.worker, OVERLOADED, b"{}");
    failed.exchange.finish(&mut operator_limit.worker, Ending::Complete, NOW);
    operator_limit.worker.tick(NOW.after(ORPHAN_AFTER + Duration::from_secs(1)));
    assert_eq!(operator_limit.used(), 0);
}

#[test]
fn a_stream_that_breaks_off_after_content_costs_what_was_estimated() {
    let mut operator_limit = operator_limit(true);
    let mut sent = operator_limit.ask(1);
    let event = br#"data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}"#;
    sent.answer(&mut operator_limit.worker, OK_STREAM, &[event.as_slice(), b"\n\n"].concat());
    sent.exchange.finish(&mut operator_limit.worker, Ending::Complete, NOW);
    assert_eq!(operator_limit.used(), ESTIMATE);
}

#[test]
fn a_refused_request_holds_nothing_of_its_target_and_can_be_asked_again_later() {
    let mut operator_limit = operator_limit(true);
    let budget = Budget { tokens_per_day: Some(1000), ..Budget::default() };
    let amount = crate::tenancy::Amount { tokens: 1000, cost: MicroDollars::ZERO };
    let mut store = Memory::on(Rc::clone(&operator_limit.shelf));
    let granted = crate::tenancy::reserve(&mut store, "team", &budget, amount, NOW).unwrap().unwrap();
    let refused = operator_limit.ask(1);
    let (status, body) = super::refusal(&refused.step);
    assert_eq!((status, body["error"]["llm_failsafe"]["budget"].as_str()), (429, Some("tokens_per_day")));
    assert!(operator_limit.worker.journeys.borrow().is_empty());
    assert!(crate::tenancy::settle(&mut store, "team", granted.reservation, Default::default(), NOW));
    assert!(matches!(operator_limit.ask(1).step, super::RequestStep::Send));
}

#[test]
fn the_estimate_is_the_one_that_is_learnt_of_the_target_and_stays_that_of_its_attempt() {
    let mut operator_limit = operator_limit(true);
    let target = crate::base::TargetId::from_index(1).unwrap();
    assert_eq!(&*operator_limit.worker.config.target(target).unwrap().name, "gpt-a");
    let text = "x".repeat(3_500);
    let body = format!(r#"{{"messages":[{{"content":"{text}"}}],"model":"chat","max_tokens":1}}"#);
    let ask = |operator_limit: &mut OperatorRateLimit| {
        pass(&mut operator_limit.worker, loop_request(CHAT, 1), body.as_bytes(), 10_000)
    };
    assert!(
        matches!(ask(&mut operator_limit).step, super::RequestStep::Answer(_)),
        "more than the budget holds"
    );
    assert_eq!(operator_limit.used(), 0);
    for _ in 0..100 {
        operator_limit.worker.estimates.learn(target, 1_000, 500);
    }
    let mut sent = ask(&mut operator_limit);
    let reserved = operator_limit.used();
    assert!((450..600).contains(&reserved), "{reserved}");
    for _ in 0..1_000 {
        operator_limit.worker.estimates.learn(target, 1_000, 2_000);
    }
    sent.answer(&mut operator_limit.worker, OK_JSON, ANSWER);
    sent.exchange.finish(&mut operator_limit.worker, Ending::Complete, NOW);
    assert_eq!(operator_limit.used(), reserved, "what nobody reports stays as it was estimated then");
}
