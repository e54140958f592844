//! The gates as bit masks, for the ordinary case that a target passes all of them.
//!
//! Each configuration generation prepares one mask for every target of a model: by endpoint, the needs and
//! circumstances that close a gate there. If a request has none of them and its tokens fit, the target takes
//! it. That is one mask test and two comparisons, and none of the gates' code runs.
//!
//! **The gates make the masks.** They are asked about a request that needs everything. Each gate that rejects
//! the target sets the bit of what it depends on. So every rule is written once.
//!
//! **What a mask cannot know** also has a bit, for example that the client lists regions. A request with such
//! a bit is checked gate by gate. So a mask may miss that a target passes, but it never lets a target pass
//! that a gate rejects.

use super::eligibility::{ClientLimits, Eligibility, PastAttempts, is_bounded_by_window};
use super::estimate::PromptSize;
use super::gate::Gate;
use super::needs::{Encrypted, Needs, Translated};
use crate::base::{Endpoint, ErrorClass, ModelId, TargetId, WallTime, saturating_product};
use crate::config::{Boundaries, Config, Model, SubstitutionRules, TokenLimit};
use crate::provider::{Capability, CapabilitySet};
use crate::request::StateSet;

/// The margin on an estimate of tokens, in percent.
const MARGIN_PERCENT: u64 = 20;

// Bits 0 to 15 are those of the capabilities.
const STREAMED: u32 = 1 << 16;
const STATE: u32 = 1 << 17;
const SEALED_REASONING: u32 = 1 << 18;
const NO_FALLBACK: u32 = 1 << 19;
/// Attempts were made. They decide what a substitute is compared with.
const PAST: u32 = 1 << 20;
/// The prompt did not fit another target.
const WAS_TOO_LONG: u32 = 1 << 21;
/// The client's key has boundaries.
const KEY: u32 = 1 << 22;
/// The client lists regions.
const REGIONS: u32 = 1 << 23;
/// The owner of the conversation's state is known, an account did not know the state, or the request has
/// encrypted reasoning.
const OWNER: u32 = 1 << 24;
/// A translation of the request loses more than what is always allowed, or is not possible.
const TRANSLATION: u32 = 1 << 25;
/// Every request has this bit.
const ALWAYS: u32 = 1 << 31;

/// What closes a gate of one target in one model.
#[derive(Debug, Clone, Copy)]
pub struct GateMask {
    /// By endpoint.
    closed: [u32; Endpoint::ALL.len()],
    /// The tokens that its context window counts as holding, the same at every endpoint.
    window: u64,
    /// The tokens that a response of it may have.
    longest_response: u64,
}

/// The masks of a configuration.
#[derive(Debug)]
pub struct GateMasks {
    /// By model, in the order of its tiers.
    by_model: Box<[Box<[GateMask]>]>,
}

/// What a request brings to the masks.
#[derive(Debug, Clone, Copy)]
pub struct NeedsMask {
    bits: u32,
    endpoint: Endpoint,
    /// The longest response requested, in tokens; 0 without a limit.
    asked_output: u64,
}

impl GateMasks {
    /// The masks of `config`. There are no more than its models have targets.
    pub fn of(config: &Config) -> Self {
        let of_model = |model: &Model| {
            let targets = model.tiers.iter().flatten();
            targets.map(|target| GateMask::of(config, model, *target)).collect()
        };
        Self { by_model: config.models().iter().map(of_model).collect() }
    }

    /// The masks of a model's targets, in the order of its tiers.
    pub fn of_model(&self, model: ModelId) -> &[GateMask] {
        self.by_model.get(model.index()).map_or(&[], |masks| masks)
    }
}

impl GateMask {
    fn of(config: &Config, model: &Model, target: TargetId) -> Self {
        let client = ClientLimits { regions: None, no_fallback: true };
        let (mut window, mut longest_response) = (u64::MAX, u64::MAX);
        let closed = Endpoint::ALL.map(|endpoint| {
            let needs = everything(endpoint);
            let eligibility = Eligibility {
                config,
                model,
                key: None,
                client: &client,
                needs: &needs,
                past: PastAttempts::default(),
                estimates: None,
                // An approval that ends at all has ended by then.
                now: WallTime::from_millis(u64::MAX),
            };
            let Some(candidate) = eligibility.candidate(target) else { return ALWAYS };
            // A target may be a first choice at one endpoint only. The strictest sizes are right at all of them.
            window = window.min(eligibility.window(candidate));
            longest_response = longest_response.min(eligibility.longest_response(candidate));
            // What is lost in a translation needs no capability. So the gates are also asked about a request that loses
            // nothing.
            let whole = Needs { translated: Translated::whole(endpoint), ..needs };
            let whole = Eligibility { needs: &whole, ..eligibility };
            let closed = eligibility.closed_gates(target).chain(whole.closed_gates(target));
            closed.fold(unknown_to_masks(model), |bits, gate| bits | bit_of(gate))
        });
        Self { closed, window, longest_response }
    }

