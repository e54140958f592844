//! Turns the operator's configuration into the one that the filter runs.
//!
//! 1. `read` turns the plugin's bytes into one tree of values.
//! 2. `shape` fits the tree into the `raw` types, which mirror what was written.
//! 3. `compile` resolves references, applies defaults and checks bounds. The resulting `compiled` types
//!    cannot be invalid.
//!
//! Each step reports every mistake that it finds, with its path. A configuration with a mistake is rejected
//! as a whole. This module reads no file and no environment variable itself, and no message or debug output
//! contains a credential.

mod balance;
mod boundaries;
mod compile;
mod compiled;
mod duration;
mod fingerprint;
mod keys;
mod load;
mod max_pending;
mod metric_labels;
mod mistakes;
mod mode;
mod model_names;
mod nearest;
mod numeric;
mod offers;
mod raw;
mod read;
mod retry;
mod shape;
mod size;
mod stream_policy;
mod translate;

// So that paths are the same in every crate of `src`.
use crate as config;
use llm_failsafe_base as base;
use llm_failsafe_catalogue as catalogue;
use llm_failsafe_provider as provider;

pub use balance::{Balance, SessionKey};
pub use boundaries::{Access, Approval, Boundaries, PriceCeiling, SealedReasoning, SubstitutionRules};
pub use compile::{
    MAX_ACCOUNTS, MAX_ALIASES, MAX_ATTEMPTS, MAX_BODY_BYTES, MAX_CLIENT_KEYS, MAX_DIGESTS, MAX_HEADERS,
    MAX_JOURNEYS, MAX_METADATA, MAX_MODELS, MAX_OPERATOR_KEYS, MAX_PROBES, MAX_PROVIDERS, MAX_TARGETS,
    MAX_TIERS, MAX_WEIGHT,
};
pub use compiled::{
    Account, AccountKey, BreakerPolicy, Config, EmptyStop, Limits, Model, OtherPaths, Provider, Quota,
    RecordLog, RecordPolicy, Redact, ResponseModel, SlowStartAlone, Target, WhenAllOpen,
};
pub use duration::duration;
pub use keys::{Budget, ClientKey, Digests, OperatorKey, Secret};
pub use load::load;
pub use max_pending::{MaxPending, PendingBounds};
pub use metric_labels::MetricLabels;
pub use mistakes::{MAX_MISTAKES, Mistake, Mistakes};
pub use mode::Mode;
pub use model_names::{AskedName, FoundBy, MAX_MODEL_NAME, ModelNames};
pub use offers::{Offers, Price, Source, TokenLimit};
pub use read::{MAX_BYTES, MAX_NESTING};
pub use retry::{Backoff, LastError, Priority, QueuePolicy, Replay, RetryBudget, RetryPolicy};
pub use stream_policy::{HoldPolicy, HoldUntil, MinRate, OnBreak, StreamPolicies, StreamPolicy};
pub use translate::TranslateRules;

#[cfg(test)]
mod tests;
