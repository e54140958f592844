//! Half failures, and failures that all come from one client key.

use std::time::Duration;

use proptest::prelude::*;

use super::halves::SecondHalf;
use super::health_tests::outcomes;
use super::test_policy::policy;
use super::*;
use crate::base::{ErrorClass, Timestamp};

const SERVER: HealthSignal = HealthSignal::Failure(ErrorClass::Server);

fn at(s: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + s * 1000)
}

fn key(number: u8) -> Keys {
    Keys::of(&[number; 32])
}

/// Reports half a failure of an unknown client. Returns what is owed.
fn half(health: &mut Health, now: Timestamp) -> Option<SecondHalf> {
    let by = Witness { share: Share::Half, ..Witness::default() };
    let ticket = health.ticket();
    health.report_by(&policy(), ticket, SERVER, by, now, 0);
    health.second_half(ticket, ErrorClass::Server, Witness::default())
}

fn by(health: &mut Health, signal: HealthSignal, key: Keys, now: Timestamp) -> Option<Transition> {
    let by = Witness { key, share: Share::Whole, ..Witness::default() };
    let ticket = health.ticket();
    health.report_by(&policy(), ticket, signal, by, now, 0)
}

fn is_open(health: &Health) -> bool {
    matches!(health.phase(), BreakerPhase::Open { .. })
}

#[test]
fn a_run_of_halves_is_twice_as_long() {
    let mut health = Health::default();
    for _ in 0..9 {
        assert!(half(&mut health, at(0)).is_some());
    }
    assert_eq!((health.consecutive(), health.counts(&policy(), at(0))), (4, (0, 4)));
    assert_eq!(half(&mut health, at(0)), None, "it has opened the breaker");
    assert!(is_open(&health));
}

#[test]
fn a_second_half_makes_the_failure_whole() {
    let mut health = Health::default();
    for paid in 1..=5 {
        let owed = half(&mut health, at(0)).unwrap();
        let opened = health.pay(&policy(), owed, at(1), 0);
        assert_eq!(opened.is_some(), paid == 5, "after {paid} failures");
    }
    assert!(is_open(&health));
}

#[test]
fn a_second_half_does_not_prolong_a_run_that_a_success_has_ended() {
    let mut health = Health::default();
    let owed: Vec<_> = (0..9).filter_map(|_| half(&mut health, at(0))).collect();
    by(&mut health, HealthSignal::Success, Keys::NONE, at(1));
    // Enough successes that the ratio is far away.
    let ticket = health.ticket();
    health.successes(&policy(), ticket, (100, Witness::default()), at(1));
    for half in owed {
        assert_eq!(health.pay(&policy(), half, at(2), 0), None);
    }
    assert_eq!((health.consecutive(), health.counts(&policy(), at(2))), (0, (101, 9)));
}

#[test]
fn a_second_half_says_nothing_about_a_later_phase() {
    let mut health = Health::default();
    let owed = half(&mut health, at(0)).unwrap();
    for _ in 0..5 {
        by(&mut health, SERVER, Keys::NONE, at(0));
    }
    let open = health.clone();
    assert!(is_open(&open));
    assert_eq!(health.pay(&policy(), owed, at(1), 0), None);
    assert_eq!(health, open);
    health.command(Command::Reset, at(1));
    let reset = health.clone();
    assert_eq!(health.pay(&policy(), owed, at(1), 0), None);
    assert_eq!(health, reset);
}

#[test]
fn half_a_failure_of_a_probe_is_a_failure() {
    let mut health = Health::default();
    for _ in 0..5 {
        by(&mut health, SERVER, Keys::NONE, at(0));
    }
    let ticket = health.take_lease(&policy(), at(30)).unwrap();
    let witness = Witness { share: Share::Half, ..Witness::default() };
    let change = health.report_by(&policy(), ticket, SERVER, witness, at(31), 0);
    assert!(matches!(change, Some(Transition::Reopened(_))));
    assert_eq!(health.second_half(ticket, ErrorClass::Server, Witness::default()), None);
}

#[test]
fn one_key_alone_opens_nothing_while_others_are_served() {
    // Who was served when, whose five failures follow at second 50, and whether they open the breaker.
    type Case<'c> = (&'c [(Keys, u64)], [Keys; 5], bool);
    let cases: &[Case<'_>] = &[
        (&[], [key(1); 5], true),
        (&[(key(2), 49)], [key(1); 5], false),
        (&[(key(2), 49), (key(3), 49)], [key(1); 5], false),
        (&[(key(1), 48), (key(2), 49)], [key(1); 5], false),
        // Its own success does not speak against it.
        (&[(key(1), 49)], [key(1); 5], true),
        // Long ago, but within the window of 60 s.
        (&[(key(2), 0), (key(1), 49)], [key(1); 5], false),
        // A second key fails too.
        (&[(key(2), 49)], [key(1), key(1), key(3), key(1), key(1)], true),
        (&[(key(2), 49)], [key(1), key(1), key(1), key(1), key(2)], true),
        // Without keys.
        (&[(Keys::NONE, 49)], [Keys::NONE; 5], true),
    ];
    for (served, failed, opens) in cases {
        let mut health = Health::default();
        for (key, when) in *served {
            by(&mut health, HealthSignal::Success, *key, at(*when));
        }
        let last = failed.map(|key| by(&mut health, SERVER, key, at(50)))[4];
        assert_eq!(is_open(&health), *opens, "{served:?} {failed:?}");
        assert_eq!(matches!(last, Some(Transition::Held(_))), !*opens, "{served:?} {failed:?}");
    }
}

