//! One circuit breaker under random requests, outcomes and operator orders, with a clock that also steps back.
//!
//! Input: two bytes of policy, then four bytes per operation: kind, argument, and the elapsed time.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use llm_failsafe::base::{ErrorClass, Timestamp};
use llm_failsafe::breaker::{
    Availability, BreakerPhase, Command, Health, HealthSignal, Ticket, Transition, Witness,
};
use llm_failsafe::config::BreakerPolicy;

const MAX_RUNNING: usize = 64;

fn policy(probes: u8, other: u8) -> BreakerPolicy {
    BreakerPolicy {
        probes: 1 + probes % 4,
        consecutive: 1 + u32::from(other % 8),
        close_after: 1 + other / 8 % 4,
        min_requests: 1 + u32::from(other / 32) * 3,
        ..BreakerPolicy::default()
    }
}

fn outcome(how: u8) -> HealthSignal {
    match how % 8 {
        0..=2 => HealthSignal::Success,
        3 | 4 => HealthSignal::Failure(ErrorClass::Server),
        5 => HealthSignal::Blocked(ErrorClass::Auth),
        6 => HealthSignal::Neutral,
        _ if how & 64 != 0 => HealthSignal::Exhausted(None),
        _ => HealthSignal::Throttled((how >= 128).then(|| Duration::from_secs(u64::from(how)))),
    }
}

fn command(how: u8) -> Command {
    match how % 6 {
        0 => Command::ForceOpen,
        1 => Command::ForceClosed,
        2 => Command::Drain,
        3 => Command::Probe,
        4 => Command::Undo,
        _ => Command::Reset,
    }
}

/// The next time: from minutes later to minutes earlier.
fn after(now_ms: u64, [scale, count]: [u8; 2]) -> u64 {
    let count = u64::from(count);
    match scale % 8 {
        0..=2 => now_ms + count,
        3 | 4 => now_ms + count * 1000,
        5 => now_ms + count * 60_000,
        6 => now_ms.saturating_sub(count),
        _ => now_ms.saturating_sub(count * 10_000),
    }
}

fuzz_target!(|input: &[u8]| {
    let [probes, other, operations @ ..] = input else { return };
    let policy = policy(*probes, *other);
    let mut health = Health::default();
    let mut running: Vec<Ticket> = Vec::new();
    let (mut now_ms, mut latest_ms) = (1_000_000_000, 0);
    for [what, how, time @ ..] in operations.as_chunks::<4>().0 {
        now_ms = after(now_ms, *time);
        latest_ms = now_ms.max(latest_ms);
        let now = Timestamp::from_millis(now_ms);
        match what % 8 {
            0..=2 if running.len() < MAX_RUNNING => {
                let availability = health.availability(&policy, now);
                let lease = health.take_lease(&policy, now);
                assert_eq!(lease.is_some(), availability == Availability::Probe);
                if matches!(availability, Availability::Available { .. }) {
                    running.push(health.ticket());
                }
                running.extend(lease);
            }
            3..=5 if !running.is_empty() => {
                let ticket = running.swap_remove(usize::from(what / 8) % running.len());
                let was_closed = matches!(health.phase(), BreakerPhase::Closed { .. });
                let jitter = u64::from_le_bytes([*how; 8]);
                match health.report(&policy, ticket, outcome(*how), now, jitter) {
                    Some(Transition::Opened(_)) => assert!(was_closed),
                    Some(Transition::Reopened(_) | Transition::Closed) => {
                        assert!(!was_closed && ticket.is_probe())
                    }
                    Some(Transition::Throttled | Transition::Held(_)) | None => {}
                }
            }
            6 => {
                let ticket = health.ticket();
                health.successes(&policy, ticket, (u16::from(*how), Witness::default()), now);
            }
            7 if how % 4 == 0 => health.command(command(what / 8), now),
            _ => {}
        }
        assert_eq!(Health::decode(&health.encode()).as_ref(), Some(&health));
        match health.phase() {
            BreakerPhase::Closed { .. } => assert!(u32::from(health.consecutive()) < policy.consecutive),
            BreakerPhase::HalfOpen { leases, successes, .. } => {
                assert!(leases.iter().flatten().count() <= usize::from(policy.probes));
                assert!(*successes < policy.close_after);
            }
            BreakerPhase::Open { .. } => {}
        }
    }
    // No block and no throttle lasts longer than 66 minutes.
    let far = Timestamp::from_millis(latest_ms).after(Duration::from_secs(4000));
    if health.order().is_none() {
        assert!(
            !matches!(health.availability(&policy, far), Availability::Unavailable(_)),
            "never eligible again"
        );
    }
});
