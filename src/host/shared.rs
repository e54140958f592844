//! What the streams of one configured filter share on one worker.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::failure::{Call, Failures, HostError};
use super::metrics::{self, Metrics};
use super::store::SharedData;
use super::{abi, clock};
use crate::base::{SplitMix64, Timestamp};
use crate::config::Config;
use crate::journey::{Journeys, Worker};
use crate::record::{Metric, Tally};
use crate::report::Written;

thread_local! {
    /// Journeys belong to the VM and not to a root context: after a change of the configuration, the next attempt of a
    /// request may come through another one.
    static JOURNEYS: Rc<RefCell<Journeys>> = Rc::default();
    /// The configured filter that gets the ticks. A tick hands over what its streams have counted.
    static TICKING: RefCell<Weak<Shared>> = RefCell::default();
    static FAILURES: RefCell<Failures> = RefCell::default();
    /// The number by which other VMs know this one.
    static VM: u64 = random();
}

/// The worker and its metrics.
pub struct Shared {
    pub worker: RefCell<Worker>,
    pub metrics: Metrics,
    /// The queue that wakes streams outside of their own callbacks; `None` if Envoy registers none.
    pub wakeups: Option<u32>,
}

impl Shared {
    pub fn new(config: Config, envoy_version: Option<String>) -> Self {
        let rng = SplitMix64::new(random());
        let mut worker =
            Worker::new(config, JOURNEYS.with(Rc::clone), clock::wall(), Box::new(SharedData), rng);
        worker.envoy = envoy_version;
        let metrics = Metrics::define(worker.tally.series(), &worker.generation.config);
        for family in worker.tally.series().left_out() {
            log::warn!("too many labels, so there is no {}", family.name());
        }
        // The name is unique: if several root contexts register one name, Envoy calls only the last of them.
        let wakeups = abi::register_queue(&format!("llm-failsafe-releases-{:016x}", random()))
            .inspect_err(|error| {
                log::error!(
                    "Envoy registers no queue (status {}): error events cannot be added to streams",
                    error.0
                );
            })
            .ok();
        Self { worker: RefCell::new(worker), metrics, wakeups }
    }

    /// Makes this the filter that gets the ticks, and hands over what the previous one has counted.
    pub fn start_ticking(self: &Rc<Self>) {
        if let Some(previous) = TICKING.replace(Rc::downgrade(self)).upgrade() {
            previous.metrics.flush(&mut previous.worker.borrow_mut().tally);
        }
        let mut worker = self.worker.borrow_mut();
        worker.started(clock::now());
        self.metrics.flush(&mut worker.tally);
    }

    /// The tick of this filter's worker. Returns the records that no access log writes.
    pub fn tick(&self, now: Timestamp) -> Vec<Written> {
        let mut worker = self.worker.borrow_mut();
        self.metrics.flush(&mut worker.tally);
        worker.generation.pending.borrow_mut().set_levels(VM.with(|vm| *vm), metrics::levels());
        let orphans = worker.tick(now);
        self.metrics.flush(&mut worker.tally);
        self.metrics.show_levels(worker.generation.pending.borrow().levels_of_others());
        orphans
    }

    /// Hands over what has been counted, unless a tick will do so. Streams of a replaced configuration get no ticks.
    pub fn flush_if_due(&self, tally: &mut Tally) {
        let ticks = TICKING.with_borrow(|ticking| std::ptr::eq(ticking.as_ptr(), self));
        if !ticks || tally.is_full() {
            self.metrics.flush(tally);
        }
    }

    /// Counts and logs a call that has failed. The worker must not be borrowed.
    pub fn call_failed(&self, call: Call, error: HostError) {
        if let Some(line) = FAILURES.with_borrow_mut(|failures| failures.count(call, error)) {
            log::warn!("{line}");
        }
        if let Ok(mut worker) = self.worker.try_borrow_mut() {
            worker.tally.count(Metric::HostCallsFailed);
            self.flush_if_due(&mut worker.tally);
        }
    }
}

/// The VM could do nothing for this long before `now`.
pub fn excuse_journeys(pause: Duration, now: Timestamp) {
    JOURNEYS.with(|journeys| journeys.borrow_mut().excuse(pause, now));
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
