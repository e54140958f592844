//! How long a breaker stays open, and how soon a target serves again after an outage, in simulated time.

use std::time::Duration;

use proptest::prelude::*;

use super::open_time::PROBE_COST;
use super::test_policy::policy;
use super::*;
use crate::base::{ErrorClass, Timestamp};
use crate::config::BreakerPolicy;

const SERVER: HealthSignal = HealthSignal::Failure(ErrorClass::Server);

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + ms)
}

fn s(seconds: u64) -> u64 {
    seconds * 1000
}

/// Opens a closed breaker with failures that all come at this moment.
fn trip(health: &mut Health, policy: &BreakerPolicy, ms: u64) {
    for _ in 0..policy.consecutive {
        let ticket = health.ticket();
        health.report(policy, ticket, SERVER, at(ms), 0);
    }
    assert!(matches!(health.phase(), BreakerPhase::Open { .. }), "{health:?}");
}

/// When the breaker may be probed.
fn open_until(health: &Health) -> u64 {
    let BreakerPhase::Open { until, .. } = health.phase() else { panic!("{health:?}") };
    until.as_millis() - at(0).as_millis()
}

/// A probe that is sent at `from` and ends at `to`.
fn probe(health: &mut Health, policy: &BreakerPolicy, outcome: HealthSignal, from: u64, to: u64) {
    let ticket = health.take_lease(policy, at(from)).expect("a lease");
    health.report(policy, ticket, outcome, at(to), 0);
}

fn close(health: &mut Health, policy: &BreakerPolicy, ms: u64) {
    for _ in 0..policy.close_after {
        probe(health, policy, HealthSignal::Success, ms, ms);
    }
    assert!(matches!(health.phase(), BreakerPhase::Closed { .. }), "{health:?}");
}

#[test]
fn a_probe_that_fails_fast_never_lengthens_the_open_time() {
    let policy = BreakerPolicy::default();
    let mut health = Health::default();
    trip(&mut health, &policy, 0);
    let mut now = open_until(&health);
    for _ in 0..1000 {
        probe(&mut health, &policy, SERVER, now, now + s(1));
        assert_eq!(open_until(&health), now + s(1) + s(5));
        now = open_until(&health);
    }
    assert_eq!(health.trips(&policy, at(now)), 1, "failed probes are no trips");
}

#[test]
fn a_probe_that_hangs_keeps_it_open_for_a_multiple_of_its_time() {
    let policy = BreakerPolicy::default();
    for (took, open) in [(0, 5), (1, 5), (2, 8), (10, 40), (30, 120), (59, 120), (70, 120)] {
        let mut health = Health::default();
        trip(&mut health, &policy, 0);
        let from = open_until(&health);
        probe(&mut health, &policy, SERVER, from, from + s(took));
        assert_eq!(open_until(&health), from + s(took) + s(open), "a probe of {took} s");
        // The next probe decides anew.
        let next = open_until(&health);
        probe(&mut health, &policy, SERVER, next, next);
        assert_eq!(open_until(&health), next + s(5));
    }
}

#[test]
fn a_clock_that_steps_while_a_probe_runs_bounds_its_cost_by_the_lease() {
    let policy = BreakerPolicy { probe_lease: Duration::from_secs(10), ..BreakerPolicy::default() };
    for (from, to, open) in [(s(5), s(3600), 40), (s(3600), s(5), 5)] {
        let mut health = Health::default();
        trip(&mut health, &policy, 0);
        health.command(Command::Probe, at(from));
        probe(&mut health, &policy, SERVER, from, to);
        assert_eq!(open_until(&health), to + s(open));
    }
}

#[test]
fn a_blocked_account_is_not_probed_more_often_because_its_refusals_are_fast() {
    let policy = BreakerPolicy::default();
    let blocked = HealthSignal::Blocked(ErrorClass::Auth);
    let mut health = Health::default();
    let ticket = health.ticket();
    health.report(&policy, ticket, blocked, at(0), 0);
    let mut now = open_until(&health);
    assert_eq!(now, s(300));
    for expected in [600, 1200, 2400, 3600, 3600] {
        probe(&mut health, &policy, blocked, now, now);
        assert_eq!(open_until(&health), now + s(expected));
        now = open_until(&health);
    }
    // It has worked for an hour, without traffic.
    close(&mut health, &policy, now);
    let ticket = health.ticket();
    let mut soon = health.clone();
    soon.report(&policy, ticket, blocked, at(now + s(3599)), 0);
    assert_eq!(open_until(&soon), now + s(3599) + s(3600), "not forgotten yet");
    health.report(&policy, ticket, blocked, at(now + s(3600)), 0);
    assert_eq!(open_until(&health), now + s(3600) + s(300));
}

