//! How things are now, for operators: every scope with its breaker, what it counts, and what was ordered.
//!
//! Its size is bounded by the configuration: some 400 bytes for each target, account and endpoint.

use std::rc::Rc;

use serde::Serialize;

use super::orders::{Given, Kind};
use crate::base::{AccountId, ProviderId, Store, TargetId, Timestamp};
use crate::breaker::{Board, Health, Order, Pending, Phase, Scope, Standing, State};
use crate::config::{Config, Mode};
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
    pub board: &'c Board,
    /// How many attempts are under way where.
    pub pending: &'c Pending,
    /// The moment.
    pub now: Timestamp,
}

impl<'c> Sources<'c> {
    /// The whole report.
    pub fn status(
        self,
        envoy: Option<&'c str>,
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
            models: config.models().iter().map(|model| self.model(&model.name, &model.tiers)).collect(),
            targets: self.all(config.targets().len(), TargetId::from_index, Scope::Target),
            accounts: self.all(config.accounts().len(), AccountId::from_index, Scope::Account),
            endpoints: self.all(config.providers().len(), ProviderId::from_index, Scope::Endpoint),
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
            |scope| !matches!(self.board.standing(scope, &self.config.breaker, self.now), Standing::Unfit(_)),
        )
    }

    fn model(self, name: &'c str, tiers: &'c [Vec<TargetId>]) -> ModelStatus<'c> {
        let all = || tiers.iter().flatten();
        let name_of = |id: &TargetId| self.config.target(*id).map(|target| &*target.name);
        ModelStatus {
            name,
            fit: all().filter(|id| self.is_fit(**id)).count(),
            of: all().count(),
            tiers: tiers.iter().map(|tier| tier.iter().filter_map(name_of).collect()).collect(),
        }
    }

    /// The report on one scope; `None` when the configuration has no such scope.
    pub fn scope(self, scope: Scope) -> Option<ScopeStatus<'c>> {
        let Self { config, board, now, .. } = self;
        let health = board.health(scope)?;
        let provider = |id| config.provider(id).map(|provider| &*provider.name);
        let (name, endpoint, of_target) = match scope {
            Scope::Target(id) => {
                let target = config.target(id)?;
                let account = config.account(target.account).map(|account| &*account.name)?;
                let pending = self.pending.at(id);
                let of_target = OfTarget { account, model: &target.model, fit: self.is_fit(id), pending };
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
        let standing = board.standing(scope, policy, now);
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
mod tests {
    use super::*;
    use crate::base::ErrorClass;
    use crate::base::memory::Memory;
    use crate::breaker::{Command, Outcome};
    use crate::config;
    use serde_json::{Value, json};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn report(config: &Config, board: &Board, now: Timestamp) -> Value {
        let pending = Pending::new(config, 1);
        let sources = Sources { config, board, pending: &pending, now };
        serde_json::to_value(sources.status(None, Vec::new(), Vec::new())).unwrap()
    }

    fn small() -> Config {
        let config = json!({
            "providers": {"openai": {"kind": "openai"}},
            "accounts": {"a": {"provider": "openai", "key": {"value": "sk-secret"}}},
            "targets": {"gpt": {"account": "a", "model": "m"}},
            "models": {"chat": {"targets": ["gpt"]}},
        });
        config::load(config.to_string().as_bytes(), &|_| None).unwrap()
    }

    #[test]
    fn a_blocked_account_takes_its_targets_out_and_says_why() {
        let (config, mut store) = (small(), Memory::new());
        let mut board = Board::new(&config);
        let well = report(&config, &board, NOW);
        assert_eq!((&well["models"][0]["fit"], &well["targets"][0]["state"]), (&json!(1), &json!("closed")));
        assert!(well["targets"][0].get("since_ms").is_none(), "it has never been otherwise");

        let account = find(&config, Kind::Account, "a").unwrap();
        let ticket = board.ticket(account).unwrap();
        let outcome = Outcome::Blocked(ErrorClass::Auth);
        board.report(&mut store, account, &config.breaker, (ticket, outcome), NOW, 0);
        let ill = report(&config, &board, NOW);
        assert_eq!(ill["models"][0]["fit"], 0);
        assert_eq!(ill["targets"][0]["state"], "closed", "it is not the target's fault");
        assert_eq!(ill["targets"][0]["fit"], false, "but it is not asked");
        let account_now = &ill["accounts"][0];
        assert_eq!(account_now["state"], "blocked");
        assert_eq!(account_now["reason"], json!({"rule": "blocked", "failure": "auth"}));
        assert_eq!(account_now["until_ms"], json!(NOW.after(config.breaker.block).as_millis()));
        assert!(!ill.to_string().contains("sk-secret"));

        board.command(&mut store, account, Command::ForceClosed, NOW);
        let forced = report(&config, &board, NOW);
        assert_eq!(forced["models"][0]["fit"], 1);
        let account_now = &forced["accounts"][0];
        assert_eq!((&account_now["state"], &account_now["phase"]), (&json!("forced_closed"), &json!("open")));
    }

    #[test]
    fn the_largest_configuration_still_gets_a_report_of_bounded_size() {
        let long = |prefix: &str, n: usize| format!("{prefix}{n:0>width$}", width = 64 - prefix.len());
        let section = |count: usize, prefix: &str, entry: &dyn Fn(usize) -> Value| -> Value {
            (0..count).map(|n| (long(prefix, n), entry(n))).collect::<serde_json::Map<_, _>>().into()
        };
        let config = json!({
            "providers": section(config::MAX_PROVIDERS, "p", &|_| json!({"kind": "openai"})),
            "accounts": section(config::MAX_ACCOUNTS, "a", &|n| json!({"provider": long("p", n % 64), "key": {"value": "k"}})),
            "targets": section(config::MAX_TARGETS, "t", &|_| json!({"provider": long("p", 0), "model": "m".repeat(64)})),
            "models": section(config::MAX_MODELS, "m", &|n| json!({"targets": [long("t", n)]})),
        });
        let config = config::load(config.to_string().as_bytes(), &|_| None).unwrap();
        let board = Board::new(&config);
        let size = report(&config, &board, NOW).to_string().len();
        assert!(size < 1024 * 1024, "{size}");
    }
}
