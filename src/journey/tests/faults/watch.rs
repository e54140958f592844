//! What the journeys of a case are checked against.

use std::collections::HashSet;

use super::super::super::test_support::*;
use crate::base::Timestamp;
use crate::record::Metric;

/// The interval of the worker's ticks.
pub(super) const TICK_MS: u64 = 100;
/// The resolution of everything else.
pub(super) const STEP_MS: u64 = 10;
/// Two tokens of prompt and 96 of the response.
pub(super) const ESTIMATE: u64 = 98;

/// Gauges that have to be back at zero in the end.
pub(super) const GAUGES: [Metric; 3] = [Metric::Journeys, Metric::Waiting, Metric::AttemptsInFlight];

/// What the journeys are checked against.
pub(super) struct Watch {
    pub(super) attempts: usize,
    pub(super) attempts_per_target: usize,
    pub(super) total_ms: u64,
    /// Targets that an operator has forced open.
    pub(super) forced_open: HashSet<&'static str>,
    /// Accounts whose credential or quota was refused.
    pub(super) blocked: HashSet<&'static str>,
    pub(super) records: usize,
    pub(super) gauges: [i64; GAUGES.len()],
    /// What the attempts have cost, at least and at most.
    pub(super) cost: (u64, u64),
    /// No budget was lost, and no reservation.
    pub(super) budget_is_certain: bool,
    /// For how long nothing could be done, in all.
    pub(super) paused_ms: u64,
}

pub(super) const fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + ms)
}
