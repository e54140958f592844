//! What the gatekeeper and the follower report.

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
    /// How the host releases its buffer now.
    pub release: Release,
    /// Bytes that came with this chunk. What the host's buffer held before is not counted again.
    pub new_bytes: usize,
    /// The number of complete events with content. `None` if no content came. 0 if content came that is not
    /// counted in events: in a plain response, in an unreadable one, or in an event too large to read.
    pub content: Option<u64>,
    /// Whether bytes go to the client.
    pub forwarded: bool,
    /// The result of a stream, once it is certain: after its terminal event, or an event that reports a
    /// failure. That may be long before the connection ends.
    pub settled: Option<Result<(), ErrorClass>>,
    /// The number of a stream's choices with a finish reason, once every choice that has begun has one. It is
    /// complete then, though its terminal event may still come. A plain response finishes all choices at once.
    pub finished_choices: Option<u32>,
    /// The response has ended in the middle. Its last bytes are held, so that the client does not take it for
    /// complete.
    pub is_cut: bool,
}

impl ChunkReport {
    /// A report that says only how the host releases its buffer.
    pub const fn of(release: Release) -> Self {
        Self {
            release,
            new_bytes: 0,
            content: None,
            forwarded: false,
            settled: None,
            finished_choices: None,
            is_cut: false,
        }
    }
}

/// What a response has said about itself so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnswerFacts {
    /// The tokens it took. `None` if it has not reported them, or cannot be read.
    pub usage: Option<Usage>,
    /// Why it ended.
    pub finish: Option<FinishReason>,
    /// `None` for a response that is not a stream.
    pub stream: Option<StreamFacts>,
}
