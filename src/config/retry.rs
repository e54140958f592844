//! How failed requests are retried and how requests are queued.

use std::time::Duration;

use crate::base::MicroDollars;

/// How a model's failed requests are retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The maximum number of attempts per request, including the first.
    pub attempts: u8,
    /// The maximum number of attempts per request and target.
    pub attempts_per_target: u8,
    /// How long a request waits before it is sent to the same target again.
    pub backoff: Backoff,
    /// The longest wait, asked for by a provider, for which a request is held.
    pub retry_after_cap: Duration,
    /// Whether a request is repeated after a lost attempt that the provider may have processed and may charge
    /// for.
    pub replay_uncertain: Replay,
    /// Which error the client gets after the last attempt.
    pub last_error: LastError,
    /// The maximum cost of all attempts of a request. A further attempt that could exceed it is not made.
    /// `None` for no limit.
    pub max_cost: Option<MicroDollars>,
    /// How a request waits if no target is available; `None` if it does not wait.
    pub queue: Option<QueuePolicy>,
}

/// An exponential back-off with full jitter: each wait is a random part of a bound that doubles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The bound before the first retry.
    pub base: Duration,
    /// The highest bound.
    pub max: Duration,
}

/// How often a request is repeated that the provider may have processed and may charge for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replay {
    /// Once, so that an outage costs at most one unused response per request.
    #[default]
    Once,
    /// Never.
    Never,
    /// As often as the attempts allow.
    Always,
}

/// Which error the client gets after the last attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LastError {
    /// The last provider's error, unchanged.
    #[default]
    Provider,
    /// The filter's own error, which lists the attempts.
    Own,
}

/// How requests wait if no target is available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePolicy {
    /// The maximum wait of one request.
    pub max_wait: Duration,
    /// The maximum number of waiting requests per worker and model.
    pub max_waiting: usize,
    /// The maximum size of their bodies per worker and model, in bytes.
    pub max_waiting_bytes: u64,
}

impl Default for QueuePolicy {
    fn default() -> Self {
        Self { max_wait: Duration::from_secs(5), max_waiting: 100, max_waiting_bytes: 64 * 1024 * 1024 }
    }
}

/// The priority of a queued request. Greater is more important.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// After all others.
    Low,
    /// In the order of arrival.
    #[default]
    Normal,
    /// Before all others.
    High,
}

impl Priority {
    /// Every priority.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// Its name in configurations and headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// Which share of the attempts of this Envoy may be retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// Retries as a share of recent requests, in 1/1000.
    pub ratio_permille: u32,
    /// Retries per second that are always allowed.
    pub floor: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { ratio_permille: 200, floor: 10 }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 3,
            attempts_per_target: 2,
            backoff: Backoff { base: Duration::from_millis(100), max: Duration::from_secs(2) },
            retry_after_cap: Duration::from_secs(10),
            replay_uncertain: Replay::default(),
            last_error: LastError::default(),
            max_cost: None,
            queue: None,
        }
    }
}
