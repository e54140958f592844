//! The request's callbacks: what follows from a request's headers and body.

use std::cell::RefCell;
use std::rc::Rc;

use super::dispatch::{Kept, NotSent, Ready};
use super::exchange::{Exchange, Phase, RequestHost, RequestStep, Sent};
use super::held::Held;
use super::journey::Journey;
use super::registry::SharedJourney;
use super::worker::Worker;
use crate::attempt::{BodyStep, OutgoingBody};
use crate::base::{HeaderBlock, Timestamp};
use crate::intake::{
    self, CallHeaders, ClientPath, JourneyId, LoopPass, OtherPath, OtherRequest, Reading, Understood,
};
use crate::ownership;
use crate::queue::{Joining, Waiting, held_until};
use crate::record::{Identity, Metric, RecordBuilder, RequestedModel};
use crate::refusal::{ClientRetry, Refusal};
use crate::report;
use crate::request::{Facts, References};
use crate::retry::{Next, Permission, Stop};
use crate::survey::Survey;
use crate::tenancy::NoKey;

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
        let (path, _) = intake::split_query(path);
        let called = match intake::client_path(path) {
            ClientPath::Endpoint(called) => called,
            ClientPath::Other(other) => {
                return self.other_request(worker, method, (path, other), headers, now, host);
            }
        };
        let endpoint = called.endpoint;
        worker.tally.count(Metric::Requests);
        let record = RecordBuilder::new(
            Rc::clone(&generation.fragments),
            endpoint,
            Identity::read(headers),
            generation.moment(now),
        );
        self.record = Some(Rc::new(RefCell::new(record)));
        let dialect = endpoint.dialect();
        if method != "POST" {
            return self.refuse(worker, Refusal::Method { allowed: "POST" }, dialect);
        }
        let key = intake::authenticate(&generation, headers, now);
        // An operator sees in the record whose key has expired.
        self.note(|record| record.key = key.unwrap_or_else(NoKey::expired));
        let reading = key.map_err(Refusal::from).and_then(|key| {
            let held = Rc::clone(worker.journeys.borrow().bodies());
            Reading::begin(&generation, called, pass, headers, key, &held, host)
        });
        let reading = match reading {
            Ok(reading) => reading,
            Err(refusal) => return self.refuse(worker, refusal, dialect),
        };
        if end_of_stream {
            // There is no body, so there is no model in it either.
            let refusal = reading.finish(now, |_| {}, |_| None, |_| None).err().unwrap_or(Refusal::NoModel);
            return self.refuse(worker, refusal, dialect);
        }
        self.phase = Phase::Reading(reading);
        RequestStep::Hold
    }

    /// A request that is for no model: an operator's, the list of models, or one for the operator's other
    /// cluster.
    #[cold]
    #[inline(never)]
    fn other_request<H: RequestHost>(
        &mut self,
        worker: &mut Worker,
        method: &str,
        (path, meant): (&str, OtherPath),
        headers: &HeaderBlock,
        now: Timestamp,
        host: &mut H,
    ) -> RequestStep {
        let operators = match meant {
            // It needs no key, and exists without operators.
            OtherPath::Health => None,
            _ => report::operator_answer(&mut worker.operator_context(), method, path, headers, now),
        };
        if operators.is_none()
            && let Some(step) = self.request_at_account(worker, (method, &meant), headers, now, host)
        {
            return step;
        }
        let other = match operators {
            Some(answer) => OtherRequest::Answer(answer),
            None => intake::other_path(&worker.generation, method, meant, headers, now, host),
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

    /// More of the request's body has come. `available` is what the host's buffer holds: all of the body so
    /// far while it is held, and only the new part afterwards.
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
                if let Err(refusal) = reading.read(available, end_of_stream, host) {
                    return self.refuse(worker, refusal, dialect);
                }
                if end_of_stream {
                    return self.first_attempt(worker, reading, now, host);
                }
                self.phase = Phase::Reading(reading);
                RequestStep::Hold
            }
            Phase::Sent(mut sent) => {
                let step = sent.attempt.body(host, available, end_of_stream);
                self.after_body(worker, sent, step, now)
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
            Phase::Reading(reading) => self.first_attempt(worker, reading, now, host),
            Phase::Held(mut held) => {
                held.complete = true;
                self.phase = Phase::Held(held);
                RequestStep::Hold
            }
            Phase::Sent(mut sent) => {
                let step = sent.attempt.request_trailers(host);
                self.after_body(worker, sent, step, now)
            }
            other => {
                self.phase = other;
                RequestStep::Send
            }
        }
    }

    /// More of the body of a request that was sent has come.
    fn after_body(
        &mut self,
        worker: &mut Worker,
        sent: Box<Sent>,
        step: BodyStep,
        now: Timestamp,
    ) -> RequestStep {
        let dialect = sent.attempt.dialect();
        self.phase = Phase::Sent(sent);
        match step {
            BodyStep::Send => RequestStep::Send,
            BodyStep::Hold => RequestStep::Hold,
            BodyStep::Abandon => self.abandon(worker, dialect, now),
        }
    }

    /// The body has been read: the request goes to its first target, waits, or is refused.
    fn first_attempt<H: RequestHost>(
        &mut self,
        worker: &mut Worker,
        reading: Box<Reading>,
        now: Timestamp,
        host: &mut H,
    ) -> RequestStep {
        let dialect = reading.endpoint().dialect();
        let note = |facts: &Facts| self.note(|record| record.read(facts));
        let owner = |references: &References| ownership::find(&mut *worker.store, references.digests(), now);
        let whole = |len| host.read(0, len).ok().filter(|body| body.len() == len);
        let understood = reading.finish(now, note, owner, whole);
        let Understood { request, mut body, call, id, hold } = match understood {
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
            record.asked_name.clone_from(&request.asked_name);
            record.forgotten = request.forgotten;
            record.client_limits.clone_from(&request.client_limits);
        });
        let journey = Journey::new(request, self.record.clone()).holding(hold);
        if let Some(stop) = journey.stopped_by_crash() {
            let client_retry = journey.client_retry(stop, now);
            report::count_decision(Next::Stop(stop), &mut worker.tally);
            return self.refuse_after(worker, Refusal::Lost { client_retry }, &journey);
        }
        let journey = Rc::new(RefCell::new(journey));
        let body_len = body.len;
        let ready =
            Ready { journey: &journey, call: &call, body: OutgoingBody::Whole(&mut body), is_new: true };
        let refusal = match self.dispatch(worker, ready, now, host, waits) {
            Ok(step) => {
                self.keep(worker, id, &journey);
                return step;
            }
            Err(NotSent::NoTarget(Ok((until, joining)))) => {
                self.keep(worker, id, &journey);
                let held = Held::new(journey, call, now, until).with_body(body_len);
                return self.hold_in_queue(worker, held, Some(joining), now);
            }
            Err(NotSent::NoTarget(Err(refusal)) | NotSent::Refused(refusal)) => refusal,
        };
        self.refuse(worker, refusal, dialect)
    }

    /// A pass after a failed one. The request is known, so its body is not read again but edited as it
    /// streams by.
    ///
    /// The edge may retry for a reason of its own: `retry_on` contains `reset` for a hop to the inner
    /// listener that breaks without a response. That makes no policy. Each pass acts on what was decided
    /// after the last failure, and if nothing was granted, the client gets the list of what was tried.
    #[inline(never)]
    fn next_attempt<H: RequestHost>(
        &mut self,
        worker: &mut Worker,
        shared: &SharedJourney,
        headers: &HeaderBlock,
        now: Timestamp,
        host: &mut H,
    ) -> RequestStep {
        // If the attempt before has not failed, the edge hedges against a slow one.
        let hedges = shared.borrow().tried().last().is_some_and(|last| last.failure.is_none());
        let granted = shared.borrow_mut().take_granted();
        self.record = shared.borrow().record();
        let generation = Rc::clone(&shared.borrow().request.generation);
        let spelling = shared.borrow().request.spelling;
        let call = CallHeaders::take(headers, &generation.config, host).spelled(spelling);
        if let Some(Next::Again { at } | Next::Wait { until: at }) = granted {
            let until = held_until(&shared.borrow().request, at, now);
            let held = Held::new(Rc::clone(shared), call, at, until);
            return match granted {
                Some(Next::Wait { .. }) => {
                    let joining = shared.borrow().joining(at);
                    self.hold_in_queue(worker, held, joining, now)
                }
                _ => self.hold_alone(worker, held, now),
            };
        }
        let allowed = granted.is_some() || (hedges && shared.borrow().could_move(now));
        let sent = if allowed {
            let body = OutgoingBody::Begun { len: 0, is_all: false };
            let ready = Ready { journey: shared, call: &call, body, is_new: false };
            self.dispatch(worker, ready, now, host, |_, _, _, _| ())
        } else {
            Err(NotSent::NoTarget(()))
        };
        match sent {
            Ok(step) => step,
            Err(NotSent::Refused(refusal)) => self.refuse_after(worker, refusal, &shared.borrow()),
            Err(NotSent::NoTarget(())) => {
                let journey = shared.borrow();
                // If a further attempt was granted, no target for it is left since then.
                let gave_up = if granted.is_some() { Some(Stop::NothingLeft) } else { journey.gave_up() };
                let client_retry =
                    gave_up.map_or(ClientRetry::Unsaid, |stop| journey.client_retry(stop, now));
                let status = report::status_after(journey.tried().last().and_then(|last| last.failure));
                let refusal = journey.exhausted(status, client_retry, now);
                self.refuse_after(worker, refusal, &journey)
            }
        }
    }

    /// Keeps the journey for later passes, if there can be any.
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
}

/// Until when a first attempt waits that no target gets now, and as what it joins the queue. Or why it does
/// not wait.
#[cold]
#[inline(never)]
fn waits(
    worker: &mut Worker,
    journey: &Journey,
    survey: &Survey<'_>,
    kept: Kept,
) -> Result<(Timestamp, Joining), Refusal> {
    match worker.queues.first_attempt_waits(survey) {
        Waiting::Until(until) => return Ok((until, Joining::of(survey))),
        Waiting::QueueFull => worker.tally.count(Metric::GaveUpQueueFull),
        Waiting::No => {}
    }
    Err(match kept {
        Kept::ByTargets => journey.no_target(survey),
        Kept::ByQueue => report::queue_refusal("queue_full", survey),
    })
}
