//! Who may be asked for a request, as the operator wrote it: for a model, and for a client's key.

use std::rc::Rc;

use super::compiled::Mode;
use crate::base::{ClassSet, MicroDollars, ProviderId, TargetId, Timestamp};

/// Which targets may be asked, the first choice included. A model has them and a client's key may have its own; both hold,
/// so the stricter wins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boundaries {
    /// Where data may be worked on; `None` for anywhere.
    pub regions: Option<Vec<Rc<str>>>,
    /// Only targets that keep nothing.
    pub zero_retention: bool,
    /// Only targets that train no model with what they are sent.
    pub training_opt_out: bool,
    /// The providers that may be asked.
    pub providers: Access<ProviderId>,
    /// The targets that may be asked.
    pub targets: Access<TargetId>,
    /// The least quality.
    pub min_quality: Option<u8>,
    /// The most per million tokens.
    pub max_price: PriceCeiling,
    /// The most that one request may cost by estimate.
    pub max_request_cost: Option<MicroDollars>,
}

/// A list of who may and one of who may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access<Id> {
    /// Nobody else; `None` for everybody.
    pub allow: Option<Vec<Id>>,
    /// These not, whatever `allow` says.
    pub deny: Vec<Id>,
}

impl<Id> Default for Access<Id> {
    fn default() -> Self {
        Self { allow: None, deny: Vec::new() }
    }
}

impl<Id: PartialEq> Access<Id> {
    /// Whether `id` may.
    pub fn admits(&self, id: &Id) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.contains(id)) && !self.deny.contains(id)
    }
}

/// The most that a million tokens may cost; `None` for any price, also an unknown one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PriceCeiling {
    /// Of the prompt.
    pub input: Option<MicroDollars>,
    /// Of the answer.
    pub output: Option<MicroDollars>,
}

/// How far what stands in for a model's first tier may be from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubstitutionRules {
    /// The failures after which another account may be asked; `None` for all of them.
    pub leave_account: Option<ClassSet>,
    /// The failures after which another provider may be asked; `None` for all of them.
    pub leave_provider: Option<ClassSet>,
    /// The price at most, in 1/1000 of the first choice's.
    pub max_price_permille: Option<u64>,
    /// Whether the same must pay for it.
    pub same_billing_owner: bool,
    /// The pairs that are approved; `None` when any are.
    pub approved: Option<Vec<Approval>>,
    /// Whether moves are made or only counted.
    pub mode: Mode,
}

/// One target may stand in for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approval {
    /// The first choice.
    pub from: TargetId,
    /// Its substitute.
    pub to: TargetId,
    /// The first moment at which it may no more.
    pub until: Option<Timestamp>,
}
