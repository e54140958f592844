//! One configured filter on one worker: loads the configuration, starts passes, keeps time.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::{Rc, Weak};
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use super::abi::{self, Buffer, Level};
use super::calls;
use super::filter::{self, Filter};
use super::store::SharedData;
use crate::base::SplitMix64;
use crate::config::{self, Config};
use crate::journey::{Journeys, Worker};
use crate::record::{Metric, Sample, Tally};

/// How often a worker looks for what has run out of time.
pub const TICK: Duration = Duration::from_millis(100);

/// More than this is not read of a configuration; what is cut off makes it invalid.
const MAX_CONFIGURATION: usize = config::MAX_BYTES + 1;

thread_local! {
    /// Journeys belong to the VM and not to a root context: after a change of the configuration the next attempt of a
    /// request may come through another one.
    static JOURNEYS: Rc<RefCell<Journeys>> = Rc::default();
    /// The configured filter whose tick hands over what its streams count.
    static TICKING: RefCell<Weak<Shared>> = RefCell::default();
}

/// The worker and its metrics, as every pass shares them.
pub struct Shared {
    pub worker: RefCell<Worker>,
    metrics: [Option<u32>; Metric::ALL.len()],
    /// The metrics with labels, by their numbers.
    series: Vec<Option<u32>>,
    /// The queue through which a stream's first chunk is released; `None` when the host grants none.
    pub releases: Option<u32>,
}

impl Shared {
    /// A step has counted something. It is handed over at once only where no tick may come for it: the streams of a
    /// configuration that has been replaced go on.
    pub fn counted(&self, tally: &mut Tally) {
        let ticks = TICKING.with_borrow(|ticking| std::ptr::eq(ticking.as_ptr(), self));
        if !ticks || tally.is_full() {
            self.flush(tally);
        }
    }

    /// Hands to the host what has been counted.
    fn flush(&self, tally: &mut Tally) {
        tally.drain(|metric, delta| {
            if let Some(id) = self.metrics.get(metric as usize).copied().flatten() {
                let _ = abi::add_metric(id, delta);
            }
        });
        tally.drain_series(|number, sample| {
            let Some(id) = self.series.get(number).copied().flatten() else { return };
            let _ = match sample {
                Sample::Add(delta) => abi::add_metric(id, delta),
                Sample::Value(value) => abi::record_metric(id, value),
            };
        });
    }

    fn new(config: Config) -> Self {
        let rng = SplitMix64::new(RandomState::new().build_hasher().finish());
        let mut worker = Worker::new(config, JOURNEYS.with(Rc::clone), Box::new(SharedData), rng);
        worker.envoy = envoy_version();
        let mut metrics = [None; Metric::ALL.len()];
        for (slot, metric) in metrics.iter_mut().zip(Metric::ALL) {
            *slot = abi::define_metric(metric.kind(), metric.name()).ok();
        }
        let mut series = Vec::with_capacity(worker.tally.series().len());
        worker.tally.series().define(&worker.config, |kind, name| {
            series.push(abi::define_metric(kind, name).ok());
        });
        for family in worker.tally.series().left_out() {
            abi::log(
                Level::Warn,
                &format!("llm-failsafe: too many labels, so there is no {}", family.name()),
            );
        }
        // A name of its own: of several that register one name the host calls only the last.
        let name = format!("llm-failsafe-releases-{:016x}", RandomState::new().build_hasher().finish());
        Self { worker: RefCell::new(worker), metrics, series, releases: abi::register_queue(&name).ok() }
    }
}

/// The root context.
pub struct Root {
    shared: Option<Rc<Shared>>,
    memory_pages: usize,
}

impl Root {
    pub const fn new() -> Self {
        Self { shared: None, memory_pages: 0 }
    }

    /// A Wasm memory never shrinks, so its size is what it once needed.
    fn report_memory(&mut self, shared: &Shared) {
        let pages = core::arch::wasm32::memory_size(0);
        if pages == self.memory_pages {
            return;
        }
        self.memory_pages = pages;
        if let Some(id) = shared.metrics.get(Metric::WasmMemory as usize).copied().flatten() {
            let _ = abi::raise_gauge(id, pages as u64 * 65_536);
        }
    }
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let bytes = abi::read_buffer(Buffer::PluginConfiguration, 0, MAX_CONFIGURATION).unwrap_or_default();
        match config::load(&bytes, &environment) {
            Ok(config) => {
                let shared = Rc::new(Shared::new(config));
                self.report_memory(&shared);
                let replaced = if abi::set_tick(TICK).is_ok() {
                    TICKING.replace(Rc::downgrade(&shared))
                } else {
                    abi::log(Level::Error, "llm-failsafe: the host grants no timer");
                    Weak::new()
                };
                if let Some(replaced) = replaced.upgrade() {
                    replaced.flush(&mut replaced.worker.borrow_mut().tally);
                }
                self.shared = Some(shared);
                true
            }
            Err(mistakes) => {
                for line in mistakes.to_string().lines() {
                    abi::log(Level::Error, &format!("llm-failsafe: {line}"));
                }
                false
            }
        }
    }

    fn on_tick(&mut self) {
        let Some(shared) = self.shared.clone() else { return };
        let mut worker = shared.worker.borrow_mut();
        let now = filter::now();
        let orphans = worker.tick(now);
        shared.flush(&mut worker.tally);
        drop(worker);
        orphans.iter().for_each(filter::log_record);
        filter::look_at_streams(now);
        self.report_memory(&shared);
        // The ticks' calls are no stream's.
        calls::forget();
    }

    fn on_queue_ready(&mut self, queue: u32) {
        while let Ok(item) = abi::dequeue(queue) {
            match item.try_into() {
                Ok(id) => filter::release(u32::from_le_bytes(id)),
                Err(_) => filter::look_at_lines(),
            }
        }
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Filter::new(context_id, self.shared.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// As Envoy tells it of itself in its node: three numbers.
fn envoy_version() -> Option<String> {
    let number = |part: &str| {
        let path = format!("xds\0node\0user_agent_build_version\0version\0{part}");
        abi::property(&path).and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)))
    };
    let (major, minor, patch) =
        (number("major_number")?, number("minor_number")?, number("patch").unwrap_or_default());
    Some(format!("{major}.{minor}.{patch}"))
}

/// The only reading of the environment: provider keys, while the configuration is loaded.
#[allow(clippy::disallowed_methods)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
