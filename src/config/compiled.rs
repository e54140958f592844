//! The configuration as the filter runs it: every reference resolved, every number within its bounds.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::balance::Balance;
use super::boundaries::{Boundaries, SubstitutionRules};
use super::offers::Offers;
use super::retry::{Priority, RetryBudget, RetryPolicy};
use super::stream_policy::StreamPolicy;
use crate::base::{AccountId, ClassSet, EndpointSet, MicroDollars, ModelId, ProviderId, TargetId};
use crate::provider::ProviderKind;

/// A valid configuration. Identifiers index its lists and are valid only for it.
#[derive(Debug)]
pub struct Config {
    pub(super) providers: Vec<Provider>,
    pub(super) accounts: Vec<Account>,
    pub(super) targets: Vec<Target>,
    pub(super) models: Vec<Model>,
    pub(super) model_by_name: HashMap<Rc<str>, ModelId>,
    /// Client keys; `None` when the configuration has none and every client may use every model.
    pub keys: Option<Vec<ClientKey>>,
    /// The keys that open `/llm-failsafe/…`; without any there are no such paths.
    pub operators: Vec<OperatorKey>,
    /// What happens to requests on paths that are no endpoint.
    pub other_paths: OtherPaths,
    /// Bounds on what one request and one worker may hold.
    pub limits: Limits,
    /// When breakers open and how they recover; one policy for all of them.
    pub breaker: BreakerPolicy,
    /// How much of all that is sent may be a further attempt.
    pub retry_budget: RetryBudget,
    /// Whether breakers steer or only watch.
    pub mode: Mode,
    /// What is recorded of requests, and where it goes.
    pub record: RecordPolicy,
    /// Whether this filter sits in the retry loop and may trust the edge's headers.
    pub retry_loop: bool,
    /// Whether Envoy's rate-limit filter stands behind this one and is told whose request it is and what it took.
    pub fleet_rate_limit: bool,
    /// Whether any model keeps a conversation at its target, so that conversations have to be told from each other.
    pub knows_conversations: bool,
    pub(super) fingerprint: u64,
}

/// One API host of one vendor.
pub struct Provider {
    /// Its name in the configuration.
    pub name: Rc<str>,
    /// The vendor family.
    pub kind: ProviderKind,
    /// The Envoy cluster that leads to it.
    pub cluster: String,
    /// The host name it is called by.
    pub host: String,
    /// What replaces the kind's usual path prefix (`/v1`, `/api/v1`, …), without a trailing slash; empty for no prefix.
    pub path_prefix: Option<String>,
    /// Azure's `api-version`: when set, paths go by deployment.
    pub api_version: Option<String>,
    /// What it can be asked for.
    pub endpoints: EndpointSet,
    /// Whether streams of chat and completions are asked for their usage where the client does not ask.
    pub asks_usage: bool,
    /// Headers set on every request to it, after the credential, in the order of their names; names are lower case.
    pub headers: Vec<(String, String)>,
}

/// Leaves out the values of headers: some vendors take credentials there.
impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header_names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Provider")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("cluster", &self.cluster)
            .field("host", &self.host)
            .field("path_prefix", &self.path_prefix)
            .field("api_version", &self.api_version)
            .field("endpoints", &self.endpoints)
            .field("asks_usage", &self.asks_usage)
            .field("header_names", &header_names)
            .finish()
    }
}

/// One credential at one provider.
#[derive(Debug)]
pub struct Account {
    /// Its name in the configuration; a target that carries its own key makes an account of the target's name.
    pub name: Rc<str>,
    /// Where it belongs.
    pub provider: ProviderId,
    /// The credential; without one the client's `authorization` is left alone.
    pub key: Option<Secret>,
    /// Who pays for it, as the operator calls them; `None` when nothing is said.
    pub billing_owner: Option<Rc<str>>,
    /// The limits that are stated for all its models together.
    pub limits: Quota,
    /// The accounts of one name here share the limits of their organisation.
    pub quota_pool: Option<Rc<str>>,
}

/// Limits that the operator states, for providers that say nothing of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Requests within any minute.
    pub requests_per_minute: Option<u64>,
    /// Estimated and real tokens within any minute.
    pub tokens_per_minute: Option<u64>,
    /// Attempts under way at a time.
    pub max_pending: Option<u32>,
}

