//! What operators can see: the catalogue of metrics, and the record of each request from which every decision about it can be
//! explained.
//!
//! Names and kinds of metrics stand in one place. Values are collected as deltas while a callback decides and handed to the
//! host afterwards, so the core needs no host to count.
//!
//! A record is collected as plain values ([`RecordBuilder`]) and becomes text once, at the request's end, and only if anybody wants it
//! ([`Record`]). It refuses to hold what was said: no prompt, no answer, no key.

mod build;
mod builder;
mod decision;
mod metrics;
pub mod orders;
mod series;
pub mod status;

/// The operators' page: one file with its own style and script, and without data.
pub const PAGE: &str = include_str!("page.html");

pub use build::{NO_NEXT_ATTEMPT, Outcome, REQUEST_INCOMPLETE};
pub use builder::{
    AnsweredBy, Asked, AttemptBuilder, AttemptEnd, CandidateBuilder, Identity, RecordBuilder, StreamFacts,
};
pub use decision::{
    Attempt, Candidate, ClosedGate, Cost, Cut, MAX_ATTEMPTS, MAX_CANDIDATES, MAX_GATE_TEXT, MAX_GATES,
    MAX_ID, MAX_RECORD_BYTES, Needs, Policy, ProviderError, Record, SCHEMA_VERSION, Stream, Text, Usage,
};
pub use metrics::{Metric, MetricKind, Sample, Tally};
pub use series::{
    CHANGES, Dim, ENDS, Family, MAX_SERIES, ORDERS, OUTCOMES, REASONS, Series, TOKENS, class_place, place,
};

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
