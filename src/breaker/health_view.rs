//! One worker's view of the health of all scopes, and how it changes the shared records.
//!
//! **Reading is free.** The view answers from its own copy. The copy is refreshed from the shared data every
//! tick and whenever this worker changes a record. So it may be about one tick behind another worker's
//! change. That never allows a second probe, because leases are taken only in the shared record, and never a
//! request to a scope that this worker itself has opened.
//!
//! **Writing** is a bounded compare-and-swap loop around a pure transition. A worker that loses a race reads
//! the record again and decides again. A failure, a lease and the result of a probe are written at once.
//!
//! **Successes of a healthy scope are batched.** They are nearly all there is to report, and each would cost
//! a read and a write of three records. So a healthy request costs no host call. The price: a run of failures
//! is counted over all workers, but a success on another worker may arrive after the trip that it would have
//! prevented. A scope in trouble gets every success at once.
//!
//! **Fail open.** After 16 lost races, or when the host refuses, the change applies to this worker's copy
//! only. Health that cannot be shared is no reason to refuse a request.
//!
//! **Records are stored by name**, not by position or configuration fingerprint. So the health of a target
//! outlives a configuration change that keeps its name, and a different target under an old name inherits its
//! health.

use super::codec::Healths;
use super::halves::{OwedHalf, Share, Witness};
use super::health::Health;
use super::scope::{Breaker, Scope};
use super::state::{Availability, Command, HealthSignal, State, Ticket, Transition};
use crate::base::{EndpointFamily, Store, Timestamp, update};
use crate::config::{BreakerPolicy, Config};

/// The result of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<T> {
    /// What the transition returned.
    pub result: T,
    /// True if all workers will see the change. False if it applies to this worker only.
    pub shared: bool,
}

/// The end of an attempt, as one breaker learns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// What the attempt held.
    pub ticket: Ticket,
    /// What came of it.
    pub signal: HealthSignal,
    /// Whose request it was.
    pub by: Witness,
    /// A random number that spreads open times.
    pub jitter: u64,
}

/// One worker's view of every scope of a configuration.
#[derive(Debug)]
pub struct HealthView {
    targets: Vec<Entry>,
    accounts: Vec<Entry>,
    endpoints: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    key: Box<str>,
    healths: Healths,
    /// Successes of each family not reported yet.
    unreported: [Option<Unreported>; EndpointFamily::ALL.len()],
}

/// Successes with the ticket that they all had.
#[derive(Debug, Clone, Copy)]
struct Unreported {
    ticket: Ticket,
    count: u16,
    by: Witness,
}

impl Entry {
    fn new(kind: &str, name: &str) -> Self {
        Self {
            key: format!("llm-failsafe/{kind}/{name}").into(),
            healths: Healths::default(),
            unreported: [None; EndpointFamily::ALL.len()],
        }
    }
}

impl HealthView {
    /// A view of the scopes of `config` without any knowledge.
    pub fn new(config: &Config) -> Self {
        Self {
            targets: config.targets().iter().map(|target| Entry::new("target", &target.name)).collect(),
            accounts: config.accounts().iter().map(|account| Entry::new("account", &account.name)).collect(),
            endpoints: config.providers().iter().map(|at| Entry::new("endpoint", &at.name)).collect(),
        }
    }

    fn entry(&self, scope: Scope) -> Option<&Entry> {
        match scope {
            Scope::Target(id) => self.targets.get(id.index()),
            Scope::Account(id) => self.accounts.get(id.index()),
            Scope::Endpoint(id) => self.endpoints.get(id.index()),
        }
    }

    fn entry_mut(&mut self, scope: Scope) -> Option<&mut Entry> {
        match scope {
            Scope::Target(id) => self.targets.get_mut(id.index()),
            Scope::Account(id) => self.accounts.get_mut(id.index()),
            Scope::Endpoint(id) => self.endpoints.get_mut(id.index()),
        }
    }

    /// The state of a breaker as this worker knows it.
    pub fn health(&self, of: impl Into<Breaker>) -> Option<&Health> {
        let Breaker { scope, family } = of.into();
        self.entry(scope).map(|entry| entry.healths.of(family))
    }

    /// The breaker of a scope that is in the worst state. Of breakers in the same state, the busier one.
    pub fn worst(&self, scope: Scope, policy: &BreakerPolicy, now: Timestamp) -> Breaker {
        let rank = |breaker: &Breaker| {
            self.health(*breaker).map(|health| {
                let state = health.state(policy, now);
                let (successes, failures) = health.counts(policy, now);
                (State::ALL.iter().position(|known| *known == state), successes.saturating_add(failures))
            })
        };
        // Of equal ones the first in this order, that of generation.
        self.known(scope)
            .reduce(|one, other| if rank(&other) > rank(&one) { other } else { one })
            .unwrap_or(scope.into())
    }

