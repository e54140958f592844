//! Keeping a quiet stream open: what stands between client and filter may cut a connection on which nothing moves.
//!
//! What is sent is no event of the answer. It says nothing of the provider, so no clock of the attempt hears of it: a
//! stream that has gone silent ends when it would have ended without.

use std::time::Duration;

use super::dialect::StreamDialect;
use crate::base::Timestamp;

/// When a client is to hear something again.
#[derive(Debug, Clone, Copy)]
pub struct KeepAlive {
    every: Duration,
    heard_at: Timestamp,
}

impl KeepAlive {
    /// For a client to which something went at `now`.
    pub const fn new(every: Duration, now: Timestamp) -> Self {
        Self { every, heard_at: now }
    }

    /// Something has gone to the client.
    pub fn bytes_sent(&mut self, now: Timestamp) {
        self.heard_at = self.heard_at.max(now);
    }

    /// When it is to hear something, if nothing goes to it until then.
    pub fn due(&self) -> Timestamp {
        self.heard_at.after(self.every)
    }
}

/// What keeps a stream of this dialect open: a comment, which no client takes for an event; in Anthropic's dialect its own
/// `ping`, which its clients expect.
pub const fn keep_alive(dialect: StreamDialect) -> &'static str {
    match dialect {
        StreamDialect::Messages => "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        StreamDialect::Chat
        | StreamDialect::Completions
        | StreamDialect::Responses
        | StreamDialect::Gemini => ": keep-alive\n\n",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Framer, Meaning, StreamState};
    use super::*;

    #[test]
    fn it_means_nothing_in_any_dialect_and_ends_where_an_event_may_begin() {
        use StreamDialect::{Chat, Completions, Gemini, Messages, Responses};
        for dialect in [Chat, Completions, Responses, Messages, Gemini] {
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
    fn it_is_due_when_the_client_has_heard_nothing_for_so_long() {
        let at = Timestamp::from_millis;
        let mut keep = KeepAlive::new(Duration::from_secs(15), at(1_000));
        assert_eq!(keep.due(), at(16_000));
        keep.bytes_sent(at(5_000));
        keep.bytes_sent(at(2_000));
        assert_eq!(keep.due(), at(20_000), "a clock that steps back makes nothing due");
    }
}
