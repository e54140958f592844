//! The state of one client request over all its attempts, and the decision after each failure.

use std::rc::Rc;

use crate::admission::{RequestFailures, Reserved, spent_by};
use crate::base::{ClassSet, ErrorClass, OneOrMore, Random, Store, TargetId, Timestamp};
use crate::generation::Effects;
use crate::intake::{ClientRequest, Hold};
use crate::outcome::Outcome;
use crate::queue::{Joining, Queues};
use crate::record::RecordBuilder;
use crate::refusal::{ClientRetry, Refusal};
use crate::report::{self, Disclosure, SharedRecord};
use crate::retry::{self, Failed, Next, Permission, Received, Retries, Situation, Spent, Stop};
use crate::survey::{Progress, SpendCeiling, Survey, Tried, can_be_free, has_options};
use crate::tenancy::BudgetSet;

/// What the decision after a failure needs of the worker.
pub(super) struct FailureContext<'a> {
    pub(super) effects: Effects<'a>,
    pub(super) retries: &'a mut Retries,
    pub(super) queues: &'a Queues,
}

/// What happens to one client request, over all its attempts.
#[derive(Debug)]
pub struct Journey {
    pub(super) request: Rc<ClientRequest>,
    record: Option<SharedRecord>,
    /// The place that its body takes in Envoy's buffers, while it takes any.
    hold: Option<Hold>,
    tried: OneOrMore<Tried>,
    /// Whether a failure may lead to another attempt.
    permission: Permission,
    /// The decision after the last failure, if the request goes on. The next pass acts on it.
    granted: Option<Next>,
    failed: Option<Failed>,
    /// Why nothing more is tried, if so.
    gave_up: Option<Stop>,
    /// The only target that may get the next attempt.
    only: Option<TargetId>,
    /// How often the request was sent again although a provider may have accepted it.
    replays: u8,
    /// What its failures mean to the breakers.
    pub(super) failures: RequestFailures,
    /// What it has reserved in its key's budgets, once its first attempt is over.
    reserved: Option<Reserved>,
    pub(super) warnings: BudgetSet,
}

impl Journey {
    /// A request that was understood. Until it is kept for further passes, no failure leads to another
    /// attempt.
    pub(super) fn new(request: Rc<ClientRequest>, record: Option<SharedRecord>) -> Self {
        let replays = request.forgotten;
        Self {
            request,
            record,
            hold: None,
            tried: OneOrMore::new(),
            permission: Permission::Denied(Stop::NoRetryLoop),
            granted: None,
            failed: None,
            gave_up: None,
            only: None,
            replays,
            failures: RequestFailures::default(),
            reserved: None,
            warnings: BudgetSet::default(),
        }
    }

    /// The same with the place that its body takes in Envoy's buffers.
    pub(super) fn holding(self, hold: Hold) -> Self {
        Self { hold: Some(hold), ..self }
    }

    /// Envoy needs its body no longer.
    pub(super) fn free_body(&mut self) {
        self.hold = None;
    }

    pub(super) fn record(&self) -> Option<SharedRecord> {
        self.record.clone()
    }

    pub(super) fn note(&self, note: impl FnOnce(&mut RecordBuilder)) {
        if let Some(record) = &self.record
            && let Ok(mut record) = record.try_borrow_mut()
        {
            note(&mut record);
        }
    }

