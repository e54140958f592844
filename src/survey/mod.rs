//! The survey of a request's targets: one look at every target of the model, from which everything else
//! follows.
//!
//! A survey is a value. It lists each target with its gates, health, room, price and share at one moment,
//! and has no side effects. The choice, the decision record, refusals and the question "which other target
//! could serve this?" all read it, so they cannot disagree. It is taken before an attempt is chosen, and
//! again after an attempt has failed.
//!
//! Circuit breakers may be stale by one tick here: a survey reads this worker's view. That never makes a
//! second probe, because leases are taken in the shared record (`src/admission`).

mod look;
mod reasons;
mod remaining;
mod row;
mod selection;
mod slow_start;
mod tried;

pub use reasons::{FallbackReason, Obstacle};
pub use remaining::{FreeAt, can_be_free, has_options};
pub use row::Row;
pub use selection::Selection;
pub use tried::{Progress, SpendCeiling, Tried};

use look::{Asked, Look};
use row::Round;

use crate::base::{TargetId, Timestamp, Tokens};
use crate::config::Model;
use crate::fallback::Encrypted;
use crate::intake::ClientRequest;

/// Every target of a request's model at one moment.
pub struct Survey<'r> {
    /// The request.
    pub request: &'r ClientRequest,
    /// The moment.
    pub now: Timestamp,
    asked: Asked<'r>,
    rows: Vec<Row>,
}

impl<'r> Survey<'r> {
    /// Surveys the targets for a request with this progress. `None` if the configuration lacks the model,
    /// which cannot happen.
    pub fn take(request: &'r ClientRequest, progress: Progress<'r>, now: Timestamp) -> Option<Self> {
        Some(Self::of(Asked::of(request, progress, now)?))
    }

    /// The survey for a new request like this one.
    pub fn afresh(request: &'r ClientRequest, now: Timestamp) -> Option<Self> {
        Self::take(request, Progress::default(), now)
    }

    /// The same survey once more. After a lost race this worker knows more than before.
    pub fn again(&self) -> Self {
        Self::of(self.asked)
    }

    fn of(asked: Asked<'r>) -> Self {
        let targets = asked.request.generation.gate_masks.of_model(asked.request.model).len();
        let mut rows = Vec::with_capacity(targets);
        Look::at(asked).rows().for_each(|row| rows.push(row));
        let mut survey = Self { request: asked.request, now: asked.now, asked, rows };
        survey.hold_back_starts();
        survey
    }

    /// The model that the request asks for.
    pub const fn model(&self) -> &'r Model {
        self.asked.model
    }

    /// The progress of the request.
    pub const fn progress(&self) -> Progress<'r> {
        self.asked.progress
    }

    /// Every target, in the model's order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What the survey says about `target`.
    pub fn row(&self, target: TargetId) -> Option<&Row> {
        self.rows.iter().find(|row| row.target == target)
    }

    /// The tokens that the request is expected to take at `target`.
    pub fn expected(&self, target: TargetId) -> Tokens {
        self.row(target).map_or_else(|| self.request.expected(target), |row| row.expected)
    }

    /// Whether `target` gets the request without its encrypted reasoning.
    pub fn drops_reasoning_at(&self, target: TargetId) -> bool {
        self.request.needs.encrypted == Encrypted::Removable
            && self.asked.eligibility().drops_reasoning_at(target)
    }

    /// Whether the request is bound to the account that holds the state of its conversation.
    pub fn is_bound(&self) -> bool {
        self.asked.eligibility().is_bound()
    }

    /// The targets of a round, in the model's order.
    fn candidates(&self, round: Round) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.is_candidate(round))
    }

    /// Targets of both rounds.
    fn all_candidates(&self) -> impl Iterator<Item = &Row> {
        self.candidates(Round::Untried).chain(self.candidates(Round::Returning))
    }
}
