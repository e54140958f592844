//! What remains for a request: whether any target may still be asked, and when.

use super::look::{Asked, Look};
use super::row::{Round, Row};
use super::tried::Progress;
use super::{Obstacle, Survey};
use crate::balance::{LimitKind, Room, Shortage};
use crate::base::{TargetId, Timestamp, mix};
use crate::breaker::{Availability, Unavailable};
use crate::config::{Mode, SlowStartAlone, WhenAllOpen};
use crate::intake::ClientRequest;
use crate::retry::{Reach, RemainingOptions};

/// When a request could be sent that no target can take now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreeAt {
    /// A target can take it now.
    Now,
    /// A target may be able to take it from then on.
    At(Timestamp),
    /// The time is unknown.
    Unknown,
}

impl Survey<'_> {
    /// What remains after the attempt at `failed` has failed.
    pub fn remaining(&self, failed: TargetId) -> RemainingOptions {
        self.remaining_of(failed, Row::is_candidate)
    }

    /// The same without the spend ceiling.
    pub fn remaining_at_any_cost(&self, failed: TargetId) -> RemainingOptions {
        self.remaining_of(failed, Row::would_be_candidate)
    }

    fn remaining_of(&self, failed: TargetId, is_candidate: fn(&Row, Round) -> bool) -> RemainingOptions {
        let ignores_health = self.asked.ignores_health();
        let may = |row: &Row| ignores_health || row.fitness().is_ok();
        let its_tier = self.row(failed).map(|row| row.tier);
        let reach = |row: &Row| if its_tier == Some(row.tier) { Reach::Account } else { Reach::Tier };
        let queues_starts = self.slow_start_alone() == SlowStartAlone::Queue;
        let throttled_until = |row: &Row| match row.fitness() {
            Err(Obstacle::Unavailable(Unavailable::Throttled { until })) => Some(until),
            Err(Obstacle::Unavailable(Unavailable::SlowStart { until })) if queues_starts => Some(until),
            Err(Obstacle::Limit(shortage)) => Some(shortage.retry_at(self.now)),
            _ => None,
        };
        let either = |row: &&Row| is_candidate(row, Round::Untried) || is_candidate(row, Round::Returning);
        RemainingOptions {
            elsewhere: self.rows.iter().find(|row| is_candidate(row, Round::Untried) && may(row)).map(reach),
            same: self.row(failed).is_some_and(|row| is_candidate(row, Round::Returning) && may(row)),
            free_at: self.rows.iter().filter(either).filter_map(throttled_until).min(),
        }
    }

    /// Whether a target other than this one is healthy and can take the request now.
    pub fn has_healthy_besides(&self, target: TargetId) -> bool {
        self.candidates(Round::Untried)
            .any(|row| row.target != target && matches!(row.fitness(), Ok(Availability::Available { .. })))
    }

    /// When a request that no target can take now could be sent. A rate limit ends by itself. Requests wait
    /// for an open breaker only if the model says `when_all_open: queue`, and for a slow start only if
    /// `slow_start_alone` says so.
    pub fn free_at(&self) -> FreeAt {
        let mut soonest = FreeAt::Unknown;
        for row in self.candidates(Round::Untried) {
            let until = match row.fitness() {
                Ok(_) => return FreeAt::Now,
                Err(Obstacle::Limit(shortage)) => Some(shortage.retry_at(self.now)),
                Err(Obstacle::Unavailable(unfit)) => {
                    let waits = match unfit {
                        Unavailable::SlowStart { .. } => self.slow_start_alone() == SlowStartAlone::Queue,
                        other => self.asked.waits_for(other),
                    };
                    if waits { unfit.until() } else { None }
                }
                Err(_) => None,
            };
            soonest = match (soonest, until) {
                (FreeAt::At(one), Some(other)) => FreeAt::At(one.min(other)),
                (_, Some(other)) => FreeAt::At(other),
                (soonest, None) => soonest,
            };
        }
        soonest
    }

    /// When the first target may be asked again. `None` if one may be asked now, or if the time is unknown.
    pub fn soonest(&self) -> Option<Timestamp> {
        if self.asked.has_options(|good| self.rows.iter().any(good)) {
            return None;
        }
        self.obstacles().filter_map(|(_, obstacle)| obstacle.until()).min()
    }

    /// A hash of the targets that may take the request, now or later. Requests with the same mark wait in
    /// one queue.
    pub fn targets_mark(&self) -> u64 {
        let may = |row: &&Row| row.is_candidate(Round::Untried) || row.is_candidate(Round::Returning);
        let targets = self.rows.iter().filter(may).map(|row| row.target.index() as u64);
        targets.fold(0, |mark, target| mix(mark ^ mix(target.wrapping_add(1))))
    }

    /// Whether a target cannot take the request only because of its attempts under way (`max_pending`).
    pub fn is_short_of_concurrency(&self) -> bool {
        self.all_candidates().any(|row| {
            matches!(row.fitness(), Err(Obstacle::Limit(Shortage { of: LimitKind::MaxPending, .. })))
        })
    }
}

