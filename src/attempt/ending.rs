//! The end of an attempt: one outcome, made once.
//!
//! The outcome is made as soon as it is certain, which is often before the host's stream ends: a failure
//! while the response is held, or a stream's terminal event. What the host's stream does afterwards changes
//! nothing about it.

use std::time::Duration;

use super::{Answer, Attempt};
use crate::admission::Admission;
use crate::answer::AnswerFacts;
use crate::base::{ErrorClass, Timestamp};
use crate::outcome::{AnsweredBy, End, Outcome, StreamEnd};
use crate::record::AttemptEntry;
use crate::retry::Received;
use crate::stream::Made;

/// An attempt whose outcome is certain.
#[must_use = "the admission is settled with the outcome"]
pub struct Ended {
    /// What came of it.
    pub outcome: Outcome,
    /// What it had taken.
    pub admission: Admission,
}

/// How far the response was when the host's stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Nothing of it had come.
    BeforeHeaders,
    /// It was held.
    WhileHeld,
    /// It went to the client.
    Passed {
        /// Whether nothing more of it was to come.
        complete: bool,
    },
    /// The edge discarded it.
    Discarded,
}

impl Attempt {
    /// The filter responds in the provider's place, with this status.
    pub fn answered_here(&mut self, status: u16) {
        self.observed.answered_by = Some(AnsweredBy::Filter);
        self.observed.status = Some(status);
    }

    /// Notes what was decided after the failure, for the record.
    pub fn failed(&mut self, hint: Option<Duration>, then: &'static str) {
        self.observed.hint = hint;
        self.then = Some(then);
    }

    /// The attempt's outcome is certain. `None` if it already was: only the first end counts.
    pub fn end(&mut self, end: End, received: Received, now: Timestamp) -> Option<Ended> {
        let admission = self.admission.take()?;
        // The time without bytes before the end is one of the stream's gaps, and often the reason for the
        // end.
        self.observed.chunk(now);
        let facts = self.facts();
        let outcome = Outcome {
            end,
            received,
            passed: matches!(self.answer, Answer::Passed(_)),
            usage: facts.usage,
            finish: facts.finish,
            first_content: self.first_content,
            longest_gap: self
                .first_content
                .filter(|_| self.request.facts.stream)
                .map(|_| self.observed.longest_gap),
            took: now.since(self.sent_at()),
            host: self.observed.host,
        };
        self.outcome = Some(outcome);
        Some(Ended { outcome, admission })
    }

    fn facts(&self) -> AnswerFacts {
        match &self.answer {
            Answer::Held(gatekeeper) => gatekeeper.facts(),
            Answer::Passed(follower) => follower.facts(),
            Answer::Awaited | Answer::Discarded => AnswerFacts::default(),
        }
    }

    /// What the provider keeps of the answer that the client got, if that is noted.
    pub fn made(&self) -> Option<&Made> {
        match &self.answer {
            Answer::Passed(follower) => follower.made(),
            Answer::Held(_) | Answer::Awaited | Answer::Discarded => None,
        }
    }

    /// Whether its outcome is still open while the client reads a stream.
    pub fn is_open_stream(&self) -> bool {
        self.admission.is_some() && matches!(&self.answer, Answer::Passed(follower) if follower.is_stream())
    }

    /// Whether its answer went to the client unread.
    pub const fn is_unread(&self) -> bool {
        matches!(&self.answer, Answer::Passed(follower) if follower.is_unread())
    }

    /// Whether Envoy does not have the cluster that it was to go to.
    pub const fn lacks_cluster(&self) -> bool {
        self.lacks_cluster
    }

    /// Whether its first content took longer than the breakers tolerate.
    pub const fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// Whether its response went to the client and nothing more of it is to come: its outcome is certain, or
    /// only the terminal event is missing.
    fn is_complete(&self) -> bool {
        match self.outcome {
            Some(outcome) => outcome.passed,
            None => self.watch.has_finish_reasons(),
        }
    }

    /// Whether its outcome is certain and its response went to the client.
    pub fn is_answered(&self) -> bool {
        self.outcome.is_some_and(|outcome| outcome.passed)
    }

    /// Whether it is under way.
    #[cfg(test)]
    pub const fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// It is no longer under way. `false` if it already was not.
    pub fn leave(&mut self, now: Timestamp) -> bool {
        let Some(under_way) = self.under_way.take() else { return false };
        under_way.end(&self.request, self.first_content.is_some(), now);
        true
    }

    /// The host's stream is over. Returns how far the response was.
    pub fn close(&mut self) -> Closed {
        if let stream @ Some(_) = self.facts().stream {
            self.observed.stream = stream;
        }
        match &self.answer {
            Answer::Awaited => Closed::BeforeHeaders,
            Answer::Held(_) => Closed::WhileHeld,
            // Its release was on the way when the stream ended, and came too late.
            Answer::Passed(follower) if follower.is_staged() => Closed::WhileHeld,
            Answer::Passed(_) => Closed::Passed { complete: self.is_complete() },
            Answer::Discarded => Closed::Discarded,
        }
    }

    /// What was wrong with a response that went to the client, if anything was.
    pub fn finish_response(&mut self) -> Option<ErrorClass> {
        match &mut self.answer {
            Answer::Passed(follower) => {
                let failure = follower.finish();
                self.observed.stream = follower.facts().stream.or(self.observed.stream);
                failure
            }
            _ => None,
        }
    }

    /// How a response ends that is complete and stays open. A stream needs no terminal event then.
    pub fn end_while_open(&mut self) -> StreamEnd {
        match &self.answer {
            Answer::Passed(follower) if follower.is_stream() => StreamEnd::Complete,
            _ => StreamEnd::of(self.finish_response()),
        }
    }

    /// What the record says about it. To be taken once.
    pub fn take_entry(&mut self, now: Timestamp) -> AttemptEntry {
        let observed = std::mem::take(&mut self.observed);
        AttemptEntry::of(self.start, observed, self.outcome.as_ref(), self.then, now)
    }
}
