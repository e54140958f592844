//! What belongs to one configuration: the configuration itself and what this worker knows about its targets.
//!
//! All of it is indexed by the configuration's ids, so it is created with the configuration and dropped
//! with it. A request keeps the generation that it began with, also when a newer configuration has replaced
//! it.

mod effects;
mod host_samples;
mod missing_clusters;
mod target_health;
mod usage_option;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

pub use effects::Effects;
pub use host_samples::HostSamples;
pub use missing_clusters::{MissingClusters, missed_by_any};
pub use target_health::{availability, breakers, failing_permille, is_untroubled, next_start};
pub use usage_option::UsageOption;

use crate::balance::{Headroom, InFlight, Places, SpeedView};
use crate::base::{Moment, Store, TargetId, Timestamp, Tokens, WallClock, WallTime};
use crate::breaker::{HealthView, Pending, QueueState};
use crate::config::Config;
use crate::fallback::{Calibration, GateMasks};
use crate::record::Fragments;

/// One configuration with what one worker knows about it.
#[derive(Debug)]
pub struct Generation {
    /// The configuration.
    pub config: Rc<Config>,
    /// What the wall clock shows. Generations of one worker share it.
    wall: Rc<Cell<WallClock>>,
    /// Its parts of decision records.
    pub fragments: Rc<Fragments>,
    /// The state of the circuit breakers, as this worker last saw it.
    pub health_view: RefCell<HealthView>,
    /// Attempts under way at each target.
    pub pending: RefCell<Pending>,
    /// How fast targets answer.
    pub speeds: RefCell<SpeedView>,
    /// How much of the targets' limits is left.
    pub headroom: RefCell<Headroom>,
    /// Which targets reject a request for usage.
    pub usage_option: UsageOption,
    /// When the host of a success was last looked at.
    pub host_samples: RefCell<HostSamples>,
    /// Which clusters Envoy does not have.
    pub missing_clusters: MissingClusters,
    /// How targets count tokens.
    pub estimates: Calibration,
    /// Which requests pass all gates.
    pub gate_masks: GateMasks,
}

impl Generation {
    /// A generation that starts with what other workers have shared, so that after a change of the
    /// configuration even the first request avoids targets with an open breaker. `worker` distinguishes
    /// this worker's records.
    pub fn new(config: Config, worker: u64, wall: Rc<Cell<WallClock>>, store: &mut dyn Store) -> Self {
        let mut health_view = HealthView::new(&config);
        health_view.refresh(store);
        let mut speeds = SpeedView::new(&config);
        speeds.exchange(store);
        let mut headroom = Headroom::new(&config);
        headroom.share_places(Rc::new(RefCell::new(Places::new(worker))), store);
        headroom.exchange(store);
        let usage_option = UsageOption::new(&config, store);
        let config = Rc::new(config);
        Self {
            wall,
            usage_option,
            health_view: RefCell::new(health_view),
            pending: RefCell::new(Pending::new(&config, worker)),
            speeds: RefCell::new(speeds),
            headroom: RefCell::new(headroom),
            host_samples: RefCell::new(HostSamples::new(&config)),
            missing_clusters: MissingClusters::new(&config),
            estimates: Calibration::new(&config),
            gate_masks: GateMasks::of(&config),
            fragments: Rc::new(Fragments::new(Rc::clone(&config))),
            config,
        }
    }

    /// What the wall clock shows.
    pub fn wall_clock(&self) -> WallClock {
        self.wall.get()
    }

    /// What the calendar says at `now`.
    pub fn wall_time(&self, now: Timestamp) -> WallTime {
        self.wall.get().at(now)
    }

    /// `now` on both clocks.
    pub fn moment(&self, now: Timestamp) -> Moment {
        Moment { at: now, wall: self.wall_time(now) }
    }

    /// Writes what this worker has learned and reads what others have. `queued` has this worker's queues by
    /// model. Returns how many health records could not be written.
    pub fn exchange(
        &self,
        store: &mut dyn Store,
        queued: impl Iterator<Item = QueueState>,
        now: Timestamp,
    ) -> usize {
        let mut health_view = self.health_view.borrow_mut();
        let failed = health_view.flush(store, &self.config.breaker, now);
        health_view.refresh(store);
        let mut pending = self.pending.borrow_mut();
        pending.set_queues(queued);
        pending.exchange(store, now);
        self.estimates.exchange(store);
        self.usage_option.exchange(store);
        self.speeds.borrow_mut().exchange(store);
        self.headroom.borrow_mut().exchange(store);
        self.headroom.borrow().renew_places(store, now);
        failed
    }
}

impl InFlight for Pending {
    fn attempts(&self, target: TargetId) -> u32 {
        Self::attempts(self, target)
    }

    fn unanswered(&self, target: TargetId) -> (u32, Tokens) {
        Self::unanswered(self, target)
    }

    fn is_only_worker(&self) -> bool {
        Self::is_only_worker(self)
    }
}
