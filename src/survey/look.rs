//! Looks at one target after the other. A survey keeps every row. A question that one target can answer stops
//! there.

use std::cell::Ref;

use super::row::Row;
use super::tried::{Progress, SpendCeiling};
use crate::balance::{Demand, Headroom, Speed};
use crate::base::{TargetId, Timestamp, Tokens};
use crate::breaker::{HealthView, Pending};
use crate::config::{Balance, Mode, Model, Target};
use crate::fallback::{Eligibility, Gate, GateMask, NeedsMask, PastAttempts};
use crate::generation::{availability, failing_permille};
use crate::intake::ClientRequest;

/// A request with its progress at one moment.
#[derive(Clone, Copy)]
pub(super) struct Asked<'r> {
    pub(super) request: &'r ClientRequest,
    pub(super) model: &'r Model,
    pub(super) progress: Progress<'r>,
    pub(super) now: Timestamp,
}

/// What is the same for every target.
pub(super) struct Look<'r> {
    asked: Asked<'r>,
    needs: NeedsMask,
    /// The tokens of the prompt before a target's calibration, and those of the response.
    size: Tokens,
    health_view: Ref<'r, HealthView>,
    pending: Ref<'r, Pending>,
    headroom: Ref<'r, Headroom>,
}

impl<'r> Asked<'r> {
    /// `None` if the configuration lacks the model, which cannot happen.
    pub(super) fn of(request: &'r ClientRequest, progress: Progress<'r>, now: Timestamp) -> Option<Self> {
        Some(Self { request, model: request.model()?, progress, now })
    }

    /// The request as the gates see it, for a target that not all of them let pass.
    pub(super) fn eligibility(&self) -> Eligibility<'r> {
        let Self { request, model, progress, now } = *self;
        Eligibility {
            config: request.config(),
            model,
            key: request.client_key().map(|key| &key.boundaries),
            client: &request.client_limits,
            needs: &request.needs,
            past: PastAttempts::of(progress.tried.iter().map(|tried| (tried.target, tried.failure))),
            estimates: Some(&request.generation.estimates),
            now: request.generation.wall_time(now),
        }
    }

    pub(super) fn attempts_at(&self, target: TargetId) -> u8 {
        let attempts = self.progress.tried.iter().filter(|attempt| attempt.target == target).count();
        u8::try_from(attempts).unwrap_or(u8::MAX)
    }
}

impl<'r> Look<'r> {
    pub(super) fn at(asked: Asked<'r>) -> Self {
        let Asked { request, progress, .. } = asked;
        let generation = &*request.generation;
        let key = request.client_key().map(|key| &key.boundaries);
        let past = progress.tried.iter().map(|tried| tried.failure);
        Self {
            asked,
            needs: NeedsMask::of(&request.needs, key, &request.client_limits, past),
            size: Tokens { input: request.needs.size.tokens(), output: request.needs.expected_output() },
            health_view: generation.health_view.borrow(),
            pending: generation.pending.borrow(),
            headroom: generation.headroom.borrow(),
        }
    }

    /// A row for each target of the model, in the model's order.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        let Asked { request, model, .. } = self.asked;
        let masks = request.generation.gate_masks.of_model(request.model);
        let tiers = model.tiers.iter().zip(0_u8..);
        let targets = tiers.flat_map(|(tier, number)| tier.iter().map(move |target| (*target, number)));
        targets
            .zip(masks)
            .filter_map(|((id, tier), mask)| Some(self.row(id, request.config().target(id)?, tier, mask)))
    }

    fn row(&self, id: TargetId, target: &Target, tier: u8, mask: &GateMask) -> Row {
        let Asked { request, model, progress, now } = self.asked;
        let generation = &*request.generation;
        let expected = Tokens { input: generation.estimates.tokens(id, self.size.input), ..self.size };
        let passes = mask.passes(&self.needs, expected.input);
        let gate = if passes { None } else { self.first_gate(id) };
        let admitted = match model.substitution.mode {
            Mode::Enforce => gate.is_none(),
            // The first tier serves whatever the gates say, and nothing else does.
            Mode::Shadow => self.admits_without_fallback_rules(id),
        };
        let (price, balance) = (target.offers.price, &model.balance);
        let cost = match progress.ceiling {
            None if *balance != Balance::Cheapest => None,
            _ => price.map(|price| price.of(expected.input, expected.output)),
        };
        let affordable = |SpendCeiling { spent, most }| cost.is_some_and(|cost| spent.plus(cost) <= most);
        let attempts = self.asked.attempts_at(id);
        let family = request.endpoint.family();
        // Only what the strategy compares.
        let (mut pending, mut speed, mut failing) = (0, Speed::default(), 0);
        match balance {
            Balance::LeastPending => pending = self.pending.attempts(id),
            Balance::Fastest => speed = generation.speeds.borrow().speed(id, request.facts.stream, now),
            Balance::Cheapest => {
                failing = failing_permille(&self.health_view, &generation.config, (id, family), now);
            }
            Balance::Weighted | Balance::Sticky { .. } => {}
        }
        Row {
            target: id,
            tier,
            gate,
            health: availability(&self.health_view, &generation.config, (id, family), now),
            room: self.headroom.room(id, Demand::of(expected), &*self.pending, now),
            attempts,
            may_return: self.may_return_to(id, attempts),
            is_tight: self.needs.is_tight(target.offers.context_window, expected.input),
            expected,
            permitted: admitted && progress.only.is_none_or(|only| only == id),
            is_owner: request.needs.owner.is_some() && self.is_owner(id),
            affordable: progress.ceiling.is_none_or(affordable),
            weight: target.weight,
            name_hash: target.name_hash,
            pending,
            speed,
            cost,
            failing_permille: failing,
        }
    }

    /// The gates one by one. Kept apart, because a mask answers for nearly every target.
    #[cold]
    #[inline(never)]
    fn first_gate(&self, target: TargetId) -> Option<Gate> {
        self.asked.eligibility().first_gate(target)
    }

    #[cold]
    #[inline(never)]
    fn is_owner(&self, target: TargetId) -> bool {
        self.asked.eligibility().is_known_owner(target)
    }

    #[cold]
    #[inline(never)]
    fn admits_without_fallback_rules(&self, target: TargetId) -> bool {
        self.asked.eligibility().admits_without_fallback_rules(target)
    }

    /// Whether a target that was tried may get the request again: no attempt is under way there, and no
    /// failure there forbids it.
    fn may_return_to(&self, target: TargetId, attempts: u8) -> bool {
        let Asked { model, progress, .. } = self.asked;
        (1..model.retry.attempts_per_target).contains(&attempts)
            && progress.tried.iter().all(|attempt| attempt.target != target || attempt.may_return)
    }
}
