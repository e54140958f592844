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

mod reasons;
mod remaining;
mod selection;
mod tried;

pub use reasons::{FallbackReason, Obstacle};
pub use remaining::FreeAt;
pub use selection::Selection;
pub use tried::{Progress, SpendCeiling, Tried};

use crate::balance::{Candidate, Demand, Room, Speed};
use crate::base::{MicroDollars, TargetId, Timestamp};
use crate::breaker::Availability;
use crate::config::{Balance, Mode, Model, Target};
use crate::fallback::{Eligibility, Gate, PastAttempts};
use crate::generation::{availability, failing_permille};
use crate::intake::ClientRequest;

/// Every target of a request's model at one moment.
pub struct Survey<'r> {
    /// The request.
    pub request: &'r ClientRequest,
    /// The moment.
    pub now: Timestamp,
    model: &'r Model,
    eligibility: Eligibility<'r>,
    progress: Progress<'r>,
    rows: Vec<Row>,
}

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
    /// Whether this request may use it: the gates admit it, and it is not excluded by an earlier failure.
    permitted: bool,
    /// Whether another attempt at it stays within the spend ceiling.
    affordable: bool,
    weight: u32,
    name_hash: u64,
    pending: u32,
    speed: Speed,
    cost: Option<MicroDollars>,
    failing_permille: u16,
}

/// Which targets a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Targets that have not been tried.
    Untried,
    /// Targets that have been tried and may be tried again.
    Returning,
}

impl<'r> Survey<'r> {
    /// Surveys the targets for a request with this progress. `None` if the configuration lacks the model,
    /// which cannot happen.
    pub fn take(request: &'r ClientRequest, progress: Progress<'r>, now: Timestamp) -> Option<Self> {
        Some(Self::of(request, request.model()?, progress, now))
    }

    /// The survey for a new request like this one.
    pub fn afresh(request: &'r ClientRequest, now: Timestamp) -> Option<Self> {
        Self::take(request, Progress::default(), now)
    }

    /// The same survey once more. After a lost race this worker knows more than before.
    pub fn again(&self) -> Self {
        Self::of(self.request, self.model, self.progress, self.now)
    }

    fn of(request: &'r ClientRequest, model: &'r Model, progress: Progress<'r>, now: Timestamp) -> Self {
        let eligibility = Eligibility {
            config: request.config(),
            model,
            key: request.client_key().map(|key| &key.boundaries),
            client: &request.client_limits,
            needs: &request.needs,
            past: PastAttempts::of(progress.tried.iter().map(|tried| (tried.target, tried.failure))),
            estimates: Some(&request.generation.estimates),
            now,
        };
        let mut survey = Self { request, now, model, eligibility, progress, rows: Vec::new() };
        let targets = model.tiers.iter().zip(0_u8..).flat_map(|(tier, number)| {
            tier.iter().filter_map(move |target| Some((*target, request.config().target(*target)?, number)))
        });
        survey.rows = targets.map(|(id, target, tier)| survey.look_at(id, target, tier)).collect();
        survey
    }

    fn look_at(&self, id: TargetId, target: &Target, tier: u8) -> Row {
        let generation = &*self.request.generation;
        let view = generation.health_view.borrow();
        let pending = generation.pending.borrow();
        let gate = self.eligibility.first_gate(id);
        let admitted = match self.model.substitution.mode {
            Mode::Enforce => gate.is_none(),
            // The first tier serves whatever the gates say, and nothing else does.
            Mode::Shadow => self.eligibility.admits_without_fallback_rules(id),
        };
        let expected = self.request.expected(id);
        let cost = target.offers.price.map(|price| price.of(expected.input, expected.output));
        let attempts = self.attempts_at(id);
        let failing_permille = match self.model.balance {
            Balance::Cheapest => failing_permille(&view, &generation.config, id, self.now),
            _ => 0,
        };
        Row {
            target: id,
            tier,
            gate,
            health: availability(&view, &generation.config, id, self.now),
            room: generation.headroom.borrow().room(id, Demand::of(expected), &*pending, self.now),
            attempts,
            may_return: self.may_return_to(id, attempts),
            permitted: admitted && self.progress.only.is_none_or(|only| only == id),
            affordable: self
                .progress
                .ceiling
                .is_none_or(|SpendCeiling { spent, most }| cost.is_some_and(|cost| spent.plus(cost) <= most)),
            weight: target.weight,
            name_hash: target.name_hash,
            pending: pending.attempts(id),
            speed: generation.speeds.borrow().speed(id, self.request.facts.stream, self.now),
            cost,
            failing_permille,
        }
    }

    fn attempts_at(&self, target: TargetId) -> u8 {
        let attempts = self.progress.tried.iter().filter(|attempt| attempt.target == target).count();
        u8::try_from(attempts).unwrap_or(u8::MAX)
    }

    /// Whether a target that was tried may get the request again: no attempt is under way there, and no
    /// failure there forbids it.
    fn may_return_to(&self, target: TargetId, attempts: u8) -> bool {
        (1..self.model.retry.attempts_per_target).contains(&attempts)
            && self.progress.tried.iter().all(|attempt| attempt.target != target || attempt.may_return)
    }

    /// The model that the request asks for.
    pub const fn model(&self) -> &'r Model {
        self.model
    }

    /// The progress of the request.
    pub const fn progress(&self) -> Progress<'r> {
        self.progress
    }

    /// Every target, in the model's order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What the survey says about `target`.
    pub fn row(&self, target: TargetId) -> Option<&Row> {
        self.rows.iter().find(|row| row.target == target)
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

impl Row {
    fn is_candidate(&self, round: Round) -> bool {
        self.affordable && self.would_be_candidate(round)
    }

    /// The same without the spend ceiling.
    fn would_be_candidate(&self, round: Round) -> bool {
        self.permitted
            && match round {
                Round::Untried => self.attempts == 0,
                Round::Returning => self.may_return,
            }
    }

    /// What the balancing strategy compares. Only `share` of the weight counts, in 1/1000.
    fn candidate(&self, share: u16) -> Candidate {
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
