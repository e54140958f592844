//! What operators can see: the catalogue of metrics.
//!
//! Names and kinds stand in one place. Values are collected as deltas while a callback decides and handed to the host
//! afterwards, so the core needs no host to count.

mod metrics;

pub use metrics::{Metric, MetricKind, Tally};