    /// The breaker of a scope that most of its requests go through: that of another family than generation only
    /// if no text is asked for there.
    pub fn main(&self, scope: Scope) -> Breaker {
        let mut used =
            self.known(scope).filter(|breaker| self.health(*breaker).is_some_and(Health::has_results));
        used.next().unwrap_or(scope.into())
    }

    /// The breakers of a scope, without the last ones of which nothing is known.
    fn known(&self, scope: Scope) -> impl Iterator<Item = Breaker> {
        let known = self.entry(scope).map_or(1, |entry| entry.healths.known());
        Breaker::all(scope).take(known)
    }

    /// Whether a breaker lets a request through, as far as this worker knows. Costs no host call.
    pub fn availability(
        &self,
        of: impl Into<Breaker>,
        policy: &BreakerPolicy,
        now: Timestamp,
    ) -> Availability {
        self.health(of)
            .map_or(Availability::Available { permille: 1000 }, |health| health.availability(policy, now))
    }

    /// Whether a breaker lets everything through without a look at the time. Nearly all do.
    pub fn is_untroubled(&self, of: impl Into<Breaker>) -> bool {
        self.health(of).is_none_or(Health::is_untroubled)
    }

    /// The ticket of an attempt through a breaker that lets it through.
    pub fn ticket(&self, of: impl Into<Breaker>) -> Option<Ticket> {
        self.health(of).map(Health::ticket)
    }

    /// Takes a lease from the shared record, or an ordinary ticket if the scope turns out to be healthy
    /// again. If the record cannot be changed, the lease is valid for this worker only: probes of several
    /// workers are better than none.
    pub fn take_lease(
        &mut self,
        store: &mut dyn Store,
        of: impl Into<Breaker>,
        policy: &BreakerPolicy,
        now: Timestamp,
    ) -> Change<Option<Ticket>> {
        self.change(store, of.into(), |health| match health.availability(policy, now) {
            Availability::Available { .. } => Some(health.ticket()),
            Availability::Probe | Availability::Unavailable(_) => health.take_lease(policy, now),
        })
    }

    /// When the next attempt may start through a breaker in slow start; see [`Health::next_start`].
    pub fn next_start(
        &self,
        of: impl Into<Breaker>,
        policy: &BreakerPolicy,
        now: Timestamp,
    ) -> Option<Timestamp> {
        self.health(of).and_then(|health| health.next_start(policy, now))
    }

    /// Counts an attempt through a breaker in slow start in the shared record; see [`Health::take_start`]. `None`
    /// if it has to wait. If the record cannot be changed, the count is that of this worker.
    pub fn take_start(
        &mut self,
        store: &mut dyn Store,
        of: impl Into<Breaker>,
        policy: &BreakerPolicy,
        now: Timestamp,
    ) -> Change<Option<Ticket>> {
        self.change(store, of.into(), |health| match health.availability(policy, now) {
            Availability::Available { .. } => health.take_start(policy, now),
            Availability::Probe | Availability::Unavailable(_) => health.take_lease(policy, now),
        })
    }

    /// Takes in the end of an attempt of an unknown client; a failure counts whole.
    pub fn report(
        &mut self,
        store: &mut dyn Store,
        of: impl Into<Breaker>,
        policy: &BreakerPolicy,
        (ticket, signal): (Ticket, HealthSignal),
        now: Timestamp,
        jitter: u64,
    ) -> Change<Option<Transition>> {
        let report = Report { ticket, signal, by: Witness::default(), jitter };
        let Change { result: (transition, _), shared } = self.take_in(store, of.into(), policy, report, now);
        Change { result: transition, shared }
    }

    /// Takes in the end of an attempt. Also returns what is owed of a failure that counted as half.
    pub fn take_in(
        &mut self,
        store: &mut dyn Store,
        of: Breaker,
        policy: &BreakerPolicy,
        report: Report,
        now: Timestamp,
    ) -> Change<(Option<Transition>, Option<OwedHalf>)> {
        let Report { ticket, signal, by, jitter } = report;
        let quiet = Change { result: (None, None), shared: true };
        let Some(entry) = self.entry_mut(of.scope) else { return quiet };
        if !ticket.is_probe() {
            let health = entry.healths.of(of.family);
            match signal {
                HealthSignal::Neutral => return quiet,
                // The success of a healthy scope can wait for the next flush.
                HealthSignal::Success
                    if ticket.generation == health.generation && health.can_batch_successes() =>
                {
                    entry.collect(of.family, ticket, by);
                    return quiet;
                }
                _ => {}
            }
        }
        // Report the collected successes first, or the failure ratio would look worse than it is.
        let unreported = entry.take_unreported(of.family);
        entry.change(store, of.family, |health| {
            if let Some(successes) = unreported {
                successes.report_to(health, policy, now);
            }
            let transition = health.report_by(policy, ticket, signal, by, now, jitter);
            let owed = match signal {
                HealthSignal::Failure(class) | HealthSignal::FailureFor(class, _)
                    if by.share == Share::Half =>
                {
                    health.second_half(ticket, class, by)
                }
                _ => None,
            };
            (transition, owed.map(|half| OwedHalf { breaker: of, half }))
        })
    }

