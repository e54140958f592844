//! Which scope is blamed for which failure.
//!
//! A scope is blamed only for its own failures. If response headers arrived, the endpoint is reachable: an
//! abort after them is `stream_truncated` and the target's failure. An abort before them is `transport` and
//! the endpoint's failure, which puts every target at that host in doubt.

use std::time::Duration;

use super::{HealthSignal, Keys};
use crate::base::ErrorClass;

/// What the end of an attempt means for each scope that it went through.
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
    /// A complete response.
    pub const SUCCESS: Self = Self {
        target: HealthSignal::Success,
        account: HealthSignal::Success,
        endpoint: HealthSignal::Success,
    };

    /// Nothing was learned, for example because the client left.
    pub const NEUTRAL: Self = Self {
        target: HealthSignal::Neutral,
        account: HealthSignal::Neutral,
        endpoint: HealthSignal::Neutral,
    };

    /// A provider has answered, and what it said is no fault of its own.
    pub const ANSWERED: Self = Self { target: HealthSignal::Neutral, ..Self::SUCCESS };

    /// The client left. It is still to be found out whether that says something, and whose request it was.
    pub const CLIENT_LEFT: Self = Self::unanswered(Keys::NONE);

    /// The client with this key left, after it had waited for an answer that has not begun.
    pub const fn unanswered(key: Keys) -> Self {
        Self { target: HealthSignal::Unanswered(key), ..Self::NEUTRAL }
    }

    /// The blame for a failure of `class`. `hint` is how long the provider asked to wait.
    ///
    /// A provider that responded is reachable. An account that got any error but one about its credential or
    /// its money has both. These scopes get the success that a probe needs.
    pub const fn of(class: ErrorClass, hint: Option<Duration>) -> Self {
        match class {
            ErrorClass::Transport => Self { endpoint: HealthSignal::Failure(class), ..Self::NEUTRAL },
            // A late response says nothing about the account, and it may come from a proxy on the way.
            ErrorClass::Timeout | ErrorClass::Overloaded | ErrorClass::Server => Self {
                target: match hint {
                    Some(hint) => HealthSignal::FailureFor(class, hint),
                    None => HealthSignal::Failure(class),
                },
                account: HealthSignal::Neutral,
                endpoint: HealthSignal::Success,
            },
            ErrorClass::NotFound
            | ErrorClass::Redirected
            | ErrorClass::StreamTruncated
            | ErrorClass::StreamError
            | ErrorClass::StreamStalled
            | ErrorClass::Empty
            | ErrorClass::Malformed => Self { target: HealthSignal::Failure(class), ..Self::ANSWERED },
            ErrorClass::RateLimited => Self { target: HealthSignal::Throttled(hint), ..Self::ANSWERED },
            ErrorClass::ModelQuota => Self { target: HealthSignal::Exhausted(hint), ..Self::ANSWERED },
            ErrorClass::QuotaExhausted | ErrorClass::Auth => Self {
                target: HealthSignal::Neutral,
                account: HealthSignal::Blocked(class),
                endpoint: HealthSignal::Success,
            },
            ErrorClass::Permission
            | ErrorClass::Invalid
            | ErrorClass::TooLarge
            | ErrorClass::ContextLength
            | ErrorClass::ContentPolicy
            | ErrorClass::Unsuitable
            | ErrorClass::StateNotFound
            | ErrorClass::Conflict => Self::ANSWERED,
            ErrorClass::ClientAbort | ErrorClass::HopClosed => Self::NEUTRAL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_scope_that_failed_is_blamed() {
        for class in ErrorClass::ALL {
            let blame = Blame::of(class, None);
            let hurt = |outcome| {
                matches!(
                    outcome,
                    HealthSignal::Failure(_)
                        | HealthSignal::Blocked(_)
                        | HealthSignal::Throttled(_)
                        | HealthSignal::Exhausted(_)
                )
            };
            let hurts = [blame.target, blame.account, blame.endpoint].map(hurt);
            let expected = match class.name() {
                "transport" => [false, false, true],
                "quota_exhausted" | "auth" => [false, true, false],
                "permission" | "invalid" | "too_large" | "context_length" | "content_policy"
                | "client_abort" | "unsuitable" | "state_not_found" | "conflict" | "hop_closed" => [false; 3],
                _ => [true, false, false],
            };
            assert_eq!(hurts, expected, "{}", class.name());
        }
    }
}
