//! What the failures of one client request mean to the breakers.
//!
//! A request may crash every server that it is sent to. So the first half of a failure counts when it
//! happens, and the second half is owed until it is clear what failed:
//!
//! - A target serves the request, or its attempts fail in different ways: the targets failed. All is paid.
//! - All attempts fail in the same way, at more than one breaker: the request is to blame. Nothing is paid.
//! - There is only one failure when the request ends: no other target was asked, so nothing shows that the
//!   request is to blame. The second half is paid.
//!
//! At one breaker a request counts once, however often it was sent there.

use super::transitions::count_transition;
use crate::base::{ErrorClass, Random, Timestamp};
use crate::breaker::{Breaker, Change, OwedHalf, Share};
use crate::config::MAX_ATTEMPTS;
use crate::generation::{Effects, Generation};

/// The failures of one client request, as far as breakers have counted them.
#[derive(Debug, Default)]
pub struct RequestFailures {
    class: Option<ErrorClass>,
    /// Each breaker that has counted this request, at most one for each attempt.
    counted: Vec<(Breaker, Option<OwedHalf>)>,
    /// Whether nothing can put the blame on the request any more.
    is_cleared: bool,
}

impl RequestFailures {
    /// Whether a breaker still waits for the second half of a failure.
    pub fn are_owed(&self) -> bool {
        self.counted.iter().any(|(_, owed)| owed.is_some())
    }

    /// No other target can be asked, so nothing is owed: failures count whole.
    pub const fn count_whole(&mut self) {
        self.is_cleared = true;
    }

    /// A target serves the request.
    pub fn served(&mut self, generation: &Generation, effects: &mut Effects<'_>, now: Timestamp) {
        self.is_cleared = true;
        self.pay(generation, effects, now);
    }

    /// An attempt has failed like this. To be called before its breakers learn it.
    pub(super) fn failed(
        &mut self,
        class: ErrorClass,
        generation: &Generation,
        effects: &mut Effects<'_>,
        now: Timestamp,
    ) {
        if *self.class.get_or_insert(class) != class {
            self.served(generation, effects, now);
        }
    }

    /// All attempts have failed, or no further one was made.
    pub fn settle(&mut self, generation: &Generation, effects: &mut Effects<'_>, now: Timestamp) {
        if self.counted.len() > 1 {
            self.counted.iter_mut().for_each(|(_, owed)| *owed = None);
        } else {
            self.pay(generation, effects, now);
        }
    }

    /// How much the next failure counts.
    pub(super) fn share(&self) -> Share {
        let may_owe = !self.is_cleared && self.counted.len() < usize::from(MAX_ATTEMPTS);
        if may_owe { Share::Half } else { Share::Whole }
    }

    pub(super) fn were_counted_by(&self, breaker: Breaker) -> bool {
        self.counted.iter().any(|(counted, _)| *counted == breaker)
    }

    pub(super) fn count(&mut self, breaker: Breaker, owed: Option<OwedHalf>) {
        if self.counted.len() < usize::from(MAX_ATTEMPTS) {
            self.counted.push((breaker, owed));
        }
    }

    fn pay(&mut self, generation: &Generation, effects: &mut Effects<'_>, now: Timestamp) {
        let config = &*generation.config;
        for (breaker, owed) in &mut self.counted {
            let Some(owed) = owed.take() else { continue };
            let jitter = effects.rng.next_u64();
            let mut view = generation.health_view.borrow_mut();
            let Change { result, shared } = view.pay(effects.store, owed, &config.breaker, now, jitter);
            drop(view);
            effects.note_shared(shared);
            count_transition(config, breaker.scope(), result, effects);
        }
    }
}
