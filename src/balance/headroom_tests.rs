use std::rc::Rc;

use super::*;
use crate::balance::test_support::target;
use crate::base::Tokens;
use crate::base::memory::{Memory, Shelf};
use crate::config;
use crate::provider::{RateLimit, RateLimits};
use serde_json::json;

/// `a` and `b` are two accounts of one organisation, each with one model. `a2` is another model of `a`. `c`
/// has configured limits of its own.
fn config() -> Config {
    let config = json!({
        "providers": {"openai": {"kind": "openai"}},
        "accounts": {
            "a": {"provider": "openai", "quota_pool": "org", "limits": {"requests_per_minute": 10}},
            "b": {"provider": "openai", "quota_pool": "org"},
            "c": {"provider": "openai", "limits": {"max_pending": 3}},
        },
        "targets": {
            "a": {"account": "a", "model": "m"},
            "a2": {"account": "a", "model": "other"},
            "b": {"account": "b", "model": "m"},
            "c": {"account": "c", "model": "m", "limits": {"tokens_per_minute": 1000}},
        },
        "models": {"chat": {"targets": ["a", "a2", "b", "c"]}},
    });
    config::load(config.to_string().as_bytes(), &|_| None).unwrap()
}

const A: usize = 0;
const A2: usize = 1;
const B: usize = 2;
const C: usize = 3;

fn s(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + seconds * 1000)
}

fn demand(tokens: u64) -> Demand {
    Demand::of(Tokens { input: tokens, output: 0 })
}

/// This many attempts of 100 tokens without a response at each target.
#[derive(Clone, Copy)]
struct Busy {
    unanswered: [u32; 4],
    only_worker: bool,
}

const IDLE: Busy = Busy { unanswered: [0; 4], only_worker: true };

impl InFlight for Busy {
    fn attempts(&self, target: TargetId) -> u32 {
        self.unanswered[target.index()]
    }

    fn unanswered(&self, target: TargetId) -> (u32, Tokens) {
        let count = self.unanswered[target.index()];
        (count, Tokens { input: u64::from(count) * 100, output: 0 })
    }

    fn is_only_worker(&self) -> bool {
        self.only_worker
    }
}

fn report(meter: Meter, limit: u64, remaining: u64, reset: Timestamp) -> RateLimits {
    let mut report = RateLimits::default();
    report[meter as usize] = Some(RateLimit { limit: Some(limit), remaining, reset });
    report
}

fn permille(headroom: &Headroom, index: usize, tokens: u64, busy: Busy) -> Option<u16> {
    match headroom.room(target(index), demand(tokens), &busy, s(1)) {
        Room::Fits { permille } => Some(permille),
        Room::Full(shortage) => {
            assert!(shortage.until >= s(1));
            None
        }
    }
}

#[test]
fn weight_falls_with_what_is_left_and_a_request_that_does_not_fit_is_excluded() {
    let mut headroom = Headroom::new(&config());
    assert_eq!(permille(&headroom, C, 500, IDLE), Some(1000));
    for (remaining, tokens, wanted) in [
        (10_000, 500, Some(1000)),
        (2_500, 500, Some(1000)),
        (1_500, 500, Some(500)),
        (510, 500, Some(50)),
        (499, 500, None),
        (499, 400, Some(50)),
        (0, 1, None),
    ] {
        headroom.answered(target(C), Some(&report(Meter::Tokens, 10_000, remaining, s(60))), demand(0), s(0));
        assert_eq!(permille(&headroom, C, tokens, IDLE), wanted, "{remaining} {tokens}");
    }
    let full = headroom.room(target(C), demand(1), &IDLE, s(1));
    assert_eq!(full, Room::Full(Shortage { of: LimitKind::Headroom, until: s(60) }));
    assert_eq!(headroom.room(target(C), demand(1), &IDLE, s(60)), Room::Fits { permille: 1000 });
}

#[test]
fn operators_see_every_known_limit() {
    let mut headroom = Headroom::new(&config());
    let store = &mut Memory::new();
    assert!(headroom.limits(target(B), s(1)).is_empty());
    headroom.answered(target(C), Some(&report(Meter::InputTokens, 5_000, 4_000, s(60))), demand(0), s(0));
    assert!(headroom.count(store, target(C), demand(300), s(1)).is_some());
    let of = |of, configured, limit, left, reset| Limit {
        of,
        configured,
        limit: Some(limit),
        left,
        reset,
        bounds: None,
    };
    assert_eq!(
        headroom.limits(target(C), s(1)),
        [
            of("input_tokens", false, 5_000, 4_000, Some(s(60))),
            of("tokens_per_minute", true, 1_000, 700, None),
            of("max_pending", true, 3, 2, None),
        ]
    );
    let later = headroom.limits(target(C), s(61));
    assert_eq!(later[0], of("input_tokens", false, 5_000, 5_000, None), "whole again");
    // The limit of a pool is listed at each of its targets.
    assert!(headroom.count(store, target(A2), demand(1), s(1)).is_some());
    let [pool] = headroom.limits(target(A), s(1))[..] else { panic!() };
    assert_eq!(pool, of("requests_per_minute", true, 10, 9, None));
}

