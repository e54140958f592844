//! Slow start of a scope that is alone: how many attempts may start, over all workers.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::base::memory::{Memory, Shelf};
use crate::base::{ErrorClass, TargetId, Timestamp};
use crate::config::{self, BreakerPolicy};

const SLOW_START: u64 = 8_000;
const CONFIG: &str = r#"{"providers": {"a": {"kind": "openai"}}, "targets": {"t": {"provider": "a", "key": {"value": "k"}, "model": "m"}},
    "models": {"chat": {"targets": ["t"]}}}"#;

fn policy() -> BreakerPolicy {
    BreakerPolicy {
        window: Duration::from_secs(10),
        min_requests: 10_000,
        close_after: 1,
        slow_start: Duration::from_millis(SLOW_START),
        ..BreakerPolicy::default()
    }
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000).after(Duration::from_millis(ms))
}

/// A breaker that has just closed. Before it opened there were this many attempts in a slot of 250 ms.
fn recovered(usual: u16) -> Health {
    let before = Timestamp::from_millis(999_000_000);
    let mut health = Health::default();
    for _ in 0..u32::from(usual) * 40 {
        let ticket = health.ticket();
        health.report(&policy(), ticket, HealthSignal::Success, before, 0);
    }
    for _ in 0..5 {
        let ticket = health.ticket();
        health.report(&policy(), ticket, HealthSignal::Failure(ErrorClass::Server), before, 0);
    }
    let probe = health.take_lease(&policy(), at(0)).unwrap();
    assert_eq!(health.report(&policy(), probe, HealthSignal::Success, at(0), 0), Some(Transition::Closed));
    health
}

/// How many of `asked` attempts may start in each slot of the slow start.
fn starts(health: &mut Health, asked: usize) -> Vec<usize> {
    let slots = (0..SLOW_START).step_by(250);
    slots.map(|ms| (0..asked).filter(|_| health.take_start(&policy(), at(ms)).is_some()).count()).collect()
}

#[test]
fn starts_double_in_every_eighth_of_the_slow_start_whatever_was_usual() {
    let mut expected = Vec::new();
    for step in 0..8 {
        expected.extend([1 << step; 4]);
    }
    assert_eq!(starts(&mut recovered(0), 1000), expected);
    assert_eq!(starts(&mut recovered(3), 1000), expected);
    let twentyfold: Vec<_> = expected.iter().map(|starts| starts * 20).collect();
    assert_eq!(starts(&mut recovered(60), 10_000), twentyfold);
    // Nothing is counted after it, and in a breaker that has never opened.
    let mut health = recovered(0);
    let before = health.clone();
    assert!((0..1000).all(|_| health.take_start(&policy(), at(SLOW_START)).is_some()));
    assert_eq!(health, before);
    assert!((0..1000).all(|_| Health::default().take_start(&policy(), at(0)).is_some()));
}

/// At the usual rate, requests that come during the slow start wait for less than an eighth of it.
#[test]
fn at_the_usual_rate_nobody_waits_for_long() {
    for usual in [1, 2, 5, 12, 25, 60, 100] {
        let mut health = recovered(usual);
        // When those came that still wait, and the longest wait.
        let (mut waiting, mut longest) = (std::collections::VecDeque::new(), 0);
        for ms in (0..SLOW_START).step_by(250) {
            waiting.extend((0..usual).map(|_| ms));
            while !waiting.is_empty() && health.take_start(&policy(), at(ms)).is_some() {
                longest = longest.max(ms - waiting.pop_front().unwrap());
            }
        }
        assert!(longest <= SLOW_START / 8 + 250, "{longest} ms at {usual} in a slot");
        assert!(waiting.is_empty());
    }
}

#[test]
fn a_short_life_between_two_trips_does_not_lower_what_is_usual() {
    let mut health = recovered(60);
    for _ in 0..5 {
        let ticket = health.ticket();
        health.report(&policy(), ticket, HealthSignal::Failure(ErrorClass::Server), at(300), 0);
    }
    health.command(Command::Probe, at(400));
    let probe = health.take_lease(&policy(), at(400)).unwrap();
    health.report(&policy(), probe, HealthSignal::Success, at(400), 0);
    assert_eq!((0..1000).filter(|_| health.take_start(&policy(), at(400)).is_some()).count(), 20);
}

#[test]
fn the_next_start_is_in_the_next_slot() {
    let mut health = recovered(0);
    assert_eq!(health.next_start(&policy(), at(100)), None);
    assert!(health.take_start(&policy(), at(100)).is_some());
    assert_eq!(health.next_start(&policy(), at(110)), Some(at(250)));
    assert_eq!(health.next_start(&policy(), at(250)), None);
}

#[test]
fn an_order_and_a_clock_that_steps_back_keep_nothing_waiting() {
    let mut health = recovered(0);
    health.command(Command::ForceClosed, at(0));
    assert!((0..10).all(|_| health.take_start(&policy(), at(0)).is_some()));
    let mut health = recovered(0);
    while health.take_start(&policy(), at(5_000)).is_some() {}
    assert!(
        health.take_start(&policy(), at(2_000)).is_some(),
        "back by three seconds, within the slow start"
    );
    assert!((0..10).all(|_| health.take_start(&policy(), Timestamp::from_millis(5)).is_some()));
}

proptest! {
    /// Several workers whose clocks differ, with views of any age: in no slot do more attempts start than it
    /// allows, and all that it allows do if enough are asked.
    #[test]
    fn the_count_of_starts_holds_over_all_workers(
        asks in proptest::collection::vec((0_usize..4, 0_u64..4, any::<bool>()), 1..400)
    ) {
        let config = config::load(CONFIG.as_bytes(), &|_| None).unwrap();
        let shelf: Rc<RefCell<Shelf>> = Rc::default();
        let target = Scope::Target(TargetId::from_index(0).unwrap());
        let mut first = Memory::on(Rc::clone(&shelf));
        let mut view = HealthView::new(&config);
        view.command(&mut first, target, Command::Drain, at(0));
        let key = shelf.borrow().records.keys().next().unwrap().clone();
        shelf.borrow_mut().records.get_mut(&key).unwrap().bytes = recovered(0).encode().to_vec();
        let mut workers: Vec<_> = (0..4)
            .map(|_| (HealthView::new(&config), Memory::on(Rc::clone(&shelf))))
            .collect();
        for (view, memory) in &mut workers {
            view.refresh(memory);
        }
        let mut started = vec![0_u32; 40];
        for (number, (worker, behind, refreshes)) in asks.into_iter().enumerate() {
            let now = 3 + u64::try_from(number).unwrap() * 20;
            if now >= SLOW_START {
                break;
            }
            let (view, memory) = &mut workers[worker];
            if refreshes {
                view.refresh(memory);
            }
            let change = view.take_start(memory, target, &policy(), at(now - behind.min(3)));
            prop_assert!(change.shared);
            if change.result.is_some() {
                started[usize::try_from(now / 250).unwrap()] += 1;
            }
        }
        for (slot, count) in started.into_iter().enumerate() {
            // A clock that is behind by up to 3 ms may begin in the slot before.
            let step = u32::try_from(slot / 4).unwrap();
            prop_assert!(count <= (1 << step) + 1, "{count} in slot {slot}");
        }
    }
}
