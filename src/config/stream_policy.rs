//! How long what may take of an answer, how much of a stream is held, and how a stream ends that breaks.

use std::time::Duration;

/// What an answer may take and how a stream is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamPolicy {
    /// From sending an attempt to the first content of its stream.
    pub first_content: Duration,
    /// The same at a target that is marked `reasoning`.
    pub first_content_reasoning: Duration,
    /// Between two bytes of a stream, once content has come.
    pub idle: Duration,
    /// Between two pieces of content.
    pub content_idle: Duration,
    /// From sending an attempt to the end of its answer, where that is no stream.
    pub answer: Duration,
    /// The client's whole request, over all attempts, streamed or not.
    pub total: Duration,
    /// The pace that a stream must keep once content has come; `None` for any.
    pub min_rate: Option<MinRate>,
    /// Until when a stream is held.
    pub gate: Gate,
    /// After how long without anything a client is sent something that keeps its connection open; `None` for never.
    pub keep_alive: Option<Duration>,
    /// How a stream ends that went silent after its first content.
    pub on_break: OnBreak,
}

impl Default for StreamPolicy {
    fn default() -> Self {
        Self {
            first_content: Duration::from_secs(30),
            first_content_reasoning: Duration::from_secs(120),
            idle: Duration::from_secs(30),
            content_idle: Duration::from_secs(120),
            answer: Duration::from_secs(300),
            total: Duration::from_secs(600),
            min_rate: None,
            gate: Gate::default(),
            keep_alive: None,
            on_break: OnBreak::default(),
        }
    }
}

impl StreamPolicy {
    /// As it is for a target that is marked `reasoning` or not, and for a client that gives the request no longer than
    /// `limit`, if it says so. Nobody can make `total` longer.
    #[must_use]
    pub fn narrowed(self, reasoning: bool, limit: Option<Duration>) -> Self {
        let first_content = if reasoning { self.first_content_reasoning } else { self.first_content };
        let total = limit.map_or(self.total, |limit| limit.min(self.total));
        Self { first_content, total, ..self }
    }
}

/// Until when a stream is held. As long as it is, a failure can still become another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// What opens it.
    pub until: GateUntil,
    /// So many bytes open it, too.
    pub max_bytes: usize,
    /// And so much time since the attempt was sent, once there are response headers; `None` for as long as the first
    /// content may take.
    pub max_time: Option<Duration>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { until: GateUntil::default(), max_bytes: 64 * 1024, max_time: None }
    }
}

/// What opens the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GateUntil {
    /// The response headers: nothing is held.
    Headers,
    /// The first event that is no failure, whatever it brings.
    FirstEvent,
    /// The first event with content.
    #[default]
    FirstContent,
}

/// At least so many events with content in any window of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinRate {
    /// 1 to 100.
    pub events: u16,
    /// How long the window is.
    pub window: Duration,
}

/// How a stream ends that went silent after its first content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnBreak {
    /// With an error event of its dialect, and then a reset.
    #[default]
    ErrorEvent,
    /// With a reset.
    Reset,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_can_shorten_the_total_and_never_lengthen_it() {
        let policy = StreamPolicy::default();
        for (limit, total) in [(None, 600), (Some(5), 5), (Some(599), 599), (Some(601), 600)] {
            let narrowed = policy.narrowed(false, limit.map(Duration::from_secs));
            assert_eq!(narrowed, StreamPolicy { total: Duration::from_secs(total), ..policy });
        }
        assert_eq!(policy.narrowed(true, None).first_content, Duration::from_secs(120));
    }
}
