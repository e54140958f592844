//! What an attempt knows by itself: how far its response is, and which of its time limits is due.
//!
//! Nothing here asks the journey or the worker. Events go in, and what they mean comes out as a value: a [`Progress`] for a
//! piece of the response, a [`Due`] for a moment. What follows from it is decided in `response.rs` and `alarm.rs`.

use std::time::Duration;

use super::attempt::{AnswerPhase, Attempt};
use crate::answer::{ChunkReport, Follower, Gatekeeper, Rejection, Release, Verdict};
use crate::base::{ErrorClass, HeaderBlock, HeaderSink, Timestamp};
use crate::config::OnBreak;
use crate::request::BodyBuffer;
use crate::stream::Alarm;

/// What a piece of the response means.
pub(super) enum Progress {
    /// The response is still held.
    Held,
    /// The response has failed before and is thrown away by the edge, or it has not begun.
    Ignored,
    /// The client gets nothing of the response: it is a failure.
    Rejected(Rejection),
    /// The commit point is passed: the client gets what was held.
    Commits(Passage),
    /// The client gets more of the response.
    Passes(Passage),
}

/// What goes to the client, and what it shows.
pub(super) struct Passage {
    pub(super) release: Release,
    /// How long the first content took, if it has come with this piece.
    pub(super) first_content: Option<Duration>,
    /// What the stream has turned out to be, once that is certain.
    pub(super) settled: Option<Result<(), ErrorClass>>,
}

/// What is due at some moment.
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// The client shall get this text, which keeps the stream open.
    KeepAlive(&'static str),
    /// What is held shall be held no longer.
    OpenGate,
    /// A notice has ended the stream a tick ago, so the stream can be reset now.
    Reset,
    /// The attempt has taken too long, and the client has got nothing.
    TimedOut(Alarm),
    /// The attempt has taken too long, and the client has got part of the response. The notice is to be put into the
    /// stream, if it takes one.
    Broken(Alarm, Option<String>),
    /// The attempt has failed before, and the edge takes too long to end it.
    Late,
}

impl Attempt {
    /// The response's headers have come.
    pub(super) fn headers(&mut self, status: u16, headers: &HeaderBlock, now: Timestamp) {
        self.watch.heard(now);
        self.log.headers(status, headers, now);
    }

    /// The response is held from now on.
    pub(super) fn hold(&mut self, gatekeeper: Gatekeeper) -> Release {
        self.answer = AnswerPhase::Judged(Box::new(gatekeeper));
        Release::Hold
    }

    /// The response passes the commit point with its headers. `None` if its body cannot be read.
    pub(super) fn commit_headers(
        &mut self,
        gatekeeper: Option<Gatekeeper>,
        end: bool,
        now: Timestamp,
        sink: &mut impl HeaderSink,
    ) -> Passage {
        let first_content = if end { self.ends_without_body(now) } else { None };
        let wants_insertion = self.wants_insertion();
        let follower =
            gatekeeper.map_or_else(Follower::unread, |gatekeeper| gatekeeper.commit(wants_insertion, sink));
        self.answer = AnswerPhase::Passed(follower);
        Passage { release: Release::Pass, first_content, settled: None }
    }

    /// More of the response has come. The host's buffer holds `available` bytes: while the response is held all of it,
    /// afterwards what has not been released.
    pub(super) fn chunk(
        &mut self,
        host: &mut (impl HeaderSink + BodyBuffer),
        available: usize,
        end: bool,
        now: Timestamp,
    ) -> Progress {
        self.watch.heard(now);
        self.log.heard(now);
        if end {
            self.watch.over();
        }
        if let AnswerPhase::Passed(follower) = &mut self.answer {
            let report = follower.chunk(host, available, end);
            return Progress::Passes(self.passage(report, now));
        }
        self.log.bytes = self.log.bytes.max(available as u64);
        let AnswerPhase::Judged(gatekeeper) = &mut self.answer else { return Progress::Ignored };
        match gatekeeper.chunk(host, available, end, now) {
            Verdict::Hold => Progress::Held,
            Verdict::Reject(rejection) => Progress::Rejected(rejection),
            Verdict::Commit { content } => {
                let first_content = if content { self.content(0, now) } else { None };
                let Some(report) =
                    self.commit(host, |follower, host| follower.pass_held(host, available, end))
                else {
                    return Progress::Ignored;
                };
                Progress::Commits(Passage { first_content, ..self.passage(report, now) })
            }
        }
    }

    /// What is held goes to the client now, outside of the callback in which it came. `None` if nothing is held.
    pub(super) fn open_gate(
        &mut self,
        host: &mut (impl HeaderSink + BodyBuffer),
        now: Timestamp,
    ) -> Option<Passage> {
        let AnswerPhase::Judged(gatekeeper) = &self.answer else { return None };
        let held = gatekeeper.held();
        let report = self.commit(host, |follower, host| follower.pass_held_outside_callback(host, held))?;
        Some(self.passage(report, now))
    }

    /// How many bytes of the response are held, if it is held.
    pub(super) fn held(&self) -> Option<usize> {
        match &self.answer {
            AnswerPhase::Judged(gatekeeper) => Some(gatekeeper.held()),
            _ => None,
        }
    }

    /// What was staged has been released.
    pub(super) fn released(&mut self) {
        if let AnswerPhase::Passed(follower) = &mut self.answer {
            follower.released();
        }
    }

