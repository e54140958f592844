//! What follows when a moment comes that an attempt has waited for: something has taken too long, has been held for long
//! enough, or nothing has gone to the client for a while.

use super::advice::Again;
use super::attempt::{AnswerPhase, Attempt};
use super::exchange::{Exchange, Phase};
use super::failing::goes_on;
use super::flow::Passing;
use super::outcome::{End, StreamEnd};
use super::refusal::ALL_FAILED;
use super::response::{Disclosure, ResponseHost};
use super::{LocalAnswer, Refusal, Worker};
use crate::base::{ErrorClass, Timestamp};
use crate::breaker::Blame;
use crate::config::OnBreak;
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
    /// What is held shall be held no longer: have [`Exchange::open_gate`] arrange it, and release it.
    OpenGate,
    /// The client shall hear something: put this into the stream.
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
        let Some(alarm) = attempt.watch.alarm(now) else { return attempt.errand(worker, now) };
        attempt.watch.finish();
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
                let end =
                    if alarm == Alarm::Total { StreamEnd::OutOfTime } else { StreamEnd::Stalled(class) };
                attempt.count_end(worker, end);
                attempt.report(worker, End::Failed(class), blame_for(alarm), now);
                attempt.log.ends(AttemptEnd::Broken, Some(class));
                attempt.tell(class, now).map_or(AlarmStep::Reset, AlarmStep::Tell)
            }
            AnswerPhase::Discarded => AlarmStep::Wait,
        }
    }

    /// What is held goes to the client, whatever it is: the operator would rather have it move than fail over. The host
    /// releases it by itself then.
    pub fn open_gate(&mut self, worker: &mut Worker, now: Timestamp, host: &mut impl ResponseHost) {
        let Phase::Sent(attempt) = &mut self.phase else { return };
        let judge = match std::mem::replace(&mut attempt.answer, AnswerPhase::Awaited) {
            AnswerPhase::Judged(judge) => judge,
            other => {
                attempt.answer = other;
                return;
            }
        };
        let held = judge.seen();
        worker.tally.count(Metric::GatesOpenedByTime);
        attempt.pass(worker, Passing::of(*judge), now, host);
        if let AnswerPhase::Passed(Passing::Stream(flow)) = &mut attempt.answer {
            flow.open(host, held);
        }
        attempt.note_moved(now);
    }
}

impl Attempt {
    /// The earliest moment at which something is to be looked at.
    fn due(&self) -> Option<Timestamp> {
        let (limit, _) = self.watch.due()?;
        Some(self.errand_due().map_or(limit, |at| at.min(limit)))
    }

    fn errand_due(&self) -> Option<Timestamp> {
        // Of what is over nothing more is to be done.
        self.watch.due()?;
        match &self.answer {
            AnswerPhase::Judged(judge) if judge.open_event().is_some() => self.gate_until(),
            AnswerPhase::Passed(passing @ Passing::Stream(_)) if !passing.is_told() => {
                self.keep_alive.map(|keep_alive| keep_alive.due())
            }
            _ => None,
        }
    }

    fn gate_until(&self) -> Option<Timestamp> {
        self.gate.max_time.map(|time| self.sent_at.after(time))
    }

    /// Whether nothing is to be held any more.
    pub(super) fn gate_is_over(&self, now: Timestamp) -> bool {
        self.gate_until().is_some_and(|until| until <= now)
    }

    /// What is due by time though nothing has taken too long.
    fn errand(&mut self, worker: &mut Worker, now: Timestamp) -> AlarmStep {
        if self.errand_due().is_none_or(|due| due > now) {
            return AlarmStep::Wait;
        }
        let AnswerPhase::Passed(Passing::Stream(flow)) = &self.answer else { return AlarmStep::OpenGate };
        // Where nothing can be put into the stream now, perhaps it can the next time.
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.bytes_sent(now);
        }
        let Some(text) = flow.keep_alive() else { return AlarmStep::Wait };
        worker.tally.count(Metric::KeepAlives);
        AlarmStep::KeepAlive(text)
    }

    /// Notes whether the client has got something.
    pub(super) fn note_moved(&mut self, now: Timestamp) {
        if let AnswerPhase::Passed(Passing::Stream(flow)) = &mut self.answer
            && flow.take_moved()
            && let Some(keep_alive) = &mut self.keep_alive
        {
            keep_alive.bytes_sent(now);
        }
    }

    /// The notice to put into the stream, if it can take one. The reset has to come a tick later, or the notice would be
    /// lost on its way.
    fn tell(&mut self, class: ErrorClass, now: Timestamp) -> Option<String> {
        let AnswerPhase::Passed(Passing::Stream(flow)) = &mut self.answer else { return None };
        if self.on_break == OnBreak::Reset {
            return None;
        }
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
            Refusal::exhausted(&journey, 504, Again::Unsaid, now).answer(journey.endpoint.dialect());
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
    if alarm == Alarm::Total { Blame::NEUTRAL } else { Blame::of(class_of(alarm), None) }
}

const fn class_of(alarm: Alarm) -> ErrorClass {
    match alarm {
        Alarm::FirstContent | Alarm::Answer | Alarm::Total => ErrorClass::Timeout,
        Alarm::Idle | Alarm::ContentIdle | Alarm::BelowMinimumRate => ErrorClass::StreamStalled,
    }
}
