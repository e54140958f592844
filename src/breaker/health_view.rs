//! What one worker knows of all scopes, and how it changes what all workers share.
//!
//! Reading costs nothing: the health view answers from its own copy, which is read anew from the shared data a few times a
//! second and whenever this worker changes a record. Writing is a bounded compare-and-swap loop around a pure transition;
//! a lost race reads again and decides again. Successes of a healthy scope are collected and reported together, so that
//! a healthy request costs no call of the host at all.
//!
//! What this staleness allows: for one refresh interval other workers may send to a target that has just been opened. It
//! never allows a second probe, because leases are only taken inside the loop, and never a request to a target that this
//! worker itself has opened.

use super::health::Health;
use super::state::{Command, Outcome, Standing, Ticket, Transition};
use crate::base::{AccountId, ProviderId, Store, TargetId, Timestamp, update};
use crate::config::{BreakerPolicy, Config};

/// What has a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One model through one account.
    Target(TargetId),
    /// One credential.
    Account(AccountId),
    /// One API host.
    Endpoint(ProviderId),
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<T> {
    /// What the transition gave.
    pub result: T,
    /// Whether all workers will see it, or just this one because races were lost or the host declined.
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
    /// Successes not yet reported, with the ticket that they all had.
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
    /// A view of a configuration's scopes of which nothing is known yet. Records go by names, so they outlive changes of
    /// the configuration.
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

    /// Whether a scope may be asked now, as far as this worker knows. Costs no host call.
    pub fn standing(&self, scope: Scope, policy: &BreakerPolicy, now: Timestamp) -> Standing {
        self.health(scope).map_or(Standing::Fit { permille: 1000 }, |health| health.standing(policy, now))
    }

    /// The ticket of an attempt that goes through a fit scope.
    pub fn ticket(&self, scope: Scope) -> Option<Ticket> {
        self.health(scope).map(Health::ticket)
    }

    /// Takes a lease from the shared record, or gives an ordinary ticket where the record turns out to be of a scope that is
    /// well again. Where the record cannot be changed the lease is this worker's own affair: that more than one worker then
    /// probes is better than that nobody ever does.
    pub fn take_lease(
        &mut self,
        store: &mut dyn Store,
        scope: Scope,
        policy: &BreakerPolicy,
        now: Timestamp,
    ) -> Change<Option<Ticket>> {
        self.change(store, scope, |health| match health.standing(policy, now) {
            Standing::Fit { .. } => Some(health.ticket()),
            Standing::Probe | Standing::Unfit(_) => health.take_lease(policy, now),
        })
    }

    /// Takes in how an attempt ended.
    pub fn report(
        &mut self,
        store: &mut dyn Store,
        scope: Scope,
        policy: &BreakerPolicy,
        report: (Ticket, Outcome),
        now: Timestamp,
        jitter: u64,
    ) -> Change<Option<Transition>> {
        let (ticket, outcome) = report;
        let quiet = Change { result: None, shared: true };
        let Some(entry) = self.entry_mut(scope) else { return quiet };
        if !ticket.is_probe() {
            match outcome {
                Outcome::Neutral => return quiet,
                // A healthy scope's success can wait for the next report.
                Outcome::Success
                    if ticket.generation == entry.health.generation && entry.health.is_untroubled() =>
                {
                    entry.collect(ticket);
                    return quiet;
                }
                _ => {}
            }
        }
        // A failure is to be seen among the successes that this worker had with it, or its ratio would look worse than it is.
        let unreported = entry.unreported.take();
        entry.change(store, |health| {
            if let Some((ticket, count)) = unreported {
                health.successes(policy, ticket, count, now);
            }
            health.report(policy, ticket, outcome, now, jitter)
        })
    }

    /// Carries out what an operator orders.
    pub fn command(
        &mut self,
        store: &mut dyn Store,
        scope: Scope,
        command: Command,
        now: Timestamp,
    ) -> Change<()> {
        self.change(store, scope, |health| health.command(command, now))
    }

    /// Reports the successes collected since the last time. Returns how many records could not be changed.
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

    /// Reads every record anew.
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
            // Those of a generation that is over would count no more.
            _ => Some((ticket, 1)),
        };
    }

    fn refresh(&mut self, store: &mut dyn Store) {
        // Where nobody has written yet, what this worker could not share is still better than nothing.
        if let Ok(Some(stored)) = store.read(&self.key) {
            self.health = Health::decode(&stored.bytes).unwrap_or_default();
        }
    }

    /// Changes the shared record, or where that fails just this worker's copy.
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
