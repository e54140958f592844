//! What an attempt takes before it is sent is returned when it is not sent: counts against the configured
//! limits of target and account, the breaker lease, and the reservation in the key's budget.

mod races;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::registry::ORPHAN_AFTER;
use super::super::test_support::*;
use super::super::{Ending, Exchange, RequestStep, Worker};
use super::{CHAT, refusal};
use crate::base::memory::{Memory, Shelf};
use crate::base::{Dialect, TargetId, Timestamp};
use crate::breaker::{Availability, Scope};
use crate::retry::Received;

const BODY: &[u8] = br#"{"messages":[],"model":"chat","max_tokens":96}"#;
/// Two tokens of text and 96 of the response.
const ESTIMATE: u64 = 98;
const USAGE: &[u8] =
    br#"{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":7,"completion_tokens":5}}"#;
const PLENTY: &str = r#"{"requests_per_minute": 100}"#;
/// A budget too small for any request.
const NOTHING: &str = r#"{"tokens_per_day": 50}"#;

/// How many requests fit into each limit.
const ROOM: usize = 5;

/// Each limit by itself, at a target or an account.
fn limits() -> impl Iterator<Item = (&'static str, Value)> {
    ["targets", "accounts"].into_iter().flat_map(|place| {
        [
            json!({"requests_per_minute": ROOM}),
            json!({"tokens_per_minute": ROOM as u64 * ESTIMATE}),
            json!({"max_pending": ROOM}),
        ]
        .map(|limit| (place, limit))
    })
}

/// A worker with one target that has a limit, a key `team` with a budget and a key `other` without one.
struct Setup {
    what: String,
    shape: Shape,
    worker: Worker,
    requests: u32,
}

impl Setup {
    fn new(shape: Shape, place: &str, limit: &Value, budget: &str) -> Self {
        Self::with(shape, place, limit, budget, |_| {})
    }

    fn with(shape: Shape, place: &str, limit: &Value, budget: &str, change: impl FnOnce(&mut Value)) -> Self {
        let what = format!("{shape:?}, {place}: {limit}");
        let worker = worker(config_with(changes(shape, place, limit, budget, change)));
        Self { what, shape, worker, requests: 0 }
    }

    /// The headers of a new request with this key.
    fn headers(&mut self, key: &str) -> FakeWire {
        self.requests += 1;
        request(self.shape, self.requests, 1, key)
    }

    fn ask_at(&mut self, key: &str, now: Timestamp) -> Pass {
        let request = self.headers(key);
        let mut pass = pass_at(&mut self.worker, request, BODY, 1000, now);
        if pass.step == RequestStep::Hold {
            pass.request.body = BODY.to_vec();
        }
        pass
    }

    fn ask(&mut self, key: &str) -> Pass {
        self.ask_at(key, NOW)
    }

    fn sent(&mut self, key: &str) -> Pass {
        let pass = self.ask(key);
        assert_eq!(pass.step, RequestStep::Send, "{}", self.what);
        pass
    }

    fn finish(&mut self, exchange: &mut Exchange, ending: Ending) {
        exchange.finish(&mut self.worker, ending, NOW);
        // In the loop a failed request waits for its next attempt, which does not come here.
        self.worker.tick(NOW.after(ORPHAN_AFTER + Duration::from_secs(1)));
    }

    /// Abandons the request as the host does when it cannot change a header.
    fn abandon(&mut self, mut pass: Pass) {
        let step = pass.exchange.abandon(&mut self.worker, Dialect::OpenAi, NOW);
        assert!(matches!(step, RequestStep::Answer(_)), "{step:?}");
        self.finish(&mut pass.exchange, Ending::Complete);
    }

    /// Checks that the key's budget refused the request, and ends it.
    fn refused(&mut self, mut pass: Pass) {
        let (status, body) = refusal(&pass.step);
        assert_eq!(body["error"]["code"], "budget_exhausted", "{}", self.what);
        // 400 if the request is larger than the whole budget.
        assert!(matches!(status, 400 | 429), "{}: {status}", self.what);
        self.finish(&mut pass.exchange, Ending::Complete);
    }

