//! What the operator wrote → what the filter runs.
//!
//! `read` turns the plugin's bytes into one tree, `shape` fits the tree into the `raw` types that mirror the
//! file, `compile` resolves and bounds everything into the `compiled` ones, which cannot be invalid. Each
//! step notes all the mistakes it finds, with their paths, and leaves the rest to the next; a configuration
//! with a mistake never comes out. Nothing here reads a file or the environment by itself, and no message or
//! debug output holds a credential.

mod balance;
mod boundaries;
mod compile;
mod compiled;
mod duration;
mod fingerprint;
mod load;
mod mistakes;
mod nearest;
mod numeric;
mod offers;
mod raw;
mod read;
mod retry;
mod shape;
mod size;
mod stream_policy;

pub use balance::{Balance, SessionKey};
pub use boundaries::{Access, Approval, Boundaries, PriceCeiling, SubstitutionRules};
pub use compile::{
    MAX_ACCOUNTS, MAX_ATTEMPTS, MAX_BODY_BYTES, MAX_CLIENT_KEYS, MAX_HEADERS, MAX_JOURNEYS, MAX_METADATA,
    MAX_MODELS, MAX_OPERATOR_KEYS, MAX_PROBES, MAX_PROVIDERS, MAX_TARGETS, MAX_TIERS, MAX_WEIGHT,
};
pub use compiled::{
    Account, BreakerPolicy, Budget, ClientKey, Config, Limits, Mode, Model, OperatorKey, OtherPaths,
    Provider, Quota, RecordLog, RecordPolicy, Redact, ResponseModel, Secret, Target, WhenAllOpen,
};
pub use duration::duration;
pub use load::load;
pub use mistakes::{MAX_MISTAKES, Mistake, Mistakes};
pub use offers::{Offers, Price, TokenLimit};
pub use read::{MAX_BYTES, MAX_NESTING};
pub use retry::{Backoff, LastError, Priority, QueuePolicy, Replay, RetryBudget, RetryPolicy};
pub use stream_policy::{Gate, GateUntil, MinRate, OnBreak, StreamPolicy};

#[cfg(test)]
mod tests;
