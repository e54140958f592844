//! How things are now, for operators: every scope with its breaker, what it counts, and what was ordered.
//!
//! Its size is bounded by the configuration: some 400 bytes for each target, account and endpoint, and 100 for each limit.

use std::rc::Rc;

use serde::Serialize;

use super::orders::{Given, Kind};
use crate::balance::{Headroom, Limit};
use crate::base::{AccountId, ModelId, ProviderId, Store, TargetId, Timestamp};
use crate::breaker::{Health, HealthView, Order, Pending, Phase, Scope, Standing, State};
use crate::config::{Config, Mode, Model};
use crate::retry::{self, BudgetUse};
use crate::tenancy;

/// What `GET /llm-failsafe/status` answers. Times are milliseconds since the epoch.
#[derive(Debug, Serialize)]
pub struct Status<'c> {
    /// The version of this shape; it changes when a member is renamed or removed.
    schema: u8,
    now_ms: u64,
    versions: Versions<'c>,
    mode: &'static str,
    retry_loop: bool,
    models: Vec<ModelStatus<'c>>,
    targets: Vec<ScopeStatus<'c>>,
    accounts: Vec<ScopeStatus<'c>>,
    endpoints: Vec<ScopeStatus<'c>>,
    /// Further attempts, over all workers.
    retry_budget: RetryBudget,
    /// Client keys with budgets, at most [`MAX_KEYS`] of them.
    budgets: Vec<KeyBudgets>,
    /// What operators have ordered lately, the newest first.
    orders: Vec<Given>,
}

/// Keys whose budgets a report shows; each costs a read of the shared data.
pub const MAX_KEYS: usize = 100;

/// What a client's key has used of its budgets.
#[derive(Debug, Serialize)]
pub struct KeyBudgets {
    key: String,
    budgets: Vec<Used>,
}

#[derive(Debug, Serialize)]
struct Used {
    budget: &'static str,
    used: u64,
    limit: u64,
}

/// The budgets of the configuration's keys as the shared records have them.
pub fn budgets(config: &Config, store: &mut dyn Store, now: Timestamp) -> Vec<KeyBudgets> {
    let keys = config.keys.iter().flatten();
    keys.filter_map(|key| Some((key, key.budget.as_ref()?)))
        .take(MAX_KEYS)
        .map(|(key, budget)| {
            let used = tenancy::used(store, &key.name, budget, now);
            let budgets = used.map(|(kind, used, limit)| Used { budget: kind.name(), used, limit }).collect();
            KeyBudgets { key: key.name.to_string(), budgets }
        })
        .collect()
}

/// How much of the retry budget is used.
#[derive(Debug, Serialize)]
struct RetryBudget {
    /// The seconds that count.
    window_s: usize,
    /// The requests within them.
    requests: u64,
    /// The further attempts within them.
    used: u64,
    /// As many as are allowed.
    allowed: u64,
    left: u64,
}

impl From<BudgetUse> for RetryBudget {
    fn from(BudgetUse { requests, used, allowed }: BudgetUse) -> Self {
        let left = allowed.saturating_sub(used);
        Self { window_s: retry::WINDOW_S, requests, used, allowed, left }
    }
}

#[derive(Debug, Serialize)]
struct Versions<'c> {
    llm_failsafe: &'static str,
    /// The configuration's fingerprint: the same for the same configuration, everywhere.
    configuration: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    envoy: Option<&'c str>,
}

/// A logical model: who would take a request for it now.
#[derive(Debug, Serialize)]
struct ModelStatus<'c> {
    name: &'c str,
    /// Targets that may be asked now, of all there are.
    fit: usize,
    of: usize,
    tiers: Vec<Vec<&'c str>>,
    /// Who waits until somebody is free, over all workers; absent where nobody does and the model has no queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<QueueStatus>,
}

#[derive(Debug, Serialize)]
struct QueueStatus {
    waiting: u32,
    /// The bytes of their bodies.
    bytes: u64,
    /// Since when the first of them waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    since_ms: Option<u64>,
    /// As many may wait on each worker.
    max_waiting: usize,
    max_wait_ms: u64,
}

/// A target, an account or an endpoint.
#[derive(Debug, Serialize)]
pub struct ScopeStatus<'c> {
    name: &'c str,
    state: &'static str,
    /// What opened the breaker: the rule, and the failure that met it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// Since when the breaker is in its phase; absent where it has never left the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    since_ms: Option<u64>,
    /// Until when nothing is sent there; absent where it may be asked, and where only an operator can end it.
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<u64>,
    /// The share of its usual traffic that it gets while it is starting slowly, in 1/1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    share_permille: Option<u16>,
    /// What an operator has ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<&'static str>,
    /// The breaker's phase, which goes on beneath an order or a rate limit.
    phase: &'static str,
    window: Counts,
    /// Failures since the last success.
    consecutive_failures: u16,
    /// Trips in a row without sustained health between them.
    trips: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    probes: Option<Probes>,
    #[serde(flatten)]
    of_target: Option<OfTarget<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'c str>,
}

