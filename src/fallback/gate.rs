use crate::provider::Capability;

/// A reason why a target may not take a request. Names are stable: they show in refusals, headers and records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gate {
    /// Its provider does not speak the endpoint that was called.
    Dialect,
    /// Its provider may not be asked.
    ProviderList,
    /// It may not be asked.
    TargetList,
    /// It works on data elsewhere than is allowed.
    Residency,
    /// It may keep what it is sent.
    ZeroRetention,
    /// It may train models with what it is sent.
    Training,
    /// Its answers are not good enough.
    Quality,
    /// Its tokens are too dear.
    PriceCeiling,
    /// The request would cost too much there.
    RequestCost,
    /// It cannot do something that the request needs.
    Capability(Capability),
    /// It does not stream its answers.
    Streaming,
    /// The prompt and the answer that was asked for do not fit.
    ContextWindow,
    /// The answer that was asked for is longer than it gives.
    MaxOutput,
    /// The request refers to something that lives at another account, or at one that cannot be told.
    State,
    /// The conversation holds thinking that only another provider can read.
    SealedReasoning,
    /// The client wants no substitute.
    NoFallback,
    /// The failure must not lead to another account.
    LeaveAccount,
    /// The failure must not lead to another provider.
    LeaveProvider,
    /// The prompt did not fit another target, and this one's window is not known to be larger.
    LargerWindow,
    /// It is too dear in comparison with the first choice.
    PriceRatio,
    /// Somebody else would pay than for the first choice.
    BillingOwner,
    /// It is not approved as a substitute for the first choice.
    PairNotApproved,
    /// It was approved, but is no longer.
    PairExpired,
}

/// What kind of reason a gate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateKind {
    /// The target cannot do what the request asks for: another request might pass.
    Request,
    /// The target may not be used for this client or model: another request would not pass.
    Policy,
    /// The target may not stand in for the first choice.
    Substitution,
}

impl Gate {
    /// Every gate, in the order in which they are asked.
    pub fn all() -> impl Iterator<Item = Self> {
        let terms = [
            Self::Dialect,
            Self::ProviderList,
            Self::TargetList,
            Self::Residency,
            Self::ZeroRetention,
            Self::Training,
            Self::Quality,
            Self::PriceCeiling,
        ];
        let rest = [
            Self::Streaming,
            Self::ContextWindow,
            Self::MaxOutput,
            Self::RequestCost,
            Self::State,
            Self::SealedReasoning,
            Self::NoFallback,
            Self::LeaveAccount,
            Self::LeaveProvider,
            Self::LargerWindow,
            Self::PriceRatio,
            Self::BillingOwner,
            Self::PairNotApproved,
            Self::PairExpired,
        ];
        terms.into_iter().chain(Capability::ALL.into_iter().map(Self::Capability)).chain(rest)
    }

    /// The name shown to clients and operators.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dialect => "dialect",
            Self::ProviderList => "provider_list",
            Self::TargetList => "target_list",
            Self::Residency => "residency",
            Self::ZeroRetention => "zero_retention",
            Self::Training => "training",
            Self::Quality => "quality",
            Self::PriceCeiling => "price_ceiling",
            Self::RequestCost => "request_cost",
            Self::Capability(capability) => capability.name(),
            Self::Streaming => "streaming",
            Self::ContextWindow => "context_window",
            Self::MaxOutput => "max_output",
            Self::State => "state",
            Self::SealedReasoning => "sealed_reasoning",
            Self::NoFallback => "no_fallback",
            Self::LeaveAccount => "leave_account",
            Self::LeaveProvider => "leave_provider",
            Self::LargerWindow => "larger_window",
            Self::PriceRatio => "price_ratio",
            Self::BillingOwner => "billing_owner",
            Self::PairNotApproved => "pair_not_approved",
            Self::PairExpired => "pair_expired",
        }
    }

    /// What kind of reason it is.
    pub const fn kind(self) -> GateKind {
        match self {
            Self::Dialect
            | Self::RequestCost
            | Self::Capability(_)
            | Self::Streaming
            | Self::ContextWindow
            | Self::MaxOutput
            | Self::State
            | Self::SealedReasoning => GateKind::Request,
            Self::ProviderList
            | Self::TargetList
            | Self::Residency
            | Self::ZeroRetention
            | Self::Training
            | Self::Quality
            | Self::PriceCeiling => GateKind::Policy,
            Self::NoFallback
            | Self::LeaveAccount
            | Self::LeaveProvider
            | Self::LargerWindow
            | Self::PriceRatio
            | Self::BillingOwner
            | Self::PairNotApproved
            | Self::PairExpired => GateKind::Substitution,
        }
    }
}
