//! What is written to the shared data and when, and what happens if that fails.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;

use super::codec::Healths;
use super::test_policy::policy;
use super::*;
use crate::base::memory::{Memory, Shelf};
use crate::base::{
    AccountId, EndpointFamily, ErrorClass, MAX_TRIES, ProviderId, StoreError, Stored, TargetId, Timestamp,
};
use crate::config::{self, Config};

const SERVER: HealthSignal = HealthSignal::Failure(ErrorClass::Server);
const KEY: &str = "llm-failsafe/target/t";

fn at(s: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + s * 1000)
}

fn config(targets: &[&str]) -> Config {
    let target = |name: &&str| format!(r#""{name}": {{"account": "a", "model": "m"}}"#);
    let all: Vec<_> = targets.iter().map(target).collect();
    let json = format!(
        r#"{{"providers": {{"p": {{"kind": "openai", "cluster": "c"}}}},
             "accounts": {{"a": {{"provider": "p", "key": {{"value": "sk-x"}}}}}},
             "targets": {{{}}}, "models": {{"m": {{"targets": ["t"]}}}}}}"#,
        all.join(",")
    );
    config::load(json.as_bytes(), &|_| None).unwrap()
}

fn target(index: usize) -> Scope {
    Scope::Target(TargetId::from_index(index).unwrap())
}

/// One worker and its access to the shared data.
struct One<'w> {
    health_view: HealthView,
    memory: Memory<'w>,
}

impl One<'_> {
    fn new() -> Self {
        Self::on(&Rc::default())
    }

    fn on(shelf: &Rc<RefCell<Shelf>>) -> Self {
        Self { health_view: HealthView::new(&config(&["t"])), memory: Memory::on(Rc::clone(shelf)) }
    }

    fn attempt(&mut self, outcome: HealthSignal, now: Timestamp) -> Change<Option<Transition>> {
        let ticket = self.health_view.ticket(target(0)).unwrap();
        self.report(ticket, outcome, now)
    }

    fn report(
        &mut self,
        ticket: Ticket,
        outcome: HealthSignal,
        now: Timestamp,
    ) -> Change<Option<Transition>> {
        self.health_view.report(&mut self.memory, target(0), &policy(), (ticket, outcome), now, 0)
    }

    fn trip(&mut self, now: Timestamp) {
        for _ in 0..5 {
            self.attempt(SERVER, now);
        }
        assert!(matches!(self.health().phase(), BreakerPhase::Open { .. }));
    }

    fn lease(&mut self, now: Timestamp) -> Option<Ticket> {
        self.health_view.take_lease(&mut self.memory, target(0), &policy(), now).result
    }

    fn refresh(&mut self) -> &Health {
        self.health_view.refresh(&mut self.memory);
        self.health()
    }

    fn health(&self) -> &Health {
        self.health_view.health(target(0)).unwrap()
    }

    fn availability(&self, now: Timestamp) -> Availability {
        self.health_view.availability(target(0), &policy(), now)
    }
}

#[test]
fn successes_of_a_healthy_scope_cost_one_change_together() {
    let mut one = One::new();
    for _ in 0..1000 {
        one.attempt(HealthSignal::Success, at(0));
    }
    assert_eq!(one.memory.calls, 0);
    assert_eq!(one.health_view.flush(&mut one.memory, &policy(), at(0)), 0);
    assert_eq!(one.memory.calls, 2);
    assert_eq!(one.refresh().counts(&policy(), at(0)), (1000, 0));
    one.memory.calls = 0;
    one.health_view.flush(&mut one.memory, &policy(), at(0));
    assert_eq!(one.memory.calls, 0, "nothing is reported twice");
}

#[test]
fn a_failure_costs_a_read_and_a_write_and_a_neutral_result_nothing() {
    let mut one = One::new();
    one.attempt(SERVER, at(0));
    assert_eq!(one.memory.calls, 2);
    one.attempt(HealthSignal::Neutral, at(0));
    assert_eq!(one.memory.calls, 2);
}

#[test]
fn one_failure_in_four_opens_nothing_however_rarely_successes_are_flushed() {
    let mut one = One::new();
    for round in 0..400 {
        let outcome = if round % 4 == 3 { SERVER } else { HealthSignal::Success };
        assert_eq!(one.attempt(outcome, at(0)).result, None, "round {round}");
    }
    assert_eq!(one.health().counts(&policy(), at(0)), (300, 100));
}

