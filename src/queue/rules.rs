//! Whether a request may wait, and until when.

use std::rc::Rc;

use super::{Joining, Queues};
use crate::base::Timestamp;
use crate::config::QueuePolicy;
use crate::intake::ClientRequest;
use crate::survey::{FreeAt, Survey};

/// Whether a first attempt that no target can take now waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// It waits until then.
    Until(Timestamp),
    /// It does not: its model has no queue, or no target would be free in time.
    No,
    /// It would, but the queue is full.
    QueueFull,
}

/// The queue policy of a request: that of its model, or the defaults. A model without a queue still queues
/// later attempts.
fn policy(request: &ClientRequest) -> QueuePolicy {
    request.model().and_then(|model| model.retry.queue).unwrap_or_default()
}

impl Queues {
    /// Whether one more request of this size may wait.
    pub fn may_wait(&self, request: &ClientRequest) -> bool {
        let (policy, bytes) = (policy(request), request.facts.body_bytes);
        request.model().is_none_or(|model| self.has_room(&model.name, &policy, bytes))
    }

    /// Whether requests wait that a new one must not overtake. In a model without a queue only later
    /// attempts wait, and they are not ahead of a new request.
    pub fn are_ahead_of(&self, survey: &Survey<'_>) -> bool {
        let model = survey.model();
        !self.is_empty()
            && model.retry.queue.is_some()
            && self.has_waiting(&model.name)
            && self.is_ahead(&model.name, survey.targets_mark(), survey.request.priority)
    }

    /// Whether a first attempt that no target can take now waits.
    pub fn first_attempt_waits(&self, survey: &Survey<'_>) -> Waiting {
        let Some(policy) = survey.model().retry.queue else { return Waiting::No };
        let until = survey.now.after(policy.max_wait).min(survey.request.deadline());
        let in_time = match survey.free_at() {
            FreeAt::Now => true,
            FreeAt::At(at) => at < until,
            FreeAt::Unknown => false,
        };
        if !in_time {
            return Waiting::No;
        }
        if self.may_wait(survey.request) { Waiting::Until(until) } else { Waiting::QueueFull }
    }
}

impl Joining {
    /// Describes the request of this survey.
    pub fn of(survey: &Survey<'_>) -> Self {
        Self {
            model: Rc::clone(&survey.model().name),
            targets: survey.targets_mark(),
            policy: policy(survey.request),
            priority: survey.request.priority,
            bytes: survey.request.facts.body_bytes,
            for_concurrency: survey.is_short_of_concurrency(),
        }
    }
}

/// Until when a later attempt is held at most that is to be tried at `at`. Another request may take the
/// free place at `at`.
pub fn held_until(request: &ClientRequest, at: Timestamp, now: Timestamp) -> Timestamp {
    let cap = request.model().map(|model| model.retry).unwrap_or_default().retry_after_cap;
    now.after(cap).min(request.deadline()).max(at)
}
