use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::balance::adaptive::{LoadSign, LoadSignal};
use crate::balance::place::{GONE_AFTER_TICKS, Limited, MAX_HOLDERS, MAX_SIGNALS, RENEW_TICKS};
use crate::base::memory::{Memory, Shelf};
use crate::config::{MaxPending, PendingBounds};

const KEY: &str = "k";

struct Side {
    places: Places,
    place: Rc<Place>,
    /// The configurations with a limit.
    limited: Vec<Limited>,
    store: Memory<'static>,
    /// What is in flight there. A crash ends it.
    held: u32,
}

fn side(id: u64, shelf: &Rc<RefCell<Shelf>>) -> Side {
    let mut places = Places::new(id);
    let place = places.at(KEY);
    Side { places, place, limited: Vec::new(), store: Memory::on(Rc::clone(shelf)), held: 0 }
}

/// Workers whose configurations limit the attempts in flight.
fn sides(count: u64) -> Vec<Side> {
    let shelf: Rc<RefCell<Shelf>> = Rc::default();
    let mut sides: Vec<_> = (1..=count).map(|id| side(id, &shelf)).collect();
    sides.iter_mut().for_each(|side| side.configure(MaxPending::Fixed(1)));
    sides
}

impl Side {
    fn configure(&mut self, most: MaxPending) {
        self.limited.push(self.place.limit(&mut self.store, most));
    }

    fn take_of(&mut self, most: MaxPending, now: Timestamp) -> bool {
        let taken = self.place.take(&mut self.store, most, now);
        self.held += u32::from(taken);
        taken
    }

    fn take(&mut self, most: u32) -> bool {
        self.take_of(MaxPending::Fixed(most), at(0))
    }

    fn give_back(&mut self) {
        if self.held > 0 {
            self.held -= 1;
            self.place.give_back(&mut self.store);
        }
    }

    fn tick(&mut self, tick: u64) {
        self.places.tick(&mut self.store, at(tick));
    }

    /// The VM is replaced by one with this number.
    fn crash(&mut self, id: u64) {
        self.places = Places::new(id);
        self.place = self.places.at(KEY);
        self.held = 0;
        self.limited.clear();
        self.configure(MaxPending::Fixed(1));
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
        let mut sides = sides(4);
        let (mut tick, mut next_id, mut crashed) = (0_u64, 100_u64, false);
        for (step, which) in steps {
            match step {
                0..=4 => {
                    let before: u32 = sides.iter().map(|side| side.held).sum();
                    let taken = sides[which].take(most);
                    prop_assert!(crashed || taken == (before < most), "a refusal must be due to the limit");
                }
                5..=8 => sides[which].give_back(),
                // Each worker ticks, so none seems gone.
                9 | 10 => {
                    tick += 1;
                    sides.iter_mut().for_each(|side| side.tick(tick));
                }
                _ => {
                    crashed |= sides[which].held > 0;
                    sides[which].crash(next_id);
                    next_id += 1;
                }
            }
            prop_assert!(sides.iter().map(|side| side.held).sum::<u32>() <= most);
        }
        // What a crash has left behind is free again once its time has passed.
        for _ in 0..(GONE_AFTER_TICKS + RENEW_TICKS + 2) {
            tick += 1;
            sides.iter_mut().for_each(|side| side.tick(tick));
        }
        let held: u32 = sides.iter().map(|side| side.held).sum();
        let free = (0..most + 1).filter(|_| sides[0].take(most)).count();
        prop_assert_eq!(u32::try_from(free).unwrap(), most - held);
    }