#[test]
fn workers_that_create_a_record_together_lose_no_change() {
    for changes in [0, 1, 2, 1000, u32::MAX - 3] {
        let shelf = Rc::new(RefCell::new(Shelf::after_changes(changes)));
        let second = RefCell::new(One::on(&shelf));
        let mut raced = false;
        let mut first = One::on(&shelf);
        first.memory.before_write = Some(Box::new(|| {
            if !std::mem::replace(&mut raced, true) {
                second.borrow_mut().attempt(SERVER, at(0));
            }
        }));
        assert!(first.attempt(SERVER, at(0)).shared);
        assert_eq!(first.health().consecutive(), 2, "after {changes} changes");
        assert_eq!(first.memory.calls, 4, "a read and a write, and again");
    }
}

#[test]
fn a_worker_that_loses_every_race_decides_alone_and_reports_it() {
    let shelf = Rc::default();
    let rival = RefCell::new(One::on(&shelf));
    let mut one = One::on(&shelf);
    rival.borrow_mut().trip(at(0));
    one.refresh();
    one.memory.calls = 0;
    one.memory.before_write = Some(Box::new(|| {
        let rival = &mut *rival.borrow_mut();
        rival.health_view.command(&mut rival.memory, target(0), Command::Probe, at(30));
        let ticket = rival.lease(at(30)).unwrap();
        rival.report(ticket, HealthSignal::Neutral, at(30));
    }));
    let change = one.health_view.take_lease(&mut one.memory, target(0), &policy(), at(30));
    assert!(change.result.is_some_and(|ticket| ticket.is_probe()), "rather too many probes than none");
    assert!(!change.shared);
    assert_eq!(one.memory.calls, 2 * MAX_TRIES);
    one.memory.before_write = None;
    assert_eq!(one.refresh(), rival.borrow().health(), "and learns what the others know");
}

#[test]
fn when_reading_fails_a_worker_trips_alone_and_stays_open() {
    let mut one = One::new();
    one.memory.broken = true;
    one.attempt(HealthSignal::Success, at(0));
    assert_eq!(one.health_view.flush(&mut one.memory, &policy(), at(0)), 1);
    for _ in 0..5 {
        assert!(!one.attempt(SERVER, at(0)).shared);
    }
    one.refresh();
    assert!(matches!(one.availability(at(1)), Availability::Unavailable(_)));
    let ticket = one.lease(at(30)).unwrap();
    assert_eq!(one.lease(at(30)), None);
    one.report(ticket, HealthSignal::Success, at(31));
    let ticket = one.lease(at(31)).unwrap();
    assert_eq!(one.report(ticket, HealthSignal::Success, at(31)).result, Some(Transition::Closed));
}

#[test]
fn when_writing_fails_a_worker_trips_alone() {
    struct ReadOnly;
    impl crate::base::Store for ReadOnly {
        fn read(&mut self, _: &str) -> Result<Option<Stored>, StoreError> {
            Ok(None)
        }
        fn write(&mut self, _: &str, _: &[u8], _: u32) -> Result<(), StoreError> {
            Err(StoreError::Failed)
        }
    }
    let mut one = One::new();
    for _ in 0..5 {
        let ticket = one.health_view.ticket(target(0)).unwrap();
        let change = one.health_view.report(&mut ReadOnly, target(0), &policy(), (ticket, SERVER), at(0), 0);
        assert!(!change.shared);
    }
    one.health_view.refresh(&mut ReadOnly);
    assert!(matches!(one.availability(at(1)), Availability::Unavailable(_)));
}

#[test]
fn an_old_view_gets_no_second_lease_and_a_plain_ticket_after_recovery() {
    let shelf = Rc::default();
    let (mut first, mut second) = (One::on(&shelf), One::on(&shelf));
    first.trip(at(0));
    second.refresh();
    let probe = first.lease(at(30)).unwrap();
    assert_eq!(second.availability(at(30)), Availability::Probe, "it does not know yet");
    assert_eq!(second.lease(at(30)), None);
    assert!(matches!(second.availability(at(30)), Availability::Unavailable(_)), "now it does");
    // Back to an older view; meanwhile the scope has become healthy.
    first.report(probe, HealthSignal::Neutral, at(31));
    second.refresh();
    for _ in 0..2 {
        let probe = first.lease(at(31)).unwrap();
        first.report(probe, HealthSignal::Success, at(31));
    }
    assert_eq!(second.availability(at(31)), Availability::Probe);
    assert_eq!(second.lease(at(31)).map(|ticket| ticket.is_probe()), Some(false));
}

