//! Rate limits.
//!
//! A rate limit is not an illness. It sets a time until which the scope gets no requests: the provider's
//! hint, at most an hour. Without a hint it is 1 second, doubled for each further rate limit in a row, at most
//! 60 seconds. For an allowance that is used up it is the hint, at most a day, or an hour.

use std::time::Duration;

use super::health::{Health, stepped_back};
use super::state::{Throttle, Transition};
use crate::base::Timestamp;

/// A rate limit without a hint throttles for this long, doubled for each further one in a row.
const THROTTLE_FIRST: Duration = Duration::from_secs(1);
/// The longest time that a rate limit without a hint throttles.
const THROTTLE_MAX: Duration = Duration::from_secs(60);

impl Health {
    /// A rate limit has come, with the provider's hint on how long it lasts.
    pub(super) fn throttle(&mut self, hint: Option<Duration>, now: Timestamp) -> Option<Transition> {
        let before = self.throttle.filter(|throttle| !stepped_back(throttle.since, now));
        let in_force = before.filter(|throttle| throttle.until > now);
        let strikes = match (hint, before) {
            (Some(_), _) => 0,
            // Requests that were in flight together when the limit struck are one strike.
            (None, Some(throttle)) if in_force.is_some() => throttle.strikes,
            (None, Some(throttle)) => throttle.strikes.saturating_add(1),
            (None, None) => 0,
        };
        let time = match hint {
            Some(hint) => hint,
            None => THROTTLE_FIRST.saturating_mul(1 << strikes.min(10)).min(THROTTLE_MAX),
        };
        let until = now.after(time);
        // The latest deadline wins. A shorter hint that comes later shortens nothing.
        let latest = in_force.map_or(until, |throttle| throttle.until.max(until));
        self.throttle = Some(Throttle { since: now, until: latest, strikes });
        in_force.is_none_or(|throttle| latest > throttle.until).then_some(Transition::Throttled)
    }
}
