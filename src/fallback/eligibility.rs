//! Checks a target against every gate, except those for substitutes (`substitution`).

use std::rc::Rc;

use super::calibration::Calibration;
use super::gate::Gate;
use super::needs::Needs;
use crate::base::{Endpoint, EndpointFamily, ErrorClass, MicroDollars, TargetId, WallTime};
use crate::config::{Boundaries, Config, MAX_ATTEMPTS, Mode, Model, Price, PriceCeiling, Provider, Target};
use crate::provider::Capability;
use crate::translate::{Loss, Losses, Translation};

/// Regions that a client may list for one request.
pub const MAX_REQUEST_REGIONS: usize = 16;

/// The attempts made for a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct PastAttempts {
    attempts: [Option<(TargetId, Option<ErrorClass>)>; MAX_ATTEMPTS as usize],
}

impl PastAttempts {
    /// These attempts, each with its failure. A configuration allows no more than the array holds.
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

/// What a client permits for one request. It can only restrict what is permitted anyway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientLimits {
    /// Where its data may be processed; `None` if the client does not say.
    pub regions: Option<Vec<Rc<str>>>,
    /// Whether the client wants no substitute.
    pub no_fallback: bool,
}

impl ClientLimits {
    /// The regions listed in `x-llm-region`; `None` if it is not a list of regions.
    pub fn regions_in(text: &str) -> Option<Vec<Rc<str>>> {
        let regions: Vec<Rc<str>> =
            text.split(',').map(|region| Rc::from(region.trim().to_ascii_lowercase())).collect();
        let good = regions.len() <= MAX_REQUEST_REGIONS && regions.iter().all(|region| is_region(region));
        good.then_some(regions)
    }
}

/// The longest name of a region.
const MAX_REGION: usize = 64;

/// Whether a region could be that of a target.
fn is_region(text: &str) -> bool {
    (1..=MAX_REGION).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// A request with its limits and the attempts made so far: the input of every gate.
#[derive(Clone, Copy)]
pub struct Eligibility<'a> {
    /// The configuration that serves it.
    pub config: &'a Config,
    /// The requested model.
    pub model: &'a Model,
    /// The boundaries of the client's key.
    pub key: Option<&'a Boundaries>,
    /// What the client permits.
    pub client: &'a ClientLimits,
    /// What the request needs.
    pub needs: &'a Needs,
    /// The attempts made so far.
    pub past: PastAttempts,
    /// How targets count tokens, if known.
    pub estimates: Option<&'a Calibration>,
    /// The current time.
    pub now: WallTime,
}

/// What the translation for one target loses.
#[derive(Debug, Clone, Copy)]
pub(super) struct LossesAt {
    /// All that is lost; `None` if there is no translation of this request.
    pub(super) lost: Option<Losses>,
    /// What of it the target does not allow.
    pub(super) too_much: Option<Losses>,
}

impl LossesAt {
    fn is_allowed(self) -> bool {
        self.too_much.is_some_and(Losses::is_empty)
    }
}

/// A target with its configuration, as the gates see it.
#[derive(Clone, Copy)]
pub(super) struct TargetContext<'a> {
    pub(super) id: TargetId,
    pub(super) target: &'a Target,
    pub(super) provider: &'a Provider,
}

impl<'a> Eligibility<'a> {
    /// Whether `target` may take the request now.
    pub fn admits(&self, target: TargetId) -> bool {
        self.first_gate(target).is_none()
    }

    /// The first gate that rejects `target`.
    pub fn first_gate(&self, target: TargetId) -> Option<Gate> {
        // A target that no longer exists takes nothing.
        let Some(candidate) = self.candidate(target) else { return Some(Gate::TargetList) };
        Gate::all().find(|gate| self.is_closed(*gate, candidate))
    }

    /// Every gate that rejects `target`, in their order.
    pub fn closed_gates(self, target: TargetId) -> impl Iterator<Item = Gate> {
        let candidate = self.candidate(target);
        Gate::all().filter(move |gate| candidate.is_some_and(|candidate| self.is_closed(*gate, candidate)))
    }

