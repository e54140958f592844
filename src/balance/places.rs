//! The places of `max_pending`: attempts in flight at a target or account, exactly, over all workers.
//!
//! **Exact.** A place is taken in the shared record before the attempt is sent and given back when it is over. Each
//! worker has one entry there with the number of its places.
//!
//! **After a crash.** A worker renews its entries on its tick. One that stays as it is for [`GONE_AFTER_TICKS`] ticks of
//! the worker that looks belongs to a worker that is gone, and no longer counts. Ticks are counted and not time: while
//! the process is paused, no worker ticks, so none loses its places.
//!
//! **Lifetime.** The places belong to the VM and are kept by name. So attempts that began before a change of the
//! configuration still count.
//!
//! If the shared data fails, what this worker knows decides.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::base::{MAX_TRIES, Store, Timestamp, update};

/// The most workers with attempts in flight at one target or account. A further one waits.
pub const MAX_HOLDERS: usize = 1024;
/// An entry that does not change for so many ticks belongs to a worker that is gone: 3 s.
const GONE_AFTER_TICKS: u32 = 30;
/// A worker renews its entries every so many ticks.
const RENEW_TICKS: u32 = 10;
/// Ticks of several root contexts of one VM count once.
const TICK: Duration = Duration::from_millis(90);
const VERSION: u8 = 1;
const ENTRY_BYTES: usize = 8 + 4 + 4;

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

/// What one worker knows of one record.
#[derive(Debug, Default)]
struct Known {
    own: u32,
    beat: u32,
    since_write: u32,
    others: Vec<Seen>,
}

/// The places of one worker at all targets and accounts with a `max_pending`.
#[derive(Debug)]
pub struct Places {
    worker: u64,
    by_key: BTreeMap<Rc<str>, Known>,
    ticked_at: Timestamp,
}

impl Places {
    /// `worker` is a random number unique to this worker.
    pub const fn new(worker: u64) -> Self {
        Self { worker, by_key: BTreeMap::new(), ticked_at: Timestamp::from_millis(0) }
    }

    /// Places in use, as far as this worker knows.
    pub fn used(&self, key: &str) -> u32 {
        self.by_key.get(key).map_or(0, Known::used)
    }

    /// Takes a place if fewer than `most` are in use. Without a `most` one is taken in any case.
    #[must_use]
    pub fn take(&mut self, store: &mut dyn Store, key: &Rc<str>, most: Option<u32>) -> bool {
        let worker = self.worker;
        let known = self.by_key.entry(Rc::clone(key)).or_default();
        let mut tries = 0;
        let taken = update(store, key, |bytes| {
            tries += 1;
            known.learn(worker, bytes);
            let fits = most.is_none_or(|most| known.used() < most) && known.others.len() < MAX_HOLDERS;
            (fits, fits.then(|| known.encode(worker, known.own.saturating_add(1))))
        });
        // After so many lost races the record is busy, not broken: the request tries again later.
        let taken = taken.unwrap_or_else(|| tries < MAX_TRIES && most.is_none_or(|most| known.used() < most));
        if taken {
            known.own = known.own.saturating_add(1);
            known.written();
        }
        taken
    }

    /// Gives a place back.
    pub fn give_back(&mut self, store: &mut dyn Store, key: &Rc<str>) {
        let worker = self.worker;
        let Some(known) = self.by_key.get_mut(key) else { return };
        known.own = known.own.saturating_sub(1);
        if known.write(store, worker, key) {
            known.written();
        } else {
            known.since_write = RENEW_TICKS;
        }
    }

    /// Reads what the others have, and renews this worker's entries. To be called on each tick.
    pub fn tick(&mut self, store: &mut dyn Store, now: Timestamp) {
        if now >= self.ticked_at && now.since(self.ticked_at) < TICK {
            return;
        }
        self.ticked_at = now;
        let worker = self.worker;
        for (key, known) in &mut self.by_key {
            if let Ok(stored) = store.read(key) {
                known.learn(worker, stored.as_ref().map(|stored| stored.bytes.as_slice()));
            }
            known.others.iter_mut().for_each(|seen| seen.ticks = seen.ticks.saturating_add(1));
            known.since_write = known.since_write.saturating_add(1);
            let unsaved = known.since_write > RENEW_TICKS;
            if unsaved && (known.own > 0 || known.has_gone()) && known.write(store, worker, key) {
                known.written();
            }
        }
        self.by_key
            .retain(|_, known| known.own > 0 || !known.others.is_empty() || known.since_write <= RENEW_TICKS);
    }
}

impl Known {
    fn used(&self) -> u32 {
        let others = self.others.iter().filter(|seen| !seen.is_gone());
        others.fold(self.own, |sum, seen| sum.saturating_add(seen.entry.places))
    }

    fn has_gone(&self) -> bool {
        self.others.iter().any(Seen::is_gone)
    }

    const fn written(&mut self) {
        self.beat = self.beat.wrapping_add(1);
        self.since_write = 0;
    }

    /// Takes in a record. An entry that is as before keeps its age.
    fn learn(&mut self, worker: u64, bytes: Option<&[u8]>) {
        let before = std::mem::take(&mut self.others);
        let entries =
            bytes.map(decode).unwrap_or_default().into_iter().filter(|entry| entry.worker != worker);
        self.others = entries
            .map(|entry| {
                before.iter().find(|seen| seen.entry == entry).copied().unwrap_or(Seen { entry, ticks: 0 })
            })
            .collect();
    }

    fn write(&mut self, store: &mut dyn Store, worker: u64, key: &str) -> bool {
        let own = self.own;
        let written = update(store, key, |bytes| {
            self.learn(worker, bytes);
            ((), Some(self.encode(worker, own)))
        });
        written.is_some()
    }

    /// The record with so many places of this worker, and without those that are gone.
    fn encode(&self, worker: u64, own: u32) -> Vec<u8> {
        let own = Entry { worker, places: own, beat: self.beat.wrapping_add(1) };
        let others = self.others.iter().filter(|seen| !seen.is_gone()).map(|seen| seen.entry);
        let mut bytes = vec![VERSION];
        for entry in others.chain((own.places > 0).then_some(own)) {
            bytes.extend(entry.worker.to_le_bytes());
            bytes.extend(entry.places.to_le_bytes());
            bytes.extend(entry.beat.to_le_bytes());
        }
        bytes
    }
}

fn decode(bytes: &[u8]) -> Vec<Entry> {
    let Some((&VERSION, entries)) = bytes.split_first() else { return Vec::new() };
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
    entries.chunks_exact(ENTRY_BYTES).filter_map(entry).collect()
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
