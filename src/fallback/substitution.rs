//! The gates for a target that would replace another one.
//!
//! **What is the first choice?** The model's first tier, or the first one that serves the endpoint: what could
//! never have served a request is not what the client asked for. The operator has declared its targets equivalent, so
//! these gates do not apply to them. A substitute is compared with the target of that tier that was tried
//! first. If none was tried, it is compared with all of them: a price limit must not depend on which of them
//! a breaker has excluded.
//!
//! **Shadow mode** is a switch of each model's `fallback`, separate from the global one of the breakers: an
//! operator who introduces boundaries wants to see first which requests they would reject. Boundaries of a
//! key or of the request itself still apply in shadow mode, because they are not under test.

use super::eligibility::{Eligibility, TargetContext};
use super::gate::Gate;
use crate::base::{ClassSet, ErrorClass, MicroDollars, TargetId};
use crate::config::{Account, Approval, Target};

impl<'a> Eligibility<'a> {
    pub(super) fn is_substitution_closed(&self, gate: Gate, candidate: TargetContext<'a>) -> bool {
        let substitution = &self.model.substitution;
        let TargetContext { id, target, .. } = candidate;
        match gate {
            Gate::LargerWindow => self.failed().any(|(failed, class)| {
                class == ErrorClass::ContextLength && !has_larger_window(target, failed)
            }),
            Gate::LeaveAccount => {
                self.forbids_leaving(substitution.leave_account, |other| other.account == target.account)
            }
            Gate::LeaveProvider => {
                self.forbids_leaving(substitution.leave_provider, |other| other.provider == target.provider)
            }
            _ if self.is_first_choice(id) => false,
            Gate::NoFallback => self.client.no_fallback,
            Gate::PriceRatio => {
                substitution.max_price_permille.is_some_and(|permille| !self.within_ratio(target, permille))
            }
            Gate::BillingOwner => substitution.same_billing_owner && !self.same_owner(target),
            // An approval for each first choice is needed. With one for a single target, the substitute would
            // also replace the others.
            Gate::PairNotApproved => substitution
                .approved
                .as_ref()
                .is_some_and(|pairs| self.first_choices().any(|from| approval(pairs, from, id).is_none())),
            Gate::PairExpired => substitution.approved.as_ref().is_some_and(|pairs| {
                let until = |from| approval(pairs, from, id)?.until;
                self.first_choices().any(|from| until(from).is_some_and(|until| self.now >= until))
            }),
            _ => false,
        }
    }

    /// Whether `target` could serve the request without the model's `fallback` rules: it is a first choice,
    /// supports the endpoint, and neither the client nor its key excludes it. Used in shadow mode.
    pub fn admits_without_fallback_rules(&self, target: TargetId) -> bool {
        self.is_first_choice(target)
            && !self.is_excluded_by_client(target)
            && !self.closed_gates(target).any(|gate| matches!(gate, Gate::Dialect | Gate::Translation))
    }

    /// Whether requests for this endpoint begin at the target.
    pub fn is_first_choice(&self, id: TargetId) -> bool {
        self.first_tier().contains(&id)
    }

    /// The first tier that has a target for the endpoint. What no earlier tier could ever serve is no substitute for it.
    pub(super) fn first_tier(&self) -> &'a [TargetId] {
        let serving = self.model.tiers.iter().find(|tier| tier.iter().any(|id| self.serves_endpoint(*id)));
        serving.or_else(|| self.model.tiers.first()).map_or(&[][..], Vec::as_slice)
    }

    /// Whether the target's provider serves the endpoint, as it is or in translation.
    pub(super) fn serves_endpoint(&self, id: TargetId) -> bool {
        self.candidate(id).is_some_and(|candidate| self.serves(candidate))
    }

    /// The failed attempts.
    pub(super) fn failed(&self) -> impl Iterator<Item = (&'a Target, ErrorClass)> {
        let config = self.config;
        self.past.iter().filter_map(move |(target, failure)| Some((config.target(target)?, failure?)))
    }

    /// The targets that a substitute is compared with.
    pub(super) fn first_choices(&self) -> impl Iterator<Item = TargetId> {
        let tier = self.first_tier();
        let asked = self.past.iter().map(|(target, _)| target).find(|target| tier.contains(target));
        let all = if asked.is_none() { tier } else { &[] };
        asked.into_iter().chain(all.iter().copied())
    }

    pub(super) fn first_targets(&self) -> impl Iterator<Item = &'a Target> {
        let config = self.config;
        self.first_choices().filter_map(move |id| config.target(id))
    }

    /// Whether a failure, or the unavailability of the first choice, must not lead to a target for which
    /// `same` does not hold.
    fn forbids_leaving(&self, leaving: Option<ClassSet>, same: impl Fn(&Target) -> bool) -> bool {
        let Some(leaving) = leaving else { return false };
        let mut failed = self.failed().peekable();
        if failed.peek().is_none() {
            // No attempt failed: the first choices are unavailable. If no failure may lead away, their
            // unavailability may not either.
            return leaving == ClassSet::default() && !self.first_targets().any(same);
        }
        failed.any(|(target, class)| !same(target) && !leaving.contains(class))
    }

    fn within_ratio(&self, target: &Target, permille: u64) -> bool {
        let Some(price) = target.offers.price else { return false };
        let within = |of: fn(crate::config::Price) -> MicroDollars| {
            let mut least: Option<MicroDollars> = None;
            for first in self.first_targets() {
                // An unknown price could be any.
                let Some(first) = first.offers.price.map(of) else { return false };
                least = Some(least.map_or(first, |least| least.min(first)));
            }
            least.is_some_and(|least| of(price) <= least.times_permille(permille))
        };
        within(|price| price.input) && within(|price| price.output)
    }

    fn same_owner(&self, target: &Target) -> bool {
        let account = |target: &Target| self.config.account(target.account);
        let owner = |account: Option<&'a Account>| account.and_then(|account| account.billing_owner.clone());
        self.first_targets().all(|first| {
            first.account == target.account
                || owner(account(first)).is_some_and(|one| owner(account(target)) == Some(one))
        })
    }
}

/// The approval of `to` as a substitute for `from`. A pair is listed only once.
fn approval(pairs: &[Approval], from: TargetId, to: TargetId) -> Option<&Approval> {
    pairs.iter().find(|pair| (pair.from, pair.to) == (from, to))
}

/// Only a window that is declared or in the model catalogue can be known to be larger.
fn has_larger_window(target: &Target, than: &Target) -> bool {
    let window = target.offers.context_window;
    window.source.is_known() && window.tokens > than.offers.context_window.tokens
}
