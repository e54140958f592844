//! The gauges with labels: the state of each breaker, how many targets of each model may be asked, how
//! many requests wait for it, and how many attempts may be in flight at each target.
//!
//! States change with time, so they are read on each tick. The host gets those that differ from what this
//! worker last reported. Every worker sets the same gauges from the shared records, so the last write is
//! correct.

use crate::base::Timestamp;
use crate::breaker::State;
use crate::generation::Generation;
use crate::record::status::Sources;
use crate::record::{Family, Series, Tally};

/// The gauges as this worker last reported them.
#[derive(Debug, Default)]
pub struct Gauges {
    shown: Vec<usize>,
}

impl Gauges {
    /// Reports what has changed.
    pub fn show(&mut self, generation: &Generation, tally: &mut Tally, now: Timestamp) {
        let config = &*generation.config;
        let (health_view, pending, headroom) =
            (generation.health_view.borrow(), generation.pending.borrow(), generation.headroom.borrow());
        let wall = generation.wall_clock();
        let sources =
            Sources { config, health_view: &health_view, pending: &pending, headroom: &headroom, now, wall };
        let states = Series::all_scopes(config).map(|scope| {
            let health = health_view.health(health_view.worst(scope, &config.breaker, now));
            let state = health.map_or(State::Closed, |health| health.state(&config.breaker, now));
            (Family::BreakerState, State::ALL.iter().position(|known| *known == state).unwrap_or(0))
        });
        let fit = config.models().iter().map(|model| {
            let fit = model.tiers.iter().flatten().filter(|id| sources.is_available(**id)).count();
            (Family::TargetsFit, fit)
        });
        let waiting = Series::all_models(config).map(|id| {
            let requests = pending.queue_state(id).requests;
            (Family::WaitingByModel, usize::try_from(requests).unwrap_or(usize::MAX))
        });
        let most = Series::all_targets(config).map(|id| {
            let most = headroom.max_pending(id).unwrap_or_default();
            (Family::PendingLimit, usize::try_from(most).unwrap_or(usize::MAX))
        });
        let of_models = fit.enumerate().chain(waiting.enumerate());
        let all = states.enumerate().chain(of_models).chain(most.enumerate());
        for (index, (place, (family, value))) in all.enumerate() {
            if self.shown.get(index) == Some(&value) {
                continue;
            }
            match self.shown.get_mut(index) {
                Some(known) => *known = value,
                None => self.shown.push(value),
            }
            tally.observe(config, family, place, u64::try_from(value).unwrap_or(u64::MAX));
        }
    }
}
