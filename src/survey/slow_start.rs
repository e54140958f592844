//! A target in slow start that is alone: no other target can take the requests above its share.
//!
//! Then as many requests start as its breakers allow for now, and the rest waits or is refused. A survey shows such
//! a target as unavailable until the next request may start, so that the choice, the queue and the refusals follow.

use super::Survey;
use super::row::{Round, Row};
use crate::base::TargetId;
use crate::breaker::{Availability, Unavailable};
use crate::config::{Mode, SlowStartAlone};
use crate::generation::next_start;

impl Survey<'_> {
    /// What happens to requests that only a target in slow start can take.
    pub(super) fn slow_start_alone(&self) -> SlowStartAlone {
        let config = self.request.config();
        match config.breaker.slow_start_alone {
            _ if config.mode == Mode::Shadow => SlowStartAlone::Pass,
            SlowStartAlone::Queue if self.model().retry.queue.is_none() => SlowStartAlone::Pass,
            rule => rule,
        }
    }

    /// Whether an attempt at `target` has to be counted as one that starts without another target beside it.
    pub fn starts_alone(&self, target: TargetId) -> bool {
        self.row(target).is_some_and(is_in_slow_start) && self.has_only_recovering()
    }

    /// Whether a target would get the request but for its slow start.
    pub fn waits_for_slow_start(&self) -> bool {
        self.all_candidates()
            .any(|row| matches!(row.health, Availability::Unavailable(Unavailable::SlowStart { .. })))
    }

    /// Makes targets unavailable whose slow start allows no further attempt for now, if no other target can take
    /// the request.
    pub(super) fn hold_back_starts(&mut self) {
        if self.rows.iter().any(is_in_slow_start) && self.has_only_recovering() {
            self.hold_back_each();
        }
    }

    #[cold]
    fn hold_back_each(&mut self) {
        let (generation, family) = (&*self.request.generation, self.request.endpoint.family());
        let view = generation.health_view.borrow();
        for row in self.rows.iter_mut().filter(|row| is_in_slow_start(row)) {
            if let Some(until) = next_start(&view, &generation.config, (row.target, family), self.now) {
                row.health = Availability::Unavailable(Unavailable::SlowStart { until });
            }
        }
    }

    #[cold]
    fn has_only_recovering(&self) -> bool {
        let has_full_share =
            |row: &Row| matches!(row.fitness(), Ok(Availability::Available { permille: 1000.. }));
        self.slow_start_alone() != SlowStartAlone::Pass
            && !self.candidates(Round::Untried).any(has_full_share)
    }
}

const fn is_in_slow_start(row: &Row) -> bool {
    matches!(row.health, Availability::Available { permille: ..1000 })
}
