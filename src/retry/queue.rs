//! The queue of requests that wait until a target is available.
//!
//! **Order.** First come, first served within a priority. A higher priority goes first.
//!
//! **Why requests leave in rounds.** When a rate limit ends, all requests could leave at once, and the target
//! would be at its limit again. So one request leaves in the first round. While targets are available, the
//! number doubles with each round. When none is available, it falls back to one. A hundred requests leave
//! within a second, and a target that is still full gets one request.
//!
//! **When an attempt ends,** one more request may leave at once, without waiting for the next round. This
//! applies only if the number of attempts in flight was the limit, because then a slot is free. If the queue
//! waits for a rate limit, each response would otherwise release a request, and the end of the limit a herd.
//! The host signals the end through the VM's own queue (`on_queue_ready` in `src/host/root.rs`): a callback of one stream
//! cannot resume another, and the tick alone would leave a slot unused for 50 ms on average.
//!
//! **One queue per worker and model.** A worker holds the requests that it received, so the queues of several
//! workers have no common order. Their bounds apply per worker, too.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::Timestamp;
use crate::config::{Priority, QueuePolicy};

/// Length of a round: slightly less than a worker's tick, so that each tick begins one.
const ROUND: Duration = Duration::from_millis(90);

/// The most requests that leave in one round.
pub const MAX_BURST: usize = 64;

/// A position in the queue. Lower positions leave first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    priority: Reverse<Priority>,
    number: u64,
}

/// The queue of one model.
#[derive(Debug, Default)]
pub struct Queue {
    /// Body bytes and time of joining, by position.
    waiting: BTreeMap<Position, (u64, Timestamp)>,
    bytes: u64,
    round: Round,
    /// The first request waits for an attempt in flight to end.
    waits_for_slot: bool,
}

#[derive(Debug, Default)]
struct Round {
    began: Timestamp,
    burst: usize,
    /// How many requests may still leave in this round.
    left: usize,
    /// A request found no available target in this round.
    blocked: bool,
}

impl Queue {
    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Requests in the queue.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Body bytes in the queue.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the longest-waiting request joined.
    pub fn oldest_since(&self) -> Option<Timestamp> {
        self.waiting.values().map(|(_, since)| *since).min()
    }

    /// Whether a new request of this priority would have another one before it.
    pub fn has_waiting_before(&self, priority: Priority) -> bool {
        self.waiting.first_key_value().is_some_and(|(position, _)| position.priority <= Reverse(priority))
    }

    /// Whether a body of this size fits.
    pub fn has_room(&self, policy: &QueuePolicy, bytes: u64) -> bool {
        self.waiting.len() < policy.max_waiting
            && self.bytes.saturating_add(bytes) <= policy.max_waiting_bytes
    }

