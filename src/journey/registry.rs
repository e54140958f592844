//! The journeys that one worker keeps between the attempts of a request.
//!
//! Journeys belong to the VM and not to a configured filter: after a change of the configuration, the next
//! attempt of a request may come through another root context.
//!
//! A crash of the VM loses its journeys and the requests in it. Envoy answers 503 for those, past all
//! filters, so the edge does not retry. If an attempt begins after the crash, the new VM starts a journey
//! that counts the attempts before it (`ClientRequest::forgotten`). Breakers and budgets are in shared data
//! and survive.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::time::Duration;

use super::journey::Journey;
use crate::balance::Places;
use crate::base::{Timestamp, fnv1a, mix};
use crate::intake::{HeldBytes, JourneyId};

/// How long a journey waits for the attempt that it asked for. Envoy's back-off in the loop is two
/// milliseconds, so five seconds are enough even for an event loop that is far behind. If Envoy has given
/// up, the journey still ends soon.
pub const ORPHAN_AFTER: Duration = Duration::from_secs(5);

/// A journey as attempts and the registry share it. Attempts of one request may be in flight at the same
/// time.
pub type SharedJourney = Rc<RefCell<Journey>>;

/// Journeys by id. Their number is limited, and a journey whose next attempt never comes ends.
#[derive(Debug, Default)]
pub struct Journeys {
    kept: HashMap<JourneyId, Kept, BuildHasherDefault<IdHasher>>,
    /// When each wait ends, in the order in which the waits began. An entry whose wait has already ended is
    /// recognised by its serial number and skipped.
    waits: VecDeque<(Timestamp, JourneyId, u64)>,
    next_wait: u64,
    /// What the bodies of all requests of this VM take in Envoy's buffers, kept or not.
    bodies: Rc<HeldBytes>,
    /// The places that attempts of this VM have taken. Like journeys, they outlive a configuration.
    places: Option<Rc<RefCell<Places>>>,
}

