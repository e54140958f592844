//! What follows from what was collected about a request: its result, what may have been billed, and the cost.

use super::builder::{AttemptEnd, AttemptEntry, RecordBuilder};
use crate::base::{ErrorClass, MicroDollars};
use crate::outcome::AnsweredBy;

/// The result of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestResult {
    /// A complete response from the first choice.
    Served,
    /// A complete response from another target.
    FellBack,
    /// A complete response from the first choice after waiting for it.
    Queued,
    /// An error of the filter or of the last provider.
    Refused,
    /// The client left before it had a complete response.
    ClientAbort,
    /// An incomplete response, or none that is known of.
    Broken,
}

impl RequestResult {
    /// The name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::FellBack => "fell_back",
            Self::Queued => "queued",
            Self::Refused => "refused",
            Self::ClientAbort => "client_abort",
            Self::Broken => "broken",
        }
    }
}

/// Another attempt was requested and never came: Envoy declined it, or the client left in between.
pub const NO_NEXT_ATTEMPT: &str = "no_next_attempt";

/// The request did not end, and the client did not leave: Envoy gave it up.
pub const REQUEST_INCOMPLETE: &str = "request_incomplete";

impl RecordBuilder {
    /// The result of the request, and its reason.
    pub fn result(&self) -> (RequestResult, Option<&'static str>) {
        if let Some((_, code)) = self.refusal {
            return (RequestResult::Refused, Some(code));
        }
        if let Some(reason) = self.broke {
            return (RequestResult::Broken, Some(reason));
        }
        if self.client_gone {
            return (RequestResult::ClientAbort, None);
        }
        let Some(attempt) = self.telling() else { return (RequestResult::ClientAbort, None) };
        let class = attempt.class.map(ErrorClass::name);
        match attempt.end {
            AttemptEnd::Answered => match attempt.start.why {
                Some(why) => (RequestResult::FellBack, Some(why)),
                None if attempt.start.slot == 0 && attempt.start.waited.is_some() => {
                    (RequestResult::Queued, None)
                }
                None => (RequestResult::Served, None),
            },
            AttemptEnd::ClientAbort => (RequestResult::ClientAbort, None),
            AttemptEnd::Broken => (RequestResult::Broken, class),
            AttemptEnd::Failed | AttemptEnd::Abandoned => (RequestResult::Refused, class),
        }
    }

    /// The result for metrics. Refusals caused by the request itself or by its key's limits are counted
    /// separately as `declined`.
    pub fn metric_result(&self, (outcome, reason): (RequestResult, Option<&'static str>)) -> &'static str {
        if outcome != RequestResult::Refused {
            return outcome.name();
        }
        let class = reason.and_then(ErrorClass::from_name);
        let own = match self.refusal {
            Some((status, code)) => status < 500 && code != "all_targets_throttled",
            None => matches!(
                class,
                Some(
                    ErrorClass::Invalid
                        | ErrorClass::TooLarge
                        | ErrorClass::ContextLength
                        | ErrorClass::ContentPolicy
                )
            ),
        };
        if own { "declined" } else { outcome.name() }
    }

    /// The attempt that the result follows from. Of two simultaneous ones, the one with a response counts.
    pub(super) fn telling(&self) -> Option<&AttemptEntry> {
        let answered = self.attempts().iter().find(|attempt| attempt.end == AttemptEnd::Answered);
        answered.or(self.attempts().last())
    }

    /// How many attempts may have been billed.
    pub(super) fn maybe_billed(&self) -> u32 {
        let billed = self.attempts().iter().filter(|attempt| attempt.billed() != Billed::No).count();
        // Attempts that a worker has forgotten may have been billed, too.
        u32::try_from(billed).unwrap_or(u32::MAX).saturating_add(self.forgotten.into())
    }

    /// The cost of all attempts as far as it is known, and whether all of it is.
    pub(super) fn cost(&self) -> Option<(MicroDollars, bool)> {
        let costs = self.attempts().iter().filter_map(|attempt| self.cost_of(attempt));
        let known = costs.reduce(MicroDollars::plus)?;
        let is_known =
            |attempt: &AttemptEntry| attempt.billed() == Billed::No || self.cost_of(attempt).is_some();
        Some((known, self.forgotten == 0 && self.attempts().iter().all(is_known)))
    }

    pub(super) fn cost_of(&self, attempt: &AttemptEntry) -> Option<MicroDollars> {
        let (usage, price) = (attempt.usage?, self.config().target(attempt.start.target)?.offers.price?);
        Some(price.with_cached(usage.input, usage.cached_input, usage.output))
    }
}

impl AttemptEntry {
    /// Whether the provider may have billed the self. In doubt it may: a provider may have processed a
    /// request whose response was lost.
    pub(super) fn billed(&self) -> Billed {
        match self.end {
            AttemptEnd::Abandoned => Billed::No,
            AttemptEnd::Answered | AttemptEnd::Broken => Billed::Likely,
            AttemptEnd::ClientAbort if self.observed.content_at.is_some() => Billed::Likely,
            AttemptEnd::ClientAbort => Billed::Maybe,
            AttemptEnd::Failed if self.observed.unsent => Billed::No,
            AttemptEnd::Failed => match self.class {
                Some(
                    ErrorClass::Overloaded
                    | ErrorClass::RateLimited
                    | ErrorClass::QuotaExhausted
                    | ErrorClass::Auth
                    | ErrorClass::Permission
                    | ErrorClass::NotFound
                    | ErrorClass::Invalid
                    | ErrorClass::TooLarge
                    | ErrorClass::ContextLength
                    | ErrorClass::ModelQuota
                    | ErrorClass::Unsuitable
                    | ErrorClass::StateNotFound
                    | ErrorClass::Conflict
                    | ErrorClass::Redirected,
                ) if self.observed.answered_by == Some(AnsweredBy::Provider) => Billed::No,
                _ => Billed::Maybe,
            },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Billed {
    No,
    Maybe,
    Likely,
}

impl Billed {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Likely => "likely",
        }
    }
}
