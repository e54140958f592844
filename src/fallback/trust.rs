//! What a target counts as offering if the operator has not said so.
//!
//! **The first choice is trusted.** The operator has chosen its targets, and a provider says what it cannot do.
//! So at them only what the operator wrote closes a gate: a capability declared as `false`, or a declared size.
//! What the filter merely assumes about a kind of provider, or knows from its catalogue, never does.
//!
//! **A substitute is not.** The client has not asked for it, and it may do less without saying so. It needs what
//! is declared, what the catalogue knows, or what every model of its kind offers, and its endpoint must not
//! drop the parameter.
//!
//! **A target with the kind and the model of a first choice is its equal**, so it is trusted, too. What is
//! declared at that first choice holds for it as well, unless it has a declaration of its own.

use super::eligibility::{Eligibility, TargetContext};
use crate::config::{Offers, Source, Target, TokenLimit};
use crate::provider::{self, Capability};

/// What is known of one property of a target.
enum Known<T> {
    /// The operator wrote it, here or at its equal.
    Declared(T),
    /// Nothing is declared, and its provider may be asked.
    Trusted,
    /// Nothing is declared, and it may not be asked on trust.
    Assumed,
}

/// Why a candidate counts as lacking a capability.
pub(super) enum Denial {
    /// The operator wrote it, here or at its equal.
    Declared,
    /// Its endpoint drops the parameter.
    Dropped,
    /// The model catalogue says so.
    Catalogued,
    /// Nobody knows.
    Unknown,
}

impl<'a> Eligibility<'a> {
    /// Whether the candidate counts as having the capability.
    pub(super) fn can(&self, candidate: TargetContext<'a>, capability: Capability) -> bool {
        let written = |offers: &Offers| {
            offers.declared.contains(capability).then(|| offers.capabilities.contains(capability))
        };
        let obeys = || self.is_trusted(candidate) || !self.drops(candidate, capability);
        match self.known(candidate, written, |one, other| one && other) {
            Known::Declared(can) => can && obeys(),
            Known::Trusted => true,
            Known::Assumed => candidate.target.offers.capabilities.contains(capability) && obeys(),
        }
    }

    /// Whether the candidate counts as able to stream. Every chat API can, and a model without streams rejects
    /// the request, so only a declaration says no.
    pub(super) fn can_stream(&self, candidate: TargetContext<'a>) -> bool {
        match self.known(candidate, |offers| offers.streaming, |one, other| one && other) {
            Known::Declared(can) => can,
            Known::Trusted | Known::Assumed => true,
        }
    }

    /// The tokens of prompt and response that count as fitting into the candidate's context window.
    pub(super) fn window(&self, candidate: TargetContext<'a>) -> u64 {
        self.limit(candidate, |offers| offers.context_window)
    }

    /// The output tokens that count as possible in one response of the candidate.
    pub(super) fn longest_response(&self, candidate: TargetContext<'a>) -> u64 {
        self.limit(candidate, |offers| offers.max_output_tokens)
    }

    /// Why the candidate, which [cannot](Self::can), cannot.
    pub(super) fn denial(&self, candidate: TargetContext<'a>, capability: Capability) -> Denial {
        let offers = &candidate.target.offers;
        let is_declared = offers.declared.contains(capability) && !offers.capabilities.contains(capability);
        if is_declared || self.is_trusted(candidate) {
            Denial::Declared
        } else if self.drops(candidate, capability) {
            Denial::Dropped
        } else if offers.catalogued.contains(capability) {
            Denial::Catalogued
        } else {
            Denial::Unknown
        }
    }

    /// Whether the candidate's provider drops the parameter at this endpoint without saying so.
    fn drops(&self, candidate: TargetContext<'_>, capability: Capability) -> bool {
        provider::dropped(candidate.provider.kind, self.called_endpoint(candidate)).contains(capability)
    }

    fn limit(&self, candidate: TargetContext<'a>, of: fn(&Offers) -> TokenLimit) -> u64 {
        let written = |offers: &Offers| {
            let limit = of(offers);
            (limit.source == Source::Declared).then_some(limit.tokens)
        };
        match self.known(candidate, written, u64::min) {
            Known::Declared(tokens) => tokens,
            Known::Trusted => u64::MAX,
            Known::Assumed => of(&candidate.target.offers).tokens,
        }
    }

    /// What is known of a property. If several equals declare it, the strictest declaration counts.
    fn known<T>(
        &self,
        candidate: TargetContext<'a>,
        written: impl Fn(&Offers) -> Option<T>,
        strictest: fn(T, T) -> T,
    ) -> Known<T> {
        if let Some(own) = written(&candidate.target.offers) {
            return Known::Declared(own);
        }
        if self.is_first_choice(candidate.id) {
            return Known::Trusted;
        }
        if !self.is_trusted(candidate) {
            return Known::Assumed;
        }
        let declared = self.equals(candidate).filter_map(|equal| written(&equal.offers));
        declared.reduce(strictest).map_or(Known::Trusted, Known::Declared)
    }

    fn is_trusted(&self, candidate: TargetContext<'a>) -> bool {
        self.equals(candidate).next().is_some()
    }

    /// The first choices of the candidate's kind and model. A first choice is its own equal.
    fn equals(&self, candidate: TargetContext<'a>) -> impl Iterator<Item = &'a Target> {
        self.first_tier().iter().filter_map(|id| self.candidate(*id)).filter_map(move |first| {
            let is_equal = first.provider.kind == candidate.provider.kind
                && first.target.model == candidate.target.model;
            is_equal.then_some(first.target)
        })
    }
}
