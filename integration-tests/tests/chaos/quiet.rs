//! What must hold once all faults have ended.

use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::envoy::Envoy;
use tokio::task::JoinSet;

use super::clients::{End, What};
use super::gateway::MAX_PENDING;

/// Waits until everything is as at the start: no request is under way, no place is taken, every breaker is closed, and every
/// target answers.
pub async fn recover(envoy: &Envoy) {
    let deadline = Instant::now() + SOON;
    loop {
        let mut missing = Vec::new();
        for what in What::of_targets() {
            let read = what.request("hello").ask(envoy.port()).await;
            let end = what.judge(&read);
            if end != End::Complete {
                missing.push(format!("{what:?}: {end:?}"));
            }
        }
        missing.extend(taken_places(envoy.port()).await);
        missing.extend(not_zero(envoy).await);
        if missing.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "all is not well {SOON:?} after the faults: {missing:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// As many requests at the same time as `max_pending` allows. A place that is still taken has one of them refused.
async fn taken_places(port: u16) -> Vec<String> {
    let what = What { path: "/v1/chat/completions", model: "local", stream: false };
    let mut at_once = JoinSet::new();
    for _ in 0..MAX_PENDING {
        at_once.spawn(async move { what.judge(&what.request("hello").ask(port).await) });
    }
    let ends = at_once.join_all().await.into_iter();
    ends.filter(|end| *end != End::Complete).map(|end| format!("a place: {end:?}")).collect()
}

/// Gauges that must be 0 while nothing happens, and are not.
async fn not_zero(envoy: &Envoy) -> Vec<String> {
    const GAUGES: [&str; 7] = [
        "llm_failsafe_journeys",
        "llm_failsafe_attempts_in_flight",
        "llm_failsafe_waiting",
        "llm_failsafe_waiting_by_model",
        "llm_failsafe_held_bytes",
        "llm_failsafe_breaker_state",
        "http.inner.downstream_rq_active",
    ];
    // Waits until the filter has reported its gauges.
    envoy.count("journeys").await;
    let stats = envoy.admin("/stats").await;
    let is_gauge = |name: &str| {
        let name = name.split(';').next().unwrap_or(name);
        GAUGES.iter().any(|gauge| name.ends_with(gauge))
    };
    let lines = stats.lines().filter(|line| line.rsplit_once(": ").is_some_and(|(name, _)| is_gauge(name)));
    lines.filter(|line| !line.ends_with(": 0")).map(str::to_owned).collect()
}

/// Memory in the quiet phases.
#[derive(Debug, Default)]
pub struct Memory {
    samples: Vec<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    resident_mb: u64,
    wasm_kb: u64,
}

/// What later rounds may take more than the first two, in which Envoy warms up.
const MORE_RESIDENT_MB: u64 = 50;
const MORE_WASM_KB: u64 = 512;

impl Memory {
    pub async fn sample(&mut self, envoy: &Envoy) {
        let resident = envoy.resident_bytes() as u64;
        let wasm = envoy.count("wasm_memory_bytes").await;
        let sample = Sample { resident_mb: resident >> 20, wasm_kb: wasm / 1024 };
        println!("chaos: {sample:?}");
        self.samples.push(sample);
    }

    /// Checks that the last rounds took no more than the first ones.
    pub fn assert_flat(&self) {
        let (warm, later) = self.samples.split_at(self.samples.len().min(2));
        let most = |samples: &[Sample], of: fn(&Sample) -> u64| samples.iter().map(of).max().unwrap_or(0);
        let more = |of| most(later, of).saturating_sub(most(warm, of));
        assert!(more(|sample| sample.resident_mb) <= MORE_RESIDENT_MB, "{:#?}", self.samples);
        assert!(more(|sample| sample.wasm_kb) <= MORE_WASM_KB, "{:#?}", self.samples);
    }
}
