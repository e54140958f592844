//! The configuration that the filter runs: all references are resolved and all numbers are within their
//! bounds.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::balance::Balance;
use super::boundaries::{Boundaries, SubstitutionRules};
use super::keys::{ClientKey, OperatorKey, Secret};
use super::max_pending::MaxPending;
use super::metric_labels::MetricLabels;
use super::mode::Mode;
use super::model_names::{AskedName, ModelNames, WILDCARD};
use super::offers::Offers;
use super::retry::{RetryBudget, RetryPolicy};
use super::stream_policy::StreamPolicies;
use super::translate::TranslateRules;
use crate::base::{AccountId, ClassSet, Endpoint, EndpointSet, ModelId, Owner, ProviderId, TargetId, mix};
use crate::catalogue;
use crate::provider::ProviderKind;
use llm_failsafe_translate::Translation;

/// A valid configuration. Identifiers index its lists and are valid only for it.
#[derive(Debug)]
pub struct Config {
    pub(super) providers: Vec<Provider>,
    pub(super) accounts: Vec<Account>,
    pub(super) targets: Vec<Target>,
    pub(super) models: Vec<Model>,
    /// The names by which clients find models.
    pub model_names: ModelNames,
    /// Client keys; `None` if the configuration has no keys and every client may use every model.
    pub keys: Option<Vec<ClientKey>>,
    /// The keys for the paths `/llm-failsafe/…`. Without keys, these paths do not exist.
    pub operators: Vec<OperatorKey>,
    /// What happens to requests for other paths than the endpoints.
    pub other_paths: OtherPaths,
    /// The account at which batches, files and other resources live; `None` if clients may use none.
    pub resources: Option<AccountId>,
    /// Bounds on what one request and one worker may hold.
    pub limits: Limits,
    /// When breakers open and how they recover. All breakers share one policy.
    pub breaker: BreakerPolicy,
    /// Which share of all attempts may be retries.
    pub retry_budget: RetryBudget,
    /// Whether breakers act or only count.
    pub mode: Mode,
    /// How the names of metrics contain their labels.
    pub metric_labels: MetricLabels,
    /// Which requests are recorded, and where the records go.
    pub record: RecordPolicy,
    /// Whether this filter runs in the retry loop and may trust the edge's headers.
    pub retry_loop: bool,
    /// Whether the route behind this filter removes the private headers that nearly every request has.
    pub route_strips_headers: bool,
    /// Whether Envoy's rate-limit filter follows this one and gets the request's key and usage.
    pub fleet_rate_limit: bool,
    /// Whether any model is sticky by conversation, so that conversations must be identified.
    pub tracks_conversations: bool,
    /// Whether accounts of several owners keep responses, so that it must be noted who made which.
    pub keeps_responses: bool,
    /// Whether any model has several owners, so that references to state must be noted.
    pub tracks_state: bool,
    /// All headers that some provider gets only because the operator says so (`forward_headers`), sorted.
    pub(super) forwarded: Vec<Rc<str>>,
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
    /// The host name that is sent to it.
    pub host: String,
    /// Replaces the kind's default path prefix (`/v1`, `/api/v1`, …); without a trailing slash, empty for no
    /// prefix.
    pub path_prefix: Option<String>,
    /// Azure's `api-version`. A dated one selects the deployment paths.
    pub api_version: Option<String>,
    /// The endpoints that it serves.
    pub endpoints: EndpointSet,
    /// Whether chat and completion streams are asked for usage if the client does not ask.
    pub asks_usage: bool,
    /// Headers set on every request to it, after the credential, sorted by name; names are lower case.
    pub headers: Vec<(String, String)>,
    /// The headers of clients that it gets besides those that its kind documents, sorted; names are lower case.
    pub forward_headers: Vec<String>,
}

impl Provider {
    /// Whether the operator lets it have this header of a client.
    pub fn forwards(&self, name: &str) -> bool {
        self.forward_headers.binary_search_by(|other| other.as_str().cmp(name)).is_ok()
    }
}

