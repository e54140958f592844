//! Attempts in flight at targets and accounts, for `max_pending`: exactly, over all workers.
//!
//! **Exact.** Where attempts are limited, a place is taken in the shared record before the attempt is sent and given
//! back when it is over. Each worker has one entry there with the number of its places.
//!
//! **Without a limit** a worker counts its attempts in its own memory only. If a later configuration limits them, it
//! writes down those that are still in flight.
//!
//! **After a crash.** A worker renews its entries on its tick. One that stays as it is for 30 ticks of
//! the worker that looks belongs to a worker that is gone, and no longer counts. Ticks are counted and not time: while
//! the process is paused, no worker ticks, so none loses its places.
//!
//! **Lifetime.** The places belong to the VM and are kept by name. So attempts that began before a change of the
//! configuration still count, and an adaptive limit stays what it was.
//!
//! If the shared data fails, what this worker knows decides.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::place::Place;
use crate::base::{Store, Timestamp};

/// Ticks of several root contexts of one VM count once.
const TICK: Duration = Duration::from_millis(90);

/// The places of one worker at all targets and accounts.
#[derive(Debug)]
pub struct Places {
    worker: u64,
    by_key: BTreeMap<Rc<str>, Rc<Place>>,
    ticked_at: Timestamp,
}

impl Places {
    /// `worker` is a random number unique to this worker.
    pub const fn new(worker: u64) -> Self {
        Self { worker, by_key: BTreeMap::new(), ticked_at: Timestamp::from_millis(0) }
    }

    /// The places with this name.
    pub fn at(&mut self, key: &str) -> Rc<Place> {
        if let Some(place) = self.by_key.get(key) {
            return Rc::clone(place);
        }
        let key: Rc<str> = key.into();
        let place = Rc::new(Place::new(self.worker, Rc::clone(&key)));
        self.by_key.insert(key, Rc::clone(&place));
        place
    }

    /// Reads what the others have, and renews this worker's entries. To be called on each tick.
    pub fn tick(&mut self, store: &mut dyn Store, now: Timestamp) {
        if now >= self.ticked_at && now.since(self.ticked_at) < TICK {
            return;
        }
        self.ticked_at = now;
        self.by_key.values().for_each(|place| place.tick(store, now));
        // Those that no configuration and no attempt uses any more.
        self.by_key.retain(|_, place| Rc::strong_count(place) > 1 || !place.is_idle());
    }
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
