//! What the end of an attempt shows about the load that its target can take.

use crate::balance::{LoadSign, Pace};
use crate::base::ErrorClass;
use crate::outcome::{End, Outcome};

/// What an attempt has shown. A stream that had content has shown it then, so only its refusal counts here. Failures that
/// have other causes than load show nothing: a refused connection, a cut stream, an allowance that is used up.
pub(super) fn sign(outcome: &Outcome, streamed: bool) -> Option<LoadSign> {
    let is_silent = outcome.first_content.is_none();
    match outcome.end {
        End::Failed(ErrorClass::Overloaded | ErrorClass::RateLimited) => {
            (!outcome.was_not_sent()).then_some(LoadSign::Overloaded)
        }
        End::Complete if !streamed => {
            let tokens = outcome.usage.map(|usage| usage.output);
            Some(LoadSign::Answered(tokens.map(|tokens| Pace::of_answer(outcome.took, tokens))))
        }
        End::Failed(ErrorClass::Timeout) | End::ClientGone if is_silent && streamed => {
            Some(LoadSign::Silent(Pace::FirstContent(outcome.took)))
        }
        // How many tokens there would have been is unknown, but no limit on time is for a usual pace.
        End::Failed(ErrorClass::Timeout) if is_silent => Some(LoadSign::Silent(Pace::PerToken(outcome.took))),
        End::Complete | End::Failed(_) | End::ClientGone | End::Withdrawn => None,
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
