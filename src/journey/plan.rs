//! Who gets the next attempt: brings boundaries, health and balance together.

use std::cell::RefCell;

use super::Outcome;
use super::health::{self, Clinic, Tickets};
use crate::balance::{self, Candidate, Demand, Headroom, InFlight, Room, Session, Shortage, SpeedView};
use crate::base::{ErrorClass, MicroDollars, Random, TargetId, Timestamp, Tokens};
use crate::breaker::{Availability, Blame, HealthView, Pending, Unavailable};
use crate::config::{Balance, Config, Mode, Model, Target, WhenAllOpen};
use crate::fallback::{Eligibility, Gate};

/// One attempt that was made.
#[derive(Debug, Clone, Copy)]
pub struct Tried {
    /// The target it went to.
    pub target: TargetId,
    /// The tokens that it was expected to take when it was sent.
    pub expected: Tokens,
    /// What it ended with; `None` while it runs, and when its answer was good.
    pub failure: Option<ErrorClass>,
    /// What came of it, once that is certain.
    pub outcome: Option<Outcome>,
    /// Whether the failure is one after which the target may get the request again.
    pub returns: bool,
}

impl Tried {
    /// An attempt that begins.
    pub const fn new(target: TargetId, expected: Tokens) -> Self {
        Self { target, expected, failure: None, returns: false, outcome: None }
    }
}

/// What a request may cost with all its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpendCeiling {
    /// What those that were made have cost, or may have.
    pub spent: MicroDollars,
    /// The most.
    pub most: MicroDollars,
}

/// How long it takes until somebody may take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Somebody may now.
    None,
    /// Somebody may then.
    Until(Timestamp),
    /// Nobody knows.
    Never,
}

/// Who gets the next attempt.
#[derive(Debug, Clone, Copy)]
pub enum Choice {
    /// A target that is well, or that this request probes.
    Well(TargetId, Tickets),
    /// The least bad one, because the operator wants it tried anyway.
    Anyway(TargetId, Tickets),
    /// Nobody.
    Nobody,
}

/// What a choice is made for.
#[derive(Clone, Copy)]
pub struct Wanted<'j> {
    /// The model that was asked for.
    pub model: &'j Model,
    /// The session that it belongs to.
    pub session: Option<Session>,
    /// Whether it asks for a stream.
    pub streamed: bool,
    /// How busy targets are.
    pub load: Load<'j>,
    /// What has been tried already.
    pub tried: &'j [Tried],
    /// Whether it may be a target that has been tried, because no other one is left.
    pub returning: bool,
    /// The one target it may be, because a provider asked for the request again after a failure with which nobody else is
    /// to be bothered.
    pub only: Option<TargetId>,
    /// What a further attempt must fit under.
    pub ceiling: Option<SpendCeiling>,
    /// Who may take it.
    pub case: Eligibility<'j>,
}

/// What is known of how busy targets are.
#[derive(Clone, Copy)]
pub struct Load<'j> {
    /// Attempts under way.
    pub pending: &'j RefCell<Pending>,
    /// How fast they answer.
    pub speeds: &'j RefCell<SpeedView>,
    /// How much of their limits is left.
    pub headroom: &'j RefCell<Headroom>,
}

impl InFlight for Pending {
    fn attempts(&self, target: TargetId) -> u32 {
        Self::attempts(self, target)
    }

    fn unanswered(&self, target: TargetId) -> (u32, Tokens) {
        Self::unanswered(self, target)
    }

    fn is_only_worker(&self) -> bool {
        Self::is_only_worker(self)
    }
}

