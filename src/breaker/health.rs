//! The state of one scope and its transitions, as pure functions of state, event and time.
//!
//! **`retry-after` while a probe runs** is 1 second. The probe's lease of a minute is an upper bound that is
//! rarely reached, so a client would wait for nothing.
//!
//! **One client key.** The failures that meet a rule may all come from one client key. If another key had a
//! success within the window, they do not open the breaker. A provider's word that an account is blocked needs
//! no second key, and neither does the failure of a probe.
//!
//! **One host.** A cluster may have several hosts, of which one is dead. If all the failures came from one host,
//! and another host had a success within the window, they do not open the breaker: ejecting the host is
//! Envoy's part (`outlier_detection`). Four times `consecutive` failures in a row open it all the same. Then the
//! others do not serve any more, or the address was the only one and has changed.
//!
//! **A neutral result returns the lease of a probe.** A client that left or an invalid request says nothing
//! about the scope, so the next request probes it.

use std::time::Duration;

use super::halves::{Run, SecondHalf, Share, Witness};
use super::open_time::{after_probe, after_trip, longest_pause};
use super::starts::Ramp;
use super::state::{
    Availability, BreakerPhase, HealthSignal, Lease, MAX_PROBES, Order, State, Throttle, Ticket, Transition,
    TripReason, TripRule, Unavailable,
};
use super::unanswered::UnansweredRun;
use super::window::{Bucket, Window};
use crate::base::{ErrorClass, Timestamp};
use crate::config::BreakerPolicy;

/// When to ask again while a probe is in flight. Its end cannot be predicted, and its lease is rarely used
/// up.
const PROBE_RETRY: Duration = Duration::from_secs(1);
/// The longest hint that is believed: a provider's mistake must not take a target away for days.
const THROTTLE_HINT_MAX: Duration = Duration::from_secs(3600);
/// The longest rest of a scope whose allowance is used up. Allowances are usually per day.
const REST_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long such a scope rests if the provider does not say when the allowance is renewed.
const REST_WITHOUT_HINT: Duration = Duration::from_secs(3600);

/// After this many times `consecutive` failures in a row the other hosts are not thought to serve any more.
const RUNS_OF_ONE_HOST: u32 = 4;

/// Workers read the clock at slightly different moments, so a time noted by another worker may lie ahead by
/// this much. If it lies further ahead, the clock has stepped back since.
pub(super) const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// The state of one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Counts the changes of phase. A result counts only in the generation in which its request started.
    pub(super) generation: u32,
    pub(super) phase: BreakerPhase,
    pub(super) window: Window,
    pub(super) run: Run,
    pub(super) unanswered: UnansweredRun,
    /// Consecutive trips without sustained health in between.
    pub(super) trips: u8,
    pub(super) ramp: Ramp,
    pub(super) throttle: Option<Throttle>,
    pub(super) order: Option<Order>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            generation: 0,
            phase: BreakerPhase::Closed { since: Timestamp::default(), ramp: false },
            window: Window::default(),
            run: Run::default(),
            unanswered: UnansweredRun::default(),
            trips: 0,
            ramp: Ramp::default(),
            throttle: None,
            order: None,
        }
    }
}

impl Health {
    /// Whether a request may be sent at `now`.
    pub fn availability(&self, policy: &BreakerPolicy, now: Timestamp) -> Availability {
        match self.order {
            Some(Order::ForcedOpen) => return Availability::Unavailable(Unavailable::ForcedOpen),
            Some(Order::Drained) => return Availability::Unavailable(Unavailable::Drained),
            Some(Order::ForcedClosed) => return Availability::Available { permille: 1000 },
            None => {}
        }
        if let Some(throttle) = self.throttle
            && !is_due(throttle.since, throttle.until, now)
        {
            return Availability::Unavailable(Unavailable::Throttled { until: throttle.until });
        }
        match &self.phase {
            BreakerPhase::Closed { .. } => Availability::Available { permille: self.ramp_share(policy, now) },
            BreakerPhase::Open { since, until, .. } if is_due(*since, *until, now) => Availability::Probe,
            BreakerPhase::Open { since, until, reason } => {
                Availability::Unavailable(Unavailable::Open { since: *since, until: *until, reason: *reason })
            }
            BreakerPhase::HalfOpen { reason, since, leases, .. } => match free_slot(leases, policy, now) {
                Some(_) => Availability::Probe,
                None => {
                    let expiry = leases.iter().flatten().map(|lease| lease.until).min().unwrap_or(now);
                    let until = expiry.min(now.after(PROBE_RETRY));
                    Availability::Unavailable(Unavailable::Open { since: *since, until, reason: *reason })
                }
            },
        }
    }