#[test]
fn every_command_reaches_every_worker_at_its_next_refresh() {
    let shelf = Rc::default();
    let mut workers: Vec<_> = (0..8).map(|_| One::on(&shelf)).collect();
    workers[0].trip(at(0));
    type Holds = fn(Availability) -> bool;
    let wanted: [(Command, Holds); 7] = [
        (Command::ForceClosed, |availability| matches!(availability, Availability::Available { .. })),
        (Command::ForceOpen, |availability| {
            availability == Availability::Unavailable(Unavailable::ForcedOpen)
        }),
        (Command::Drain, |availability| availability == Availability::Unavailable(Unavailable::Drained)),
        (Command::Undo, |availability| {
            matches!(availability, Availability::Unavailable(Unavailable::Open { .. }))
        }),
        (Command::Probe, |availability| availability == Availability::Probe),
        (Command::Reset, |availability| availability == Availability::Available { permille: 1000 }),
        (Command::Drain, |availability| availability == Availability::Unavailable(Unavailable::Drained)),
    ];
    for (giver, (command, holds)) in wanted.into_iter().enumerate() {
        let worker = &mut workers[giver];
        assert!(worker.health_view.command(&mut worker.memory, target(0), command, at(1)).shared);
        for worker in &mut workers {
            worker.refresh();
            assert!(holds(worker.availability(at(1))), "{command:?}: {:?}", worker.availability(at(1)));
        }
    }
}

#[test]
fn a_refresh_keeps_what_this_worker_opened() {
    let shelf = Rc::default();
    let (mut first, mut second) = (One::on(&shelf), One::on(&shelf));
    second.attempt(HealthSignal::Success, at(0));
    first.trip(at(0));
    // The other worker flushes what it collected before the trip.
    second.health_view.flush(&mut second.memory, &policy(), at(0));
    first.refresh();
    assert!(matches!(first.availability(at(1)), Availability::Unavailable(_)));
}

#[test]
fn records_are_stored_by_name_and_survive_a_configuration_change() {
    let mut one = One::new();
    one.trip(at(0));
    let mut next = HealthView::new(&config(&["earlier", "t", "zero"]));
    next.refresh(&mut one.memory);
    assert!(matches!(next.availability(target(1), &policy(), at(1)), Availability::Unavailable(_)));
    assert_eq!(next.availability(target(0), &policy(), at(1)), Availability::Available { permille: 1000 });
}

#[test]
fn scopes_of_different_kinds_are_separate() {
    let mut one = One::new();
    let account = Scope::Account(AccountId::from_index(0).unwrap());
    let endpoint = Scope::Endpoint(ProviderId::from_index(0).unwrap());
    one.health_view.command(&mut one.memory, account, Command::Drain, at(0));
    one.refresh();
    let fit = Availability::Available { permille: 1000 };
    assert_eq!(
        one.health_view.availability(account, &policy(), at(0)),
        Availability::Unavailable(Unavailable::Drained)
    );
    assert_eq!([one.availability(at(0)), one.health_view.availability(endpoint, &policy(), at(0))], [fit; 2]);
}

#[test]
fn families_of_endpoints_have_breakers_of_their_own_and_obey_the_same_orders() {
    let shelf = Rc::default();
    let (mut one, mut other) = (One::on(&shelf), One::on(&shelf));
    let embeddings = Breaker::new(target(0), EndpointFamily::Embeddings);
    let trip = |one: &mut One<'_>| {
        for _ in 0..5 {
            let ticket = one.health_view.ticket(embeddings).unwrap();
            one.health_view.report(&mut one.memory, embeddings, &policy(), (ticket, SERVER), at(0), 0);
        }
    };
    one.attempt(HealthSignal::Success, at(0));
    trip(&mut one);
    other.refresh();
    for one in [&one, &other] {
        assert!(matches!(
            one.health_view.availability(embeddings, &policy(), at(0)),
            Availability::Unavailable(_)
        ));
        assert_eq!(one.availability(at(0)), Availability::Available { permille: 1000 });
        assert_eq!(one.health_view.worst(target(0), &policy(), at(0)), embeddings);
    }
    // An account has one breaker for both.
    let account = Scope::Account(AccountId::from_index(0).unwrap());
    assert_eq!(Breaker::new(account, EndpointFamily::Embeddings), account.into());

    other.health_view.command(&mut other.memory, target(0), Command::Drain, at(1));
    let drained = Availability::Unavailable(Unavailable::Drained);
    assert_eq!(other.health_view.availability(embeddings, &policy(), at(1)), drained);
    assert_eq!(other.availability(at(1)), drained);
}

