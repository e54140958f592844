//! Client keys: who asks, what they may use, and how much of it. Operators' keys, and how often they are served.
//!
//! The configuration holds only hashes of keys. Which keys exist is not to be learned from an answer or from its timing.
//!
//! **Budgets** ([`Ledger`]) are counted over all workers in one shared record per key. A request reserves what it is
//! estimated to take before it is sent, and settles when its provider says what it took: so requests under way count, and
//! any number that come together cannot overrun a budget by more than their estimates are wrong.
//!
//! What this folder refuses to be: a store of keys, a bill (it counts what providers report, and an estimate where they
//! report nothing), or a limit over several Envoys (that is Envoy's rate-limit service, to which the host tells the tokens).

mod budget;
#[cfg(test)]
mod budget_tests;
mod codec;
mod keys;
mod rate_limiter;

pub use budget::{
    Amount, BudgetKind, BudgetSet, Exhausted, Granted, Ledger, Reservation, release, reserve, settle, used,
};
pub use keys::{authenticate, may_use, operator};
pub use rate_limiter::{RateLimit, RateLimiter};
