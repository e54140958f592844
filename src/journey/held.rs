//! A request that is held, and until when.

use std::time::Duration;

use super::registry::SharedJourney;
use super::worker::{LATE, Worker};
use crate::base::Timestamp;
use crate::intake::CallHeaders;
use crate::queue::Entry;
use crate::record::Metric;
use crate::retry::Next;

/// A request that is held.
pub(super) struct Held {
    pub(super) journey: SharedJourney,
    pub(super) call: CallHeaders,
    /// When to try.
    pub(super) at: Timestamp,
    /// When to look whether it still waits for something.
    pub(super) review_at: Timestamp,
    /// When to give up.
    pub(super) until: Timestamp,
    /// How much of the body is in the host's buffer.
    pub(super) buffered: usize,
    /// Whether that is all of it. Envoy 1.36 loses the end of a large body that is released from the timer
    /// while the body still comes.
    pub(super) complete: bool,
    /// Its position in a queue; `None` while it waits for a back-off.
    pub(super) entry: Option<Entry>,
}

impl Held {
    pub(super) fn new(journey: SharedJourney, call: CallHeaders, at: Timestamp, until: Timestamp) -> Self {
        Self { journey, call, at, review_at: at, until, buffered: 0, complete: false, entry: None }
    }

    /// The same with a whole body of so many bytes in the host's buffer.
    pub(super) fn with_body(self, len: usize) -> Self {
        Self { buffered: len, complete: true, ..self }
    }

    /// When it is to be looked at. Until its body is there, it is left alone.
    pub(super) fn due(&self) -> Timestamp {
        if self.complete { self.at.min(self.review_at) } else { self.at }
    }

    /// The worker could do nothing for this long before `now`. If the time to wait is over because of that, there is a little
    /// more: places may have become free meanwhile.
    pub(super) fn excuse(&mut self, pause: Duration, now: Timestamp) {
        if self.until <= now {
            self.until = self.until.after(pause).min(now.after(LATE));
        }
    }

    /// What it waits for.
    pub(super) const fn waits_for(&self) -> Next {
        match self.entry {
            Some(_) => Next::Wait { until: self.at },
            None => Next::Again { at: self.at },
        }
    }

    /// The request waits no longer: it gives its position up.
    pub(super) fn leave(self, worker: &mut Worker) {
        self.entry.into_iter().for_each(|entry| worker.queues.leave(entry));
        worker.tally.add(Metric::Waiting, -1);
    }
}
