//! How an attempt ends, and who is told.

use super::attempt::{AnswerPhase, Attempt};
use super::exchange::Ending;
use super::judge::Judge;
use super::outcome::{End, StreamEnd};
use super::{Worker, recording};
use crate::base::{ErrorClass, Timestamp};
use crate::breaker::Blame;
use crate::record::{AttemptEnd, Metric};
use crate::retry::{Failed, Received};

impl Attempt {
    /// Notes how the attempt ended and says whether the edge may start another one.
    pub(super) fn conclude(mut self, worker: &mut Worker, ending: Ending, now: Timestamp) -> bool {
        self.leave(worker, now);
        let expects_another = self.come_to_an_end(worker, ending, now);
        self.hand_in(now);
        expects_another
    }

    fn come_to_an_end(&mut self, worker: &mut Worker, ending: Ending, now: Timestamp) -> bool {
        let over = match &self.answer {
            AnswerPhase::Discarded => true,
            AnswerPhase::Passed(passing) => passing.settled() == Some(Ok(())),
            _ => false,
        };
        if ending == Ending::ClientGone && !over {
            worker.tally.count(Metric::ClientAborts);
            self.count_end(worker, StreamEnd::ClientGone);
            self.report(worker, End::ClientGone, Blame::NEUTRAL, now);
            self.note_client_gone();
            return false;
        }
        let failure = match &mut self.answer {
            AnswerPhase::Discarded => return true,
            AnswerPhase::Passed(passing) => {
                let end = match ending {
                    Ending::UpstreamGone => StreamEnd::BrokenOff,
                    Ending::Complete | Ending::ClientGone => StreamEnd::of(passing.ended_badly()),
                };
                let stream = passing.follower().and_then(Judge::stream_facts);
                self.report_answer(worker, end, now);
                self.log.passed_to_its_end(stream, end.failure());
                return false;
            }
            AnswerPhase::Awaited => ErrorClass::Transport,
            AnswerPhase::Judged(judge) => {
                self.log.stream = judge.stream_facts();
                ErrorClass::StreamTruncated
            }
        };
        self.log.ends(AttemptEnd::Failed, Some(failure));
        worker.tally.count(Metric::AttemptsFailed);
        let failed = Failed::of(failure);
        self.report_failure(worker, failed, Blame::of(failure, None), now);
        // Whether another pass follows is Envoy's doing; if it does, this is what it goes by.
        let next = self.journey.borrow_mut().after_failure(worker, self.slot, failed, now);
        self.log.then = Some(recording::name_of(next));
        true
    }

    /// The attempt is over, and the record gets what is to be said of it.
    pub(super) fn hand_in(mut self, now: Timestamp) {
        self.log.ended_at = now;
        let journey = self.journey.borrow();
        if let Some(outcome) = journey.tried.get(self.slot).and_then(|tried| tried.outcome) {
            self.log.usage = outcome.usage;
            self.log.finish = outcome.finish;
            self.log.usage_missing = outcome.usage_is_missing();
        }
        journey.note(|record| record.ended(self.log));
    }

    /// The attempt is no longer under way.
    pub(super) fn leave(&self, worker: &mut Worker, now: Timestamp) {
        worker.tally.add(Metric::AttemptsInFlight, -1);
        let journey = self.journey.borrow();
        journey.pending.borrow_mut().end(self.target);
        worker.lines.free_one();
        if self.answer_awaited {
            journey.answered(self.slot, None, now);
        }
        if self.first_content.is_none() {
            let streamed = journey.facts.stream;
            journey.speeds.borrow_mut().no_content(self.target, streamed, self.sent_at, now);
        }
    }

    /// The answer that was passed on has come to this end.
    pub(super) fn report_answer(&mut self, worker: &mut Worker, end: StreamEnd, now: Timestamp) {
        self.count_end(worker, end);
        let failure = end.failure();
        let slow = self.slow.then_some(ErrorClass::Timeout);
        let blame = failure.or(slow).map_or(Blame::SUCCESS, |class| Blame::of(class, None));
        self.report(worker, failure.map_or(End::Complete, End::Failed), blame, now);
    }

    /// Tells everyone who learns from it how the attempt ended; only the first word counts.
    pub(super) fn report(&mut self, worker: &mut Worker, end: End, blame: Blame, now: Timestamp) {
        let received = match end {
            End::Failed(class) => Failed::of(class).received,
            End::Complete => Received::Answered,
            End::ClientGone => Received::Perhaps,
            End::Withdrawn => Received::Never,
        };
        self.report_received(worker, (end, received), blame, now);
    }

    /// The same for a failure of which more is known.
    pub(super) fn report_failure(
        &mut self,
        worker: &mut Worker,
        failed: Failed,
        blame: Blame,
        now: Timestamp,
    ) {
        self.report_received(worker, (End::Failed(failed.class), failed.received), blame, now);
    }

    fn report_received(
        &mut self,
        worker: &mut Worker,
        (end, received): (End, Received),
        blame: Blame,
        now: Timestamp,
    ) {
        if let Some(tickets) = self.tickets.take() {
            // The silence before its end is one of a stream's gaps, and mostly why it has ended so.
            self.log.heard(now);
            let outcome = self.outcome(end, received, now);
            let mut journey = self.journey.borrow_mut();
            journey.report(worker, self.target, tickets, blame, now);
            journey.learn(worker, self.slot, outcome, now);
        }
    }
}
