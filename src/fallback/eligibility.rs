use std::rc::Rc;

use super::calibration::Calibration;
use super::gate::Gate;
use super::needs::Needs;
use crate::base::{Endpoint, ErrorClass, MicroDollars, TargetId, Timestamp};
use crate::config::{Boundaries, Config, MAX_ATTEMPTS, Model, Price, PriceCeiling, Provider, Target};
use crate::provider::{self, Capability};

/// Regions that a client may list for one request at most.
pub const MAX_REQUEST_REGIONS: usize = 16;

/// The margin on an estimate of tokens of which nothing better is known, in percent.
const MARGIN_PERCENT: u64 = 20;

/// The attempts that were made for a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Past {
    attempts: [Option<(TargetId, Option<ErrorClass>)>; MAX_ATTEMPTS as usize],
}

impl Past {
    /// These, each with its failure if it has one. Nobody makes more than a configuration can allow.
    pub fn of(attempts: impl Iterator<Item = (TargetId, Option<ErrorClass>)>) -> Self {
        let mut past = Self::default();
        for (slot, attempt) in past.attempts.iter_mut().zip(attempts) {
            *slot = Some(attempt);
        }
        past
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TargetId, Option<ErrorClass>)> {
        self.attempts.into_iter().flatten()
    }
}

/// What a client allows for one request. It can only be less than what holds anyway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientLimits {
    /// Where its data may be worked on; `None` when it says nothing.
    pub regions: Option<Vec<Rc<str>>>,
    /// Whether it wants no substitute.
    pub no_fallback: bool,
}

impl ClientLimits {
    /// The regions that `x-llm-region` lists; `None` for what is no list of regions.
    pub fn regions_in(text: &str) -> Option<Vec<Rc<str>>> {
        let regions: Vec<Rc<str>> =
            text.split(',').map(|region| Rc::from(region.trim().to_ascii_lowercase())).collect();
        let good = regions.len() <= MAX_REQUEST_REGIONS && regions.iter().all(|region| !region.is_empty());
        good.then_some(regions)
    }
}

/// A request, what holds for it, and how far it is.
#[derive(Clone, Copy)]
pub struct Eligibility<'a> {
    /// The configuration that it is served by.
    pub config: &'a Config,
    /// The model that was asked for.
    pub model: &'a Model,
    /// What holds for the client's key.
    pub key: Option<&'a Boundaries>,
    /// What the client allows.
    pub client: &'a ClientLimits,
    /// What the request needs.
    pub needs: &'a Needs,
    /// What has been tried.
    pub past: Past,
    /// What is known of how targets count tokens, if anything is.
    pub estimates: Option<&'a Calibration>,
    /// The moment.
    pub now: Timestamp,
}

/// A target as the gates see it.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) id: TargetId,
    pub(super) target: &'a Target,
    pub(super) provider: &'a Provider,
}

impl<'a> Eligibility<'a> {
    /// Whether `target` may take the request now.
    pub fn admits(&self, target: TargetId) -> bool {
        self.first_gate(target).is_none()
    }

    /// The first gate that `target` does not pass.
    pub fn first_gate(&self, target: TargetId) -> Option<Gate> {
        // A target that is gone takes nothing.
        let Some(candidate) = self.candidate(target) else { return Some(Gate::TargetList) };
        Gate::all().find(|gate| self.is_closed(*gate, candidate))
    }

    /// Every gate that `target` does not pass, in their order.
    pub fn closed_gates(&self, target: TargetId) -> impl Iterator<Item = Gate> {
        let candidate = self.candidate(target);
        Gate::all().filter(move |gate| candidate.is_some_and(|candidate| self.is_closed(*gate, candidate)))
    }

