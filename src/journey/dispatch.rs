//! Choose, admit, address, edit, send. First attempts, later ones and queued requests are all sent by this
//! one function.

use std::rc::Rc;

use super::exchange::{Exchange, Phase, RequestHost, RequestStep};
use super::journey::Journey;
use super::registry::SharedJourney;
use super::worker::Worker;
use crate::admission::{Admission, Exhausted, NotAdmitted};
use crate::attempt::{Attempt, Destination, Outgoing, OutgoingBody, Translating, prepare};
use crate::base::{Random, Timestamp};
use crate::intake::{CallHeaders, ClientRequest};
use crate::record::{AttemptStart, Metric};
use crate::refusal::Refusal;
use crate::report;
use crate::survey::{Survey, Tried};

/// A request that may be sent now.
pub(super) struct Ready<'a> {
    pub(super) journey: &'a SharedJourney,
    pub(super) call: &'a CallHeaders,
    pub(super) body: OutgoingBody<'a>,
    /// Whether it is new, so that it must not overtake queued requests.
    pub(super) is_new: bool,
}

/// Why a request was not sent.
pub(super) enum NotSent<T> {
    /// It may wait. This is what the caller makes of the survey that the choice was made from, so that it
    /// needs no survey of its own.
    NoTarget(T),
    /// Waiting would not help.
    Refused(Refusal),
}

/// What keeps a request from a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// No target can take it now, or its total time is over.
    ByTargets,
    /// Requests wait that it must not overtake, even if a target is free.
    ByQueue,
}

impl Exchange {
    /// Sends the request to the best target, or holds it for the rest of its body if it must be translated. Nothing
    /// is taken otherwise.
    pub(super) fn dispatch<H: RequestHost, T>(
        &mut self,
        worker: &mut Worker,
        ready: Ready<'_>,
        now: Timestamp,
        host: &mut H,
        no_target: impl FnOnce(&mut Worker, &Journey, &Survey<'_>, Kept) -> T,
    ) -> Result<RequestStep, NotSent<T>> {
        let Ready { journey, call, body, is_new } = ready;
        let (admission, drops_reasoning) = choose(worker, &journey.borrow(), is_new, now, no_target)?;
        let request = Rc::clone(&journey.borrow().request);
        let to = Destination { target: admission.target(), drops_reasoning };
        let Some(mut outgoing) = prepare(&request, to, call, body, now, host) else {
            admission.cancel(&request.generation, &mut worker.effects(), now);
            return Err(NotSent::Refused(Refusal::Internal));
        };
        let drops_reasoning = drops_reasoning && outgoing.translating.is_none();
        let mut step = RequestStep::Send;
        if let Some(translating) = outgoing.translating.take() {
            if translating.awaits_body() {
                step = RequestStep::Hold;
            }
            outgoing.translating = Some(translating.seeded(worker.rng.next_u64()));
        }
        let sending = Sending { admission, outgoing, drops_reasoning };
        self.send(worker, journey, &request, sending, now);
        Ok(step)
    }

    fn send(
        &mut self,
        worker: &mut Worker,
        shared: &SharedJourney,
        request: &Rc<ClientRequest>,
        sending: Sending,
        now: Timestamp,
    ) {
        let Sending { admission, outgoing, drops_reasoning } = sending;
        let target = admission.target();
        let mut journey = shared.borrow_mut();
        let warnings = admission.reserved().map(|reserved| reserved.warnings());
        let slot = journey.attempt_starts(Tried::new(target, admission.expected()), warnings);
        let mut start = AttemptStart::new(slot, target, now);
        start.why = admission.fallback_reason().map(|why| why.reason);
        start.balance = request.strategy().filter(|_| !admission.is_anyway());
        start.probe = admission.is_probe();
        start.reasoning_dropped = drops_reasoning;
        start.translated = outgoing.translating.as_ref().map(Translating::recorded);
        journey.note(|record| start = record.attempt_starts(start));
        drop(journey);
        if slot == 0 {
            worker.retries.count_request();
        }
        worker.tally.count(Metric::Attempts);
        worker.tally.add(Metric::AttemptsInFlight, 1);
        log::debug!("attempt {} goes to target {}", slot + 1, request.target_name(target));
        self.key = request.key_to_charge();
        let attempt = Attempt::send(Rc::clone(request), start, admission, outgoing);
        self.phase = Phase::Sent(Box::new(super::exchange::Sent {
            journey: Rc::clone(shared),
            attempt,
            in_place: None,
        }));
    }
}

/// A request that is addressed and edited.
struct Sending {
    admission: Admission,
    outgoing: Outgoing,
    drops_reasoning: bool,
}

/// Chooses a target and takes what an attempt there needs. Says whether the request goes there without its
/// encrypted reasoning.
fn choose<T>(
    worker: &mut Worker,
    journey: &Journey,
    is_new: bool,
    now: Timestamp,
    no_target: impl FnOnce(&mut Worker, &Journey, &Survey<'_>, Kept) -> T,
) -> Result<(Admission, bool), NotSent<T>> {
    let request = &journey.request;
    let Some(mut survey) = Survey::take(request, journey.progress(), now) else {
        return Err(NotSent::Refused(Refusal::Internal));
    };
    if is_new && worker.queues.are_ahead_of(&survey) {
        return Err(NotSent::NoTarget(no_target(worker, journey, &survey, Kept::ByQueue)));
    }
    // A held request is checked on a tick, which may come after its deadline.
    if now < request.deadline() {
        journey.note(|record| report::note_choice(record, &survey));
        match Admission::take(&mut survey, &mut worker.effects()) {
            Ok(admission) => {
                let drops_reasoning = survey.drops_reasoning_at(admission.target());
                return Ok((admission, drops_reasoning));
            }
            Err(NotAdmitted::Budget(Exhausted { budget, wait_s })) => {
                return Err(NotSent::Refused(Refusal::BudgetExhausted { budget, wait_s }));
            }
            Err(NotAdmitted::NoTarget) => {}
        }
    }
    Err(NotSent::NoTarget(no_target(worker, journey, &survey, Kept::ByTargets)))
}