impl Wanted<'_> {
    /// The targets that may take the request and have not been tried (or, when returning, may be tried again), in the
    /// model's order.
    pub(super) fn candidates(self) -> impl Iterator<Item = TargetId> {
        self.model.tiers.iter().flatten().copied().filter(move |target| self.is_candidate(*target))
    }

    /// What the choice among those that may be asked depends on.
    fn candidate(self, clinic: &Clinic<'_>, target: TargetId, share: u16) -> Option<Candidate> {
        let entry = clinic.config.target(target)?;
        let failing_permille = match self.model.balance {
            Balance::Cheapest => {
                health::failing_permille(clinic.health_view, clinic.config, target, clinic.now)
            }
            _ => 0,
        };
        Some(Candidate {
            target,
            name_hash: entry.name_hash,
            weight: entry.weight.saturating_mul(share.into()),
            pending: self.load.pending.borrow().attempts(target),
            speed: self.load.speeds.borrow().speed(target, self.streamed, clinic.now),
            cost: self.cost(entry, target),
            failing_permille,
        })
    }

    /// The tokens that the request is expected to take at `target`.
    fn expected(self, target: TargetId) -> Tokens {
        self.case.needs.expected(target, self.case.estimates)
    }

    /// What these come to; `None` without a price.
    fn cost(self, entry: &Target, target: TargetId) -> Option<MicroDollars> {
        let tokens = self.expected(target);
        entry.offers.price.map(|price| price.of(tokens.input, tokens.output))
    }

    /// Whether an attempt at `target` is within what the request may cost.
    fn affords(self, target: TargetId) -> bool {
        self.ceiling.is_none_or(|SpendCeiling { spent, most }| {
            let cost = self.case.config.target(target).and_then(|entry| self.cost(entry, target));
            cost.is_some_and(|cost| spent.plus(cost) <= most)
        })
    }

    /// How much room `target` has for the request.
    fn room(self, target: TargetId, now: Timestamp) -> Room {
        let headroom = self.load.headroom.borrow();
        headroom.room(target, Demand::of(self.expected(target)), &*self.load.pending.borrow(), now)
    }

    /// Whether `target` is well and has room for the request, or else what is in the way.
    pub(super) fn fitness(
        self,
        config: &Config,
        health_view: &HealthView,
        target: TargetId,
        now: Timestamp,
    ) -> Result<Availability, Obstacle> {
        match health::availability(health_view, config, target, now) {
            Availability::Unavailable(unfit) => Err(Obstacle::Unfit(unfit)),
            availability => match self.room(target, now) {
                Room::Fits { .. } => Ok(availability),
                Room::Full(shortage) => Err(Obstacle::Short(shortage)),
            },
        }
    }

    pub(super) fn is_candidate(self, target: TargetId) -> bool {
        self.may_take(target)
            && self.only.is_none_or(|only| only == target)
            && self.affords(target)
            && if self.returning { self.may_return_to(target) } else { self.attempts_at(target) == 0 }
    }

    /// Whether `target` may take the request. Where substitutes are only watched, the first choices may, whatever the gates
    /// say, and nobody else.
    fn may_take(self, target: TargetId) -> bool {
        match self.model.substitution.mode {
            Mode::Enforce => self.case.admits(target),
            Mode::Shadow => self.case.admits_without_fallback_rules(target),
        }
    }

    /// Who would stand in for the first tier if substitutes were more than watched.
    pub fn would_move_to(
        self,
        config: &Config,
        health_view: &HealthView,
        now: Timestamp,
    ) -> Option<TargetId> {
        let well = |target| {
            !matches!(health::availability(health_view, config, target, now), Availability::Unavailable(_))
        };
        let mut all = self.model.tiers.iter().flatten().copied();
        all.find(|target| self.attempts_at(*target) == 0 && self.case.admits(*target) && well(*target))
    }

    /// How often `target` has been tried.
    pub fn attempts_at(self, target: TargetId) -> u8 {
        let attempts = self.tried.iter().filter(|attempt| attempt.target == target).count();
        u8::try_from(attempts).unwrap_or(u8::MAX)
    }

    /// Whether a target that was tried may get the request again: nothing is under way there, and nothing that happened
    /// there forbids it.
    fn may_return_to(self, target: TargetId) -> bool {
        let attempts = self.attempts_at(target);
        (1..self.model.retry.attempts_per_target).contains(&attempts)
            && self.tried.iter().all(|attempt| attempt.target != target || attempt.returns)
    }

    /// The same, of targets that have been tried.
    pub(super) const fn returning(self) -> Self {
        Self { returning: true, ..self }
    }

    /// The target for the next attempt: the first tier that has an admissible, untried, healthy one, and within it as the
    /// model balances; where there is none, one that was tried and may be tried again. A target that ramps up after an
    /// outage takes part according to its share, unless nobody else is left.
    pub fn choose(self, clinic: &mut Clinic<'_>, rng: &mut impl Random) -> Choice {
        if clinic.config.mode == Mode::Shadow {
            return self.choose_in_shadow(clinic, rng);
        }
        // Each round that does not end leaves out a target whose lease another request was faster to take.
        let mut lost: Vec<TargetId> = Vec::new();
        for (wanted, ramp) in [(self, self.ramp_draw(rng)), (self, 0), (self.returning(), 0)] {
            while let Some(target) = wanted.draw(clinic, ramp, &lost, rng) {
                if let Some(tickets) = clinic.admit(target) {
                    if self.take(clinic, target) {
                        return Choice::Well(target, tickets);
                    }
                    clinic.report(target, tickets, Blame::NEUTRAL, 0);
                }
                lost.push(target);
            }
        }
        if self.model.when_all_open == WhenAllOpen::TryAnyway {
            return self.least_bad(clinic);
        }
        Choice::Nobody
    }

    /// Counts the request at the limits that are stated for `target`; `false` when others have just used them up.
    fn take(self, clinic: &mut Clinic<'_>, target: TargetId) -> bool {
        let mut headroom = self.load.headroom.borrow_mut();
        headroom.take(&mut *clinic.store, target, Demand::of(self.expected(target)), clinic.now)
    }

    /// One draw decides for all targets whether a ramping one takes part: at 30 % of its share in 30 % of the draws, or for
    /// 30 % of the sessions, which so come back one after the other and once each.
    fn ramp_draw(self, rng: &mut impl Random) -> u16 {
        let draw = self.session.map_or_else(|| rng.below(1000), |session| session.draw(0, 1000).into());
        u16::try_from(draw).unwrap_or(0)
    }

    /// From the first tier with anybody well; `ramp` is the draw that ramping targets have to exceed. So have, where the
    /// strategy leaves nothing to chance, those whose limits come near; the others lose weight.
    fn draw(
        self,
        clinic: &Clinic<'_>,
        ramp: u16,
        lost: &[TargetId],
        rng: &mut impl Random,
    ) -> Option<TargetId> {
        let config = clinic.config;
        let by_chance = !matches!(self.model.balance, Balance::Cheapest | Balance::Sticky { .. });
        let mut from = |tier: &[TargetId], shares: bool| {
            let well = tier.iter().filter_map(|target| {
                if lost.contains(target) || !self.is_candidate(*target) {
                    return None;
                }
                let takes_part = match health::availability(clinic.health_view, config, *target, clinic.now) {
                    Availability::Available { permille } => permille > ramp,
                    Availability::Probe => true,
                    Availability::Unavailable(_) => false,
                };
                match self.room(*target, clinic.now) {
                    Room::Fits { permille } if takes_part && by_chance => {
                        self.candidate(clinic, *target, permille)
                    }
                    Room::Fits { permille } if takes_part && (!shares || permille > ramp) => {
                        self.candidate(clinic, *target, 1000)
                    }
                    Room::Fits { .. } | Room::Full(_) => None,
                }
            });
            balance::choose(&self.model.balance, self.session, well, rng)
        };
        self.model.tiers.iter().find_map(|tier| from(tier, true).or_else(|| from(tier, false)))
    }

    /// As if every breaker were closed; what they would have done is counted.
    fn choose_in_shadow(self, clinic: &mut Clinic<'_>, rng: &mut impl Random) -> Choice {
        let config = clinic.config;
        let chosen = [self, self.returning()].into_iter().find_map(|wanted| {
            self.model.tiers.iter().find_map(|tier| {
                let all = tier.iter().filter_map(|target| {
                    wanted.is_candidate(*target).then(|| self.candidate(clinic, *target, 1000))?
                });
                balance::choose(&self.model.balance, self.session, all, rng)
            })
        });
        let Some(target) = chosen else { return Choice::Nobody };
        match health::availability(clinic.health_view, config, target, clinic.now) {
            // Recovery has to be seen in shadow too.
            Availability::Available { .. } | Availability::Probe => {
                if let Some(tickets) = clinic.admit(target) {
                    return Choice::Well(target, tickets);
                }
            }
            Availability::Unavailable(_) => {
                use crate::record::Metric;
                let elsewhere = self.draw(clinic, 0, &[target], rng).is_some();
                let metric = if elsewhere { Metric::ShadowWouldMove } else { Metric::ShadowWouldRefuse };
                clinic.tally.count(metric);
            }
        }
        clinic.admit_anyway(target).map_or(Choice::Nobody, |tickets| Choice::Well(target, tickets))
    }

    /// The one that may be asked soonest. What an operator has shut stays shut.
    fn least_bad(self, clinic: &Clinic<'_>) -> Choice {
        let soonest = self
            .candidates()
            .chain(self.returning().candidates())
            .filter_map(|target| match self.fitness(clinic.config, clinic.health_view, target, clinic.now) {
                Err(obstacle) => Some((obstacle.until()?, target)),
                Ok(_) => Some((clinic.now, target)),
            })
            .min_by_key(|(until, _)| *until);
        soonest
            .and_then(|(_, target)| Some(Choice::Anyway(target, clinic.admit_anyway(target)?)))
            .unwrap_or(Choice::Nobody)
    }

    /// Every target of the model as it is now, in the model's order.
    pub fn survey(
        self,
        config: &Config,
        health_view: &HealthView,
        now: Timestamp,
    ) -> impl Iterator<Item = Seen> {
        self.model.tiers.iter().zip(0_u8..).flat_map(move |(targets, tier)| {
            targets.iter().map(move |target| Seen {
                target: *target,
                tier,
                gate: self.case.first_gate(*target).map(Gate::name),
                availability: health::availability(health_view, config, *target, now),
                short: match self.room(*target, now) {
                    Room::Fits { .. } => None,
                    Room::Full(shortage) => Some(shortage),
                },
                tried: self.attempts_at(*target) > 0 && !self.may_return_to(*target),
            })
        })
    }

    /// Why each target of the model is out of the question now: the gate it does not pass, or what ails it.
    pub fn obstacles(
        self,
        config: &Config,
        health_view: &HealthView,
        now: Timestamp,
    ) -> impl Iterator<Item = (TargetId, Obstacle)> {
        self.model.tiers.iter().flatten().filter_map(move |target| {
            if let Some(gate) = self.case.first_gate(*target) {
                return Some((*target, Obstacle::Gate(gate)));
            }
            match self.fitness(config, health_view, *target, now) {
                Err(obstacle) => Some((*target, obstacle)),
                Ok(Availability::Probe) => Some((*target, Obstacle::Probed)),
                Ok(_) => None,
            }
        })
    }

    /// Why `chosen` is not in the first tier, when no failure of this request is the reason.
    pub fn first_tier_obstacle(
        self,
        config: &Config,
        health_view: &HealthView,
        chosen: TargetId,
        now: Timestamp,
    ) -> Option<Detour> {
        let first_tier = self.model.tiers.first()?;
        if first_tier.contains(&chosen) {
            return None;
        }
        let found = self.obstacles(config, health_view, now).find(|(target, _)| first_tier.contains(target));
        Some(found.map_or(Detour { reason: "slow_start", from: None }, |(target, obstacle)| Detour {
            reason: obstacle.name(),
            from: Some(target),
        }))
    }
}

