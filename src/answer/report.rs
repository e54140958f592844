//! What a response has shown, as values.

use crate::base::ErrorClass;
use crate::stream::{FinishReason, StreamFacts, Usage};

/// What the host does next with the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Hold headers and body, and go on reading.
    Hold,
    /// Release everything that is held, and all that follows.
    Pass,
    /// Hold what there is and release it from a callback of another kind, then call
    /// [`Follower::released`](super::Follower::released).
    Stage,
    /// Hold what there is and release it in this callback.
    Flow,
}

/// What one chunk of a committed response has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct ChunkReport {
    /// How the host releases what is in its buffer now.
    pub release: Release,
    /// Bytes that came with this chunk. What the host's buffer held before is not counted again.
    pub new_bytes: usize,
    /// `None` if no content came, else how many complete events with content did. That number is 0 where content is not
    /// counted in events: in a plain response, in one that cannot be read, and in an event too large to read.
    pub content: Option<u64>,
    /// Whether bytes go to the client.
    pub forwarded: bool,
    /// What a stream has turned out to be, once that is certain, which may be long before its connection ends: its
    /// terminal event has come, or an event that says it failed.
    pub settled: Option<Result<(), ErrorClass>>,
}

/// What a response has said about itself so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnswerFacts {
    /// The tokens it took; `None` where it has not said, or cannot be read.
    pub usage: Option<Usage>,
    /// Why it ended.
    pub finish: Option<FinishReason>,
    /// `None` for a response that is not a stream.
    pub stream: Option<StreamFacts>,
}
