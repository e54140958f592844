//! Steers traffic away from a target before it answers 429.
//!
//! **What limits a target.** Three things: the limits that its provider reports in response headers
//! (`reported`), the limits that the operator configures (`configured`), and the number of attempts in flight
//! (`max_pending`).
//!
//! **When does it act?** While at least 20 % of a limit is left, the target keeps its full weight. Below that
//! its weight falls with what is left, so that traffic moves over smoothly. When the estimated tokens of a
//! request no longer fit, the target is left out.
//!
//! **How does it recover?** At the reset that the provider gives, the limit counts as full again. The filter
//! does not ask earlier, although most providers refill evenly: some refill at once, and a request that comes
//! too early gets a 429. Losing weight early makes this rare. Configured limits recover as their window moves
//! on.
//!
//! **What does it ignore?** A limit that is neither reported nor configured. A request that exceeds the whole
//! limit: it is sent, so that the provider itself refuses it.
//!
//! **Sharing.** Reported limits are shared once per tick. Each response renews them and they are only advice,
//! so a compare-and-swap for each response would double the host calls of a request. Configured limits are a
//! promise. They are counted in the shared record before each request is sent.
//!
//! **Owners.** A reported limit belongs to one model of one account, or of all accounts in a `quota_pool`. A
//! limit configured at a target belongs to that target. One configured at an account covers all its models,
//! or the whole pool.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::adaptive::LoadSignal;
use super::configured::ConfiguredLimits;
use super::demand::Demand;
use super::place::{Limited, Place};
use super::places::Places;
use super::reported::ReportedLimits;
use super::room::{self, InFlight, LimitKind, Room, Shortage};
use crate::base::{Store, TargetId, Timestamp};
use crate::config::{Config, MaxPending, PendingBounds, Quota};
use crate::provider::{Meter, RateLimits};

/// When to ask a target again that has too many attempts in flight. The end of an attempt cannot be
/// predicted.
const PENDING_RETRY: Duration = Duration::from_secs(1);

/// One limit of a target, for operators to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What is limited: requests, tokens of a kind, or attempts in flight.
    pub of: &'static str,
    /// True if the operator configured it, false if the provider reports it.
    pub configured: bool,
    /// The whole limit, if known.
    pub limit: Option<u64>,
    /// What is left.
    pub left: u64,
    /// When the limit is full again, if the provider says so.
    pub reset: Option<Timestamp>,
    /// The bounds of an adaptive limit.
    pub bounds: Option<PendingBounds>,
}

/// One worker's view of the limits of a configuration's targets.
#[derive(Debug)]
pub struct Headroom {
    reported: Vec<(ReportedLimits, Vec<TargetId>)>,
    configured: Vec<(ConfiguredLimits, Vec<TargetId>)>,
    targets: Vec<Limits>,
    /// Attempts in flight. They belong to the VM.
    places: Rc<RefCell<Places>>,
    /// Says that attempts in flight are limited by this configuration.
    limited: Vec<Limited>,
}

/// A request that was counted against configured limits. It is consumed once: uncounted or settled.
#[derive(Debug)]
#[must_use = "a counted request is uncounted or settled"]
pub struct CountedRequest {
    at: Timestamp,
    tokens: u64,
    /// Where it was counted, and whether tokens are limited there.
    counts: [Option<(usize, bool)>; 2],
    /// Its places at the target and its account.
    places: [Option<Rc<Place>>; 2],
}

/// The limits of one target, as indices.
#[derive(Debug)]
struct Limits {
    reported: usize,
    /// What is configured at the target and at its account, with the index of its counts.
    configured: [Option<(Quota, usize)>; 2],
    /// The places there.
    places: [Rc<Place>; 2],
}

impl Limits {
    fn max_pending(&self) -> impl Iterator<Item = (Option<MaxPending>, &Rc<Place>)> {
        let of = |configured: &Option<(Quota, usize)>| configured.and_then(|(quota, _)| quota.max_pending);
        self.configured.iter().map(of).zip(&self.places)
    }
}

impl CountedRequest {
    /// When it was counted, which is when it was sent.
    pub const fn sent_at(&self) -> Timestamp {
        self.at
    }

    fn give_back_places(&mut self, store: &mut dyn Store) {
        for place in self.places.iter_mut().filter_map(Option::take) {
            place.give_back(store);
        }
    }
}