    #[test]
    fn a_record_of_any_bytes_is_read(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), now in 0_u64..9) {
        let shelf: Rc<RefCell<Shelf>> = Rc::default();
        let bounds = PendingBounds { min: 2, max: 5 };
        for version in [None, Some(2)] {
            if let (Some(version), Some(first)) = (version, bytes.first_mut()) {
                *first = version;
            }
            let mut writer = Memory::on(Rc::clone(&shelf));
            crate::base::update(&mut writer, KEY, |_| ((), Some(&bytes)));
            let mut side = side(1, &shelf);
            side.configure(MaxPending::Adaptive(bounds));
            side.tick(now);
            prop_assert!((2..=5).contains(&side.place.most(MaxPending::Adaptive(bounds))));
            let _ = side.take_of(MaxPending::Adaptive(bounds), at(now));
        }
    }

    #[test]
    fn attempts_that_began_without_a_limit_count_once_there_is_one(
        before in proptest::collection::vec(0_u32..4, 3), most in 1_u32..9
    ) {
        let shelf: Rc<RefCell<Shelf>> = Rc::default();
        let mut sides: Vec<_> = (1..=3).map(|id| side(id, &shelf)).collect();
        for (side, before) in sides.iter_mut().zip(&before) {
            (0..*before).for_each(|_| side.place.count(&mut side.store));
            side.held = *before;
            prop_assert!(shelf.borrow().records.is_empty(), "nothing is shared without a limit");
        }
        for side in &mut sides {
            side.configure(MaxPending::Fixed(most));
        }
        let sum: u32 = before.iter().sum();
        let free = (0..10).filter(|turn| sides[turn % 3].take(most)).count();
        prop_assert_eq!(u32::try_from(free).unwrap(), most.saturating_sub(sum).min(10));
        // They give back what they hold like all others.
        for side in &mut sides {
            while side.held > 0 {
                side.give_back();
            }
        }
        sides.iter_mut().for_each(|side| side.tick(1));
        prop_assert!(sides.iter().all(|side| side.place.used() == 0));
    }
}

#[test]
fn the_places_of_a_crashed_worker_are_free_after_its_time_and_not_before() {
    let mut sides = sides(2);
    assert!(sides[0].take(2) && sides[0].take(2));
    assert!(!sides[1].take(2));
    for tick in 1..u64::from(GONE_AFTER_TICKS) {
        sides[1].tick(tick);
        assert!(!sides[1].take(2), "{tick}");
    }
    let side = &mut sides[1];
    side.tick(GONE_AFTER_TICKS.into());
    assert!(side.take(2) && side.take(2) && !side.take(2));
}

#[test]
fn an_attempt_of_many_minutes_keeps_its_place_and_a_pause_takes_none() {
    let mut sides = sides(2);
    assert!(sides[0].take(1));
    for tick in 1..5_000 {
        sides.iter_mut().for_each(|side| side.tick(tick));
        assert!(!sides[1].take(1), "{tick}");
    }
    // An hour without a tick of any worker.
    sides[1].places.tick(&mut Memory::new(), at(50_000));
    assert!(!sides[1].take(1));
    sides[0].give_back();
    assert!(sides[1].take(1));
}

#[test]
fn a_worker_whose_ticks_are_slow_keeps_its_places() {
    let mut sides = sides(2);
    assert!(sides[0].take(1));
    for tick in 1..2_000 {
        // The worker is busy: its ticks come every 700 ms, and once nothing comes for two seconds.
        if tick % 7 == 0 && !(1_000..1_020).contains(&tick) {
            sides[0].tick(tick);
        }
        sides[1].tick(tick);
        assert!(!sides[1].take(1), "{tick}");
    }
}

#[test]
fn what_was_given_back_without_a_limit_is_free_once_there_is_one_again() {
    let mut sides = sides(2);
    assert!(sides[0].take(1));
    sides[0].limited.clear();
    sides[0].give_back();
    assert!(!sides[1].take(1), "nothing is written without a limit");
    sides[0].configure(MaxPending::Fixed(1));
    assert!(sides[1].take(1));
}

#[test]
fn ticks_of_several_contexts_count_once() {
    let mut sides = sides(2);
    assert!(sides[0].take(1) && !sides[1].take(1));
    (0..100).for_each(|_| sides[1].tick(1));
    assert!(!sides[1].take(1));
}

#[test]
fn the_holders_of_a_record_are_bounded() {
    let mut sides = sides(MAX_HOLDERS as u64 + 1);
    for (number, side) in sides.iter_mut().enumerate() {
        assert_eq!(side.take(u32::MAX), number < MAX_HOLDERS, "{number}");
    }
}

