//! What follows when something has taken too long.

use super::attempt::{AnswerPhase, Attempt};
use super::exchange::{Exchange, Phase};
use super::flow::Passing;
use super::outcome::End;
use super::refusal::ALL_FAILED;
use super::response::{Disclosure, goes_on};
use super::{LocalAnswer, Refusal, Worker};
use crate::base::{ErrorClass, Timestamp};
use crate::breaker::Blame;
use crate::record::{AnsweredBy, AttemptEnd, Metric};
use crate::retry::Failed;
use crate::stream::Alarm;

/// What the host does about a stream whose time has come.
#[derive(Debug, PartialEq, Eq)]
pub enum AlarmStep {
    /// Nothing: it has been heard of since. Look again when [`Exchange::due`] says.
    Wait,
    /// Nothing has reached the client: send this in place of the provider's answer.
    Answer(LocalAnswer),
    /// Part of the answer has: put this into the stream, and look again on the next tick.
    Tell(String),
    /// Part of the answer has, and no more can be said: break it off.
    Reset,
}

impl Exchange {
    /// When to look at this pass again; `None` while nothing is waited for.
    pub fn due(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Sent(attempt) => attempt.watch.due().map(|(at, _)| at),
            Phase::Held(held) => Some(held.at),
            _ => None,
        }
    }

    /// The moment has come at which something may have taken too long.
    pub fn alarm(&mut self, worker: &mut Worker, now: Timestamp) -> AlarmStep {
        let Phase::Sent(attempt) = &mut self.phase else { return AlarmStep::Wait };
        let Some(alarm) = attempt.watch.alarm(now) else { return AlarmStep::Wait };
        attempt.watch.over();
        if matches!(&attempt.answer, AnswerPhase::Passed(passing) if passing.is_told()) {
            return AlarmStep::Reset;
        }
        worker.tally.count(Metric::Alarms);
        match &attempt.answer {
            AnswerPhase::Awaited | AnswerPhase::Judged(_) => {
                AlarmStep::Answer(attempt.time_out(worker, alarm, now))
            }
            AnswerPhase::Passed(_) => {
                let class = class_of(alarm);
                attempt.report(worker, End::Failed(class), blame_for(alarm), now);
                attempt.log.ends(AttemptEnd::Broken, Some(class));
                attempt.tell(class, now).map_or(AlarmStep::Reset, AlarmStep::Tell)
            }
            AnswerPhase::Discarded => AlarmStep::Wait,
        }
    }
}

impl Attempt {
    /// The notice to put into the stream, if it can take one. The reset has to come a tick later, or the notice would be
    /// lost on its way.
    fn tell(&mut self, class: ErrorClass, now: Timestamp) -> Option<String> {
        let AnswerPhase::Passed(Passing::Stream(flow)) = &mut self.answer else { return None };
        let notice = flow.tell(class)?;
        self.watch.end_by(now);
        Some(notice)
    }

    /// Ends an attempt of which the client has seen nothing, with an answer that either makes the edge start another one
    /// or tells the client.
    fn time_out(&mut self, worker: &mut Worker, alarm: Alarm, now: Timestamp) -> LocalAnswer {
        let class = class_of(alarm);
        let failed = Failed::of(class);
        let next = self.failed_by(worker, failed, blame_for(alarm), now);
        self.log.answered_by = Some(AnsweredBy::Filter);
        self.log.status = Some(504);
        let journey = self.journey.borrow();
        let mut answer =
            Refusal::exhausted(&journey.config, &journey.tried, 504).answer(journey.endpoint.dialect());
        drop(journey);
        self.disclose(&mut Headers(&mut answer.headers));
        if goes_on(worker, next) {
            answer.headers.push((super::response::RETRY_HEADER, class.name().to_owned()));
            self.answer = AnswerPhase::Discarded;
        } else {
            self.journey.borrow().advise(next, failed, now, &mut Headers(&mut answer.headers));
            answer.headers.retain(|(name, value)| *name != "x-llm-reason" || value == ALL_FAILED);
            self.answer = AnswerPhase::Passed(Passing::Unread);
        }
        answer
    }
}

struct Headers<'a>(&'a mut Vec<(&'static str, String)>);

impl Disclosure for Headers<'_> {
    fn tell(&mut self, name: &'static str, value: &str) {
        self.0.push((name, value.to_owned()));
    }

    fn untell(&mut self, name: &'static str) {
        self.0.retain(|(candidate, _)| *candidate != name);
    }
}

/// The total is the request's own limit: a target that is still answering when it runs out has done nothing wrong, nor has
/// the one that happened to be asked last.
fn blame_for(alarm: Alarm) -> Blame {
    if alarm == Alarm::Total { Blame::NOBODY } else { Blame::of(class_of(alarm), None) }
}

const fn class_of(alarm: Alarm) -> ErrorClass {
    match alarm {
        Alarm::FirstContent | Alarm::Answer | Alarm::Total => ErrorClass::Timeout,
        Alarm::Silence | Alarm::ContentSilence => ErrorClass::StreamStalled,
    }
}
