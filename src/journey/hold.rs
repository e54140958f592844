//! A request that is held: its next attempt comes later, or when somebody is free.
//!
//! The edge has sent it again, and what has come of it stays in the host's buffers. Its needs are known from the first
//! attempt, so nothing is read while it waits; only when its target is known is the model put into what is there by then.

use super::attempt::Picked;
use super::departure::Address;
use super::exchange::{Exchange, Phase, RequestHost, RequestStep};
use super::{Refusal, SharedJourney, Worker};
use crate::base::Timestamp;
use crate::record::Metric;
use crate::request::StreamEditor;

/// How often somebody who waits for others looks whether they are free.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(100);

/// A request that is held.
pub(super) struct Held {
    pub(super) journey: SharedJourney,
    pub(super) address: Address,
    /// The length that the client announced.
    pub(super) length: Option<usize>,
    /// When to try.
    pub(super) at: Timestamp,
    /// When to give up, if nobody is free until then.
    pub(super) until: Timestamp,
    /// How much of the body is in the host's buffer.
    pub(super) buffered: usize,
}

impl Exchange {
    /// Holds the request.
    pub(super) fn hold(&mut self, worker: &mut Worker, held: Held) -> RequestStep {
        worker.tally.count(Metric::Waits);
        worker.tally.add(Metric::Waiting, 1);
        self.phase = Phase::Held(Box::new(held));
        RequestStep::Hold
    }

    /// Whether the request is held until [`wake`](Self::wake) lets it go.
    pub const fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Held(_))
    }

    /// The moment has come that a held request waits for.
    pub fn wake<H: RequestHost>(&mut self, worker: &mut Worker, now: Timestamp, host: &mut H) -> RequestStep {
        let mut held = match std::mem::take(&mut self.phase) {
            Phase::Held(held) if held.at <= now => held,
            other => {
                self.phase = other;
                return RequestStep::Hold;
            }
        };
        let dialect = held.journey.borrow().endpoint.dialect();
        let picked = self.pick(worker, &held.journey.borrow(), now);
        let (target, tickets, reason) = match picked {
            Ok(picked) => picked,
            Err(_) if now < held.until => {
                held.at = now.after(LOOK_AGAIN).min(held.until);
                self.phase = Phase::Held(held);
                return RequestStep::Hold;
            }
            Err(refusal) => {
                worker.tally.add(Metric::Waiting, -1);
                return self.refuse(worker, refusal, dialect);
            }
        };
        worker.tally.add(Metric::Waiting, -1);
        let Held { journey, address, length, buffered, .. } = *held;
        let edit = journey.borrow().address_to(target, &address, length, host);
        let Some(edit) = edit else {
            journey.borrow().report(worker, target, tickets, crate::breaker::Blame::NOBODY, now);
            return self.refuse(worker, Refusal::Internal, dialect);
        };
        let asked_usage = edit.asks_for_usage();
        let mut editor = (!edit.is_noop()).then(|| StreamEditor::new(edit));
        let edited =
            buffered == 0 || editor.as_mut().is_none_or(|editor| editor.edit_chunk(host, buffered).is_ok());
        let step = self.send(worker, Picked { journey, target, tickets, reason, asked_usage }, editor, now);
        if edited { step } else { self.abandon(worker, dialect, now) }
    }
}
