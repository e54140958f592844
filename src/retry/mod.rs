//! What follows a failed attempt: another target, the same target again, a wait, or the end.
//!
//! **Where is it decided?** In one function, [`after_failure`], for streams and other responses alike, from
//! values alone. Each end has a name ([`Stop`]). A failure after the first byte went to the client is not
//! retried and never comes here. Which targets are left is determined by `fallback` and `balance`.
//!
//! **Why another target first.** It needs no wait and does not share the problem. The same target is asked
//! again only if it is the only one left, after a back-off, and at most as often as its own limit permits.
//!
//! **Why full jitter.** Requests that failed together would come back together. A wait drawn from the whole
//! span spreads them most (Brooker, "Exponential Backoff And Jitter", 2015).
//!
//! **Why retry after `quota_exhausted` and `auth`.** An operator who lists several accounts behind one name
//! has declared that they may replace each other. A revoked key is then what the second account is for.
//! `fallback: { on: […] }` narrows the classes.
//!
//! **What does it not do?** It sends no hedged requests, gets no second opinion on a response, and does not
//! work around a provider's rate limit.

mod budget;
mod decision;
mod queue;

#[cfg(test)]
mod decision_tests;

pub use budget::{BudgetUse, Grant, Retries, WINDOW_S, budget_use};
pub use decision::{
    Failed, Next, Permission, Reach, Received, RemainingOptions, Situation, Spent, Stop, after_failure,
    may_return, may_send_after_crash,
};
pub use queue::{MAX_BURST, Position, Queue};
