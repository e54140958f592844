//! The types that all other modules share: time, identifiers, money, randomness, hashes, shared records, JSON
//! slices, token counts, and the names of endpoints, dialects, error classes and finish reasons.
//!
//! Nothing here makes decisions or depends on Envoy, a provider or a configuration.

mod date;
mod decimal;
mod endpoint;
mod error_class;
mod few;
mod finish_reason;
mod hash;
mod headers;
mod ids;
pub mod json;
#[cfg(any(test, feature = "test-support"))]
pub mod memory;
mod money;
mod names;
mod nearest;
mod one_or_more;
mod product;
mod rng;
mod secrets;
mod short_text;
mod store;
mod time;
mod tokens;
pub mod usage;
mod version;

pub use date::{date_days, days_in, days_since_epoch, rfc3339_ms};
pub use decimal::Decimal;
pub use endpoint::{Dialect, Endpoint, EndpointFamily, EndpointSet};
pub use error_class::{ClassSet, ErrorClass};
pub use few::Few;
pub use finish_reason::FinishReason;
pub use hash::{DIGEST_BYTES, FNV_BASIS, digest, fnv1a, mix};
pub use headers::{HeaderBlock, HeaderSink};
pub use ids::{AccountId, KnownOwner, ModelId, Owner, ProviderId, TargetId};
pub use money::MicroDollars;
pub use names::{Names, same_bytes};
pub use nearest::nearest;
pub use one_or_more::OneOrMore;
pub use product::saturating_product;
pub use rng::{Random, SplitMix64};
pub use secrets::{looks_like_key, redacted, without_keys};
pub use short_text::ShortText;
pub use store::{CREATE, MAX_TRIES, Store, StoreError, Stored, update};
pub use time::{Moment, Timestamp, WallClock, WallTime, millis};
pub use tokens::Tokens;
pub use version::{COMMIT, VERSION};
