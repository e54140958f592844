//! The gauges with labels: what state each breaker is in, how many targets of each model may be asked, and how many wait for it.
//!
//! States change by time alone, so they are looked at on each tick, and told to the host where they differ from what this worker
//! has told before. Every worker sets the same gauges to what it sees in the shared records, so the last word is right.

use super::Worker;
use crate::base::{ModelId, Timestamp};
use crate::breaker::State;
use crate::record::status::Sources;
use crate::record::{Family, Series};

impl Worker {
    /// Tells the host what has changed.
    pub(super) fn show(&mut self, now: Timestamp) {
        let Self { config, health_view, pending, headroom, tally, shown, .. } = self;
        let (health_view, pending, headroom) = (health_view.borrow(), pending.borrow(), headroom.borrow());
        let sources =
            Sources { config, health_view: &health_view, pending: &pending, headroom: &headroom, now };
        let states = Series::all_scopes(config).map(|scope| {
            let state =
                health_view.health(scope).map_or(State::Closed, |health| health.state(&config.breaker, now));
            (Family::BreakerState, State::ALL.iter().position(|known| *known == state).unwrap_or(0))
        });
        let scopes = states.enumerate();
        let fit = config.models().iter().map(|model| {
            let fit = model.tiers.iter().flatten().filter(|id| sources.is_available(**id)).count();
            (Family::TargetsFit, fit)
        });
        let waiting = (0..config.models().len()).filter_map(ModelId::from_index).map(|id| {
            (Family::WaitingByModel, usize::try_from(pending.queue_state(id).requests).unwrap_or(usize::MAX))
        });
        let all = scopes.chain(fit.enumerate()).chain(waiting.enumerate());
        for (index, (place, (family, value))) in all.enumerate() {
            if shown.get(index) == Some(&value) {
                continue;
            }
            match shown.get_mut(index) {
                Some(known) => *known = value,
                None => shown.push(value),
            }
            tally.observe(config, family, place, u64::try_from(value).unwrap_or(u64::MAX));
        }
    }
}
