//! What a key has used of its budgets.
//!
//! **Why reservations.** The tokens of a request are known only when its response is complete, which may be
//! minutes after it was admitted. Counting them then would admit every request of those minutes. So a request
//! reserves its estimate at once, and the difference is settled at its end.
//!
//! **Minutes and days.** A minute is the last 60 seconds in slices of 5. Usage counts for 60 to 65 seconds,
//! so no 60 seconds hold more than the budget. A day is a calendar day in UTC.
//!
//! **Uncertain usage stays counted:** a reservation whose worker vanished, a response without reported usage,
//! a client that left in the middle.

use std::time::Duration;

use crate::base::{MicroDollars, Moment, Store, Timestamp, update};
use crate::config::Budget;

/// Length of a slice.
const SLICE_MS: u64 = 5_000;
/// Twelve slices are a minute. The thirteenth is the current one.
pub const SLICES: usize = 13;
const DAY_MS: u64 = 86_400_000;

/// Tokens and money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Input and output tokens.
    pub tokens: u64,
    /// What they cost.
    pub cost: MicroDollars,
}

/// One of the budgets that a key can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetKind {
    /// `requests_per_minute`
    RequestsPerMinute,
    /// `tokens_per_minute`
    TokensPerMinute,
    /// `tokens_per_day`
    TokensPerDay,
    /// `usd_per_day`
    UsdPerDay,
}

impl BudgetKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 4] =
        [Self::RequestsPerMinute, Self::TokensPerMinute, Self::TokensPerDay, Self::UsdPerDay];

    /// The name in configurations, responses and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestsPerMinute => "requests_per_minute",
            Self::TokensPerMinute => "tokens_per_minute",
            Self::TokensPerDay => "tokens_per_day",
            Self::UsdPerDay => "usd_per_day",
        }
    }
}

/// A set of budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BudgetSet(u8);

impl BudgetSet {
    /// Whether `kind` is in the set.
    pub const fn contains(self, kind: BudgetKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its budgets, in the order of the documentation.
    pub fn kinds(self) -> impl Iterator<Item = BudgetKind> {
        BudgetKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }

    const fn insert(&mut self, kind: BudgetKind) {
        self.0 |= 1 << kind as u8;
    }
}

/// What a request took before it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    at: Timestamp,
    /// The day of the calendar that it counts for.
    day: u64,
    amount: Amount,
}

impl Reservation {
    /// How much was taken.
    pub const fn amount(&self) -> Amount {
        self.amount
    }
}

/// A request that is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// What it took.
    pub reservation: Reservation,
    /// Budgets whose use reaches the key's warning mark with this request.
    pub warnings: BudgetSet,
}

/// A request that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// The exhausted budget. If there are several, the one with the longest wait.
    pub which: BudgetKind,
    /// Time until the request fits if nothing else is used until then; `None` if it exceeds the whole budget.
    pub wait: Option<Duration>,
}

/// What one key has used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    /// Number of the newest slice since the epoch.
    pub(super) head: u64,
    /// Requests and tokens per slice; slice `n` is at `n % SLICES`.
    pub(super) slices: [(u32, u64); SLICES],
    /// Number of the day since the epoch.
    pub(super) day: u64,
    pub(super) day_used: Amount,
}

impl Ledger {
    /// Takes `estimate` and one request from the budgets, or nothing unless it fits each of them.
    ///
    /// # Errors
    /// The budget that is exhausted.
    pub fn reserve(&mut self, budget: &Budget, estimate: Amount, now: Moment) -> Result<Granted, Exhausted> {
        self.advance(now);
        let mut refused: Option<Exhausted> = None;
        let mut warnings = BudgetSet::default();
        for kind in BudgetKind::ALL {
            let Some(limit) = limit(budget, kind) else { continue };
            let need = match kind {
                BudgetKind::RequestsPerMinute => 1,
                BudgetKind::TokensPerMinute | BudgetKind::TokensPerDay => estimate.tokens,
                BudgetKind::UsdPerDay => estimate.cost.micros(),
            };
            let used = self.used(kind);
            let then = used.saturating_add(need);
            if then > limit {
                let wait = self.wait(kind, need, limit, now);
                // A request larger than the whole budget has the longest wait.
                let longer = refused.is_none_or(|other| match (other.wait, wait) {
                    (None, _) => false,
                    (Some(_), None) => true,
                    (Some(other), Some(this)) => this > other,
                });
                if longer {
                    refused = Some(Exhausted { which: kind, wait });
                }
            } else if budget.warns_at(limit).is_some_and(|mark| then >= mark) {
                warnings.insert(kind);
            }
        }
        if let Some(refused) = refused {
            return Err(refused);
        }
        if let Some((requests, tokens)) = self.slice_mut(self.head) {
            *requests = requests.saturating_add(1);
            *tokens = tokens.saturating_add(estimate.tokens);
        }
        self.day_used = Amount {
            tokens: self.day_used.tokens.saturating_add(estimate.tokens),
            cost: self.day_used.cost.plus(estimate.cost),
        };
        Ok(Granted { reservation: Reservation { at: now.at, day: self.day, amount: estimate }, warnings })
    }