impl Headroom {
    /// A view of `config` without any measurement. Records are stored by name, so they outlive a
    /// configuration change.
    pub fn new(config: &Config) -> Self {
        let mut reported: Vec<(String, Vec<TargetId>)> = Vec::new();
        let mut counted_keys: Vec<(String, Vec<TargetId>)> = Vec::new();
        let mut targets = Vec::new();
        let mut all_places = Places::new(0);
        for (index, target) in config.targets().iter().enumerate() {
            let (Some(id), Some(account)) = (TargetId::from_index(index), config.account(target.account))
            else {
                continue;
            };
            let owner = match &account.quota_pool {
                Some(pool) => format!("pool/{pool}"),
                None => format!("account/{}", account.name),
            };
            let mut of = |quota: Quota, name: String| {
                (quota != Quota::default()).then(|| (quota, index_of(&mut counted_keys, name, id)))
            };
            let configured = [
                of(target.limits, format!("llm-failsafe/quota/target/{}", target.name)),
                of(account.limits, format!("llm-failsafe/quota/{owner}")),
            ];
            let reported =
                index_of(&mut reported, format!("llm-failsafe/headroom/{owner}/{}", target.model), id);
            let places = [
                all_places.at(&format!("llm-failsafe/places/target/{}", target.name)),
                all_places.at(&format!("llm-failsafe/places/{owner}")),
            ];
            targets.push(Limits { reported, configured, places });
        }
        Self {
            reported: reported.into_iter().map(|(key, of)| (ReportedLimits::new(key.into()), of)).collect(),
            configured: counted_keys
                .into_iter()
                .map(|(key, of)| (ConfiguredLimits::new(key.into()), of))
                .collect(),
            targets,
            places: Rc::new(RefCell::new(all_places)),
            limited: Vec::new(),
        }
    }

    /// Takes these places, which outlive a configuration. Attempts that are in flight there count from now on, where
    /// this configuration limits them.
    pub fn share_places(&mut self, places: Rc<RefCell<Places>>, store: &mut dyn Store) {
        let mut limited = Vec::new();
        for limits in &mut self.targets {
            for place in &mut limits.places {
                *place = places.borrow_mut().at(place.key());
            }
            for (most, place) in limits.max_pending() {
                limited.extend(most.map(|most| place.limit(store, most)));
            }
        }
        (self.limited, self.places) = (limited, places);
    }

    /// Renews the places. To be called on each tick.
    pub fn renew_places(&self, store: &mut dyn Store, now: Timestamp) {
        self.places.borrow_mut().tick(store, now);
    }

    /// How much room `target` has for a request.
    pub fn room(&self, target: TargetId, demand: Demand, in_flight: &impl InFlight, now: Timestamp) -> Room {
        let Some(limits) = self.targets.get(target.index()) else { return Room::Fits { permille: 1000 } };
        let mut room = Room::Fits { permille: 1000 };
        if let Some((reported, targets)) = self.reported.get(limits.reported)
            && reported.is_known()
        {
            room = room.and(room::within_reported(reported, targets, demand, in_flight, now));
        }
        for ((quota, index), place) in configured_with_places(limits) {
            if quota.max_pending.is_some_and(|most| place.used() >= place.most(most)) {
                room = room
                    .and(Room::Full(Shortage { of: LimitKind::MaxPending, until: now.after(PENDING_RETRY) }));
            }
            if let Some((counts, _)) = self.configured.get(*index) {
                room = room.and(room::within_configured(quota, counts, demand, now));
            }
        }
        room
    }

    /// The known limits of `target` and what is left of them. Requests that the provider has not counted yet
    /// are not subtracted.
    pub fn limits(&self, target: TargetId, now: Timestamp) -> Vec<Limit> {
        let mut all = Vec::new();
        let Some(limits) = self.targets.get(target.index()) else { return all };
        if let Some((reported, _)) = self.reported.get(limits.reported) {
            let known = Meter::ALL.into_iter().filter_map(|meter| Some((meter, reported.left(meter, now)?)));
            all.extend(known.map(|(meter, left)| Limit {
                of: meter.name(),
                configured: false,
                limit: left.limit,
                left: left.remaining,
                reset: (left.reset > now).then_some(left.reset),
                bounds: None,
            }));
        }
        for ((quota, index), place) in configured_with_places(limits) {
            let Some((counts, _)) = self.configured.get(*index) else { continue };
            let (requests, tokens) = counts.minute().counts(now);
            let most = quota.max_pending.map(|most| u64::from(place.most(most)));
            let bounds = quota.max_pending.and_then(MaxPending::bounds);
            for (of, limit, used, bounds) in [
                ("requests_per_minute", quota.requests_per_minute, requests, None),
                ("tokens_per_minute", quota.tokens_per_minute, tokens, None),
                ("max_pending", most, place.used().into(), bounds),
            ] {
                let Some(limit) = limit else { continue };
                let left = limit.saturating_sub(used);
                all.push(Limit { of, configured: true, limit: Some(limit), left, reset: None, bounds });
            }
        }
        all
    }

    /// Counts a request that is about to be sent against the configured limits, in the shared record. `None` when other
    /// requests have just used one of them up; nothing is counted then.
    pub fn count(
        &mut self,
        store: &mut dyn Store,
        target: TargetId,
        demand: Demand,
        now: Timestamp,
    ) -> Option<CountedRequest> {
        let mut request =
            CountedRequest { at: now, tokens: demand.total(), counts: [None; 2], places: [None, None] };
        let Some(limits) = self.targets.get(target.index()) else { return Some(request) };
        let mut fits = true;
        for ((most, place), taken) in limits.max_pending().zip(&mut request.places) {
            match most {
                Some(most) if !place.take(store, most, now) => {
                    fits = false;
                    break;
                }
                Some(_) => {}
                None => place.count(store),
            }
            *taken = Some(Rc::clone(place));
        }
        for (slot, (quota, index)) in limits.configured.iter().flatten().enumerate() {
            let Some((counts, _)) = self.configured.get_mut(*index).filter(|_| quota.counts_anything())
            else {
                continue;
            };
            if !fits || !counts.take(store, quota, demand, now) {
                fits = false;
                break;
            }
            if let Some(counted_at) = request.counts.get_mut(slot) {
                *counted_at = Some((*index, quota.tokens_per_minute.is_some()));
            }
        }
        if fits {
            return Some(request);
        }
        self.uncount(store, request, now);
        None
    }

