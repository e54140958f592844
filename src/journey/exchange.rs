//! One pass of the filter, from the request's headers to the end of the stream. This file is the request's half.

use std::cell::RefCell;
use std::rc::Rc;

use super::addressing::{self, Address};
use super::attempt::Attempt;
use super::hold::Held;
use super::outcome::End;
use super::reading::{self, Reading};
use super::{
    Journey, JourneyId, LocalAnswer, Refusal, SharedJourney, SharedRecord, Worker, Written, local, operator,
};
use crate::balance::SessionHints;
use crate::base::{Dialect, Endpoint, HeaderBlock, HeaderSink, Timestamp};
use crate::breaker::Blame;
use crate::record::{Identity, Metric, REQUEST_INCOMPLETE, RecordBuilder};
use crate::request::{BodyBuffer, Scanner};

/// What the request's half needs of the host.
pub trait RequestHost: HeaderSink + BodyBuffer {}
impl<H: HeaderSink + BodyBuffer> RequestHost for H {}

/// What the host does next with the request.
#[derive(Debug, PartialEq, Eq)]
pub enum RequestStep {
    /// Hold headers and body, and go on reading.
    Hold,
    /// Let it go.
    Send,
    /// Send this to the client instead.
    Answer(LocalAnswer),
}

/// How a stream ended, seen from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The answer was complete.
    Complete,
    /// The client (in the loop: the edge) went away.
    ClientGone,
    /// The provider broke off.
    UpstreamGone,
}

/// One pass of the filter.
#[derive(Default)]
pub struct Exchange {
    pub(super) phase: Phase,
    /// The id under which the journey of this pass is kept; `None` when it is kept nowhere.
    pub(super) kept_as: Option<JourneyId>,
    pub(super) key: Option<Rc<str>>,
    tokens: Option<u64>,
    /// The request's record; `None` for what is no request for a model.
    pub(super) record: Option<SharedRecord>,
}

#[derive(Default)]
pub(super) enum Phase {
    /// Nothing has been seen.
    #[default]
    Fresh,
    /// The body is being read.
    Reading(Box<Reading>),
    /// Not a request for a model: it passes.
    Foreign,
    /// The filter has answered.
    Answered,
    /// The request waits for its next attempt.
    Held(Box<Held>),
    /// The request is on its way, or its answer on its way back.
    Sent(Box<Attempt>),
}