/// Leaves out the values of headers, because they may be credentials.
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
            .field("forward_headers", &self.forward_headers)
            .finish()
    }
}

/// One credential at one provider.
#[derive(Debug)]
pub struct Account {
    /// Its name in the configuration. A target with its own key creates an account with the target's name.
    pub name: Rc<str>,
    /// The provider of the account.
    pub provider: ProviderId,
    /// The credential that its requests carry.
    pub key: AccountKey,
    /// The Envoy cluster of its requests, if it is not its provider's.
    pub cluster: Option<String>,
    /// The operator's name for the party that pays.
    pub billing_owner: Option<Rc<str>>,
    /// The configured limits for all its models together.
    pub limits: Quota,
    /// Accounts with the same pool share the limits of their organisation.
    pub quota_pool: Option<Rc<str>>,
    /// Who owns what the provider keeps for conversations of this account.
    pub owner: Owner,
}

/// The credential of an account.
#[derive(Debug)]
pub enum AccountKey {
    /// The client's own passes, unless the client's keys are for this filter.
    OfClient,
    /// Envoy's credential injector sets it, in the account's cluster.
    Injected,
    /// This one.
    Own(Secret),
}

impl AccountKey {
    /// The credential, if the configuration has it.
    pub const fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Own(secret) => Some(secret),
            Self::OfClient | Self::Injected => None,
        }
    }

    /// Whether the account has a credential of its own, so that no client's may take its place.
    pub const fn is_own(&self) -> bool {
        !matches!(self, Self::OfClient)
    }
}

/// Configured limits, for providers that do not report theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Requests within any minute.
    pub requests_per_minute: Option<u64>,
    /// Estimated and actual tokens within any minute.
    pub tokens_per_minute: Option<u64>,
    /// Attempts pending at the same time.
    pub max_pending: Option<MaxPending>,
}

impl Quota {
    /// Whether requests or tokens per minute are limited, so that they must be counted.
    pub const fn counts_anything(&self) -> bool {
        self.requests_per_minute.is_some() || self.tokens_per_minute.is_some()
    }
}

/// One model reached through one account.
#[derive(Debug)]
pub struct Target {
    /// Its name in the configuration.
    pub name: Rc<str>,
    /// The hash of its name, which is the same in every worker and every configuration.
    pub name_hash: u64,
    /// The credential it uses.
    pub account: AccountId,
    /// The provider of that account.
    pub provider: ProviderId,
    /// What the provider calls the model. In a name for patterns a star stands for the rest of the client's name.
    pub model: Rc<str>,
    /// Whether it has such a star.
    pub takes_rest: bool,
    /// Its share within a tier, 1 to 1,000,000.
    pub weight: u32,
    /// The configured limits.
    pub limits: Quota,
    /// Its capabilities and terms.
    pub offers: Offers,
    /// How requests are translated that its provider does not take as they are; `None` for not at all.
    pub translates: Option<TranslateRules>,
}

impl Target {
    /// What the provider calls the model if the client asks for it by this name.
    pub fn model_for(&self, asked: Option<&AskedName>) -> Rc<str> {
        match asked.and_then(AskedName::rest) {
            Some(rest) if self.takes_rest => self.model.replacen(WILDCARD, rest, 1).into(),
            _ => Rc::clone(&self.model),
        }
    }
}

