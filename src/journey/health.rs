//! A target's health is that of three scopes: the target, its account, its endpoint. Here they are taken together.

use crate::base::{Store, TargetId, Timestamp};
use crate::breaker::{
    Availability, Blame, Change, HealthSignal, HealthView, Scope, Ticket, Transition, Unavailable,
};
use crate::config::Config;
use crate::record::{Family, Metric, Tally};

/// What an attempt holds of the three scopes that it goes through.
#[derive(Debug, Clone, Copy)]
pub struct Tickets([Option<Ticket>; 3]);

impl Tickets {
    /// Whether the attempt probes one of them.
    pub fn is_probe(&self) -> bool {
        self.0.iter().flatten().any(Ticket::is_probe)
    }
}

fn scopes(config: &Config, target: TargetId) -> Option<[Scope; 3]> {
    let entry = config.target(target)?;
    Some([Scope::Target(target), Scope::Account(entry.account), Scope::Endpoint(entry.provider)])
}

/// Whether `target` may be asked: as much as the least fit of its scopes.
pub fn availability(
    health_view: &HealthView,
    config: &Config,
    target: TargetId,
    now: Timestamp,
) -> Availability {
    let mut worst = Availability::Available { permille: 1000 };
    for scope in scopes(config, target).into_iter().flatten() {
        worst = match (worst, health_view.availability(scope, &config.breaker, now)) {
            (Availability::Unavailable(one), Availability::Unavailable(other)) => {
                Availability::Unavailable(later(one, other))
            }
            (Availability::Unavailable(one), _) | (_, Availability::Unavailable(one)) => {
                Availability::Unavailable(one)
            }
            (Availability::Probe, _) | (_, Availability::Probe) => Availability::Probe,
            (Availability::Available { permille: one }, Availability::Available { permille: other }) => {
                Availability::Available { permille: one.min(other) }
            }
        };
    }
    worst
}

/// Of two reasons the one that lasts longer; what only an operator can end lasts longest.
fn later(one: Unavailable, other: Unavailable) -> Unavailable {
    match (one.until(), other.until()) {
        (None, _) => one,
        (_, None) => other,
        (Some(first), Some(second)) => {
            if second > first {
                other
            } else {
                one
            }
        }
    }
}

/// Access to the shared records for one decision.
pub struct Clinic<'a> {
    pub config: &'a Config,
    pub health_view: &'a mut HealthView,
    pub store: &'a mut dyn Store,
    pub tally: &'a mut Tally,
    pub now: Timestamp,
}

impl Clinic<'_> {
    /// Tickets for an attempt at `target`, with a lease where a scope wants to be probed; `None` when another request
    /// was faster.
    pub fn admit(&mut self, target: TargetId) -> Option<Tickets> {
        let scopes = scopes(self.config, target)?;
        let mut tickets = [None; 3];
        for (slot, scope) in tickets.iter_mut().zip(scopes) {
            *slot = match self.health_view.availability(scope, &self.config.breaker, self.now) {
                Availability::Probe => {
                    let Change { result, shared } =
                        self.health_view.take_lease(self.store, scope, &self.config.breaker, self.now);
                    self.note_contention(shared);
                    match result {
                        Some(ticket) => Some(ticket),
                        None => {
                            // What has been taken already goes back to others.
                            self.report(target, Tickets(tickets), Blame::NEUTRAL, 0);
                            return None;
                        }
                    }
                }
                Availability::Available { .. } | Availability::Unavailable(_) => {
                    self.health_view.ticket(scope)
                }
            };
        }
        let tickets = Tickets(tickets);
        if tickets.is_probe() {
            self.tally.count(Metric::BreakerProbes);
            for (scope, ticket) in scopes.into_iter().zip(tickets.0) {
                if ticket.is_some_and(|ticket| ticket.is_probe()) {
                    let place = self.tally.series().scope(scope);
                    self.tally.label(self.config, Family::ProbesByName, (place, 0), 1);
                }
            }
        }
        Some(tickets)
    }

    /// Tickets for an attempt at `target` whatever its health.
    pub fn admit_anyway(&self, target: TargetId) -> Option<Tickets> {
        Some(Tickets(scopes(self.config, target)?.map(|scope| self.health_view.ticket(scope))))
    }

    /// Takes in how an attempt ended.
    pub fn report(&mut self, target: TargetId, tickets: Tickets, blame: Blame, jitter: u64) {
        let Some(scopes) = scopes(self.config, target) else { return };
        let outcomes = [blame.target, blame.account, blame.endpoint];
        for ((scope, ticket), outcome) in scopes.into_iter().zip(tickets.0).zip(outcomes) {
            let Some(ticket) = ticket else { continue };
            if outcome == HealthSignal::Neutral && !ticket.is_probe() {
                continue;
            }
            let Change { result, shared } = self.health_view.report(
                self.store,
                scope,
                &self.config.breaker,
                (ticket, outcome),
                self.now,
                jitter,
            );
            self.note_contention(shared);
            let (metric, change) = match result {
                Some(Transition::Opened(_)) => (Metric::BreakerOpened, 0),
                Some(Transition::Reopened(_)) => (Metric::BreakerReopened, 1),
                Some(Transition::Closed) => (Metric::BreakerClosed, 2),
                Some(Transition::Throttled) => (Metric::BreakerThrottled, 3),
                None => continue,
            };
            self.tally.count(metric);
            let place = self.tally.series().scope(scope);
            // In the order of `CHANGES`.
            self.tally.label(self.config, Family::BreakerChanges, (place, change), 1);
        }
    }

    fn note_contention(&mut self, shared: bool) {
        if !shared {
            self.tally.count(Metric::SharedDataFailed);
        }
    }
}

/// How many of a target's recent attempts failed, of 1000.
pub fn failing_permille(health_view: &HealthView, config: &Config, target: TargetId, now: Timestamp) -> u16 {
    let counts = health_view.health(Scope::Target(target)).map(|health| health.counts(&config.breaker, now));
    let (good, bad) = counts.unwrap_or_default();
    let permille = u64::from(bad).saturating_mul(1000).checked_div(u64::from(good) + u64::from(bad));
    u16::try_from(permille.unwrap_or(0)).unwrap_or(1000)
}