    /// Whether nothing has ever kept requests from it, so that it is available at any time.
    pub(super) const fn is_untroubled(&self) -> bool {
        matches!(self.phase, BreakerPhase::Closed { ramp: false, .. })
            && self.throttle.is_none()
            && self.order.is_none()
    }

    /// The ticket of an attempt through a scope that is available.
    pub const fn ticket(&self) -> Ticket {
        Ticket { generation: self.generation, lease: None }
    }

    /// Takes a lease; `None` if none is free, whatever an older view of the state said.
    pub fn take_lease(&mut self, policy: &BreakerPolicy, now: Timestamp) -> Option<Ticket> {
        if self.availability(policy, now) != Availability::Probe {
            return None;
        }
        if let BreakerPhase::Open { reason, .. } = self.phase {
            let leases = [None; MAX_PROBES];
            self.enter(BreakerPhase::HalfOpen { reason, since: now, leases, serial: 0, successes: 0 });
        }
        let BreakerPhase::HalfOpen { leases, serial, .. } = &mut self.phase else { return None };
        let slot = free_slot(leases, policy, now)?;
        // Never 0: in the record 0 marks a free slot.
        *serial = serial.checked_add(1).unwrap_or(1);
        *leases.get_mut(slot)? =
            Some(Lease { serial: *serial, since: now, until: now.after(policy.probe_lease) });
        let lease = Some((u8::try_from(slot).ok()?, *serial));
        Some(Ticket { generation: self.generation, lease })
    }

    /// Takes in the end of an attempt of an unknown client; a failure counts whole. `jitter` is a random
    /// number that spreads open times.
    pub fn report(
        &mut self,
        policy: &BreakerPolicy,
        ticket: Ticket,
        outcome: HealthSignal,
        now: Timestamp,
        jitter: u64,
    ) -> Option<Transition> {
        self.report_by(policy, ticket, outcome, Witness::default(), now, jitter)
    }

    /// Takes in the end of an attempt.
    pub fn report_by(
        &mut self,
        policy: &BreakerPolicy,
        ticket: Ticket,
        outcome: HealthSignal,
        by: Witness,
        now: Timestamp,
        jitter: u64,
    ) -> Option<Transition> {
        let (throttled, outcome) = match outcome {
            HealthSignal::Throttled(hint) => {
                (self.throttle(hint.map(|hint| hint.min(THROTTLE_HINT_MAX)), now), outcome)
            }
            HealthSignal::Exhausted(hint) => {
                let rest = hint.unwrap_or(REST_WITHOUT_HINT).min(REST_MAX);
                (self.throttle(Some(rest), now), HealthSignal::Throttled(hint))
            }
            HealthSignal::FailureFor(class, hint) => {
                let pause = hint.min(longest_pause(policy, ticket));
                (self.throttle(Some(pause), now), HealthSignal::Failure(class))
            }
            HealthSignal::Paused(hint) => {
                let pause = hint.min(longest_pause(policy, ticket));
                (self.throttle(Some(pause), now), HealthSignal::Neutral)
            }
            _ => (None, outcome),
        };
        if ticket.generation != self.generation {
            return throttled;
        }
        let lease = self.end_lease(ticket);
        match (&mut self.phase, outcome) {
            (_, HealthSignal::Throttled(_) | HealthSignal::Neutral) | (BreakerPhase::Open { .. }, _) => {
                throttled
            }
            (BreakerPhase::Closed { .. }, HealthSignal::Success) => {
                self.run.end();
                self.unanswered = UnansweredRun::default();
                self.throttle = self.throttle.filter(|throttle| !is_due(throttle.since, throttle.until, now));
                self.successes(policy, ticket, (1, by), now);
                None
            }
            (BreakerPhase::Closed { .. }, HealthSignal::Failure(class)) => {
                self.run.add(by);
                self.count_failure(policy, (class, by), now, jitter).or(throttled)
            }
            (BreakerPhase::Closed { .. }, HealthSignal::Unanswered(key)) => {
                self.unanswered.add(key);
                self.unanswered.is_enough(policy.unanswered).then(|| self.await_answer(now))
            }
            (BreakerPhase::HalfOpen { .. }, HealthSignal::Unanswered(_)) => throttled,
            // Replaced above.
            (_, HealthSignal::FailureFor(..) | HealthSignal::Exhausted(_) | HealthSignal::Paused(_)) => {
                throttled
            }
            (BreakerPhase::Closed { .. }, HealthSignal::Blocked(class)) => {
                let reason = TripReason { rule: TripRule::Blocked, class };
                Some(Transition::Opened(self.open(policy, reason, now, jitter)))
            }
            // An attempt without a lease, sent on an operator's order or by `try_anyway`, decides nothing.
            (BreakerPhase::HalfOpen { .. }, _) if lease.is_none() => throttled,
            (BreakerPhase::HalfOpen { reason, successes, .. }, HealthSignal::Success) => {
                *successes = successes.saturating_add(1);
                let awaited_answer = reason.rule == TripRule::Unanswered;
                let is_enough = awaited_answer || *successes >= policy.close_after;
                is_enough.then(|| self.close(!awaited_answer, now))
            }
            (
                BreakerPhase::HalfOpen { reason, .. },
                HealthSignal::Failure(class) | HealthSignal::Blocked(class),
            ) => {
                let blocked = matches!(outcome, HealthSignal::Blocked(_)) || reason.rule == TripRule::Blocked;
                let rule = if blocked { TripRule::Blocked } else { TripRule::Probe };
                let reason = TripReason { rule, class };
                // A clock that was set back or forth must not make a probe look long.
                let took = lease.map(|lease| now.since(lease.since).min(policy.probe_lease));
                Some(Transition::Reopened(self.open_for(policy, reason, took, now, jitter)))
            }
        }
    }