/// When breakers open and how they recover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// The length of the sliding window.
    pub window: Duration,
    /// With fewer attempts in the window, the failure ratio does not open the breaker.
    pub min_requests: u32,
    /// The failure ratio in the window that opens the breaker, in 1/1000.
    pub failure_permille: u16,
    /// The number of consecutive failures that opens the breaker.
    pub consecutive: u32,
    /// The number of requests in a row that the target has not begun to answer when their clients left, and
    /// that has it probed; 0 for never.
    pub unanswered: u32,
    /// How long the breaker stays open after a first trip, and after a probe that failed quickly. Each further
    /// trip in a row doubles it.
    pub open: Duration,
    /// The maximum open time, after many trips in a row or a probe that hung.
    pub open_max: Duration,
    /// The first open time for an account that is out of money or whose credential is rejected.
    pub block: Duration,
    /// The maximum open time for such an account.
    pub block_max: Duration,
    /// The maximum number of concurrent probes when half-open, 1 to [`MAX_PROBES`](super::MAX_PROBES).
    pub probes: u8,
    /// The number of successful probes that closes the breaker.
    pub close_after: u8,
    /// How long a probe may take before another one is allowed.
    pub probe_lease: Duration,
    /// How long the share of traffic grows after the breaker has closed.
    pub slow_start: Duration,
    /// What happens meanwhile to requests above this share that no other target can take.
    pub slow_start_alone: SlowStartAlone,
    /// A longer time to first content counts as a failure; `None` for no limit.
    pub slow_first_content: Option<Duration>,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60),
            min_requests: 10,
            failure_permille: 500,
            consecutive: 5,
            unanswered: 5,
            open: Duration::from_secs(5),
            open_max: Duration::from_secs(120),
            block: Duration::from_secs(300),
            block_max: Duration::from_secs(3600),
            probes: 1,
            close_after: 2,
            probe_lease: Duration::from_secs(60),
            slow_start: Duration::from_secs(30),
            slow_start_alone: SlowStartAlone::default(),
            slow_first_content: None,
        }
    }
}

/// What happens to a request that only a target in slow start can take, if more come than it is to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlowStartAlone {
    /// It goes there all the same.
    Pass,
    /// It waits in its model's queue. In a model without one it goes there.
    #[default]
    Queue,
    /// It is refused.
    Refuse,
}

/// A logical model.
#[derive(Debug)]
pub struct Model {
    /// The name that clients send, or a pattern for such names.
    pub name: Rc<str>,
    /// Other names that clients may send.
    pub aliases: Vec<Rc<str>>,
    /// Whether it serves names that nothing else fits.
    pub is_default: bool,
    /// Its targets, first tier first. No tier is empty, and no target occurs twice.
    pub tiers: Vec<Vec<TargetId>>,
    /// How a target of a tier is chosen.
    pub balance: Balance,
    /// How failed requests are retried.
    pub retry: RetryPolicy,
    /// The error classes after which a request is retried.
    pub fallback_on: ClassSet,
    /// What an ordinary end without content or output tokens is.
    pub empty_stop: EmptyStop,
    /// Which targets are allowed.
    pub boundaries: Boundaries,
    /// How far a substitute may differ from the first choice.
    pub substitution: SubstitutionRules,
    /// What happens to a request if breakers block every target.
    pub when_all_open: WhenAllOpen,
    /// The model name in its response bodies.
    pub response_model: ResponseModel,
    /// Timeouts and stream handling.
    pub stream: StreamPolicies,
    /// Whether its targets belong to several owners, so that state of a conversation may be at another one.
    pub has_many_owners: bool,
    /// Whether all of its targets belong to one account.
    pub one_account: bool,
    /// The endpoints at which requests are translated for some of its targets.
    pub translated: EndpointSet,
}

/// What an answer is that ends in the ordinary way and has neither content nor output tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EmptyStop {
    /// A failure.
    #[default]
    Fail,
    /// An answer.
    Pass,
}

/// What happens to a request if breakers block every target of its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenAllOpen {
    /// It is rejected.
    #[default]
    Refuse,
    /// It is sent to the least bad target.
    TryAnyway,
    /// It waits in the queue of the model's retry policy until a target becomes available.
    Queue,
}

/// The model name in a response body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResponseModel {
    /// The provider's.
    #[default]
    Provider,
    /// The name that the client requested.
    Logical,
}

