//! What operators can see: the catalogue of metrics.
//!
//! Names and kinds stand in one place. Values are collected as deltas while a callback decides and handed to the host
//! afterwards, so the core needs no host to count.

mod metrics;
pub mod orders;
pub mod status;

/// The operators' page: one file with its own style and script, and without data.
pub const PAGE: &str = include_str!("page.html");

pub use metrics::{Metric, MetricKind, Tally};