    /// What was to be staged went at once, because the host has no other callback for it.
    pub(super) fn cannot_stage(&mut self) {
        if let AnswerPhase::Passed(follower) = &mut self.answer {
            follower.cannot_stage();
        }
    }

    /// The response is complete and has no body. Says how long its content took, if that is known only now.
    pub(super) fn ends_without_body(&mut self, now: Timestamp) -> Option<Duration> {
        let first_content = self.content(0, now);
        self.watch.over();
        first_content
    }

    /// The earliest moment at which to [look](Self::look).
    pub(super) fn due(&self) -> Option<Timestamp> {
        let (limit, _) = self.watch.due()?;
        Some(self.due_in_time().map_or(limit, |at| at.min(limit)))
    }

    /// The moment has come at which something may be due.
    pub(super) fn look(&mut self, now: Timestamp) -> Due {
        let Some(alarm) = self.watch.alarm(now) else { return self.look_in_time(now) };
        self.watch.over();
        match &mut self.answer {
            AnswerPhase::Awaited | AnswerPhase::Judged(_) => Due::TimedOut(alarm),
            AnswerPhase::Passed(follower) if follower.has_ended_with_notice() => Due::Reset,
            AnswerPhase::Passed(follower) => {
                let notice = match self.on_break {
                    OnBreak::ErrorEvent => follower.end_with_notice(class_of(alarm)),
                    OnBreak::Reset => None,
                };
                if notice.is_some() {
                    // The reset has to come a tick later, or the notice would be lost on its way.
                    self.watch.end_by(now);
                }
                Due::Broken(alarm, notice)
            }
            AnswerPhase::Discarded => Due::Late,
        }
    }

    /// Whether the time is over for which a stream may be held.
    pub(super) fn gate_is_over(&self, now: Timestamp) -> bool {
        self.gate_until().is_some_and(|until| until <= now)
    }

    /// What is due though nothing has taken too long.
    fn look_in_time(&mut self, now: Timestamp) -> Due {
        if self.due_in_time().is_none_or(|due| due > now) {
            return Due::Nothing;
        }
        let AnswerPhase::Passed(follower) = &self.answer else { return Due::OpenGate };
        // If no text can be put in now, it may be possible the next time.
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.heard(now);
        }
        follower.keep_alive().map_or(Due::Nothing, Due::KeepAlive)
    }

    fn due_in_time(&self) -> Option<Timestamp> {
        // Once the response is over, nothing more is to be done.
        self.watch.due()?;
        match &self.answer {
            AnswerPhase::Judged(gatekeeper) if gatekeeper.is_stream() => self.gate_until(),
            AnswerPhase::Passed(follower) if follower.is_stream() && !follower.has_ended_with_notice() => {
                self.keep_alive.map(|keep_alive| keep_alive.due())
            }
            _ => None,
        }
    }

    fn gate_until(&self) -> Option<Timestamp> {
        self.gate.max_time.map(|time| self.sent_at.after(time))
    }

    /// Whether it must be possible to put text into the stream at any time.
    fn wants_insertion(&self) -> bool {
        self.on_break == OnBreak::ErrorEvent || self.keep_alive.is_some()
    }

    /// Passes the commit point with what is held.
    fn commit<H: HeaderSink>(
        &mut self,
        host: &mut H,
        pass_held: impl FnOnce(&mut Follower, &mut H) -> ChunkReport,
    ) -> Option<ChunkReport> {
        let wants_insertion = self.wants_insertion();
        match std::mem::replace(&mut self.answer, AnswerPhase::Awaited) {
            AnswerPhase::Judged(gatekeeper) => {
                let mut follower = gatekeeper.commit(wants_insertion, host);
                let report = pass_held(&mut follower, host);
                self.answer = AnswerPhase::Passed(follower);
                Some(report)
            }
            other => {
                self.answer = other;
                None
            }
        }
    }

    /// Takes in what a chunk has brought.
    fn passage(&mut self, report: ChunkReport, now: Timestamp) -> Passage {
        let ChunkReport { release, new_bytes, content, forwarded, settled } = report;
        self.log.bytes = self.log.bytes.saturating_add(new_bytes as u64);
        let first_content = content.and_then(|events| self.content(events, now));
        if forwarded && let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.heard(now);
        }
        if settled.is_some() {
            // Nothing more is owed. A provider that does not end the connection is left to Envoy's idle timeout.
            self.watch.over();
        }
        Passage { release, first_content, settled }
    }

    /// Content has come, in so many events. Says how long the first one took, if this is the first.
    fn content(&mut self, events: u64, now: Timestamp) -> Option<Duration> {
        self.watch.content(events, now);
        if self.first_content.is_some() {
            return None;
        }
        let took = now.since(self.sent_at);
        self.first_content = Some(took);
        self.log.content_at = Some(now);
        Some(took)
    }
}

/// The class of the failure that an attempt is in which something has taken too long.
pub(super) const fn class_of(alarm: Alarm) -> ErrorClass {
    match alarm {
        Alarm::FirstContent | Alarm::Answer | Alarm::Total => ErrorClass::Timeout,
        Alarm::Idle | Alarm::ContentIdle | Alarm::BelowMinimumRate => ErrorClass::StreamStalled,
    }
}
