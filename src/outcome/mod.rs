//! What came of an attempt: one value, made once, that everything which learns from attempts reads.
//!
//! It is made as soon as the end is certain, which for a stream is its terminal event. A 200 and first
//! content are no success yet. Breakers, budgets, limits, estimates, metrics and the decision record all
//! read the same value, so they cannot disagree about an attempt.

mod observed;

use std::time::Duration;

pub use observed::{AnsweredBy, Id, MAX_ID, Observed};

use crate::base::ErrorClass;
use crate::retry::Received;
use crate::stream::{FinishReason, Usage};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client got the whole response, as far as it could be read.
    Complete,
    /// The attempt failed, before or after part of the response went to the client ([`Outcome::passed`]).
    Failed(ErrorClass),
    /// The client left.
    ClientGone,
    /// The filter could not send it, so the attempt was not made.
    Withdrawn,
}

/// The end of a stream that a client was reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// By the rules of its dialect.
    Complete,
    /// The provider ended it before that.
    Truncated,
    /// The provider reported a failure in it.
    Failed(ErrorClass),
    /// It went idle, or stayed below the minimum rate.
    Stalled(ErrorClass),
    /// The request's total time ran out.
    OutOfTime,
    /// The provider or the network reset it.
    BrokenOff,
    /// Envoy closed its own connection between the edge and the filter.
    HopClosed,
    /// The client left.
    ClientGone,
}

impl StreamEnd {
    /// The end of a stream that its provider has ended. `failure` is what was wrong with it.
    pub fn of(failure: Option<ErrorClass>) -> Self {
        match failure {
            None => Self::Complete,
            Some(ErrorClass::StreamTruncated) => Self::Truncated,
            Some(class) => Self::Failed(class),
        }
    }

    /// The failure class of this end. `None` if it is not a failure.
    pub const fn failure(self) -> Option<ErrorClass> {
        match self {
            Self::Complete | Self::ClientGone => None,
            Self::Truncated | Self::BrokenOff => Some(ErrorClass::StreamTruncated),
            Self::Failed(class) | Self::Stalled(class) => Some(class),
            Self::OutOfTime => Some(ErrorClass::Timeout),
            Self::HopClosed => Some(ErrorClass::HopClosed),
        }
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Whether the provider got the request.
    pub received: Received,
    /// Whether part of the response went to the client.
    pub passed: bool,
    /// The tokens that the provider reported. `None` if it reported none, which does not mean zero. After
    /// an end other than [`Complete`](End::Complete) the bill may be higher.
    pub usage: Option<Usage>,
    /// Why the response ended, in the provider's words.
    pub finish: Option<FinishReason>,
    /// From sending the request to its first content. `None` without content.
    pub first_content: Option<Duration>,
    /// The longest time between two chunks of a stream. `None` for a plain response, and without content.
    pub longest_gap: Option<Duration>,
    /// From sending the request to its end.
    pub took: Duration,
    /// A hash of the address of the host that had it, if that was looked at.
    pub host: Option<u64>,
}

impl Outcome {
    /// Whether tokens were used and the provider has not reported how many.
    pub const fn usage_is_missing(&self) -> bool {
        self.first_content.is_some() && self.usage.is_none()
    }

    /// Whether no provider got the request.
    pub const fn was_not_sent(&self) -> bool {
        matches!(self.received, Received::Never)
    }

    /// Whether the provider may charge for the attempt. Budgets, limits and spend ceilings all use this
    /// rule: a request that never arrived costs nothing, and neither does one that the provider refused
    /// before any content. A request that may have arrived and got no answer counts.
    pub const fn may_be_billed(&self) -> bool {
        match self.end {
            End::Complete | End::ClientGone => true,
            End::Withdrawn => false,
            End::Failed(_) => self.first_content.is_some() || matches!(self.received, Received::Perhaps),
        }
    }
}

/// For tests of parts that do not know what an outcome consists of.
#[cfg(test)]
impl Outcome {
    pub(crate) fn answered(end: End, output: u64, took: Duration) -> Self {
        Self {
            end,
            received: Received::Answered,
            passed: false,
            usage: Some(Usage { output, ..Usage::default() }),
            finish: None,
            first_content: None,
            longest_gap: None,
            took,
            host: None,
        }
    }

    pub(crate) fn unsent(self) -> Self {
        Self { received: Received::Never, ..self }
    }
}
