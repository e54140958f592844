//! What one attempt takes before it is sent: circuit breaker leases, counts against configured limits, and
//! a reservation in the client key's budget.
//!
//! All of it is taken in one place, all or nothing, as one value. An [`Admission`] ends in exactly two
//! ways: cancelled, which returns everything, or settled with the attempt's outcome. It cannot be copied,
//! so nothing is returned twice.

mod answers;
mod failures;
mod leases;
mod load;
mod reservation;
mod transitions;

pub use answers::answer_begins;
pub use failures::RequestFailures;
pub use reservation::{Exhausted, Reserved, spent_by};

use leases::Leases;

use crate::balance::{CountedRequest, Demand, LoadSignal};
use crate::base::{ErrorClass, TargetId, Timestamp, Tokens};
use crate::breaker::Blame;
use crate::config::{Mode, WhenAllOpen};
use crate::generation::{Effects, Generation};
use crate::outcome::{End, Outcome};
use crate::record::Metric;
use crate::survey::{FallbackReason, Selection, Survey};

/// The fallback reason of an attempt at a target that is not healthy.
const TRIED_ANYWAY: &str = "tried_anyway";

/// Everything that one attempt has taken.
#[derive(Debug)]
#[must_use = "an admission is cancelled or settled, or what it took is lost"]
pub struct Admission {
    target: TargetId,
    expected: Tokens,
    leases: Leases,
    counted: CountedRequest,
    reserved: Option<Reserved>,
    why: Option<FallbackReason>,
    is_anyway: bool,
    /// Whether a stream is asked for.
    streamed: bool,
}

/// Why an attempt was not admitted. Nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAdmitted {
    /// No target can be asked now.
    NoTarget,
    /// A budget of the client's key is used up.
    Budget(Exhausted),
}

impl Admission {
    /// Admits an attempt at the best target of the survey. The first attempt of a request reserves what the
    /// request is expected to take in the budget of its client key; later attempts use the same
    /// reservation. After a lost race `survey` is a newer one.
    pub fn take(survey: &mut Survey<'_>, effects: &mut Effects<'_>) -> Result<Self, NotAdmitted> {
        let admitted = Self::choose(survey, effects);
        count_watched_substitutes(survey, admitted.as_ref(), effects);
        let mut admission = admitted.ok_or(NotAdmitted::NoTarget)?;
        if admission.is_anyway {
            effects.tally.count(Metric::TriedAnyway);
        }
        if !survey.progress().tried.is_empty() {
            return Ok(admission);
        }
        match Reserved::take(survey.request, admission.target, effects, survey.now) {
            Ok(reserved) => {
                admission.reserved = reserved;
                Ok(admission)
            }
            Err(exhausted) => {
                log::debug!("budget {} is used up", exhausted.budget);
                admission.cancel(&survey.request.generation, effects, survey.now);
                Err(NotAdmitted::Budget(exhausted))
            }
        }
    }

    fn choose(survey: &mut Survey<'_>, effects: &mut Effects<'_>) -> Option<Self> {
        if survey.request.config().mode == Mode::Shadow {
            return Self::choose_in_shadow(survey, effects);
        }
        let mut selection = Selection::new(survey, effects.rng);
        // Taken after a lost race, so that the lost target is not called healthy or free any more.
        let mut newer = None;
        while let Some(target) = selection.next(effects.rng) {
            if let Some(admission) = Self::at(newer.as_ref().unwrap_or(survey), target, effects) {
                return Some(admission);
            }
            log::debug!("target {} was lost to another request", survey.request.target_name(target));
            selection.lost(target);
            newer = Some(survey.again());
        }
        if let Some(newer) = newer {
            *survey = newer;
        }
        // A target in slow start is not open: the others, which are, would be no better.
        if survey.model().when_all_open != WhenAllOpen::TryAnyway || survey.waits_for_slow_start() {
            return None;
        }
        let admission = Self::anyway(survey, effects);
        if admission.is_none() {
            *survey = survey.again();
        }
        admission
    }

    /// Ignores the breakers. A configured limit is a promise and still applies.
    fn anyway(survey: &Survey<'_>, effects: &mut Effects<'_>) -> Option<Self> {
        let why = Some(FallbackReason { reason: TRIED_ANYWAY, from: None });
        survey.least_bad_first().into_iter().find_map(|target| {
            let leases = Leases::take_anyway(survey.request, target)?;
            let counted = count(survey, target, effects)?;
            Some(Self { is_anyway: true, ..Self::new(survey, target, leases, counted, why) })
        })
    }

    /// Takes leases and counts the request against the target's limits. `None` when another request was
    /// faster to take one of them.
    fn at(survey: &Survey<'_>, target: TargetId, effects: &mut Effects<'_>) -> Option<Self> {
        let generation = &*survey.request.generation;
        let alone = survey.starts_alone(target);
        let leases = Leases::take(survey.request, target, alone, effects, survey.now)?;
        let Some(counted) = count(survey, target, effects) else {
            leases.give_back(generation, effects, survey.now);
            return None;
        };
        Some(Self::new(survey, target, leases, counted, survey.fallback_reason(target)))
    }

