//! How requests are attempted again, as the filter runs it.

use std::time::Duration;

use crate::base::MicroDollars;

/// How a model's requests are attempted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts at most per request, the first included.
    pub attempts: u8,
    /// Attempts at most per request and target.
    pub attempts_per_target: u8,
    /// How long a request waits before the same target gets it again.
    pub backoff: Backoff,
    /// The longest wait that a provider may ask for and a request is held through.
    pub retry_after_cap: Duration,
    /// What follows when an attempt was lost that the provider may have taken on, and may charge for.
    pub replay_uncertain: Replay,
    /// What the client gets when nothing more is tried.
    pub last_error: LastError,
    /// What all attempts of a request may cost; a further one that could exceed it is not made. `None` for no limit.
    pub max_cost: Option<MicroDollars>,
    /// Whether a request waits that nobody may take now; `None` for not.
    pub queue: Option<QueuePolicy>,
}

/// A back-off that doubles, of which each wait is a random part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The most before the first repetition.
    pub base: Duration,
    /// The most before any.
    pub max: Duration,
}

/// How often a request is sent again that may have been taken on and charged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replay {
    /// Once: the price of an outage is at most one answer that nobody read.
    #[default]
    Once,
    /// Never.
    Never,
    /// As often as the attempts allow.
    Always,
}

/// What the client gets when nothing more is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LastError {
    /// The last provider's own error, as it is.
    #[default]
    Provider,
    /// An error of the filter that lists what was tried.
    Own,
}

/// How requests wait that nobody may take now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePolicy {
    /// How long one waits at most.
    pub max_wait: Duration,
    /// How many wait at a time, per worker and model.
    pub max_waiting: usize,
    /// How many bytes of their bodies, likewise.
    pub max_waiting_bytes: u64,
}

impl Default for QueuePolicy {
    fn default() -> Self {
        Self { max_wait: Duration::from_secs(5), max_waiting: 100, max_waiting_bytes: 64 * 1024 * 1024 }
    }
}

/// Who goes first among those who wait. Greater is more important.
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

    /// The name used in configurations and headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// How much of all that this Envoy sends may be a further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// The share of recent requests, in 1/1000.
    pub ratio_permille: u32,
    /// Further attempts per second that are allowed however few requests there are.
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
