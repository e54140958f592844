//! Which of an attempt's time limits is due, and what that means for its response.
//!
//! **A stream that goes idle** gets a notice between two events and is reset one tick later. The filter
//! cannot end a response cleanly while the provider has not ended it, and a reset in the same tick would
//! lose the notice. `on_break: reset` omits the notice.
//!
//! **A complete stream** whose provider does not end it cannot be ended cleanly either. It is reset after
//! `linger`. Some clients that wait for the end of the body raise an error then, but they would wait for as
//! long as the provider wants otherwise, and raise it then.
//!
//! **A complete plain response** is still held in most cases. Then the host sends it as a response of its own,
//! which ends cleanly.
//!
//! **`gate.max_time`** is the only time limit on holding a stream. There is no separate setting for an
//! early release, because both would mean the same. Without it `first_content` is the limit: a stream
//! without content by then fails.

use std::time::Duration;

use super::patience::Patience;
use super::{Answer, Attempt};
use crate::base::{ErrorClass, Timestamp};
use crate::config::OnBreak;
use crate::stream::Alarm;

/// What is due at some moment.
pub enum Due {
    /// Nothing.
    Nothing,
    /// This text is to be put into the stream to keep it open.
    KeepAlive(&'static str),
    /// What is held is to be released.
    OpenGate,
    /// A notice ended the stream one tick ago, so the stream can be reset now.
    Reset,
    /// The stream has its finish reasons, and its terminal event has not come. It is complete without.
    Complete,
    /// The plain response that is held is complete, and its provider has not ended it:
    /// [`deliver`](Attempt::deliver) it.
    Whole,
    /// The response is complete, and its provider has not ended it in time. It can only be reset.
    Lingered,
    /// The attempt has used half of the client's patience. If there is another target, [`Attempt::give_up`],
    /// otherwise [`Attempt::stay`].
    HalfUsed,
    /// The attempt has taken too long, and the client has got nothing.
    TimedOut(Alarm),
    /// The attempt has taken too long, and the client has got part of the response. The notice, if there is
    /// one, is to be put into the stream.
    Broken(Alarm, Option<String>),
    /// The attempt had failed already, and the edge is slow to end it.
    Late,
}

impl Attempt {
    /// The earliest moment at which to [look](Self::look).
    pub fn due(&self) -> Option<Timestamp> {
        let (limit, _) = self.watch.due()?;
        let patience = self.patience().map(|patience| patience.due());
        [self.due_in_time(), patience]
            .into_iter()
            .flatten()
            .min()
            .map_or(Some(limit), |at| Some(at.min(limit)))
    }

    /// The moment has come at which something may be due.
    pub fn look(&mut self, now: Timestamp) -> Due {
        let patience = self.patience().filter(|patience| patience.due() <= now);
        let alarm = match (self.watch.alarm(now), patience) {
            (None, Some(patience)) if patience.is_half(now) => return Due::HalfUsed,
            (alarm, patience) => alarm.or(patience.map(|_| Alarm::Patience)),
        };
        let Some(alarm) = alarm else { return self.look_in_time(now) };
        if alarm == Alarm::Finished {
            if matches!(self.answer, Answer::Held(_)) {
                return Due::Whole;
            }
            self.watch.complete(now);
            return Due::Complete;
        }
        self.watch.finish();
        match &mut self.answer {
            _ if alarm == Alarm::Linger => Due::Lingered,
            Answer::Awaited | Answer::Held(_) => Due::TimedOut(alarm),
            Answer::Passed(follower) if follower.has_ended_with_notice() => Due::Reset,
            Answer::Passed(follower) => {
                let notice = match self.on_break {
                    OnBreak::ErrorEvent => follower.end_with_notice(class_of(alarm)),
                    OnBreak::Reset => None,
                };
                if notice.is_some() {
                    // The reset comes one tick later. Otherwise the notice would be lost.
                    self.watch.end_by(now, Alarm::Idle);
                }
                Due::Broken(alarm, notice)
            }
            Answer::Discarded => Due::Late,
        }
    }