    pub(super) fn candidate(&self, id: TargetId) -> Option<Candidate<'a>> {
        let target = self.config.target(id)?;
        Some(Candidate { id, target, provider: self.config.provider(target.provider)? })
    }

    /// The boundaries that the operator set for this request.
    pub(super) fn boundaries(&self) -> impl Iterator<Item = &'a Boundaries> {
        std::iter::once(&self.model.boundaries).chain(self.key)
    }

    fn is_closed(&self, gate: Gate, candidate: Candidate<'a>) -> bool {
        let Candidate { id, target, provider } = candidate;
        let offers = &target.offers;
        match gate {
            Gate::Dialect => !provider.endpoints.contains(self.needs.endpoint),
            Gate::ProviderList
            | Gate::TargetList
            | Gate::Residency
            | Gate::ZeroRetention
            | Gate::Training
            | Gate::Quality
            | Gate::PriceCeiling
            | Gate::RequestCost => {
                let operators = self.boundaries().any(|set| self.breaks(set, gate, candidate));
                operators || (gate == Gate::Residency && self.is_where_the_client_is_not(candidate))
            }
            Gate::Capability(capability) => {
                self.needs.capabilities.contains(capability) && !self.can(candidate, capability)
            }
            Gate::Streaming => self.needs.streamed && !offers.streaming,
            Gate::ContextWindow => {
                self.is_bounded_by_window() && self.room_needed(id) > offers.context_window.tokens
            }
            Gate::MaxOutput => {
                let asked = self.needs.asked_output.filter(|_| self.is_bounded_by_window());
                asked.is_some_and(|asked| asked > offers.max_output_tokens.tokens)
            }
            Gate::State => {
                !self.needs.state.is_empty() && !self.is_home(|home| home.account == target.account)
            }
            Gate::SealedReasoning => {
                self.needs.sealed_reasoning && !self.is_home(|home| home.provider == target.provider)
            }
            _ => self.is_substitution_closed(gate, candidate),
        }
    }

    /// Whether the candidate is kept out by one set of boundaries at one of the gates that are about terms.
    fn breaks(&self, set: &Boundaries, gate: Gate, candidate: Candidate<'a>) -> bool {
        let Candidate { id, target, .. } = candidate;
        let offers = &target.offers;
        match gate {
            Gate::ProviderList => !set.providers.admits(&target.provider),
            Gate::TargetList => !set.targets.admits(&id),
            Gate::Residency => set.regions.as_ref().is_some_and(|regions| is_outside(target, regions)),
            Gate::ZeroRetention => set.zero_retention && offers.zero_retention != Some(true),
            Gate::Training => set.training_opt_out && offers.training_opt_out != Some(true),
            // Nothing declared is less than any least.
            Gate::Quality => offers.quality < set.min_quality,
            Gate::PriceCeiling => exceeds(set.max_price, offers.price),
            Gate::RequestCost => {
                set.max_request_cost.is_some_and(|most| self.cost(candidate).is_none_or(|cost| cost > most))
            }
            _ => false,
        }
    }

    fn is_where_the_client_is_not(&self, candidate: Candidate<'a>) -> bool {
        self.client.regions.as_ref().is_some_and(|regions| is_outside(candidate.target, regions))
    }

    /// Whether the client or its key keeps `target` out, whatever the model says.
    pub(super) fn is_barred_by_client(&self, target: TargetId) -> bool {
        let Some(candidate) = self.candidate(target) else { return true };
        let by_key = |gate| self.key.is_some_and(|set| self.breaks(set, gate, candidate));
        self.is_where_the_client_is_not(candidate) || Gate::all().any(by_key)
    }

    /// The lists of regions that hold for it.
    pub(super) fn regions(&self) -> impl Iterator<Item = &'a Vec<Rc<str>>> {
        let operators = self.boundaries().filter_map(|set| set.regions.as_ref());
        operators.chain(self.client.regions.as_ref())
    }

    /// Whether the candidate can do it, and its provider does not drop it from requests of this endpoint.
    pub(super) fn can(&self, candidate: Candidate<'_>, capability: Capability) -> bool {
        candidate.target.offers.capabilities.contains(capability) && !self.drops(candidate, capability)
    }

    pub(super) fn drops(&self, candidate: Candidate<'_>, capability: Capability) -> bool {
        provider::dropped(candidate.provider.kind, self.needs.endpoint).contains(capability)
    }

    /// Each input of an embeddings request has the window to itself, and nobody has looked at them one by one.
    fn is_bounded_by_window(&self) -> bool {
        self.needs.endpoint != Endpoint::Embeddings
    }

    /// Tokens of prompt and answer, with the margin that an estimate needs.
    fn room_needed(&self, id: TargetId) -> u64 {
        self.input_tokens(id).saturating_add(self.needs.asked_output.unwrap_or(0))
    }

    /// Tokens of the prompt at `target`, on the safe side.
    pub(super) fn input_tokens(&self, id: TargetId) -> u64 {
        let expected = self.needs.expected(id, self.estimates).input;
        expected.saturating_add(expected.saturating_mul(MARGIN_PERCENT) / 100)
    }

    /// What the request costs at most, by estimate; `None` where no price is declared. An answer of which no length was
    /// asked may be as long as the target's can be.
    pub(super) fn cost(&self, candidate: Candidate<'_>) -> Option<MicroDollars> {
        let Candidate { id, target, .. } = candidate;
        let output = self.needs.asked_output.unwrap_or(target.offers.max_output_tokens.tokens);
        let output = if self.needs.endpoint == Endpoint::Embeddings { 0 } else { output };
        let output = output.saturating_mul(self.needs.answers);
        target.offers.price.map(|price| price.of(self.input_tokens(id), output))
    }

    /// The targets at which conversations of the model begin: those of the first tier with anybody who speaks the endpoint.
    /// Nothing else is looked at: what a boundary shuts out may still hold what was said before it stood.
    fn home(&self) -> impl Iterator<Item = &'a Target> {
        let (config, endpoint) = (self.config, self.needs.endpoint);
        let speaks = move |id: &TargetId| {
            let target = config.target(*id)?;
            config.provider(target.provider)?.endpoints.contains(endpoint).then_some(target)
        };
        let tier = self.model.tiers.iter().find(|tier| tier.iter().any(|id| speaks(id).is_some()));
        tier.into_iter().flatten().filter_map(speaks)
    }

    /// Whether the home is one place and this one. With several nobody can tell which of them holds what a request refers
    /// to.
    fn is_home(&self, here: impl Fn(&Target) -> bool) -> bool {
        let mut home = self.home().peekable();
        home.peek().is_some() && home.all(here)
    }
}

/// Whether a target is in none of these regions, or nobody says where it is.
fn is_outside(target: &Target, regions: &[Rc<str>]) -> bool {
    !target.offers.region.as_ref().is_some_and(|region| regions.contains(region))
}

/// Whether a price is above the ceiling, or not known where there is one.
fn exceeds(ceiling: PriceCeiling, price: Option<Price>) -> bool {
    let above = |most: Option<MicroDollars>, of: fn(Price) -> MicroDollars| {
        most.is_some_and(|most| price.is_none_or(|price| of(price) > most))
    };
    above(ceiling.input, |price| price.input) || above(ceiling.output, |price| price.output)
}