    /// How many requests of another key the target still takes at the same time.
    fn room(&mut self) -> usize {
        let mut sent = Vec::new();
        while sent.len() <= ROOM {
            let mut pass = self.ask("other-key");
            if pass.step != RequestStep::Send {
                self.finish(&mut pass.exchange, Ending::Complete);
                break;
            }
            sent.push(pass);
        }
        for pass in &mut sent {
            self.finish(&mut pass.exchange, Ending::ClientGone);
        }
        sent.len()
    }
}

fn changes(shape: Shape, place: &str, limit: &Value, budget: &str, change: impl FnOnce(&mut Value)) -> Value {
    let digest = |key: &str| -> String {
        Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let budget: Value = serde_json::from_str(budget).unwrap();
    let mut changes = json!({
        "retry_loop": shape != Shape::OneListener,
        "keys": {
            "team": {"sha256": digest("client-key"), "budget": budget},
            "other": {"sha256": digest("other-key")},
        },
        "accounts": {
            "a": {"provider": "openai", "key": {"value": "sk-provider-a"}},
            "b": {"provider": "openai", "key": {"value": "sk-provider-b"}},
            "c": {"provider": "anthropic", "key": {"value": "sk-provider-c"}},
        },
        "targets": {
            "gpt-a": {"account": "a", "model": "gpt-real"},
            "gpt-b": {"account": "b", "model": "gpt-real"},
        },
        "models": {"chat": {"targets": ["gpt-a"]}},
    });
    let name = if place == "targets" { "gpt-a" } else { "a" };
    changes[place][name]["limits"] = limit.clone();
    change(&mut changes);
    changes
}

fn request(shape: Shape, number: u32, attempt: u8, key: &str) -> FakeWire {
    let mut request = loop_request(CHAT, attempt);
    request.headers.retain(|(name, _)| name != "authorization");
    request.headers.push(("authorization".to_owned(), format!("Bearer {key}")));
    if shape == Shape::LoopUnkept {
        request.headers.retain(|(name, _)| name != "x-llm-journey");
    } else {
        request.set_journey(&format!("{number:032x}"));
    }
    request
}

/// What is left of the limits that are configured for a target and its account, by name.
fn left(worker: &Worker, target: &str) -> Vec<(&'static str, u64)> {
    let place =
        worker.generation.config.targets().iter().position(|candidate| &*candidate.name == target).unwrap();
    let target = TargetId::from_index(place).unwrap();
    let limits = worker.generation.headroom.borrow().limits(target, NOW);
    limits.into_iter().map(|limit| (limit.of, limit.left)).collect()
}

/// When a breaker that opened at `NOW` lets a probe through.
fn half_open() -> Timestamp {
    NOW.after(Duration::from_secs(34))
}

fn open(worker: &mut Worker) {
    for number in 100..105 {
        let mut pass = pass(worker, request(Shape::Loop, number, 1, "other-key"), BODY, 1000);
        assert_eq!(pass.step, RequestStep::Send);
        pass.answer(worker, &[(":status", "500"), ("content-type", "application/json")], b"{}");
        pass.exchange.finish(worker, Ending::Complete, NOW);
    }
    worker.tick(half_open());
}

#[test]
fn a_request_refused_by_the_budget_uses_none_of_the_targets_limits() {
    for shape in SHAPES {
        for (place, limit) in limits() {
            let mut setup = Setup::new(shape, place, &limit, NOTHING);
            for _ in 0..2 * ROOM {
                let refused = setup.ask("client-key");
                setup.refused(refused);
            }
            assert_eq!(setup.room(), ROOM, "{}", setup.what);
        }
    }
}

#[test]
fn a_queued_request_refused_by_the_budget_uses_none_of_the_targets_limits() {
    for shape in SHAPES {
        for (place, limit) in limits() {
            let mut setup = Setup::with(shape, place, &limit, NOTHING, |changes| {
                changes["models"]["chat"]["retry"] = json!({"attempts": 1, "queue": {}});
                // The queue forms at the target or the account, so that any limit of the other can be
                // checked.
                let other = if place == "targets" { ("accounts", "a") } else { ("targets", "gpt-a") };
                changes[other.0][other.1]["limits"] = json!({"max_pending": 2});
            });
            let mut busy = [setup.sent("other-key"), setup.sent("other-key")];
            let mut held = setup.ask("client-key");
            assert_eq!(held.step, RequestStep::Hold, "{}", setup.what);
            for pass in &mut busy {
                // Afterwards the two requests count only in requests_per_minute.
                pass.answer(&mut setup.worker, &[(":status", "400")], b"{}");
                setup.finish(&mut pass.exchange, Ending::Complete);
            }
            let before = left(&setup.worker, "gpt-a");
            held.step = held.exchange.wake_early(&mut setup.worker, NOW, &mut held.request);
            setup.refused(held);
            assert_eq!(left(&setup.worker, "gpt-a"), before, "{}", setup.what);
        }
    }
}

#[test]
fn a_request_that_ends_in_the_queue_uses_no_limit_and_no_budget() {
    for shape in SHAPES {
        for (place, limit) in limits() {
            let mut setup = Setup::with(shape, place, &limit, r#"{"requests_per_minute": 1}"#, |changes| {
                changes["models"]["chat"]["retry"] = json!({"attempts": 1, "queue": {}});
                let other = if place == "targets" { ("accounts", "a") } else { ("targets", "gpt-a") };
                changes[other.0][other.1]["limits"] = json!({"max_pending": 1});
            });
            let mut busy = setup.sent("other-key");
            let before = left(&setup.worker, "gpt-a");
            let mut held = setup.ask("client-key");
            assert_eq!(held.step, RequestStep::Hold, "{}", setup.what);
            held.exchange.finish(&mut setup.worker, Ending::ClientGone, NOW);
            let mut late = setup.ask("client-key");
            assert_eq!(late.step, RequestStep::Hold, "{}", setup.what);
            let after = NOW.after(Duration::from_secs(120));
            let step = late.exchange.wake(&mut setup.worker, after, &mut late.request);
            assert!(matches!(step, RequestStep::Answer(_)), "{}: {step:?}", setup.what);
            late.exchange.finish(&mut setup.worker, Ending::Complete, NOW);
            assert_eq!(left(&setup.worker, "gpt-a"), before, "{}", setup.what);
            setup.finish(&mut busy.exchange, Ending::Complete);
            setup.sent("client-key");
        }
    }
}

