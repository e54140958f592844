//! The ids of the metrics in Envoy, and the hand-over of what was counted.
//!
//! A gauge is one value of the whole process. If each VM moved it by what it counts, the share of a VM that has crashed
//! would stay in it. So each VM keeps its own [`Levels`], tells the others, and sets the gauge to the sum.

use std::cell::Cell;

use super::abi;
use crate::breaker::Levels;
use crate::config::Config;
use crate::record::{Metric, MetricKind, Sample, Series, Tally};

thread_local! {
    /// What this VM has now, over all its configurations.
    static LEVELS: Cell<Levels> = Cell::default();
}

/// What this VM has now.
pub fn levels() -> Levels {
    LEVELS.get()
}

fn move_level(gauge: Metric, delta: i64) {
    let mut levels = LEVELS.get();
    let level = match gauge {
        Metric::AttemptsInFlight => &mut levels.attempts,
        Metric::Waiting => &mut levels.waiting,
        Metric::Journeys => &mut levels.journeys,
        Metric::HeldBytes => {
            levels.held_bytes = levels.held_bytes.saturating_add_signed(delta);
            LEVELS.set(levels);
            return;
        }
        _ => return,
    };
    *level = u32::try_from(i64::from(*level).saturating_add(delta).max(0)).unwrap_or(u32::MAX);
    LEVELS.set(levels);
}

/// The metrics of one configuration. A metric that Envoy does not define has no id and is not handed over.
pub struct Metrics {
    ids: [Option<u32>; Metric::ALL.len()],
    /// The metrics with labels, by their numbers.
    series: Vec<Option<u32>>,
}

impl Metrics {
    /// Defines all metrics.
    pub fn define(series: &Series, config: &Config) -> Self {
        let mut ids = [None; Metric::ALL.len()];
        for (slot, metric) in ids.iter_mut().zip(Metric::ALL) {
            *slot = abi::define_metric(metric.kind(), metric.name()).ok();
        }
        let mut with_labels = Vec::with_capacity(series.len());
        series.define(config, |kind, name| with_labels.push(abi::define_metric(kind, name).ok()));
        Self { ids, series: with_labels }
    }

    fn id(&self, metric: Metric) -> Option<u32> {
        self.ids.get(metric as usize).copied().flatten()
    }

    /// Sets the gauges to what this VM and the others have.
    pub fn show_levels(&self, others: Levels) {
        let Levels { attempts, waiting, journeys, held_bytes } = levels().plus(others);
        let all = [
            (Metric::AttemptsInFlight, attempts.into()),
            (Metric::Waiting, waiting.into()),
            (Metric::Journeys, journeys.into()),
            (Metric::HeldBytes, held_bytes),
        ];
        for (gauge, level) in all {
            if let Some(id) = self.id(gauge) {
                let _ = abi::record_metric(id, level);
            }
        }
    }

    /// Hands over what has been counted.
    pub fn flush(&self, tally: &mut Tally) {
        tally.drain(|metric, delta| {
            if metric.kind() == MetricKind::Gauge {
                move_level(metric, delta);
            } else if let Some(id) = self.id(metric) {
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

    /// Raises a gauge to `value`, unless it is higher already.
    pub fn raise(&self, gauge: Metric, value: u64) {
        if let Some(id) = self.id(gauge) {
            let _ = abi::raise_gauge(id, value);
        }
    }
}
