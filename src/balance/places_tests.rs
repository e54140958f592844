use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::base::memory::{Memory, Shelf};

struct Side {
    places: Places,
    store: Memory<'static>,
    /// What is in flight there. A crash ends it.
    held: u32,
}

fn sides(count: u64) -> (Vec<Side>, Rc<str>) {
    let shelf: Rc<RefCell<Shelf>> = Rc::default();
    let side = |id| Side { places: Places::new(id), store: Memory::on(Rc::clone(&shelf)), held: 0 };
    ((1..=count).map(side).collect(), "k".into())
}

impl Side {
    fn take(&mut self, key: &Rc<str>, most: u32) -> bool {
        let taken = self.places.take(&mut self.store, key, Some(most));
        self.held += u32::from(taken);
        taken
    }

    fn give_back(&mut self, key: &Rc<str>) {
        if self.held > 0 {
            self.held -= 1;
            self.places.give_back(&mut self.store, key);
        }
    }
}

fn at(tick: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + tick * 100)
}

proptest! {
    #[test]
    fn never_more_than_the_limit_and_all_of_it_is_usable(
        steps in proptest::collection::vec((0_u8..12, 0_usize..4), 1..300), most in 1_u32..6
    ) {
        let (mut sides, key) = sides(4);
        let (mut tick, mut next_id, mut crashed) = (0_u64, 100_u64, false);
        for (step, which) in steps {
            match step {
                0..=4 => {
                    let before: u32 = sides.iter().map(|side| side.held).sum();
                    let taken = sides[which].take(&key, most);
                    prop_assert!(crashed || taken == (before < most), "a refusal must be due to the limit");
                }
                5..=8 => sides[which].give_back(&key),
                // Each worker ticks, so none seems gone.
                9 | 10 => {
                    tick += 1;
                    for side in &mut sides {
                        side.places.tick(&mut side.store, at(tick));
                    }
                }
                _ => {
                    crashed |= sides[which].held > 0;
                    sides[which].places = Places::new(next_id);
                    (sides[which].held, next_id) = (0, next_id + 1);
                }
            }
            prop_assert!(sides.iter().map(|side| side.held).sum::<u32>() <= most);
        }
        // What a crash has left behind is free again once its time has passed.
        for _ in 0..(GONE_AFTER_TICKS + RENEW_TICKS + 2) {
            tick += 1;
            for side in &mut sides {
                side.places.tick(&mut side.store, at(tick));
            }
        }
        let held: u32 = sides.iter().map(|side| side.held).sum();
        // A worker that has never looked at the record counts what it finds there as alive.
        let free = (0..most + 1).filter(|_| sides[0].take(&key, most)).count();
        if sides[0].places.by_key.len() == 1 && !crashed {
            prop_assert_eq!(u32::try_from(free).unwrap(), most - held);
        }
        prop_assert!(sides.iter().map(|side| side.held).sum::<u32>() <= most);
    }

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(decode(&bytes).len() <= bytes.len() / ENTRY_BYTES);
    }
}

#[test]
fn the_places_of_a_crashed_worker_are_free_after_its_time_and_not_before() {
    let (mut sides, key) = sides(2);
    assert!(sides[0].take(&key, 2) && sides[0].take(&key, 2));
    assert!(!sides[1].take(&key, 2));
    for tick in 1..u64::from(GONE_AFTER_TICKS) {
        let side = &mut sides[1];
        side.places.tick(&mut side.store, at(tick));
        assert!(!side.take(&key, 2), "{tick}");
    }
    let side = &mut sides[1];
    side.places.tick(&mut side.store, at(u64::from(GONE_AFTER_TICKS)));
    assert!(side.take(&key, 2) && side.take(&key, 2) && !side.take(&key, 2));
}

#[test]
fn an_attempt_of_many_minutes_keeps_its_place_and_a_pause_takes_none() {
    let (mut sides, key) = sides(2);
    assert!(sides[0].take(&key, 1));
    for tick in 1..5_000 {
        for side in &mut sides {
            side.places.tick(&mut side.store, at(tick));
        }
        assert!(!sides[1].take(&key, 1), "{tick}");
    }
    // An hour without a tick of any worker.
    sides[1].places.tick(&mut Memory::new(), at(50_000));
    assert!(!sides[1].take(&key, 1));
    sides[0].give_back(&key);
    assert!(sides[1].take(&key, 1));
}

#[test]
fn ticks_of_several_contexts_count_once() {
    let (mut sides, key) = sides(2);
    assert!(sides[0].take(&key, 1) && !sides[1].take(&key, 1));
    for _ in 0..100 {
        let side = &mut sides[1];
        side.places.tick(&mut side.store, at(1));
    }
    assert!(!sides[1].take(&key, 1));
}

#[test]
fn the_holders_of_a_record_are_bounded() {
    let (mut sides, key) = sides(MAX_HOLDERS as u64 + 1);
    for (number, side) in sides.iter_mut().enumerate() {
        assert_eq!(side.take(&key, u32::MAX), number < MAX_HOLDERS, "{number}");
    }
}