    /// Counts a request that is sent although its target may be at its limits.
    pub fn count_anyway(
        &mut self,
        store: &mut dyn Store,
        target: TargetId,
        demand: Demand,
        now: Timestamp,
    ) -> CountedRequest {
        let mut request =
            CountedRequest { at: now, tokens: demand.total(), counts: [None; 2], places: [None, None] };
        let Some(limits) = self.targets.get(target.index()) else { return request };
        for (place, taken) in limits.places.iter().zip(&mut request.places) {
            place.count(store);
            *taken = Some(Rc::clone(place));
        }
        for (slot, (quota, index)) in limits.configured.iter().flatten().enumerate() {
            if let Some((counts, _)) = self.configured.get_mut(*index).filter(|_| quota.counts_anything())
                && let Some(counted_at) = request.counts.get_mut(slot)
            {
                counts.correct(store, now, 1, signed(demand.total()), now);
                *counted_at = Some((*index, quota.tokens_per_minute.is_some()));
            }
        }
        request
    }

    /// The request was not sent: the limits have what it took back.
    pub fn uncount(&mut self, store: &mut dyn Store, mut request: CountedRequest, now: Timestamp) {
        request.give_back_places(store);
        for (index, _) in request.counts.into_iter().flatten() {
            if let Some((counts, _)) = self.configured.get_mut(index) {
                counts.correct(store, request.at, -1, signed(request.tokens).saturating_neg(), now);
            }
        }
    }

    /// The request is over: the tokens that it took replace the estimate. `None` when that is unknown.
    pub fn settle(
        &mut self,
        store: &mut dyn Store,
        mut request: CountedRequest,
        taken: Option<u64>,
        now: Timestamp,
    ) {
        request.give_back_places(store);
        let Some(taken) = taken.filter(|taken| *taken != request.tokens) else { return };
        let more = signed(taken).saturating_sub(signed(request.tokens));
        for (index, counts_tokens) in request.counts.into_iter().flatten() {
            if let Some((counts, _)) = self.configured.get_mut(index).filter(|_| counts_tokens) {
                counts.correct(store, request.at, 0, more, now);
            }
        }
    }

    /// What an attempt at `target` has shown about the load that its target can take.
    pub fn note_load(&self, target: TargetId, signal: LoadSignal) {
        let Some(limits) = self.targets.get(target.index()) else { return };
        for (most, place) in limits.max_pending() {
            if most.is_some_and(|most| most.bounds().is_some()) {
                place.note(signal);
            }
        }
    }

    /// The limit on attempts in flight that `target` or its account has reached.
    pub fn reached_max_pending(&self, target: TargetId) -> Option<u32> {
        let mut all = self.targets.get(target.index())?.max_pending();
        all.find_map(|(most, place)| Some(place.most(most?)).filter(|most| place.used() >= *most))
    }

    /// The limit on attempts in flight at `target`, if it has one of its own.
    pub fn max_pending(&self, target: TargetId) -> Option<u32> {
        let (most, place) = self.targets.get(target.index())?.max_pending().next()?;
        most.map(|most| place.most(most))
    }

    /// A response has come, with or without reported limits, or the attempt was lost.
    pub fn answered(
        &mut self,
        target: TargetId,
        report: Option<&RateLimits>,
        demand: Demand,
        now: Timestamp,
    ) {
        let index = self.targets.get(target.index()).map(|limits| limits.reported);
        let Some((reported, _)) = index.and_then(|index| self.reported.get_mut(index)) else { return };
        match report {
            Some(report) => reported.update(report, now),
            None => reported.deduct(demand.0, now),
        }
    }

    /// Shares what the other workers do not know and reads what they know.
    pub fn exchange(&mut self, store: &mut dyn Store) {
        self.reported.iter_mut().for_each(|(reported, _)| reported.exchange(store));
        self.configured.iter_mut().for_each(|(counts, _)| counts.refresh(store));
    }
}

fn configured_with_places(limits: &Limits) -> impl Iterator<Item = (&(Quota, usize), &Rc<Place>)> {
    limits
        .configured
        .iter()
        .zip(&limits.places)
        .filter_map(|(configured, place)| Some((configured.as_ref()?, place)))
}

fn index_of(all: &mut Vec<(String, Vec<TargetId>)>, name: String, target: TargetId) -> usize {
    if let Some(index) = all.iter().position(|(known, _)| *known == name) {
        if let Some((_, targets)) = all.get_mut(index) {
            targets.push(target);
        }
        return index;
    }
    all.push((name, vec![target]));
    all.len() - 1
}

fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "headroom_tests.rs"]
mod tests;
