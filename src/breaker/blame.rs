//! Which scope answers for which failure.

use std::time::Duration;

use super::HealthSignal;
use crate::base::ErrorClass;

/// What an attempt's end means for each scope it went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blame {
    /// For the target.
    pub target: HealthSignal,
    /// For the account.
    pub account: HealthSignal,
    /// For the endpoint.
    pub endpoint: HealthSignal,
}

impl Blame {
    /// A whole answer came.
    pub const SUCCESS: Self = Self {
        target: HealthSignal::Success,
        account: HealthSignal::Success,
        endpoint: HealthSignal::Success,
    };

    /// Nothing was learned: the client left.
    pub const NEUTRAL: Self = Self {
        target: HealthSignal::Neutral,
        account: HealthSignal::Neutral,
        endpoint: HealthSignal::Neutral,
    };

    /// The blame for a failure of `class`; `hint` is how long the provider asked to wait, if it did.
    ///
    /// Whoever answered at all can be reached, and an account that was told of anything but its credential or its money
    /// has both: these scopes get the credit that a probe needs.
    pub const fn of(class: ErrorClass, hint: Option<Duration>) -> Self {
        let answered = Self { target: HealthSignal::Neutral, ..Self::SUCCESS };
        match class {
            ErrorClass::Transport => Self { endpoint: HealthSignal::Failure(class), ..Self::NEUTRAL },
            // Too late an answer says nothing about the account, and may come from a proxy on the way.
            ErrorClass::Timeout | ErrorClass::Overloaded | ErrorClass::Server => Self {
                target: match hint {
                    Some(hint) => HealthSignal::FailureFor(class, hint),
                    None => HealthSignal::Failure(class),
                },
                account: HealthSignal::Neutral,
                endpoint: HealthSignal::Success,
            },
            ErrorClass::NotFound
            | ErrorClass::StreamTruncated
            | ErrorClass::StreamError
            | ErrorClass::StreamStalled => Self { target: HealthSignal::Failure(class), ..answered },
            ErrorClass::RateLimited => Self { target: HealthSignal::Throttled(hint), ..answered },
            ErrorClass::QuotaExhausted | ErrorClass::Auth => Self {
                target: HealthSignal::Neutral,
                account: HealthSignal::Blocked(class),
                endpoint: HealthSignal::Success,
            },
            ErrorClass::Permission
            | ErrorClass::Invalid
            | ErrorClass::TooLarge
            | ErrorClass::ContextLength
            | ErrorClass::ContentPolicy => answered,
            ErrorClass::ClientAbort => Self::NEUTRAL,
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
                matches!(
                    outcome,
                    HealthSignal::Failure(_) | HealthSignal::Blocked(_) | HealthSignal::Throttled(_)
                )
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
