//! The root context: one configured filter on one worker. It loads the configuration, creates streams and keeps time.
//!
//! There are no threads and no scheduler: Envoy calls, and the filter answers. The only timer, every 100 ms, checks what
//! takes too long, ends orphaned journeys, exchanges data with other workers and reports the size of the memory.

use std::rc::Rc;

use super::abi::{self, Buffer};
use super::logger::{self, Logger};
use super::shared::Shared;
use super::{clock, stream};
use crate::base::{COMMIT, VERSION};
use crate::config;
use crate::journey::TICK;
use crate::record::Metric;

/// How much of a configuration is read. A longer one is cut off here and refused.
const MAX_CONFIGURATION: usize = config::MAX_BYTES + 1;

static LOGGER: Logger = Logger { write: abi::log };

/// Sends the lines of the `log` crate to Envoy's log. To be called once, when the VM starts. Envoy's level cannot be read so
/// early (the call ends the VM), but a configuration is loaded next.
pub fn start_logging() {
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(logger::filter(None));
}

fn refresh_log_level() {
    log::set_max_level(logger::filter(abi::log_level().ok()));
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

    /// Reports the size of the memory, which never shrinks, when it has grown.
    fn report_memory(&mut self, shared: &Shared) {
        let pages = core::arch::wasm32::memory_size(0);
        if pages != self.memory_pages {
            self.memory_pages = pages;
            shared.metrics.raise(Metric::WasmMemory, pages as u64 * 65_536);
        }
    }

    /// What its streams share. `None` without a configuration.
    pub fn shared(&self) -> Option<Rc<Shared>> {
        self.shared.clone()
    }

    /// A configuration has come. Returns whether it is good.
    pub fn on_configure(&mut self) -> bool {
        refresh_log_level();
        let bytes = abi::read_buffer(Buffer::PluginConfiguration, 0, MAX_CONFIGURATION).unwrap_or_default();
        // A new VM serves requests before its first tick, and the calendar may have stepped since the process began.
        clock::read_wall(clock::now());
        match config::load(&bytes, &environment) {
            Ok(config) => {
                if self.shared.is_none() {
                    log::info!("version {VERSION}, {}", COMMIT.unwrap_or("not a release"));
                }
                let (models, targets) = (config.models().len(), config.targets().len());
                if !config.route_strips_headers {
                    log::info!(
                        "the filter removes private headers; the route can do it for less CPU (route_strips_headers)"
                    );
                }
                let shared = Rc::new(Shared::new(config, envoy_version()));
                self.report_memory(&shared);
                match abi::set_tick(TICK) {
                    Ok(()) => {
                        clock::start_ticking();
                        shared.start_ticking();
                    }
                    Err(error) => log::error!("the host grants no timer (status {})", error.0),
                }
                self.shared = Some(shared);
                log::debug!("configuration loaded: {models} models, {targets} targets");
                true
            }
            Err(mistakes) => {
                for line in mistakes.to_string().lines() {
                    log::error!("{line}");
                }
                log::debug!("configuration of {} bytes refused", bytes.len());
                false
            }
        }
    }

    /// The timer.
    pub fn on_tick(&mut self) {
        refresh_log_level();
        let Some(shared) = self.shared.clone() else { return };
        let now = clock::now();
        clock::read_wall(now);
        if let Some(pause) = clock::pause_before_tick(now) {
            log::debug!("the worker could do nothing for {} ms", pause.as_millis());
            stream::excuse(pause, now);
        }
        let orphans = shared.tick(now);
        orphans.iter().for_each(stream::log_record);
        stream::wake_due(now);
        self.report_memory(&shared);
        stream::sweep(now);
    }
}

/// Streams were put into the queue that wakes them.
pub fn on_queue_ready(queue: u32) {
    while let Ok(item) = abi::dequeue(queue) {
        match item.try_into() {
            Ok(id) => stream::release(u32::from_le_bytes(id)),
            Err(_) => stream::wake_queued(),
        }
    }
}

/// Envoy's version as its node says it: three numbers.
fn envoy_version() -> Option<String> {
    let number = |part: &str| {
        let path = format!("xds\0node\0user_agent_build_version\0version\0{part}");
        abi::property(&path).and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)))
    };
    let (major, minor, patch) =
        (number("major_number")?, number("minor_number")?, number("patch").unwrap_or_default());
    Some(format!("{major}.{minor}.{patch}"))
}

/// Reads the environment: provider keys, while a configuration is loaded. Nothing else reads it.
#[allow(clippy::disallowed_methods)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
