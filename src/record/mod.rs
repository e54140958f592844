//! What operators see: metrics, the record of each request, the status report and the operators' page.
//!
//! **Metrics.** Names and kinds are in one catalogue. Counts are collected as deltas during a callback and
//! passed to the host afterwards, so the core can count without a host.
//!
//! **Records.** A record explains every decision about its request. It is collected as plain values
//! ([`RecordBuilder`]) and becomes text once, at the request's end, and only if it is wanted ([`Record`]). It
//! contains no prompt, no response text and no key.

mod build;
mod builder;
mod decision;
mod metric_kind;
mod metrics;
pub mod orders;
mod series;
pub mod status;

/// The operators' page: one file with its own style and script, and without data.
pub const PAGE: &str = include_str!("page.html");

pub use build::{NO_NEXT_ATTEMPT, REQUEST_INCOMPLETE, RequestResult};
pub use builder::{
    AttemptEnd, AttemptEntry, AttemptStart, CandidateBuilder, Identity, RecordBuilder, RequestedModel,
};
pub use decision::{
    AttemptRecord, CandidateRecord, ClosedGate, Cost, Cut, MAX_ATTEMPTS, MAX_CANDIDATES, MAX_GATE_TEXT,
    MAX_GATES, MAX_RECORD_BYTES, NeedsRecord, PolicyRecord, ProviderError, Record, SCHEMA_VERSION,
    StreamRecord, Text, UsageRecord,
};
pub use metric_kind::MetricKind;
pub use metrics::{Metric, Sample, Tally};
pub use series::{
    CHANGES, Dim, ENDS, Family, MAX_SERIES, ORDERS, OUTCOMES, REASONS, Series, TOKENS, class_place, place,
};

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
