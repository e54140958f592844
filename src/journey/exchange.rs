//! One pass of the filter, from the request's headers to the end of the stream. This file has the request's callbacks.

use std::cell::RefCell;
use std::rc::Rc;

use super::dispatch::NotSent;
use super::hold::Held;
use super::journey::Journey;
use super::registry::SharedJourney;
use super::worker::Worker;
use crate::attempt::{Attempt, OutgoingBody};
use crate::base::{Dialect, Endpoint, HeaderBlock, HeaderSink, Timestamp};
use crate::intake::{
    self, CallHeaders, JourneyId, LoopPass, OtherRequest, Reading, Understood, strip_private,
};
use crate::record::{Identity, Metric, RecordBuilder, RequestedModel};
use crate::refusal::{ClientRetry, LocalAnswer, Refusal};
use crate::report::{self, SharedRecord};
use crate::request::BodyBuffer;
use crate::retry::{Next, Permission, Stop};
use crate::survey::Survey;

/// What the request's callbacks need of the host.
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
    /// The response was complete.
    Complete,
    /// The client (in the retry loop: the edge) went away.
    ClientGone,
    /// The provider broke off.
    UpstreamGone,
}

/// One pass of the filter.
#[derive(Default)]
pub struct Exchange {
    pub(super) phase: Phase,
    /// The id under which the journey of this pass is kept; `None` when it is not kept.
    pub(super) kept_as: Option<JourneyId>,
    pub(super) key: Option<Rc<str>>,
    pub(super) tokens: Option<u64>,
    /// The request's record; `None` when the request is for no model.
    pub(super) record: Option<SharedRecord>,
}

#[derive(Default)]
pub(super) enum Phase {
    /// Nothing has been seen.
    #[default]
    Fresh,
    /// The body is being read.
    Reading(Box<Reading>),
    /// The request is for no model and passes.
    Foreign,
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
}

impl Exchange {
    /// The request's headers have come.
    pub fn request_headers<H: RequestHost>(
        &mut self,
        worker: &mut Worker,
        headers: &HeaderBlock,
        end_of_stream: bool,
        now: Timestamp,
        host: &mut H,
    ) -> RequestStep {
        let generation = Rc::clone(&worker.generation);
        let pass = if generation.config.retry_loop { LoopPass::read(headers) } else { LoopPass::FIRST };
        let earlier = pass.id.filter(|_| pass.attempt > 1);
        if let Some(journey) = earlier.and_then(|id| worker.journeys.borrow_mut().rejoin(id)) {
            self.kept_as = pass.id;
            return self.next_attempt(worker, &journey, headers, now, host);
        }
        let method = headers.get(":method").unwrap_or_default();
        let path = headers.get(":path").unwrap_or_default();
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let Some(endpoint) = Endpoint::of_path(path) else {
            return self.other_request(worker, method, path, headers, now, host);
        };
        worker.tally.count(Metric::Requests);
        let record =
            RecordBuilder::new(Rc::clone(&generation.config), endpoint, Identity::read(headers), now);
        self.record = Some(Rc::new(RefCell::new(record)));
        let dialect = endpoint.dialect();
        if method != "POST" {
            return self.refuse(worker, Refusal::Method { allowed: "POST" }, dialect);
        }
        let reading = intake::authenticate(&generation, headers).and_then(|key| {
            self.note(|record| record.key = key);
            Reading::begin(&generation, endpoint, pass, headers, key)
        });
        let reading = match reading {
            Ok(reading) => reading,
            Err(refusal) => return self.refuse(worker, refusal, dialect),
        };
        strip_private(headers, host);
        if end_of_stream {
            // There is no body, so there is no model in it either.
            let refusal = reading.finish(now, |_| {}).err().unwrap_or(Refusal::NoModel);
            return self.refuse(worker, refusal, dialect);
        }
        self.phase = Phase::Reading(Box::new(reading));
        RequestStep::Hold
    }

