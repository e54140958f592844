//! What follows a failed attempt: the same target again, another one, a wait, or the end.
//!
//! **One function decides**, [`after_failure`], for streamed and plain requests alike, from values alone; who may be tried
//! next is the business of `fallback` and `balance`, and what it has come to is told by [`Next`] with a name for every end.
//! A failure after the first byte went to the client never comes here.
//!
//! **Why elsewhere before again.** Another target costs no wait and does not share the trouble. The same one is asked again
//! only where it is the only one left, after a back-off, and at most as often as its own limit says.
//!
//! **Why full jitter.** Requests that failed together would come back together; a wait drawn from all of the span spreads
//! them the most (Brooker, "Exponential Backoff And Jitter", 2015).
//!
//! **What it refuses to be**: a hedge, a second opinion on an answer, or a way around a provider's rate limit.

mod budget;
mod decision;
mod queue;

#[cfg(test)]
mod decision_tests;

pub use budget::{BudgetUse, Grant, Retries, WINDOW_S, budget_use};
pub use decision::{Failed, Left, Next, Permission, Reach, Received, Spent, Stop, after_failure, may_return};
pub use queue::{MAX_BURST, Position, Queue};