#[test]
fn an_abandoned_request_returns_its_counts_against_the_targets_limits() {
    for shape in SHAPES {
        for (place, limit) in limits() {
            let mut setup = Setup::new(shape, place, &limit, PLENTY);
            for _ in 0..2 * ROOM {
                let sent = setup.ask("client-key");
                assert_eq!(sent.step, RequestStep::Send, "{}", setup.what);
                setup.abandon(sent);
            }
            assert_eq!(setup.room(), ROOM, "{}", setup.what);
        }
    }
}

#[test]
fn an_abandoned_request_returns_its_budget_reservation() {
    for shape in SHAPES {
        for budget in
            [r#"{"requests_per_minute": 1}"#, r#"{"tokens_per_minute": 98}"#, r#"{"tokens_per_day": 98}"#]
        {
            let mut setup = Setup::new(shape, "targets", &json!({}), budget);
            for _ in 0..3 {
                let sent = setup.ask("client-key");
                assert_eq!(sent.step, RequestStep::Send, "{shape:?} {budget}");
                setup.abandon(sent);
            }
        }
    }
}

#[test]
fn a_request_refused_by_envoys_rate_limit_returns_everything() {
    for shape in SHAPES {
        for (place, limit) in limits() {
            let mut setup = Setup::new(shape, place, &limit, r#"{"requests_per_minute": 1}"#);
            for _ in 0..2 * ROOM {
                let mut refused = setup.sent("client-key");
                let origin = Origin::Envoy { received: Received::Perhaps };
                refused.answer_from(&mut setup.worker, origin, &[(":status", "429")], b"");
                setup.finish(&mut refused.exchange, Ending::Complete);
            }
            assert_eq!(setup.room(), ROOM, "{}", setup.what);
        }
    }
}

/// The edge has hedged, and then Envoy's own rate limit holds the first attempt back.
#[test]
fn a_reservation_covers_a_hedge_when_the_first_attempt_is_held_back() {
    for hedge_is_held_back in [false, true] {
        let budget = r#"{"requests_per_minute": 1}"#;
        let mut setup = Setup::with(Shape::Loop, "targets", &json!({}), budget, |changes| {
            changes["models"]["chat"] = json!({"targets": ["gpt-a", "gpt-b"]});
        });
        let mut first = setup.sent("client-key");
        let mut hedge =
            pass(&mut setup.worker, request(Shape::Loop, setup.requests, 2, "client-key"), BODY, 1000);
        assert_eq!(hedge.step, RequestStep::Send);
        let held_back = |pass: &mut Pass, setup: &mut Setup| {
            let origin = Origin::Envoy { received: Received::Perhaps };
            pass.answer_from(&mut setup.worker, origin, &[(":status", "429")], b"");
            pass.exchange.finish(&mut setup.worker, Ending::Complete, NOW);
        };
        held_back(&mut first, &mut setup);
        let refused = setup.ask("client-key");
        setup.refused(refused);
        if hedge_is_held_back {
            held_back(&mut hedge, &mut setup);
            setup.sent("client-key");
        } else {
            hedge.answer(&mut setup.worker, super::OK_JSON, USAGE);
            hedge.exchange.finish(&mut setup.worker, Ending::Complete, NOW);
            let refused = setup.ask("client-key");
            setup.refused(refused);
        }
    }
}

#[test]
fn an_abandoned_later_attempt_returns_only_its_own_count() {
    for limit in [json!({"requests_per_minute": ROOM}), json!({"tokens_per_minute": 1000})] {
        let mut setup = Setup::with(Shape::Loop, "targets", &limit, PLENTY, |changes| {
            changes["targets"]["gpt-b"]["limits"] = limit.clone();
            changes["models"]["chat"] = json!({"tiers": [["gpt-a"], ["gpt-b"]]});
        });
        let mut first = setup.sent("client-key");
        first.answer(&mut setup.worker, &[(":status", "504")], b"{}");
        first.exchange.finish(&mut setup.worker, Ending::Complete, NOW);
        let before = (left(&setup.worker, "gpt-a"), left(&setup.worker, "gpt-b"));
        let again = request(Shape::Loop, setup.requests, 2, "client-key");
        let second = pass(&mut setup.worker, again, BODY, 1000);
        assert_eq!(second.step, RequestStep::Send);
        assert_eq!(second.request.get("authorization"), Some("Bearer sk-provider-b"));
        assert_ne!(left(&setup.worker, "gpt-b"), before.1);
        setup.abandon(second);
        assert_eq!((left(&setup.worker, "gpt-a"), left(&setup.worker, "gpt-b")), before, "{limit}");
    }
}

#[test]
fn shadow_mode_counts_requests_and_tokens() {
    for (place, limit) in limits() {
        if limit.get("max_pending").is_some() {
            continue;
        }
        let mut setup = Setup::with(Shape::Loop, place, &limit, PLENTY, |changes| {
            changes["mode"] = json!("shadow");
        });
        let full = left(&setup.worker, "gpt-a")[0].1;
        let mut sent = setup.sent("client-key");
        let one = if limit.get("tokens_per_minute").is_some() { ESTIMATE } else { 1 };
        assert_eq!(left(&setup.worker, "gpt-a")[0].1, full - one, "{}", setup.what);
        sent.answer(&mut setup.worker, super::OK_JSON, USAGE);
        setup.finish(&mut sent.exchange, Ending::Complete);
        let one = if limit.get("tokens_per_minute").is_some() { 12 } else { 1 };
        assert_eq!(left(&setup.worker, "gpt-a")[0].1, full - one, "{}", setup.what);
    }
}

#[test]
fn a_target_tried_with_an_open_breaker_still_counts_against_its_limits() {
    let mut setup =
        Setup::with(Shape::Loop, "targets", &json!({"requests_per_minute": 7}), PLENTY, |changes| {
            changes["models"]["chat"]["when_all_open"] = json!("try_anyway");
            changes["models"]["chat"]["retry"] = json!({"attempts": 1});
        });
    open(&mut setup.worker);
    for expected in [1, 0] {
        let mut anyway = setup.sent("other-key");
        assert_eq!(left(&setup.worker, "gpt-a"), [("requests_per_minute", expected)]);
        setup.finish(&mut anyway.exchange, Ending::ClientGone);
    }
    assert!(
        matches!(setup.ask("other-key").step, RequestStep::Answer(_)),
        "the configured limit is enforced"
    );
}
