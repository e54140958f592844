//! Choose, admit, address, edit, send. First attempts, later ones and queued requests are all sent by this
//! one function.

use std::rc::Rc;

use super::exchange::{Exchange, Phase, RequestHost};
use super::registry::SharedJourney;
use super::worker::Worker;
use crate::admission::{Admission, NotAdmitted};
use crate::attempt::{Attempt, Outgoing, OutgoingBody, prepare};
use crate::base::Timestamp;
use crate::intake::{CallHeaders, ClientRequest};
use crate::record::{AttemptStart, Metric};
use crate::refusal::Refusal;
use crate::report;
use crate::survey::{Survey, Tried};

/// Why a request was not sent.
pub(super) enum NotSent {
    /// No target can take it now, or its total time is over. It may wait. `Journey::no_target` has the
    /// refusal, which is not built for each look of a request that goes on waiting.
    NoTarget,
    /// Waiting would not help.
    Refused(Refusal),
}

impl Exchange {
    /// Sends the request to the best target. Nothing is taken unless it is sent.
    pub(super) fn dispatch<H: RequestHost>(
        &mut self,
        worker: &mut Worker,
        journey: &SharedJourney,
        call: &CallHeaders,
        body: OutgoingBody<'_>,
        now: Timestamp,
        host: &mut H,
    ) -> Result<(), NotSent> {
        let request = Rc::clone(&journey.borrow().request);
        let admission = choose(worker, journey, &request, now)?;
        let Some(outgoing) = prepare(&request, admission.target(), call, body, host) else {
            admission.cancel(&request.generation, &mut worker.effects(), now);
            return Err(NotSent::Refused(Refusal::Internal));
        };
        self.send(worker, journey, &request, admission, outgoing, now);
        Ok(())
    }

    fn send(
        &mut self,
        worker: &mut Worker,
        shared: &SharedJourney,
        request: &Rc<ClientRequest>,
        admission: Admission,
        outgoing: Outgoing,
        now: Timestamp,
    ) {
        let target = admission.target();
        let mut journey = shared.borrow_mut();
        let warnings = admission.reserved().map(|reserved| reserved.warnings());
        let slot = journey.attempt_starts(Tried::new(target, admission.expected()), warnings);
        let mut start = AttemptStart::new(slot, target, now);
        start.why = admission.fallback_reason().map(|why| why.reason);
        start.balance = request.strategy().filter(|_| !admission.is_anyway());
        start.probe = admission.is_probe();
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
        self.phase = Phase::Sent(Box::new(super::exchange::Sent { journey: Rc::clone(shared), attempt }));
    }
}

/// Chooses a target and takes what an attempt there needs.
fn choose(
    worker: &mut Worker,
    journey: &SharedJourney,
    request: &ClientRequest,
    now: Timestamp,
) -> Result<Admission, NotSent> {
    let journey = journey.borrow();
    // A held request is checked on a tick, which may come after its deadline.
    if now >= request.deadline() {
        return Err(NotSent::NoTarget);
    }
    let survey = Survey::take(request, journey.progress(), now).ok_or(NotSent::Refused(Refusal::Internal))?;
    journey.note(|record| report::note_choice(record, &survey));
    Admission::take(&survey, &mut worker.effects()).map_err(|not_admitted| match not_admitted {
        NotAdmitted::NoTarget => NotSent::NoTarget,
        NotAdmitted::Budget(exhausted) => {
            NotSent::Refused(Refusal::BudgetExhausted { budget: exhausted.budget, wait_s: exhausted.wait_s })
        }
    })
}