    /// Takes the last position of its priority; `None` if the queue is full. `number` must exceed that of
    /// every earlier request, also in other queues, so that requests for the same target under several models
    /// have one order.
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
        let position = Position { priority: Reverse(priority), number };
        self.waiting.insert(position, (bytes, now));
        self.bytes = self.bytes.saturating_add(bytes);
        Some(position)
    }

    /// Gives up a position, whether its request is sent or abandoned.
    pub fn leave(&mut self, position: Position) {
        if let Some((bytes, _)) = self.waiting.remove(&position) {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// Whether the request at this position may look for a target now.
    pub fn may_try(&mut self, position: Position, now: Timestamp) -> bool {
        let round = &mut self.round;
        // A clock that stepped back begins a round, too.
        if now.since(round.began) >= ROUND || now < round.began {
            let went = round.burst > round.left;
            let burst = if went && !round.blocked { (round.burst * 2).min(MAX_BURST) } else { 1 };
            *round = Round { began: now, burst, left: burst, blocked: false };
        }
        !round.blocked
            && round.left > 0
            && self.waiting.first_key_value().is_some_and(|(first, _)| *first == position)
    }

    /// The request at this position is sent.
    pub fn dequeue(&mut self, position: Position) {
        self.leave(position);
        self.round.left = self.round.left.saturating_sub(1);
    }

    /// An attempt has ended. True if that may free a slot for this queue, which it does not if the queue
    /// waits for a rate limit.
    pub fn attempt_ended(&mut self) -> bool {
        if !self.waits_for_slot {
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

    /// A request has joined because no target is available. For `waits_for_slot` see
    /// [`note_none_available`](Self::note_none_available).
    pub fn note_joined(&mut self, waits_for_slot: bool) {
        if self.waiting.len() == 1 {
            self.waits_for_slot = waits_for_slot;
        }
    }

    /// The first request found no available target, so no other one need look in this round. `waits_for_slot`
    /// says that a target would be available but for its attempts in flight.
    pub fn note_none_available(&mut self, waits_for_slot: bool) {
        self.round.blocked = true;
        self.waits_for_slot = waits_for_slot;
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

    fn join(queue: &mut Queue, policy: &QueuePolicy, priority: Priority, bytes: u64) -> Option<Position> {
        LAST.set(LAST.get() + 1);
        queue.join((policy, priority), bytes, LAST.get(), at(0))
    }

    /// The positions that leave in the round at this moment if `free` targets are available.
    fn round(queue: &mut Queue, mut free: usize, now: Timestamp) -> Vec<Position> {
        let positions: Vec<_> = queue.waiting.keys().copied().collect();
        let mut gone = Vec::new();
        for position in positions {
            if !queue.may_try(position, now) {
                continue;
            }
            if free == 0 {
                queue.note_none_available(true);
                continue;
            }
            free -= 1;
            queue.dequeue(position);
            gone.push(position);
        }
        gone
    }

    #[test]
    fn first_come_first_served_within_a_priority() {
        let queue = &mut Queue::default();
        let [low, one, other, high] = [Priority::Low, Priority::Normal, Priority::Normal, Priority::High]
            .map(|priority| join(queue, &POLICY, priority, 1).unwrap());
        let mut order = Vec::new();
        for tick in 1..10 {
            order.extend(round(queue, 1, at(tick * 100)));
        }
        assert_eq!(order, [high, one, other, low]);
        assert!(queue.is_empty());
    }

    #[test]
    fn rounds_double_while_targets_are_available_and_fall_back_to_one() {
        let queue = &mut Queue::default();
        for _ in 0..100 {
            join(queue, &POLICY, Priority::Normal, 1).unwrap();
        }
        let mut gone = Vec::new();
        for tick in 1..=7 {
            gone.push(round(queue, usize::MAX, at(tick * 100)).len());
        }
        assert_eq!(gone, [1, 2, 4, 8, 16, 32, 37]);

        for _ in 0..100 {
            join(queue, &POLICY, Priority::Normal, 1).unwrap();
        }
        assert_eq!(
            round(queue, 3, at(1000)).len(),
            3,
            "three targets take three requests even at full speed"
        );
        assert_eq!(round(queue, 0, at(1100)).len(), 0);
        assert_eq!(round(queue, usize::MAX, at(1200)).len(), 1, "the next round begins with one");
    }

    #[test]
    fn an_ended_attempt_releases_one_more_request_if_slots_are_the_limit() {
        let queue = &mut Queue::default();
        for _ in 0..10 {
            join(queue, &POLICY, Priority::Normal, 1).unwrap();
        }
        assert_eq!(round(queue, 0, at(100)).len(), 0);
        assert_eq!(round(queue, 5, at(110)).len(), 0, "this round is blocked");
        assert!(queue.attempt_ended());
        assert_eq!(round(queue, 5, at(120)).len(), 2, "the unused one of the round and one more");
        assert!(queue.attempt_ended());
        assert!(queue.attempt_ended());
        assert_eq!(round(queue, 1, at(130)).len(), 1);
        assert_eq!(round(queue, 5, at(140)).len(), 0, "the round is used up");
        for _ in 0..200 {
            assert!(queue.attempt_ended());
        }
        assert!(queue.round.left <= MAX_BURST && queue.round.burst <= MAX_BURST);
        queue.note_none_available(false);
        assert!(!queue.attempt_ended(), "the queue waits for a rate limit");
        assert_eq!(round(queue, 5, at(150)).len(), 0);
    }

    #[test]
    fn later_requests_do_not_overtake() {
        let queue = &mut Queue::default();
        assert!(!queue.has_waiting_before(Priority::Low));
        join(queue, &POLICY, Priority::Normal, 1).unwrap();
        assert!(queue.has_waiting_before(Priority::Low) && queue.has_waiting_before(Priority::Normal));
        assert!(!queue.has_waiting_before(Priority::High));
    }

    #[test]
    fn the_queue_is_bounded_in_requests_and_bytes() {
        let queue = &mut Queue::default();
        let policy = QueuePolicy { max_waiting: 2, ..POLICY };
        let first = join(queue, &policy, Priority::Normal, 600).unwrap();
        assert_eq!(join(queue, &policy, Priority::Normal, 401), None);
        join(queue, &policy, Priority::Normal, 400).unwrap();
        assert_eq!(join(queue, &policy, Priority::High, 0), None);
        queue.leave(first);
        queue.leave(first);
        assert!(join(queue, &policy, Priority::Normal, 600).is_some());
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn oldest_since_is_the_time_of_the_longest_wait() {
        let queue = &mut Queue::default();
        assert_eq!((queue.oldest_since(), queue.bytes()), (None, 0));
        let low = queue.join((&POLICY, Priority::Low), 3, 1, at(10)).unwrap();
        queue.join((&POLICY, Priority::High), 4, 2, at(20)).unwrap();
        assert_eq!((queue.oldest_since(), queue.bytes()), (Some(at(10)), 7));
        queue.leave(low);
        assert_eq!((queue.oldest_since(), queue.bytes()), (Some(at(20)), 4));
    }

    proptest! {
        #[test]
        fn the_queue_is_empty_after_all_have_left(
            steps in proptest::collection::vec((0_u8..4, 0_u64..200, 0_usize..20), 0..200)
        ) {
            let queue = &mut Queue::default();
            let policy = QueuePolicy { max_waiting: 20, ..POLICY };
            let mut positions = Vec::new();
            for (step, number, which) in steps {
                match step {
                    0 | 1 => positions.extend(join(queue, &policy, Priority::Normal, number)),
                    2 if !positions.is_empty() => queue.leave(positions.swap_remove(which % positions.len())),
                    _ => {
                        let gone = round(queue, which, at(number * 50));
                        positions.retain(|position| !gone.contains(position));
                    }
                }
                prop_assert!(queue.len() <= 20 && queue.bytes <= 1000);
                prop_assert_eq!(queue.len(), positions.len());
            }
            for position in positions {
                queue.leave(position);
            }
            prop_assert!(queue.is_empty());
            prop_assert_eq!(queue.bytes, 0);
        }
    }
}