/// Which requests are recorded, and where the records go besides Envoy's access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordPolicy {
    /// The recorded share of the requests that their first choice served, in millionths. All others are
    /// recorded.
    pub sample_millionths: u32,
    /// Which records are also written to Envoy's log.
    pub log: RecordLog,
    /// What records leave out.
    pub redact: Redact,
}

impl Default for RecordPolicy {
    fn default() -> Self {
        Self { sample_millionths: 1_000_000, log: RecordLog::default(), redact: Redact::default() }
    }
}

/// Which records are also written to Envoy's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordLog {
    /// Only those that cannot be put into an access log.
    #[default]
    Off,
    /// Those of requests that were not served by their first choice.
    Failures,
    /// All.
    All,
}

/// What records leave out, in addition to what is never recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Redact {
    /// Sessions and end users are hashed.
    #[default]
    Standard,
    /// Everything that could identify a person or a team is left out: session, client key, unconfigured model
    /// names.
    Strict,
}

/// What happens to requests for other paths than the endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OtherPaths {
    /// They get a 404.
    Refuse,
    /// They are forwarded to this cluster unchanged.
    Cluster(String),
    /// They go to the host of this account, with its credential.
    Account(AccountId),
}

/// Bounds on what one request and one worker may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest accepted request body, in bytes.
    pub max_body_bytes: u64,
    /// How many bytes of request bodies one worker may hold in Envoy's buffers.
    pub max_held_bytes: u64,
    /// The largest body that is translated, in bytes.
    pub max_translated_bytes: u64,
    /// The maximum number of journeys per worker. Further requests get a single attempt.
    pub max_journeys: usize,
}

/// Lookup by id. Only the compiler of the same configuration creates ids, so `None` is a bug that tests find.
/// At run time it is treated like a removed entry.
macro_rules! lookup {
    ($(#[$doc:meta])* $name:ident, $all:ident, $id:ty, $entry:ty) => {
        $(#[$doc])*
        pub fn $name(&self, id: $id) -> Option<&$entry> {
            debug_assert!(id.index() < self.$all.len(), "an id of another configuration");
            self.$all.get(id.index())
        }

        /// All entries, sorted by name.
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

    /// How a request to `endpoint` is translated for this target. `None` if it goes there as it is, or cannot go
    /// there at all.
    pub fn translation(&self, target: &Target, endpoint: Endpoint) -> Option<Translation> {
        let provider = self.provider(target.provider)?;
        target.translates?.way(provider.kind, provider.endpoints, endpoint)
    }

    /// Whether requests to `endpoint` can go to the target, as they are or in translation.
    pub fn serves(&self, target: &Target, endpoint: Endpoint) -> bool {
        let as_it_is = |provider: &Provider| provider.endpoints.contains(endpoint);
        self.provider(target.provider).is_some_and(as_it_is) || self.translation(target, endpoint).is_some()
    }

    /// The logical model with this name or alias, which is no pattern.
    pub fn model_named(&self, name: &str) -> Option<ModelId> {
        self.model_names.exact(name)
    }

    /// The logical model that a client's name means. The name is returned if it is not the model's own.
    pub fn find_model(&self, name: &str) -> Option<(ModelId, Option<AskedName>)> {
        self.model_names.find(name)
    }

    /// All headers that some provider gets only because the operator says so.
    pub fn forwarded_headers(&self) -> &[Rc<str>] {
        &self.forwarded
    }

    /// The position of this lower-case name among them.
    pub fn forwarded_header(&self, name: &[u8]) -> Option<u16> {
        let position = self.forwarded.binary_search_by(|known| known.as_bytes().cmp(name)).ok()?;
        u16::try_from(position).ok()
    }

    /// A hash of the configuration that is the same everywhere. It does not depend on credentials or header
    /// values.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// A hash of the configuration and of the model catalogue, whose list prices hold where no price is configured.
    pub fn price_version(&self) -> u64 {
        mix(self.fingerprint ^ catalogue::version())
    }
}
