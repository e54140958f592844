//! The latency of a stream for one client at a time, so that no queueing is measured.

use std::time::Duration;

use crate::load::Load;
use crate::provider::Provider;
use crate::setup::Running;

const ROUNDS: usize = 60;
const WARM_UP: usize = 5;
const CHUNKS: usize = 50;

/// The latencies of one set-up in microseconds.
#[derive(Default)]
pub struct Latency {
    /// From sending a request to its first content.
    first: Vec<f64>,
    /// From each chunk to the next. The provider sends it as soon as the client has received the previous one.
    chunk: Vec<f64>,
}

impl Latency {
    /// This percentile of the wait for the first content.
    pub fn first(&self, percent: usize) -> f64 {
        percentile(&self.first, percent)
    }

    /// The same for later chunks.
    pub fn chunk(&self, percent: usize) -> f64 {
        percentile(&self.chunk, percent)
    }

    fn add(&mut self, came: &[Duration]) {
        let micros = |wait: Duration| wait.as_secs_f64() * 1e6;
        self.first.extend(came.first().copied().map(micros));
        self.chunk.extend(came.windows(2).map(|two| micros(two[1].saturating_sub(two[0]))));
    }
}

/// The set-ups take turns. Each round begins with a different one.
pub async fn measure(provider: &Provider, setups: &[Running]) -> Vec<Latency> {
    let mut loads = Vec::new();
    for running in setups {
        loads.push(Load::connect(running.envoy.port(), provider).await);
    }
    let mut all: Vec<_> = setups.iter().map(|_| Latency::default()).collect();
    for round in 0..ROUNDS {
        for turn in 0..setups.len() {
            let at = (round + turn) % setups.len();
            let came = loads[at].timed_stream(CHUNKS).await;
            if round >= WARM_UP {
                all[at].add(&came);
            }
        }
    }
    all
}

fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) * percent / 100]
}
