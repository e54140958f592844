//! Each transition, and events that must cause none.

use std::time::Duration;

use proptest::prelude::*;

use super::test_policy::policy;
use super::*;
use crate::base::{ErrorClass, Timestamp};
use crate::config::BreakerPolicy;

const SERVER: HealthSignal = HealthSignal::Failure(ErrorClass::Server);

fn at(s: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + s * 1000)
}

/// An attempt that starts and ends at the same moment.
fn attempt(health: &mut Health, outcome: HealthSignal, now: Timestamp) -> Option<Transition> {
    let ticket = health.ticket();
    health.report(&policy(), ticket, outcome, now, 0)
}

fn tripped() -> Health {
    let mut health = Health::default();
    for _ in 0..5 {
        attempt(&mut health, SERVER, at(0));
    }
    assert!(matches!(health.phase(), BreakerPhase::Open { .. }));
    health
}

fn probe(health: &mut Health, outcome: HealthSignal, now: Timestamp) -> Option<Transition> {
    let ticket = health.take_lease(&policy(), now).expect("a lease");
    health.report(&policy(), ticket, outcome, now, 0)
}

fn is_available(health: &Health, now: Timestamp) -> bool {
    matches!(health.availability(&policy(), now), Availability::Available { .. })
}

#[test]
fn a_run_of_failures_opens_the_breaker_and_one_less_does_not() {
    let mut health = Health::default();
    for _ in 0..4 {
        assert_eq!(attempt(&mut health, SERVER, at(0)), None);
    }
    assert!(is_available(&health, at(0)));
    let reason = TripReason { rule: TripRule::Consecutive, class: ErrorClass::Server };
    assert_eq!(attempt(&mut health, SERVER, at(0)), Some(Transition::Opened(reason)));
    let unavailable = Unavailable::Open { since: at(0), until: at(30), reason };
    assert_eq!(health.availability(&policy(), at(29)), Availability::Unavailable(unavailable));
    assert_eq!(health.availability(&policy(), at(30)), Availability::Probe);
}

#[test]
fn a_success_ends_a_run() {
    let mut health = Health::default();
    for round in 0..20 {
        let outcome = if round % 5 == 4 { HealthSignal::Success } else { SERVER };
        // Too few attempts in the window for the ratio: one round a minute.
        assert_eq!(attempt(&mut health, outcome, at(round * 60)), None);
    }
}

#[test]
fn the_failure_ratio_needs_enough_requests() {
    let mut health = Health::default();
    for round in 0..8 {
        let outcome = if round % 2 == 0 { SERVER } else { HealthSignal::Success };
        assert_eq!(attempt(&mut health, outcome, at(0)), None, "round {round}");
    }
    assert_eq!(attempt(&mut health, HealthSignal::Success, at(0)), None);
    let reason = TripReason { rule: TripRule::Ratio, class: ErrorClass::Server };
    assert_eq!(attempt(&mut health, SERVER, at(0)), Some(Transition::Opened(reason)));
}

#[test]
fn neutral_results_change_nothing() {
    let mut health = Health::default();
    for _ in 0..100 {
        assert_eq!(attempt(&mut health, HealthSignal::Neutral, at(0)), None);
    }
    assert_eq!(health, Health::default());
}

#[test]
fn one_rejected_credential_blocks_at_once_and_for_longer() {
    let mut health = Health::default();
    let reason = TripReason { rule: TripRule::Blocked, class: ErrorClass::Auth };
    assert_eq!(
        attempt(&mut health, HealthSignal::Blocked(ErrorClass::Auth), at(0)),
        Some(Transition::Opened(reason))
    );
    let Availability::Unavailable(unavailable) = health.availability(&policy(), at(299)) else { panic!() };
    assert_eq!(unavailable.name(), "blocked");
    assert_eq!(health.availability(&policy(), at(300)), Availability::Probe);
    assert_eq!(
        probe(&mut health, HealthSignal::Blocked(ErrorClass::Auth), at(300)),
        Some(Transition::Reopened(reason))
    );
    assert_eq!(health.availability(&policy(), at(300 + 600)), Availability::Probe, "twice as long");
}