#[test]
fn attempts_without_a_response_are_subtracted_from_the_reported_limit() {
    let mut headroom = Headroom::new(&config());
    headroom.answered(target(C), Some(&report(Meter::Requests, 100, 3, s(60))), demand(0), s(0));
    let busy = |count| Busy { unanswered: [0, 0, 0, count], ..IDLE };
    assert!(permille(&headroom, C, 1, busy(2)).is_some());
    assert!(permille(&headroom, C, 1, Busy { unanswered: [9, 9, 9, 2], ..IDLE }).is_some());
    assert_eq!(permille(&headroom, C, 1, busy(3)), None);
    // While other workers send, a reserve is kept for attempts that are not known yet.
    assert_eq!(permille(&headroom, C, 1, Busy { only_worker: false, ..busy(0) }), None);
}

#[test]
fn accounts_of_one_pool_share_the_limits_of_a_model() {
    let mut headroom = Headroom::new(&config());
    headroom.answered(target(A), Some(&report(Meter::Requests, 100, 1, s(60))), demand(0), s(0));
    assert_eq!(permille(&headroom, B, 1, Busy { unanswered: [1, 0, 0, 0], ..IDLE }), None);
    assert_eq!(permille(&headroom, A2, 1, IDLE), Some(1000));
    assert_eq!(permille(&headroom, C, 1, IDLE), Some(1000));
}

#[test]
fn a_request_larger_than_the_whole_limit_is_sent() {
    let mut headroom = Headroom::new(&config());
    headroom.answered(target(C), Some(&report(Meter::Tokens, 500, 500, s(60))), demand(0), s(0));
    assert_eq!(permille(&headroom, C, 600, IDLE), Some(1000));
    headroom.answered(target(C), Some(&report(Meter::Tokens, 500, 400, s(60))), demand(0), s(0));
    assert_eq!(permille(&headroom, C, 600, IDLE), None);
}

#[test]
fn limits_of_an_account_cover_its_models_and_are_exact_over_workers() {
    let shelf: Rc<std::cell::RefCell<Shelf>> = Rc::default();
    let mut stores = [Memory::on(Rc::clone(&shelf)), Memory::on(shelf)];
    let mut workers = [Headroom::new(&config()), Headroom::new(&config())];
    for index in 0..10 {
        let (worker, of) = (index % 2, [A, A2][index % 2]);
        assert!(workers[worker].count(&mut stores[worker], target(of), demand(1), s(0)).is_some());
    }
    for worker in 0..2 {
        assert!(workers[worker].count(&mut stores[worker], target(A), demand(1), s(0)).is_none());
        workers[worker].exchange(&mut stores[worker]);
        assert_eq!(permille(&workers[worker], A, 1, IDLE), None);
        assert_eq!(
            permille(&workers[worker], B, 1, IDLE),
            Some(1000),
            "nothing is configured at its account"
        );
    }
}

#[test]
fn actual_tokens_replace_estimated_ones() {
    let mut store = Memory::new();
    let mut headroom = Headroom::new(&config());
    let counted = headroom.count(&mut store, target(C), demand(900), s(0)).unwrap();
    assert_eq!(permille(&headroom, C, 200, IDLE), None);
    headroom.settle(&mut store, counted, Some(300), s(1));
    assert!(permille(&headroom, C, 200, IDLE).is_some());
    assert!(headroom.count(&mut store, target(C), demand(700), s(1)).is_some());
}

#[test]
fn max_pending_bounds_the_attempts_in_flight() {
    let store = &mut Memory::new();
    let mut headroom = Headroom::new(&config());
    let mut counted: Vec<_> =
        (0..2).map(|_| headroom.count(store, target(C), demand(1), s(0)).unwrap()).collect();
    assert!(permille(&headroom, C, 1, IDLE).is_some());
    assert_eq!(headroom.reached_max_pending(target(C)), None);
    counted.extend(headroom.count(store, target(C), demand(1), s(0)));
    assert_eq!(headroom.reached_max_pending(target(C)), Some(3), "its account's");
    assert_eq!(headroom.max_pending(target(C)), None, "it has none of its own");
    let full = headroom.room(target(C), demand(1), &IDLE, s(1));
    assert_eq!(full, Room::Full(Shortage { of: LimitKind::MaxPending, until: s(2) }));
    assert!(headroom.count(store, target(C), demand(1), s(0)).is_none());
    counted.into_iter().for_each(|counted| headroom.uncount(store, counted, s(1)));
    assert!(permille(&headroom, C, 1, IDLE).is_some());
}