    /// The scope has begun to answer a request. If clients had left unanswered, that is over. `is_good` unless
    /// the answer is already known to be none.
    pub(super) fn answered(&mut self, is_good: bool, now: Timestamp) -> Option<Transition> {
        self.unanswered = UnansweredRun::default();
        (is_good && self.is_asked_for_answer()).then(|| self.close(false, now))
    }

    /// Whether it makes a difference that the scope begins to answer.
    pub(super) fn awaits_answer(&self) -> bool {
        self.unanswered.count > 0 || self.is_asked_for_answer()
    }

    fn is_asked_for_answer(&self) -> bool {
        matches!(
            self.phase,
            BreakerPhase::Open { reason: TripReason { rule: TripRule::Unanswered, .. }, .. }
                | BreakerPhase::HalfOpen { reason: TripReason { rule: TripRule::Unanswered, .. }, .. }
        )
    }

    /// What is still owed of a failure that was reported as half. `None` if it has opened the breaker, or
    /// was not counted.
    pub(super) fn second_half(&self, ticket: Ticket, class: ErrorClass, by: Witness) -> Option<SecondHalf> {
        let counted =
            matches!(self.phase, BreakerPhase::Closed { .. }) && ticket.generation == self.generation;
        counted.then_some(SecondHalf {
            generation: self.generation,
            run: self.run.number,
            class,
            key: by.key,
            host: by.host,
        })
    }

    /// Takes in the second half of a failure. It counts in the window, and in the run that the first half
    /// belonged to: a success since then has ended that run.
    pub(super) fn pay(
        &mut self,
        policy: &BreakerPolicy,
        half: SecondHalf,
        now: Timestamp,
        jitter: u64,
    ) -> Option<Transition> {
        let closed = matches!(self.phase, BreakerPhase::Closed { .. });
        if !closed || half.generation != self.generation {
            return None;
        }
        let by = Witness { key: half.key, host: half.host, share: Share::Half };
        if half.run == self.run.number {
            self.run.add(by);
        }
        self.count_failure(policy, (half.class, by), now, jitter)
    }

