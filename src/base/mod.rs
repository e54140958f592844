//! The types that all other modules share: time, identifiers, money, randomness, hashes, shared records, JSON
//! slices, and the names of endpoints, dialects and error classes.
//!
//! Nothing here makes decisions or depends on Envoy, a provider or a configuration.

mod date;
mod endpoint;
mod error_class;
mod hash;
mod headers;
mod ids;
pub mod json;
#[cfg(test)]
pub(crate) mod memory;
mod money;
mod rng;
mod store;
mod time;
mod tokens;

pub use date::{days_in, days_since_epoch};
pub use endpoint::{Dialect, Endpoint, EndpointSet};
pub use error_class::{ClassSet, ErrorClass};
pub use hash::{FNV_BASIS, fnv1a, mix};
pub use headers::{HeaderBlock, HeaderSink};
pub use ids::{AccountId, ModelId, ProviderId, TargetId};
pub use money::MicroDollars;
pub use rng::{Random, SplitMix64};
pub use store::{CREATE, MAX_TRIES, Store, StoreError, Stored, update};
pub use time::{Timestamp, millis};
pub use tokens::Tokens;
