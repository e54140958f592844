//! Slow start: how the traffic of a scope grows after its breaker has closed.
//!
//! **With other targets** its share grows from a tenth to all of it, and the others get the rest.
//!
//! **Alone** there is nobody to get the rest. Then the attempts that may start are counted in slots of 250 ms, in
//! the shared record, so the count holds over all workers. The first slots allow a third of what was usual
//! before the breaker opened, at least one, and the allowance doubles in every eighth of `slow_start`. So at
//! the usual rate a request that comes meanwhile waits for less than an eighth of it: at first 2/3 of the
//! requests are too many for an eighth, then 1/3 for another one, then the queue shrinks. With the defaults
//! that is less than a queue's `max_wait`.

use std::time::Duration;

use super::health::{Health, stepped_back};
use super::state::{BreakerPhase, Ticket};
use crate::base::Timestamp;
use crate::config::BreakerPolicy;

/// Starts are counted for this long.
const SLOT: Duration = Duration::from_millis(250);
/// The allowance doubles this many times less one while `slow_start` lasts.
const STEPS: u128 = 8;

impl Health {
    /// The share of traffic during slow start, in 1/1000. It grows linearly from a tenth.
    pub(super) fn ramp_share(&self, policy: &BreakerPolicy, now: Timestamp) -> u16 {
        let Some(passed) = self.ramps_for(policy, now) else { return 1000 };
        u16::try_from(100 + passed.as_millis() * 900 / policy.slow_start.as_millis()).unwrap_or(1000)
    }

    /// When the next attempt may start during slow start if no other target takes a part. `None` if one may start
    /// now.
    pub fn next_start(&self, policy: &BreakerPolicy, now: Timestamp) -> Option<Timestamp> {
        let BreakerPhase::Closed { since, .. } = self.phase else { return None };
        let passed = self.ramps_for(policy, now).filter(|_| self.order.is_none())?;
        let ramp = self.ramp.in_slot(slot_at(passed));
        if u32::from(ramp.started) < ramp.allowed(step_at(passed, policy)) {
            return None;
        }
        let slots = u32::try_from(ramp.slot).unwrap_or(u32::MAX).saturating_add(1);
        Some(since.after(SLOT.saturating_mul(slots)).max(now.after(Duration::from_millis(1))))
    }

    /// Counts an attempt that starts without another target beside it. `None` if it has to wait.
    pub fn take_start(&mut self, policy: &BreakerPolicy, now: Timestamp) -> Option<Ticket> {
        if self.next_start(policy, now).is_some() {
            return None;
        }
        if let Some(passed) = self.ramps_for(policy, now).filter(|_| self.order.is_none()) {
            self.ramp = self.ramp.in_slot(slot_at(passed));
            self.ramp.started = self.ramp.started.saturating_add(1);
        }
        Some(self.ticket())
    }

    /// Notes what is usual, before the breaker opens. After less than a slow start the count says little.
    pub(super) fn note_usual(&mut self, policy: &BreakerPolicy, now: Timestamp) {
        let BreakerPhase::Closed { since, .. } = self.phase else { return };
        let covered = now.since(since).min(policy.window).max(SLOT);
        let (successes, halves) = self.window.counts(now, policy.window);
        let attempts = u128::from(successes) + u128::from(halves / 2);
        let usual = u16::try_from(attempts * SLOT.as_millis() / covered.as_millis()).unwrap_or(u16::MAX);
        let is_short = self.ramps_for(policy, now).is_some();
        self.ramp.usual = if is_short { self.ramp.usual.max(usual) } else { usual };
    }

    /// How long the slow start has lasted; `None` when there is none.
    fn ramps_for(&self, policy: &BreakerPolicy, now: Timestamp) -> Option<Duration> {
        let BreakerPhase::Closed { since, ramp: true } = self.phase else { return None };
        let passed = now.since(since);
        (passed < policy.slow_start && !stepped_back(since, now)).then_some(passed)
    }
}

fn slot_at(passed: Duration) -> u64 {
    u64::try_from(passed.as_millis() / SLOT.as_millis()).unwrap_or(u64::MAX)
}

fn step_at(passed: Duration, policy: &BreakerPolicy) -> u32 {
    u32::try_from(passed.as_millis() * STEPS / policy.slow_start.as_millis().max(1)).unwrap_or(u32::MAX)
}