    /// Replaces a reservation by what the request actually took. If its minute or day is over, only the
    /// excess counts, now.
    pub fn settle(&mut self, reservation: Reservation, actual: Amount, now: Moment) {
        self.advance(now);
        let reserved = reservation.amount;
        let number = reservation.at.as_millis() / SLICE_MS;
        let in_window = number <= self.head && number.saturating_add(SLICES as u64) > self.head;
        if let Some((_, tokens)) = self.slice_mut(if in_window { number } else { self.head }) {
            *tokens = settled(*tokens, in_window, reserved.tokens, actual.tokens);
        }
        let same_day = reservation.day == self.day;
        let used = self.day_used;
        self.day_used = Amount {
            tokens: settled(used.tokens, same_day, reserved.tokens, actual.tokens),
            cost: MicroDollars::new(settled(
                used.cost.micros(),
                same_day,
                reserved.cost.micros(),
                actual.cost.micros(),
            )),
        };
    }

    /// The request was never sent: everything that it had taken is free again, the request itself included.
    pub fn release(&mut self, reservation: Reservation, now: Moment) {
        self.settle(reservation, Amount::default(), now);
        let number = reservation.at.as_millis() / SLICE_MS;
        let in_window = number <= self.head && number.saturating_add(SLICES as u64) > self.head;
        if let Some((requests, _)) = self.slice_mut(number).filter(|_| in_window) {
            *requests = requests.saturating_sub(1);
        }
    }

    /// The use of a budget now.
    pub fn used_at(&self, kind: BudgetKind, now: Moment) -> u64 {
        let mut current = self.clone();
        current.advance(now);
        current.used(kind)
    }

    fn used(&self, kind: BudgetKind) -> u64 {
        match kind {
            BudgetKind::RequestsPerMinute => {
                self.slices.iter().map(|(requests, _)| u64::from(*requests)).sum()
            }
            BudgetKind::TokensPerMinute => {
                self.slices.iter().fold(0, |sum: u64, (_, tokens)| sum.saturating_add(*tokens))
            }
            BudgetKind::TokensPerDay => self.day_used.tokens,
            BudgetKind::UsdPerDay => self.day_used.cost.micros(),
        }
    }

    /// Time until `need` fits `limit`.
    fn wait(&self, kind: BudgetKind, need: u64, limit: u64, now: Moment) -> Option<Duration> {
        if need > limit {
            return None;
        }
        match kind {
            BudgetKind::TokensPerDay | BudgetKind::UsdPerDay => {
                let wall = now.wall.as_millis();
                let midnight = (wall / DAY_MS).saturating_add(1).saturating_mul(DAY_MS);
                Some(Duration::from_millis(midnight.saturating_sub(wall)))
            }
            BudgetKind::RequestsPerMinute | BudgetKind::TokensPerMinute => {
                let mut used = self.used(kind);
                let oldest = self.head.saturating_sub(SLICES as u64 - 1);
                let leaves = (oldest..=self.head).find(|number| {
                    let (requests, tokens) = self.slice(*number);
                    let freed =
                        if kind == BudgetKind::RequestsPerMinute { u64::from(requests) } else { tokens };
                    used = used.saturating_sub(freed);
                    used.saturating_add(need) <= limit
                })?;
                let at = leaves.saturating_add(SLICES as u64).saturating_mul(SLICE_MS);
                Some(Duration::from_millis(at.saturating_sub(now.at.as_millis())))
            }
        }
    }

    fn slice(&self, number: u64) -> (u32, u64) {
        self.slices.get(slot_of(number)).copied().unwrap_or_default()
    }

