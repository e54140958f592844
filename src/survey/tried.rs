//! The attempts that a request has made so far.

use crate::base::{ErrorClass, MicroDollars, TargetId, Tokens};
use crate::outcome::{End, Outcome};

/// One attempt that was made for a request.
#[derive(Debug, Clone, Copy)]
pub struct Tried {
    /// The target it went to.
    pub target: TargetId,
    /// The tokens that it was expected to take when it was sent.
    pub expected: Tokens,
    /// How it failed. `None` while it is under way, and after a success.
    pub failure: Option<ErrorClass>,
    /// What came of it, once that is certain.
    pub outcome: Option<Outcome>,
    /// Whether the same target may get the request again after this failure.
    pub may_return: bool,
}

impl Tried {
    /// An attempt that is sent now.
    pub const fn new(target: TargetId, expected: Tokens) -> Self {
        Self { target, expected, failure: None, may_return: false, outcome: None }
    }

    /// Whether the attempt was never really made.
    pub fn was_withdrawn(&self) -> bool {
        self.outcome.is_some_and(|outcome| outcome.end == End::Withdrawn)
    }
}

/// What a request may cost with all its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpendCeiling {
    /// What the attempts so far have cost, or may have cost.
    pub spent: MicroDollars,
    /// The most that all attempts together may cost.
    pub most: MicroDollars,
}

/// The progress of a request: its attempts and what they imply for the next one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress<'a> {
    /// The attempts made.
    pub tried: &'a [Tried],
    /// The only target that may get the next attempt. Set when a provider asked for the request again after
    /// a failure that must not lead to other targets.
    pub only: Option<TargetId>,
    /// The limit on what a further attempt may cost.
    pub ceiling: Option<SpendCeiling>,
}
