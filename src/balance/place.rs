//! The attempts in flight at one target or account: this worker's, those of the others, and the adaptive limit.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::adaptive::{ADAPTIVE_BYTES, AdaptiveLimit, LoadSignal};
use crate::base::{MAX_TRIES, Store, Timestamp, update};
use crate::config::{MaxPending, PendingBounds};

/// The most workers with attempts in flight at one target or account. A further one waits.
pub const MAX_HOLDERS: usize = 1024;
/// An entry that does not change for so many ticks belongs to a worker that is gone: 3 s.
pub(super) const GONE_AFTER_TICKS: u32 = 30;
/// A worker renews its entries after so many ticks without a write, and at least so often: its ticks may be slower than those
/// of the workers that watch.
pub(super) const RENEW_TICKS: u32 = 10;
const RENEW_AFTER: Duration = Duration::from_millis(500);
/// The most signals that wait for the next write. Later ones are dropped: a tick has more than enough then.
pub(super) const MAX_SIGNALS: usize = 64;
const VERSION: u8 = 2;
pub(super) const ENTRY_BYTES: usize = 8 + 4 + 4;

/// The attempts in flight at one target or account, as one worker knows them. All its generations use the same.
#[derive(Debug)]
pub struct Place {
    worker: u64,
    key: Rc<str>,
    known: RefCell<Known>,
}

/// Held by a generation that limits the attempts in flight. While any does, the counts are shared.
#[derive(Debug)]
pub struct Limited {
    _counted: Rc<()>,
}

/// The places that one worker has in one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    worker: u64,
    places: u32,
    /// Changes with each write of this worker.
    beat: u32,
}

/// An entry of another worker, and for how many ticks it has been as it is.
#[derive(Debug, Clone, Copy)]
struct Seen {
    entry: Entry,
    ticks: u32,
}

impl Seen {
    const fn is_gone(&self) -> bool {
        self.ticks >= GONE_AFTER_TICKS
    }
}

#[derive(Debug, Default)]
struct Known {
    own: u32,
    beat: u32,
    since_write: u32,
    /// When a tick last wrote.
    renewed_at: Timestamp,
    /// The record does not say what this worker has: a write failed, or was not needed then.
    is_outdated: bool,
    others: Vec<Seen>,
    /// The bounds of an adaptive limit, by the newest configuration.
    bounds: Option<PendingBounds>,
    adaptive: Option<AdaptiveLimit>,
    /// What this worker's attempts have shown since its last write.
    signals: Vec<LoadSignal>,
    limited: Weak<()>,
}

