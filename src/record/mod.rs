//! What operators see: metrics, the record of each request, the status report and the operators' page.
//!
//! **Metrics.** Names and kinds are in one catalogue. Counts are collected as deltas during a callback and
//! passed to the host afterwards, so the core can count without a host.
//!
//! **Records.** A record explains every decision about its request. It is collected as plain values
//! ([`RecordBuilder`]) and becomes text once, at the request's end, and only if it is wanted. What depends on
//! the configuration alone is text already ([`Fragments`]). [`Record`] is what a reader sees. A record
//! contains no prompt, no response text and no key.

mod builder;
mod decision;
mod fragments;
mod line;
mod metric_kind;
mod metrics;
pub mod orders;
mod redaction;
#[cfg(test)]
mod reference;
mod result;
mod series;
pub mod status;
mod write;

/// The operators' page: one file with its own style and script, and without data.
pub const PAGE: &str = include_str!("page.html");

pub use builder::{
    AttemptEnd, AttemptEntry, AttemptStart, CandidateBuilder, Identity, RecordBuilder, RequestedModel, Trace,
};
pub use decision::{
    AttemptRecord, CandidateRecord, ClosedGate, Cost, Cut, MAX_ATTEMPTS, MAX_CANDIDATES, MAX_GATE_TEXT,
    MAX_GATES, MAX_RECORD_BYTES, NeedsRecord, PolicyRecord, ProviderError, Record, SCHEMA_VERSION,
    StreamRecord, Text, UsageRecord,
};
pub use fragments::Fragments;
pub use metric_kind::MetricKind;
pub use metrics::{Metric, Sample, Tally};
pub use result::{NO_NEXT_ATTEMPT, REQUEST_INCOMPLETE, RequestResult};
pub use series::{
    CHANGES, Dim, ENDS, Family, MAX_SERIES, ORDERS, OUTCOMES, REASONS, Series, TOKENS, class_place, place,
};

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;

#[cfg(test)]
mod write_tests;