/// The hash of a journey's id. The edge makes each id at random and overwrites what a client sends, so no client can
/// choose ids that collide, and a keyed hash would only cost time.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = fnv1a(self.0, bytes);
    }

    fn write_u128(&mut self, id: u128) {
        // Both halves; the casts cut on purpose.
        self.0 = mix(id as u64 ^ (id >> 64) as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
struct Kept {
    journey: SharedJourney,
    in_flight: u32,
    /// The serial number of the wait for the next attempt, if it waits for one.
    waiting: Option<u64>,
}

impl Journeys {
    /// The count of the bytes that requests hold.
    pub const fn bodies(&self) -> &Rc<HeldBytes> {
        &self.bodies
    }

    /// The places of this VM. `worker` is a random number for a VM that has none yet.
    pub fn places(&mut self, worker: u64) -> Rc<RefCell<Places>> {
        Rc::clone(self.places.get_or_insert_with(|| Rc::new(RefCell::new(Places::new(worker)))))
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Keeps a journey whose first attempt begins now; `false` when `limit` are kept already or the id is
    /// taken.
    pub fn begin(&mut self, id: JourneyId, journey: SharedJourney, limit: usize) -> bool {
        if self.kept.len() >= limit || self.kept.contains_key(&id) {
            return false;
        }
        self.kept.insert(id, Kept { journey, in_flight: 1, waiting: None });
        true
    }

    /// The journey that a further attempt belongs to; the attempt counts as in flight from now.
    pub fn rejoin(&mut self, id: JourneyId) -> Option<SharedJourney> {
        let kept = self.kept.get_mut(&id)?;
        kept.in_flight += 1;
        kept.waiting = None;
        Some(Rc::clone(&kept.journey))
    }

    /// An attempt has ended. `expects_another` says that the edge was asked for one, or may start one by
    /// itself. Returns the journey if it is over.
    pub fn leave(&mut self, id: JourneyId, expects_another: bool, now: Timestamp) -> Option<SharedJourney> {
        let kept = self.kept.get_mut(&id)?;
        kept.in_flight = kept.in_flight.saturating_sub(1);
        if kept.in_flight > 0 {
            return None;
        }
        if !expects_another {
            return self.kept.remove(&id).map(|kept| kept.journey);
        }
        let serial = self.next_wait;
        self.next_wait = self.next_wait.wrapping_add(1);
        kept.waiting = Some(serial);
        self.waits.push_back((now.after(ORPHAN_AFTER), id, serial));
        None
    }

    /// The response of an attempt has reached its client, though the attempt's stream is still open. Returns
    /// the journey, which is over, unless another attempt is in flight.
    pub fn answered(&mut self, id: JourneyId) -> Option<SharedJourney> {
        self.kept.get(&id).filter(|kept| kept.in_flight == 1)?;
        self.kept.remove(&id).map(|kept| kept.journey)
    }

    /// This worker could do nothing for this long before `now`, so no wait counts that time.
    pub fn excuse(&mut self, pause: Duration, now: Timestamp) {
        self.waits.iter_mut().for_each(|(at, ..)| *at = at.after(pause).min(now.after(ORPHAN_AFTER)));
    }

    /// Ends the journeys whose next attempt never came and returns them.
    pub fn expire(&mut self, now: Timestamp) -> Vec<SharedJourney> {
        let mut orphans = Vec::new();
        while let Some((deadline, id, serial)) = self.waits.front().copied() {
            let over = self.kept.get(&id).is_none_or(|kept| kept.waiting != Some(serial));
            // A clock that stepped back far must not keep orphans for hours. Twice the wait, because the
            // recorded start of the wait may be a little late.
            let due = deadline <= now || deadline.since(now) > ORPHAN_AFTER * 2;
            if !over && !due {
                break;
            }
            self.waits.pop_front();
            if !over {
                orphans.extend(self.kept.remove(&id).map(|kept| kept.journey));
            }
        }
        orphans
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journey::test_support::some_journey;
    use proptest::prelude::*;

    fn id(n: u128) -> JourneyId {
        JourneyId::parse(&format!("{n:032x}")).unwrap()
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    #[test]
    fn a_journey_lives_while_it_has_an_attempt_or_expects_one() {
        let mut journeys = Journeys::default();
        assert!(journeys.begin(id(1), some_journey(), 10));
        assert!(journeys.leave(id(1), true, at(0)).is_none());
        assert!(journeys.rejoin(id(1)).is_some());
        assert_eq!(journeys.expire(at(60_000)).len(), 0, "an attempt is under way");
        assert!(journeys.leave(id(1), false, at(60_000)).is_some());
        assert!(journeys.is_empty());
        assert!(journeys.rejoin(id(1)).is_none());
    }

    #[test]
    fn two_attempts_in_flight_keep_one_journey() {
        let mut journeys = Journeys::default();
        journeys.begin(id(1), some_journey(), 10);
        journeys.rejoin(id(1)).unwrap();
        assert!(journeys.leave(id(1), false, at(0)).is_none(), "the other attempt is still under way");
        assert!(journeys.leave(id(1), false, at(0)).is_some());
    }

    #[test]
    fn an_answered_journey_ends_at_once_unless_another_attempt_is_in_flight() {
        let mut journeys = Journeys::default();
        journeys.begin(id(1), some_journey(), 10);
        journeys.rejoin(id(1)).unwrap();
        assert!(journeys.answered(id(1)).is_none());
        assert!(journeys.leave(id(1), false, at(0)).is_none());
        assert!(journeys.answered(id(1)).is_some());
        assert!(journeys.is_empty() && journeys.answered(id(1)).is_none());
    }

    #[test]
    fn an_orphan_ends_after_its_time() {
        let mut journeys = Journeys::default();
        journeys.begin(id(1), some_journey(), 10);
        journeys.leave(id(1), true, at(0));
        assert_eq!(journeys.expire(at(4_999)).len(), 0);
        assert_eq!(journeys.expire(at(5_000)).len(), 1);
        assert!(journeys.is_empty());
    }

    #[test]
    fn a_pause_does_not_make_orphans() {
        let mut journeys = Journeys::default();
        journeys.begin(id(1), some_journey(), 10);
        journeys.leave(id(1), true, at(0));
        journeys.excuse(Duration::from_secs(60), at(60_050));
        assert_eq!(journeys.expire(at(60_100)).len(), 0);
        assert_eq!(journeys.expire(at(65_000)).len(), 1);
    }

    #[test]
    fn a_clock_that_stepped_back_does_not_keep_orphans() {
        let mut journeys = Journeys::default();
        journeys.begin(id(1), some_journey(), 10);
        journeys.leave(id(1), true, at(3_600_000));
        assert_eq!(journeys.expire(at(0)).len(), 1);
    }

    #[test]
    fn the_limit_holds_and_two_requests_never_share_an_id() {
        let mut journeys = Journeys::default();
        assert!(journeys.begin(id(1), some_journey(), 2));
        assert!(!journeys.begin(id(1), some_journey(), 2));
        assert!(journeys.begin(id(2), some_journey(), 2));
        assert!(!journeys.begin(id(3), some_journey(), 2));
    }

    #[test]
    fn a_wait_that_began_a_little_in_the_future_is_no_orphan() {
        let mut journeys = Journeys::default();
        journeys.begin(id(1), some_journey(), 10);
        journeys.leave(id(1), true, at(100));
        assert_eq!(journeys.expire(at(0)).len(), 0);
    }

    proptest! {
        /// Whatever happens, in whatever order: once every attempt has ended and time has passed, nothing
        /// is left.
        #[test]
        fn nothing_is_kept_for_ever(
            steps in proptest::collection::vec((0_u8..4, 0_u128..4, any::<bool>(), 0_u64..20_000), 0..200)
        ) {
            let mut journeys = Journeys::default();
            let mut in_flight = [0_u32; 4];
            let mut now = 0;
            for (step, journey, flag, time) in steps {
                let slot = &mut in_flight[journey as usize];
                match step {
                    0 => *slot += u32::from(journeys.begin(id(journey), some_journey(), 3)),
                    1 => *slot += u32::from(journeys.rejoin(id(journey)).is_some()),
                    2 if *slot > 0 => {
                        journeys.leave(id(journey), flag, at(now));
                        *slot -= 1;
                    }
                    // The clock moves, sometimes backwards.
                    _ => { now = time; journeys.expire(at(now)); }
                }
                prop_assert!(journeys.len() <= 3);
            }
            for (journey, count) in in_flight.into_iter().enumerate() {
                for _ in 0..count {
                    journeys.leave(id(journey as u128), true, at(now));
                }
            }
            journeys.expire(at(now + 50_000));
            prop_assert!(journeys.is_empty());
            prop_assert!(journeys.waits.is_empty());
        }
    }
}
