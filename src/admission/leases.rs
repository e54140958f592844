//! The circuit breaker leases of one attempt.

use super::failures::RequestFailures;
use super::transitions::count_transition;
use crate::base::{EndpointFamily, Random, TargetId, Timestamp};
use crate::breaker::{
    Availability, Blame, Breaker, Change, HealthSignal, Keys, Report, Scope, Ticket, Witness,
};
use crate::config::Config;
use crate::generation::{Effects, Generation, breakers, is_untroubled};
use crate::intake::ClientRequest;
use crate::record::{Family, Metric};

/// The breaker tickets of one attempt, for its target, account and endpoint. A ticket is a lease if the
/// attempt probes.
#[derive(Debug)]
#[must_use = "leases are returned by `give_back` or `report`"]
pub struct Leases {
    target: TargetId,
    /// The family of endpoints that is called.
    family: EndpointFamily,
    /// Whose request it is.
    key: Keys,
    tickets: [Option<Ticket>; 3],
}

impl Leases {
    /// Takes what an attempt at `target` needs. `None` if another request got the lease, or the breaker has
    /// opened in the meantime. `alone` says that no other target can take the request, so that the starts at one in
    /// slow start are counted.
    pub fn take(
        request: &ClientRequest,
        target: TargetId,
        alone: bool,
        effects: &mut Effects<'_>,
        now: Timestamp,
    ) -> Option<Self> {
        let (generation, config) = (&*request.generation, request.config());
        let mut leases = Self::of(request, target);
        let breakers = breakers(config, target, leases.family)?;
        let view = generation.health_view.borrow();
        if is_untroubled(&view, breakers.iter()) {
            leases.tickets = breakers.map(|breaker| view.ticket(breaker));
            return Some(leases);
        }
        drop(view);
        for (slot, breaker) in breakers.into_iter().enumerate() {
            let mut view = generation.health_view.borrow_mut();
            let ticket = match view.availability(breaker, &config.breaker, now) {
                Availability::Probe => {
                    let Change { result, shared } =
                        view.take_lease(effects.store, breaker, &config.breaker, now);
                    effects.note_shared(shared);
                    result
                }
                Availability::Available { permille: ..1000 } if alone => {
                    let Change { result, shared } =
                        view.take_start(effects.store, breaker, &config.breaker, now);
                    effects.note_shared(shared);
                    result
                }
                Availability::Available { .. } => view.ticket(breaker),
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
            leases.count_probes(config, breakers, effects);
        }
        Some(leases)
    }

    /// Tickets for an attempt at `target` whatever its health. None of them is a lease.
    pub fn take_anyway(request: &ClientRequest, target: TargetId) -> Option<Self> {
        let view = request.generation.health_view.borrow();
        let mut leases = Self::of(request, target);
        leases.tickets =
            breakers(request.config(), target, leases.family)?.map(|breaker| view.ticket(breaker));
        Some(leases)
    }

    fn of(request: &ClientRequest, target: TargetId) -> Self {
        let key = request.client_key().map_or(Keys::NONE, |key| Keys::of(&key.digests.first));
        Self { target, family: request.endpoint.family(), key, tickets: [None; 3] }
    }

    /// Whether the attempt probes one of its scopes.
    pub fn is_probe(&self) -> bool {
        self.tickets.iter().flatten().any(Ticket::is_probe)
    }

    /// The attempt was not made: other requests may probe.
    pub fn give_back(self, generation: &Generation, effects: &mut Effects<'_>, now: Timestamp) {
        self.tell(generation, Blame::NEUTRAL, (&mut RequestFailures::default(), None), effects, now);
    }

    /// The attempt is over. Each breaker gets its part of the blame. `failures` are those of the request, and `host` had
    /// this attempt, if that is known.
    pub fn report(
        self,
        generation: &Generation,
        blame: Blame,
        (failures, host): (&mut RequestFailures, Option<u64>),
        effects: &mut Effects<'_>,
        now: Timestamp,
    ) {
        if matches!(blame.target, HealthSignal::Exhausted(_)) {
            self.rest_pool(generation, blame.target, effects, now);
        }
        self.tell(generation, blame, (failures, host), effects, now);
    }

    fn tell(
        self,
        generation: &Generation,
        blame: Blame,
        (failures, host): (&mut RequestFailures, Option<u64>),
        effects: &mut Effects<'_>,
        now: Timestamp,
    ) {
        let config = &*generation.config;
        let host = host.map_or(Keys::NONE, Keys::of_hash);
        let Some(breakers) = breakers(config, self.target, self.family) else { return };
        let jitter = effects.rng.next_u64();
        let signals = [blame.target, blame.account, blame.endpoint];
        for ((breaker, ticket), signal) in breakers.into_iter().zip(self.tickets).zip(signals) {
            let Some(ticket) = ticket else { continue };
            let failed = matches!(signal, HealthSignal::Failure(_) | HealthSignal::FailureFor(..));
            let again = failed && failures.were_counted_by(breaker);
            let signal = if again && !ticket.is_probe() { signal.without_failure() } else { signal };
            if signal == HealthSignal::Neutral && !ticket.is_probe() {
                continue;
            }
            let by = Witness { key: self.key, host, share: failures.share() };
            let report = Report { ticket, signal, by, jitter };
            let mut view = generation.health_view.borrow_mut();
            let Change { result: (transition, owed), shared } =
                view.take_in(effects.store, breaker, &config.breaker, report, now);
            drop(view);
            if failed && !again {
                failures.count(breaker, owed);
            }
            effects.note_shared(shared);
            count_transition(config, breaker.scope(), transition, effects);
        }
    }

    fn count_probes(&self, config: &Config, breakers: [Breaker; 3], effects: &mut Effects<'_>) {
        effects.tally.count(Metric::BreakerProbes);
        for (breaker, ticket) in breakers.into_iter().zip(self.tickets) {
            if ticket.is_some_and(|ticket| ticket.is_probe()) {
                let place = effects.tally.series().scope(breaker.scope());
                effects.tally.label(config, Family::ProbesByName, (place, 0), 1);
            }
        }
    }

    /// The other accounts of a quota pool share the allowance for a model that this target has used up, so
    /// their targets of this model rest too.
    fn rest_pool(
        &self,
        generation: &Generation,
        signal: HealthSignal,
        effects: &mut Effects<'_>,
        now: Timestamp,
    ) {
        let config = &*generation.config;
        let pool = |account| config.account(account).and_then(|account| account.quota_pool.as_deref());
        let Some(used_up) = config.target(self.target) else { return };
        let Some(shared_pool) = pool(used_up.account) else { return };
        for (index, other) in config.targets().iter().enumerate() {
            let Some(id) = TargetId::from_index(index).filter(|id| *id != self.target) else { continue };
            let is_shared = other.provider == used_up.provider && other.model == used_up.model;
            if !is_shared || pool(other.account) != Some(shared_pool) {
                continue;
            }
            let breaker = Breaker::new(Scope::Target(id), self.family);
            let mut view = generation.health_view.borrow_mut();
            let Some(ticket) = view.ticket(breaker) else { continue };
            let Change { result, shared } =
                view.report(effects.store, breaker, &config.breaker, (ticket, signal), now, 0);
            drop(view);
            effects.note_shared(shared);
            count_transition(config, breaker.scope(), result, effects);
        }
    }
}
