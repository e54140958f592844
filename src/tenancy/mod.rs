//! Client keys: whose request it is, which models it may use, and how much. Operator keys and their rate
//! limits.
//!
//! The configuration holds only hashes of keys. Neither a response nor its timing reveals which keys exist.
//!
//! **Budgets** ([`Ledger`]) are counted over all workers in one shared record per key. A request reserves its
//! estimate before it is sent and settles when its provider reports the actual tokens. So requests in flight
//! count, and simultaneous requests can exceed a budget only by the error of their estimates.
//!
//! **What is it not?** It is not a store of keys. It is not a bill: it counts what providers report, and an
//! estimate if they report nothing. It is not a limit over several Envoys: that is Envoy's rate-limit
//! service, which gets the tokens from the host.

mod budget;
#[cfg(test)]
mod budget_tests;
mod codec;
mod keys;
mod rate_limiter;

pub use budget::{
    Amount, BudgetKind, BudgetSet, Exhausted, Granted, Ledger, Reservation, release, reserve, settle, used,
};
pub use keys::{NoKey, authenticate, may_use, operator};
pub use rate_limiter::{RateLimit, RateLimiter};
