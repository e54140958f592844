//! Counts an attempt as under way, from its sending to its end.

use crate::balance::Demand;
use crate::base::{TargetId, Timestamp, Tokens};
use crate::generation::Generation;
use crate::intake::ClientRequest;
use crate::provider::RateLimits;

/// An attempt that is under way and counted as such. It ends once.
pub(super) struct UnderWay {
    target: TargetId,
    expected: Tokens,
    sent_at: Timestamp,
    /// No response has come, so the provider may not have counted it yet.
    is_unanswered: bool,
}

impl UnderWay {
    /// An attempt is sent.
    pub(super) fn begin(request: &ClientRequest, target: TargetId, expected: Tokens, now: Timestamp) -> Self {
        let generation = &request.generation;
        generation.pending.borrow_mut().begin(target, expected);
        generation.speeds.borrow_mut().begin(target, now);
        Self { target, expected, sent_at: now, is_unanswered: true }
    }

    /// The provider has answered, and may have reported what is left of its limits.
    pub(super) fn answered(
        &mut self,
        generation: &Generation,
        reported: Option<&RateLimits>,
        now: Timestamp,
    ) {
        if std::mem::take(&mut self.is_unanswered) {
            generation.pending.borrow_mut().answered(self.target, self.expected);
            let need = Demand::of(self.expected);
            generation.headroom.borrow_mut().answered(self.target, reported, need, now);
        }
    }

    /// The attempt is over.
    pub(super) fn end(mut self, request: &ClientRequest, had_content: bool, now: Timestamp) {
        let generation = &request.generation;
        generation.pending.borrow_mut().end(self.target);
        self.answered(generation, None, now);
        if !had_content {
            let streamed = request.facts.stream;
            generation.speeds.borrow_mut().no_content(self.target, streamed, self.sent_at, now);
        }
    }
}