    /// Chooses as if every breaker were closed, and counts what the breakers would have done.
    fn choose_in_shadow(survey: &Survey<'_>, effects: &mut Effects<'_>) -> Option<Self> {
        let choice = survey.shadow_choice(effects.rng)?;
        let (generation, target, now) = (&*survey.request.generation, choice.target, survey.now);
        // Probes run in shadow mode too. Otherwise a recovery would not be noticed.
        let lease =
            choice.is_fit.then(|| Leases::take(survey.request, target, false, effects, now)).flatten();
        if !choice.is_fit {
            let metric = if choice.would_move { Metric::ShadowWouldMove } else { Metric::ShadowWouldRefuse };
            effects.tally.count(metric);
        }
        let leases = lease.or_else(|| Leases::take_anyway(survey.request, target))?;
        let demand = Demand::of(survey.expected(target));
        let counted = generation.headroom.borrow_mut().count_anyway(effects.store, target, demand, now);
        Some(Self::new(survey, target, leases, counted, survey.fallback_reason(target)))
    }

    fn new(
        survey: &Survey<'_>,
        target: TargetId,
        leases: Leases,
        counted: CountedRequest,
        why: Option<FallbackReason>,
    ) -> Self {
        let expected = survey.expected(target);
        let streamed = survey.request.facts.stream;
        Self { target, expected, leases, counted, reserved: None, why, is_anyway: false, streamed }
    }

    /// The target that may be asked.
    pub const fn target(&self) -> TargetId {
        self.target
    }

    /// The tokens that the attempt is expected to take.
    pub const fn expected(&self) -> Tokens {
        self.expected
    }

    /// Why it is not the target that would have been asked first.
    pub const fn fallback_reason(&self) -> Option<FallbackReason> {
        self.why
    }

    /// Whether no target was healthy and this one is tried anyway.
    pub const fn is_anyway(&self) -> bool {
        self.is_anyway
    }

    /// Whether the attempt probes a half-open breaker.
    pub fn is_probe(&self) -> bool {
        self.leases.is_probe()
    }

    /// Its budget reservation, if it made one.
    pub const fn reserved(&self) -> Option<&Reserved> {
        self.reserved.as_ref()
    }

    /// Takes the reservation out before this attempt is cancelled. Another attempt of the same request
    /// was sent too, and the reservation covers both.
    #[must_use = "the reservation is settled with the request"]
    pub const fn hand_over_reservation(&mut self) -> Option<Reserved> {
        self.reserved.take()
    }

    /// The attempt was not made: everything is returned.
    pub fn cancel(self, generation: &Generation, effects: &mut Effects<'_>, now: Timestamp) {
        self.leases.give_back(generation, effects, now);
        generation.headroom.borrow_mut().uncount(effects.store, self.counted, now);
        if let Some(reserved) = self.reserved {
            reserved.release(effects, generation.moment(now));
        }
    }

    /// The attempt is over: the breakers learn `blame`, and limits count what it took. `failures` are those
    /// of the whole client request. A reservation covers it too, so it is returned and settled with that.
    #[must_use = "the reservation is settled with the request"]
    pub fn settle(
        self,
        generation: &Generation,
        outcome: &Outcome,
        blame: Blame,
        failures: &mut RequestFailures,
        effects: &mut Effects<'_>,
        now: Timestamp,
    ) -> Option<Reserved> {
        match outcome.end {
            End::Complete => failures.served(generation, effects, now),
            End::Failed(_) if outcome.passed => failures.served(generation, effects, now),
            // Says nothing about the request.
            End::Failed(ErrorClass::HopClosed) | End::ClientGone | End::Withdrawn => {}
            End::Failed(class) => failures.failed(class, generation, effects, now),
        }
        let mut unsent = RequestFailures::unsent();
        // A request that was not sent is not the cause of its failure.
        let failures = if outcome.was_not_sent() { &mut unsent } else { failures };
        self.leases.report(generation, blame, (failures, outcome.host), effects, now);
        let taken = match outcome.usage {
            Some(usage) => Some(usage.input.saturating_add(usage.output)),
            None => (!outcome.may_be_billed()).then_some(0),
        };
        let mut headroom = generation.headroom.borrow_mut();
        if let Some(sign) = load::sign(outcome, self.streamed) {
            headroom.note_load(self.target, LoadSignal { sent_at: self.counted.sent_at(), at: now, sign });
        }
        headroom.settle(effects.store, self.counted, taken, now);
        self.reserved
    }
}

/// Counts the request against the target's configured limits; `None` when they leave no room for it.
fn count(survey: &Survey<'_>, target: TargetId, effects: &mut Effects<'_>) -> Option<CountedRequest> {
    let demand = Demand::of(survey.expected(target));
    let mut headroom = survey.request.generation.headroom.borrow_mut();
    headroom.count(effects.store, target, demand, survey.now)
}

/// In the shadow mode of substitution: counts what the gates would have done.
fn count_watched_substitutes(survey: &Survey<'_>, admitted: Option<&Admission>, effects: &mut Effects<'_>) {
    if !survey.watches_substitutes() {
        return;
    }
    let metric = match admitted {
        Some(admission) => (!survey.admits(admission.target)).then_some(Metric::FallbackWouldReject),
        None => survey.would_move_to().map(|_| Metric::FallbackWouldMove),
    };
    metric.into_iter().for_each(|metric| effects.tally.count(metric));
}
