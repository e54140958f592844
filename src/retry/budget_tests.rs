use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::base::memory::{Memory, Shelf};
use crate::base::{Random, SplitMix64};

const USUAL: RetryBudget = RetryBudget { ratio_permille: 200, floor: 10 };

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + ms)
}

/// How many of `asked` retries are granted at once.
fn granted(retries: &mut Retries, store: &mut Memory<'_>, asked: usize, now: Timestamp) -> usize {
    (0..asked).filter(|_| retries.take(store, &USUAL, now).allowed).count()
}

#[test]
fn the_share_of_ten_seconds_and_the_floor_may_be_retried() {
    let store = &mut Memory::new();
    let mut retries = Retries::default();
    assert_eq!(granted(&mut retries, store, 500, at(0)), 100, "the floor of ten seconds");
    for _ in 0..1000 {
        retries.count_request();
    }
    assert_eq!(granted(&mut retries, store, 500, at(5_000)), 200);
    assert_eq!(granted(&mut retries, store, 500, at(9_999)), 0);
    assert_eq!(granted(&mut retries, store, 500, at(10_000)), 100, "those of the first second are over");
    assert_eq!(granted(&mut retries, store, 500, at(60_000)), 100, "and so is all the rest");
}

#[test]
fn reading_the_budget_takes_nothing() {
    let store = &mut Memory::new();
    let mut retries = Retries::default();
    for _ in 0..50 {
        retries.count_request();
    }
    assert_eq!(granted(&mut retries, store, 30, at(0)), 30);
    let used = BudgetUse { requests: 50, used: 30, allowed: 110 };
    for _ in 0..2 {
        assert_eq!(budget_use(store, &USUAL, at(9_000)), used);
    }
    assert_eq!(budget_use(store, &USUAL, at(10_000)), BudgetUse { requests: 0, used: 0, allowed: 100 });
}

#[test]
fn what_one_worker_takes_is_gone_for_the_others() {
    let shelf: Rc<RefCell<Shelf>> = Rc::default();
    let (mut one, mut other) = (Retries::default(), Retries::default());
    let (one_store, other_store) = (&mut Memory::on(Rc::clone(&shelf)), &mut Memory::on(Rc::clone(&shelf)));
    for _ in 0..500 {
        one.count_request();
    }
    assert!(one.flush(one_store, at(0)));
    assert_eq!(granted(&mut other, other_store, 150, at(100)), 150);
    assert_eq!(granted(&mut one, one_store, 150, at(100)), 50);
}

#[test]
fn when_sharing_fails_each_worker_has_its_own_budget() {
    let store = &mut Memory::new();
    store.broken = true;
    let mut retries = Retries::default();
    for _ in 0..1000 {
        retries.count_request();
    }
    assert!(!retries.flush(store, at(0)));
    let grant = retries.take(store, &USUAL, at(0));
    assert_eq!(grant, Grant { allowed: true, shared: false });
    assert_eq!(granted(&mut retries, store, 1000, at(0)), 299);
}

#[test]
fn nothing_is_retried_without_a_budget() {
    let none = RetryBudget { ratio_permille: 0, floor: 0 };
    let mut retries = Retries::default();
    retries.count_request();
    assert!(!retries.take(&mut Memory::new(), &none, at(0)).allowed);
}

#[test]
fn a_clock_that_steps_back_locks_nothing_for_long() {
    let store = &mut Memory::new();
    let mut retries = Retries::default();
    assert_eq!(granted(&mut retries, store, 500, at(3_600_000)), 100);
    assert_eq!(granted(&mut retries, store, 500, at(3_599_000)), 0, "a little back is the same window");
    assert_eq!(granted(&mut retries, store, 500, at(0)), 100);
}

proptest! {
    #[test]
    fn a_record_survives_encoding_and_garbage_counts_as_empty(
        newest_s in any::<u64>(), requests in any::<[u32; WINDOW_S]>(), retries in any::<[u32; WINDOW_S]>(),
        garbage in proptest::collection::vec(any::<u8>(), 0..120)
    ) {
        let window = Window { newest_s, requests, retries };
        prop_assert_eq!(Window::decode(&window.encode()), Some(window));
        let mut read = Window::read(Some(&garbage), at(0));
        read.add_requests(u32::MAX);
        read.take(&USUAL);
    }
}

// The load on providers in a total outage. Every attempt fails, breakers are left out, and each request may
// have three attempts. Some clients have SDKs that try twice more unless told not to; some try twice more
// whatever they are told.

