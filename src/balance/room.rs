//! How much room the limits of a target leave for a request.

use super::configured::ConfiguredLimits;
use super::demand::Demand;
use super::reported::ReportedLimits;
use crate::base::{TargetId, Timestamp, Tokens, saturating_product};
use crate::config::Quota;
use crate::provider::Meter;

/// A target keeps its full weight while at least this share of a limit is left, in 1/1000.
const FULL_WEIGHT_PERMILLE: u64 = 200;
/// The smallest share of its weight that a target keeps while requests fit, in 1/1000.
const MIN_WEIGHT_PERMILLE: u64 = 50;
/// One part in this many of a limit stays unused while several workers send. They learn of each other's
/// requests up to a tick late.
const RESERVE: u64 = 20;
/// Load in flight, over all workers.
pub trait InFlight {
    /// Attempts in flight at a target.
    fn attempts(&self, target: TargetId) -> u32;
    /// Attempts at a target that have no response yet, and their tokens.
    fn unanswered(&self, target: TargetId) -> (u32, Tokens);
    /// Whether no other worker is sending.
    fn is_only_worker(&self) -> bool;
}

/// How much room a target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// The request fits.
    Fits {
        /// The share of its weight that the target has left, 1 to 1000.
        permille: u16,
    },
    /// The request does not fit.
    Full(Shortage),
}

/// Why a request does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// Which limit is exhausted.
    pub of: LimitKind,
    /// When the request may fit.
    pub until: Timestamp,
}

impl Shortage {
    /// When a queued request should try again. Attempts in flight may end at any moment.
    pub fn retry_at(&self, now: Timestamp) -> Timestamp {
        match self.of {
            LimitKind::Headroom => self.until,
            LimitKind::MaxPending => now,
        }
    }
}

/// The kinds of limit that can be exhausted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// A limit on requests or tokens.
    Headroom,
    /// The limit on attempts in flight.
    MaxPending,
}

impl LimitKind {
    /// The name shown to clients and operators.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Headroom => "headroom",
            Self::MaxPending => "max_pending",
        }
    }
}

/// The room that the limits leave which the provider reports.
pub(super) fn within_reported(
    reported: &ReportedLimits,
    targets: &[TargetId],
    demand: Demand,
    in_flight: &impl InFlight,
    now: Timestamp,
) -> Room {
    let mut room = Room::Fits { permille: 1000 };
    // Under way without a response, so the provider may not have counted it yet.
    let unanswered = targets.iter().fold(Demand::NOTHING, |sum, target| {
        let (requests, tokens) = in_flight.unanswered(*target);
        sum.plus(Demand::of_several(requests.into(), tokens))
    });
    for meter in Meter::ALL {
        let Some(left) = reported.left(meter, now) else { continue };
        let unanswered = unanswered.at(meter);
        let reserve = match left.limit {
            Some(limit) if !in_flight.is_only_worker() => limit / RESERVE,
            _ => 0,
        };
        let taken = unanswered.saturating_add(reserve);
        room = room.and(match left.remaining.saturating_sub(taken).checked_sub(demand.at(meter)) {
            // The limit is full and the request still does not fit: let the provider refuse it.
            None if left.limit.is_some_and(|limit| left.remaining >= limit) && unanswered == 0 => {
                Room::Fits { permille: 1000 }
            }
            None => Room::Full(Shortage { of: LimitKind::Headroom, until: left.reset.max(now) }),
            Some(rest) => Room::share(rest, left.limit),
        });
    }
    room
}

/// The room that configured limits leave.
pub(super) fn within_configured(
    quota: &Quota,
    counts: &ConfiguredLimits,
    demand: Demand,
    now: Timestamp,
) -> Room {
    if !quota.counts_anything() {
        return Room::Fits { permille: 1000 };
    }
    if let Some(until) = counts.minute().frees_at(quota, demand, now) {
        return Room::Full(Shortage { of: LimitKind::Headroom, until });
    }
    let (requests, tokens) = counts.minute().counts(now);
    let rest = |limit: Option<u64>, used: u64| {
        limit.map_or(Room::Fits { permille: 1000 }, |limit| {
            Room::share(limit.saturating_sub(used), Some(limit))
        })
    };
    rest(quota.requests_per_minute, requests.saturating_add(1))
        .and(rest(quota.tokens_per_minute, tokens.saturating_add(demand.total())))
}

impl Room {
    /// The room when `rest` of a limit is left after the request.
    pub(super) fn share(rest: u64, limit: Option<u64>) -> Self {
        let left = limit.map_or(1000, |limit| saturating_product(rest, 1000).checked_div(limit).unwrap_or(0));
        let share = saturating_product(left, 1000) / FULL_WEIGHT_PERMILLE;
        Self::Fits { permille: u16::try_from(share.clamp(MIN_WEIGHT_PERMILLE, 1000)).unwrap_or(1000) }
    }

    /// The smaller room. If both are full, the later one.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Fits { permille: one }, Self::Fits { permille: two }) => {
                Self::Fits { permille: one.min(two) }
            }
            (Self::Full(one), Self::Full(two)) => Self::Full(if two.until > one.until { two } else { one }),
            (Self::Full(one), _) | (_, Self::Full(one)) => Self::Full(one),
        }
    }
}
