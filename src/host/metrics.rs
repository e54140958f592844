//! The ids of the metrics in Envoy, and the hand-over of what was counted.

use super::abi;
use crate::config::Config;
use crate::record::{Metric, Sample, Series, Tally};

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

    /// Hands over what has been counted.
    pub fn flush(&self, tally: &mut Tally) {
        tally.drain(|metric, delta| {
            if let Some(id) = self.id(metric) {
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