    /// Counts a failure, or half of one, in the window, and opens the breaker if a rule says so.
    fn count_failure(
        &mut self,
        policy: &BreakerPolicy,
        (class, by): (ErrorClass, Witness),
        now: Timestamp,
        jitter: u64,
    ) -> Option<Transition> {
        let (halves, failed_at) = (by.share.halves(), by.host.or_several());
        let failure = Bucket { halves, failed: by.key, failed_at, ..Bucket::default() };
        self.window.add(now, policy.window, failure);
        let (succeeded, failed) = self.window.keys(now, policy.window);
        let (served_by, failed_at) = self.window.hosts(now, policy.window);
        let by_run =
            self.run_is_too_long(policy, 1).then_some((TripRule::Consecutive, self.run.keys, self.run.hosts));
        let by_ratio = self.too_many_failed(policy, now).then_some((TripRule::Ratio, failed, failed_at));
        let met = by_run.into_iter().chain(by_ratio);
        let others_serve = !self.run_is_too_long(policy, RUNS_OF_ONE_HOST);
        let opens = met.clone().find(|(_, keys, hosts)| {
            let is_one_host = others_serve && hosts.is_one_besides(served_by);
            !keys.is_one_besides(succeeded) && !is_one_host
        });
        let Some((rule, ..)) = opens else {
            return met.map(|(rule, ..)| Transition::Held(TripReason { rule, class })).next();
        };
        let reason = TripReason { rule, class };
        Some(Transition::Opened(self.open(policy, reason, now, jitter)))
    }

    /// Takes in successes of these keys and hosts with this `ticket`, which a worker collected while it knew of no trouble.
    /// They count in the window. They end neither a run of failures nor a rate limit, because those may have
    /// begun later. A worker that knows of either reports its next success at once, and that one does.
    pub fn successes(
        &mut self,
        policy: &BreakerPolicy,
        ticket: Ticket,
        (successes, by): (u16, Witness),
        now: Timestamp,
    ) {
        if matches!(self.phase, BreakerPhase::Closed { .. }) && ticket.generation == self.generation {
            let (succeeded, served_by) = (by.key, by.host);
            self.window.add(
                now,
                policy.window,
                Bucket { successes, succeeded, served_by, ..Bucket::default() },
            );
        }
    }

    /// Whether a success can be reported later: there is no run and no throttle for it to end.
    pub(super) const fn can_batch_successes(&self) -> bool {
        let in_a_row = self.run.halves > 0 || self.unanswered.count > 0;
        matches!(self.phase, BreakerPhase::Closed { .. }) && !in_a_row && self.throttle.is_none()
    }

    /// The state as shown to operators.
    pub fn state(&self, policy: &BreakerPolicy, now: Timestamp) -> State {
        match self.order {
            Some(Order::ForcedOpen) => return State::ForcedOpen,
            Some(Order::Drained) => return State::Drained,
            Some(Order::ForcedClosed) => return State::ForcedClosed,
            None => {}
        }
        match (self.availability(policy, now), &self.phase) {
            (Availability::Unavailable(Unavailable::Throttled { .. }), _) => State::Throttled,
            (_, BreakerPhase::Closed { .. }) => State::Closed,
            (_, BreakerPhase::HalfOpen { .. }) | (Availability::Probe, BreakerPhase::Open { .. }) => {
                State::HalfOpen
            }
            (_, BreakerPhase::Open { reason: TripReason { rule: TripRule::Blocked, .. }, .. }) => {
                State::Blocked
            }
            (_, BreakerPhase::Open { .. }) => State::Open,
        }
    }

    /// The end of a rate limit that is in force.
    pub fn throttled_until(&self, now: Timestamp) -> Option<Timestamp> {
        let in_force = self.throttle.filter(|throttle| !is_due(throttle.since, throttle.until, now));
        in_force.map(|throttle| throttle.until)
    }

    /// Trips in a row, as far as a trip by this rule would still count them: they are forgotten once the breaker
    /// has been closed for as long as the last of them kept it open, and at least for a window.
    pub(super) fn trips_in_a_row(&self, policy: &BreakerPolicy, rule: TripRule, now: Timestamp) -> u8 {
        let BreakerPhase::Closed { since, .. } = self.phase else { return self.trips };
        let long_enough = policy.window.max(after_trip(policy, self.trips, rule));
        if now.since(since) >= long_enough { 0 } else { self.trips }
    }

    /// Consecutive trips without sustained health in between. Failed probes are none.
    pub fn trips(&self, policy: &BreakerPolicy, now: Timestamp) -> u8 {
        self.trips_in_a_row(policy, TripRule::Ratio, now)
    }

    /// The breaker's phase.
    pub const fn phase(&self) -> &BreakerPhase {
        &self.phase
    }

    /// The operator's order that is in force.
    pub const fn order(&self) -> Option<Order> {
        self.order
    }

    /// Successes and whole failures in the window.
    pub fn counts(&self, policy: &BreakerPolicy, now: Timestamp) -> (u32, u32) {
        let (successes, halves) = self.window.counts(now, policy.window);
        (successes, halves / 2)
    }

