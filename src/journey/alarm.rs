//! What follows when something is due: an attempt has taken too long, a response has been held for long
//! enough, or the stream has been quiet for a while.

use std::time::Duration;

use super::conclude::{failed, settle};
use super::exchange::{Exchange, Phase, Sent};
use super::response::{HeldBody, RETRY_HEADER, ResponseHost};
use super::worker::Worker;
use crate::attempt::{Due, class_of};
use crate::base::Timestamp;
use crate::breaker::Blame;
use crate::outcome::{End, StreamEnd};
use crate::record::Metric;
use crate::refusal::{ALL_FAILED, ClientRetry, LocalAnswer};
use crate::report::{self, LocalHeaders};
use crate::retry::{Failed, Next};
use crate::stream::Alarm;

/// What the host does about a stream that is due.
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
    /// Call [`Exchange::deliver`], which arranges the response that is held, and send it as a response that ends.
    Deliver,
    /// Put this into the stream, so that it stays open.
    KeepAlive(&'static str),
}

impl Exchange {
    /// When to look at this pass again; `None` while it waits for nothing.
    pub fn due(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Sent(sent) if sent.in_place.is_some() => Some(Timestamp::from_millis(0)),
            Phase::Sent(sent) => sent.attempt.due(),
            Phase::Held(held) => Some(held.due()),
            _ => None,
        }
    }

    /// This worker could do nothing for this long before `now`: it was stopped, or busy. What has come meanwhile is not yet read. No time
    /// limit counts that time.
    pub fn excuse(&mut self, pause: Duration, now: Timestamp) {
        match &mut self.phase {
            Phase::Sent(sent) => sent.attempt.excuse(pause, now),
            Phase::Held(held) => held.excuse(pause, now),
            _ => {}
        }
    }

    /// Something may have taken too long.
    pub fn alarm(&mut self, worker: &mut Worker, now: Timestamp) -> AlarmStep {
        let Phase::Sent(sent) = &mut self.phase else { return AlarmStep::Wait };
        if let Some(answer) = sent.in_place.take() {
            return AlarmStep::Answer(answer);
        }
        let due = sent.attempt.look(now);
        if matches!(due, Due::TimedOut(_) | Due::Broken(..) | Due::Late)
            && !matches!(due, Due::Broken(Alarm::Cut, _))
        {
            log::debug!("attempt {} has taken too long", sent.attempt.slot() + 1);
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
            Due::Whole => AlarmStep::Deliver,
            Due::Complete => {
                let end = sent.attempt.end_while_open();
                sent.settle_response(worker, end, now);
                self.release_if_answered(worker, now);
                AlarmStep::Wait
            }
            Due::Lingered => {
                worker.tally.count(Metric::StreamsLeftOpen);
                AlarmStep::Reset
            }
            Due::HalfUsed => {
                let slot = sent.attempt.slot();
                let store = worker.effects().store;
                if !sent.journey.borrow().would_go_elsewhere(slot, store, now) {
                    sent.attempt.stay();
                    return AlarmStep::Wait;
                }
                sent.attempt.give_up();
                AlarmStep::Answer(sent.time_out(worker, Alarm::Patience, now))
            }
            Due::TimedOut(alarm) => AlarmStep::Answer(sent.time_out(worker, alarm, now)),
            Due::Broken(alarm, notice) => {
                sent.break_off(worker, alarm, now);
                notice.map_or(AlarmStep::Reset, AlarmStep::Tell)
            }
        }
    }

    /// Judges the response that is held. It is complete, but its provider does not end it. The host then sends the headers
    /// and the body that it holds as a response of its own, so that it ends.
    pub fn deliver(&mut self, worker: &mut Worker, now: Timestamp, host: &mut impl ResponseHost) {
        let Phase::Sent(sent) = &mut self.phase else { return };
        worker.tally.count(Metric::StreamsLeftOpen);
        let held = sent.attempt.held();
        if let Err(rejection) = sent.attempt.deliver(host, now) {
            // The host sends what this leaves in its buffers, whatever it is.
            let _ = sent.reject(worker, rejection, HeldBody { bytes: held, is_all: true }, now, host);
            return;
        }
        sent.commits(worker, now, host);
        let end = sent.attempt.end_while_open();
        sent.settle_response(worker, end, now);
        sent.attempt.delivered();
        self.release_if_answered(worker, now);
    }

    /// Commits what is held, whatever it is, because the operator prefers that to a fallback. The host then
    /// releases it.
    pub fn open_gate(&mut self, worker: &mut Worker, now: Timestamp, host: &mut impl ResponseHost) {
        let Phase::Sent(sent) = &mut self.phase else { return };
        let Some(passage) = sent.attempt.open_gate(host, now) else { return };
        worker.tally.count(Metric::GatesOpenedByTime);
        sent.commits(worker, now, host);
        // The host releases it in any case, because this is not a callback of the chunk itself.
        let _ = sent.pass(worker, passage, now);
    }
}

impl Sent {
    /// Settles an attempt that has taken too long, or has ended too early, after part of the response went to
    /// the client.
    fn break_off(&mut self, worker: &mut Worker, alarm: Alarm, now: Timestamp) {
        let class = class_of(alarm);
        let end = match alarm {
            Alarm::Total => StreamEnd::OutOfTime,
            Alarm::Cut => StreamEnd::Truncated,
            _ => StreamEnd::Stalled(class),
        };
        self.count_stream_end(worker, end);
        let received = Failed::of(class).received;
        settle(self, worker, End::Failed(class), received, blame_for(alarm), now);
    }

    /// Ends an attempt of which the client has got nothing. The response that is returned either makes the
    /// edge start another attempt or tells the client.
    fn time_out(&mut self, worker: &mut Worker, alarm: Alarm, now: Timestamp) -> LocalAnswer {
        let class = class_of(alarm);
        let failure = Failed::of(class);
        let next = failed(self, worker, failure, blame_for(alarm), now);
        self.attempt.answered_here(504);
        self.answer_in_place(worker, failure, next, 504, now)
    }

    /// The filter's own response to an attempt that has failed, in place of the provider's.
    pub(super) fn answer_in_place(
        &mut self,
        worker: &mut Worker,
        failure: Failed,
        next: Next,
        status: u16,
        now: Timestamp,
    ) -> LocalAnswer {
        let refusal = self.journey.borrow().exhausted(status, ClientRetry::Unsaid, now);
        let mut answer = refusal.answer(self.attempt.dialect());
        self.disclose(&mut LocalHeaders(&mut answer.headers));
        report::count_decision(next, &mut worker.tally);
        let Next::Stop(stop) = next else {
            answer.headers.push((RETRY_HEADER, failure.class.name().to_owned()));
            self.attempt.discard();
            return answer;
        };
        self.journey.borrow().advise(stop, failure, now, &mut LocalHeaders(&mut answer.headers));
        answer.headers.retain(|(name, value)| *name != "x-llm-reason" || value == ALL_FAILED);
        self.attempt.pass_failure();
        answer
    }
}

/// The total and the client's patience limit the whole request. A target that is still responding when they
/// run out has done nothing wrong, and neither has the target that was asked last. If the patience runs out, it
/// is as if the client had left.
fn blame_for(alarm: Alarm) -> Blame {
    match alarm {
        Alarm::Total => Blame::NEUTRAL,
        Alarm::Patience => Blame::CLIENT_LEFT,
        _ => Blame::of(class_of(alarm), None),
    }
}
