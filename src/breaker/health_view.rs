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

use super::health::Health;
use super::state::{Availability, Command, HealthSignal, Ticket, Transition};
use crate::base::{AccountId, ProviderId, Store, TargetId, Timestamp, update};
use crate::config::{BreakerPolicy, Config};

/// A scope: what has a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One model through one account.
    Target(TargetId),
    /// One credential.
    Account(AccountId),
    /// One API host.
    Endpoint(ProviderId),
}

/// The result of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<T> {
    /// What the transition returned.
    pub result: T,
    /// True if all workers will see the change. False if it applies to this worker only.
    pub shared: bool,
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
    health: Health,
    /// Successes not reported yet, with the ticket that they all had.
    unreported: Option<(Ticket, u16)>,
}

impl Entry {
    fn new(kind: &str, name: &str) -> Self {
        Self {
            key: format!("llm-failsafe/{kind}/{name}").into(),
            health: Health::default(),
            unreported: None,
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

    /// The state of a scope as this worker knows it.
    pub fn health(&self, scope: Scope) -> Option<&Health> {
        self.entry(scope).map(|entry| &entry.health)
    }

    /// Whether a scope may be asked, as far as this worker knows. Costs no host call.
    pub fn availability(&self, scope: Scope, policy: &BreakerPolicy, now: Timestamp) -> Availability {
        self.health(scope)
            .map_or(Availability::Available { permille: 1000 }, |health| health.availability(policy, now))
    }

    /// Whether a scope is available in full without a look at the time. Nearly all are.
    pub fn is_untroubled(&self, scope: Scope) -> bool {
        self.health(scope).is_none_or(Health::is_untroubled)
    }

    /// The ticket of an attempt through a scope that is available.
    pub fn ticket(&self, scope: Scope) -> Option<Ticket> {
        self.health(scope).map(Health::ticket)
    }

    /// Takes a lease from the shared record, or an ordinary ticket if the scope turns out to be healthy
    /// again. If the record cannot be changed, the lease is valid for this worker only: probes of several
    /// workers are better than none.
    pub fn take_lease(
        &mut self,
        store: &mut dyn Store,
        scope: Scope,
        policy: &BreakerPolicy,
        now: Timestamp,
    ) -> Change<Option<Ticket>> {
        self.change(store, scope, |health| match health.availability(policy, now) {
            Availability::Available { .. } => Some(health.ticket()),
            Availability::Probe | Availability::Unavailable(_) => health.take_lease(policy, now),
        })
    }

    /// Takes in the end of an attempt.
    pub fn report(
        &mut self,
        store: &mut dyn Store,
        scope: Scope,
        policy: &BreakerPolicy,
        report: (Ticket, HealthSignal),
        now: Timestamp,
        jitter: u64,
    ) -> Change<Option<Transition>> {
        let (ticket, outcome) = report;
        let quiet = Change { result: None, shared: true };
        let Some(entry) = self.entry_mut(scope) else { return quiet };
        if !ticket.is_probe() {
            match outcome {
                HealthSignal::Neutral => return quiet,
                // The success of a healthy scope can wait for the next flush.
                HealthSignal::Success
                    if ticket.generation == entry.health.generation && entry.health.can_batch_successes() =>
                {
                    entry.collect(ticket);
                    return quiet;
                }
                _ => {}
            }
        }
        // Report the collected successes first, or the failure ratio would look worse than it is.
        let unreported = entry.unreported.take();
        entry.change(store, |health| {
            if let Some((ticket, count)) = unreported {
                health.successes(policy, ticket, count, now);
            }
            health.report(policy, ticket, outcome, now, jitter)
        })
    }

    /// Carries out an operator's command.
    pub fn command(
        &mut self,
        store: &mut dyn Store,
        scope: Scope,
        command: Command,
        now: Timestamp,
    ) -> Change<()> {
        self.change(store, scope, |health| health.command(command, now))
    }

    /// Reports the collected successes. Returns how many records could not be changed.
    pub fn flush(&mut self, store: &mut dyn Store, policy: &BreakerPolicy, now: Timestamp) -> usize {
        let mut failed = 0;
        for entry in self.entries_mut() {
            if let Some((ticket, count)) = entry.unreported.take() {
                let change = entry.change(store, |health| health.successes(policy, ticket, count, now));
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
        scope: Scope,
        transition: impl FnMut(&mut Health) -> T,
    ) -> Change<T> {
        match self.entry_mut(scope) {
            Some(entry) => entry.change(store, transition),
            None => Change { result: T::default(), shared: true },
        }
    }
}

impl Entry {
    fn collect(&mut self, ticket: Ticket) {
        self.unreported = match self.unreported {
            Some((of, count)) if of == ticket => Some((of, count.saturating_add(1))),
            // Successes of an earlier generation no longer count.
            _ => Some((ticket, 1)),
        };
    }

    fn refresh(&mut self, store: &mut dyn Store) {
        // If no record exists yet, keep what this worker could not share.
        if let Ok(Some(stored)) = store.read(&self.key) {
            self.health = Health::decode(&stored.bytes).unwrap_or_default();
        }
    }

    /// Changes the shared record, or if that fails this worker's copy.
    fn change<T>(
        &mut self,
        store: &mut dyn Store,
        mut transition: impl FnMut(&mut Health) -> T,
    ) -> Change<T> {
        let decided = update(store, &self.key, |bytes| {
            let before = bytes.and_then(Health::decode).unwrap_or_default();
            let mut health = before.clone();
            let result = transition(&mut health);
            let write = (health != before).then(|| health.encode());
            ((result, health), write)
        });
        match decided {
            Some((result, health)) => {
                self.health = health;
                Change { result, shared: true }
            }
            None => Change { result: transition(&mut self.health), shared: false },
        }
    }
}
