//! What follows a failure of which the client has seen nothing: the edge starts another attempt, or the client gets it and
//! is told why nothing more was tried.

use super::advice::Again;
use super::attempt::{AnswerPhase, Attempt, status_after};
use super::flow::Passing;
use super::response::{RETRY_HEADER, ResponseStep};
use super::{Refusal, Worker, ineligible, recording};
use crate::base::{ErrorClass, HeaderSink, Timestamp};
use crate::breaker::Blame;
use crate::config::LastError;
use crate::record::{AttemptEnd, Metric};
use crate::request::BodyBuffer;
use crate::retry::{Failed, Next, Stop};

/// Why a client gets a failure after which the edge was to start another attempt: Envoy did not, or it would see nothing of
/// this answer.
const RETRY_DECLINED: &str = "retry_declined";

impl Attempt {
    /// The attempt failed: either the edge starts another one, or the client gets this failure.
    pub(super) fn fail(
        &mut self,
        worker: &mut Worker,
        failed: Failed,
        now: Timestamp,
        sink: &mut impl HeaderSink,
    ) -> ResponseStep {
        let next = self.failed(worker, failed, now);
        self.hand_on(worker, failed, next, now, sink);
        ResponseStep::Pass
    }

    /// Marks the answer for the edge, or makes it fit for the client.
    pub(super) fn hand_on(
        &mut self,
        worker: &mut Worker,
        failed: Failed,
        next: Next,
        now: Timestamp,
        sink: &mut impl HeaderSink,
    ) {
        // Disclosed in any case: when Envoy declines to retry, this is what the client gets.
        self.disclose(sink);
        self.answer = if goes_on(worker, next) {
            sink.set(RETRY_HEADER, failed.class.name());
            sink.set("x-llm-reason", RETRY_DECLINED);
            AnswerPhase::Discarded
        } else {
            let journey = self.journey.borrow();
            journey.advise(next, failed, now, sink);
            if next == Next::Stop(Stop::NothingLeft) {
                ineligible::tell(&journey, now, sink);
                ineligible::tell_shadow(&journey, worker, failed.class, now, sink);
            }
            drop(journey);
            AnswerPhase::Passed(Passing::Unread)
        };
    }

    /// The status of the error that takes the place of the provider's, where the operator wants that.
    pub(super) fn own_status(&self, next: Next, failed: Failed) -> Option<u16> {
        let journey = self.journey.borrow();
        let own = journey.model()?.retry.last_error == LastError::Own;
        match next {
            Next::Stop(stop) if own && stop.is_filter_decision() => Some(status_after(Some(failed.class))),
            _ => None,
        }
    }

    /// Notes a failure of which the client has seen nothing, and decides what follows.
    pub(super) fn failed(&mut self, worker: &mut Worker, failed: Failed, now: Timestamp) -> Next {
        self.failed_by(worker, failed, Blame::of(failed.class, failed.hint), now)
    }

    /// The same, where somebody else is to blame than such a failure says.
    pub(super) fn failed_by(
        &mut self,
        worker: &mut Worker,
        failed: Failed,
        blame: Blame,
        now: Timestamp,
    ) -> Next {
        worker.tally.count(Metric::AttemptsFailed);
        if failed.class == ErrorClass::NotFound {
            worker.tally.count(Metric::ModelNotFound);
        }
        self.report_failure(worker, failed, blame, now);
        let next = self.journey.borrow_mut().after_failure(worker, self.slot, failed, now);
        self.log.hint = failed.hint;
        self.log.then = Some(recording::name_of(next));
        self.log.ends(AttemptEnd::Failed, Some(failed.class));
        next
    }

    /// Puts an error that lists what was tried in the place of the body that is held. What the client is to do is told where
    /// the answer is handed on.
    pub(super) fn replace_body(
        &self,
        status: u16,
        held: usize,
        now: Timestamp,
        host: &mut (impl HeaderSink + BodyBuffer),
    ) -> bool {
        let journey = self.journey.borrow();
        let answer =
            Refusal::exhausted(&journey, status, Again::Unsaid, now).answer(journey.endpoint.dialect());
        if host.replace_front(held, answer.body.as_bytes()).is_err() {
            return false;
        }
        host.set("content-type", "application/json");
        host.set("content-length", &answer.body.len().to_string());
        for (name, value) in &answer.headers {
            host.set(name, value);
        }
        true
    }
}

/// Whether the request goes on, and counts how.
pub(super) fn goes_on(worker: &mut Worker, next: Next) -> bool {
    match next {
        Next::Elsewhere(_) => worker.tally.count(Metric::Failovers),
        Next::Again { .. } => worker.tally.count(Metric::Repetitions),
        Next::Wait { .. } => {}
        Next::Stop(stop) => {
            if let Some(metric) = surrender_metric(stop) {
                worker.tally.count(metric);
            }
            return false;
        }
    }
    true
}

const fn surrender_metric(stop: Stop) -> Option<Metric> {
    match stop {
        Stop::AttemptsUsedUp => Some(Metric::GaveUpAttempts),
        Stop::MaybeBilled => Some(Metric::GaveUpMaybeBilled),
        Stop::Deadline => Some(Metric::GaveUpDeadline),
        Stop::NothingLeft => Some(Metric::GaveUpNothingLeft),
        Stop::WaitTooLong => Some(Metric::GaveUpWaitTooLong),
        Stop::RetryBudget => Some(Metric::GaveUpRetryBudget),
        Stop::QueueFull => Some(Metric::GaveUpQueueFull),
        Stop::SpendCeiling => Some(Metric::GaveUpSpendCeiling),
        Stop::Policy | Stop::NoRetryLoop | Stop::JourneysFull | Stop::ClientForbids => None,
    }
}
