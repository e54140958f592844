//! How much of all that this Envoy sends may be a further attempt.
//!
//! **Why a budget and not attempts alone.** Attempts bound what one request may cost; when everything fails, every request
//! costs that, and providers that are short of room get three times the load just then. The budget bounds all requests
//! together: further attempts are at most a share of the requests of the last ten seconds, and a floor that lets few
//! requests be tried again however few there are.
//!
//! **Why a window of counts** and not a bucket of tokens: over any ten of its seconds the bound holds to the attempt,
//! whatever was saved before, and yet what is under way when a provider dies finds a budget that fits it.
//!
//! **Exact over all workers.** A further attempt is taken from the shared record by compare-and-swap, so no worker spends
//! what another has spent. Requests are added every tick and with each further attempt, so for at most a tick others'
//! requests are missing, and the budget is too small rather than too large.

use crate::base::{Store, Timestamp, update};
use crate::config::RetryBudget;

/// The seconds that count.
pub const WINDOW_S: usize = 10;

const KEY: &str = "llm-failsafe/retry-budget";
const VERSION: u8 = 1;
const RECORD_BYTES: usize = 1 + 8 + 8 * WINDOW_S;

/// What one worker adds to the budget, and its way to it.
#[derive(Debug, Default)]
pub struct Retries {
    /// Requests not yet in the shared record.
    requests: u32,
    /// What is asked where the shared record cannot be: this worker's own count, from the first such moment on.
    own: Window,
}

/// What has been taken of the budget within its window, over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetUse {
    /// Requests, which the share is of.
    pub requests: u64,
    /// Further attempts made.
    pub used: u64,
    /// Further attempts that these requests and the floor allow.
    pub allowed: u64,
}

/// What all workers have taken, as the shared record has it. Changes nothing.
pub fn budget_use(store: &mut dyn Store, policy: &RetryBudget, now: Timestamp) -> BudgetUse {
    let stored = store.read(KEY).ok().flatten();
    let window = Window::read(stored.as_ref().map(|stored| stored.bytes.as_slice()), now);
    BudgetUse { requests: sum(&window.requests), used: sum(&window.retries), allowed: window.allowed(policy) }
}

fn sum(counts: &[u32]) -> u64 {
    counts.iter().map(|count| u64::from(*count)).sum()
}

/// Whether a further attempt may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// It may.
    pub allowed: bool,
    /// All workers know of it.
    pub shared: bool,
}

impl Retries {
    /// A request is sent for the first time.
    pub fn count_request(&mut self) {
        self.requests = self.requests.saturating_add(1);
    }

    /// Takes a further attempt out of the budget, if there is one.
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

    /// Adds the requests since the last time to what all workers share. `false` when that was not possible; they are added
    /// later then.
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

/// Requests and further attempts by second.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Window {
    newest_s: u64,
    requests: [u32; WINDOW_S],
    retries: [u32; WINDOW_S],
}

impl Window {
    /// The window of a record; one that cannot be read is empty.
    fn read(bytes: Option<&[u8]>, now: Timestamp) -> Self {
        let mut window = bytes.and_then(Self::decode).unwrap_or_default();
        window.advance(now);
        window
    }

    /// Forgets what is too old. After a step of the clock that leads out of the window everything is.
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

    /// Version, newest second, requests and further attempts by slot; all little-endian.
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