#[test]
fn a_failure_with_a_hint_counts_and_throttles_for_that_time() {
    for (hint, expected) in [(7, 7), (3600, 30)] {
        let mut health = Health::default();
        let failed = HealthSignal::FailureFor(ErrorClass::Overloaded, Duration::from_secs(hint));
        assert_eq!(attempt(&mut health, failed, at(0)), Some(Transition::Throttled));
        assert_eq!(health.counts(&policy(), at(0)), (0, 1), "it is a failure");
        let throttled = Availability::Unavailable(Unavailable::Throttled { until: at(expected) });
        assert_eq!(health.availability(&policy(), at(expected - 1)), throttled);
        assert!(is_available(&health, at(expected)), "no longer than a breaker is open: {hint}");
    }
    // The run of failures opens it all the same.
    let mut health = Health::default();
    let failed = HealthSignal::FailureFor(ErrorClass::Server, Duration::from_secs(1));
    let opened = (0..5).filter_map(|n| attempt(&mut health, failed, at(n))).any(|transition| {
        matches!(
            transition,
            Transition::Opened(TripReason { rule: TripRule::Consecutive, class: ErrorClass::Server })
        )
    });
    assert!(opened);
}

#[test]
fn successful_probes_close_the_breaker_and_failed_ones_open_it_again() {
    let mut health = tripped();
    let reason = TripReason { rule: TripRule::Probe, class: ErrorClass::Overloaded };
    let failed = HealthSignal::Failure(ErrorClass::Overloaded);
    assert_eq!(probe(&mut health, failed, at(30)), Some(Transition::Reopened(reason)));
    assert!(matches!(health.availability(&policy(), at(59)), Availability::Unavailable(_)));
    assert_eq!(probe(&mut health, HealthSignal::Success, at(60)), None);
    assert_eq!(probe(&mut health, HealthSignal::Success, at(61)), Some(Transition::Closed));
    assert!(is_available(&health, at(61)));
    assert_eq!(health.counts(&policy(), at(61)), (0, 0), "the past is not held against it");
}

#[test]
fn half_open_lets_exactly_its_probes_through() {
    let policy = BreakerPolicy { probes: 2, ..policy() };
    let mut health = tripped();
    let first = health.take_lease(&policy, at(30)).unwrap();
    let second = health.take_lease(&policy, at(30)).unwrap();
    assert_eq!(health.take_lease(&policy, at(30)), None);
    assert!(matches!(health.availability(&policy, at(30)), Availability::Unavailable(_)));
    // A client that leaves returns its lease.
    assert_eq!(health.report(&policy, first, HealthSignal::Neutral, at(31), 0), None);
    let third = health.take_lease(&policy, at(31)).unwrap();
    assert_eq!(health.take_lease(&policy, at(31)), None);
    assert_eq!(health.report(&policy, second, HealthSignal::Success, at(32), 0), None);
    assert_eq!(health.report(&policy, third, HealthSignal::Success, at(32), 0), Some(Transition::Closed));
}

#[test]
fn an_abandoned_lease_expires_and_its_late_result_decides_nothing() {
    let mut health = tripped();
    let lost = health.take_lease(&policy(), at(30)).unwrap();
    assert_eq!(health.take_lease(&policy(), at(49)), None);
    let next = health.take_lease(&policy(), at(50)).unwrap();
    assert_eq!(health.report(&policy(), lost, SERVER, at(51), 0), None);
    assert!(matches!(health.phase(), BreakerPhase::HalfOpen { .. }));
    assert_eq!(health.report(&policy(), next, HealthSignal::Success, at(52), 0), None);
    assert_eq!(probe(&mut health, HealthSignal::Success, at(53)), Some(Transition::Closed));
}

#[test]
fn a_result_of_an_earlier_generation_decides_nothing() {
    let straggler = Health::default().ticket();
    let mut health = tripped();
    for outcome in [SERVER, HealthSignal::Success, HealthSignal::Blocked(ErrorClass::Auth)] {
        assert_eq!(health.report(&policy(), straggler, outcome, at(10), 0), None);
    }
    let lease = health.take_lease(&policy(), at(30)).unwrap();
    assert_eq!(health.report(&policy(), straggler, HealthSignal::Success, at(31), 0), None);
    assert_eq!(health.report(&policy(), straggler, SERVER, at(31), 0), None);
    assert_eq!(health.report(&policy(), lease, HealthSignal::Success, at(32), 0), None);
    probe(&mut health, HealthSignal::Success, at(33));
    for _ in 0..20 {
        health.report(&policy(), straggler, SERVER, at(34), 0);
    }
    assert!(is_available(&health, at(34)), "not even after it closed");
}

