//! Keeps a quiet stream open, because a proxy between client and filter may cut an idle connection.
//!
//! A keep-alive is not an event of the response. It says nothing about the provider, so it resets no clock of
//! the attempt: a stalled stream ends when it would end without it.

use std::time::Duration;

use super::dialect::StreamDialect;
use crate::base::Timestamp;

/// When a client is to receive the next bytes.
#[derive(Debug, Clone, Copy)]
pub struct KeepAlive {
    every: Duration,
    sent_at: Timestamp,
}

impl KeepAlive {
    /// For a client to which bytes were sent at `now`.
    pub const fn new(every: Duration, now: Timestamp) -> Self {
        Self { every, sent_at: now }
    }

    /// Bytes were sent to the client.
    pub fn bytes_sent(&mut self, now: Timestamp) {
        self.sent_at = self.sent_at.max(now);
    }

    /// When a keep-alive is due if no bytes are sent until then.
    pub fn due(&self) -> Timestamp {
        self.sent_at.after(self.every)
    }
}

/// The keep-alive of a dialect: a comment, which no client takes for an event. For Anthropic its own `ping`,
/// which its clients expect.
pub const fn keep_alive(dialect: StreamDialect) -> &'static str {
    match dialect {
        StreamDialect::Messages => "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        StreamDialect::Chat
        | StreamDialect::Completions
        | StreamDialect::Responses
        | StreamDialect::Gemini
        | StreamDialect::Media => ": keep-alive\n\n",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Framer, Meaning, StreamState};
    use super::*;

    #[test]
    fn a_keep_alive_is_empty_in_every_dialect_and_ends_at_a_boundary() {
        use StreamDialect::{Chat, Completions, Gemini, Media, Messages, Responses};
        for dialect in [Chat, Completions, Responses, Messages, Gemini, Media] {
            let mut state = StreamState::new(dialect);
            let mut framer = Framer::new();
            framer.feed(keep_alive(dialect).as_bytes(), |event| {
                assert_eq!(state.read(&event), Meaning::Empty, "{dialect:?}");
            });
            assert!(framer.at_boundary(), "{dialect:?}");
            assert_eq!(state.events(), u64::from(dialect == Messages), "a comment is no event");
        }
    }

    #[test]
    fn a_keep_alive_is_due_after_a_quiet_interval() {
        let at = Timestamp::from_millis;
        let mut keep = KeepAlive::new(Duration::from_secs(15), at(1_000));
        assert_eq!(keep.due(), at(16_000));
        keep.bytes_sent(at(5_000));
        keep.bytes_sent(at(2_000));
        assert_eq!(keep.due(), at(20_000), "a clock that steps back makes nothing due");
    }
}
