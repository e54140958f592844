//! Limits that the operator configures, for providers that do not report theirs. The filter counts the
//! requests and tokens itself.
//!
//! **Why a sliding window.** The limit must hold in every 60 seconds. Calendar minutes would allow two bursts
//! around the full minute, which is twice the limit. The window consists of slices of 5 seconds and is up to
//! one slice longer than a minute. So it admits slightly less than the limit, never more.
//!
//! **Exact over all workers.** Each request is counted in the shared record before it is sent. A configured
//! limit is a promise, so a count that is one tick old would not do. This costs one read and one write of the
//! shared data, only for targets with a configured limit.
//!
//! **Recovery.** A slice that leaves the window frees its requests and tokens. If the shared data fails, this
//! worker's own counts decide.

use std::time::Duration;

use super::demand::Demand;
use crate::base::{Store, Timestamp, update};
use crate::config::Quota;

const SLICE_MS: u64 = 5_000;
/// Twelve slices are a minute. The thirteenth is the current one.
const SLICES: usize = 13;
const VERSION: u8 = 1;
const SLICE_BYTES: usize = 4 + 8;
const RECORD_BYTES: usize = 1 + 8 + SLICES * SLICE_BYTES;

/// The requests and tokens of the last minute.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Minute {
    /// Number of the newest slice since the epoch.
    head: u64,
    /// Requests and tokens per slice; slice `n` is at `n % SLICES`.
    slices: [(u32, u64); SLICES],
}

/// The counts behind one configured limit, as this worker knows them.
#[derive(Debug)]
pub struct ConfiguredLimits {
    key: Box<str>,
    minute: Minute,
}

impl ConfiguredLimits {
    /// Empty counts; `key` names the shared record.
    pub fn new(key: Box<str>) -> Self {
        Self { key, minute: Minute::default() }
    }

    /// The counts of the last minute.
    pub const fn minute(&self) -> &Minute {
        &self.minute
    }

    /// Counts a request if the limits leave room for it. If the shared data fails, this worker's own counts
    /// decide.
    pub fn take(&mut self, store: &mut dyn Store, quota: &Quota, demand: Demand, now: Timestamp) -> bool {
        self.change(store, |minute| {
            let fits = minute.frees_at(quota, demand, now).is_none();
            if fits {
                minute.add(now, now, 1, i64::try_from(demand.total()).unwrap_or(i64::MAX));
            }
            fits
        })
    }

    /// Corrects the counts of a request that was sent at `sent_at`.
    pub fn correct(
        &mut self,
        store: &mut dyn Store,
        sent_at: Timestamp,
        requests: i32,
        tokens: i64,
        now: Timestamp,
    ) {
        self.change(store, |minute| minute.add(sent_at, now, requests, tokens));
    }

    /// Reads the counts of the other workers.
    pub fn refresh(&mut self, store: &mut dyn Store) {
        if let Ok(Some(stored)) = store.read(&self.key) {
            self.minute = Minute::decode(&stored.bytes).unwrap_or_default();
        }
    }

    fn change<T>(&mut self, store: &mut dyn Store, mut transition: impl FnMut(&mut Minute) -> T) -> T {
        let shared = update(store, &self.key, |bytes| {
            let mut minute = bytes.and_then(Minute::decode).unwrap_or_default();
            let result = transition(&mut minute);
            let encoded = minute.encode();
            ((result, minute), Some(encoded))
        });
        match shared {
            Some((result, minute)) => {
                self.minute = minute;
                result
            }
            None => transition(&mut self.minute),
        }
    }
}

impl Minute {
    /// Requests and tokens of the last minute.
    pub fn counts(&self, now: Timestamp) -> (u64, u64) {
        let mut current = self.clone();
        current.advance(now);
        current.slices.iter().fold((0, 0), |(requests, tokens), slice| {
            (u64::saturating_add(requests, slice.0.into()), u64::saturating_add(tokens, slice.1))
        })
    }