    /// A request that is for no model: an operator's, the list of models, or one for the operator's other cluster.
    fn other_request(
        &mut self,
        worker: &mut Worker,
        method: &str,
        path: &str,
        headers: &HeaderBlock,
        now: Timestamp,
        sink: &mut impl HeaderSink,
    ) -> RequestStep {
        let operators = report::operator_answer(&mut worker.operator_context(), method, path, headers, now);
        let other = match operators {
            Some(answer) => OtherRequest::Answer(answer),
            None => intake::other_path(&worker.generation, method, path, headers, sink),
        };
        match other {
            OtherRequest::Answer(answer) => {
                self.phase = Phase::Answered;
                RequestStep::Answer(answer)
            }
            OtherRequest::PassOn => {
                self.phase = Phase::Foreign;
                RequestStep::Send
            }
            OtherRequest::Refuse(refusal, dialect) => self.refuse(worker, refusal, dialect),
        }
    }

    /// More of the request's body has come. `available` is what the host's buffer holds: all of the body so far while it is
    /// held, and only the new part afterwards.
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
                let dialect = reading.endpoint().dialect();
                if let Err(refusal) = reading.read(available, host) {
                    return self.refuse(worker, refusal, dialect);
                }
                if end_of_stream {
                    return self.first_attempt(worker, *reading, now, host);
                }
                self.phase = Phase::Reading(reading);
                RequestStep::Hold
            }
            Phase::Sent(mut sent) => {
                let edited = sent.attempt.edit_chunk(host, available);
                let dialect = sent.attempt.dialect();
                self.phase = Phase::Sent(sent);
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

    /// The body has been read: the request goes to its first target, waits, or is refused.
    fn first_attempt<H: RequestHost>(
        &mut self,
        worker: &mut Worker,
        reading: Reading,
        now: Timestamp,
        host: &mut H,
    ) -> RequestStep {
        let dialect = reading.endpoint().dialect();
        let understood = reading.finish(now, |facts| self.note(|record| record.read(facts)));
        let Understood { request, body, call, id } = match understood {
            Ok(understood) => understood,
            Err(refusal) => {
                if let Refusal::UnknownModel { name } = &refusal {
                    self.note(|record| record.model = RequestedModel::Unknown(name.as_str().into()));
                }
                return self.refuse(worker, refusal, dialect);
            }
        };
        self.note(|record| {
            record.model = RequestedModel::Known(request.model);
            record.forgotten = request.forgotten;
            record.client_limits.clone_from(&request.client_limits);
        });
        let no_fallback = request.client_limits.no_fallback;
        let most = if no_fallback { 1 } else { request.model().map_or(1, |model| model.retry.attempts) };
        let journey = Journey::new(request, self.record.clone());
        if journey.request.forgotten >= most {
            let client_retry = journey.client_retry(Stop::AttemptsUsedUp, now);
            let refusal = journey.exhausted(503, client_retry, now);
            return self.refuse_after(worker, refusal, &journey);
        }
        let journey = Rc::new(RefCell::new(journey));
        let overtakes = self.overtakes(worker, &journey.borrow(), now);
        let sent = match overtakes {
            Some(refusal) => Err(NotSent::NoTarget(refusal)),
            None => self.dispatch(worker, &journey, &call, OutgoingBody::Whole(&body), now, host),
        };
        match sent {
            Ok(()) => {
                self.keep(worker, id, &journey);
                RequestStep::Send
            }
            Err(NotSent::Refused(refusal)) => self.refuse(worker, refusal, dialect),
            Err(NotSent::NoTarget(refusal)) => match self.wait(worker, &journey, now) {
                Some(until) => {
                    self.keep(worker, id, &journey);
                    let held = Held::new(journey, call, now, until).with_body(body.len);
                    self.hold_in_queue(worker, held, now)
                }
                None => self.refuse(worker, refusal, dialect),
            },
        }
    }

    /// The refusal of a first attempt that would overtake requests in a queue. A new request goes behind them even where a
    /// target is free just now.
    fn overtakes(&self, worker: &Worker, journey: &Journey, now: Timestamp) -> Option<Refusal> {
        if worker.queues.is_empty() {
            return None;
        }
        let survey = Survey::take(&journey.request, journey.progress(), now)?;
        let behind = journey.is_behind_others(worker, &survey);
        behind.then(|| report::queue_refusal("queue_full", &survey))
    }

    /// Until when a first attempt that no target can take now waits.
    fn wait(&self, worker: &mut Worker, journey: &SharedJourney, now: Timestamp) -> Option<Timestamp> {
        let journey = journey.borrow();
        let survey = Survey::take(&journey.request, journey.progress(), now)?;
        journey.queued_until(worker, &survey)
    }

    /// A pass after a failed one. The request is known, so its body is not read again but edited as it streams by.
    fn next_attempt<H: RequestHost>(
        &mut self,
        worker: &mut Worker,
        shared: &SharedJourney,
        headers: &HeaderBlock,
        now: Timestamp,
        host: &mut H,
    ) -> RequestStep {
        // The edge hedges against a slow attempt when the one before has not failed.
        let hedges = shared.borrow().tried().last().is_some_and(|last| last.failure.is_none());
        let granted = shared.borrow_mut().take_granted();
        self.record = shared.borrow().record();
        strip_private(headers, host);
        let call = CallHeaders::read(headers);
        if let Some(Next::Again { at } | Next::Wait { until: at }) = granted {
            let until = shared.borrow().held_until(at, now);
            let held = Held::new(Rc::clone(shared), call, at, until);
            return match granted {
                Some(Next::Wait { .. }) => self.hold_in_queue(worker, held, now),
                _ => self.hold_alone(worker, held, now),
            };
        }
        let allowed = granted.is_some() || (hedges && shared.borrow().could_move(now));
        let sent = if allowed {
            self.dispatch(worker, shared, &call, OutgoingBody::Begun(0), now, host)
        } else {
            Err(NotSent::NoTarget(Refusal::Internal))
        };
        match sent {
            Ok(()) => RequestStep::Send,
            Err(NotSent::Refused(refusal)) => self.refuse_after(worker, refusal, &shared.borrow()),
            Err(NotSent::NoTarget(_)) => {
                let journey = shared.borrow();
                // Where a further attempt was wanted, its target has become unhealthy since.
                let gave_up = if granted.is_some() { Some(Stop::NothingLeft) } else { journey.gave_up() };
                let client_retry =
                    gave_up.map_or(ClientRetry::Unsaid, |stop| journey.client_retry(stop, now));
                let status = report::status_after(journey.tried().last().and_then(|last| last.failure));
                let refusal = journey.exhausted(status, client_retry, now);
                self.refuse_after(worker, refusal, &journey)
            }
        }
    }

    /// Keeps the journey for later passes, where there can be any.
    fn keep(&mut self, worker: &mut Worker, id: Option<JourneyId>, journey: &SharedJourney) {
        let Some(id) = id else { return };
        let (limit, no_fallback) = {
            let request = &journey.borrow().request;
            (request.config().limits.max_journeys, request.client_limits.no_fallback)
        };
        let permission = if worker.journeys.borrow_mut().begin(id, Rc::clone(journey), limit) {
            self.kept_as = Some(id);
            worker.tally.add(Metric::Journeys, 1);
            if no_fallback { Permission::Denied(Stop::ClientForbids) } else { Permission::Granted }
        } else {
            worker.tally.count(Metric::JourneysFull);
            Permission::Denied(Stop::JourneysFull)
        };
        journey.borrow_mut().permit(permission);
    }

    /// Refuses a request that may have been attempted. Its client is told how often.
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

    pub(super) fn refuse(&mut self, worker: &mut Worker, refusal: Refusal, dialect: Dialect) -> RequestStep {
        let (status, reason) = refusal.code();
        log::debug!("request is refused with {status}, {reason}");
        worker.tally.count(Metric::Refusals);
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
