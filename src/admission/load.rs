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
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::retry::Received;
    use crate::stream::Usage;

    const TOOK: Duration = Duration::from_secs(32);

    fn outcome(end: End, first_content: Option<Duration>) -> Outcome {
        Outcome {
            end,
            received: Received::Answered,
            passed: first_content.is_some(),
            usage: Some(Usage { output: 48, ..Usage::default() }),
            finish: None,
            first_content,
            longest_gap: None,
            took: TOOK,
            host: None,
        }
    }

    #[test]
    fn refusals_because_of_load_and_slowness_count_and_other_failures_do_not() {
        for class in ErrorClass::ALL {
            for streamed in [true, false] {
                let expected = match class {
                    ErrorClass::Overloaded | ErrorClass::RateLimited => Some(LoadSign::Overloaded),
                    ErrorClass::Timeout if streamed => Some(LoadSign::Silent(Pace::FirstContent(TOOK))),
                    ErrorClass::Timeout => Some(LoadSign::Silent(Pace::PerToken(TOOK))),
                    _ => None,
                };
                let failed = outcome(End::Failed(class), None);
                assert_eq!(sign(&failed, streamed), expected, "{}", class.name());
                let unsent = Outcome { received: Received::Never, ..failed };
                assert_ne!(sign(&unsent, streamed), Some(LoadSign::Overloaded));
            }
        }
    }

    #[test]
    fn an_answer_counts_once() {
        let second = Duration::from_secs(1);
        let complete = outcome(End::Complete, Some(second));
        assert_eq!(sign(&complete, true), None, "its first content has counted");
        let paced = LoadSign::Answered(Some(Pace::PerToken(TOOK / 64)));
        assert_eq!(sign(&complete, false), Some(paced));
        assert_eq!(
            sign(&Outcome { usage: None, ..complete }, false),
            Some(LoadSign::Answered(None)),
            "without a count of tokens it has no pace"
        );
        assert_eq!(sign(&outcome(End::ClientGone, Some(second)), true), None);
        let left = sign(&outcome(End::ClientGone, None), true);
        assert_eq!(left, Some(LoadSign::Silent(Pace::FirstContent(TOOK))));
        assert_eq!(sign(&outcome(End::ClientGone, None), false), None);
        assert_eq!(sign(&outcome(End::Withdrawn, None), true), None);
    }
}
