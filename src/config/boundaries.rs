//! Which targets may serve a request, for a model and for a client's key.

use std::rc::Rc;

use super::mode::Mode;
use crate::base::{ClassSet, MicroDollars, ProviderId, TargetId, WallTime};

/// Which targets are allowed, including the first choice. A model has boundaries, and a client's key may have
/// its own. A target must satisfy both.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boundaries {
    /// The regions where data may be processed; `None` for any.
    pub regions: Option<Vec<Rc<str>>>,
    /// Only targets that retain no data.
    pub zero_retention: bool,
    /// Only targets that do not train models on the data.
    pub training_opt_out: bool,
    /// The allowed providers.
    pub providers: Access<ProviderId>,
    /// The allowed targets.
    pub targets: Access<TargetId>,
    /// The minimum quality.
    pub min_quality: Option<u8>,
    /// The maximum price per million tokens.
    pub max_price: PriceCeiling,
    /// The maximum estimated cost of one request.
    pub max_request_cost: Option<MicroDollars>,
}

impl Boundaries {
    /// Whether they exclude no target.
    pub fn allow_everything(&self) -> bool {
        *self == Self::default()
    }
}

/// An allow list and a deny list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access<Id> {
    /// The allowed ones; `None` for all.
    pub allow: Option<Vec<Id>>,
    /// The denied ones. This list takes precedence over `allow`.
    pub deny: Vec<Id>,
}

impl<Id> Default for Access<Id> {
    fn default() -> Self {
        Self { allow: None, deny: Vec::new() }
    }
}

impl<Id: PartialEq> Access<Id> {
    /// Whether `id` is allowed.
    pub fn admits(&self, id: &Id) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.contains(id)) && !self.deny.contains(id)
    }
}

/// The maximum price per million tokens; `None` for any price, including an unknown one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PriceCeiling {
    /// For prompt tokens.
    pub input: Option<MicroDollars>,
    /// For output tokens.
    pub output: Option<MicroDollars>,
}

/// How far a substitute may differ from the first choice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubstitutionRules {
    /// The error classes after which another account may be used; `None` for all.
    pub leave_account: Option<ClassSet>,
    /// The error classes after which another provider may be used; `None` for all.
    pub leave_provider: Option<ClassSet>,
    /// The maximum price, in 1/1000 of the first choice's.
    pub max_price_permille: Option<u64>,
    /// Whether the substitute must have the same billing owner.
    pub same_billing_owner: bool,
    /// The approved pairs; `None` to approve all.
    pub approved: Option<Vec<Approval>>,
    /// What happens to encrypted reasoning of an account that cannot be asked.
    pub sealed_reasoning: SealedReasoning,
    /// Whether the rules are enforced or only counted.
    pub mode: Mode,
}

/// What happens to encrypted reasoning in a request if the account that can read it cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SealedReasoning {
    /// It stays in the request, which waits for that account.
    #[default]
    Keep,
    /// It is removed from the request, which goes on at another account.
    Drop,
}

/// An approval of one target as the substitute of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approval {
    /// The first choice.
    pub from: TargetId,
    /// The substitute.
    pub to: TargetId,
    /// When the approval expires.
    pub until: Option<WallTime>,
}
