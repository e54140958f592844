//! Circuit breakers: stop sending to what fails, and detect its recovery at little cost.
//!
//! **Scopes.** A *target* (account × model) is blamed for its own failures: overload, server errors, broken
//! streams. An *account* is blamed when its money or its credential is rejected, which affects every model
//! behind it. An *endpoint* (provider) is blamed when it cannot be reached, which affects everything behind
//! it. A rate limit is not a failure: it only sets a time until which the target gets no requests.
//!
//! **When does it open?** On a ratio of failures in a sliding window, or on a run of failures. The ratio
//! catches a target that fails every third time and never produces a run. The run catches a sudden outage
//! long before the window is full. A target that several clients left unanswered is probed (`unanswered.rs`).
//!
//! **How does it recover?** The open time doubles with every consecutive trip; a failed probe lengthens it only
//! as far as the probe cost its client time (`open_time.rs`). After it, exactly `probes` live requests go
//! through over all workers, each under a lease. Only the result of a lease decides. After
//! `close_after` successes the breaker closes and its traffic ramps up (`ramp.rs`). A client that leaves returns
//! its lease. A lease whose worker vanished expires.
//!
//! **What does it ignore?** Failures that say nothing about health (invalid requests, content policy, a
//! single client that left), and results of an earlier generation, such as those of requests sent before the trip.
//! It sends no health checks of its own: a made-up request costs money and proves little.
//!
//! Workers share one small versioned record per scope. They change it by compare-and-swap through the pure
//! transitions of [`Health`]. The folder knows neither journeys nor which target is preferred.

mod blame;
mod codec;
mod command;
mod figures;
mod halves;
mod health;
mod health_view;
mod keys;
mod open_time;
mod pending;
mod ramp;
mod scope;
mod starts;
mod state;
mod throttle;
mod unanswered;
mod window;

#[cfg(test)]
mod halves_tests;
#[cfg(test)]
mod health_tests;
#[cfg(test)]
mod health_view_tests;
#[cfg(test)]
mod hosts_tests;
#[cfg(test)]
mod open_time_tests;
#[cfg(test)]
mod races;
#[cfg(test)]
mod ramp_tests;
#[cfg(test)]
mod test_policy;
#[cfg(test)]
mod unanswered_tests;

pub use blame::Blame;
pub use codec::RECORD_BYTES;
pub use figures::{FirstContentTimes, Levels, QueueState};
pub use halves::{OwedHalf, Share, Witness};
pub use health::Health;
pub use health_view::{Change, HealthView, Report};
pub use keys::Keys;
pub use pending::{MAX_WORKERS, Pending};
pub use scope::{Breaker, Scope};
pub use state::{
    Availability, BreakerPhase, Command, HealthSignal, MAX_PROBES, Order, State, Ticket, Transition,
    TripReason, TripRule, Unavailable,
};
pub use window::BUCKETS;
