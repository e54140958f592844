//! The circuit breaker leases of one attempt.

use crate::base::{Random, TargetId, Timestamp};
use crate::breaker::{Availability, Blame, Change, HealthSignal, Scope, Ticket, Transition};
use crate::config::Config;
use crate::generation::{Effects, Generation, is_untroubled, scopes};
use crate::record::{Family, Metric};

/// The breaker tickets of one attempt, for its target, account and endpoint. A ticket is a lease if the
/// attempt probes.
#[derive(Debug)]
#[must_use = "leases are returned by `give_back` or `report`"]
pub struct Leases {
    target: TargetId,
    tickets: [Option<Ticket>; 3],
}

impl Leases {
    /// Takes what an attempt at `target` needs. `None` if another request got the lease, or the breaker has
    /// opened in the meantime.
    pub fn take(
        generation: &Generation,
        target: TargetId,
        effects: &mut Effects<'_>,
        now: Timestamp,
    ) -> Option<Self> {
        let config = &*generation.config;
        let scopes = scopes(config, target)?;
        let view = generation.health_view.borrow();
        if is_untroubled(&view, scopes.iter()) {
            return Some(Self { target, tickets: scopes.map(|scope| view.ticket(scope)) });
        }
        drop(view);
        let mut leases = Self { target, tickets: [None; 3] };
        for (slot, scope) in scopes.into_iter().enumerate() {
            let mut view = generation.health_view.borrow_mut();
            let ticket = match view.availability(scope, &config.breaker, now) {
                Availability::Probe => {
                    let Change { result, shared } =
                        view.take_lease(effects.store, scope, &config.breaker, now);
                    effects.note_shared(shared);
                    result
                }
                Availability::Available { .. } => view.ticket(scope),
                Availability::Unavailable(_) => None,
            };
            drop(view);
            let Some(ticket) = ticket else {
                leases.give_back(generation, effects, now);
                return None;
            };
            if let Some(place) = leases.tickets.get_mut(slot) {
                *place = Some(ticket);
            }
        }
        if leases.is_probe() {
            leases.count_probes(config, scopes, effects);
        }
        Some(leases)
    }

    /// Tickets for an attempt at `target` whatever its health. None of them is a lease.
    pub fn take_anyway(generation: &Generation, target: TargetId) -> Option<Self> {
        let view = generation.health_view.borrow();
        let tickets = scopes(&generation.config, target)?.map(|scope| view.ticket(scope));
        Some(Self { target, tickets })
    }

    /// Whether the attempt probes one of its scopes.
    pub fn is_probe(&self) -> bool {
        self.tickets.iter().flatten().any(Ticket::is_probe)
    }

    /// The attempt was not made: other requests may probe.
    pub fn give_back(self, generation: &Generation, effects: &mut Effects<'_>, now: Timestamp) {
        self.tell(generation, Blame::NEUTRAL, 0, effects, now);
    }

    /// The attempt is over. Each scope gets its part of the blame.
    pub fn report(self, generation: &Generation, blame: Blame, effects: &mut Effects<'_>, now: Timestamp) {
        let jitter = effects.rng.next_u64();
        if matches!(blame.target, HealthSignal::Exhausted(_)) {
            rest_pool(generation, self.target, blame.target, effects, now);
        }
        self.tell(generation, blame, jitter, effects, now);
    }

    fn tell(
        self,
        generation: &Generation,
        blame: Blame,
        jitter: u64,
        effects: &mut Effects<'_>,
        now: Timestamp,
    ) {
        let config = &*generation.config;
        let Some(scopes) = scopes(config, self.target) else { return };
        let outcomes = [blame.target, blame.account, blame.endpoint];
        for ((scope, ticket), outcome) in scopes.into_iter().zip(self.tickets).zip(outcomes) {
            let Some(ticket) = ticket else { continue };
            if outcome == HealthSignal::Neutral && !ticket.is_probe() {
                continue;
            }
            let Change { result, shared } = generation.health_view.borrow_mut().report(
                effects.store,
                scope,
                &config.breaker,
                (ticket, outcome),
                now,
                jitter,
            );
            effects.note_shared(shared);
            count_transition(config, scope, result, effects);
        }
    }

    fn count_probes(&self, config: &Config, scopes: [Scope; 3], effects: &mut Effects<'_>) {
        effects.tally.count(Metric::BreakerProbes);
        for (scope, ticket) in scopes.into_iter().zip(self.tickets) {
            if ticket.is_some_and(|ticket| ticket.is_probe()) {
                let place = effects.tally.series().scope(scope);
                effects.tally.label(config, Family::ProbesByName, (place, 0), 1);
            }
        }
    }
}

/// The other accounts of a quota pool share the allowance for a model that `target` has used up, so their
/// targets of this model rest too.
fn rest_pool(
    generation: &Generation,
    target: TargetId,
    signal: HealthSignal,
    effects: &mut Effects<'_>,
    now: Timestamp,
) {
    let config = &*generation.config;
    let pool = |account| config.account(account).and_then(|account| account.quota_pool.as_deref());
    let Some(used_up) = config.target(target) else { return };
    let Some(shared_pool) = pool(used_up.account) else { return };
    for (index, other) in config.targets().iter().enumerate() {
        let Some(id) = TargetId::from_index(index).filter(|id| *id != target) else { continue };
        let is_shared = other.provider == used_up.provider && other.model == used_up.model;
        if !is_shared || pool(other.account) != Some(shared_pool) {
            continue;
        }
        let scope = Scope::Target(id);
        let mut view = generation.health_view.borrow_mut();
        let Some(ticket) = view.ticket(scope) else { continue };
        let Change { result, shared } =
            view.report(effects.store, scope, &config.breaker, (ticket, signal), now, 0);
        drop(view);
        effects.note_shared(shared);
        count_transition(config, scope, result, effects);
    }
}

fn count_transition(
    config: &Config,
    scope: Scope,
    transition: Option<Transition>,
    effects: &mut Effects<'_>,
) {
    // The numbers are positions in `CHANGES`, the labels of the family.
    let (metric, change) = match transition {
        Some(Transition::Opened(_)) => (Metric::BreakerOpened, 0),
        Some(Transition::Reopened(_)) => (Metric::BreakerReopened, 1),
        Some(Transition::Closed) => (Metric::BreakerClosed, 2),
        Some(Transition::Throttled) => (Metric::BreakerThrottled, 3),
        None => return,
    };
    log::debug!("breaker of {scope:?}: {transition:?}");
    effects.tally.count(metric);
    let place = effects.tally.series().scope(scope);
    effects.tally.label(config, Family::BreakerChanges, (place, change), 1);
}
