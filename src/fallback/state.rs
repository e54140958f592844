//! The gates for state at an account, and for reasoning that only one account or provider can read.
//!
//! **Who may hold the state?** The owner that earlier turns have shown, as long as the model has a target of that
//! owner and no account of it has answered that it does not know the state. Otherwise every owner of a target
//! at which conversations begin, except those that have answered so. The provider decides in the end.

use super::eligibility::Eligibility;
use super::needs::Encrypted;
use crate::base::{ErrorClass, KnownOwner, Owner, TargetId};
use crate::config::{SealedReasoning, Target};
use crate::request::StateKind;

impl<'a> Eligibility<'a> {
    pub(super) fn is_state_elsewhere(&self, target: &Target) -> bool {
        let state = self.needs.state;
        if state.is_empty() {
            return false;
        }
        // The response is fetched later, by a request that shows no conversation.
        let is_fetched_later = state.contains(StateKind::Background) && self.known_owner().is_none();
        !self.may_hold_state(target)
            || (is_fetched_later && !self.is_every_holder(|holder| self.is_of_same_owner(holder, target)))
    }

    pub(super) fn is_reasoning_unreadable(&self, target: &Target) -> bool {
        let signed = self.needs.sealed_reasoning;
        (signed && !self.is_every_holder(|holder| holder.provider == target.provider))
            || (self.needs.encrypted != Encrypted::No
                && !self.may_drop_reasoning()
                && !self.may_hold_state(target))
    }

    /// Whether `target` gets the request without its encrypted reasoning.
    pub fn drops_reasoning_at(&self, target: TargetId) -> bool {
        self.may_drop_reasoning()
            && (self.known_owner().is_some_and(|known| known.mixed)
                || self.config.target(target).is_some_and(|target| !self.may_hold_state(target)))
    }

    /// Whether the target belongs to the known owner of the state.
    pub fn is_known_owner(&self, target: TargetId) -> bool {
        let known = self.known_owner();
        known.is_some_and(|known| {
            self.config.target(target).and_then(|target| self.owner_of(target)) == Some(known.owner)
        })
    }

    /// Whether the request is bound to an account: it refers to state, or has encrypted reasoning.
    pub fn is_bound(&self) -> bool {
        !self.needs.state.is_empty() || self.needs.encrypted != Encrypted::No
    }

    fn may_drop_reasoning(&self) -> bool {
        self.needs.encrypted == Encrypted::Removable
            && self.model.substitution.sealed_reasoning == SealedReasoning::Drop
    }

    fn may_hold_state(&self, target: &Target) -> bool {
        match self.known_owner() {
            Some(known) => self.owner_of(target) == Some(known.owner),
            None => {
                self.state_holders().any(|holder| self.is_of_same_owner(holder, target))
                    && self.owner_of(target).is_some_and(|owner| !self.has_denied(owner))
            }
        }
    }

    /// The owner that earlier turns have shown, unless it is of no use any more.
    fn known_owner(&self) -> Option<KnownOwner> {
        let known = self.needs.owner?;
        let mut targets = self.model.tiers.iter().flatten().filter_map(|id| self.config.target(*id));
        let is_here = targets.any(|target| self.owner_of(target) == Some(known.owner));
        (is_here && !self.has_denied(known.owner)).then_some(known)
    }

    /// Whether an account of the owner has answered that it does not know the state.
    fn has_denied(&self, owner: Owner) -> bool {
        self.failed()
            .any(|(target, class)| class == ErrorClass::StateNotFound && self.owner_of(target) == Some(owner))
    }

    fn owner_of(&self, target: &Target) -> Option<Owner> {
        self.config.account(target.account).map(|account| account.owner)
    }

    fn is_of_same_owner(&self, one: &Target, other: &Target) -> bool {
        one.account == other.account || self.owner_of(one) == self.owner_of(other)
    }

    /// The targets at which conversations with this model begin: those of the first tier that has any target
    /// with this endpoint. Boundaries are not considered, because an excluded target may still hold a
    /// conversation that began before it was excluded.
    fn state_holders(&self) -> impl Iterator<Item = &'a Target> {
        let serving = self.first_tier().iter().filter(|id| self.serves_endpoint(**id));
        serving.filter_map(|id| self.config.target(*id))
    }

    /// Whether `here` holds for every target at which conversations begin.
    fn is_every_holder(&self, here: impl Fn(&Target) -> bool) -> bool {
        let mut holders = self.state_holders().peekable();
        holders.peek().is_some() && holders.all(here)
    }
}
