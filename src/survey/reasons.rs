//! Why targets cannot be asked, for clients, operators and the decision record.

use super::Survey;
use super::row::Row;
use crate::balance::{Room, Shortage};
use crate::base::{TargetId, Timestamp};
use crate::breaker::{Availability, Unavailable};
use crate::config::Mode;
use crate::fallback::{Gate, GateKind};
use crate::provider::Objection;
use crate::refusal::Ineligible;

/// Why a target cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// It may not take the request.
    Gate(Gate),
    /// It is not healthy.
    Unavailable(Unavailable),
    /// Its limits leave no room for the request.
    Limit(Shortage),
    /// Other requests probe it now.
    Probed,
}

impl Obstacle {
    /// When the target may be asked again. `None` if the time is unknown.
    pub const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Unavailable(unfit) => unfit.until(),
            Self::Limit(shortage) => Some(shortage.until),
            Self::Gate(_) | Self::Probed => None,
        }
    }

    /// The reason shown to clients and operators.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gate(gate) => gate.name(),
            Self::Unavailable(unfit) => unfit.name(),
            Self::Limit(shortage) => shortage.of.name(),
            Self::Probed => "open",
        }
    }
}

/// Why an attempt is not at the target that would have been asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FallbackReason {
    /// The failure of another target, or what kept the first tier out.
    pub reason: &'static str,
    /// That target; `None` when more than one is affected.
    pub from: Option<TargetId>,
}

impl Row {
    /// Whether it is healthy and has room for the request, or which obstacle it has.
    pub fn fitness(&self) -> Result<Availability, Obstacle> {
        match (self.health, self.room) {
            (Availability::Unavailable(unfit), _) => Err(Obstacle::Unavailable(unfit)),
            (_, Room::Full(shortage)) => Err(Obstacle::Limit(shortage)),
            (availability, Room::Fits { .. }) => Ok(availability),
        }
    }
}

impl Survey<'_> {
    /// Why each target cannot be asked now: the first gate that it does not pass, or its health or limits.
    pub fn obstacles(&self) -> impl Iterator<Item = (TargetId, Obstacle)> {
        self.rows.iter().filter_map(|row| {
            let obstacle = match (row.gate, row.fitness()) {
                (Some(gate), _) => Obstacle::Gate(gate),
                (None, Err(obstacle)) => obstacle,
                (None, Ok(Availability::Probe)) => Obstacle::Probed,
                (None, Ok(_)) => return None,
            };
            Some((row.target, obstacle))
        })
    }

    /// The gates that keep the request from `target`, with what was needed and what it offers.
    pub fn objections(&self, target: TargetId) -> impl Iterator<Item = Objection> {
        self.asked.eligibility().refusals(target).map(|violation| Objection {
            gate: violation.gate.name(),
            needed: violation.needed,
            offered: violation.offered,
        })
    }

    /// Why each of these gates rejects `target`, and what to write if it should pass.
    pub fn advice(&self, target: TargetId) -> impl Iterator<Item = String> {
        self.asked.eligibility().advice(target)
    }

    /// Why no target may take the request. If a target only lacks a capability, the client can change its
    /// request, so that reason comes first.
    pub fn ineligible(&self) -> Ineligible {
        let eligibility = self.asked.eligibility();
        let mut why = None;
        for row in &self.rows {
            // It has nothing to do with the request's endpoint.
            if eligibility.closed_gates(row.target).next() == Some(Gate::Dialect) {
                continue;
            }
            let only = |kind| eligibility.refusing_gates(row.target).all(|gate| gate.kind() == kind);
            if only(GateKind::Request) {
                if !eligibility.refusing_gates(row.target).all(|gate| gate == Gate::ContextWindow) {
                    why = Some(Ineligible::Needs);
                } else if why != Some(Ineligible::Needs) {
                    why = Some(Ineligible::TooLong);
                }
            } else if why.is_none() && only(GateKind::Policy) {
                why = Some(Ineligible::Policy);
            }
        }
        why.unwrap_or(Ineligible::Needs)
    }

    /// Why `chosen` is not the target that would have been asked first: the failure of another target, or
    /// what kept the first tier out. `None` when it is.
    pub fn fallback_reason(&self, chosen: TargetId) -> Option<FallbackReason> {
        let mut elsewhere = self.progress().tried.iter().rev().filter(|attempt| attempt.target != chosen);
        if let Some((class, target)) = elsewhere.find_map(|attempt| Some((attempt.failure?, attempt.target)))
        {
            return Some(FallbackReason { reason: class.name(), from: Some(target) });
        }
        if self.request.forgotten > 0 {
            return Some(FallbackReason { reason: "unknown", from: None });
        }
        let first_tier = |target: TargetId| self.row(target).is_some_and(|row| row.tier == 0);
        if first_tier(chosen) {
            return None;
        }
        let eligibility = self.asked.eligibility();
        if eligibility.is_first_choice(chosen) {
            return None;
        }
        let obstacle = self.obstacles().find(|(target, _)| eligibility.is_first_choice(*target));
        Some(obstacle.map_or(FallbackReason { reason: "slow_start", from: None }, |(target, obstacle)| {
            FallbackReason { reason: obstacle.name(), from: Some(target) }
        }))
    }

    /// Whether the gates admit `target`. In shadow mode this is what they would have said.
    pub fn admits(&self, target: TargetId) -> bool {
        self.row(target).is_some_and(|row| row.gate.is_none())
    }

    /// The target that would take the request if the gates were enforced.
    pub fn would_move_to(&self) -> Option<TargetId> {
        let healthy = |row: &Row| !matches!(row.health, Availability::Unavailable(_));
        let found = self.rows.iter().find(|row| row.attempts == 0 && row.gate.is_none() && healthy(row));
        found.map(|row| row.target)
    }

    /// Whether the rules for substitutes are in shadow mode.
    pub fn watches_substitutes(&self) -> bool {
        self.model().substitution.mode == Mode::Shadow
    }
}
