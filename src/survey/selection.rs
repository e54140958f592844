//! Choosing a target from a survey.
//!
//! The first tier that has an eligible, untried, healthy target is used, and the model's strategy chooses
//! within it. If there is none, a target that was tried before and may be tried again is used. A target in
//! slow start, or close to its limits, takes part according to its share, unless no other target is left.

use super::Survey;
use super::row::{Round, Row};
use crate::balance::{self, Room};
use crate::base::{Random, TargetId};
use crate::breaker::Availability;
use crate::config::Balance;

/// Targets for one attempt, best first. After a lost race for a lease the same survey is read again without
/// the loser.
pub struct Selection<'s> {
    survey: &'s Survey<'s>,
    /// In the first round, targets in slow start take part only if their share exceeds this draw.
    ramp: u16,
    round: usize,
    lost: Vec<TargetId>,
}

/// The rounds of a selection. The flag says whether targets in slow start have to exceed the draw.
const ROUNDS: [(Round, bool); 3] =
    [(Round::Untried, true), (Round::Untried, false), (Round::Returning, false)];

impl<'s> Selection<'s> {
    /// A new selection.
    pub fn new(survey: &'s Survey<'s>, rng: &mut impl Random) -> Self {
        Self { survey, ramp: survey.ramp_draw(rng), round: 0, lost: Vec::new() }
    }

    /// The best target that has not been lost.
    pub fn next(&mut self, rng: &mut impl Random) -> Option<TargetId> {
        while let Some((round, ramps)) = ROUNDS.get(self.round) {
            let ramp = if *ramps { self.ramp } else { 0 };
            if let Some(target) = self.survey.draw(*round, ramp, &self.lost, rng) {
                return Some(target);
            }
            self.round += 1;
        }
        None
    }

    /// Excludes `target`: another request took its lease or the rest of its limit.
    pub fn lost(&mut self, target: TargetId) {
        self.lost.push(target);
    }
}

/// The choice in shadow mode, in which breakers do not decide.
#[derive(Debug, Clone, Copy)]
pub struct ShadowChoice {
    /// The target, chosen as if every breaker were closed.
    pub target: TargetId,
    /// Whether its breakers would have let the request through.
    pub is_fit: bool,
    /// Whether another target would have got the request otherwise.
    pub would_move: bool,
}

impl Survey<'_> {
    /// One draw for all targets. A target in slow start whose share is 30 % takes part in 30 % of the
    /// draws. With sessions it takes part for 30 % of the sessions, so that sessions return one after the
    /// other, and each of them once.
    fn ramp_draw(&self, rng: &mut impl Random) -> u16 {
        let session = self.request.session;
        let draw = session.map_or_else(|| rng.below(1000), |session| session.draw(0, 1000).into());
        u16::try_from(draw).unwrap_or(0)
    }

    fn draw(&self, round: Round, ramp: u16, lost: &[TargetId], rng: &mut impl Random) -> Option<TargetId> {
        // A strategy without chance ignores weights, so a lower weight has no effect. With such a strategy
        // a target close to its limits has to exceed the draw like one in slow start.
        let balance = self.request.balance()?;
        let by_chance = !matches!(balance, Balance::Cheapest | Balance::Sticky { .. });
        let mut among = |tier: &[Row], shares: bool, owner: bool, tight: bool| {
            let rows = tier.iter().filter(|row| (!owner || row.is_owner) && (tight || !row.is_tight));
            let candidates = rows.filter_map(|row| {
                if lost.contains(&row.target) || !row.is_candidate(round) {
                    return None;
                }
                let takes_part = match row.health {
                    Availability::Available { permille } => permille > ramp,
                    Availability::Probe => true,
                    Availability::Unavailable(_) => false,
                };
                match row.room {
                    Room::Fits { permille } if takes_part && by_chance => Some(row.candidate(permille)),
                    Room::Fits { permille } if takes_part && (!shares || permille > ramp) => {
                        Some(row.candidate(1000))
                    }
                    Room::Fits { .. } | Room::Full(_) => None,
                }
            });
            balance::choose(balance, self.request.session, candidates, rng)
        };
        // Targets in which the prompt surely fits come first.
        let mut from = |tier: &[Row], shares, owner| {
            let is_mixed = tier.iter().any(|row| row.is_tight);
            let roomy = if is_mixed { among(tier, shares, owner, false) } else { None };
            roomy.or_else(|| among(tier, shares, owner, true))
        };
        let mut of_tier = |tier: &[Row], owner| from(tier, true, owner).or_else(|| from(tier, false, owner));
        if !self.has_owner() {
            return self.tiers().find_map(|tier| of_tier(tier, false));
        }
        // What is bound to its owner goes there before any tier. Anything else prefers it within a tier.
        let bound = if self.is_bound() { self.tiers().find_map(|tier| of_tier(tier, true)) } else { None };
        bound.or_else(|| self.tiers().find_map(|tier| of_tier(tier, true).or_else(|| of_tier(tier, false))))
    }

    /// Whether a target belongs to the known owner of the conversation's state.
    fn has_owner(&self) -> bool {
        self.request.needs.owner.is_some() && self.rows.iter().any(|row| row.is_owner)
    }

    fn tiers(&self) -> impl Iterator<Item = &[Row]> {
        self.rows.chunk_by(|one, other| one.tier == other.tier)
    }

    /// The choice as if every breaker were closed.
    pub fn shadow_choice(&self, rng: &mut impl Random) -> Option<ShadowChoice> {
        let balance = self.request.balance()?;
        let mut from = |round, owner: bool| {
            self.tiers().find_map(|tier| {
                let all = tier.iter().filter(|row| row.is_candidate(round) && (!owner || row.is_owner));
                let all = all.map(|row| row.candidate(1000));
                balance::choose(balance, self.request.session, all, rng)
            })
        };
        let owners = if self.has_owner() { from(Round::Untried, true) } else { None };
        let target =
            owners.or_else(|| from(Round::Untried, false)).or_else(|| from(Round::Returning, false))?;
        let is_fit = self.row(target).is_some_and(|row| !matches!(row.health, Availability::Unavailable(_)));
        let would_move = !is_fit && self.draw(Round::Untried, 0, &[target], rng).is_some();
        Some(ShadowChoice { target, is_fit, would_move })
    }

    /// The targets for `when_all_open: try_anyway`, in the order in which their obstacles end. A target
    /// that an operator has forced open is not among them.
    pub fn least_bad_first(&self) -> Vec<TargetId> {
        let mut targets: Vec<_> = self
            .all_candidates()
            .filter_map(|row| match row.fitness() {
                Err(obstacle) => Some((obstacle.until()?, row.target)),
                Ok(_) => Some((self.now, row.target)),
            })
            .collect();
        targets.sort_by_key(|(until, _)| *until);
        targets.into_iter().map(|(_, target)| target).collect()
    }
}
