//! Steering before the 429: how much room a target has for a request.
//!
//! Three things limit it: what its provider says is left (`told`), limits that the operator states (`counted`), and how many
//! attempts may be under way at a time. A target whose limits come near loses weight first, so that traffic moves over
//! smoothly, and is left out when the request's own estimated tokens do not fit any more, until the limit is full again.
//!
//! What the provider says belongs to an account's model, or to a model of all accounts in a `quota_pool`. What the operator
//! states at a target belongs to that; at an account, to all its models, or to the whole pool.

use std::time::Duration;

use super::configured::ConfiguredLimits;
use super::reported::ReportedLimits;
use crate::base::{Store, TargetId, Timestamp, Tokens};
use crate::config::{Config, Quota};
use crate::provider::{Meter, RateLimits};

/// While at least this much of a limit is left, in 1/1000, a target has its full weight.
const PLENTY_PERMILLE: u64 = 200;
/// The least share of its weight that a target keeps while requests fit.
const LEAST_PERMILLE: u64 = 50;
/// What is kept free of a limit, as one part in so many, where several workers send: they learn of each other's requests up
/// to a tick late.
const SPARE: u64 = 20;
/// When a target with too many attempts under way may be asked again. Nobody knows; attempts end all the time.
const SOON: Duration = Duration::from_secs(1);

/// What a request takes, by [`Meter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need([u64; Meter::COUNT]);

impl Need {
    /// One request of so many tokens.
    pub const fn of(tokens: Tokens) -> Self {
        Self([1, tokens.total(), tokens.input, tokens.output])
    }

    /// Its tokens.
    pub fn total(self) -> u64 {
        self.at(Meter::Tokens)
    }

    fn at(self, meter: Meter) -> u64 {
        self.0.get(meter as usize).copied().unwrap_or(0)
    }
}

/// How much is under way, over all workers.
pub trait UnderWay {
    /// Attempts at a target.
    fn attempts(&self, target: TargetId) -> u32;
    /// Of those the ones that nothing has been heard of yet, and their tokens.
    fn unanswered(&self, target: TargetId) -> (u32, Tokens);
    /// Whether no other worker sends anything.
    fn is_alone(&self) -> bool;
}

/// How much room a target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// The request fits.
    Fits {
        /// The share of its weight that the target has left, 1 to 1000.
        permille: u16,
    },
    /// It does not.
    Full(Shortage),
}

/// Why a request does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// What is short.
    pub of: Short,
    /// When it may fit.
    pub until: Timestamp,
}

impl Shortage {
    /// When it makes sense to try again for who waits here: attempts under way may end at any moment.
    pub fn worth_trying_at(&self, now: Timestamp) -> Timestamp {
        match self.of {
            Short::Headroom => self.until,
            Short::MaxPending => now,
        }
    }
}

/// What may be short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// Requests or tokens of a limit.
    Headroom,
    /// Attempts under way.
    MaxPending,
}

impl Short {
    /// The name shown to clients and operators.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Headroom => "headroom",
            Self::MaxPending => "max_pending",
        }
    }
}

/// One limit of a target, for operators to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What is limited: requests or tokens of a kind, or what is under way.
    pub of: &'static str,
    /// Whether the operator states it; the provider says it otherwise.
    pub stated: bool,
    /// All of it, where that is known.
    pub limit: Option<u64>,
    /// What is left of it.
    pub left: u64,
    /// When it is whole again, where the provider says so.
    pub reset: Option<Timestamp>,
}

/// One worker's view of the limits of a configuration's targets.
#[derive(Debug)]
pub struct Headroom {
    told: Vec<(ReportedLimits, Vec<TargetId>)>,
    counted: Vec<(ConfiguredLimits, Vec<TargetId>)>,
    targets: Vec<Limits>,
}

/// Where the limits of a target are found.
#[derive(Debug)]
struct Limits {
    told: usize,
    /// What is stated at the target and at its account, with what counts for it.
    stated: [Option<(Quota, usize)>; 2],
}