/// Why an attempt is not at the target that would have been asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detour {
    /// The failure, or what was in the way.
    pub reason: &'static str,
    /// Whose that is, where it is one target's.
    pub from: Option<TargetId>,
}

/// A target as a choice sees it.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Which.
    pub target: TargetId,
    /// The tier that it stands in, from 0.
    pub tier: u8,
    /// The boundary that keeps it from taking the request.
    pub gate: Option<&'static str>,
    /// Its health.
    pub availability: Availability,
    /// Its limits leave no room for the request.
    pub short: Option<Shortage>,
    /// This request has asked it, and may not ask it again.
    pub tried: bool,
}

/// Why a target is out of the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// It may not take the request.
    Gate(Gate),
    /// It is not to be asked.
    Unfit(Unavailable),
    /// Its limits leave no room for the request.
    Short(Shortage),
    /// Others are probing it just now.
    Probed,
}

impl Obstacle {
    /// When asking may help again; `None` while nobody can tell.
    pub const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Unfit(unfit) => unfit.until(),
            Self::Short(shortage) => Some(shortage.until),
            Self::Gate(_) | Self::Probed => None,
        }
    }

    /// The name shown to clients and operators.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gate(gate) => gate.name(),
            Self::Unfit(unfit) => unfit.name(),
            Self::Short(shortage) => shortage.of.name(),
            Self::Probed => "open",
        }
    }
}
