//! What follows when an attempt's moment comes: something has taken too long, a response has been held for long enough, or
//! nothing has gone to the client for a while.

use super::advice::Again;
use super::attempt::{AnswerPhase, Attempt};
use super::attempt_state::{Due, class_of};
use super::exchange::{Exchange, Phase};
use super::failing::goes_on;
use super::outcome::{End, StreamEnd};
use super::refusal::ALL_FAILED;
use super::response::{Disclosure, RETRY_HEADER, ResponseHost};
use super::{LocalAnswer, Refusal, Worker};
use crate::answer::Follower;
use crate::base::Timestamp;
use crate::breaker::Blame;
use crate::record::{AnsweredBy, AttemptEnd, Metric};
use crate::retry::Failed;
use crate::stream::Alarm;

/// What the host does about a stream whose time has come.
#[derive(Debug, PartialEq, Eq)]
pub enum AlarmStep {
    /// Nothing. Look again when [`Exchange::due`] says.
    Wait,
    /// The client has got nothing: send this in place of the provider's response.
    Answer(LocalAnswer),
    /// The client has got part of the response: put this into the stream, and look again on the next tick.
    Tell(String),
    /// The client has got part of the response, and no notice can be put into it: reset it.
    Reset,
    /// Call [`Exchange::open_gate`], which arranges what is held, and release it.
    OpenGate,
    /// Put this into the stream, so that it stays open.
    KeepAlive(&'static str),
}

impl Exchange {
    /// When to look at this pass again; `None` while nothing is waited for.
    pub fn due(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Sent(attempt) => attempt.due(),
            Phase::Held(held) => Some(held.at),
            _ => None,
        }
    }

    /// The moment has come at which something may have taken too long.
    pub fn alarm(&mut self, worker: &mut Worker, now: Timestamp) -> AlarmStep {
        let Phase::Sent(attempt) = &mut self.phase else { return AlarmStep::Wait };
        let due = attempt.look(now);
        if matches!(due, Due::TimedOut(_) | Due::Broken(..) | Due::Late) {
            worker.tally.count(Metric::Alarms);
        }
        match due {
            Due::Nothing | Due::Late => AlarmStep::Wait,
            Due::KeepAlive(text) => {
                worker.tally.count(Metric::KeepAlives);
                AlarmStep::KeepAlive(text)
            }
            Due::OpenGate => AlarmStep::OpenGate,
            Due::Reset => AlarmStep::Reset,
            Due::TimedOut(alarm) => AlarmStep::Answer(attempt.time_out(worker, alarm, now)),
            Due::Broken(alarm, notice) => {
                attempt.breaks(worker, alarm, now);
                notice.map_or(AlarmStep::Reset, AlarmStep::Tell)
            }
        }
    }

    /// What is held goes to the client, whatever it is: the operator prefers that to a fallback. The host then releases it.
    pub fn open_gate(&mut self, worker: &mut Worker, now: Timestamp, host: &mut impl ResponseHost) {
        let Phase::Sent(attempt) = &mut self.phase else { return };
        let Some(passage) = attempt.open_gate(host, now) else { return };
        worker.tally.count(Metric::GatesOpenedByTime);
        attempt.answers(worker, host);
        // The host releases it in any case, because this is no callback of the chunk's own.
        let _ = attempt.take_in(worker, passage, now);
    }
}

impl Attempt {
    /// Reports an attempt that has taken too long after part of the response went to the client.
    fn breaks(&mut self, worker: &mut Worker, alarm: Alarm, now: Timestamp) {
        let class = class_of(alarm);
        let end = if alarm == Alarm::Total { StreamEnd::OutOfTime } else { StreamEnd::Stalled(class) };
        self.count_end(worker, end);
        self.report(worker, End::Failed(class), blame_for(alarm), now);
        self.log.ends(AttemptEnd::Broken, Some(class));
    }

    /// Ends an attempt of which the client has got nothing. The response that is returned either makes the edge start another
    /// attempt or tells the client.
    fn time_out(&mut self, worker: &mut Worker, alarm: Alarm, now: Timestamp) -> LocalAnswer {
        let class = class_of(alarm);
        let failed = Failed::of(class);
        let next = self.failed_by(worker, failed, blame_for(alarm), now);
        self.log.answered_by = Some(AnsweredBy::Filter);
        self.log.status = Some(504);
        let journey = self.journey.borrow();
        let mut answer =
            Refusal::exhausted(&journey, 504, Again::Unsaid, now).answer(journey.endpoint.dialect());
        drop(journey);
        self.disclose(&mut Headers(&mut answer.headers));
        if goes_on(worker, next) {
            answer.headers.push((RETRY_HEADER, class.name().to_owned()));
            self.answer = AnswerPhase::Discarded;
        } else {
            self.journey.borrow().advise(next, failed, now, &mut Headers(&mut answer.headers));
            answer.headers.retain(|(name, value)| *name != "x-llm-reason" || value == ALL_FAILED);
            self.answer = AnswerPhase::Passed(Follower::unread());
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

/// The total is the request's own limit. A target that is still answering when it runs out has done nothing wrong, and
/// neither has the target that happened to be asked last.
fn blame_for(alarm: Alarm) -> Blame {
    if alarm == Alarm::Total { Blame::NOBODY } else { Blame::of(class_of(alarm), None) }
}
