//! The gates that a target has to pass because it would stand in for another one.
//!
//! The first choice is the model's first tier: its targets stand beside each other by the operator's own word, so they are
//! measured against nothing. What stands in for them is measured against the one that was asked first, or, when none was,
//! against all of them: it must not matter for a price which of them a breaker has taken out.

use super::eligibility::{Candidate, Eligibility};
use super::gate::Gate;
use crate::base::{ClassSet, ErrorClass, MicroDollars, TargetId};
use crate::config::{Account, Approval, Target};

impl<'a> Eligibility<'a> {
    pub(super) fn is_substitution_closed(&self, gate: Gate, candidate: Candidate<'a>) -> bool {
        let substitution = &self.model.substitution;
        let Candidate { id, target, .. } = candidate;
        match gate {
            Gate::LargerWindow => self.failed().any(|(failed, class)| {
                class == ErrorClass::ContextLength && !has_larger_window(target, failed)
            }),
            Gate::LeaveAccount => {
                self.must_stay(substitution.leave_account, |other| other.account == target.account)
            }
            Gate::LeaveProvider => {
                self.must_stay(substitution.leave_provider, |other| other.provider == target.provider)
            }
            _ if self.is_first_choice(id) => false,
            Gate::NoFallback => self.client.no_fallback,
            Gate::PriceRatio => {
                substitution.max_price_permille.is_some_and(|permille| !self.within_ratio(target, permille))
            }
            Gate::BillingOwner => substitution.same_billing_owner && !self.same_owner(target),
            // For each that it stands in for: with an approval for one of them it would get in while another is out, too.
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

    /// Whether `target` would take the request if nobody asked what the model's `fallback` allows: it is a first choice,
    /// speaks the dialect, and neither the client nor its key keeps it out. What they say is not on trial.
    pub fn would_serve_unasked(&self, target: TargetId) -> bool {
        self.is_first_choice(target)
            && !self.is_barred_by_client(target)
            && !self.closed_gates(target).any(|gate| gate == Gate::Dialect)
    }

    pub(super) fn is_first_choice(&self, id: TargetId) -> bool {
        self.model.tiers.first().is_some_and(|tier| tier.contains(&id))
    }

    /// The attempts that failed.
    pub(super) fn failed(&self) -> impl Iterator<Item = (&'a Target, ErrorClass)> {
        let config = self.config;
        self.past.iter().filter_map(move |(target, failure)| Some((config.target(target)?, failure?)))
    }

    /// What a substitute is measured against.
    pub(super) fn first_choices(&self) -> impl Iterator<Item = TargetId> {
        let tier = self.model.tiers.first().map_or(&[][..], Vec::as_slice);
        let asked = self.past.iter().map(|(target, _)| target).find(|target| tier.contains(target));
        let all = if asked.is_none() { tier } else { &[] };
        asked.into_iter().chain(all.iter().copied())
    }

    pub(super) fn first_targets(&self) -> impl Iterator<Item = &'a Target> {
        let config = self.config;
        self.first_choices().filter_map(move |id| config.target(id))
    }

    /// Whether a failure, or the first choice's being out of reach, must not lead away from where `same` holds.
    fn must_stay(&self, leaving: Option<ClassSet>, same: impl Fn(&Target) -> bool) -> bool {
        let Some(leaving) = leaving else { return false };
        let mut failed = self.failed().peekable();
        if failed.peek().is_none() {
            // No failure of this request leads there: its first choices are out. Who lets no failure lead away lets that
            // neither.
            return leaving == ClassSet::default() && !self.first_targets().any(same);
        }
        failed.any(|(target, class)| !same(target) && !leaving.contains(class))
    }

    fn within_ratio(&self, target: &Target, permille: u64) -> bool {
        let Some(price) = target.offers.price else { return false };
        let within = |of: fn(crate::config::Price) -> MicroDollars| {
            let mut least: Option<MicroDollars> = None;
            for first in self.first_targets() {
                // A price that is not known could be any.
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

/// The approval of `to` as a substitute for `from`; no pair stands there twice.
fn approval(pairs: &[Approval], from: TargetId, to: TargetId) -> Option<&Approval> {
    pairs.iter().find(|pair| (pair.from, pair.to) == (from, to))
}

/// Only what is declared can be known to be larger.
fn has_larger_window(target: &Target, than: &Target) -> bool {
    let window = target.offers.context_window;
    window.declared && window.tokens > than.offers.context_window.tokens
}