impl Headroom {
    /// The limits of a configuration, of which nothing is known yet. Records go by names, so they outlive changes of it.
    pub fn new(config: &Config) -> Self {
        let mut told: Vec<(String, Vec<TargetId>)> = Vec::new();
        let mut counted: Vec<(String, Vec<TargetId>)> = Vec::new();
        let mut targets = Vec::new();
        for (index, target) in config.targets().iter().enumerate() {
            let (Some(id), Some(account)) = (TargetId::from_index(index), config.account(target.account))
            else {
                continue;
            };
            let owner = match &account.quota_pool {
                Some(pool) => format!("pool/{pool}"),
                None => format!("account/{}", account.name),
            };
            let mut stated = |quota: Quota, name: String| {
                (quota != Quota::default()).then(|| (quota, place(&mut counted, name, id)))
            };
            let stated = [
                stated(target.limits, format!("llm-failsafe/quota/target/{}", target.name)),
                stated(account.limits, format!("llm-failsafe/quota/{owner}")),
            ];
            let told = place(&mut told, format!("llm-failsafe/headroom/{owner}/{}", target.model), id);
            targets.push(Limits { told, stated });
        }
        Self {
            told: told.into_iter().map(|(key, of)| (ReportedLimits::new(key.into()), of)).collect(),
            counted: counted.into_iter().map(|(key, of)| (ConfiguredLimits::new(key.into()), of)).collect(),
            targets,
        }
    }

    /// How much room `target` has for a request.
    pub fn room(&self, target: TargetId, need: Need, under_way: &dyn UnderWay, now: Timestamp) -> Room {
        let Some(limits) = self.targets.get(target.index()) else { return Room::Fits { permille: 1000 } };
        let mut room = Room::Fits { permille: 1000 };
        if let Some((told, targets)) = self.told.get(limits.told) {
            room = room.and(room_told(told, targets, need, under_way, now));
        }
        for (quota, place) in limits.stated.iter().flatten() {
            if let Some((counted, targets)) = self.counted.get(*place) {
                room = room.and(room_stated(quota, counted, targets, need, under_way, now));
            }
        }
        room
    }

    /// The limits of `target` that are known, and what is left of them. What the provider has not counted yet is not taken off.
    pub fn limits(
        &self,
        target: TargetId,
        under_way: impl Fn(TargetId) -> u32,
        now: Timestamp,
    ) -> Vec<Limit> {
        let mut all = Vec::new();
        let Some(limits) = self.targets.get(target.index()) else { return all };
        if let Some((told, _)) = self.told.get(limits.told) {
            let known = Meter::ALL.into_iter().filter_map(|meter| Some((meter, told.left(meter, now)?)));
            all.extend(known.map(|(meter, left)| Limit {
                of: meter.name(),
                stated: false,
                limit: left.limit,
                left: left.remaining,
                reset: (left.reset > now).then_some(left.reset),
            }));
        }
        for (quota, place) in limits.stated.iter().flatten() {
            let Some((counted, targets)) = self.counted.get(*place) else { continue };
            let (requests, tokens) = counted.minute().counts(now);
            let pending = targets.iter().fold(0_u64, |sum, id| sum.saturating_add(under_way(*id).into()));
            for (of, limit, used) in [
                ("requests_per_minute", quota.requests_per_minute, requests),
                ("tokens_per_minute", quota.tokens_per_minute, tokens),
                ("max_pending", quota.max_pending.map(u64::from), pending),
            ] {
                let Some(limit) = limit else { continue };
                let left = limit.saturating_sub(used);
                all.push(Limit { of, stated: true, limit: Some(limit), left, reset: None });
            }
        }
        all
    }

    /// Counts a request that is about to be sent, in all workers' sight, if the stated limits leave room for it.
    pub fn take(&mut self, store: &mut dyn Store, target: TargetId, need: Need, now: Timestamp) -> bool {
        let Some(limits) = self.targets.get(target.index()) else { return true };
        let mut taken = [None; 2];
        for (slot, (quota, place)) in taken.iter_mut().zip(limits.stated.iter().flatten()) {
            let Some((counted, _)) = self.counted.get_mut(*place).filter(|_| quota.counts_anything()) else {
                continue;
            };
            if counted.take(store, quota, need, now) {
                *slot = Some(*place);
                continue;
            }
            // What the other limit has let in goes back.
            for place in taken.into_iter().flatten() {
                if let Some((counted, _)) = self.counted.get_mut(place) {
                    counted.correct(store, now, -1, signed(need.total()).saturating_neg(), now);
                }
            }
            return false;
        }
        true
    }

    /// A request has been answered, with a word of the provider or without, or lost.
    pub fn answered(&mut self, target: TargetId, said: Option<&RateLimits>, need: Need, now: Timestamp) {
        let place = self.targets.get(target.index()).map(|limits| limits.told);
        let Some((told, _)) = place.and_then(|place| self.told.get_mut(place)) else { return };
        match said {
            Some(said) => told.hear(said, now),
            None => told.spend(need.0, now),
        }
    }

