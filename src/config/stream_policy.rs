//! The timeouts of a response, how much of a stream is held, and how a broken stream ends.

use std::time::Duration;

/// The policies of a model. A target whose model may think for minutes needs more patience than one that answers at
/// once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamPolicies {
    /// For targets that reason, and for those about which that is unknown.
    pub may_reason: StreamPolicy,
    /// For targets that are known not to reason.
    pub never_reasons: StreamPolicy,
}

impl StreamPolicies {
    /// The policy for a target.
    pub const fn of_target(&self, may_reason: bool) -> StreamPolicy {
        if may_reason { self.may_reason } else { self.never_reasons }
    }

    /// The time for the client's whole request, at whatever targets.
    pub const fn total(&self) -> Duration {
        self.may_reason.total
    }
}

impl Default for StreamPolicies {
    fn default() -> Self {
        let may_reason = StreamPolicy::default();
        let never_reasons = StreamPolicy {
            first_content: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            answer: Duration::from_secs(120),
            ..may_reason
        };
        Self { may_reason, never_reasons }
    }
}

/// The timeouts of a response and how a stream is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamPolicy {
    /// From sending an attempt to the first content of its stream.
    pub first_content: Duration,
    /// Between two bytes of a stream, after the first content.
    pub idle: Duration,
    /// Between two pieces of content.
    pub content_idle: Duration,
    /// From sending an attempt to the end of its response, if that is not a stream.
    pub answer: Duration,
    /// The client's whole request, over all attempts, streamed or not.
    pub total: Duration,
    /// The minimum rate of a stream after the first content; `None` for no minimum.
    pub min_rate: Option<MinRate>,
    /// How long a stream is held.
    pub gate: HoldPolicy,
    /// After how long without data the client gets a keep-alive; `None` for never.
    pub keep_alive: Option<Duration>,
    /// How a stream ends that exceeds a timeout after its first content.
    pub on_break: OnBreak,
    /// How long a complete stream stays open if its provider does not end it; `None` to leave that to the
    /// provider.
    pub linger: Option<Duration>,
}

/// For a target that may reason.
impl Default for StreamPolicy {
    fn default() -> Self {
        Self {
            first_content: Duration::from_secs(120),
            idle: Duration::from_secs(120),
            content_idle: Duration::from_secs(120),
            answer: Duration::from_secs(600),
            // Longer than `answer`, so that there is time for another target.
            total: Duration::from_secs(900),
            min_rate: None,
            gate: HoldPolicy::default(),
            keep_alive: None,
            on_break: OnBreak::default(),
            linger: Some(Duration::from_secs(5)),
        }
    }
}

/// How long a stream is held before it is forwarded. While it is held, a failure can still lead to another
/// attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldPolicy {
    /// What ends the hold.
    pub until: HoldUntil,
    /// This number of held bytes also ends it.
    pub max_bytes: usize,
    /// This time since the attempt was sent also ends it, once the response headers are there. `None` for the
    /// timeout of the first content.
    pub max_time: Option<Duration>,
}

impl Default for HoldPolicy {
    fn default() -> Self {
        Self { until: HoldUntil::default(), max_bytes: 64 * 1024, max_time: None }
    }
}

/// What ends the hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HoldUntil {
    /// The response headers: nothing is held.
    Headers,
    /// The first event that is not an error, with or without content.
    FirstEvent,
    /// The first event with content.
    #[default]
    FirstContent,
}

/// The minimum number of events with content in any window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinRate {
    /// The number of events, 1 to 100.
    pub events: u16,
    /// The length of the window.
    pub window: Duration,
}

/// How a stream ends that exceeds a timeout after its first content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnBreak {
    /// With an error event of its dialect, followed by a reset.
    #[default]
    ErrorEvent,
    /// With a reset.
    Reset,
}
