//! The retry budget: what share of the attempts of this Envoy may be retries.
//!
//! **Why a budget in addition to attempt limits.** An attempt limit bounds the cost of one request. If
//! everything fails, every request reaches its limit, and overloaded providers get three times the load. The
//! budget bounds all requests together: retries are at most a share of the requests of the last 10 seconds,
//! plus a floor per second that keeps retries possible when there are few requests.
//!
//! **Why a window of counts instead of a token bucket.** The bound holds exactly over any 10 seconds,
//! whatever was saved before. Still, when a provider dies, the requests in flight find a budget that fits
//! them.
//!
//! **Exact over all workers.** Each retry is taken from the shared record by compare-and-swap, so no worker
//! spends what another has spent. Shares handed to workers in advance would save the host call, but they
//! would be wrong when an outage hits one worker harder than others. A read and a write per failure are cheap
//! compared with the attempt. Requests are added every tick and with each retry. So for at most a tick the
//! requests of other workers are missing, and the budget is too small rather than too large.
//!
//! **Recovery.** If the shared data fails, each worker counts its own budget. An old second leaves the window
//! with its counts.

use crate::base::{Store, Timestamp, update};
use crate::config::RetryBudget;

/// The length of the window in seconds.
pub const WINDOW_S: usize = 10;

const KEY: &str = "llm-failsafe/retry-budget";
const VERSION: u8 = 1;
const RECORD_BYTES: usize = 1 + 8 + 8 * WINDOW_S;

/// One worker's access to the budget, and the requests it still has to add.
#[derive(Debug, Default)]
pub struct Retries {
    /// Requests that are not in the shared record yet.
    requests: u32,
    /// This worker's own count, used when the shared record is unavailable.
    own: Window,
}

/// The use of the budget within its window, over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetUse {
    /// Requests, which the share refers to.
    pub requests: u64,
    /// Retries made.
    pub used: u64,
    /// Retries that the requests and the floor allow.
    pub allowed: u64,
}

impl BudgetUse {
    /// Whether a retry may be made.
    pub const fn has_room(&self) -> bool {
        self.used < self.allowed
    }
}

/// The use by all workers, from the shared record. Changes nothing.
pub fn budget_use(store: &mut dyn Store, policy: &RetryBudget, now: Timestamp) -> BudgetUse {
    let stored = store.read(KEY).ok().flatten();
    let window = Window::read(stored.as_ref().map(|stored| stored.bytes.as_slice()), now);
    BudgetUse { requests: sum(&window.requests), used: sum(&window.retries), allowed: window.allowed(policy) }
}

fn sum(counts: &[u32]) -> u64 {
    counts.iter().map(|count| u64::from(*count)).sum()
}

/// Whether a retry may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// It may.
    pub allowed: bool,
    /// Whether the shared record was used.
    pub shared: bool,
}

impl Retries {
    /// Counts a request that is sent for the first time.
    pub fn count_request(&mut self) {
        self.requests = self.requests.saturating_add(1);
    }

    /// Takes a retry from the budget if one is left.
    pub fn take(&mut self, store: &mut dyn Store, policy: &RetryBudget, now: Timestamp) -> Grant {
        let requests = self.requests;
        let taken = update(store, KEY, |bytes| {
            let mut window = Window::read(bytes, now);
            window.add_requests(requests);
            (window.take(policy), Some(window.encode()))
        });
        self.requests = 0;
        match taken {
            Some(allowed) => Grant { allowed, shared: true },
            None => {
                self.own.advance(now);
                self.own.add_requests(requests);
                Grant { allowed: self.own.take(policy), shared: false }
            }
        }
    }

    /// Adds the requests since the last flush to the shared record. If that fails (`false`), they are added
    /// later.
    pub fn flush(&mut self, store: &mut dyn Store, now: Timestamp) -> bool {
        let requests = self.requests;
        if requests == 0 {
            return true;
        }
        let added = update(store, KEY, |bytes| {
            let mut window = Window::read(bytes, now);
            window.add_requests(requests);
            ((), Some(window.encode()))
        });
        if added.is_some() {
            self.requests = 0;
        }
        added.is_some()
    }
}

/// Requests and retries per second.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Window {
    newest_s: u64,
    requests: [u32; WINDOW_S],
    retries: [u32; WINDOW_S],
}

impl Window {
    /// The window in a record. An unreadable record counts as empty.
    fn read(bytes: Option<&[u8]>, now: Timestamp) -> Self {
        let mut window = bytes.and_then(Self::decode).unwrap_or_default();
        window.advance(now);
        window
    }

    /// Drops old seconds. A clock that jumps out of the window drops everything.
    fn advance(&mut self, now: Timestamp) {
        let now_s = now.as_millis() / 1000;
        let width = WINDOW_S as u64;
        if now_s >= self.newest_s.saturating_add(width) || now_s.saturating_add(width) <= self.newest_s {
            *self = Self { newest_s: now_s, ..Self::default() };
            return;
        }
        while self.newest_s < now_s {
            self.newest_s += 1;
            let slot = self.slot();
            for counts in [&mut self.requests, &mut self.retries] {
                if let Some(count) = counts.get_mut(slot) {
                    *count = 0;
                }
            }
        }
    }

    const fn slot(&self) -> usize {
        (self.newest_s % WINDOW_S as u64) as usize
    }

    fn add_requests(&mut self, requests: u32) {
        let slot = self.slot();
        if let Some(count) = self.requests.get_mut(slot) {
            *count = count.saturating_add(requests);
        }
    }

    fn allowed(&self, policy: &RetryBudget) -> u64 {
        let share = sum(&self.requests).saturating_mul(u64::from(policy.ratio_permille)) / 1000;
        share.saturating_add(u64::from(policy.floor) * WINDOW_S as u64)
    }

    fn take(&mut self, policy: &RetryBudget) -> bool {
        let allowed = sum(&self.retries) < self.allowed(policy);
        let slot = self.slot();
        if let Some(count) = self.retries.get_mut(slot) {
            *count = count.saturating_add(u32::from(allowed));
        }
        allowed
    }

    /// Version, newest second, then requests and retries by slot; little endian.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RECORD_BYTES);
        bytes.push(VERSION);
        bytes.extend(self.newest_s.to_le_bytes());
        for count in self.requests.iter().chain(&self.retries) {
            bytes.extend(count.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (newest_s, counts) = rest.split_first_chunk::<8>()?;
        if *version != VERSION || bytes.len() != RECORD_BYTES {
            return None;
        }
        let mut window = Self { newest_s: u64::from_le_bytes(*newest_s), ..Self::default() };
        let slots = window.requests.iter_mut().chain(&mut window.retries);
        for (slot, four) in slots.zip(counts.as_chunks::<4>().0) {
            *slot = u32::from_le_bytes(*four);
        }
        Some(window)
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