/// Whether a further attempt would have a target, if the attempt under way failed now. Looks at no more targets
/// than that takes.
pub fn has_options(request: &ClientRequest, progress: Progress<'_>, now: Timestamp) -> bool {
    Asked::of(request, progress, now)
        .is_some_and(|asked| asked.has_options(|good| Look::at(asked).rows().any(|row| good(&row))))
}

/// Whether a target can take the request at `by` or before, as far as is known now. Looks at no more targets than
/// that takes.
pub fn can_be_free(request: &ClientRequest, progress: Progress<'_>, by: Timestamp, now: Timestamp) -> bool {
    Asked::of(request, progress, now).is_some_and(|asked| {
        Look::at(asked).rows().any(|row| {
            let is_candidate = row.is_candidate(Round::Untried) || row.is_candidate(Round::Returning);
            is_candidate && asked.can_be_free(&row, by)
        })
    })
}

impl Asked<'_> {
    fn can_be_free(&self, row: &Row, by: Timestamp) -> bool {
        let full = match row.room {
            Room::Full(shortage) => Some(shortage.retry_at(self.now)),
            Room::Fits { .. } => None,
        };
        let unhealthy = match row.health {
            Availability::Unavailable(_) if self.ignores_health() => None,
            Availability::Unavailable(unfit) if !self.waits_for(unfit) => return false,
            Availability::Unavailable(unfit) => match unfit.until() {
                Some(until) => Some(until),
                None => return false,
            },
            _ => None,
        };
        // Without an obstacle it is free now.
        full.max(unhealthy).is_none_or(|from| from <= by)
    }

    /// Whether requests wait for a target that is not healthy for this reason.
    fn waits_for(&self, unfit: Unavailable) -> bool {
        match unfit {
            Unavailable::Throttled { .. } | Unavailable::SlowStart { .. } => true,
            _ => self.model.when_all_open == WhenAllOpen::Queue,
        }
    }

    /// `any` says whether a question holds for any target. It is asked only if the last target may not be
    /// asked again.
    fn has_options(&self, any: impl FnOnce(&dyn Fn(&Row) -> bool) -> bool) -> bool {
        let ignores_health = self.ignores_health();
        let mut targets = self.model.tiers.iter().flatten();
        let last = self.progress.tried.last().filter(|last| targets.any(|target| *target == last.target));
        last.is_some_and(|last| self.attempts_at(last.target) < self.model.retry.attempts_per_target)
            || any(&|row| row.is_candidate(Round::Untried) && (ignores_health || row.fitness().is_ok()))
    }

    /// Whether targets are asked whatever their health.
    fn ignores_health(&self) -> bool {
        self.request.config().mode == Mode::Shadow || self.model.when_all_open == WhenAllOpen::TryAnyway
    }
}
