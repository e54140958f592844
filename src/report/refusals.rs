//! Refusals that follow from a survey: why no target gets the request, target by target.

use std::rc::Rc;
use std::time::Duration;

use crate::base::{ErrorClass, TargetId, Timestamp};
use crate::breaker::Unavailable;
use crate::fallback::Gate;
use crate::provider::{MAX_OBJECTIONS, MAX_REJECTED, Rejected};
use crate::refusal::{ClientRetry, Refusal};
use crate::survey::{Obstacle, Row, Survey};

/// How many targets are named that may hold the state of a conversation.
const MAX_HOLDERS_TOLD: usize = 4;

/// When a retry may help if nothing says when the owner of the state is back.
const OWNER_MAY_BE_BACK: Duration = Duration::from_secs(1);

/// The status of a response made here after this failure.
pub const fn status_after(failure: Option<ErrorClass>) -> u16 {
    match failure {
        Some(ErrorClass::RateLimited) => 429,
        Some(ErrorClass::Timeout | ErrorClass::StreamStalled) => 504,
        _ => 503,
    }
}

/// The refusal of a request that no target can take now, with each target's reason.
pub fn no_target(survey: &Survey<'_>) -> Refusal {
    let obstacles: Vec<_> = survey.obstacles().collect();
    let listed = obstacles.iter().take(MAX_REJECTED + 1);
    let rejected = listed.filter_map(|(target, obstacle)| rejected(survey, *target, *obstacle)).collect();
    let is_ineligible = |(_, obstacle): &(TargetId, Obstacle)| matches!(obstacle, Obstacle::Gate(_));
    if obstacles.iter().all(is_ineligible) {
        return Refusal::Ineligible { why: survey.ineligible(), rejected };
    }
    let unhealthy = obstacles.iter().filter(|obstacle| !is_ineligible(obstacle));
    let mut throttled = true;
    let mut soonest: Option<Timestamp> = None;
    for (_, obstacle) in unhealthy {
        throttled &=
            matches!(obstacle, Obstacle::Unavailable(Unavailable::Throttled { .. }) | Obstacle::Limit(_));
        // A probe under way ends soon. Its lease is only an upper bound.
        let until = if *obstacle == Obstacle::Probed { Some(survey.now) } else { obstacle.until() };
        soonest = match (soonest, until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    let wait_s = soonest.and_then(|until| ClientRetry::after(Some(until.since(survey.now))).wait_s());
    if let Some(holders) = holders(survey) {
        return Refusal::StateElsewhere { holders, wait_s, rejected };
    }
    Refusal::AllUnhealthy { throttled, wait_s, rejected }
}

/// The refusal of a request whose targets have failed, if others could have taken it but for the state that they do
/// not hold. `wait` is the time until a retry may help.
pub fn state_elsewhere(survey: &Survey<'_>, wait: Option<Duration>) -> Option<Refusal> {
    let holders = holders(survey)?;
    let config = survey.request.config();
    let tried = survey.progress().tried.iter().filter_map(|attempt| {
        let reason = attempt.failure.unwrap_or(ErrorClass::Transport).name();
        Some(Rejected::new(Rc::clone(&config.target(attempt.target)?.name), reason))
    });
    let wait_s = ClientRetry::after(Some(wait.unwrap_or(OWNER_MAY_BE_BACK))).wait_s();
    let rejected = tried.chain(ineligible(survey)).take(MAX_REJECTED + 1).collect();
    Some(Refusal::StateElsewhere { holders, wait_s, rejected })
}

/// The targets that alone may hold the state of the request's conversation, if there are others that do not. If
/// nothing is known, those of other tiers do not count: conversations begin in the first one.
fn holders(survey: &Survey<'_>) -> Option<String> {
    let rows = survey.rows();
    let is_known = survey.request.needs.owner.is_some();
    let is_beside_holder =
        |other: &Row| is_known || rows.iter().any(|row| row.gate.is_none() && row.tier == other.tier);
    let is_elsewhere =
        |row: &Row| matches!(row.gate, Some(Gate::State | Gate::SealedReasoning)) && is_beside_holder(row);
    if !survey.is_bound() || !rows.iter().any(is_elsewhere) {
        return None;
    }
    let config = survey.request.config();
    let holders = rows.iter().filter(|row| row.gate.is_none());
    let names: Vec<_> = holders
        .filter_map(|row| {
            let target = config.target(row.target)?;
            Some(format!("`{}` (account `{}`)", target.name, config.account(target.account)?.name))
        })
        .take(MAX_HOLDERS_TOLD)
        .collect();
    (!names.is_empty()).then(|| names.join(" or "))
}

fn rejected(survey: &Survey<'_>, target: TargetId, obstacle: Obstacle) -> Option<Rejected> {
    match obstacle {
        Obstacle::Gate(gate) => gated(survey, target, gate),
        Obstacle::Unavailable(_) | Obstacle::Limit(_) | Obstacle::Probed => {
            failed(survey, target, obstacle.name())
        }
    }
}

/// A target that has failed or may not be asked now. If Envoy lacks its cluster, that is the reason.
fn failed(survey: &Survey<'_>, target: TargetId, reason: &'static str) -> Option<Rejected> {
    let (config, generation) = (survey.request.config(), &survey.request.generation);
    let target = config.target(target)?;
    let mut rejected = Rejected::new(Rc::clone(&target.name), reason);
    if generation.missing_clusters.is_missing(target.provider)
        && let Some(provider) = config.provider(target.provider)
    {
        let (cluster, provider) = (&provider.cluster, &provider.name);
        rejected.advice.push(format!(
            "Envoy has no cluster `{cluster}`, which `{}` needs. Define it in Envoy's configuration, or write the name of \
             another as `providers.{provider}.cluster`.",
            target.name
        ));
    }
    Some(rejected)
}

/// A target that a gate rejects, with all its gates and what can be done about them.
fn gated(survey: &Survey<'_>, target: TargetId, first: Gate) -> Option<Rejected> {
    let objections: Vec<_> = survey.objections(target).take(MAX_OBJECTIONS).collect();
    Some(Rejected {
        target: Rc::clone(&survey.request.config().target(target)?.name),
        reason: objections.first().map_or(first.name(), |objection| objection.gate),
        objections,
        advice: survey.advice(target).take(MAX_OBJECTIONS).collect(),
    })
}

/// A refusal that lists the targets that were tried, then the untried ones that may not take the request.
pub fn exhausted(survey: &Survey<'_>, status: u16, client_retry: ClientRetry) -> Refusal {
    let tried = survey.progress().tried.iter();
    let failed = tried.filter_map(|attempt| {
        failed(survey, attempt.target, attempt.failure.unwrap_or(ErrorClass::Transport).name())
    });
    Refusal::Exhausted { status, tried: failed.chain(ineligible(survey)).collect(), client_retry }
}

/// The refusal of a request that may not wait, or has waited for as long as it may.
pub fn queue(why: &'static str, survey: &Survey<'_>) -> Refusal {
    let wait_s = match no_target(survey) {
        Refusal::AllUnhealthy { wait_s: Some(seconds), .. } => seconds,
        _ => 1,
    };
    Refusal::Queue { why, wait_s }
}

/// The targets that have not been tried and may not take the request.
pub fn ineligible(survey: &Survey<'_>) -> impl Iterator<Item = Rejected> {
    let untried = survey.rows().iter().filter(|row| row.attempts == 0);
    untried.filter_map(|row| gated(survey, row.target, row.gate?))
}
