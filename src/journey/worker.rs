//! One worker: what all passes share, and the work of its tick.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::journey::FailureContext;
use super::registry::{Journeys, SharedJourney};
use crate::base::{Random, SplitMix64, Store, Timestamp, WallClock};
use crate::config::Config;
use crate::generation::{Effects, Generation};
use crate::queue::Queues;
use crate::record::{Metric, NO_NEXT_ATTEMPT, Tally};
use crate::report::{self, Gauges, OperatorContext, OperatorRateLimit, Written};
use crate::retry::Retries;

/// How many records of orphans are written in one tick, so that they do not flood Envoy's log. Further ones
/// are only counted.
const MAX_ORPHANS_WRITTEN: usize = 10;

/// How often a tick comes.
pub const TICK: Duration = Duration::from_millis(100);

/// If no tick has come for this long, the worker was stopped or busy, and what has arrived
/// meanwhile has not been read.
pub const LATE: Duration = Duration::from_millis(300);

/// What all passes through one configured filter share on one worker.
pub struct Worker {
    /// The configuration that new requests are served by, and what is known of its targets.
    pub generation: Rc<Generation>,
    /// The journeys of this worker, whatever configuration they began with.
    pub journeys: Rc<RefCell<Journeys>>,
    /// The requests that wait.
    pub queues: Queues,
    /// This worker's share of the retry budget's counts.
    pub retries: Retries,
    /// The data that all workers share.
    pub store: Box<dyn Store>,
    /// The random source.
    pub rng: SplitMix64,
    /// Envoy's version, if it is known.
    pub envoy: Option<String>,
    /// How often operators may still be served.
    pub operator_limit: OperatorRateLimit,
    /// The gauges with labels.
    pub gauges: Gauges,
    /// What has been counted and not yet handed to the host.
    pub tally: Tally,
    /// When its last tick was.
    ticked_at: Option<Timestamp>,
}

impl Worker {
    /// A worker for a configuration.
    pub fn new(
        config: Config,
        journeys: Rc<RefCell<Journeys>>,
        wall: Rc<Cell<WallClock>>,
        mut store: Box<dyn Store>,
        mut rng: SplitMix64,
    ) -> Self {
        let tally = Tally::new(&config);
        let number = rng.next_u64();
        let mut generation = Generation::new(config, number, wall, &mut *store);
        generation.headroom.get_mut().share_places(journeys.borrow_mut().places(number), &mut *store);
        let generation = Rc::new(generation);
        Self {
            generation,
            journeys,
            queues: Queues::default(),
            retries: Retries::default(),
            store,
            rng,
            envoy: None,
            operator_limit: OperatorRateLimit::default(),
            gauges: Gauges::default(),
            tally,
            ticked_at: None,
        }
    }

    /// What a step may change besides its own request.
    pub(super) fn effects(&mut self) -> Effects<'_> {
        Effects { store: &mut *self.store, tally: &mut self.tally, rng: &mut self.rng }
    }

    /// What the decision after a failure needs of the worker.
    pub(super) fn failure_context(&mut self) -> FailureContext<'_> {
        FailureContext {
            effects: Effects { store: &mut *self.store, tally: &mut self.tally, rng: &mut self.rng },
            retries: &mut self.retries,
            queues: &self.queues,
        }
    }

    pub(super) fn operator_context(&mut self) -> OperatorContext<'_> {
        OperatorContext {
            generation: &self.generation,
            store: &mut *self.store,
            tally: &mut self.tally,
            limit: &mut self.operator_limit,
            envoy: self.envoy.as_deref(),
        }
    }

    /// Does what is due by time alone. To be called about every 100 ms. Returns the records of requests
    /// whose next attempt never came, because no access log writes those.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Written> {
        self.ticked_at = Some(now);
        let records = self.end_orphans(now);
        let change = self.journeys.borrow().bodies().take_change();
        self.tally.add(Metric::HeldBytes, change);
        let generation = Rc::clone(&self.generation);
        let queues = &self.queues;
        let queued = generation.config.models().iter().map(|model| queues.queued(&model.name));
        let failed = generation.exchange(&mut *self.store, queued, now);
        if failed > 0 {
            self.tally.add(Metric::SharedDataFailed, i64::try_from(failed).unwrap_or(i64::MAX));
        }
        let flushed = self.retries.flush(&mut *self.store, now);
        self.effects().note_shared(flushed);
        self.gauges.show(&generation, &mut self.tally, now);
        records
    }

    /// The configuration has just been loaded: shows what it has, so that no gauge is 0 until the first tick.
    pub fn started(&mut self, now: Timestamp) {
        self.gauges.show(&self.generation, &mut self.tally, now);
    }

    /// For how long the worker could read nothing, because it was stopped or busy, if no tick has noticed that yet. What has
    /// come meanwhile may be read before the tick.
    pub(super) fn unnoticed_pause(&self, now: Timestamp) -> Option<Duration> {
        let passed = now.since(self.ticked_at?);
        (passed > LATE).then(|| passed.saturating_sub(TICK))
    }

    fn end_orphans(&mut self, now: Timestamp) -> Vec<Written> {
        let orphans = self.journeys.borrow_mut().expire(now);
        let mut records = Vec::new();
        for (number, orphan) in orphans.into_iter().enumerate() {
            let record = orphan.try_borrow().ok().and_then(|journey| journey.record());
            if let Some(record) = record.filter(|_| number < MAX_ORPHANS_WRITTEN) {
                if let Ok(mut record) = record.try_borrow_mut() {
                    record.broke = Some(NO_NEXT_ATTEMPT);
                }
                records.extend(report::write(&record, &mut self.effects(), now));
            }
            self.tally.count(Metric::JourneysOrphaned);
            self.tally.add(Metric::Journeys, -1);
            self.end(&orphan, now);
        }
        records
    }

    /// A request is over: its reservation is settled.
    pub(super) fn end(&mut self, journey: &SharedJourney, now: Timestamp) {
        journey.borrow_mut().settle(&mut self.effects(), now);
    }
}
