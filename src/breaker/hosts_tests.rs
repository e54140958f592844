//! One dead host of a cluster does not open the breaker while other hosts serve.

use super::test_policy::policy;
use super::*;
use crate::base::{ErrorClass, Timestamp};

fn at(s: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + s * 1000)
}

fn host(number: u64) -> Witness {
    Witness { host: Keys::of_hash(number), ..Witness::default() }
}

fn end(health: &mut Health, signal: HealthSignal, by: Witness, now: u64) -> Option<Transition> {
    let ticket = health.ticket();
    health.report_by(&policy(), ticket, signal, by, at(now), 0)
}

fn fail(health: &mut Health, by: Witness, times: usize, now: u64) -> Option<Transition> {
    (0..times).map(|_| end(health, HealthSignal::Failure(ErrorClass::Transport), by, now)).last().flatten()
}

fn reason(rule: TripRule) -> TripReason {
    TripReason { rule, class: ErrorClass::Transport }
}

#[test]
fn failures_of_one_host_open_it_only_if_no_other_host_serves() {
    let held = Some(Transition::Held(reason(TripRule::Consecutive)));
    let opened = Some(Transition::Opened(reason(TripRule::Consecutive)));
    let unknown = Witness::default();
    // The hosts of earlier successes, those of the failures, and what follows.
    for (case, served, failed, expected) in [
        ("another serves", vec![host(2)], vec![host(1); 5], held),
        ("two others serve", vec![host(2), host(3)], vec![host(1); 5], held),
        ("only this one has served", vec![host(1)], vec![host(1); 5], opened),
        ("nobody knows who has served", vec![unknown], vec![host(1); 5], opened),
        ("several fail", vec![host(3)], vec![host(1), host(2), host(1), host(2), host(1)], opened),
        ("it is unknown who fails", vec![host(3)], vec![unknown; 5], opened),
        ("one of them is unknown", vec![host(3)], vec![host(1), host(1), unknown, host(1), host(1)], opened),
    ] {
        let mut health = Health::default();
        for by in served {
            end(&mut health, HealthSignal::Success, by, 0);
        }
        let last = failed.into_iter().map(|by| fail(&mut health, by, 1, 1)).last().flatten();
        assert_eq!(last, expected, "{case}");
    }
}

#[test]
fn a_success_of_another_host_counts_for_a_window() {
    for (passed, opens) in [(50, false), (61, true)] {
        let mut health = Health::default();
        end(&mut health, HealthSignal::Success, host(2), 0);
        fail(&mut health, host(1), 5, passed);
        assert_eq!(matches!(health.phase(), BreakerPhase::Open { .. }), opens, "after {passed} s");
    }
}

#[test]
fn a_long_run_of_one_host_opens_it_all_the_same() {
    let mut health = Health::default();
    end(&mut health, HealthSignal::Success, host(2), 0);
    assert_eq!(fail(&mut health, host(1), 19, 1), Some(Transition::Held(reason(TripRule::Consecutive))));
    assert!(
        matches!(fail(&mut health, host(1), 1, 1), Some(Transition::Opened(_))),
        "nobody serves any more"
    );
}

#[test]
fn a_host_that_fails_all_its_share_never_opens_it_by_the_ratio_either() {
    let mut health = Health::default();
    for now in 0..300 {
        for _ in 0..4 {
            end(&mut health, HealthSignal::Success, host(2), now);
        }
        fail(&mut health, host(1), 4, now);
        assert!(matches!(health.phase(), BreakerPhase::Closed { .. }), "after {now} s");
    }
    assert!(health.counts(&policy(), at(299)).1 > 200, "the failures are counted");
}

#[test]
fn second_halves_keep_their_host() {
    let mut health = Health::default();
    end(&mut health, HealthSignal::Success, host(2), 0);
    let half = Witness { share: Share::Half, ..host(1) };
    let mut last = None;
    for _ in 0..5 {
        fail(&mut health, half, 1, 1);
        let owed = health.second_half(health.ticket(), ErrorClass::Transport, half).unwrap();
        last = health.pay(&policy(), owed, at(1), 0);
    }
    assert_eq!(last, Some(Transition::Held(reason(TripRule::Consecutive))));
}