#[test]
fn a_hundred_simultaneous_failures_trip_once() {
    let mut health = Health::default();
    let tickets: Vec<_> = (0..100).map(|_| health.ticket()).collect();
    let trips = tickets.into_iter().filter_map(|ticket| health.report(&policy(), ticket, SERVER, at(0), 0));
    assert_eq!(trips.count(), 1);
    assert_eq!(
        health.availability(&policy(), at(30)),
        Availability::Probe,
        "and the open time is that of one"
    );
}

#[test]
fn slow_start_ramps_from_a_tenth_to_the_full_share() {
    let mut health = tripped();
    probe(&mut health, HealthSignal::Success, at(30));
    probe(&mut health, HealthSignal::Success, at(30));
    let share = |s| health.availability(&policy(), at(s));
    assert_eq!(share(30), Availability::Available { permille: 100 });
    assert_eq!(share(35), Availability::Available { permille: 550 });
    assert_eq!(share(40), Availability::Available { permille: 1000 });
    assert_eq!(Health::default().availability(&policy(), at(0)), Availability::Available { permille: 1000 });
}

#[test]
fn a_rate_limit_is_no_failure_and_the_latest_deadline_wins() {
    let mut health = Health::default();
    let until = |health: &Health, now| match health.availability(&policy(), now) {
        Availability::Unavailable(Unavailable::Throttled { until }) => Some(until),
        _ => None,
    };
    let hint = |s| HealthSignal::Throttled(Some(Duration::from_secs(s)));
    assert_eq!(attempt(&mut health, hint(20), at(0)), Some(Transition::Throttled));
    assert_eq!(attempt(&mut health, hint(5), at(1)), None);
    assert_eq!(until(&health, at(2)), Some(at(20)));
    assert_eq!(attempt(&mut health, hint(30), at(3)), Some(Transition::Throttled));
    assert_eq!(until(&health, at(4)), Some(at(33)));
    assert!(is_available(&health, at(33)));
    assert_eq!(health.consecutive(), 0);
    // Without a hint: 1 second, doubled for each one in a row. Those in flight together count once.
    let mut health = Health::default();
    attempt(&mut health, HealthSignal::Throttled(None), at(0));
    attempt(&mut health, HealthSignal::Throttled(None), at(0));
    assert_eq!(until(&health, at(0)), Some(at(1)));
    attempt(&mut health, HealthSignal::Throttled(None), at(1));
    assert_eq!(until(&health, at(1)), Some(at(3)));
    attempt(&mut health, HealthSignal::Success, at(3));
    attempt(&mut health, HealthSignal::Throttled(None), at(4));
    assert_eq!(until(&health, at(4)), Some(at(5)), "a success ends the row");
}

#[test]
fn a_used_up_allowance_rests_until_it_is_renewed() {
    const DAY: u64 = 24 * 3600;
    for (hint, rest) in [(Some(5 * 3600), 5 * 3600), (Some(40 * 3600), DAY), (None, 3600)] {
        let mut health = Health::default();
        let signal = HealthSignal::Exhausted(hint.map(Duration::from_secs));
        assert_eq!(attempt(&mut health, signal, at(0)), Some(Transition::Throttled));
        assert!(!is_available(&health, at(rest - 1)), "{hint:?}");
        assert!(is_available(&health, at(rest)), "{hint:?}");
        assert_eq!(health.consecutive(), 0);
    }
    // A rate limit is believed for an hour only.
    let mut health = Health::default();
    attempt(&mut health, HealthSignal::Throttled(Some(Duration::from_secs(DAY))), at(0));
    assert!(is_available(&health, at(3600)));
}

#[test]
fn a_rate_limited_probe_returns_its_lease() {
    let mut health = tripped();
    assert_eq!(probe(&mut health, HealthSignal::Throttled(None), at(30)), Some(Transition::Throttled));
    assert!(matches!(
        health.availability(&policy(), at(30)),
        Availability::Unavailable(Unavailable::Throttled { .. })
    ));
    assert_eq!(health.availability(&policy(), at(31)), Availability::Probe);
}

