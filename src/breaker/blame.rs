//! Which scope answers for which failure.

use std::time::Duration;

use super::Outcome;
use crate::base::ErrorClass;

/// What an attempt's end means for each scope it went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blame {
    /// For the target.
    pub target: Outcome,
    /// For the account.
    pub account: Outcome,
    /// For the endpoint.
    pub endpoint: Outcome,
}

impl Blame {
    /// A whole answer came.
    pub const SUCCESS: Self =
        Self { target: Outcome::Success, account: Outcome::Success, endpoint: Outcome::Success };

    /// Nothing was learned: the client left.
    pub const NOBODY: Self =
        Self { target: Outcome::Neutral, account: Outcome::Neutral, endpoint: Outcome::Neutral };

    /// The blame for a failure of `class`; `hint` is how long the provider asked to wait, if it did.
    ///
    /// Whoever answered at all can be reached, and an account that was told of anything but its credential or its money
    /// has both: these scopes get the credit that a probe needs.
    pub const fn of(class: ErrorClass, hint: Option<Duration>) -> Self {
        let answered = Self { target: Outcome::Neutral, ..Self::SUCCESS };
        match class {
            ErrorClass::Transport => Self { endpoint: Outcome::Failure(class), ..Self::NOBODY },
            // Too late an answer says nothing about the account, and may come from a proxy on the way.
            ErrorClass::Timeout | ErrorClass::Overloaded | ErrorClass::Server => Self {
                target: match hint {
                    Some(hint) => Outcome::FailureFor(class, hint),
                    None => Outcome::Failure(class),
                },
                account: Outcome::Neutral,
                endpoint: Outcome::Success,
            },
            ErrorClass::NotFound
            | ErrorClass::StreamTruncated
            | ErrorClass::StreamError
            | ErrorClass::StreamStalled => Self { target: Outcome::Failure(class), ..answered },
            ErrorClass::RateLimited => Self { target: Outcome::Throttled(hint), ..answered },
            ErrorClass::QuotaExhausted | ErrorClass::Auth => Self {
                target: Outcome::Neutral,
                account: Outcome::Blocked(class),
                endpoint: Outcome::Success,
            },
            ErrorClass::Permission
            | ErrorClass::Invalid
            | ErrorClass::TooLarge
            | ErrorClass::ContextLength
            | ErrorClass::ContentPolicy => answered,
            ErrorClass::ClientAbort => Self::NOBODY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blame_goes_to_the_scope_that_failed_and_to_no_other() {
        for class in ErrorClass::ALL {
            let blame = Blame::of(class, None);
            let hurt = |outcome| {
                matches!(outcome, Outcome::Failure(_) | Outcome::Blocked(_) | Outcome::Throttled(_))
            };
            let hurts = [blame.target, blame.account, blame.endpoint].map(hurt);
            let expected = match class.name() {
                "transport" => [false, false, true],
                "quota_exhausted" | "auth" => [false, true, false],
                "permission" | "invalid" | "too_large" | "context_length" | "content_policy"
                | "client_abort" => [false; 3],
                _ => [true, false, false],
            };
            assert_eq!(hurts, expected, "{}", class.name());
        }
    }
}
