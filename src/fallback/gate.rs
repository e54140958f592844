//! The catalogue of gates: their order, names and kinds.

use crate::provider::Capability;

/// An eligibility check, named after the reason for which it rejects a target. Names are stable: refusals,
/// headers and records show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gate {
    /// Its provider does not support the endpoint that was called.
    Dialect,
    /// The translation that it needs would lose too much of the request, or there is none.
    Translation,
    /// Its provider is not permitted.
    ProviderList,
    /// It is not permitted.
    TargetList,
    /// It processes data outside the permitted regions.
    Residency,
    /// It may store what it is sent.
    ZeroRetention,
    /// It may train models with what it is sent.
    Training,
    /// Its quality is too low.
    Quality,
    /// Its token prices are too high.
    PriceCeiling,
    /// The request would cost too much there.
    RequestCost,
    /// It lacks a capability that the request needs.
    Capability(Capability),
    /// It does not stream.
    Streaming,
    /// The prompt and the requested response do not fit.
    ContextWindow,
    /// The requested response is longer than it supports.
    MaxOutput,
    /// The request refers to state at another account, or at an unknown one.
    State,
    /// The conversation contains reasoning that only another provider can read.
    SealedReasoning,
    /// The client wants no substitute.
    NoFallback,
    /// The failure must not lead to another account.
    LeaveAccount,
    /// The failure must not lead to another provider.
    LeaveProvider,
    /// The prompt did not fit another target, and this one's window is not known to be larger.
    LargerWindow,
    /// It is too expensive compared with the first choice.
    PriceRatio,
    /// Its billing owner differs from that of the first choice.
    BillingOwner,
    /// It is not approved as a substitute for the first choice.
    PairNotApproved,
    /// Its approval has expired.
    PairExpired,
}

/// The kinds of gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateKind {
    /// The target cannot do what the request asks for. Another request might pass.
    Request,
    /// The target is not permitted for this client or model. Another request would not pass.
    Policy,
    /// The target may not replace the first choice.
    Substitution,
}

impl Gate {
    /// Every gate, in the order in which they are checked.
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
            Self::Translation,
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
            Self::Translation => "translation",
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

    /// Its kind.
    pub const fn kind(self) -> GateKind {
        match self {
            Self::Dialect
            | Self::Translation
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