#[test]
fn an_order_overrides_everything_until_it_is_undone() {
    let mut health = tripped();
    health.command(Command::ForceClosed, at(1));
    assert!(is_available(&health, at(1)));
    assert_eq!(attempt(&mut health, SERVER, at(2)), None, "traffic under an order decides nothing");
    health.command(Command::Undo, at(3));
    assert!(matches!(
        health.availability(&policy(), at(3)),
        Availability::Unavailable(Unavailable::Open { .. })
    ));
    health.command(Command::ForceOpen, at(4));
    assert_eq!(health.availability(&policy(), at(100)), Availability::Unavailable(Unavailable::ForcedOpen));
    health.command(Command::Drain, at(5));
    assert_eq!(health.availability(&policy(), at(100)), Availability::Unavailable(Unavailable::Drained));
    health.command(Command::Undo, at(6));
    health.command(Command::Probe, at(7));
    assert_eq!(health.availability(&policy(), at(7)), Availability::Probe);
    let straggler = health.ticket();
    health.command(Command::Reset, at(8));
    assert!(is_available(&health, at(8)));
    assert_eq!(health.report(&policy(), straggler, SERVER, at(8), 0), None);
    assert_eq!(health.consecutive(), 0);
}

#[test]
fn a_clock_that_steps_back_keeps_nothing_shut() {
    let health = tripped();
    assert_eq!(health.availability(&policy(), Timestamp::from_millis(5)), Availability::Probe);
    let mut health = Health::default();
    attempt(&mut health, HealthSignal::Throttled(Some(Duration::from_secs(3000))), at(0));
    assert!(is_available(&health, Timestamp::from_millis(5)));
}

#[test]
fn a_clock_slightly_behind_ends_no_open_time_early() {
    let behind = |s| Timestamp::from_millis(at(s).as_millis() - 1);
    let mut health = tripped();
    assert!(matches!(health.availability(&policy(), behind(0)), Availability::Unavailable(_)), "just opened");
    health.take_lease(&policy(), at(30)).unwrap();
    assert_eq!(health.take_lease(&policy(), behind(30)), None, "just taken");
    let mut health = Health::default();
    let hint = |s| HealthSignal::Throttled(Some(Duration::from_secs(s)));
    attempt(&mut health, hint(20), at(0));
    assert_eq!(attempt(&mut health, hint(5), behind(0)), None, "the later deadline wins here, too");
    assert_eq!(
        health.availability(&policy(), at(1)),
        Availability::Unavailable(Unavailable::Throttled { until: at(20) })
    );
}

#[test]
fn a_clock_that_steps_back_does_not_prolong_slow_start() {
    let mut health = tripped();
    probe(&mut health, HealthSignal::Success, at(30));
    probe(&mut health, HealthSignal::Success, at(30));
    assert_eq!(
        health.availability(&policy(), Timestamp::from_millis(5)),
        Availability::Available { permille: 1000 }
    );
}

#[test]
fn leases_granted_under_a_larger_probe_limit_still_count() {
    let more = BreakerPolicy { probes: 3, ..policy() };
    let mut health = tripped();
    let [first, second, third] = [(); 3].map(|()| health.take_lease(&more, at(30)).unwrap());
    for ticket in [first, second] {
        health.report(&policy(), ticket, HealthSignal::Neutral, at(31), 0);
        assert_eq!(health.take_lease(&policy(), at(31)), None);
    }
    health.report(&policy(), third, HealthSignal::Neutral, at(31), 0);
    assert!(health.take_lease(&policy(), at(31)).is_some());
}

#[test]
fn batched_successes_count_but_end_no_run_of_failures() {
    let mut health = Health::default();
    let ticket = health.ticket();
    attempt(&mut health, HealthSignal::Throttled(Some(Duration::from_millis(1))), at(0));
    for _ in 0..4 {
        attempt(&mut health, SERVER, at(1));
    }
    let throttle = health.throttle;
    health.successes(&policy(), ticket, (100, Witness::default()), at(1));
    assert_eq!((health.counts(&policy(), at(1)), health.throttle), ((100, 4), throttle));
    let reason = TripReason { rule: TripRule::Consecutive, class: ErrorClass::Server };
    assert_eq!(attempt(&mut health, SERVER, at(1)), Some(Transition::Opened(reason)));
}