const WORKERS: usize = 4;
const RATE: u64 = 200;
const ATTEMPTS: u8 = 3;
const CLIENT_TRIES: u8 = 3;
const SECONDS: u64 = 60;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Request { tries: u8, heeds: bool },
    Fails { worker: usize, attempts: u8, tries: u8, heeds: bool },
    Tick { worker: usize },
}

/// The result: requests received by Envoy and attempts received by providers, per second.
struct Outage {
    requests: Vec<u64>,
    attempts: Vec<u64>,
}

fn outage(policy: Option<RetryBudget>, seed: u64) -> Outage {
    let shelf: Rc<RefCell<Shelf>> = Rc::default();
    let mut workers: Vec<_> =
        (0..WORKERS).map(|_| (Retries::default(), Memory::on(Rc::clone(&shelf)))).collect();
    let mut rng = SplitMix64::new(seed);
    let mut events = BinaryHeap::new();
    let mut serial = 0_u64;
    let mut push = |events: &mut BinaryHeap<_>, when: u64, event: Event| {
        serial += 1;
        events.push(Reverse((when, serial, event)));
    };
    for request in 0..RATE * SECONDS {
        let heeds = rng.below(2) == 0;
        push(&mut events, request * 1000 / RATE, Event::Request { tries: 1, heeds });
    }
    for worker in 0..WORKERS {
        let phase = rng.below(100);
        for tick in 0..SECONDS * 10 {
            push(&mut events, phase + tick * 100, Event::Tick { worker });
        }
    }
    let seconds = SECONDS as usize;
    let mut result = Outage { requests: vec![0; seconds], attempts: vec![0; seconds] };
    while let Some(Reverse((now, _, event))) = events.pop() {
        let second = (now / 1000) as usize;
        if second >= seconds {
            break;
        }
        match event {
            Event::Request { tries, heeds } => {
                let worker = rng.below(WORKERS as u64) as usize;
                workers[worker].0.count_request();
                result.requests[second] += 1;
                result.attempts[second] += 1;
                let takes = 5 + rng.below(2_000);
                push(&mut events, now + takes, Event::Fails { worker, attempts: 1, tries, heeds });
            }
            Event::Fails { worker, attempts, tries, heeds } => {
                let (retries, store) = &mut workers[worker];
                let allowed = policy.is_none_or(|policy| retries.take(store, &policy, at(now)).allowed);
                if attempts < ATTEMPTS && allowed {
                    result.attempts[second] += 1;
                    let takes = 5 + rng.below(2_000);
                    push(
                        &mut events,
                        now + takes,
                        Event::Fails { worker, attempts: attempts + 1, tries, heeds },
                    );
                } else if tries < CLIENT_TRIES && !(heeds && policy.is_some()) {
                    // As SDKs do: half a second and more.
                    push(&mut events, now + 500 + rng.below(500), Event::Request { tries: tries + 1, heeds });
                }
            }
            Event::Tick { worker } => {
                let (retries, store) = &mut workers[worker];
                assert!(retries.flush(store, at(now)));
            }
        }
    }
    result
}

#[test]
fn in_a_total_outage_providers_get_a_fifth_more_plus_the_floor() {
    for seed in 0..5 {
        let Outage { requests, attempts } = outage(Some(USUAL), seed);
        let sum = |counts: &[u64], from: usize| counts[from..from + WINDOW_S].iter().sum::<u64>();
        let floor = u64::from(USUAL.floor) * WINDOW_S as u64;
        for from in 0..=SECONDS as usize - WINDOW_S {
            let (offered, load) = (sum(&requests, from), sum(&attempts, from));
            assert!(
                load <= offered * 12 / 10 + floor,
                "second {from}: {load} attempts for {offered} requests"
            );
        }
        let (offered, load): (u64, u64) = (requests.iter().sum(), attempts.iter().sum());
        println!("seed {seed}: {load} attempts for {offered} requests");
        assert!(load <= offered * 12 / 10 + 600 && load > offered, "{load} for {offered}");
    }
    let Outage { requests, attempts } = outage(None, 0);
    let (offered, load): (u64, u64) = (requests.iter().sum(), attempts.iter().sum());
    println!(
        "without a budget: {load} attempts for {offered} requests, of which {} were new",
        RATE * SECONDS
    );
    assert!(load > RATE * SECONDS * 6, "what it protects from: {load}");
}
