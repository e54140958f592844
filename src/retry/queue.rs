//! Who waits until somebody is free, and in which order they go.
//!
//! **First come, first served** within a priority; a higher priority goes first. Nobody who comes later overtakes.
//!
//! **Why they go a few at a time.** When a rate limit ends, everybody could go at once, and the target would be at its limit
//! again with the first of them. So one goes first; as long as somebody is free twice as many may go in each round, and
//! back to one as soon as nobody is. A hundred that wait are gone within a second, and a target that is still full is asked
//! by one. An attempt that ends lets one more try at once: where the number of attempts under way is what is short, its place
//! is free now, and not with the next round.
//!
//! **One line per worker and model**: what waits is held by the worker that got it, so lines of several workers are not
//! in one order. Their bounds count per worker, too.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::Timestamp;
use crate::config::{Priority, QueuePolicy};

/// How long a round takes: a little less than a worker's tick, so that each tick begins one.
const ROUND: Duration = Duration::from_millis(90);

/// The most that go in one round.
pub const MAX_BURST: usize = 64;

/// A place in the line. Lower places go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    priority: Reverse<Priority>,
    number: u64,
}

/// The line of one model.
#[derive(Debug, Default)]
pub struct Queue {
    /// The bytes of the bodies that wait and since when they do, by place.
    waiting: BTreeMap<Position, (u64, Timestamp)>,
    bytes: u64,
    round: Round,
    /// What the first one waits for is an attempt under way.
    busy: bool,
}

#[derive(Debug, Default)]
struct Round {
    began: Timestamp,
    burst: usize,
    /// How many may still go.
    left: usize,
    /// Somebody found nobody free.
    blocked: bool,
}

impl Queue {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The bytes of the bodies that wait.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Since when the first one waits, whoever goes first.
    pub fn since(&self) -> Option<Timestamp> {
        self.waiting.values().map(|(_, since)| *since).min()
    }

    /// Whether a newcomer of this priority has somebody before it.
    pub fn is_before(&self, priority: Priority) -> bool {
        self.waiting.first_key_value().is_some_and(|(place, _)| place.priority <= Reverse(priority))
    }

    /// Whether a body of so many bytes may still wait.
    pub fn has_room(&self, policy: &QueuePolicy, bytes: u64) -> bool {
        self.waiting.len() < policy.max_waiting
            && self.bytes.saturating_add(bytes) <= policy.max_waiting_bytes
    }

    /// Takes the last place of its priority; `None` when the line is full.
    /// `number` is larger than that of all who came before, also in other lines, so that those who wait for the same target
    /// under several models are in one order.
    pub fn join(
        &mut self,
        (policy, priority): (&QueuePolicy, Priority),
        bytes: u64,
        number: u64,
        now: Timestamp,
    ) -> Option<Position> {
        if !self.has_room(policy, bytes) {
            return None;
        }
        let place = Position { priority: Reverse(priority), number };
        self.waiting.insert(place, (bytes, now));
        self.bytes = self.bytes.saturating_add(bytes);
        Some(place)
    }