    /// The worker could read nothing for this long, so what the provider has sent may not have been seen. No time
    /// limit counts that time.
    pub fn excuse(&mut self, pause: Duration, now: Timestamp) {
        // An attempt that was sent after the pause has lost nothing.
        let pause = pause.min(now.since(self.start.sent_at));
        self.excused = self.excused.saturating_add(pause);
        self.unnoticed = Duration::ZERO;
        self.watch.excuse(pause, now);
        if let Some(patience) = &mut self.patience {
            patience.excuse(pause);
        }
    }

    /// The worker reads after a pause that no tick has noticed yet. What the provider took does not count it. Its time limits
    /// move at the tick, before they are looked at.
    pub fn note_pause(&mut self, pause: Option<Duration>, now: Timestamp) {
        self.unnoticed = pause.map_or(Duration::ZERO, |pause| pause.min(now.since(self.start.sent_at)));
    }

    /// Whether the worker could read nothing for a while.
    pub fn was_excused(&self) -> bool {
        !self.excused.is_zero()
    }

    /// When it was sent, not counting the time in which nothing could be read.
    pub(super) fn sent_at(&self) -> Timestamp {
        self.start.sent_at.after(self.excused).after(self.unnoticed)
    }

    /// Another target gets the rest of the client's patience. The attempt has failed.
    pub fn give_up(&mut self) {
        self.watch.finish();
    }

    /// There is no other target, so the attempt gets all of the client's patience.
    pub fn stay(&mut self) {
        if let Some(patience) = &mut self.patience {
            patience.use_all();
        }
    }

    /// The client's patience, while the client has got nothing. A plain response that has begun gets all of it:
    /// what has come of it would be lost.
    fn patience(&self) -> Option<Patience> {
        let mut patience = self.patience.filter(|_| !self.watch.is_over())?;
        match &self.answer {
            Answer::Awaited => {}
            Answer::Held(gatekeeper) => {
                if !gatekeeper.is_stream() && gatekeeper.held() > 0 {
                    patience.use_all();
                }
            }
            Answer::Passed(_) | Answer::Discarded => return None,
        }
        Some(patience)
    }

    /// Whether the time for holding a stream is over.
    pub(super) fn gate_is_over(&self, now: Timestamp) -> bool {
        self.gate_until().is_some_and(|until| until <= now)
    }

    /// What is due although nothing has taken too long.
    fn look_in_time(&mut self, now: Timestamp) -> Due {
        if self.due_in_time().is_none_or(|due| due > now) {
            return Due::Nothing;
        }
        let Answer::Passed(follower) = &self.answer else { return Due::OpenGate };
        // If no text can be put in now, it may be possible the next time.
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.bytes_sent(now);
        }
        follower.keep_alive().map_or(Due::Nothing, Due::KeepAlive)
    }

    fn due_in_time(&self) -> Option<Timestamp> {
        match &self.answer {
            // Once the response is over, nothing more is to be done.
            _ if self.watch.is_over() => None,
            Answer::Held(gatekeeper) if gatekeeper.is_stream() => {
                let release =
                    self.patience().filter(|_| gatekeeper.held() > 0).map(|patience| patience.release_at());
                [self.gate_until(), release].into_iter().flatten().min()
            }
            Answer::Passed(follower) if follower.is_stream() && !follower.has_ended_with_notice() => {
                self.keep_alive.map(|keep_alive| keep_alive.due())
            }
            _ => None,
        }
    }

    fn gate_until(&self) -> Option<Timestamp> {
        self.gate.max_time.map(|time| self.sent_at().after(time))
    }
}

/// The class of the failure when something has taken too long.
pub const fn class_of(alarm: Alarm) -> ErrorClass {
    match alarm {
        Alarm::FirstContent | Alarm::Answer | Alarm::Patience | Alarm::Total => ErrorClass::Timeout,
        Alarm::Idle | Alarm::ContentIdle | Alarm::BelowMinimumRate => ErrorClass::StreamStalled,
        // The last two are no failures.
        Alarm::Cut | Alarm::Finished | Alarm::Linger => ErrorClass::StreamTruncated,
    }
}
