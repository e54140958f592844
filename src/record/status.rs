//! The status report for operators: every scope with its breaker and its counts, and the recent orders.
//!
//! The configuration bounds its size: about 400 bytes per target, account and endpoint, and 100 per limit.

use std::rc::Rc;

use serde::Serialize;

use super::orders::{RecentOrder, ScopeKind};
use crate::balance::{Headroom, Limit};
use crate::base::{
    AccountId, COMMIT, EndpointFamily, ModelId, Moment, ProviderId, Store, TargetId, Timestamp, VERSION,
    WallClock,
};
use crate::breaker::{
    Availability, BreakerPhase, Health, HealthView, Order, Pending, Scope, State, TripRule,
};
use crate::config::{Config, Mode, Model};
use crate::retry::{self, BudgetUse};
use crate::tenancy;

/// The body of `GET /llm-failsafe/status`. Times are milliseconds since the epoch.
#[derive(Debug, Serialize)]
pub struct Status<'c> {
    /// Version of this format. It changes when a member is renamed or removed.
    schema: u8,
    now_ms: u64,
    versions: Versions<'c>,
    mode: &'static str,
    retry_loop: bool,
    models: Vec<ModelStatus<'c>>,
    targets: Vec<ScopeStatus<'c>>,
    accounts: Vec<ScopeStatus<'c>>,
    endpoints: Vec<ScopeStatus<'c>>,
    load: Load,
    /// The retry budget, over all workers.
    retry_budget: RetryBudget,
    /// Client keys with budgets, at most [`MAX_KEYS`].
    budgets: Vec<KeyBudgets>,
    /// Recent orders of operators, newest first.
    orders: Vec<RecentOrder>,
}

/// What all workers have now.
#[derive(Debug, Serialize)]
struct Load {
    /// Attempts in flight.
    attempts: u32,
    /// Requests that are held before an attempt.
    waiting: u32,
    journeys: u32,
    /// Bytes of request bodies in Envoy's buffers.
    held_bytes: u64,
    /// The most of them per worker.
    max_held_bytes: u64,
}

/// The most keys whose budgets are reported. Each costs a read of the shared data.
pub const MAX_KEYS: usize = 100;

/// A client key's use of its budgets.
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

/// The budgets of the configuration's keys, from the shared records.
pub fn budgets(config: &Config, store: &mut dyn Store, now: Moment) -> Vec<KeyBudgets> {
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

/// The use of the retry budget.
#[derive(Debug, Serialize)]
struct RetryBudget {
    /// Length of the window in seconds.
    window_s: usize,
    /// Requests in the window.
    requests: u64,
    /// Retries in the window.
    used: u64,
    /// Retries permitted.
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
    /// The commit that a release was built from.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'static str>,
    /// The configuration's fingerprint: equal configurations have the same one.
    configuration: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    envoy: Option<&'c str>,
}

/// A logical model and its targets.
#[derive(Debug, Serialize)]
struct ModelStatus<'c> {
    name: &'c str,
    /// Available targets, of all its targets.
    fit: usize,
    of: usize,
    tiers: Vec<Vec<&'c str>>,
    /// The queue over all workers. Omitted if it is empty and not configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<QueueStatus>,
}

#[derive(Debug, Serialize)]
struct QueueStatus {
    waiting: u32,
    /// Bytes of the queued bodies.
    bytes: u64,
    /// When the longest-waiting request joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    since_ms: Option<u64>,
    /// The most requests per worker.
    max_waiting: usize,
    max_wait_ms: u64,
}

/// A target, an account or an endpoint.
#[derive(Debug, Serialize)]
pub struct ScopeStatus<'c> {
    name: &'c str,
    state: &'static str,
    /// The endpoints that the breaker is for, unless they generate text.
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<&'static str>,
    /// What opened the breaker: the rule and the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// When the breaker entered its phase. Omitted if it never left the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    since_ms: Option<u64>,
    /// Until when it gets no requests. Omitted if it is available or only an operator can end the state.
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<u64>,
    /// Its share of traffic during slow start, in 1/1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    share_permille: Option<u16>,
    /// The operator's order in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<&'static str>,
    /// The breaker's phase, also while an order or a rate limit overrides it.
    phase: &'static str,
    window: Counts,
    /// Failures since the last success.
    consecutive_failures: u16,
    /// Consecutive trips without sustained health in between.
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
    /// Whether it is available: its own breaker, its account's and its endpoint's let a request through.
    fit: bool,
    /// Attempts in flight, over all workers.
    pending: u32,
    /// Times to first content, over all workers. Omitted without any in the last minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_content: Option<FirstContent>,
    /// The cluster that it needs and Envoy does not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_cluster: Option<&'c str>,
    /// The known limits and what is left of them.
    headroom: Vec<LimitStatus>,
}

