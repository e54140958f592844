//! Counts what happens to breakers.

use crate::breaker::{Scope, Transition};
use crate::config::Config;
use crate::generation::Effects;
use crate::record::{Family, Metric};

/// Counts a change of a breaker of this scope.
pub(super) fn count_transition(
    config: &Config,
    scope: Scope,
    transition: Option<Transition>,
    effects: &mut Effects<'_>,
) {
    // The numbers are positions in `CHANGES`, the labels of the family.
    let (metric, change) = match transition {
        Some(Transition::Opened(_)) => (Metric::BreakerOpened, 0),
        Some(Transition::Reopened(_)) => (Metric::BreakerReopened, 1),
        Some(Transition::Closed) => (Metric::BreakerClosed, 2),
        Some(Transition::Throttled) => (Metric::BreakerThrottled, 3),
        Some(Transition::Held(reason)) => {
            log::debug!("breaker of {scope:?} stays closed: one client key or host caused {reason:?}");
            effects.tally.count(Metric::BreakerHeld);
            return;
        }
        None => return,
    };
    log::debug!("breaker of {scope:?}: {transition:?}");
    effects.tally.count(metric);
    let place = effects.tally.series().scope(scope);
    effects.tally.label(config, Family::BreakerChanges, (place, change), 1);
}