    pub(super) fn candidate(&self, id: TargetId) -> Option<TargetContext<'a>> {
        let target = self.config.target(id)?;
        Some(TargetContext { id, target, provider: self.config.provider(target.provider)? })
    }

    /// The operator's boundaries for this request, checked one after the other.
    pub(super) fn boundaries(&self) -> impl Iterator<Item = &'a Boundaries> {
        std::iter::once(&self.model.boundaries).chain(self.key)
    }

    /// The boundaries that keep targets out: in shadow mode those of the model do not.
    pub(super) fn enforced_boundaries(&self) -> Vec<&'a Boundaries> {
        let of_model = (self.model.substitution.mode == Mode::Enforce).then_some(&self.model.boundaries);
        of_model.into_iter().chain(self.key).collect()
    }

    /// Every gate that keeps the request from `target`, in their order. In shadow mode the model's own rules keep it from
    /// no first choice.
    pub fn refusing_gates(self, target: TargetId) -> impl Iterator<Item = Gate> {
        let candidate = self.candidate(target);
        let is_lenient = self.model.substitution.mode == Mode::Shadow && self.is_first_choice(target);
        self.closed_gates(target).filter(move |gate| {
            let refuses = |candidate| {
                matches!(gate, Gate::Dialect | Gate::Translation)
                    || self.key.is_some_and(|set| self.violates(set, *gate, candidate))
                    || (*gate == Gate::Residency && self.is_outside_client_regions(candidate))
            };
            !is_lenient || candidate.is_some_and(refuses)
        })
    }

    fn is_closed(&self, gate: Gate, candidate: TargetContext<'a>) -> bool {
        let TargetContext { id, target, .. } = candidate;
        match gate {
            Gate::Dialect => !self.serves(candidate),
            Gate::Translation => self.losses(candidate).is_some_and(|losses| !losses.is_allowed()),
            Gate::ProviderList
            | Gate::TargetList
            | Gate::Residency
            | Gate::ZeroRetention
            | Gate::Training
            | Gate::Quality
            | Gate::PriceCeiling
            | Gate::RequestCost => {
                let operators = self.boundaries().any(|set| self.violates(set, gate, candidate));
                operators || (gate == Gate::Residency && self.is_outside_client_regions(candidate))
            }
            Gate::Capability(capability) => {
                self.needs.capabilities.contains(capability)
                    && !self.can(candidate, capability)
                    && !self.is_lost(candidate, capability)
            }
            Gate::Streaming => self.needs.streamed && !self.can_stream(candidate),
            Gate::ContextWindow => {
                self.is_bounded_by_window() && self.room_needed(id) > self.window(candidate)
            }
            Gate::MaxOutput => {
                let asked = self.needs.asked_output.filter(|_| self.is_bounded_by_window());
                asked.is_some_and(|asked| asked > self.longest_response(candidate))
            }
            Gate::State => self.is_state_elsewhere(target),
            // A translation drops what only its maker can read.
            Gate::SealedReasoning => {
                self.translation(candidate).is_none() && self.is_reasoning_unreadable(target)
            }
            _ => self.is_substitution_closed(gate, candidate),
        }
    }

    /// Whether one set of boundaries excludes the candidate at a gate of kind
    /// [`Policy`](super::GateKind::Policy) or at `request_cost`.
    pub(super) fn violates(&self, set: &Boundaries, gate: Gate, candidate: TargetContext<'a>) -> bool {
        let TargetContext { id, target, .. } = candidate;
        let offers = &target.offers;
        match gate {
            Gate::ProviderList => !set.providers.admits(&target.provider),
            Gate::TargetList => !set.targets.admits(&id),
            Gate::Residency => set.regions.as_ref().is_some_and(|regions| is_outside(target, regions)),
            Gate::ZeroRetention => set.zero_retention && offers.zero_retention != Some(true),
            Gate::Training => set.training_opt_out && offers.training_opt_out != Some(true),
            // An undeclared quality is lower than any minimum.
            Gate::Quality => offers.quality < set.min_quality,
            Gate::PriceCeiling => exceeds(set.max_price, offers.price),
            Gate::RequestCost => {
                set.max_request_cost.is_some_and(|most| self.cost(candidate).is_none_or(|cost| cost > most))
            }
            _ => false,
        }
    }

    pub(super) fn is_outside_client_regions(&self, candidate: TargetContext<'a>) -> bool {
        self.client.regions.as_ref().is_some_and(|regions| is_outside(candidate.target, regions))
    }

    /// Whether the client or its key excludes `target`, whatever the model allows.
    pub(super) fn is_excluded_by_client(&self, target: TargetId) -> bool {
        let Some(candidate) = self.candidate(target) else { return true };
        let by_key = |gate| self.key.is_some_and(|set| self.violates(set, gate, candidate));
        self.is_outside_client_regions(candidate) || Gate::all().any(by_key)
    }

    /// Whether the candidate's provider serves the endpoint, as it is or in translation.
    pub(super) fn serves(&self, candidate: TargetContext<'_>) -> bool {
        self.config.serves(candidate.target, self.needs.endpoint)
    }

    /// How the request is translated for the candidate, if it is.
    pub(super) fn translation(&self, candidate: TargetContext<'_>) -> Option<Translation> {
        self.config.translation(candidate.target, self.needs.endpoint)
    }

    /// What the translation for the candidate loses, if the request is translated for it.
    pub(super) fn losses(&self, candidate: TargetContext<'_>) -> Option<LossesAt> {
        let (way, rules) = self.translation(candidate).zip(candidate.target.translates)?;
        let lost = self.needs.translated.losses(way);
        Some(LossesAt { lost, too_much: lost.map(|lost| lost.without(rules.allowed)) })
    }

    /// How the request is translated for `target`, and what it loses at a model that takes all that its dialect has.
    pub fn translated(&self, target: TargetId) -> Option<(Translation, Losses)> {
        let candidate = self.candidate(target)?;
        self.translation(candidate).zip(self.losses(candidate)?.lost)
    }

    /// Whether the translation for the candidate leaves out what would need the capability, and may do so.
    fn is_lost(&self, candidate: TargetContext<'_>, capability: Capability) -> bool {
        let Some((losses, rules)) = self.losses(candidate).zip(candidate.target.translates) else {
            return false;
        };
        let lost = losses.lost.filter(|_| losses.is_allowed()).unwrap_or_default();
        // Whether a model takes reasoning is known only when the request is translated for it.
        let may_go = |loss| loss == Loss::Reasoning && rules.allowed.contains(loss);
        loss_of(capability).is_some_and(|loss| lost.contains(loss) || may_go(loss))
    }

    /// The endpoint that the candidate is called at.
    pub(super) fn called_endpoint(&self, candidate: TargetContext<'_>) -> Endpoint {
        self.translation(candidate).map_or(self.needs.endpoint, Translation::to)
    }

    fn is_bounded_by_window(&self) -> bool {
        is_bounded_by_window(self.needs.endpoint)
    }

    /// The estimated tokens of the prompt, and those of the requested response.
    fn room_needed(&self, id: TargetId) -> u64 {
        self.input_tokens(id).saturating_add(self.needs.asked_output.unwrap_or(0))
    }

    /// The estimated tokens of the prompt at `id`.
    pub(super) fn input_tokens(&self, id: TargetId) -> u64 {
        self.needs.expected(id, self.estimates).input
    }

    /// The estimated maximum cost of the request; `None` without a declared price. A response without a
    /// requested length may be as long as the target allows.
    pub(super) fn cost(&self, candidate: TargetContext<'_>) -> Option<MicroDollars> {
        let TargetContext { id, target, .. } = candidate;
        let output = self.needs.asked_output.unwrap_or(target.offers.max_output_tokens.tokens);
        let generates = self.needs.endpoint.family() == EndpointFamily::Generation;
        let output = if generates { output } else { 0 };
        let output = output.saturating_mul(self.needs.answers);
        target.offers.price.map(|price| price.of(self.input_tokens(id), output))
    }
}

