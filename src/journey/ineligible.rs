//! Who may not take a request and why, for those who are told: clients whose request comes to nothing.

use std::rc::Rc;

use super::plan::Tried;
use super::{Journey, Worker};
use crate::base::{ErrorClass, HeaderSink, TargetId, Timestamp};
use crate::config::Mode;
use crate::fallback::{Eligibility, Gate, GateKind};
use crate::provider::{MAX_OBJECTIONS, Objection, Rejected};
use crate::record::Metric;

/// At most this many targets are named in `x-llm-rejected`.
const MAX_BARRED_TOLD: usize = 8;

/// Why no target may take a request, as far as the client can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ineligible {
    /// The prompt is too long for whoever could take it otherwise.
    TooLong,
    /// It asks for something that nobody who may be used can do.
    Needs,
    /// Whoever could do it must not be used.
    Policy,
}

impl Ineligible {
    /// A target that fails by needs alone would take another request, so that is told first.
    pub(super) fn of(case: &Eligibility<'_>) -> Self {
        let mut why = None;
        for target in case.model.tiers.iter().flatten() {
            let only = |cause| case.closed_gates(*target).all(|gate| gate.kind() == cause);
            if only(GateKind::Request) {
                if !case.closed_gates(*target).all(|gate| gate == Gate::ContextWindow) {
                    why = Some(Self::Needs);
                } else if why != Some(Self::Needs) {
                    why = Some(Self::TooLong);
                }
            } else if why.is_none() && only(GateKind::Policy) {
                why = Some(Self::Policy);
            }
        }
        why.unwrap_or(Self::Needs)
    }
}

/// Who has not been tried and may not take the request.
pub(super) fn ineligible<'j>(
    journey: &'j Journey,
    tried: &'j [Tried],
    now: Timestamp,
) -> impl Iterator<Item = Rejected> + use<'j> {
    let case = journey.case_after(tried, now);
    let all = case.iter().flat_map(|case| case.model.tiers.iter().flatten().copied()).collect::<Vec<_>>();
    let untried = all.into_iter().filter(|target| !tried.iter().any(|attempt| attempt.target == *target));
    untried.filter_map(move |target| {
        let case = case.as_ref()?;
        let reason = case.first_gate(target)?.name();
        let name = Rc::clone(&journey.config.target(target)?.name);
        Some(Rejected { target: name, reason, objections: objections(case, target) })
    })
}

/// What speaks against a target.
pub(super) fn objections(case: &Eligibility<'_>, target: TargetId) -> Vec<Objection> {
    all_objections(case, target).take(MAX_OBJECTIONS).collect()
}

/// The same without a limit: the gates are as many as there are.
pub(super) fn all_objections(case: &Eligibility<'_>, target: TargetId) -> impl Iterator<Item = Objection> {
    case.violations(target).map(|violation| Objection {
        gate: violation.gate.name(),
        needed: violation.needed,
        offered: violation.offered,
    })
}

/// A provider's own error goes to the client as it is, so what kept others from helping stands in a header.
pub(super) fn tell(journey: &Journey, now: Timestamp, sink: &mut impl HeaderSink) {
    let ineligible = ineligible(journey, &journey.tried, now).take(MAX_BARRED_TOLD);
    let ineligible: Vec<_> = ineligible.map(|other| format!("{}={}", other.target, other.reason)).collect();
    if !ineligible.is_empty() {
        sink.set("x-llm-rejected", &ineligible.join(", "));
    }
}

/// Where substitutes are only watched: who would have been asked now.
pub(super) fn tell_shadow(
    journey: &Journey,
    worker: &mut Worker,
    class: ErrorClass,
    now: Timestamp,
    sink: &mut impl HeaderSink,
) {
    let Some(wanted) = journey.wanted(now) else { return };
    let model = wanted.model;
    if model.substitution.mode != Mode::Shadow || !model.fallback_on.contains(class) {
        return;
    }
    let substitute = wanted.would_move_to(&journey.config, &journey.health_view.borrow(), now);
    if let Some(target) = substitute.and_then(|target| journey.config.target(target)) {
        worker.tally.count(Metric::FallbackWouldMove);
        sink.set("x-llm-would-fallback", &target.name);
    }
}