#[test]
fn a_limit_that_is_gone_costs_nothing_and_its_places_are_forgotten() {
    let mut sides = sides(1);
    let side = &mut sides[0];
    assert!(side.take(1));
    side.limited.clear();
    let shared = side.store.calls;
    side.place.count(&mut side.store);
    side.give_back();
    side.tick(1);
    assert_eq!(side.store.calls, shared);
    side.place.give_back(&mut side.store);
    side.place = Rc::new(Place::new(9, "other".into()));
    side.tick(3);
    assert!(side.places.by_key.is_empty());
}

#[test]
fn workers_share_an_adaptive_limit_and_a_new_configuration_keeps_it_within_its_bounds() {
    let (wide, narrow) = (PendingBounds { min: 1, max: 100 }, PendingBounds { min: 1, max: 6 });
    let adaptive = MaxPending::Adaptive;
    let mut sides = sides(2);
    sides.iter_mut().for_each(|side| side.configure(adaptive(wide)));
    let answered = |tick| LoadSignal { sent_at: at(tick), at: at(tick), sign: LoadSign::Answered(None) };
    // All places are used, half of them on each worker, and each answer raises the limit.
    let mut in_flight = 0;
    for tick in 1..40 {
        let side = &mut sides[tick as usize % 2];
        while side.take_of(adaptive(wide), at(tick)) {
            in_flight += 1;
        }
        side.place.note(answered(tick));
        side.give_back();
        in_flight -= 1;
        assert_eq!(in_flight, sides.iter().map(|side| side.held).sum::<u32>());
    }
    sides.iter_mut().for_each(|side| side.tick(50));
    let limits = |sides: &[Side], bounds| [0, 1].map(|index| sides[index].place.most(adaptive(bounds)));
    assert_eq!(limits(&sides, wide), [4 + 39, 4 + 39]);
    sides.iter_mut().for_each(|side| side.configure(adaptive(narrow)));
    assert_eq!(limits(&sides, narrow), [6, 6]);
    // One refusal that one worker sees lowers the limit of both, and a crash does not lose it.
    while sides[0].held + sides[1].held > 6 {
        sides.iter_mut().find(|side| side.held > 0).unwrap().give_back();
    }
    let sign = LoadSign::Overloaded;
    sides[0].place.note(LoadSignal { sent_at: at(60), at: at(60), sign });
    sides[0].tick(61);
    sides[0].crash(7);
    sides.iter_mut().for_each(|side| side.tick(62));
    assert_eq!(limits(&sides, narrow), [4, 4]);
}

#[test]
fn an_adaptive_limit_costs_no_more_calls_than_a_fixed_one() {
    let bounds = PendingBounds { min: 1, max: 9 };
    let calls = |most| {
        let mut sides = sides(1);
        let side = &mut sides[0];
        side.configure(most);
        let before = side.store.calls;
        assert!(side.take_of(most, at(1)));
        let sign = LoadSign::Overloaded;
        side.place.note(LoadSignal { sent_at: at(1), at: at(1), sign });
        side.give_back();
        side.store.calls - before
    };
    assert_eq!([MaxPending::Fixed(9), MaxPending::Adaptive(bounds)].map(calls), [4, 4]);
}

#[test]
fn signals_that_wait_for_the_next_write_are_bounded() {
    let bounds = PendingBounds { min: 1, max: 1_000 };
    let mut sides = sides(1);
    let side = &mut sides[0];
    side.configure(MaxPending::Adaptive(bounds));
    while side.take_of(MaxPending::Adaptive(bounds), at(1)) {}
    let sign = LoadSign::Answered(None);
    (0..1_000).for_each(|_| side.place.note(LoadSignal { sent_at: at(1), at: at(1), sign }));
    side.tick(2);
    assert_eq!(side.place.most(MaxPending::Adaptive(bounds)), 4 + MAX_SIGNALS as u32);
}