impl Place {
    pub(super) fn new(worker: u64, key: Rc<str>) -> Self {
        Self { worker, key, known: RefCell::default() }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// From now on attempts in flight are limited here. Those that began before are shown to the other workers.
    pub(super) fn limit(&self, store: &mut dyn Store, most: MaxPending) -> Limited {
        let mut known = self.known.borrow_mut();
        known.bounds = most.bounds();
        let limited = known.limited.upgrade().unwrap_or_else(|| {
            let limited = Rc::new(());
            known.limited = Rc::downgrade(&limited);
            limited
        });
        if known.own > 0 || known.is_outdated {
            known.write(store, self.worker, &self.key);
        } else if let Ok(stored) = store.read(&self.key) {
            known.learn(self.worker, stored.as_ref().map(|stored| stored.bytes.as_slice()));
        }
        Limited { _counted: limited }
    }

    /// Attempts in flight, as far as this worker knows.
    pub fn used(&self) -> u32 {
        self.known.borrow().used()
    }

    /// How many may be in flight now.
    pub fn most(&self, most: MaxPending) -> u32 {
        self.known.borrow().most(most)
    }

    /// Takes a place if one is free.
    #[must_use]
    pub fn take(&self, store: &mut dyn Store, most: MaxPending, now: Timestamp) -> bool {
        let known = &mut *self.known.borrow_mut();
        let mut tries = 0;
        let taken = update(store, &self.key, |bytes| {
            tries += 1;
            known.learn(self.worker, bytes);
            let fits = known.used() < known.most(most) && known.others.len() < MAX_HOLDERS;
            let record = fits.then(|| {
                let own = known.own.saturating_add(1);
                let adaptive = known.adapted(known.used().saturating_add(1), Some(now));
                (known.encode(self.worker, own, adaptive.as_ref()), adaptive)
            });
            let (bytes, adaptive) = record.unzip();
            ((fits, adaptive.flatten()), bytes)
        });
        // After so many lost races the record is busy, not broken: the request tries again later.
        let (taken, adaptive) = taken.unwrap_or_else(|| {
            let fits = tries < MAX_TRIES && known.used() < known.most(most);
            (fits, known.adapted(known.used().saturating_add(1), Some(now)))
        });
        if taken {
            known.own = known.own.saturating_add(1);
            known.written(adaptive);
        }
        taken
    }

    /// Counts an attempt that is not limited.
    pub fn count(&self, store: &mut dyn Store) {
        let known = &mut *self.known.borrow_mut();
        known.own = known.own.saturating_add(1);
        if known.is_limited() {
            known.write(store, self.worker, &self.key);
        }
    }

    /// An attempt is over.
    pub fn give_back(&self, store: &mut dyn Store) {
        let known = &mut *self.known.borrow_mut();
        let used = known.used();
        known.own = known.own.saturating_sub(1);
        if known.is_limited() {
            known.write_with(store, self.worker, &self.key, used);
        } else {
            known.is_outdated = true;
        }
    }

    /// Notes what an attempt has shown. The limit changes with the next write.
    pub fn note(&self, signal: LoadSignal) {
        let known = &mut *self.known.borrow_mut();
        if known.bounds.is_some() && known.signals.len() < MAX_SIGNALS {
            known.signals.push(signal);
        }
    }

    /// Reads what the others have, and renews this worker's entry if that is due.
    pub(super) fn tick(&self, store: &mut dyn Store, now: Timestamp) {
        let known = &mut *self.known.borrow_mut();
        if !known.is_limited() {
            return;
        }
        if let Ok(stored) = store.read(&self.key) {
            known.learn(self.worker, stored.as_ref().map(|stored| stored.bytes.as_slice()));
        }
        known.others.iter_mut().for_each(|seen| seen.ticks = seen.ticks.saturating_add(1));
        known.since_write = known.since_write.saturating_add(1);
        let is_old = known.since_write > RENEW_TICKS
            || now.since(known.renewed_at) >= RENEW_AFTER
            || now < known.renewed_at;
        let is_due = is_old && (known.own > 0 || known.has_gone());
        if is_due || known.is_outdated || !known.signals.is_empty() {
            known.renewed_at = now;
            known.write(store, self.worker, &self.key);
        }
    }

    /// Whether nothing is in flight on this worker.
    pub(super) fn is_idle(&self) -> bool {
        self.known.borrow().own == 0
    }
}

impl Known {
    fn is_limited(&self) -> bool {
        self.limited.strong_count() > 0
    }

    fn used(&self) -> u32 {
        let others = self.others.iter().filter(|seen| !seen.is_gone());
        others.fold(self.own, |sum, seen| sum.saturating_add(seen.entry.places))
    }

    fn most(&self, most: MaxPending) -> u32 {
        match (most, &self.adaptive) {
            (MaxPending::Fixed(most), _) => most,
            (MaxPending::Adaptive(bounds), Some(adaptive)) => adaptive.limit(bounds),
            (MaxPending::Adaptive(bounds), None) => AdaptiveLimit::new().limit(bounds),
        }
    }

    fn has_gone(&self) -> bool {
        self.others.iter().any(Seen::is_gone)
    }

    fn written(&mut self, adaptive: Option<AdaptiveLimit>) {
        self.beat = self.beat.wrapping_add(1);
        self.since_write = 0;
        self.is_outdated = false;
        self.signals.clear();
        self.adaptive = adaptive;
    }