    /// How far the request is.
    pub(super) fn progress(&self) -> Progress<'_> {
        Progress { tried: &self.tried, only: self.only, ceiling: self.spend_ceiling() }
    }

    pub(super) fn tried(&self) -> &[Tried] {
        &self.tried
    }

    /// Attempts made so far.
    pub(super) fn attempts(&self) -> u8 {
        u8::try_from(self.tried.len()).unwrap_or(u8::MAX).saturating_add(self.request.forgotten)
    }

    /// Whether an attempt other than the one at `slot` was really made. The edge may hedge.
    pub(super) fn was_sent_besides(&self, slot: usize) -> bool {
        self.tried.iter().enumerate().any(|(other, tried)| other != slot && !tried.was_withdrawn())
    }

    /// The limit on what a further attempt may cost; `None` without a limit, and for the first attempt.
    fn spend_ceiling(&self) -> Option<SpendCeiling> {
        let most = self.request.model()?.retry.max_cost.filter(|_| !self.tried.is_empty())?;
        Some(SpendCeiling { spent: spent_by(&self.request, &self.tried), most })
    }

    pub(super) fn permit(&mut self, permission: Permission) {
        self.permission = permission;
    }

    /// Grants what its next pass is to do.
    pub(super) fn grant(&mut self, next: Next) {
        self.granted = Some(next);
    }

    pub(super) fn take_granted(&mut self) -> Option<Next> {
        self.granted.take()
    }

    pub(super) const fn gave_up(&self) -> Option<Stop> {
        self.gave_up
    }

    /// An attempt is sent. Returns its position.
    pub(super) fn attempt_starts(&mut self, attempt: Tried, warnings: Option<BudgetSet>) -> usize {
        self.tried.push(attempt);
        self.warnings = warnings.unwrap_or(self.warnings);
        self.tried.len().saturating_sub(1)
    }

    /// The outcome of an attempt is certain.
    pub(super) fn attempt_ended(&mut self, slot: usize, outcome: Outcome, reserved: Option<Reserved>) {
        if let Some(tried) = self.tried.get_mut(slot) {
            tried.outcome = Some(outcome);
        }
        if reserved.is_some() {
            self.reserved = reserved;
        }
    }

    /// Whether more than one target can be asked for this request at all.
    pub(super) fn can_ask_others(&self) -> bool {
        self.permission == Permission::Granted
            && self.request.model().is_some_and(|model| {
                model.retry.attempts > 1 && model.tiers.iter().flatten().nth(1).is_some()
            })
    }

    /// An attempt is answering the client.
    pub(super) fn is_served(&mut self, effects: &mut Effects<'_>, now: Timestamp) {
        self.failures.served(&self.request.generation, effects, now);
    }

    /// No further attempt follows. The edge may hedge, so one may still be under way.
    pub(super) fn attempts_are_over(&mut self, effects: &mut Effects<'_>, now: Timestamp) {
        if self.tried.iter().all(|tried| tried.outcome.is_some()) {
            self.failures.settle(&self.request.generation, effects, now);
        }
    }

    /// The request is over: what its attempts took replaces what it had reserved.
    pub(super) fn settle(&mut self, effects: &mut Effects<'_>, now: Timestamp) {
        self.failures.settle(&self.request.generation, effects, now);
        if let Some(reserved) = self.reserved.take() {
            reserved.settle(&self.request, &self.tried, effects, now);
        }
    }

    /// Whether a failure of the attempt under way could still lead to another attempt.
    pub(super) fn could_move(&self, now: Timestamp) -> bool {
        self.permission == Permission::Granted
            && self.request.model().is_some_and(|model| {
                self.attempts() < model.retry.attempts && model.fallback_on != ClassSet::default()
            })
            && has_options(&self.request, self.progress(), now)
    }

    /// Whether another target would get the request if the attempt at `slot` took no longer. Takes nothing.
    pub(super) fn would_go_elsewhere(&self, slot: usize, store: &mut dyn Store, now: Timestamp) -> bool {
        let next = self.decide(0, slot, Failed::of(ErrorClass::Timeout), now);
        let budget = &self.request.config().retry_budget;
        matches!(next, Next::Elsewhere(_)) && retry::budget_use(store, budget, now).has_room()
    }

    /// Decides what follows the failure of the attempt at `slot`.
    pub(super) fn after_failure(
        &mut self,
        context: &mut FailureContext<'_>,
        slot: usize,
        failed: Failed,
        now: Timestamp,
    ) -> Next {
        if let Some(tried) = self.tried.get_mut(slot) {
            tried.failure = Some(failed.class);
            tried.may_return = failed.rejects_addition
                || failed.may_drop_reasoning
                || retry::may_return(failed.class, failed.should_retry);
        }
        self.failed = Some(failed);
        self.only = None;
        let next = self.decide(context.effects.rng.next_u64(), slot, failed, now);
        let next = self.within_budget(context, next, now);
        // A provider may ask for a retry of a failure that must not lead to other targets, or reject what the
        // filter added. Then only it gets the retry.
        let stays = matches!(next, Next::Again { .. })
            && (failed.rejects_addition
                || self.request.model().is_some_and(|model| !model.fallback_on.contains(failed.class)));
        if stays {
            self.only = self.tried.get(slot).map(|tried| tried.target);
        }
        if let Next::Stop(stop) = next {
            self.gave_up = Some(stop);
        } else {
            self.gave_up = None;
            self.granted = Some(next);
            self.replays = self.replays.saturating_add(u8::from(failed.received == Received::Perhaps));
        }
        log::debug!(
            "attempt {} failed as {}, decided: {}",
            slot + 1,
            failed.class.name(),
            report::decision_name(next)
        );
        next
    }

    fn is_stateful(&self) -> bool {
        !self.request.facts.state.is_empty()
    }

    /// Why a request is not sent whose earlier attempts a crash has made unknown.
    pub(super) fn stopped_by_crash(&self) -> Option<Stop> {
        let unknown = self.request.forgotten;
        let model = self.request.model()?;
        let most = if self.request.client_limits.no_fallback { 1 } else { model.retry.attempts };
        if unknown >= most {
            return Some(Stop::AttemptsUsedUp);
        }
        let may_send = retry::may_send_after_crash(&model.retry, unknown, self.is_stateful());
        (!may_send).then_some(Stop::MaybeBilled)
    }

    fn decide(&self, draw: u64, slot: usize, failed: Failed, now: Timestamp) -> Next {
        let (Some(survey), Some(tried)) =
            (Survey::take(&self.request, self.progress(), now), self.tried.get(slot))
        else {
            return Next::Stop(Stop::NothingLeft);
        };
        let spent = Spent {
            attempts: self.attempts(),
            at_target: survey.row(tried.target).map_or(0, |row| row.attempts),
            replays: self.replays,
            deadline: self.request.deadline(),
            stateful: self.is_stateful(),
        };
        let model = survey.model();
        let next = |left| {
            retry::after_failure(Situation {
                policy: &model.retry,
                on: model.fallback_on,
                failed,
                permission: self.permission,
                spent,
                left,
                now,
                draw,
            })
        };
        let stops = |next| matches!(next, Next::Stop(_));
        let decided = next(survey.remaining(tried.target));
        if stops(decided)
            && survey.progress().ceiling.is_some()
            && !stops(next(survey.remaining_at_any_cost(tried.target)))
        {
            return Next::Stop(Stop::SpendCeiling);
        }
        decided
    }

    /// Applies the retry budget, which limits further attempts over all requests of this Envoy. It is
    /// checked last, so that nothing is taken from it for an attempt that is not made.
    fn within_budget(&self, context: &mut FailureContext<'_>, next: Next, now: Timestamp) -> Next {
        match next {
            Next::Stop(_) => return next,
            Next::Wait { .. } if !context.queues.may_wait(&self.request) => {
                return Next::Stop(Stop::QueueFull);
            }
            _ => {}
        }
        let config = self.request.config();
        let grant = context.retries.take(context.effects.store, &config.retry_budget, now);
        context.effects.note_shared(grant.shared);
        if grant.allowed { next } else { Next::Stop(Stop::RetryBudget) }
    }

    /// What the client is told about retries after this end.
    pub(super) fn client_retry(&self, gave_up: Stop, now: Timestamp) -> ClientRetry {
        report::client_retry(gave_up, self.failed, self.survey_for_retries(gave_up, now).as_ref())
    }

    /// Tells the client beside a failed response why nothing more is tried, and whether to retry.
    pub(super) fn advise(&self, stop: Stop, failed: Failed, now: Timestamp, sink: &mut impl Disclosure) {
        report::advise(stop, failed, self.survey_for_retries(stop, now).as_ref(), sink);
    }

    /// The survey for a new request like this one, from which follows when the client may retry. `None` if
    /// the client is told nothing about that, as after most errors of the request itself.
    fn survey_for_retries(&self, stop: Stop, now: Timestamp) -> Option<Survey<'_>> {
        if stop.is_filter_decision() { Survey::afresh(&self.request, now) } else { None }
    }

    /// The refusal after the last attempt: what was tried, and which other targets may not take the request.
    pub(super) fn exhausted(&self, status: u16, client_retry: ClientRetry, now: Timestamp) -> Refusal {
        if let Some(refusal) = self.gave_up.and_then(|stop| self.state_elsewhere(stop, now)) {
            return refusal;
        }
        Survey::take(&self.request, self.progress(), now)
            .map_or(Refusal::Internal, |survey| report::exhausted(&survey, status, client_retry))
    }

    /// The refusal after the last attempt, if the targets that are left only lack the state of the conversation.
    pub(super) fn state_elsewhere(&self, stop: Stop, now: Timestamp) -> Option<Refusal> {
        if stop != Stop::NothingLeft {
            return None;
        }
        let survey = Survey::take(&self.request, self.progress(), now).filter(Survey::is_bound)?;
        let soonest = Survey::afresh(&self.request, now)?.soonest().map(|at| at.since(now));
        report::state_elsewhere(&survey, soonest.or(self.failed?.hint))
    }

    /// The refusal of a request that no target can take now, or whose total time is over before one could be
    /// asked.
    pub(super) fn no_target(&self, survey: &Survey<'_>) -> Refusal {
        let now = survey.now;
        let is_over = now >= self.request.deadline();
        match self.tried.last() {
            Some(last) if is_over => {
                let client_retry = self.client_retry(Stop::Deadline, now);
                report::exhausted(survey, report::status_after(last.failure), client_retry)
            }
            None if is_over => report::queue_refusal("queue_timeout", survey),
            _ => report::no_target(survey),
        }
    }

    /// The refusal of a request that may not wait, or has waited for as long as it may.
    pub(super) fn not_queued(&self, why: &'static str, now: Timestamp) -> Refusal {
        Survey::take(&self.request, self.progress(), now)
            .map_or(Refusal::Internal, |survey| report::queue_refusal(why, &survey))
    }

    /// The refusal of a request that may wait until then, if no target can be free by that time.
    pub(super) fn waits_in_vain(&self, until: Timestamp, now: Timestamp) -> Option<Refusal> {
        if can_be_free(&self.request, self.progress(), until, now) {
            return None;
        }
        let survey = Survey::take(&self.request, self.progress(), now);
        Some(survey.map_or(Refusal::Internal, |survey| self.no_target(&survey)))
    }

    /// As what a later attempt joins a queue that is to be tried at `at`.
    pub(super) fn joining(&self, at: Timestamp) -> Option<Joining> {
        Survey::take(&self.request, self.progress(), at).map(|survey| Joining::of(&survey))
    }
}
