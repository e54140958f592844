//! A request that is held: its next attempt comes later, or when a target is free.
//!
//! Its body stays in the host's buffers: all of it for a first attempt, otherwise what the edge has sent
//! again so far. The needs are known, so nothing is read while it waits. The model is written in when the
//! target is known.
//!
//! A request that waits for a back-off waits alone. One that waits until a target is free waits in a queue.

use std::rc::Rc;
use std::time::Duration;

use super::dispatch::{NotSent, Ready};
use super::exchange::{Exchange, Phase, RequestHost, RequestStep};
use super::held::Held;
use super::worker::Worker;
use crate::attempt::OutgoingBody;
use crate::base::Timestamp;
use crate::queue::{Entry, Joining};
use crate::record::Metric;
use crate::refusal::Refusal;
use crate::retry::Position;

/// How often a queued request checks whether a target is free.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a held request goes without a look whether any target can be free in time. Less than a tick, so that each
/// tick looks: breakers may have opened since then.
const REVIEW: Duration = Duration::from_millis(50);
/// How often a due request checks whether its body is complete.
const BODY_COMES: Duration = Duration::from_millis(10);
/// How long a due request waits for its body. Then it is sent, and the rest of the body follows.
const BODY_OVERDUE: Duration = Duration::from_secs(5);

impl Exchange {
    /// Holds a request until a moment of its own.
    #[cold]
    #[inline(never)]
    pub(super) fn hold_alone(&mut self, worker: &mut Worker, held: Held, now: Timestamp) -> RequestStep {
        self.note(|record| record.held_since = Some(now));
        self.hold(worker, held, now)
    }

    /// Holds a request in a queue, or refuses it when the queue is full.
    #[cold]
    #[inline(never)]
    pub(super) fn hold_in_queue(
        &mut self,
        worker: &mut Worker,
        held: Held,
        joining: Option<Joining>,
        now: Timestamp,
    ) -> RequestStep {
        self.note(|record| record.held_since = Some(now));
        let Some(entry) = joining.and_then(|joining| worker.queues.join(&joining, now)) else {
            worker.tally.count(Metric::GaveUpQueueFull);
            let journey = held.journey.borrow();
            return self.refuse_after(worker, journey.not_queued("queue_full", held.at), &journey);
        };
        self.hold(worker, Held { entry: Some(entry), ..held }, now)
    }

    fn hold(&mut self, worker: &mut Worker, held: Held, now: Timestamp) -> RequestStep {
        log::debug!("request is held until {:?}, in a queue: {}", held.at, held.entry.is_some());
        worker.tally.count(Metric::Waits);
        worker.tally.add(Metric::Waiting, 1);
        self.phase = Phase::Held(Box::new(Held { review_at: now.after(REVIEW), ..held }));
        RequestStep::Hold
    }

    /// Whether the request is held until [`wake`](Self::wake) lets it go.
    pub const fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Held(_))
    }

    /// Its position in a queue. Held requests are to be looked at in this order.
    pub fn position(&self) -> Option<Position> {
        match &self.phase {
            Phase::Held(held) => held.entry.as_ref().map(Entry::position),
            _ => None,
        }
    }

    /// An attempt has ended, so a request in a queue need not wait for its moment.
    pub fn wake_early<H: RequestHost>(
        &mut self,
        worker: &mut Worker,
        now: Timestamp,
        host: &mut H,
    ) -> RequestStep {
        let Phase::Held(held) = &mut self.phase else { return RequestStep::Hold };
        if held.entry.is_none() {
            return RequestStep::Hold;
        }
        let at = held.at;
        held.at = at.min(now);
        let step = self.wake(worker, now, host);
        if let Phase::Held(held) = &mut self.phase {
            held.at = at;
        }
        step
    }

    /// The moment may have come that a held request waits for.
    pub fn wake<H: RequestHost>(&mut self, worker: &mut Worker, now: Timestamp, host: &mut H) -> RequestStep {
        if let Some(step) = self.give_up_in_vain(worker, now) {
            return step;
        }
        let Some(mut held) = self.take_due(now) else { return RequestStep::Hold };
        let its_turn = held.entry.as_ref().is_none_or(|entry| worker.queues.may_try(entry, now));
        let is_last = now >= held.until;
        let sent = if its_turn {
            let body = OutgoingBody::Begun { len: held.buffered, is_all: held.complete };
            let ready = Ready { journey: &held.journey, call: &held.call, body, is_new: false };
            self.dispatch(worker, ready, now, host, |_, journey, survey, _| {
                // The refusal is not built for each look of a request that goes on waiting.
                (survey.is_short_of_concurrency(), is_last.then(|| journey.no_target(survey)))
            })
        } else {
            Err(NotSent::NoTarget((false, None)))
        };
        match sent {
            Ok(step) => {
                worker.tally.add(Metric::Waiting, -1);
                held.entry.into_iter().for_each(|entry| worker.queues.go(entry));
                step
            }
            Err(NotSent::NoTarget((for_concurrency, refusal))) => {
                if let Some(entry) = held.entry.as_ref().filter(|_| its_turn) {
                    worker.queues.found_none(entry, for_concurrency);
                }
                if !is_last {
                    held.at = now.after(LOOK_AGAIN).min(held.until);
                    self.phase = Phase::Held(held);
                    return RequestStep::Hold;
                }
                if held.entry.is_some() {
                    worker.tally.count(Metric::QueueTimeouts);
                }
                let refusal =
                    refusal.unwrap_or_else(|| held.journey.borrow().not_queued("queue_timeout", now));
                self.release(worker, *held, refusal)
            }
            Err(NotSent::Refused(refusal)) => self.release(worker, *held, refusal),
        }
    }

    /// Refuses a held request once no target can be free within its wait, whoever's turn it is. It would only learn
    /// the same later.
    fn give_up_in_vain(&mut self, worker: &mut Worker, now: Timestamp) -> Option<RequestStep> {
        let Phase::Held(held) = &mut self.phase else { return None };
        if !held.complete || now < held.review_at || now >= held.until {
            return None;
        }
        held.review_at = now.after(REVIEW);
        let refusal = held.journey.borrow().waits_in_vain(held.until, now)?;
        match std::mem::take(&mut self.phase) {
            Phase::Held(held) => Some(self.release(worker, *held, refusal)),
            other => {
                self.phase = other;
                None
            }
        }
    }

    /// The held request, if its time has come and its body is there.
    fn take_due(&mut self, now: Timestamp) -> Option<Box<Held>> {
        match std::mem::take(&mut self.phase) {
            // The edge has the rest of the body at hand, so this takes milliseconds.
            Phase::Held(mut held)
                if held.at <= now && !held.complete && now < held.until.after(BODY_OVERDUE) =>
            {
                held.at = now.after(BODY_COMES);
                self.phase = Phase::Held(held);
                None
            }
            Phase::Held(held) if held.at <= now => Some(held),
            other => {
                self.phase = other;
                None
            }
        }
    }

    /// The request is held no longer, and is refused.
    fn release(&mut self, worker: &mut Worker, held: Held, refusal: Refusal) -> RequestStep {
        let journey = Rc::clone(&held.journey);
        held.leave(worker);
        self.refuse_after(worker, refusal, &journey.borrow())
    }
}