#[derive(Debug, Serialize)]
struct OfTarget<'c> {
    account: &'c str,
    model: &'c str,
    /// Whether it may be asked now: its own breaker, its account's and its endpoint's let a request through.
    fit: bool,
    /// Attempts under way, over all workers.
    pending: u32,
    /// How long attempts took to their first content, over all workers; absent where there was none within the last minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_content: Option<FirstContent>,
    /// Limits, and what is left of them, as far as known.
    headroom: Vec<LimitStatus>,
}

/// Of the attempts of the last half to whole minute.
#[derive(Debug, Serialize)]
struct FirstContent {
    attempts: u32,
    mean_ms: u64,
    slowest_ms: u32,
}

#[derive(Debug, Serialize)]
struct LimitStatus {
    of: &'static str,
    /// Who says so.
    by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    left: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_ms: Option<u64>,
}

impl From<Limit> for LimitStatus {
    fn from(Limit { of, stated, limit, left, reset }: Limit) -> Self {
        let by = if stated { "configuration" } else { "provider" };
        Self { of, by, limit, left, reset_ms: reset.map(Timestamp::as_millis) }
    }
}

#[derive(Debug, Serialize)]
struct Reason {
    rule: &'static str,
    failure: &'static str,
}

#[derive(Debug, Serialize)]
struct Counts {
    successes: u32,
    failures: u32,
}

#[derive(Debug, Serialize)]
struct Probes {
    under_way: usize,
    succeeded: u8,
    needed: u8,
}

/// What a report is made of.
#[derive(Clone, Copy)]
pub struct Sources<'c> {
    /// The configuration.
    pub config: &'c Config,
    /// What this worker knows of all scopes, just read.
    pub health_view: &'c HealthView,
    /// How many attempts are under way where, and what else workers tell each other.
    pub pending: &'c Pending,
    /// What is left of targets' limits.
    pub headroom: &'c Headroom,
    /// The moment.
    pub now: Timestamp,
}

