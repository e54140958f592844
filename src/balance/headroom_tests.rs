use std::rc::Rc;

use super::*;
use crate::balance::test_support::target;
use crate::base::memory::{Memory, Shelf};
use crate::config;
use crate::provider::{RateLimit, RateLimits};
use serde_json::json;

/// `a` and `b` are two accounts of one organisation, each with one model; `a2` is another model of `a`; `c` has limits of
/// its own that are stated.
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

fn need(tokens: u64) -> Need {
    Need::of(Tokens { input: tokens, output: 0 })
}

/// So many unanswered attempts of 100 tokens at each target.
#[derive(Clone, Copy)]
struct Busy {
    unanswered: [u32; 4],
    alone: bool,
}

const IDLE: Busy = Busy { unanswered: [0; 4], alone: true };

impl UnderWay for Busy {
    fn attempts(&self, target: TargetId) -> u32 {
        self.unanswered[target.index()]
    }

    fn unanswered(&self, target: TargetId) -> (u32, Tokens) {
        let count = self.unanswered[target.index()];
        (count, Tokens { input: u64::from(count) * 100, output: 0 })
    }

    fn is_alone(&self) -> bool {
        self.alone
    }
}

fn said(meter: Meter, limit: u64, remaining: u64, reset: Timestamp) -> RateLimits {
    let mut said = RateLimits::default();
    said[meter as usize] = Some(RateLimit { limit: Some(limit), remaining, reset });
    said
}

fn permille(headroom: &Headroom, index: usize, tokens: u64, busy: Busy) -> Option<u16> {
    match headroom.room(target(index), need(tokens), &busy, s(1)) {
        Room::Fits { permille } => Some(permille),
        Room::Full(shortage) => {
            assert!(shortage.until >= s(1));
            None
        }
    }
}

#[test]
fn a_target_loses_weight_as_its_limit_comes_near_and_is_left_out_when_the_request_does_not_fit() {
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
        headroom.answered(target(C), Some(&said(Meter::Tokens, 10_000, remaining, s(60))), need(0), s(0));
        assert_eq!(permille(&headroom, C, tokens, IDLE), wanted, "{remaining} {tokens}");
    }
    let full = headroom.room(target(C), need(1), &IDLE, s(1));
    assert_eq!(full, Room::Full(Shortage { of: Short::Headroom, until: s(60) }));
    assert_eq!(headroom.room(target(C), need(1), &IDLE, s(60)), Room::Fits { permille: 1000 });
}

#[test]
fn operators_read_every_limit_that_is_known() {
    let mut headroom = Headroom::new(&config());
    let store = &mut Memory::new();
    let under_way = |id: TargetId| u32::from(id == target(C));
    assert!(headroom.limits(target(B), under_way, s(1)).is_empty());
    headroom.answered(target(C), Some(&said(Meter::InputTokens, 5_000, 4_000, s(60))), need(0), s(0));
    assert!(headroom.take(store, target(C), need(300), s(1)));
    let of = |of, stated, limit, left, reset| Limit { of, stated, limit: Some(limit), left, reset };
    assert_eq!(
        headroom.limits(target(C), under_way, s(1)),
        [
            of("input_tokens", false, 5_000, 4_000, Some(s(60))),
            of("tokens_per_minute", true, 1_000, 700, None),
            of("max_pending", true, 3, 2, None),
        ]
    );
    let later = headroom.limits(target(C), under_way, s(61));
    assert_eq!(later[0], of("input_tokens", false, 5_000, 5_000, None), "whole again");
    // A pool's limit is told at each of its targets.
    assert!(headroom.take(store, target(A2), need(1), s(1)));
    let [pool] = headroom.limits(target(A), under_way, s(1))[..] else { panic!() };
    assert_eq!(pool, of("requests_per_minute", true, 10, 9, None));
}

#[test]
fn what_is_under_way_and_unanswered_is_taken_off_what_the_provider_says() {
    let mut headroom = Headroom::new(&config());
    headroom.answered(target(C), Some(&said(Meter::Requests, 100, 3, s(60))), need(0), s(0));
    let busy = |count| Busy { unanswered: [0, 0, 0, count], ..IDLE };
    assert!(permille(&headroom, C, 1, busy(2)).is_some());
    assert!(permille(&headroom, C, 1, Busy { unanswered: [9, 9, 9, 2], ..IDLE }).is_some());
    assert_eq!(permille(&headroom, C, 1, busy(3)), None);
    // Where other workers send too, something is kept free for what is not known yet.
    assert_eq!(permille(&headroom, C, 1, Busy { alone: false, ..busy(0) }), None);
}

#[test]
fn accounts_of_one_pool_share_a_models_limits_and_other_models_do_not() {
    let mut headroom = Headroom::new(&config());
    headroom.answered(target(A), Some(&said(Meter::Requests, 100, 1, s(60))), need(0), s(0));
    assert_eq!(permille(&headroom, B, 1, Busy { unanswered: [1, 0, 0, 0], ..IDLE }), None);
    assert_eq!(permille(&headroom, A2, 1, IDLE), Some(1000));
    assert_eq!(permille(&headroom, C, 1, IDLE), Some(1000));
}

#[test]
fn a_request_larger_than_the_whole_limit_is_left_to_the_provider_to_refuse() {
    let mut headroom = Headroom::new(&config());
    headroom.answered(target(C), Some(&said(Meter::Tokens, 500, 500, s(60))), need(0), s(0));
    assert_eq!(permille(&headroom, C, 600, IDLE), Some(1000));
    headroom.answered(target(C), Some(&said(Meter::Tokens, 500, 400, s(60))), need(0), s(0));
    assert_eq!(permille(&headroom, C, 600, IDLE), None);
}

#[test]
fn stated_limits_hold_for_the_account_over_its_models_and_are_exact_over_workers() {
    let shelf: Rc<std::cell::RefCell<Shelf>> = Rc::default();
    let mut stores = [Memory::on(Rc::clone(&shelf)), Memory::on(shelf)];
    let mut workers = [Headroom::new(&config()), Headroom::new(&config())];
    for index in 0..10 {
        let (worker, of) = (index % 2, [A, A2][index % 2]);
        assert!(workers[worker].take(&mut stores[worker], target(of), need(1), s(0)));
    }
    for worker in 0..2 {
        assert!(!workers[worker].take(&mut stores[worker], target(A), need(1), s(0)));
        workers[worker].exchange(&mut stores[worker]);
        assert_eq!(permille(&workers[worker], A, 1, IDLE), None);
        assert_eq!(permille(&workers[worker], B, 1, IDLE), Some(1000), "nothing is stated at its account");
    }
}

#[test]
fn estimated_tokens_make_room_for_real_ones() {
    let mut store = Memory::new();
    let mut headroom = Headroom::new(&config());
    assert!(headroom.take(&mut store, target(C), need(900), s(0)));
    assert_eq!(permille(&headroom, C, 200, IDLE), None);
    headroom.settle(&mut store, target(C), (900, 300), s(0), s(1));
    assert!(permille(&headroom, C, 200, IDLE).is_some());
    assert!(headroom.take(&mut store, target(C), need(700), s(1)));
}

#[test]
fn no_more_attempts_are_under_way_than_stated() {
    let headroom = Headroom::new(&config());
    let busy = |count| Busy { unanswered: [0, 0, 0, count], ..IDLE };
    assert!(permille(&headroom, C, 1, busy(2)).is_some());
    let full = headroom.room(target(C), need(1), &busy(3), s(1));
    assert_eq!(full, Room::Full(Shortage { of: Short::MaxPending, until: s(2) }));
}
