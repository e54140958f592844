//! What a target is told about answers that begin, and about those that do not begin before the client leaves.
//!
//! One client that leaves blames no target. Several in a row that waited, and got nothing, have it probed
//! (`src/breaker/unanswered.rs`). So each request has to be evidence by itself: it waited for some time, no
//! earlier attempt of it counted there, and it is known whose it is.

use std::time::Duration;

use super::exchange::Sent;
use super::worker::Worker;
use crate::admission;
use crate::base::{ErrorClass, Timestamp};
use crate::breaker::{Blame, HealthSignal, Keys};
use crate::outcome::{End, Outcome};
use crate::survey::Survey;

/// A client that leaves earlier has not waited.
const LEAST_WAIT: Duration = Duration::from_secs(1);

impl Sent {
    /// The target has begun to answer. `is_good` unless what has come is no answer that a client could get.
    pub(super) fn answer_begins(&self, worker: &mut Worker, is_good: bool, now: Timestamp) {
        let (journey, target) = (self.journey.borrow(), self.attempt.start().target);
        admission::answer_begins(&journey.request, target, is_good, &mut worker.effects(), now);
    }

    /// Tells the target if its answer began without content, and completes the blame of a client that left.
    pub(super) fn complete_blame(
        &self,
        worker: &mut Worker,
        outcome: &Outcome,
        blame: Blame,
        now: Timestamp,
    ) -> Blame {
        // An answer with content was told of when the content came.
        let began = self.attempt.awaits_content() && self.has_begun(outcome.end);
        if began {
            self.answer_begins(worker, outcome.end == End::Complete, now);
        }
        if !matches!(blame.target, HealthSignal::Unanswered(_)) {
            return blame;
        }
        let is_silent = self.attempt.awaits_content() && !began && outcome.took >= LEAST_WAIT;
        let whose = if is_silent { self.whose(now) } else { None };
        whose.map_or(Blame::NEUTRAL, Blame::unanswered)
    }

    /// Whether anything of an answer has come before this end. Headers alone are none, unless they are a
    /// failure.
    fn has_begun(&self, end: End) -> bool {
        match end {
            End::Complete => true,
            End::ClientGone | End::Failed(ErrorClass::Timeout | ErrorClass::HopClosed) => {
                self.attempt.has_body()
            }
            End::Withdrawn | End::Failed(ErrorClass::Transport) => false,
            End::Failed(_) => true,
        }
    }

    /// Whose request it is, if it may be evidence. Anyone can have many addresses, so those count only while
    /// another target is healthy.
    #[cold]
    fn whose(&self, now: Timestamp) -> Option<Keys> {
        let (journey, start) = (self.journey.borrow(), self.attempt.start());
        if journey.request.config().breaker.unanswered == 0 {
            return None;
        }
        if journey.tried().iter().take(start.slot).any(|earlier| earlier.target == start.target) {
            return None;
        }
        let request = &*journey.request;
        if let Some(key) = request.client_key() {
            return Some(Keys::of(&key.digests.first));
        }
        let address = request.address?;
        Survey::afresh(request, now)?.has_healthy_besides(start.target).then(|| Keys::of_hash(address))
    }
}