impl<'c> Sources<'c> {
    /// The whole report.
    pub fn status(
        self,
        envoy: Option<&'c str>,
        retries: BudgetUse,
        budgets: Vec<KeyBudgets>,
        mut orders: Vec<Given>,
    ) -> Status<'c> {
        let config = self.config;
        orders.reverse();
        Status {
            schema: 1,
            now_ms: self.now.as_millis(),
            versions: Versions {
                llm_failsafe: env!("CARGO_PKG_VERSION"),
                configuration: format!("{:016x}", config.fingerprint()),
                envoy,
            },
            mode: match config.mode {
                Mode::Enforce => "enforce",
                Mode::Shadow => "shadow",
            },
            retry_loop: config.retry_loop,
            models: config
                .models()
                .iter()
                .enumerate()
                .map(|(index, model)| self.model(index, model))
                .collect(),
            targets: self.all(config.targets().len(), TargetId::from_index, Scope::Target),
            accounts: self.all(config.accounts().len(), AccountId::from_index, Scope::Account),
            endpoints: self.all(config.providers().len(), ProviderId::from_index, Scope::Endpoint),
            retry_budget: retries.into(),
            budgets,
            orders,
        }
    }

    fn all<I>(
        self,
        count: usize,
        id: impl Fn(usize) -> Option<I>,
        scope: impl Fn(I) -> Scope,
    ) -> Vec<ScopeStatus<'c>> {
        (0..count).filter_map(|index| self.scope(scope(id(index)?))).collect()
    }

    /// Whether a target's own breaker and those of its account and endpoint let a request through.
    pub fn is_fit(self, id: TargetId) -> bool {
        let Some(target) = self.config.target(id) else { return false };
        [Scope::Target(id), Scope::Account(target.account), Scope::Endpoint(target.provider)].into_iter().all(
            |scope| {
                !matches!(
                    self.health_view.standing(scope, &self.config.breaker, self.now),
                    Standing::Unfit(_)
                )
            },
        )
    }

    fn model(self, index: usize, model: &'c Model) -> ModelStatus<'c> {
        let all = || model.tiers.iter().flatten();
        let name_of = |id: &TargetId| self.config.target(*id).map(|target| &*target.name);
        let line = ModelId::from_index(index).map(|id| self.pending.queued_at(id)).unwrap_or_default();
        let policy = model.retry.queue.or_else(|| (line.requests > 0).then(Default::default));
        ModelStatus {
            name: &model.name,
            fit: all().filter(|id| self.is_fit(**id)).count(),
            of: all().count(),
            tiers: model.tiers.iter().map(|tier| tier.iter().filter_map(name_of).collect()).collect(),
            queue: policy.map(|policy| QueueStatus {
                waiting: line.requests,
                bytes: line.bytes,
                since_ms: (line.requests > 0).then_some(line.since.as_millis()),
                max_waiting: policy.max_waiting,
                max_wait_ms: u64::try_from(policy.max_wait.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    fn of_target(self, id: TargetId, account: &'c str, model: &'c str) -> OfTarget<'c> {
        let times = self.pending.times_at(id);
        let limits = self.headroom.limits(id, |id| self.pending.at(id), self.now);
        OfTarget {
            account,
            model,
            fit: self.is_fit(id),
            pending: self.pending.at(id),
            first_content: times.mean_ms().map(|mean_ms| FirstContent {
                attempts: times.count,
                mean_ms,
                slowest_ms: times.most_ms,
            }),
            headroom: limits.into_iter().map(LimitStatus::from).collect(),
        }
    }

    /// The report on one scope; `None` when the configuration has no such scope.
    pub fn scope(self, scope: Scope) -> Option<ScopeStatus<'c>> {
        let Self { config, health_view, now, .. } = self;
        let health = health_view.health(scope)?;
        let provider = |id| config.provider(id).map(|provider| &*provider.name);
        let (name, endpoint, of_target) = match scope {
            Scope::Target(id) => {
                let target = config.target(id)?;
                let account = config.account(target.account).map(|account| &*account.name)?;
                let of_target = self.of_target(id, account, &target.model);
                (&*target.name, provider(target.provider), Some(of_target))
            }
            Scope::Account(id) => {
                let account = config.account(id)?;
                (&*account.name, provider(account.provider), None)
            }
            Scope::Endpoint(id) => (provider(id)?, None, None),
        };
        let policy = &config.breaker;
        let state = health.state(policy, now);
        let (phase, reason, since, open_until) = phase(health);
        let standing = health_view.standing(scope, policy, now);
        let (successes, failures) = health.counts(policy, now);
        Some(ScopeStatus {
            name,
            state: state.name(),
            reason,
            since_ms: (since > Timestamp::default()).then_some(since.as_millis()),
            until_ms: match (state, standing) {
                (State::Throttled, _) => health.throttled_until(now).map(Timestamp::as_millis),
                (State::Open | State::Blocked, _) => open_until.map(Timestamp::as_millis),
                (_, Standing::Unfit(unfit)) => unfit.until().map(Timestamp::as_millis),
                _ => None,
            },
            share_permille: match standing {
                Standing::Fit { permille } if permille < 1000 => Some(permille),
                _ => None,
            },
            order: health.order().map(|order| match order {
                Order::ForcedOpen => "forced_open",
                Order::ForcedClosed => "forced_closed",
                Order::Drained => "drained",
            }),
            phase,
            window: Counts { successes, failures },
            consecutive_failures: health.consecutive(),
            trips: health.trips(),
            probes: match health.phase() {
                Phase::HalfOpen { leases, successes, .. } => Some(Probes {
                    under_way: leases.iter().flatten().count(),
                    succeeded: *successes,
                    needed: policy.close_after,
                }),
                _ => None,
            },
            of_target,
            endpoint,
        })
    }
}

/// The breaker proper: its phase, what opened it, since when, and until when it stays open.
fn phase(health: &Health) -> (&'static str, Option<Reason>, Timestamp, Option<Timestamp>) {
    match health.phase() {
        Phase::Closed { since, .. } => ("closed", None, *since, None),
        Phase::Open { why, since, until } => {
            let reason = Reason { rule: why.cause.name(), failure: why.class.name() };
            ("open", Some(reason), *since, Some(*until))
        }
        Phase::HalfOpen { why, since, .. } => {
            let reason = Reason { rule: why.cause.name(), failure: why.class.name() };
            ("half_open", Some(reason), *since, None)
        }
    }
}

/// The scope of this kind and name.
pub fn find(config: &Config, kind: Kind, name: &str) -> Option<Scope> {
    fn place<'n>(mut names: impl Iterator<Item = &'n Rc<str>>, name: &str) -> Option<usize> {
        names.position(|known| **known == *name)
    }
    match kind {
        Kind::Target => place(config.targets().iter().map(|target| &target.name), name)
            .and_then(TargetId::from_index)
            .map(Scope::Target),
        Kind::Account => place(config.accounts().iter().map(|account| &account.name), name)
            .and_then(AccountId::from_index)
            .map(Scope::Account),
        Kind::Endpoint => place(config.providers().iter().map(|provider| &provider.name), name)
            .and_then(ProviderId::from_index)
            .map(Scope::Endpoint),
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