    /// Takes in a record. An entry that is as before keeps its age.
    fn learn(&mut self, worker: u64, bytes: Option<&[u8]>) {
        let before = std::mem::take(&mut self.others);
        let Some((adaptive, entries)) = bytes.and_then(decode) else { return };
        self.adaptive = adaptive.or_else(|| self.adaptive.take());
        self.others = entries
            .filter(|entry| entry.worker != worker)
            .map(|entry| {
                before.iter().find(|seen| seen.entry == entry).copied().unwrap_or(Seen { entry, ticks: 0 })
            })
            .collect();
    }

    /// The adaptive limit with all that has been noted. `used` are in flight, one of them sent at `sent` if given.
    fn adapted(&self, used: u32, sent: Option<Timestamp>) -> Option<AdaptiveLimit> {
        let Some(bounds) = self.bounds else { return self.adaptive.clone() };
        let mut adaptive = self.adaptive.clone().unwrap_or_else(AdaptiveLimit::new);
        for signal in &self.signals {
            adaptive.learn(*signal, used, bounds);
        }
        if let Some(now) = sent {
            adaptive.sent(used, bounds, now);
        }
        Some(adaptive)
    }

    fn write(&mut self, store: &mut dyn Store, worker: u64, key: &str) {
        let used = self.used();
        self.write_with(store, worker, key, used);
    }

    /// Writes what this worker has. `used` were in flight when its signals came.
    fn write_with(&mut self, store: &mut dyn Store, worker: u64, key: &str, used: u32) {
        let own = self.own;
        let written = update(store, key, |bytes| {
            self.learn(worker, bytes);
            let adaptive = self.adapted(used.max(self.used()), None);
            let bytes = self.encode(worker, own, adaptive.as_ref());
            (adaptive, Some(bytes))
        });
        match written {
            Some(adaptive) => self.written(adaptive),
            // The next tick tries again.
            None => {
                self.adaptive = self.adapted(used, None);
                self.signals.clear();
                self.is_outdated = true;
            }
        }
    }

    /// The record with so many places of this worker, and without those that are gone.
    fn encode(&self, worker: u64, own: u32, adaptive: Option<&AdaptiveLimit>) -> Vec<u8> {
        let own = Entry { worker, places: own, beat: self.beat.wrapping_add(1) };
        let others = self.others.iter().filter(|seen| !seen.is_gone()).map(|seen| seen.entry);
        let mut bytes = vec![VERSION, u8::from(adaptive.is_some())];
        adaptive.into_iter().for_each(|adaptive| adaptive.encode(&mut bytes));
        for entry in others.chain((own.places > 0).then_some(own)).take(MAX_HOLDERS) {
            bytes.extend(entry.worker.to_le_bytes());
            bytes.extend(entry.places.to_le_bytes());
            bytes.extend(entry.beat.to_le_bytes());
        }
        bytes
    }
}

/// The adaptive limit of a record, if it has one, and its entries.
fn decode(bytes: &[u8]) -> Option<(Option<AdaptiveLimit>, impl Iterator<Item = Entry>)> {
    let (&[VERSION, has_limit], rest) = bytes.split_first_chunk::<2>()? else { return None };
    let (limit, entries) = rest.split_at_checked(if has_limit == 1 { ADAPTIVE_BYTES } else { 0 })?;
    let entry = |bytes: &[u8]| {
        let (worker, rest) = bytes.split_first_chunk::<8>()?;
        let (places, rest) = rest.split_first_chunk::<4>()?;
        let (beat, _) = rest.split_first_chunk::<4>()?;
        Some(Entry {
            worker: u64::from_le_bytes(*worker),
            places: u32::from_le_bytes(*places),
            beat: u32::from_le_bytes(*beat),
        })
    };
    Some((AdaptiveLimit::decode(limit), entries.chunks_exact(ENTRY_BYTES).filter_map(entry)))
}
