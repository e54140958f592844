//! Clients that leave before a target begins to answer.

use std::time::Duration;

use proptest::prelude::*;

use super::test_policy::policy;
use super::*;
use crate::base::{ErrorClass, Timestamp};
use crate::config::BreakerPolicy;

fn at(s: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + s * 1000)
}

fn key(number: u8) -> Keys {
    Keys::of(&[number; 32])
}

/// A client leaves unanswered. Its request was sent in the current generation.
fn leaves(health: &mut Health, policy: &BreakerPolicy, key: Keys, now: Timestamp) -> Option<Transition> {
    health.report(policy, health.ticket(), HealthSignal::Unanswered(key), now, 0)
}

fn end(health: &mut Health, signal: HealthSignal) -> Option<Transition> {
    health.report(&policy(), health.ticket(), signal, at(0), 0)
}

/// Two clients have left often enough.
fn silent() -> Health {
    let mut health = Health::default();
    for nth in 0..5 {
        let changed = leaves(&mut health, &policy(), key(nth % 2), at(0));
        let reason = TripReason { rule: TripRule::Unanswered, class: ErrorClass::ClientAbort };
        assert_eq!(changed, (nth == 4).then_some(Transition::Opened(reason)), "{nth}");
    }
    health
}

#[test]
fn several_clients_that_leave_in_a_row_have_it_probed_and_one_client_never_does() {
    // Whose requests were unanswered, and after which of them it is probed.
    for (limit, clients, probed_after) in [
        (5, &[1, 2, 1, 2, 1][..], Some(5)),
        (5, &[1, 2, 3, 4, 5], Some(5)),
        (5, &[1, 1, 1, 1, 2], Some(5)),
        (5, &[1, 1, 1, 1, 1, 1, 1, 2], Some(8)),
        (5, &[1, 2, 3, 4], None),
        (5, &[1; 1000], None),
        (2, &[1, 2], Some(2)),
        (1, &[1, 1, 1], None),
        (1, &[1, 2], Some(2)),
        (0, &[1, 2, 3, 4, 5, 6, 7, 8], None),
    ] {
        let policy = BreakerPolicy { unanswered: limit, ..policy() };
        let mut health = Health::default();
        let changes: Vec<_> =
            clients.iter().map(|client| leaves(&mut health, &policy, key(*client), at(0))).collect();
        let opened = changes.iter().position(Option::is_some).map(|nth| nth + 1);
        assert_eq!(opened, probed_after, "{limit} {clients:?}");
        let available = health.availability(&policy, at(0));
        assert_eq!(available == Availability::Probe, opened.is_some(), "{limit} {clients:?}: {available:?}");
    }
}

#[test]
fn clients_that_nobody_knows_do_not_count() {
    let mut health = Health::default();
    for nth in 0..100 {
        assert_eq!(leaves(&mut health, &policy(), if nth == 0 { key(1) } else { Keys::NONE }, at(0)), None);
    }
    assert_eq!(health.unanswered.count, 1);
}

#[test]
fn an_answer_in_between_ends_the_run_and_the_end_of_another_silence_does_not() {
    for (between, goes_on) in [
        (None, false),
        (Some(HealthSignal::Success), false),
        (Some(HealthSignal::Neutral), true),
        (Some(HealthSignal::Failure(ErrorClass::Timeout)), true),
    ] {
        let mut health = Health::default();
        for nth in 0..4 {
            leaves(&mut health, &policy(), key(nth), at(0));
        }
        assert!(health.awaits_answer() && !health.can_batch_successes());
        let change = match between {
            Some(signal) => end(&mut health, signal),
            None => health.answered(false, at(0)),
        };
        assert_eq!(change, None, "{between:?}");
        assert_eq!(health.awaits_answer(), goes_on, "{between:?}");
        let opened = leaves(&mut health, &policy(), key(1), at(0));
        assert_eq!(opened.is_some(), goes_on, "{between:?}");
    }
}