#[test]
fn batched_successes_of_an_earlier_generation_decide_nothing() {
    let ticket = Health::default().ticket();
    let mut health = tripped();
    probe(&mut health, HealthSignal::Success, at(30));
    probe(&mut health, HealthSignal::Success, at(30));
    let before = health.clone();
    health.successes(&policy(), ticket, (100, Witness::default()), at(400));
    assert_eq!(health, before);
}

#[test]
fn the_configuration_allows_no_more_probes_than_a_record_holds() {
    assert_eq!(usize::from(crate::config::MAX_PROBES), MAX_PROBES);
}

#[test]
fn open_times_are_spread_by_a_tenth_at_most() {
    for jitter in [0, 1, 2999, 3000, 3001, u64::MAX] {
        let mut health = Health::default();
        for _ in 0..5 {
            let ticket = health.ticket();
            health.report(&policy(), ticket, SERVER, at(0), jitter);
        }
        let BreakerPhase::Open { until, .. } = health.phase() else { panic!() };
        assert!((at(30)..=at(33)).contains(until), "{jitter}");
    }
}

pub(super) fn outcomes() -> impl Strategy<Value = HealthSignal> {
    prop_oneof![
        4 => Just(HealthSignal::Success),
        4 => Just(SERVER),
        1 => Just(HealthSignal::Blocked(ErrorClass::Auth)),
        1 => proptest::option::of(0_u64..100_000)
                .prop_map(|ms| HealthSignal::Throttled(ms.map(Duration::from_millis))),
        1 => Just(HealthSignal::Neutral),
    ]
}

pub(super) fn commands() -> impl Strategy<Value = Command> {
    prop_oneof![
        Just(Command::ForceOpen),
        Just(Command::ForceClosed),
        Just(Command::Drain),
        Just(Command::Probe),
        Just(Command::Undo),
        Just(Command::Reset),
    ]
}

proptest! {
    /// Any history, with a clock that also steps back. The record survives encoding. No more leases than
    /// probes are in force. Unless an operator ordered otherwise, the scope is available after the longest
    /// open time.
    #[test]
    fn any_history_is_sound(
        steps in proptest::collection::vec(
                (0_u8..6, outcomes(), 0_i64..90_000, any::<u64>(), commands()), 1..120
            ),
        probes in 1_u8..=4,
    ) {
        let policy = BreakerPolicy { probes, ..policy() };
        let mut health = Health::default();
        let mut now = 1_000_000_000_i64;
        let mut running: Vec<Ticket> = Vec::new();
        for (step, outcome, passed, random, command) in steps {
            now += if random % 10 == 0 { -passed } else { passed };
            let moment = Timestamp::from_millis(u64::try_from(now.max(0)).unwrap());
            match step {
                0 if random % 4 == 0 => health.command(command, moment),
                0..=2 => match health.availability(&policy, moment) {
                    Availability::Available { permille } => {
                        prop_assert!((100..=1000).contains(&permille));
                        running.push(health.ticket());
                    }
                    Availability::Probe => running.push(health.take_lease(&policy, moment).unwrap()),
                    Availability::Unavailable(_) => prop_assert_eq!(health.take_lease(&policy, moment), None),
                },
                _ if !running.is_empty() => {
                    let ticket = running.swap_remove(random as usize % running.len());
                    health.report(&policy, ticket, outcome, moment, random);
                }
                _ => {}
            }
            prop_assert_eq!(Health::decode(&health.encode()), Some(health.clone()));
            if let BreakerPhase::HalfOpen { leases, .. } = health.phase() {
                prop_assert!(leases.iter().flatten().count() <= usize::from(probes));
            }
        }
        let far = Timestamp::from_millis(u64::try_from(now.max(0)).unwrap()).after(Duration::from_secs(5000));
        if health.order().is_none() {
            prop_assert!(!matches!(health.availability(&policy, far), Availability::Unavailable(_)));
        }
    }

    #[test]
    fn any_bytes_decode_to_a_valid_state_or_to_none(
        bytes in proptest::collection::vec(any::<u8>(), RECORD_BYTES), version in 0_u8..3
    ) {
        let mut bytes = bytes;
        bytes[0] = version;
        if let Some(health) = Health::decode(&bytes) {
            prop_assert_eq!(version, 1);
            prop_assert_eq!(Health::decode(&health.encode()), Some(health.clone()));
            let _ = health.availability(&policy(), at(0));
        }
        prop_assert_eq!(Health::decode(&bytes[1..]), None);
    }
}