/// Times of the last 30 to 60 seconds.
#[derive(Debug, Serialize)]
struct FirstContent {
    attempts: u32,
    mean_ms: u64,
    slowest_ms: u32,
}

#[derive(Debug, Serialize)]
struct LimitStatus {
    of: &'static str,
    /// Source of the limit.
    by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    left: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_ms: Option<u64>,
    /// The bounds of an adaptive limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<u32>,
}

impl LimitStatus {
    fn of(Limit { of, configured, limit, left, reset, bounds }: Limit, wall: WallClock) -> Self {
        let by = if configured { "configuration" } else { "provider" };
        let (min, max) = bounds.map(|bounds| (bounds.min, bounds.max)).unzip();
        Self { of, by, limit, left, reset_ms: reset.map(|at| wall.at(at).as_millis()), min, max }
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

/// The sources of a report.
#[derive(Clone, Copy)]
pub struct Sources<'c> {
    /// The configuration.
    pub config: &'c Config,
    /// This worker's view of all scopes, just refreshed.
    pub health_view: &'c HealthView,
    /// Attempts in flight, and the figures that workers exchange.
    pub pending: &'c Pending,
    /// What is left of the targets' limits.
    pub headroom: &'c Headroom,
    /// The current time.
    pub now: Timestamp,
    /// What the calendar says. The report has dates.
    pub wall: WallClock,
}

impl<'c> Sources<'c> {
    /// The whole report.
    pub fn status(
        self,
        envoy: Option<&'c str>,
        retries: BudgetUse,
        budgets: Vec<KeyBudgets>,
        mut orders: Vec<RecentOrder>,
        missing_clusters: &[ProviderId],
    ) -> Status<'c> {
        let config = self.config;
        orders.reverse();
        let levels = self.pending.levels();
        let mut targets = self.all(config.targets().len(), TargetId::from_index, Scope::Target);
        for (status, target) in targets.iter_mut().zip(config.targets()) {
            let missing = missing_clusters.contains(&target.provider);
            if let (true, Some(of_target)) = (missing, &mut status.of_target) {
                of_target.missing_cluster =
                    config.provider(target.provider).map(|provider| &*provider.cluster);
            }
        }
        Status {
            schema: 1,
            now_ms: self.date(self.now),
            versions: Versions {
                llm_failsafe: VERSION,
                commit: COMMIT,
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
            targets,
            accounts: self.all(config.accounts().len(), AccountId::from_index, Scope::Account),
            endpoints: self.all(config.providers().len(), ProviderId::from_index, Scope::Endpoint),
            load: Load {
                attempts: levels.attempts,
                waiting: levels.waiting,
                journeys: levels.journeys,
                held_bytes: levels.held_bytes,
                max_held_bytes: config.limits.max_held_bytes,
            },
            retry_budget: retries.into(),
            budgets,
            orders,
        }
    }

    fn date(self, at: Timestamp) -> u64 {
        self.wall.at(at).as_millis()
    }

    fn all<I>(
        self,
        count: usize,
        id: impl Fn(usize) -> Option<I>,
        scope: impl Fn(I) -> Scope,
    ) -> Vec<ScopeStatus<'c>> {
        (0..count).filter_map(|index| self.scope(scope(id(index)?))).collect()
    }

    /// Whether the breakers of a target, its account and its endpoint let a request through.
    pub fn is_available(self, id: TargetId) -> bool {
        let Some(target) = self.config.target(id) else { return false };
        [Scope::Target(id), Scope::Account(target.account), Scope::Endpoint(target.provider)].into_iter().all(
            |scope| {
                !matches!(
                    self.health_view.availability(
                        self.health_view.main(scope),
                        &self.config.breaker,
                        self.now
                    ),
                    Availability::Unavailable(_)
                )
            },
        )
    }

