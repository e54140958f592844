//! How long a breaker stays open: in proportion to what the next try may cost clients.
//!
//! **After a failed probe** one client has waited as long as the probe took. So the open time is a multiple of
//! that, and at least `open`. A refused connection costs nothing, so an outage whose probes fail fast can last as
//! long as it likes: its end is noticed within `open`. Only a probe that hangs makes the next one wait.
//!
//! **After a trip** the open time doubles, because every trip costs several clients a failed attempt. Trips are
//! forgotten once the breaker has been closed for long enough, with or without traffic.
//!
//! **A blocked account** doubles its own, much longer times, whatever a probe costs: a key that is rejected
//! every few seconds may be suspended for it.

use std::time::Duration;

use super::state::{Ticket, TripRule};
use crate::config::BreakerPolicy;

/// The open time after a failed probe is this many times what the probe took. So there is a client that waits
/// for a probe in vain at most a fifth of the time.
pub(super) const PROBE_COST: u32 = 4;

/// A provider that fails is left alone for at most this long at its own request, or for `open`.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The open time after the `trips`-th trip in a row: it doubles up to a maximum.
pub(super) fn after_trip(policy: &BreakerPolicy, trips: u8, rule: TripRule) -> Duration {
    let (first, longest) = match rule {
        TripRule::Blocked => (policy.block, policy.block_max),
        TripRule::Consecutive | TripRule::Ratio | TripRule::Probe | TripRule::Unanswered => {
            (policy.open, policy.open_max)
        }
    };
    first.saturating_mul(1 << u32::from(trips.saturating_sub(1)).min(20)).min(longest)
}

/// The open time after a probe that failed after this time.
pub(super) fn after_probe(policy: &BreakerPolicy, took: Duration) -> Duration {
    took.saturating_mul(PROBE_COST).clamp(policy.open, policy.open_max.max(policy.open))
}

/// The longest pause that a provider may ask for with a failure. After a failed probe it is no longer than an
/// open breaker: then the next probe tells more than the provider's guess.
pub(super) fn longest_pause(policy: &BreakerPolicy, ticket: Ticket) -> Duration {
    if ticket.is_probe() { policy.open } else { policy.open.max(PAUSE_MAX) }
}