/// What a translation loses that leaves out what needs the capability.
const fn loss_of(capability: Capability) -> Option<Loss> {
    Some(match capability {
        Capability::StrictTools => Loss::StrictTools,
        Capability::HostedTools => Loss::HostedTools,
        Capability::JsonSchema => Loss::JsonSchema,
        Capability::JsonObject => Loss::JsonObject,
        Capability::Audio | Capability::AudioOutput => Loss::Audio,
        Capability::Reasoning => Loss::Reasoning,
        Capability::Logprobs => Loss::Logprobs,
        Capability::Seed => Loss::Seed,
        Capability::N => Loss::N,
        // A request may have more of these than the ones that are lost.
        Capability::Tools
        | Capability::ParallelTools
        | Capability::Vision
        | Capability::Files
        | Capability::ImageOutput => return None,
    })
}

/// Only a prompt that is answered with text shares its window with the answer. Each input of an embeddings request
/// has the whole window, and the inputs are not measured one by one. A prompt of any size may be counted.
pub(super) fn is_bounded_by_window(endpoint: Endpoint) -> bool {
    endpoint.family() == EndpointFamily::Generation
}

/// Whether a target is in none of these regions. An undeclared region counts as outside.
fn is_outside(target: &Target, regions: &[Rc<str>]) -> bool {
    !target.offers.region.as_ref().is_some_and(|region| regions.contains(region))
}

/// Whether a price exceeds the ceiling. An unknown price exceeds every ceiling.
fn exceeds(ceiling: PriceCeiling, price: Option<Price>) -> bool {
    let above = |most: Option<MicroDollars>, of: fn(Price) -> MicroDollars| {
        most.is_some_and(|most| price.is_none_or(|price| of(price) > most))
    };
    above(ceiling.input, |price| price.input) || above(ceiling.output, |price| price.output)
}