    fn slice_mut(&mut self, number: u64) -> Option<&mut (u32, u64)> {
        self.slices.get_mut(slot_of(number))
    }

    /// Drops old slices and days. Times that lie slightly back add to the newest slice. A record from more than a minute ahead, or
    /// a day, starts again, because a step of the clock must keep nothing shut for long.
    fn advance(&mut self, now: Moment) {
        let newest = now.at.as_millis() / SLICE_MS;
        if newest.saturating_add(SLICES as u64) < self.head {
            self.head = newest;
            self.slices = Default::default();
        }
        let passed = newest.saturating_sub(self.head).min(SLICES as u64);
        for number in newest.saturating_sub(passed).saturating_add(1)..=newest {
            if passed > 0
                && let Some(slice) = self.slice_mut(number)
            {
                *slice = (0, 0);
            }
        }
        self.head = self.head.max(newest);
        let today = now.wall.as_millis() / DAY_MS;
        if today > self.day || today.saturating_add(1) < self.day {
            self.day = today;
            self.day_used = Amount::default();
        }
    }
}

/// The use after a settlement. `reservation_counts` says whether the reservation is still included.
const fn settled(used: u64, reservation_counts: bool, reserved: u64, actual: u64) -> u64 {
    if reservation_counts {
        used.saturating_sub(reserved).saturating_add(actual)
    } else {
        used.saturating_add(actual.saturating_sub(reserved))
    }
}

fn slot_of(number: u64) -> usize {
    usize::try_from(number % SLICES as u64).unwrap_or(0)
}

fn limit(budget: &Budget, kind: BudgetKind) -> Option<u64> {
    match kind {
        BudgetKind::RequestsPerMinute => budget.requests_per_minute,
        BudgetKind::TokensPerMinute => budget.tokens_per_minute,
        BudgetKind::TokensPerDay => budget.tokens_per_day,
        BudgetKind::UsdPerDay => budget.usd_per_day.map(MicroDollars::micros),
    }
}

/// Reserves for the key called `name`, over all workers. `None` if the shared data cannot be changed: the
/// request may go and nothing is settled.
pub fn reserve(
    store: &mut dyn Store,
    name: &str,
    budget: &Budget,
    estimate: Amount,
    now: Moment,
) -> Option<Result<Granted, Exhausted>> {
    update(store, &record_key(name), |bytes| {
        let mut ledger = bytes.and_then(Ledger::decode).unwrap_or_default();
        let decision = ledger.reserve(budget, estimate, now);
        let write = decision.is_ok().then(|| ledger.encode());
        (decision, write)
    })
}

/// Settles a reservation over all workers; `false` if the shared data cannot be changed, and the reservation
/// stays.
pub fn settle(
    store: &mut dyn Store,
    name: &str,
    reservation: Reservation,
    actual: Amount,
    now: Moment,
) -> bool {
    if reservation.amount == actual {
        return true;
    }
    let settled = update(store, &record_key(name), |bytes| {
        let mut ledger = bytes.and_then(Ledger::decode).unwrap_or_default();
        ledger.settle(reservation, actual, now);
        ((), Some(ledger.encode()))
    });
    settled.is_some()
}

/// Releases what was reserved for a request that was never sent, over all workers. `false` when what is shared cannot be
/// changed now, and the reservation stays.
pub fn release(store: &mut dyn Store, name: &str, reservation: Reservation, now: Moment) -> bool {
    let released = update(store, &record_key(name), |bytes| {
        let mut ledger = bytes.and_then(Ledger::decode).unwrap_or_default();
        ledger.release(reservation, now);
        ((), Some(ledger.encode()))
    });
    released.is_some()
}

/// Each budget of the key called `name`, with its current use and its limit; money in millionths of a dollar.
/// Reservations of requests in flight are included.
pub fn used(
    store: &mut dyn Store,
    name: &str,
    budget: &Budget,
    now: Moment,
) -> impl Iterator<Item = (BudgetKind, u64, u64)> {
    let stored = store.read(&record_key(name)).ok().flatten();
    let ledger = stored.and_then(|stored| Ledger::decode(&stored.bytes)).unwrap_or_default();
    BudgetKind::ALL
        .into_iter()
        .filter_map(move |kind| Some((kind, ledger.used_at(kind, now), limit(budget, kind)?)))
}

/// Records are stored by the key's name, so usage outlives a configuration change.
fn record_key(name: &str) -> String {
    format!("llm-failsafe/budget/{name}")
}