    /// When the request fits again; `None` if it fits now.
    pub fn frees_at(&self, quota: &Quota, demand: Demand, now: Timestamp) -> Option<Timestamp> {
        let mut current = self.clone();
        current.advance(now);
        let fits = |requests: u64, tokens: u64| {
            quota.requests_per_minute.is_none_or(|limit| requests < limit)
                // A request that exceeds the whole limit may go if the window is empty. Otherwise it could
                // never go.
                && quota.tokens_per_minute.is_none_or(|limit| {
                    tokens == 0 || tokens.saturating_add(demand.total()) <= limit
                })
        };
        let (mut requests, mut tokens) = current.counts(now);
        if fits(requests, tokens) {
            return None;
        }
        // The oldest slice leaves first.
        for back in (0..SLICES as u64).rev() {
            let slice = current.head.saturating_sub(back);
            let (gone_requests, gone_tokens) = current.slice(slice).copied().unwrap_or_default();
            requests = requests.saturating_sub(gone_requests.into());
            tokens = tokens.saturating_sub(gone_tokens);
            if fits(requests, tokens) {
                let ms = slice.saturating_add(SLICES as u64).saturating_mul(SLICE_MS);
                return Some(Timestamp::from_millis(ms));
            }
        }
        Some(now.after(Duration::from_millis(SLICES as u64 * SLICE_MS)))
    }

    fn slice(&self, number: u64) -> Option<&(u32, u64)> {
        self.slices.get(usize::try_from(number % SLICES as u64).ok()?)
    }

    fn add(&mut self, sent_at: Timestamp, now: Timestamp, requests: i32, tokens: i64) {
        self.advance(now);
        let sent = (sent_at.as_millis() / SLICE_MS).min(self.head);
        // The window no longer holds the slice, so there is nothing to correct.
        if self.head - sent >= SLICES as u64 {
            return;
        }
        let slot = usize::try_from(sent % SLICES as u64).unwrap_or(0);
        if let Some(slice) = self.slices.get_mut(slot) {
            slice.0 = slice.0.saturating_add_signed(requests);
            slice.1 = slice.1.saturating_add_signed(tokens);
        }
    }

    fn advance(&mut self, now: Timestamp) {
        let newest = now.as_millis() / SLICE_MS;
        // The clock stepped back by more than the window: start again.
        if newest.saturating_add(SLICES as u64) < self.head {
            *self = Self { head: newest, ..Self::default() };
        }
        let passed = newest.saturating_sub(self.head).min(SLICES as u64);
        for step in 1..=passed {
            let slot = usize::try_from((newest - passed + step) % SLICES as u64).unwrap_or(0);
            if let Some(slice) = self.slices.get_mut(slot) {
                *slice = (0, 0);
            }
        }
        self.head = self.head.max(newest);
    }

    fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        if let Some((version, rest)) = bytes.split_first_mut()
            && let Some((head, slices)) = rest.split_first_chunk_mut::<8>()
        {
            *version = VERSION;
            *head = self.head.to_le_bytes();
            for (bytes, (requests, tokens)) in slices.chunks_exact_mut(SLICE_BYTES).zip(self.slices) {
                if let Some((first, second)) = bytes.split_first_chunk_mut::<4>() {
                    *first = requests.to_le_bytes();
                    second.copy_from_slice(&tokens.to_le_bytes());
                }
            }
        }
        bytes
    }

    /// The counts of a record; `None` if it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (head, slots) = rest.split_first_chunk::<8>()?;
        if *version != VERSION || bytes.len() != RECORD_BYTES {
            return None;
        }
        let mut slices = [(0, 0); SLICES];
        for (slice, slot) in slices.iter_mut().zip(slots.chunks_exact(SLICE_BYTES)) {
            let (requests, tokens) = slot.split_first_chunk::<4>()?;
            *slice = (u32::from_le_bytes(*requests), u64::from_le_bytes(tokens.try_into().ok()?));
        }
        Some(Self { head: u64::from_le_bytes(*head), slices })
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::base::Tokens;
    use crate::base::memory::Memory;
    use proptest::prelude::*;

    fn ms(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + ms)
    }

    fn demand(tokens: u64) -> Demand {
        Demand::of(Tokens { input: tokens, output: 0 })
    }

    fn quota(requests: u64, tokens: u64) -> Quota {
        Quota { requests_per_minute: Some(requests), tokens_per_minute: Some(tokens), max_pending: None }
    }

    proptest! {
        #[test]
        fn no_minute_exceeds_the_limit_and_nearly_all_of_it_is_usable(
            gaps in proptest::collection::vec(0_u64..3_000, 1..400), limit in 1_u64..60
        ) {
            let mut store = Memory::new();
            // These workers never refresh, so only the shared record keeps them within the limit.
            let mut workers = [ConfiguredLimits::new("k".into()), ConfiguredLimits::new("k".into())];
            let quota = Quota { requests_per_minute: Some(limit), ..Quota::default() };
            let (mut now, mut sent) = (0, Vec::new());
            for (index, gap) in gaps.iter().enumerate() {
                now += gap;
                if workers[index % 2].take(&mut store, &quota, demand(1), ms(now)) {
                    sent.push(now);
                }
                let last = |span: u64| sent.iter().filter(|at| **at + span > now).count() as u64;
                prop_assert!(last(60_000) <= limit);
                // A refusal must be due to the last 65 seconds.
                prop_assert!(sent.last() == Some(&now) || last(65_000) >= limit);
            }
        }

        #[test]
        fn a_record_of_any_bytes_decodes_or_is_ignored(
            mut bytes in proptest::collection::vec(any::<u8>(), RECORD_BYTES), cut in 0..=RECORD_BYTES
        ) {
            prop_assert!(Minute::decode(&bytes[..cut]).is_none() || cut == RECORD_BYTES);
            bytes[0] = VERSION;
            prop_assert_eq!(&Minute::decode(&bytes).unwrap().encode()[..], &bytes[..]);
        }
    }

    #[test]
    fn frees_at_gives_the_moment_when_a_request_fits_again() {
        let mut store = Memory::new();
        let mut limits = ConfiguredLimits::new("k".into());
        let quota = quota(3, 100);
        for at in [0, 10_000, 20_000] {
            assert!(limits.take(&mut store, &quota, demand(10), ms(at)));
        }
        let at = ms(30_000);
        assert!(!limits.take(&mut store, &quota, demand(10), at));
        let free = limits.minute().frees_at(&quota, demand(10), at).unwrap();
        assert!((60_000..=65_000).contains(&(free.as_millis() - ms(0).as_millis())));
        assert!(limits.take(&mut store, &quota, demand(10), free));
    }

    #[test]
    fn counts_can_be_corrected_and_requests_taken_back() {
        let mut store = Memory::new();
        let mut limits = ConfiguredLimits::new("k".into());
        let quota = quota(100, 100);
        assert!(limits.take(&mut store, &quota, demand(90), ms(0)));
        assert!(!limits.take(&mut store, &quota, demand(20), ms(1)));
        limits.correct(&mut store, ms(0), 0, -40, ms(6_000));
        assert_eq!(limits.minute().counts(ms(6_000)), (1, 50));
        assert!(limits.take(&mut store, &quota, demand(20), ms(6_001)));
        limits.correct(&mut store, ms(6_001), -1, -20, ms(6_002));
        assert_eq!(limits.minute().counts(ms(6_002)), (1, 50));
        limits.correct(&mut store, ms(0), 0, 1_000, ms(70_000));
        assert_eq!(limits.minute().counts(ms(70_000)), (0, 0), "the slice has left the window");
    }

    #[test]
    fn a_request_larger_than_the_limit_goes_when_the_window_is_empty() {
        let mut store = Memory::new();
        let mut limits = ConfiguredLimits::new("k".into());
        assert!(limits.take(&mut store, &quota(9, 100), demand(500), ms(0)));
        assert!(!limits.take(&mut store, &quota(9, 100), demand(1), ms(1)));
    }

    #[test]
    fn survives_a_clock_that_steps_back_and_failing_shared_data() {
        let shelf = Rc::default();
        let mut store = Memory::on(shelf);
        let mut limits = ConfiguredLimits::new("k".into());
        assert!(limits.take(&mut store, &quota(1, 100), demand(1), ms(10_000_000)));
        assert!(limits.take(&mut store, &quota(1, 100), demand(1), ms(0)), "a step back resets the window");
        assert!(!limits.take(&mut store, &quota(1, 100), demand(1), ms(1)));
    }
}
