//! What attempts tell of their targets' limits.

use super::attempt::Attempt;
use super::outcome::Outcome;
use super::plan::Tried;
use super::{Journey, Worker};
use crate::balance::Demand;
use crate::base::{HeaderBlock, Timestamp};
use crate::provider::{self, ProviderKind, RateLimits};

impl Attempt {
    /// The provider has answered, and may have said what is left of its limits.
    pub(super) fn hear_limits(&mut self, kind: ProviderKind, headers: &HeaderBlock, now: Timestamp) {
        if std::mem::take(&mut self.answer_awaited) {
            let said = provider::rate_limits(kind, headers, now);
            self.journey.borrow().answered(self.slot, said.as_ref(), now);
        }
    }
}

impl Journey {
    /// The attempt in `slot` is counted by its provider from now on.
    pub(super) fn answered(&self, slot: usize, said: Option<&RateLimits>, now: Timestamp) {
        let Some(Tried { target, expected, .. }) = self.tried.get(slot) else { return };
        self.pending.borrow_mut().answered(*target, *expected);
        self.headroom.borrow_mut().answered(*target, said, Demand::of(*expected), now);
    }

    /// The tokens that an attempt really took are counted at the limits that are stated.
    pub(super) fn settle_limits(
        &self,
        worker: &mut Worker,
        Tried { target, expected, .. }: Tried,
        outcome: &Outcome,
        now: Timestamp,
    ) {
        let taken = match outcome {
            Outcome { usage: Some(usage), .. } => usage.input.saturating_add(usage.output),
            outcome if !outcome.may_be_billed() => 0,
            _ => return,
        };
        let sent_at = Timestamp::from_millis(
            now.as_millis().saturating_sub(u64::try_from(outcome.took.as_millis()).unwrap_or(u64::MAX)),
        );
        let tokens = (expected.total(), taken);
        self.headroom.borrow_mut().settle(&mut *worker.store, target, tokens, sent_at, now);
    }
}