#[test]
fn a_breaker_that_one_key_did_not_open_opens_later() {
    // Another key fails.
    let mut health = Health::default();
    by(&mut health, HealthSignal::Success, key(2), at(0));
    for _ in 0..50 {
        by(&mut health, SERVER, key(1), at(1));
    }
    assert!(!is_open(&health));
    by(&mut health, SERVER, key(2), at(2));
    assert!(is_open(&health));

    // Nobody else is served any more.
    let mut health = Health::default();
    by(&mut health, HealthSignal::Success, key(2), at(0));
    for second in 0..50 {
        by(&mut health, SERVER, key(1), at(second));
    }
    assert!(!is_open(&health));
    by(&mut health, SERVER, key(1), at(70));
    assert!(is_open(&health));
}

#[test]
fn a_run_of_one_key_does_not_hide_a_ratio_of_several() {
    let mut health = Health::default();
    for second in 0..6 {
        by(&mut health, SERVER, key(3), at(second));
        by(&mut health, HealthSignal::Success, key(2), at(second));
        by(&mut health, HealthSignal::Success, key(2), at(second));
    }
    let changes: Vec<_> = (0..6).map(|_| by(&mut health, SERVER, key(1), at(7))).collect();
    assert!(matches!(changes[4], Some(Transition::Held(TripReason { rule: TripRule::Consecutive, .. }))));
    assert!(matches!(changes[5], Some(Transition::Opened(TripReason { rule: TripRule::Ratio, .. }))));
}

#[test]
fn a_blocked_account_needs_no_second_key() {
    let mut health = Health::default();
    by(&mut health, HealthSignal::Success, key(2), at(0));
    let change = by(&mut health, HealthSignal::Blocked(ErrorClass::Auth), key(1), at(1));
    assert!(matches!(change, Some(Transition::Opened(_))));
}

proptest! {
    /// A failure in two halves is a failure: whatever the history, a breaker that gets each failure in two
    /// halves, one right after the other, is in the same phase as one that gets it whole.
    #[test]
    fn two_halves_are_a_whole(
        steps in proptest::collection::vec((outcomes(), 0_u8..3, 0_u64..20_000), 1..150)
    ) {
        let (mut whole, mut halved) = (Health::default(), Health::default());
        let mut now = at(0);
        for (signal, number, passes) in steps {
            now = now.after(Duration::from_millis(passes));
            let key = if number == 0 { Keys::NONE } else { key(number) };
            let tickets = [&mut whole, &mut halved].map(|health| {
                health.take_lease(&policy(), now).unwrap_or_else(|| health.ticket())
            });
            whole.report_by(&policy(), tickets[0], signal, Witness { key, share: Share::Whole, ..Witness::default() }, now, 7);
            halved.report_by(&policy(), tickets[1], signal, Witness { key, share: Share::Half, ..Witness::default() }, now, 7);
            if let HealthSignal::Failure(class) = signal
                && let Some(half) = halved.second_half(tickets[1], class, Witness { key, ..Witness::default() })
            {
                halved.pay(&policy(), half, now, 7);
            }
            prop_assert_eq!(whole.phase(), halved.phase());
            if matches!(whole.phase(), BreakerPhase::Closed { .. }) {
                prop_assert_eq!(&whole, &halved);
            }
        }
    }

    /// Without the second halves a breaker opens no earlier than with them.
    #[test]
    fn what_is_owed_only_ever_delays(
        steps in proptest::collection::vec((any::<bool>(), 0_u64..20_000), 1..150)
    ) {
        let (mut whole, mut halved) = (Health::default(), Health::default());
        let mut now = at(0);
        for (fails, passes) in steps {
            now = now.after(Duration::from_millis(passes));
            let signal = if fails { SERVER } else { HealthSignal::Success };
            for (health, share) in [(&mut whole, Share::Whole), (&mut halved, Share::Half)] {
                let ticket = health.ticket();
                health.report_by(&policy(), ticket, signal, Witness { share, ..Witness::default() }, now, 7);
            }
            if is_open(&halved) {
                prop_assert!(is_open(&whole));
                return Ok(());
            }
            if is_open(&whole) {
                return Ok(());
            }
        }
    }
}