    /// Gives a place up, whether its holder goes or leaves.
    pub fn leave(&mut self, place: Position) {
        if let Some((bytes, _)) = self.waiting.remove(&place) {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// Whether it is this place's turn to see who is free.
    pub fn may_try(&mut self, place: Position, now: Timestamp) -> bool {
        let round = &mut self.round;
        // A clock that stepped back begins a round, too.
        if now.since(round.began) >= ROUND || now < round.began {
            let went = round.burst > round.left;
            let burst = if went && !round.blocked { (round.burst * 2).min(MAX_BURST) } else { 1 };
            *round = Round { began: now, burst, left: burst, blocked: false };
        }
        !round.blocked
            && round.left > 0
            && self.waiting.first_key_value().is_some_and(|(first, _)| *first == place)
    }

    /// The first one goes.
    pub fn go(&mut self, place: Position) {
        self.leave(place);
        self.round.left = self.round.left.saturating_sub(1);
    }

    /// An attempt has ended. Says whether that may be a place for one who waits here: where it is a rate limit that is waited
    /// for, it is not.
    pub fn one_has_ended(&mut self) -> bool {
        if !self.busy {
            return false;
        }
        let round = &mut self.round;
        round.blocked = false;
        if round.left < MAX_BURST {
            round.left += 1;
            round.burst = round.burst.saturating_add(1).min(MAX_BURST);
        }
        true
    }

    /// Somebody has taken a place here because nobody is free; for `busy` see [`nobody_is_free`](Self::nobody_is_free).
    pub fn somebody_came(&mut self, busy: bool) {
        if self.waiting.len() == 1 {
            self.busy = busy;
        }
    }

    /// The first one has found nobody free, so nobody else need look in this round. `busy` says that somebody would be but for
    /// the attempts that are under way there.
    pub fn nobody_is_free(&mut self, busy: bool) {
        self.round.blocked = true;
        self.busy = busy;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    use proptest::prelude::*;

    const POLICY: QueuePolicy =
        QueuePolicy { max_wait: Duration::from_secs(5), max_waiting: 300, max_waiting_bytes: 1000 };

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    thread_local! {
        static LAST: Cell<u64> = const { Cell::new(0) };
    }

    fn join(line: &mut Queue, policy: &QueuePolicy, priority: Priority, bytes: u64) -> Option<Position> {
        LAST.set(LAST.get() + 1);
        line.join((policy, priority), bytes, LAST.get(), at(0))
    }

    /// Who goes in the round at this moment, if so many are free.
    fn round(line: &mut Queue, mut free: usize, now: Timestamp) -> Vec<Position> {
        let places: Vec<_> = line.waiting.keys().copied().collect();
        let mut gone = Vec::new();
        for place in places {
            if !line.may_try(place, now) {
                continue;
            }
            if free == 0 {
                line.nobody_is_free(true);
                continue;
            }
            free -= 1;
            line.go(place);
            gone.push(place);
        }
        gone
    }

    #[test]
    fn first_come_first_served_within_a_priority() {
        let line = &mut Queue::default();
        let [low, one, other, high] = [Priority::Low, Priority::Normal, Priority::Normal, Priority::High]
            .map(|priority| join(line, &POLICY, priority, 1).unwrap());
        let mut order = Vec::new();
        for tick in 1..10 {
            order.extend(round(line, 1, at(tick * 100)));
        }
        assert_eq!(order, [high, one, other, low]);
        assert!(line.is_empty());
    }

    #[test]
    fn they_go_a_few_at_a_time_and_one_while_nobody_is_free() {
        let line = &mut Queue::default();
        for _ in 0..100 {
            join(line, &POLICY, Priority::Normal, 1).unwrap();
        }
        let mut gone = Vec::new();
        for tick in 1..=7 {
            gone.push(round(line, usize::MAX, at(tick * 100)).len());
        }
        assert_eq!(gone, [1, 2, 4, 8, 16, 32, 37]);

        for _ in 0..100 {
            join(line, &POLICY, Priority::Normal, 1).unwrap();
        }
        assert_eq!(round(line, 3, at(1000)).len(), 3, "a free place stays one even at full speed");
        assert_eq!(round(line, 0, at(1100)).len(), 0);
        assert_eq!(round(line, usize::MAX, at(1200)).len(), 1, "and then it begins anew");
    }

    #[test]
    fn an_attempt_that_ends_lets_one_more_go_before_the_next_round_where_places_are_short() {
        let line = &mut Queue::default();
        for _ in 0..10 {
            join(line, &POLICY, Priority::Normal, 1).unwrap();
        }
        assert_eq!(round(line, 0, at(100)).len(), 0);
        assert_eq!(round(line, 5, at(110)).len(), 0, "it is the turn of nobody in this round");
        assert!(line.one_has_ended());
        assert_eq!(round(line, 5, at(120)).len(), 2, "the one of the round, whom nobody took, and one more");
        assert!(line.one_has_ended());
        assert!(line.one_has_ended());
        assert_eq!(round(line, 1, at(130)).len(), 1);
        assert_eq!(round(line, 5, at(140)).len(), 0, "there was room for one");
        for _ in 0..200 {
            assert!(line.one_has_ended());
        }
        assert!(line.round.left <= MAX_BURST && line.round.burst <= MAX_BURST);
        line.nobody_is_free(false);
        assert!(!line.one_has_ended(), "a rate limit is waited for");
        assert_eq!(round(line, 5, at(150)).len(), 0);
    }

    #[test]
    fn nobody_overtakes() {
        let line = &mut Queue::default();
        assert!(!line.is_before(Priority::Low));
        join(line, &POLICY, Priority::Normal, 1).unwrap();
        assert!(line.is_before(Priority::Low) && line.is_before(Priority::Normal));
        assert!(!line.is_before(Priority::High));
    }

    #[test]
    fn the_line_is_bounded_in_number_and_in_bytes() {
        let line = &mut Queue::default();
        let policy = QueuePolicy { max_waiting: 2, ..POLICY };
        let first = join(line, &policy, Priority::Normal, 600).unwrap();
        assert_eq!(join(line, &policy, Priority::Normal, 401), None);
        join(line, &policy, Priority::Normal, 400).unwrap();
        assert_eq!(join(line, &policy, Priority::High, 0), None);
        line.leave(first);
        line.leave(first);
        assert!(join(line, &policy, Priority::Normal, 600).is_some());
        assert_eq!(line.len(), 2);
    }

    #[test]
    fn it_tells_since_when_the_longest_wait_lasts() {
        let line = &mut Queue::default();
        assert_eq!((line.since(), line.bytes()), (None, 0));
        let low = line.join((&POLICY, Priority::Low), 3, 1, at(10)).unwrap();
        line.join((&POLICY, Priority::High), 4, 2, at(20)).unwrap();
        assert_eq!((line.since(), line.bytes()), (Some(at(10)), 7));
        line.leave(low);
        assert_eq!((line.since(), line.bytes()), (Some(at(20)), 4));
    }

    proptest! {
        #[test]
        fn nothing_is_left_when_all_have_left(
            steps in proptest::collection::vec((0_u8..4, 0_u64..200, 0_usize..20), 0..200)
        ) {
            let line = &mut Queue::default();
            let policy = QueuePolicy { max_waiting: 20, ..POLICY };
            let mut places = Vec::new();
            for (step, number, which) in steps {
                match step {
                    0 | 1 => places.extend(join(line, &policy, Priority::Normal, number)),
                    2 if !places.is_empty() => line.leave(places.swap_remove(which % places.len())),
                    _ => {
                        let gone = round(line, which, at(number * 50));
                        places.retain(|place| !gone.contains(place));
                    }
                }
                prop_assert!(line.len() <= 20 && line.bytes <= 1000);
                prop_assert_eq!(line.len(), places.len());
            }
            for place in places {
                line.leave(place);
            }
            prop_assert!(line.is_empty());
            prop_assert_eq!(line.bytes, 0);
        }
    }
}