#[test]
fn it_is_probed_one_at_a_time_until_a_probe_is_answered() {
    let mut health = silent();
    for _ in 0..50 {
        let probe = health.take_lease(&policy(), at(0)).unwrap();
        assert_eq!(health.take_lease(&policy(), at(1)), None, "one at a time");
        assert!(matches!(health.availability(&policy(), at(1)), Availability::Unavailable(_)));
        let left = health.report(&policy(), probe, HealthSignal::Unanswered(key(3)), at(1), 0);
        assert_eq!((left, health.availability(&policy(), at(1))), (None, Availability::Probe));
    }
    let probe = health.take_lease(&policy(), at(2)).unwrap();
    assert_eq!(health.answered(true, at(2)), Some(Transition::Closed), "its answer begins");
    assert_eq!(health.availability(&policy(), at(2)), Availability::Available { permille: 1000 });
    assert_eq!(health.report(&policy(), probe, HealthSignal::Success, at(3), 0), None);
    assert_eq!(health.answered(true, at(3)), None);
    assert!(!health.awaits_answer());
}

#[test]
fn a_success_alone_closes_it_and_a_bad_answer_does_not() {
    let mut health = silent();
    assert_eq!(health.answered(false, at(0)), None);
    let probe = health.take_lease(&policy(), at(0)).unwrap();
    assert_eq!(health.answered(false, at(0)), None);
    let closed = health.report(&policy(), probe, HealthSignal::Success, at(0), 0);
    assert_eq!(closed, Some(Transition::Closed), "`close_after` is 2");

    let mut health = silent();
    let probe = health.take_lease(&policy(), at(0)).unwrap();
    let failed = HealthSignal::Failure(ErrorClass::Server);
    let reopened = health.report(&policy(), probe, failed, at(0), 0);
    let reason = TripReason { rule: TripRule::Probe, class: ErrorClass::Server };
    assert_eq!(reopened, Some(Transition::Reopened(reason)));
    assert_eq!(health.trips(&policy(), at(0)), 0, "neither silence nor a failed probe is a trip");
    assert_eq!(health.answered(true, at(0)), None, "now it is failing, and the usual rules hold");
    assert!(matches!(health.availability(&policy(), at(29)), Availability::Unavailable(_)));
}

#[test]
fn requests_that_were_sent_before_it_was_probed_count_no_more_and_their_answers_do() {
    let mut health = Health::default();
    let early = health.ticket();
    for nth in 0..5 {
        leaves(&mut health, &policy(), key(nth), at(0));
    }
    for nth in 0..20 {
        assert_eq!(health.report(&policy(), early, HealthSignal::Unanswered(key(nth)), at(1), 0), None);
    }
    assert_eq!(health.availability(&policy(), at(1)), Availability::Probe);
    assert_eq!(health.answered(true, at(1)), Some(Transition::Closed));
}

#[test]
fn a_breaker_that_failures_opened_closes_by_its_own_rules() {
    let mut health = Health::default();
    for _ in 0..5 {
        end(&mut health, HealthSignal::Failure(ErrorClass::Server));
    }
    assert_eq!(health.answered(true, at(0)), None);
    assert!(matches!(health.availability(&policy(), at(0)), Availability::Unavailable(_)));
    let probe = health.take_lease(&policy(), at(40)).unwrap();
    assert_eq!(health.answered(true, at(40)), None);
    assert_eq!(health.report(&policy(), probe, HealthSignal::Success, at(40), 0), None, "`close_after` is 2");
}

#[test]
fn its_state_is_kept_in_the_record() {
    let mut run = Health::default();
    leaves(&mut run, &policy(), key(1), at(0));
    let mut probed = silent();
    let _ = probed.take_lease(&policy(), at(0));
    for health in [run, silent(), probed] {
        assert_eq!(Health::decode(&health.encode()), Some(health));
    }
}

proptest! {
    #[test]
    fn whatever_happens_one_client_never_has_it_probed(
        steps in prop::collection::vec((0_u8..6, 0_u64..3), 0..200),
        limit in 0_u32..8,
    ) {
        let policy = BreakerPolicy { unanswered: limit, consecutive: 1000, min_requests: 1000, ..policy() };
        let (mut health, mut now) = (Health::default(), at(0));
        for (what, passes) in steps {
            now = now.after(Duration::from_secs(passes));
            match what {
                0 => drop(health.answered(true, now)),
                1 => drop(health.report(&policy, health.ticket(), HealthSignal::Success, now, 0)),
                2 => drop(leaves(&mut health, &policy, Keys::NONE, now)),
                _ => drop(leaves(&mut health, &policy, key(7), now)),
            }
            let is_closed = matches!(health.phase(), BreakerPhase::Closed { .. });
            prop_assert!(is_closed);
        }
    }
}
