//! What a client is told about retries. It is decided here for refusals and for provider errors that are
//! passed on.
//!
//! SDKs retry by themselves, usually twice. After the filter has given up, a retry only adds load, unless
//! the time is known from which on it can help. So that time goes into `retry-after`. If it is unknown, or
//! more than the minute for which SDKs wait, `x-should-retry: false` stops them. If the request ended for a
//! reason that is not the filter's decision, the client is told nothing.

use std::time::Duration;

/// SDKs follow a `retry-after` of up to a minute and ignore a longer one.
const HEEDED_BY_CLIENTS_S: u64 = 60;

/// What a client is told about retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientRetry {
    /// Nothing: the filter did not decide the end, or the request itself is wrong.
    Unsaid,
    /// It may retry after so many seconds.
    After(u64),
    /// It should not retry by itself: nothing says when a retry would help.
    NotByItself,
}

impl ClientRetry {
    /// After a wait, if it is known.
    pub fn after(wait: Option<Duration>) -> Self {
        wait.map_or(Self::NotByItself, |wait| Self::After(seconds(wait)))
    }

    /// After a wait in seconds, if it is known.
    pub fn after_seconds(wait_s: Option<u64>) -> Self {
        wait_s.map_or(Self::NotByItself, Self::After)
    }

    /// The value of `retry-after`.
    pub const fn wait_s(self) -> Option<u64> {
        match self {
            Self::After(seconds) => Some(seconds),
            Self::Unsaid | Self::NotByItself => None,
        }
    }

    /// Whether the client's own retries would come too early.
    pub const fn forbids_retries(self) -> bool {
        match self {
            Self::Unsaid => false,
            Self::After(seconds) => seconds > HEEDED_BY_CLIENTS_S,
            Self::NotByItself => true,
        }
    }
}

/// Rounded up, at least 1: a retry that comes a moment too early is refused again.
fn seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).div_ceil(1000).max(1)
}