    fn model(self, index: usize, model: &'c Model) -> ModelStatus<'c> {
        let all = || model.tiers.iter().flatten();
        let name_of = |id: &TargetId| self.config.target(*id).map(|target| &*target.name);
        let queue = ModelId::from_index(index).map(|id| self.pending.queue_state(id)).unwrap_or_default();
        let policy = model.retry.queue.or_else(|| (queue.requests > 0).then(Default::default));
        ModelStatus {
            name: &model.name,
            fit: all().filter(|id| self.is_available(**id)).count(),
            of: all().count(),
            tiers: model.tiers.iter().map(|tier| tier.iter().filter_map(name_of).collect()).collect(),
            queue: policy.map(|policy| QueueStatus {
                waiting: queue.requests,
                bytes: queue.bytes,
                since_ms: (queue.requests > 0).then_some(self.date(queue.since)),
                max_waiting: policy.max_waiting,
                max_wait_ms: u64::try_from(policy.max_wait.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    fn of_target(self, id: TargetId, account: &'c str, model: &'c str) -> OfTarget<'c> {
        let times = self.pending.first_content_times(id);
        let limits = self.headroom.limits(id, self.now);
        OfTarget {
            account,
            model,
            fit: self.is_available(id),
            pending: self.pending.attempts(id),
            first_content: times.mean_ms().map(|mean_ms| FirstContent {
                attempts: times.count,
                mean_ms,
                slowest_ms: times.longest_ms,
            }),
            missing_cluster: None,
            headroom: limits.into_iter().map(|limit| LimitStatus::of(limit, self.wall)).collect(),
        }
    }

    /// The report on one scope; `None` if the configuration has no such scope.
    pub fn scope(self, scope: Scope) -> Option<ScopeStatus<'c>> {
        let Self { config, health_view, now, .. } = self;
        let breaker = health_view.worst(scope, &config.breaker, now);
        let health = health_view.health(breaker)?;
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
        let availability = health_view.availability(breaker, policy, now);
        let (successes, failures) = health.counts(policy, now);
        Some(ScopeStatus {
            name,
            state: state.name(),
            family: match breaker.family() {
                EndpointFamily::Generation => None,
                family => Some(family.name()),
            },
            reason,
            since_ms: (since > Timestamp::default()).then_some(self.date(since)),
            until_ms: match (state, availability) {
                (State::Throttled, _) => health.throttled_until(now).map(|at| self.date(at)),
                (State::Open | State::Blocked, _) => open_until.map(|at| self.date(at)),
                (_, Availability::Unavailable(unfit)) => unfit.until().map(|at| self.date(at)),
                _ => None,
            },
            share_permille: match availability {
                Availability::Available { permille } if permille < 1000 => Some(permille),
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
            trips: health.trips(policy, now),
            probes: match health.phase() {
                BreakerPhase::HalfOpen { reason, leases, successes, .. } => Some(Probes {
                    under_way: leases.iter().flatten().count(),
                    succeeded: *successes,
                    needed: if reason.rule == TripRule::Unanswered { 1 } else { policy.close_after },
                }),
                _ => None,
            },
            of_target,
            endpoint,
        })
    }
}

/// The breaker's phase, what opened it, since when, and until when it stays open.
fn phase(health: &Health) -> (&'static str, Option<Reason>, Timestamp, Option<Timestamp>) {
    match health.phase() {
        BreakerPhase::Closed { since, .. } => ("closed", None, *since, None),
        BreakerPhase::Open { reason, since, until } => {
            let reason = Reason { rule: reason.rule.name(), failure: reason.class.name() };
            ("open", Some(reason), *since, Some(*until))
        }
        BreakerPhase::HalfOpen { reason, since, .. } => {
            let reason = Reason { rule: reason.rule.name(), failure: reason.class.name() };
            ("half_open", Some(reason), *since, None)
        }
    }
}

/// The scope of this kind and name.
pub fn find(config: &Config, kind: ScopeKind, name: &str) -> Option<Scope> {
    fn position<'n>(mut names: impl Iterator<Item = &'n Rc<str>>, name: &str) -> Option<usize> {
        names.position(|known| **known == *name)
    }
    match kind {
        ScopeKind::Target => position(config.targets().iter().map(|target| &target.name), name)
            .and_then(TargetId::from_index)
            .map(Scope::Target),
        ScopeKind::Account => position(config.accounts().iter().map(|account| &account.name), name)
            .and_then(AccountId::from_index)
            .map(Scope::Account),
        ScopeKind::Endpoint => position(config.providers().iter().map(|provider| &provider.name), name)
            .and_then(ProviderId::from_index)
            .map(Scope::Endpoint),
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