impl Exchange {
    /// The request's headers have come.
    pub fn request_headers(
        &mut self,
        worker: &mut Worker,
        headers: &HeaderBlock,
        end_of_stream: bool,
        now: Timestamp,
        sink: &mut impl HeaderSink,
    ) -> RequestStep {
        let config = Rc::clone(&worker.config);
        let (id, attempt) = if config.retry_loop { reading::loop_headers(headers) } else { (None, 1) };
        let earlier =
            if attempt > 1 { id.and_then(|id| worker.journeys.borrow_mut().rejoin(id)) } else { None };
        if let Some(journey) = earlier {
            self.kept_as = id;
            return self.next_attempt(worker, journey, headers, now, sink);
        }

        let target = headers.get(":path").unwrap_or_default();
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let method = headers.get(":method").unwrap_or_default();
        let Some(endpoint) = Endpoint::of_path(path) else {
            if let Some(answer) = operator::answer(worker, method, path, headers, now) {
                self.phase = Phase::Answered;
                return RequestStep::Answer(answer);
            }
            return self.no_endpoint(worker, &config, method, path, headers, sink);
        };
        worker.tally.count(Metric::Requests);
        let record = RecordBuilder::new(Rc::clone(&config), endpoint, Identity::read(headers), now);
        self.record = Some(Rc::new(RefCell::new(record)));
        let dialect = endpoint.dialect();
        if method != "POST" {
            return self.refuse(worker, Refusal::Method { allowed: "POST" }, dialect);
        }
        let client_key = match local::authenticated(&config, headers) {
            Ok(key) => key,
            Err(refusal) => return self.refuse(worker, refusal, dialect),
        };
        self.note(|record| record.key = client_key);
        if headers.get("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return self.refuse(worker, Refusal::Encoding, dialect);
        }
        let length = headers.get("content-length").and_then(|text| text.parse::<u64>().ok());
        let limit = config.limits.max_body_bytes;
        if length.is_some_and(|length| length > limit) {
            return self.refuse(worker, Refusal::TooLarge { limit }, dialect);
        }
        let timeout = match reading::timeout(headers) {
            Ok(timeout) => timeout,
            Err(refusal) => return self.refuse(worker, refusal, dialect),
        };
        let regions = match reading::regions(headers) {
            Ok(regions) => regions,
            Err(refusal) => return self.refuse(worker, refusal, dialect),
        };
        addressing::strip_private(headers, sink);
        let key = client_key.and_then(|place| Some(&*config.keys.as_ref()?.get(place)?.name));
        let session_hints = SessionHints::read(headers, key);
        let scanner =
            if config.knows_conversations { Scanner::new() } else { Scanner::blind_to_conversations() };
        let reading = Box::new(Reading {
            config,
            endpoint,
            address: Address::read(headers, query),
            scanner,
            seen: 0,
            window: None,
            has_length: length.is_some(),
            client_key,
            session_hints,
            no_fallback: reading::forbids_fallback(headers),
            timeout,
            regions,
            priority: reading::priority(
                headers,
                client_key.and_then(|key| worker.config.keys.as_ref()?.get(key)),
            ),
            id,
            earlier_attempts: attempt.saturating_sub(1),
        });
        if end_of_stream {
            let refusal = reading.scanner.finish().err().map_or(Refusal::NoModel, Refusal::Body);
            return self.refuse(worker, refusal, dialect);
        }
        self.phase = Phase::Reading(reading);
        RequestStep::Hold
    }

    /// More of the request's body has come. `available` is what the host's buffer holds: while the body is held all of
    /// it so far, afterwards just the new part.
    pub fn request_body<H: RequestHost>(
        &mut self,
        worker: &mut Worker,
        available: usize,
        end_of_stream: bool,
        now: Timestamp,
        host: &mut H,
    ) -> RequestStep {
        match std::mem::take(&mut self.phase) {
            Phase::Reading(mut reading) => {
                let dialect = reading.endpoint.dialect();
                if let Err(refusal) = reading.read(available, host) {
                    return self.refuse(worker, refusal, dialect);
                }
                if end_of_stream {
                    return self.first_attempt(worker, *reading, now, host);
                }
                self.phase = Phase::Reading(reading);
                RequestStep::Hold
            }
            Phase::Sent(mut attempt) => {
                let edited =
                    attempt.editor.as_mut().is_none_or(|editor| editor.edit_chunk(host, available).is_ok());
                let dialect = attempt.journey.borrow().endpoint.dialect();
                self.phase = Phase::Sent(attempt);
                if edited { RequestStep::Send } else { self.abandon(worker, dialect, now) }
            }
            Phase::Held(mut held) => {
                held.buffered = available;
                held.complete = end_of_stream;
                self.phase = Phase::Held(held);
                RequestStep::Hold
            }
            other => {
                self.phase = other;
                RequestStep::Send
            }
        }
    }

    /// The request ends with trailers instead of a last piece of body.
    pub fn request_trailers<H: RequestHost>(
        &mut self,
        worker: &mut Worker,
        now: Timestamp,
        host: &mut H,
    ) -> RequestStep {
        match std::mem::take(&mut self.phase) {
            Phase::Reading(reading) => self.first_attempt(worker, *reading, now, host),
            Phase::Held(mut held) => {
                held.complete = true;
                self.phase = Phase::Held(held);
                RequestStep::Hold
            }
            other => {
                self.phase = other;
                RequestStep::Send
            }
        }
    }