impl Quota {
    /// Whether what is sent within a minute has to be counted.
    pub const fn counts_anything(&self) -> bool {
        self.requests_per_minute.is_some() || self.tokens_per_minute.is_some()
    }
}

/// One model reached through one account.
#[derive(Debug)]
pub struct Target {
    /// Its name in the configuration.
    pub name: Rc<str>,
    /// The name's hash: the same in every worker and every configuration.
    pub name_hash: u64,
    /// The credential it uses.
    pub account: AccountId,
    /// The provider of that account.
    pub provider: ProviderId,
    /// What the provider calls the model.
    pub model: Rc<str>,
    /// Its share within a tier, 1 to 1,000,000.
    pub weight: u32,
    /// The limits that are stated for it.
    pub limits: Quota,
    /// What it can do and under which terms.
    pub offers: Offers,
}

/// When breakers open and how they recover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// The length of the sliding window.
    pub window: Duration,
    /// Fewer attempts than this in the window open nothing by their ratio.
    pub min_requests: u32,
    /// The share of failures in the window that opens, in 1/1000.
    pub failure_permille: u16,
    /// Failures in a row that open.
    pub consecutive: u32,
    /// How long the first trip keeps it open; each further one in a row twice as long.
    pub open: Duration,
    /// The longest open time.
    pub open_max: Duration,
    /// The same for an account that is out of money or whose credential is refused.
    pub block: Duration,
    /// The longest of those.
    pub block_max: Duration,
    /// Requests that may probe at a time, 1 to [`MAX_PROBES`](super::MAX_PROBES).
    pub probes: u8,
    /// Successful probes that close.
    pub close_after: u8,
    /// How long a probe may take before another one may go.
    pub probe_lease: Duration,
    /// How long the share of traffic grows after closing.
    pub slow_start: Duration,
    /// First content that takes longer counts as a failure; `None` for never.
    pub slow_first_content: Option<Duration>,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60),
            min_requests: 10,
            failure_permille: 500,
            consecutive: 5,
            open: Duration::from_secs(30),
            open_max: Duration::from_secs(600),
            block: Duration::from_secs(300),
            block_max: Duration::from_secs(3600),
            probes: 1,
            close_after: 2,
            probe_lease: Duration::from_secs(60),
            slow_start: Duration::from_secs(30),
            slow_first_content: None,
        }
    }
}

/// What clients ask for.
#[derive(Debug)]
pub struct Model {
    /// The name clients send.
    pub name: Rc<str>,
    /// Its targets, first tier first; no tier is empty, no target occurs twice.
    pub tiers: Vec<Vec<TargetId>>,
    /// How one of a tier's targets is chosen.
    pub balance: Balance,
    /// How a request is attempted again.
    pub retry: RetryPolicy,
    /// The failures after which it is.
    pub fallback_on: ClassSet,
    /// Which targets may be asked.
    pub boundaries: Boundaries,
    /// How far what stands in for the first tier may be from it.
    pub substitution: SubstitutionRules,
    /// What happens to a request when breakers stand in the way of every target.
    pub when_all_open: WhenAllOpen,
    /// What its answers give as their model.
    pub response_model: ResponseModel,
    /// How long what may take.
    pub stream: StreamPolicy,
}

/// What happens to a request when breakers stand in the way of every target of its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenAllOpen {
    /// It is refused.
    #[default]
    Refuse,
    /// It goes to the least bad target all the same.
    TryAnyway,
    /// It waits for the first that may be asked again, as the queue of the model's retry policy says.
    Queue,
}

/// What an answer's body gives as the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResponseModel {
    /// What the provider says.
    #[default]
    Provider,
    /// The name that the client asked for.
    Logical,
}

/// Whether breakers steer or only watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// They steer.
    #[default]
    Enforce,
    /// They observe and count what they would have done.
    Shadow,
}

/// What is recorded of requests, and where it goes beside Envoy's access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordPolicy {
    /// The share of plainly served requests of which a record is made, in millionths. Every other outcome is recorded.
    pub sample_millionths: u32,
    /// Which records also go into Envoy's log.
    pub log: RecordLog,
    /// What is left out of them.
    pub redact: Redact,
}

