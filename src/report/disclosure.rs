//! What a client is told in response headers: which target answered, why that one, and whether to retry.
//!
//! A provider's own error goes to the client unchanged, with these headers beside it, because the client's
//! SDK knows that error. Why other targets could not help is for the operator: `x-llm-reason` and
//! `x-llm-rejected` say it.

use crate::base::{Decimal, HeaderSink, TargetId};
use crate::intake::ClientRequest;
use crate::provider;
use crate::refusal::ClientRetry;
use crate::retry::{Failed, Stop};
use crate::survey::{FallbackReason, Survey};
use crate::tenancy::{BudgetKind, BudgetSet};
use crate::translate::{Loss, Losses, Translation};

use super::refusals;

/// At most this many targets are named in `x-llm-rejected`.
const MAX_REJECTED_TOLD: usize = 8;

/// The headers that the client gets: the provider's, or those of a response made here.
pub trait Disclosure {
    /// Sets a header.
    fn tell(&mut self, name: &'static str, value: &str);
    /// Removes a header.
    fn untell(&mut self, name: &'static str);
}

impl<S: HeaderSink> Disclosure for S {
    fn tell(&mut self, name: &'static str, value: &str) {
        self.set(name, value);
    }

    fn untell(&mut self, name: &'static str) {
        self.remove(name.as_bytes());
    }
}

/// The headers of a response made here.
pub struct LocalHeaders<'a>(pub &'a mut Vec<(&'static str, String)>);

impl Disclosure for LocalHeaders<'_> {
    fn tell(&mut self, name: &'static str, value: &str) {
        self.0.push((name, value.to_owned()));
    }

    fn untell(&mut self, name: &'static str) {
        self.0.retain(|(candidate, _)| *candidate != name);
    }
}

/// What is disclosed of an attempt.
#[derive(Debug, Clone, Copy)]
pub struct AttemptInfo {
    /// Its target.
    pub target: TargetId,
    /// Attempts made so far.
    pub attempts: u8,
    /// Why it was not the first choice.
    pub why: Option<FallbackReason>,
    /// Whether the request's encrypted reasoning was removed.
    pub reasoning_dropped: bool,
    /// How the request was translated, if it was.
    pub translated: Option<(Translation, Losses)>,
    /// Budgets that are nearly used up.
    pub warnings: BudgetSet,
}

/// Tells the client which target answers, with which model, after how many attempts, and why.
pub fn disclose(request: &ClientRequest, attempt: AttemptInfo, sink: &mut impl Disclosure) {
    let config = request.config();
    let Some(target) = config.target(attempt.target) else { return };
    sink.tell("x-llm-target", &target.name);
    sink.tell("x-llm-model", &request.model_at(target));
    sink.tell("x-llm-attempts", Decimal::of(attempt.attempts.into()).as_str());
    if let Some(FallbackReason { reason, from }) = attempt.why {
        sink.tell("x-llm-fallback", reason);
        if let Some(from) = from.and_then(|from| config.target(from)) {
            sink.tell("x-llm-fallback-from", &from.name);
        }
    }
    let endpoint = attempt.translated.map_or(request.endpoint, |(way, _)| way.to());
    let ignored = config
        .provider(target.provider)
        .map(|provider| provider::dropped(provider.kind, endpoint).both(request.needs.capabilities));
    if let Some(ignored) = ignored.filter(|ignored| !ignored.is_empty()) {
        let mut names: Vec<_> = ignored.iter().map(provider::members).collect();
        // An audio and an image output have one member.
        names.dedup();
        sink.tell("x-llm-ignored", &names.join(", "));
    }
    if let Some((way, lost)) = attempt.translated {
        sink.tell("x-llm-translated", way.name());
        let lost: Vec<_> = lost.without(Losses::MINOR).iter().map(Loss::name).collect();
        if !lost.is_empty() {
            sink.tell("x-llm-lost", &lost.join(", "));
        }
    }
    if attempt.reasoning_dropped {
        sink.tell("x-llm-sealed-reasoning", "dropped");
    }
    if !attempt.warnings.is_empty() {
        let names: Vec<_> = attempt.warnings.kinds().map(BudgetKind::name).collect();
        sink.tell("x-llm-budget-warning", &names.join(","));
    }
}

/// Tells the client why nothing more is tried, and whether to retry: after a time if waiting helps, and not
/// by itself if a retry can only add load. `afresh` is a survey for a new request like this one.
pub fn advise(stop: Stop, failed: Failed, afresh: Option<&Survey<'_>>, sink: &mut impl Disclosure) {
    // With these a failure never leads to another attempt, so there is nothing to explain.
    if !matches!(stop, Stop::Policy | Stop::NoRetryLoop) {
        sink.tell("x-llm-reason", stop.name());
    }
    if !stop.is_filter_decision() {
        return;
    }
    let wait = wait_for(afresh);
    // The provider's own hint stays unless the filter knows a shorter wait.
    if let Some(wait) = wait
        && failed.hint.is_none_or(|hint| wait < hint)
    {
        for name in ["retry-after-ms", "x-ms-retry-after-ms"] {
            sink.untell(name);
        }
        if let Some(seconds) = ClientRetry::after(Some(wait)).wait_s() {
            sink.tell("retry-after", Decimal::of(seconds).as_str());
        }
    }
    if ClientRetry::after(wait.or(failed.hint)).forbids_retries() {
        sink.tell("x-should-retry", "false");
    }
}

/// The same for a response made here after the last failure. `gave_up` is why nothing more is tried.
pub fn client_retry(gave_up: Stop, failed: Option<Failed>, afresh: Option<&Survey<'_>>) -> ClientRetry {
    if !gave_up.is_filter_decision() {
        return ClientRetry::Unsaid;
    }
    ClientRetry::after(wait_for(afresh).or(failed.and_then(|failed| failed.hint)))
}

fn wait_for(afresh: Option<&Survey<'_>>) -> Option<std::time::Duration> {
    let survey = afresh?;
    survey.soonest().map(|at| at.since(survey.now))
}

/// Lists in `x-llm-rejected` the untried targets that may not take the request.
pub fn tell_ineligible(survey: &Survey<'_>, sink: &mut impl Disclosure) {
    let others = refusals::ineligible(survey).take(MAX_REJECTED_TOLD);
    let others: Vec<_> = others.map(|other| format!("{}={}", other.target, other.reason)).collect();
    if !others.is_empty() {
        sink.tell("x-llm-rejected", &others.join(", "));
    }
}