    /// The scope has begun to answer a request; see [`Health::answered`]. Costs no host call unless clients have
    /// left unanswered, as far as this worker knows.
    pub fn answered(
        &mut self,
        store: &mut dyn Store,
        of: Breaker,
        is_good: bool,
        now: Timestamp,
    ) -> Change<Option<Transition>> {
        if !self.health(of).is_some_and(Health::awaits_answer) {
            return Change { result: None, shared: true };
        }
        self.change(store, of, |health| health.answered(is_good, now))
    }

    /// Counts the second half of a failure.
    pub fn pay(
        &mut self,
        store: &mut dyn Store,
        owed: OwedHalf,
        policy: &BreakerPolicy,
        now: Timestamp,
        jitter: u64,
    ) -> Change<Option<Transition>> {
        let OwedHalf { breaker, half } = owed;
        self.change(store, breaker, |health| health.pay(policy, half, now, jitter))
    }

    /// Carries out an operator's command, for every breaker of the scope.
    pub fn command(
        &mut self,
        store: &mut dyn Store,
        scope: Scope,
        command: Command,
        now: Timestamp,
    ) -> Change<()> {
        match self.entry_mut(scope) {
            Some(entry) => entry.change_all(store, |healths| {
                for Breaker { family, .. } in Breaker::all(scope) {
                    healths.of_mut(family).command(command, now);
                }
            }),
            None => Change { result: (), shared: true },
        }
    }

    /// Reports the collected successes. Returns how many records could not be changed.
    pub fn flush(&mut self, store: &mut dyn Store, policy: &BreakerPolicy, now: Timestamp) -> usize {
        let mut failed = 0;
        for entry in self.entries_mut() {
            for family in EndpointFamily::ALL {
                let Some(successes) = entry.take_unreported(family) else { continue };
                let change = entry.change(store, family, |health| successes.report_to(health, policy, now));
                failed += usize::from(!change.shared);
            }
        }
        failed
    }

    /// Reads every record again.
    pub fn refresh(&mut self, store: &mut dyn Store) {
        for entry in self.entries_mut() {
            entry.refresh(store);
        }
    }

    fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.targets.iter_mut().chain(&mut self.accounts).chain(&mut self.endpoints)
    }

    fn change<T: Default>(
        &mut self,
        store: &mut dyn Store,
        of: Breaker,
        transition: impl FnMut(&mut Health) -> T,
    ) -> Change<T> {
        match self.entry_mut(of.scope) {
            Some(entry) => entry.change(store, of.family, transition),
            None => Change { result: T::default(), shared: true },
        }
    }
}

impl Unreported {
    fn report_to(self, health: &mut Health, policy: &BreakerPolicy, now: Timestamp) {
        health.successes(policy, self.ticket, (self.count, self.by), now);
    }
}

impl Entry {
    fn collect(&mut self, family: EndpointFamily, ticket: Ticket, by: Witness) {
        let Some(unreported) = self.unreported.get_mut(family as usize) else { return };
        *unreported = match *unreported {
            Some(Unreported { ticket: of, count, by: others }) if of == ticket => {
                let (key, host) = (others.key.and(by.key), others.host.and(by.host));
                Some(Unreported { ticket, count: count.saturating_add(1), by: Witness { key, host, ..by } })
            }
            // Successes of an earlier generation no longer count.
            _ => Some(Unreported { ticket, count: 1, by }),
        };
    }

    fn take_unreported(&mut self, family: EndpointFamily) -> Option<Unreported> {
        self.unreported.get_mut(family as usize)?.take()
    }

    fn refresh(&mut self, store: &mut dyn Store) {
        // If no record exists yet, keep what this worker could not share.
        if let Ok(Some(stored)) = store.read(&self.key) {
            self.healths = Healths::decode(&stored.bytes).unwrap_or_default();
        }
    }

    fn change<T>(
        &mut self,
        store: &mut dyn Store,
        family: EndpointFamily,
        mut transition: impl FnMut(&mut Health) -> T,
    ) -> Change<T> {
        self.change_all(store, |healths| transition(healths.of_mut(family)))
    }

    /// Changes the shared record, or if that fails this worker's copy.
    fn change_all<T>(
        &mut self,
        store: &mut dyn Store,
        mut transition: impl FnMut(&mut Healths) -> T,
    ) -> Change<T> {
        let decided = update(store, &self.key, |bytes| {
            let before = bytes.and_then(Healths::decode).unwrap_or_default();
            let mut healths = before.clone();
            let result = transition(&mut healths);
            healths.trim();
            let write = (healths != before).then(|| healths.encode());
            ((result, healths), write)
        });
        match decided {
            Some((result, healths)) => {
                self.healths = healths;
                Change { result, shared: true }
            }
            None => Change { result: transition(&mut self.healths), shared: false },
        }
    }
}
