//! One target in a survey.

use crate::balance::{Candidate, Room, Speed};
use crate::base::{MicroDollars, TargetId, Tokens};
use crate::breaker::Availability;
use crate::fallback::Gate;

/// One target in a survey.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The target.
    pub target: TargetId,
    /// Its tier, from 0.
    pub tier: u8,
    /// The first gate that it does not pass.
    pub gate: Option<Gate>,
    /// Whether it is healthy.
    pub health: Availability,
    /// Whether its limits leave room for the request.
    pub room: Room,
    /// The attempts that this request has made at it.
    pub attempts: u8,
    /// Whether it was tried and may be tried again.
    pub may_return: bool,
    /// The tokens that the request is expected to take there.
    pub expected: Tokens,
    /// Whether its prompt might not fit there after all.
    pub(super) is_tight: bool,
    /// Whether this request may use it: the gates admit it, and it is not excluded by an earlier failure.
    pub(super) permitted: bool,
    /// Whether it belongs to the known owner of the conversation's state.
    pub(super) is_owner: bool,
    /// Whether another attempt at it stays within the spend ceiling.
    pub(super) affordable: bool,
    pub(super) weight: u32,
    pub(super) name_hash: u64,
    pub(super) pending: u32,
    pub(super) speed: Speed,
    pub(super) cost: Option<MicroDollars>,
    pub(super) failing_permille: u16,
}

/// Which targets a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    /// Targets that have not been tried.
    Untried,
    /// Targets that have been tried and may be tried again.
    Returning,
}

impl Row {
    pub(super) fn is_candidate(&self, round: Round) -> bool {
        self.affordable && self.would_be_candidate(round)
    }

    /// The same without the spend ceiling.
    pub(super) fn would_be_candidate(&self, round: Round) -> bool {
        self.permitted
            && match round {
                Round::Untried => self.attempts == 0,
                Round::Returning => self.may_return,
            }
    }

    /// What the balancing strategy compares. Only `share` of the weight counts, in 1/1000.
    pub(super) fn candidate(&self, share: u16) -> Candidate {
        Candidate {
            target: self.target,
            name_hash: self.name_hash,
            weight: self.weight.saturating_mul(share.into()),
            pending: self.pending,
            speed: self.speed,
            cost: self.cost,
            failing_permille: self.failing_permille,
        }
    }
}