    /// Whether the target passes every gate. `input` is what its prompt is expected to take there. If this is
    /// false, ask the gates.
    pub fn passes(&self, needs: &NeedsMask, input: u64) -> bool {
        let closed = self.closed.get(needs.endpoint as usize).copied().unwrap_or(ALWAYS);
        let fits = || {
            input.saturating_add(needs.asked_output) <= self.window
                && needs.asked_output <= self.longest_response
        };
        closed & needs.bits == 0 && (!is_bounded_by_window(needs.endpoint) || fits())
    }
}

impl NeedsMask {
    /// What a request brings whose client's key has these boundaries. `past` has its attempts so far with
    /// their failures.
    pub fn of(
        needs: &Needs,
        key: Option<&Boundaries>,
        client: &ClientLimits,
        past: impl Iterator<Item = Option<ErrorClass>>,
    ) -> Self {
        let mut bits = ALWAYS | u32::from(needs.capabilities.bits());
        let mut set = |bit, present| bits |= if present { bit } else { 0 };
        set(STREAMED, needs.streamed);
        set(STATE, !needs.state.is_empty());
        set(SEALED_REASONING, needs.sealed_reasoning);
        set(OWNER, needs.owner.is_some() || needs.encrypted != Encrypted::No);
        set(TRANSLATION, !needs.translated.is_harmless());
        set(NO_FALLBACK, client.no_fallback);
        set(KEY, key.is_some_and(|boundaries| !boundaries.allow_everything()));
        set(REGIONS, client.regions.is_some());
        for failure in past {
            set(PAST, true);
            set(WAS_TOO_LONG, failure == Some(ErrorClass::ContextLength));
            set(OWNER, failure == Some(ErrorClass::StateNotFound));
        }
        Self { bits, endpoint: needs.endpoint, asked_output: needs.asked_output.unwrap_or(0) }
    }

    /// Whether a prompt that is expected to take `input` tokens might not fit into a context window, because the
    /// estimate may be too low. No request is refused for that, but other targets of the tier are preferred.
    pub fn is_tight(&self, window: TokenLimit, input: u64) -> bool {
        let margin = saturating_product(input, MARGIN_PERCENT) / 100;
        let needed = input.saturating_add(margin).saturating_add(self.asked_output);
        needed > window.tokens && is_bounded_by_window(self.endpoint)
    }
}

/// The needs of a request that needs everything, but has no size.
const fn everything(endpoint: Endpoint) -> Needs {
    Needs {
        endpoint,
        capabilities: CapabilitySet::of(&Capability::ALL),
        streamed: true,
        size: PromptSize {
            text_bytes: 0,
            structure_bytes: 0,
            file_bytes: 0,
            images: 0,
            items: 0,
            token_ids: 0,
        },
        asked_output: None,
        answers: 1,
        state: StateSet::ALL,
        sealed_reasoning: true,
        encrypted: Encrypted::No,
        owner: None,
        translated: Translated::ALL,
    }
}

/// The bit of what a gate depends on besides the target and its model.
const fn bit_of(gate: Gate) -> u32 {
    match gate {
        // The cast widens.
        Gate::Capability(capability) => CapabilitySet::of(&[capability]).bits() as u32,
        Gate::Translation => TRANSLATION,
        Gate::Streaming => STREAMED,
        Gate::State => STATE,
        Gate::SealedReasoning => SEALED_REASONING,
        Gate::NoFallback => NO_FALLBACK,
        // Not tested with bits: tokens are compared, and a limit on the cost is in `unknown_to_masks`.
        Gate::ContextWindow | Gate::MaxOutput | Gate::RequestCost => 0,
        Gate::Dialect
        | Gate::ProviderList
        | Gate::TargetList
        | Gate::Residency
        | Gate::ZeroRetention
        | Gate::Training
        | Gate::Quality
        | Gate::PriceCeiling
        | Gate::LeaveAccount
        | Gate::LeaveProvider
        | Gate::LargerWindow
        | Gate::PriceRatio
        | Gate::BillingOwner
        | Gate::PairNotApproved
        | Gate::PairExpired => ALWAYS,
    }
}

/// The bits that close every mask of a model, because only the gates know what they mean for a target.
fn unknown_to_masks(model: &Model) -> u32 {
    let SubstitutionRules {
        leave_account,
        leave_provider,
        max_price_permille,
        same_billing_owner,
        approved,
        sealed_reasoning: _,
        mode: _,
    } = &model.substitution;
    let compares = leave_account.is_some()
        || leave_provider.is_some()
        || max_price_permille.is_some()
        || *same_billing_owner
        || approved.is_some();
    let past = if compares { PAST } else { 0 };
    let cost = if model.boundaries.max_request_cost.is_some() { ALWAYS } else { 0 };
    KEY | REGIONS | WAS_TOO_LONG | OWNER | past | cost
}
