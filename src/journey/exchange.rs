//! One pass of the filter, from the request's headers to the end of the stream.

use std::rc::Rc;

use super::held::Held;
use super::journey::Journey;
use super::registry::SharedJourney;
use super::worker::Worker;
use crate::attempt::Attempt;
use crate::base::{Dialect, HeaderSink};
use crate::intake::{JourneyId, Reading};
use crate::record::{Metric, RecordBuilder};
use crate::refusal::{LocalAnswer, Refusal};
use crate::report::SharedRecord;
use crate::request::BodyBuffer;

/// What the request's callbacks need of the host.
pub trait RequestHost: HeaderSink + BodyBuffer {}
impl<H: HeaderSink + BodyBuffer> RequestHost for H {}

/// What the host does next with the request.
#[derive(Debug, PartialEq, Eq)]
pub enum RequestStep {
    /// Hold headers and body, and go on reading.
    Hold,
    /// Release it.
    Send,
    /// Send this to the client instead.
    Answer(LocalAnswer),
}

/// How a stream ended, seen from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The response was complete.
    Complete,
    /// The client (in the retry loop: the edge) went away.
    ClientGone,
    /// The provider broke off.
    UpstreamGone,
    /// Envoy closed the connection on which the request came to the filter, or reset the request there. In the
    /// retry loop that is the hop, which all clients share. Otherwise it is the client's own connection.
    HopClosed,
}

impl Ending {
    /// How a stream ended whose response was not complete, by Envoy's response flags and its response code
    /// details. Every end at the provider's side leaves a flag. Without any, the details say what Envoy closed.
    pub fn of<D: AsRef<[u8]>>(flags: Option<u64>, details: impl FnOnce() -> Option<D>) -> Self {
        match flags {
            Some(flags) if flags & CLIENT_LEFT != 0 => Self::ClientGone,
            Some(flags) if flags & ENVOY_CLOSED != 0 => Self::HopClosed,
            Some(0) if details().is_some_and(|details| !is_of_upstream(details.as_ref())) => Self::HopClosed,
            Some(_) | None => Self::UpstreamGone,
        }
    }
}

/// Envoy's response flags for a client that closed its connection (DC) or reset its stream (DR).
const CLIENT_LEFT: u64 = 1 << 14 | 1 << 28;
/// Envoy's response flags for a violation of the protocol (DPE), which ends all streams of a connection, and for
/// a stream that was reset for want of memory (OM).
const ENVOY_CLOSED: u64 = 1 << 18 | 1 << 25;

/// Whether details are about the provider's side: `via_upstream`, or `upstream_…` with the reason of a break.
fn is_of_upstream(details: &[u8]) -> bool {
    details == b"via_upstream" || details.starts_with(b"upstream_")
}

/// One pass of the filter.
#[derive(Default)]
pub struct Exchange {
    pub(super) phase: Phase,
    /// The id under which the journey of this pass is kept; `None` when it is not kept.
    pub(super) kept_as: Option<JourneyId>,
    pub(super) key: Option<Rc<str>>,
    pub(super) tokens: Option<u64>,
    /// The request's record; `None` for other paths.
    pub(super) record: Option<SharedRecord>,
}

#[derive(Default)]
pub(super) enum Phase {
    /// Nothing has been seen.
    #[default]
    Fresh,
    /// The body is being read.
    Reading(Box<Reading>),
    /// The request is for another path and passes.
    Foreign,
    /// The request is for what lives at one account, and passes.
    AtAccount,
    /// The filter has answered.
    Answered,
    /// The request waits for its next attempt.
    Held(Box<Held>),
    /// The request was sent to a target.
    Sent(Box<Sent>),
}

/// A request that was sent to a target.
pub(super) struct Sent {
    pub(super) journey: SharedJourney,
    pub(super) attempt: Attempt,
    /// The filter's own response, which takes the place of the provider's on the next tick.
    pub(super) in_place: Option<LocalAnswer>,
}

impl Exchange {
    /// Refuses a request that may have had attempts. The client is told how many.
    #[cold]
    #[inline(never)]
    pub(super) fn refuse_after(
        &mut self,
        worker: &mut Worker,
        refusal: Refusal,
        journey: &Journey,
    ) -> RequestStep {
        let mut step = self.refuse(worker, refusal, journey.request.endpoint.dialect());
        if let (RequestStep::Answer(answer), attempts @ 1..) = (&mut step, journey.attempts()) {
            answer.headers.push(("x-llm-attempts", attempts.to_string()));
        }
        step
    }

    #[cold]
    #[inline(never)]
    pub(super) fn refuse(&mut self, worker: &mut Worker, refusal: Refusal, dialect: Dialect) -> RequestStep {
        let (status, reason) = (refusal.status(dialect), refusal.code().1);
        log::debug!("request is refused with {status}, {reason}");
        worker.tally.count(Metric::Refusals);
        if matches!(refusal, Refusal::MemoryFull) {
            worker.tally.count(Metric::HeldRefusals);
        }
        self.note(|record| record.refusal = Some((status, reason)));
        self.phase = Phase::Answered;
        RequestStep::Answer(refusal.answer(dialect))
    }

    pub(super) fn note(&self, note: impl FnOnce(&mut RecordBuilder)) {
        if let Some(record) = &self.record
            && let Ok(mut record) = record.try_borrow_mut()
        {
            note(&mut record);
        }
    }
}