    /// What a request has really taken is counted in the place of what was estimated for it.
    pub fn settle(
        &mut self,
        store: &mut dyn Store,
        target: TargetId,
        tokens: (u64, u64),
        sent_at: Timestamp,
        now: Timestamp,
    ) {
        let (estimated, actual) = tokens;
        let Some(limits) = self.targets.get(target.index()).filter(|_| estimated != actual) else { return };
        for (_, place) in
            limits.stated.iter().flatten().filter(|(quota, _)| quota.tokens_per_minute.is_some())
        {
            if let Some((counted, _)) = self.counted.get_mut(*place) {
                counted.correct(store, sent_at, 0, signed(actual).saturating_sub(signed(estimated)), now);
            }
        }
    }

    /// Shares what the other workers do not know and learns what they do.
    pub fn exchange(&mut self, store: &mut dyn Store) {
        self.told.iter_mut().for_each(|(told, _)| told.exchange(store));
        self.counted.iter_mut().for_each(|(counted, _)| counted.refresh(store));
    }
}

fn place(all: &mut Vec<(String, Vec<TargetId>)>, name: String, target: TargetId) -> usize {
    if let Some(place) = all.iter().position(|(known, _)| *known == name) {
        if let Some((_, targets)) = all.get_mut(place) {
            targets.push(target);
        }
        return place;
    }
    all.push((name, vec![target]));
    all.len() - 1
}

fn room_told(
    told: &ReportedLimits,
    targets: &[TargetId],
    need: Need,
    under_way: &dyn UnderWay,
    now: Timestamp,
) -> Room {
    let mut room = Room::Fits { permille: 1000 };
    for meter in Meter::ALL {
        let Some(left) = told.left(meter, now) else { continue };
        let unanswered = targets.iter().fold(0_u64, |sum, target| {
            let (requests, tokens) = under_way.unanswered(*target);
            let Need(mut need) = Need::of(tokens);
            if let Some(first) = need.first_mut() {
                *first = requests.into();
            }
            sum.saturating_add(Need(need).at(meter))
        });
        let spare = match left.limit {
            Some(limit) if !under_way.is_alone() => limit / SPARE,
            _ => 0,
        };
        let taken = unanswered.saturating_add(spare);
        room = room.and(match left.remaining.saturating_sub(taken).checked_sub(need.at(meter)) {
            // With everything left, what does not fit never will: the provider shall say so itself.
            None if left.limit.is_some_and(|limit| left.remaining >= limit) && unanswered == 0 => {
                Room::Fits { permille: 1000 }
            }
            None => Room::Full(Shortage { of: Short::Headroom, until: left.reset.max(now) }),
            Some(rest) => Room::share(rest, left.limit),
        });
    }
    room
}

fn room_stated(
    quota: &Quota,
    counted: &ConfiguredLimits,
    targets: &[TargetId],
    need: Need,
    under_way: &dyn UnderWay,
    now: Timestamp,
) -> Room {
    let pending = targets.iter().fold(0_u32, |sum, target| sum.saturating_add(under_way.attempts(*target)));
    if quota.max_pending.is_some_and(|most| pending >= most) {
        return Room::Full(Shortage { of: Short::MaxPending, until: now.after(SOON) });
    }
    if !quota.counts_anything() {
        return Room::Fits { permille: 1000 };
    }
    if let Some(until) = counted.minute().frees_at(quota, need, now) {
        return Room::Full(Shortage { of: Short::Headroom, until });
    }
    let (requests, tokens) = counted.minute().counts(now);
    let rest = |limit: Option<u64>, used: u64| {
        limit.map_or(Room::Fits { permille: 1000 }, |limit| {
            Room::share(limit.saturating_sub(used), Some(limit))
        })
    };
    rest(quota.requests_per_minute, requests.saturating_add(1))
        .and(rest(quota.tokens_per_minute, tokens.saturating_add(need.total())))
}

impl Room {
    /// With this much left of a limit after the request.
    fn share(rest: u64, limit: Option<u64>) -> Self {
        let left = limit.map_or(1000, |limit| rest.saturating_mul(1000).checked_div(limit).unwrap_or(0));
        let share = left.saturating_mul(1000) / PLENTY_PERMILLE;
        Self::Fits { permille: u16::try_from(share.clamp(LEAST_PERMILLE, 1000)).unwrap_or(1000) }
    }

    /// The less of two; of two that do not fit the one that takes longer.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Fits { permille: one }, Self::Fits { permille: two }) => {
                Self::Fits { permille: one.min(two) }
            }
            (Self::Full(one), Self::Full(two)) => Self::Full(if two.until > one.until { two } else { one }),
            (Self::Full(one), _) | (_, Self::Full(one)) => Self::Full(one),
        }
    }
}

fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "headroom_tests.rs"]
mod tests;
