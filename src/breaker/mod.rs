//! Circuit breakers and health: stop sending to what fails, find out cheaply when it is well again.
//!
//! **Scopes.** A *target* (account × model) is blamed for what only it did: overload, server errors, broken streams. An
//! *account* is blamed when its money or its credential is not good: every model behind it is affected at once. An
//! *endpoint* (provider) is blamed when it cannot be reached: everything behind it is affected. A rate limit is no
//! illness: it only says until when the target is not to be asked.
//!
//! **Why a ratio and a run of failures.** A ratio over a sliding window sees a target that fails every third time and
//! would never produce a run; a run sees a sudden outage long before the window is full. Either opens the breaker.
//!
//! **Recovery.** After its open time, which doubles with every trip in a row, exactly `probes` live requests go through
//! across all workers, each under a lease. Only a lease's own result decides. A request from before the trip decides
//! nothing, a client that leaves gives its lease back, a lease whose worker vanished expires. After `close_after`
//! successes the breaker closes and the share of traffic ramps up.
//!
//! **What it ignores**: failures that say nothing about health (invalid requests, content policy, a client that left),
//! and results whose generation is over.
//!
//! State that workers share is one small versioned record per scope, changed by compare-and-swap through the pure
//! transitions of [`Health`]. The folder refuses to know what a journey is or which target is preferred.

mod blame;
mod codec;
mod figures;
mod health;
mod health_view;
mod pending;
mod state;
mod window;

#[cfg(test)]
mod health_tests;
#[cfg(test)]
mod health_view_tests;
#[cfg(test)]
mod races;
#[cfg(test)]
mod test_policy;

pub use blame::Blame;
pub use codec::RECORD_BYTES;
pub use figures::{Queued, Times};
pub use health::Health;
pub use health_view::{Change, HealthView, Scope};
pub use pending::{MAX_WORKERS, Pending};
pub use state::{
    Cause, Command, MAX_PROBES, Order, Outcome, Phase, Standing, State, Ticket, Transition, Unfit, Why,
};
pub use window::BUCKETS;