    /// The host could not do what a step needs, so the request must not go on: it is answered instead, and nobody is
    /// blamed.
    pub fn abandon(&mut self, worker: &mut Worker, dialect: Dialect, now: Timestamp) -> RequestStep {
        match std::mem::take(&mut self.phase) {
            Phase::Sent(mut attempt) => {
                attempt.leave(worker, now);
                attempt.report(worker, End::Withdrawn, Blame::NEUTRAL, now);
                self.settle_unkept(worker, &attempt.journey, now);
                attempt.hand_in(now);
            }
            Phase::Held(held) => {
                worker.lines.leave(&held);
                worker.tally.add(Metric::Waiting, -1);
            }
            other => self.phase = other,
        }
        self.refuse(worker, Refusal::Internal, dialect)
    }

    /// Settles a journey that is kept nowhere when its only attempt was not sent: once the filter has answered,
    /// [`finish`](Self::finish) no longer knows of it. A kept journey is settled when it leaves the registry.
    pub(super) fn settle_unkept(&self, worker: &mut Worker, journey: &SharedJourney, now: Timestamp) {
        if self.kept_as.is_none() {
            journey.borrow_mut().settle(worker, now);
        }
    }

    /// The stream is over, whichever way. Nothing of this pass is kept afterwards. With the request's last pass its record
    /// comes out, if it is to be recorded.
    pub fn finish(&mut self, worker: &mut Worker, ending: Ending, now: Timestamp) -> Option<Written> {
        let phase = std::mem::take(&mut self.phase);
        let kept_as = self.kept_as.take();
        let sent = match &phase {
            Phase::Sent(attempt) => Some((Rc::clone(&attempt.journey), attempt.slot)),
            _ => None,
        };
        let expects_another = match phase {
            Phase::Sent(attempt) => attempt.conclude(worker, ending, now),
            Phase::Reading(_) if ending == Ending::ClientGone => {
                worker.tally.count(Metric::ClientAborts);
                false
            }
            Phase::Reading(_) => {
                self.note(|record| record.broke = Some(REQUEST_INCOMPLETE));
                false
            }
            Phase::Held(held) => {
                worker.lines.leave(&held);
                worker.tally.add(Metric::Waiting, -1);
                if ending == Ending::ClientGone {
                    worker.tally.count(Metric::ClientAborts);
                    self.note(|record| record.client_gone = true);
                } else {
                    self.note(|record| record.broke = Some(REQUEST_INCOMPLETE));
                }
                false
            }
            _ => false,
        };
        self.tokens = sent.as_ref().and_then(|(journey, slot)| journey.borrow().tokens_to_tell(*slot));
        let unkept = sent.filter(|_| kept_as.is_none()).map(|(journey, _)| journey);
        let record = self.record.take();
        let kept = kept_as.is_some();
        let left = kept_as.and_then(|id| worker.journeys.borrow_mut().leave(id, expects_another, now));
        if left.is_some() {
            worker.tally.add(Metric::Journeys, -1);
        }
        let over = !kept || left.is_some();
        if let Some(journey) = left.or(unkept) {
            journey.borrow_mut().settle(worker, now);
        }
        if over { worker.write(&record?, now) } else { None }
    }

    /// Whose request is sent now, where Envoy's rate-limit filter wants to know. To be told once.
    pub fn take_key(&mut self) -> Option<Rc<str>> {
        self.key.take()
    }

    /// The tokens that Envoy's rate-limit filter is to charge for this pass. Known when it is over.
    pub const fn tokens(&self) -> Option<u64> {
        self.tokens
    }

    /// The same for a request that may have been attempted; its client is told how often.
    pub(super) fn refuse_after(
        &mut self,
        worker: &mut Worker,
        refusal: Refusal,
        journey: &Journey,
    ) -> RequestStep {
        let mut step = self.refuse(worker, refusal, journey.endpoint.dialect());
        if let (RequestStep::Answer(answer), attempts @ 1..) = (&mut step, journey.attempts()) {
            answer.headers.push(("x-llm-attempts", attempts.to_string()));
        }
        step
    }

    pub(super) fn refuse(&mut self, worker: &mut Worker, refusal: Refusal, dialect: Dialect) -> RequestStep {
        worker.tally.count(Metric::Refusals);
        self.note(|record| record.refusal = Some(refusal.code()));
        self.phase = Phase::Answered;
        RequestStep::Answer(refusal.answer(dialect))
    }
}