    /// Whole failures since the last success.
    pub const fn consecutive(&self) -> u16 {
        self.run.halves / 2
    }

    /// Whether it has learned anything of attempts.
    pub(super) fn has_results(&self) -> bool {
        !matches!(self.phase, BreakerPhase::Closed { ramp: false, .. })
            || self.throttle.is_some()
            || self.window != Window::default()
    }

    fn enter(&mut self, phase: BreakerPhase) {
        self.generation = self.generation.wrapping_add(1);
        self.phase = phase;
    }

    fn open(
        &mut self,
        policy: &BreakerPolicy,
        reason: TripReason,
        now: Timestamp,
        jitter: u64,
    ) -> TripReason {
        self.open_for(policy, reason, None, now, jitter)
    }

    /// Opens it, after a trip or after a probe that took this long to fail.
    fn open_for(
        &mut self,
        policy: &BreakerPolicy,
        reason: TripReason,
        probe_took: Option<Duration>,
        now: Timestamp,
        jitter: u64,
    ) -> TripReason {
        let time = match probe_took.filter(|_| reason.rule != TripRule::Blocked) {
            Some(took) => after_probe(policy, took),
            None => {
                self.trips = self.trips_in_a_row(policy, reason.rule, now).saturating_add(1);
                after_trip(policy, self.trips, reason.rule)
            }
        };
        // Up to a tenth longer, so that targets that opened together are not probed together.
        let spread = u64::try_from(time.as_millis() / 10).unwrap_or(u64::MAX).saturating_add(1);
        let until = now.after(time).after(Duration::from_millis(jitter % spread));
        self.note_usual(policy, now);
        self.enter(BreakerPhase::Open { reason, since: now, until });
        reason
    }

    /// Opens it without an open time: the next request probes it.
    fn await_answer(&mut self, now: Timestamp) -> Transition {
        let reason = TripReason { rule: TripRule::Unanswered, class: ErrorClass::ClientAbort };
        self.unanswered = UnansweredRun::default();
        self.enter(BreakerPhase::Open { reason, since: now, until: now });
        Transition::Opened(reason)
    }

    fn close(&mut self, ramp: bool, now: Timestamp) -> Transition {
        self.enter(BreakerPhase::Closed { since: now, ramp });
        self.ramp.begin();
        self.window = Window::default();
        self.run.end();
        Transition::Closed
    }

    /// Whether there were so many times `consecutive` failures in a row.
    fn run_is_too_long(&self, policy: &BreakerPolicy, times: u32) -> bool {
        u32::from(self.run.halves) >= policy.consecutive.saturating_mul(2).saturating_mul(times)
    }

    fn too_many_failed(&self, policy: &BreakerPolicy, now: Timestamp) -> bool {
        let (successes, halves) = self.window.counts(now, policy.window);
        let all = u64::from(successes) * 2 + u64::from(halves);
        all >= u64::from(policy.min_requests) * 2
            && u64::from(halves) * 1000 >= all * u64::from(policy.failure_permille)
    }

    /// Ends the lease of `ticket` and returns it, if it was still in force.
    fn end_lease(&mut self, ticket: Ticket) -> Option<Lease> {
        let (BreakerPhase::HalfOpen { leases, .. }, Some((slot, serial))) = (&mut self.phase, ticket.lease)
        else {
            return None;
        };
        leases.get_mut(usize::from(slot))?.take_if(|lease| lease.serial == serial)
    }
}

/// Whether the time from `since` to `until` is over. A clock that stepped back behind `since` ends it too: a
/// step of the clock must keep nothing shut.
fn is_due(since: Timestamp, until: Timestamp, now: Timestamp) -> bool {
    now >= until || stepped_back(since, now)
}

/// Whether the clock has stepped back since it showed `since`.
pub(super) fn stepped_back(since: Timestamp, now: Timestamp) -> bool {
    now.after(CLOCK_SLACK) < since
}

/// A slot for one more lease. Leases granted while the policy allowed more probes count, too.
fn free_slot(leases: &[Option<Lease>; MAX_PROBES], policy: &BreakerPolicy, now: Timestamp) -> Option<usize> {
    let is_free = |lease: &Option<Lease>| lease.is_none_or(|lease| is_due(lease.since, lease.until, now));
    let in_force = leases.iter().filter(|lease| !is_free(lease)).count();
    if in_force >= usize::from(policy.probes) {
        return None;
    }
    leases.iter().position(is_free)
}
