//! A response that turned out to be a failure before any of it went to the client.

use crate::base::ErrorClass;
use crate::provider::Failure;
use crate::retry::Failed;
use crate::stream::StreamFacts;

pub(super) const BAD_GATEWAY: u16 = 502;

/// A held response that is a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The failure as the retry decision needs it.
    pub failed: Failed,
    /// The failure as the provider describes it.
    pub failure: Failure,
    /// What came of its stream, if it is one.
    pub stream: Option<StreamFacts>,
    /// How it looks to a client.
    pub appearance: Appearance,
    /// The proper type of its body, if its label says something else.
    pub label: Option<&'static str>,
    /// The provider's message, if the client cannot read its error.
    pub message: Option<Box<str>>,
}

/// How a failed response looks to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appearance {
    /// An error: its status says so, or its first event.
    Error,
    /// Neither an error nor fit for a client: the status says success and the body has no error in the format
    /// of its dialect, or the status is a redirect, which the client would follow with its key.
    Answer {
        /// The status that goes with the failure.
        meant: u16,
    },
    /// An answer by its status, which says success, but the body is an error object. `meant` is the status
    /// that it should have had.
    ErrorUnderSuccess {
        /// The status that goes with the error.
        meant: u16,
    },
    /// An error by its status. Its body is in the provider's dialect, which is not the client's.
    Foreign {
        /// Its status.
        status: u16,
    },
    /// An error by its status. Its body is Envoy's own text, which is not in the client's dialect.
    EnvoyText {
        /// Its status.
        status: u16,
    },
}

impl Appearance {
    /// The status of the error that replaces the body. `None` if the body can stay. `own` is the status of
    /// the filter's own error, if the operator wants clients to see that (`last_error: own`).
    pub const fn replacement(self, own: Option<u16>) -> Option<u16> {
        match (self, own) {
            (Self::EnvoyText { status }, _) => Some(status),
            (_, Some(own)) => Some(own),
            (Self::Answer { meant: status } | Self::Foreign { status }, None) => Some(status),
            (Self::Error | Self::ErrorUnderSuccess { .. }, None) => None,
        }
    }

    /// The status of the filter's own response, if one takes the place of a response without a body. `own` is as
    /// in [`Self::replacement`].
    pub const fn status_in_place(self, own: Option<u16>) -> Option<u16> {
        match (self, own) {
            (Self::EnvoyText { status }, _) => Some(status),
            (Self::Answer { .. } | Self::Foreign { .. }, Some(own)) => Some(own),
            (Self::Answer { meant: status } | Self::Foreign { status }, None) => Some(status),
            (Self::Error | Self::ErrorUnderSuccess { .. }, _) => None,
        }
    }

    /// The status that replaces the one that came. `None` if that stays. `replaced_by` is the status of the
    /// error that has replaced the body, if one has.
    pub const fn status(self, replaced_by: Option<u16>) -> Option<u16> {
        match (self, replaced_by) {
            (Self::EnvoyText { .. }, _) => None,
            (_, Some(status)) => Some(status),
            (Self::Answer { meant } | Self::ErrorUnderSuccess { meant }, None) => Some(meant),
            (Self::Error | Self::Foreign { .. }, None) => None,
        }
    }
}

/// The proper status of an error that its provider sent under a 200. Under a 200, clients would take it for
/// an answer.
pub(super) fn meant_status(failure: &Failure) -> u16 {
    let code = failure.code.as_deref().and_then(|code| code.parse().ok());
    code.filter(|status| (400..600).contains(status)).unwrap_or(match failure.class {
        ErrorClass::Auth => 401,
        ErrorClass::Permission => 403,
        ErrorClass::NotFound | ErrorClass::StateNotFound => 404,
        ErrorClass::Conflict => 409,
        ErrorClass::TooLarge => 413,
        ErrorClass::Invalid
        | ErrorClass::ContextLength
        | ErrorClass::ContentPolicy
        | ErrorClass::Unsuitable => 400,
        ErrorClass::RateLimited | ErrorClass::QuotaExhausted | ErrorClass::ModelQuota => 429,
        ErrorClass::Overloaded => 503,
        ErrorClass::Timeout => 504,
        ErrorClass::Server
        | ErrorClass::Redirected
        | ErrorClass::Transport
        | ErrorClass::ClientAbort
        | ErrorClass::StreamTruncated
        | ErrorClass::StreamError
        | ErrorClass::StreamStalled
        | ErrorClass::Empty
        | ErrorClass::Malformed
        | ErrorClass::HopClosed => BAD_GATEWAY,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_looks_like_an_answer_never_keeps_its_success_status() {
        let under_success = Appearance::ErrorUnderSuccess { meant: 429 };
        let answer = Appearance::Answer { meant: 502 };
        let envoy = Appearance::EnvoyText { status: 503 };
        // Appearance, the operator's own status; the replacement's status; the status without and with the
        // replacement.
        for (appearance, own, replacement, kept, replaced) in [
            (Appearance::Error, None, None, None, None),
            (Appearance::Error, Some(504), Some(504), None, Some(504)),
            (answer, None, Some(502), Some(502), Some(502)),
            (answer, Some(504), Some(504), Some(502), Some(504)),
            (under_success, None, None, Some(429), None),
            (under_success, Some(504), Some(504), Some(429), Some(504)),
            (envoy, None, Some(503), None, None),
            (envoy, Some(504), Some(503), None, None),
        ] {
            assert_eq!(appearance.replacement(own), replacement, "{appearance:?} {own:?}");
            assert_eq!(appearance.status(None), kept, "{appearance:?} {own:?}");
            if let Some(status) = replacement {
                assert_eq!(appearance.status(Some(status)), replaced, "{appearance:?} {own:?}");
            }
        }
    }
}