#[test]
fn trips_in_a_row_double_the_open_time_up_to_its_maximum() {
    let policy = policy();
    let mut health = Health::default();
    let mut now = 0;
    for expected in [30, 60, 120, 240, 240, 240] {
        trip(&mut health, &policy, now);
        assert_eq!(open_until(&health), now + s(expected));
        now = open_until(&health);
        close(&mut health, &policy, now);
    }
}

#[test]
fn trips_are_forgotten_by_time_spent_closed_without_any_traffic() {
    let policy = BreakerPolicy::default();
    let mut health = Health::default();
    let mut now = 0;
    for _ in 0..4 {
        trip(&mut health, &policy, now);
        now = open_until(&health);
        close(&mut health, &policy, now);
    }
    assert_eq!(health.trips(&policy, at(now + s(59))), 4);
    assert_eq!(health.trips(&policy, at(now + s(60))), 0, "the last open time was 40 s, the window is 60 s");
    let mut soon = health.clone();
    trip(&mut soon, &policy, now + s(59));
    assert_eq!(open_until(&soon), now + s(59) + s(80));
    trip(&mut health, &policy, now + s(248));
    assert_eq!(open_until(&health), now + s(248) + s(5));
}

#[test]
fn a_failed_probe_that_asks_for_a_pause_does_not_lengthen_the_open_time() {
    let policy = BreakerPolicy::default();
    let asks = HealthSignal::FailureFor(ErrorClass::Server, Duration::from_secs(3600));
    let mut health = Health::default();
    let ticket = health.ticket();
    health.report(&policy, ticket, asks, at(0), 0);
    assert_eq!(health.throttled_until(at(0)), Some(at(s(30))), "while it is closed, for half a minute");
    let mut health = Health::default();
    trip(&mut health, &policy, 0);
    probe(&mut health, &policy, asks, s(5), s(5));
    assert_eq!(health.availability(&policy, at(s(10))), Availability::Probe);
}

/// The times at which the primary serves a request, and when the outage is over. Requests come at even
/// intervals; what the primary does not get or fails, another target serves.
struct Outage {
    policy: BreakerPolicy,
    begins: u64,
    ends: u64,
    every: u64,
    /// How long a failed attempt takes.
    fails_after: u64,
    jitter: u64,
}

impl Outage {
    /// How long after its return the primary serves first.
    fn time_back(&self) -> u64 {
        let mut health = Health::default();
        // Attempts under way, by their end.
        let mut failing: Vec<(u64, Ticket)> = Vec::new();
        let mut times = (0..).step_by(usize::try_from(self.every).unwrap());
        let back = times.find_map(|now| {
            for (end, ticket) in failing.extract_if(.., |(end, _)| *end <= now) {
                health.report(&self.policy, ticket, SERVER, at(end), self.jitter);
            }
            let ticket = match health.availability(&self.policy, at(now)) {
                Availability::Available { .. } => health.ticket(),
                Availability::Probe => health.take_lease(&self.policy, at(now)).unwrap(),
                Availability::Unavailable(_) => return None,
            };
            if (self.begins..self.ends).contains(&now) {
                failing.push((now + self.fails_after, ticket));
                return None;
            }
            if now >= self.ends {
                return Some(now - self.ends);
            }
            health.report(&self.policy, ticket, HealthSignal::Success, at(now), self.jitter);
            None
        });
        back.expect("time does not end")
    }
}

#[test]
fn after_a_minute_down_the_primary_serves_within_ten_seconds_with_the_defaults() {
    for offset in 0..40 {
        for jitter in [0, 250, 499] {
            let outage = Outage {
                policy: BreakerPolicy::default(),
                begins: s(10) + offset * 100,
                ends: s(70) + offset * 100,
                every: s(4),
                fails_after: 20,
                jitter,
            };
            let back = outage.time_back();
            assert!(back <= s(10), "{back} ms, offset {offset}, jitter {jitter}");
        }
    }
}

proptest! {
    /// However long an outage lasts: if its probes fail fast, the primary serves within the open time, its
    /// jitter, a probe and an interval between requests. If they hang, within the documented bound.
    #[test]
    fn the_time_back_is_bounded_by_what_a_probe_costs(
        lasts in 1_u64..20_000, every in 50_u64..4_500, fails_after in 0_u64..40_000, jitter: u64
    ) {
        let policy = BreakerPolicy::default();
        let ends = s(10) + lasts * 1000;
        let outage = Outage { policy, begins: s(10), ends, every, fails_after, jitter };
        let back = outage.time_back();
        let open = (u64::from(PROBE_COST) * fails_after).clamp(s(5), s(120));
        prop_assert!(back <= open + open / 10 + fails_after + every, "{back} ms");
        if fails_after <= 1000 / 4 {
            prop_assert!(back <= s(5) + 500 + 250 + every, "{back} ms");
        }
    }
}