#[test]
fn a_record_ends_with_the_last_family_that_says_anything() {
    use crate::base::EndpointFamily::{Audio, Embeddings, Generation, Images};
    let tripped = |health: &mut Health| {
        let ticket = health.ticket();
        for _ in 0..5 {
            health.report(&policy(), ticket, SERVER, at(0), 0);
        }
    };
    for (family, records) in [(Generation, 1), (Embeddings, 2), (Images, 6), (Audio, 7)] {
        let mut healths = Healths::default();
        tripped(healths.of_mut(family));
        let bytes = healths.encode();
        assert_eq!(bytes.len(), records * RECORD_BYTES);
        assert_eq!(Healths::decode(&bytes), Some(healths));
        assert_eq!(Healths::decode(&bytes[1..]), None);
    }
    let too_many = Healths::default().encode().repeat(EndpointFamily::COUNT + 1);
    assert_eq!(Healths::decode(&too_many), None);
}

#[test]
fn the_main_breaker_is_that_of_embeddings_only_if_nothing_else_is_asked_for() {
    let mut one = One::new();
    let embeddings = Breaker::new(target(0), EndpointFamily::Embeddings);
    assert_eq!(one.health_view.main(target(0)), target(0).into());
    let ticket = one.health_view.ticket(embeddings).unwrap();
    one.health_view.report(&mut one.memory, embeddings, &policy(), (ticket, SERVER), at(0), 0);
    assert_eq!(one.health_view.main(target(0)), embeddings);
    one.attempt(SERVER, at(0));
    assert_eq!(one.health_view.main(target(0)), target(0).into());
}

#[test]
fn the_keys_of_collected_successes_reach_other_workers() {
    let shelf = Rc::default();
    let (mut one, mut other) = (One::on(&shelf), One::on(&shelf));
    let by = |number: u8| Witness { key: Keys::of(&[number; 32]), ..Witness::default() };
    let report = |one: &mut One<'_>, signal, by| {
        let ticket = one.health_view.ticket(target(0)).unwrap();
        let report = Report { ticket, signal, by, jitter: 0 };
        one.health_view.take_in(&mut one.memory, target(0).into(), &policy(), report, at(0)).result.0
    };
    for _ in 0..3 {
        report(&mut one, HealthSignal::Success, by(1));
    }
    assert_eq!(one.memory.calls, 0);
    one.health_view.flush(&mut one.memory, &policy(), at(0));
    let last = (0..5).map(|_| report(&mut other, SERVER, by(2))).last().unwrap();
    assert!(matches!(last, Some(Transition::Held(_))), "{last:?}");
}

#[test]
fn an_unknown_scope_is_available_and_records_nothing() {
    let mut one = One::new();
    let ticket = one.health_view.ticket(target(0)).unwrap();
    assert_eq!(
        one.health_view.availability(target(9), &policy(), at(0)),
        Availability::Available { permille: 1000 }
    );
    assert_eq!(one.health_view.ticket(target(9)), None);
    one.health_view.report(&mut one.memory, target(9), &policy(), (ticket, SERVER), at(0), 0);
    one.health_view.take_lease(&mut one.memory, target(9), &policy(), at(0));
    assert_eq!(one.memory.calls, 0);
}

proptest! {
    /// The key may hold anything: a record of another version, a truncated one, random bytes.
    #[test]
    fn an_unreadable_record_counts_as_empty_and_is_overwritten(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            (0_u8..=255, proptest::collection::vec(any::<u8>(), RECORD_BYTES - 1))
                .prop_filter("of another version", |(version, _)| *version != 1)
                .prop_map(|(version, rest)| [vec![version], rest].concat()),
        ],
        cas in 1_u32..,
    ) {
        prop_assume!(Health::decode(&bytes).is_none());
        let mut one = One::new();
        one.trip(at(0));
        one.memory.shelf.borrow_mut().records.insert(KEY.to_owned(), Stored { bytes, cas });
        prop_assert_eq!(one.refresh(), &Health::default());
        prop_assert!(one.attempt(SERVER, at(0)).shared);
        let stored = one.memory.shelf.borrow().records[KEY].bytes.clone();
        prop_assert_eq!(Health::decode(&stored).map(|health| health.consecutive()), Some(1));
    }
}

#[test]
fn a_record_outlives_a_worker() {
    let shelf = Rc::default();
    One::on(&shelf).trip(at(0));
    let mut next = One::on(&shelf);
    assert!(matches!(next.availability(at(1)), Availability::Available { .. }), "it knows nothing yet");
    next.refresh();
    let Availability::Unavailable(unavailable) = next.availability(at(1)) else { panic!() };
    assert_eq!(unavailable.until(), Some(at(0).after(Duration::from_secs(30))));
}