impl Default for RecordPolicy {
    fn default() -> Self {
        Self { sample_millionths: 1_000_000, log: RecordLog::default(), redact: Redact::default() }
    }
}

/// Which records also go into Envoy's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordLog {
    /// Only those that no access log can carry.
    #[default]
    Off,
    /// Those of requests that were not served by their first choice.
    Failures,
    /// All that are made.
    All,
}

/// What is left out of records, beside what is never in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Redact {
    /// Sessions and end users appear as hashes.
    #[default]
    Standard,
    /// Whatever could lead to a person or a team is left out: session, client key, model names that nobody configured.
    Strict,
}

/// One client's key.
#[derive(Debug)]
pub struct ClientKey {
    /// Its name in the configuration: what records and metrics call it.
    pub name: Rc<str>,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// The models it may use; `None` for all.
    pub models: Option<Vec<ModelId>>,
    /// Which targets may be asked for it.
    pub boundaries: Boundaries,
    /// The highest priority it may ask for.
    pub priority: Priority,
    /// How much it may use; `None` for as much as it likes.
    pub budget: Option<Budget>,
    /// What the operator wants recorded with its requests, in the order of the names.
    pub metadata: Vec<(String, String)>,
}

/// How much one key may use; what is `None` is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// Requests in any 60 seconds.
    pub requests_per_minute: Option<u64>,
    /// Input and output tokens in any 60 seconds.
    pub tokens_per_minute: Option<u64>,
    /// Input and output tokens per day (UTC).
    pub tokens_per_day: Option<u64>,
    /// Money per day (UTC).
    pub usd_per_day: Option<MicroDollars>,
    /// The share of a limit from which on answers carry a warning, in 1/1000.
    pub warn_permille: Option<u16>,
}

impl Budget {
    /// The use of `limit` from which on answers carry a warning.
    pub fn warns_at(&self, limit: u64) -> Option<u64> {
        let permille = u128::from(self.warn_permille?);
        u64::try_from(u128::from(limit) * permille / 1000).ok()
    }
}

/// One operator's key.
#[derive(Debug)]
pub struct OperatorKey {
    /// Its name in the configuration: what the log and the list of orders call it.
    pub name: Rc<str>,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
}

/// What happens to requests on paths that are no endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OtherPaths {
    /// They get a 404.
    Refuse,
    /// They go to this cluster as they are.
    Cluster(String),
}

/// Bounds on what one request and one worker may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest request body taken, in bytes.
    pub max_body_bytes: u64,
    /// Journeys one worker keeps at a time; further requests get a single attempt.
    pub max_journeys: usize,
}

/// A credential. It cannot be printed; `expose` is the only way to its text.
#[derive(Clone)]
pub struct Secret(Rc<str>);

impl Secret {
    /// Wraps a credential.
    pub fn new(text: &str) -> Self {
        Self(Rc::from(text))
    }

    /// The credential's text, for the request header that carries it and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Lookup by id. Ids are made only by the compiler of the same configuration, so `None` means a bug that tests find;
/// the data path treats it as an entry that is gone.
macro_rules! lookup {
    ($(#[$doc:meta])* $name:ident, $all:ident, $id:ty, $entry:ty) => {
        $(#[$doc])*
        pub fn $name(&self, id: $id) -> Option<&$entry> {
            debug_assert!(id.index() < self.$all.len(), "an id of another configuration");
            self.$all.get(id.index())
        }

        /// All of them, in the order of the configuration's names.
        pub fn $all(&self) -> &[$entry] {
            &self.$all
        }
    };
}

impl Config {
    lookup!(
        /// The provider with this id.
        provider, providers, ProviderId, Provider
    );
    lookup!(
        /// The account with this id.
        account, accounts, AccountId, Account
    );
    lookup!(
        /// The target with this id.
        target, targets, TargetId, Target
    );
    lookup!(
        /// The logical model with this id.
        model, models, ModelId, Model
    );

    /// The logical model that clients call `name`.
    pub fn model_named(&self, name: &str) -> Option<ModelId> {
        self.model_by_name.get(name).copied()
    }

    /// The same number for the same configuration, everywhere; it says nothing about credentials or header values.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}
