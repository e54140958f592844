//! The streams of one VM: all of them by the id of their context, those that wait for a moment, and those that wait for
//! their turn in a queue.
//!
//! They belong to the VM and not to a root context. After a change of the configuration, the streams of the old one are
//! still looked at in time.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use crate::base::Timestamp;
use crate::stream::Deadlines;

type Shared<S> = Rc<RefCell<S>>;

/// Hashes the id of a context. Envoy counts contexts, so no client can choose ids that collide.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        // The map reads the low bits and the top seven. An odd factor spreads consecutive ids over both.
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(32);
    }
}

type Hashing = BuildHasherDefault<IdHasher>;

/// Streams by the id of their context.
pub struct Streams<S> {
    all: HashMap<u32, Shared<S>, Hashing>,
    deadlines: Deadlines<u32>,
    /// Those that wait in a queue for their turn.
    queued: HashSet<u32, Hashing>,
    /// What [`next_to_check`](Self::next_to_check) returns before it begins again.
    unchecked: Vec<u32>,
}

impl<S> Default for Streams<S> {
    fn default() -> Self {
        Self {
            all: HashMap::default(),
            deadlines: Deadlines::default(),
            queued: HashSet::default(),
            unchecked: Vec::new(),
        }
    }
}

impl<S> Streams<S> {
    /// Adds a stream. It is due when [`schedule`](Self::schedule) says.
    pub fn add(&mut self, id: u32, stream: Shared<S>) {
        self.all.insert(id, stream);
    }

    /// Forgets a stream that has ended. `scheduled` is the moment that it was scheduled for.
    pub fn remove(&mut self, id: u32, scheduled: Option<Timestamp>) {
        self.all.remove(&id);
        if !self.queued.is_empty() {
            self.queued.remove(&id);
        }
        if let Some(at) = scheduled {
            self.deadlines.cancel(at, id);
        }
    }

    pub fn get(&self, id: u32) -> Option<Shared<S>> {
        self.all.get(&id).map(Rc::clone)
    }

    /// All streams.
    pub fn all(&self) -> Vec<Shared<S>> {
        self.all.values().map(Rc::clone).collect()
    }

    /// The streams one after another, each once per round. `None` between two rounds.
    pub fn next_to_check(&mut self) -> Option<(u32, Shared<S>)> {
        while let Some(id) = self.unchecked.pop() {
            if let Some(stream) = self.get(id) {
                return Some((id, stream));
            }
        }
        self.unchecked.extend(self.all.keys());
        None
    }

    /// Schedules a stream for a moment.
    pub fn schedule(&mut self, id: u32, at: Timestamp) {
        self.deadlines.enter(at, id);
    }

    /// Takes back [`schedule`](Self::schedule).
    pub fn unschedule(&mut self, id: u32, at: Timestamp) {
        self.deadlines.cancel(at, id);
    }

    /// Takes out what is due. A stream that is scheduled again meanwhile is not due again before the next call.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<(u32, Shared<S>)> {
        let Self { all, deadlines, .. } = self;
        std::iter::from_fn(|| deadlines.next_due(now))
            .filter_map(|id| Some((id, Rc::clone(all.get(&id)?))))
            .collect()
    }

    /// Notes whether a stream waits in a queue.
    pub fn set_queued(&mut self, id: u32, queued: bool) {
        if queued {
            self.queued.insert(id);
        } else {
            self.queued.remove(&id);
        }
    }

    /// The streams that wait in a queue.
    pub fn queued(&self) -> Vec<(u32, Shared<S>)> {
        self.queued.iter().filter_map(|id| Some((*id, self.get(*id)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn streams(ids: &[u32]) -> Streams<u32> {
        let mut streams = Streams::default();
        for id in ids {
            streams.add(*id, Rc::new(RefCell::new(*id)));
        }
        streams
    }

    fn ids(mut streams: Vec<(u32, Shared<u32>)>) -> Vec<u32> {
        streams.sort_by_key(|(id, _)| *id);
        streams.into_iter().map(|(id, stream)| if *stream.borrow() == id { id } else { 0 }).collect()
    }

    #[test]
    fn streams_are_due_once_at_their_moment() {
        let mut streams = streams(&[1, 2, 3]);
        streams.schedule(1, at(10));
        streams.schedule(2, at(20));
        streams.schedule(3, at(10));
        streams.unschedule(3, at(10));
        assert_eq!(streams.all().len(), 3);
        assert_eq!(ids(streams.take_due(at(9))), Vec::<u32>::new());
        assert_eq!(ids(streams.take_due(at(15))), [1]);
        assert_eq!(ids(streams.take_due(at(20))), [2]);
        assert_eq!(ids(streams.take_due(at(99))), Vec::<u32>::new());
    }

    #[test]
    fn a_stream_that_has_ended_is_not_woken() {
        let mut streams = streams(&[1, 2]);
        for id in [1, 2] {
            streams.schedule(id, at(10));
            streams.set_queued(id, true);
        }
        streams.remove(1, Some(at(10)));
        assert!(streams.get(1).is_none());
        assert_eq!(ids(streams.queued()), [2]);
        streams.set_queued(2, false);
        assert_eq!(ids(streams.queued()), Vec::<u32>::new());
        assert_eq!(ids(streams.take_due(at(10))), [2]);
    }

    #[test]
    fn every_stream_is_checked_once_per_round_unless_it_has_ended() {
        let mut streams = streams(&[1, 2, 3]);
        assert!(streams.next_to_check().is_none());
        let first = streams.next_to_check().unwrap();
        let ended = (1..=3).find(|id| *id != first.0).unwrap();
        streams.remove(ended, None);
        streams.add(4, Rc::new(RefCell::new(4)));
        let mut round = vec![first];
        round.extend(std::iter::from_fn(|| streams.next_to_check()));
        assert_eq!(ids(round), (1..=3).filter(|id| *id != ended).collect::<Vec<_>>());
        let next = std::iter::from_fn(|| streams.next_to_check()).collect();
        assert_eq!(ids(next), (1..=4).filter(|id| *id != ended).collect::<Vec<_>>());
    }

    #[test]
    fn consecutive_ids_differ_in_the_bits_that_the_map_reads() {
        let hashes: Vec<_> = (0..1024_u32)
            .map(|id| {
                let mut hasher = IdHasher::default();
                hasher.write_u32(id);
                hasher.finish()
            })
            .collect();
        let distinct =
            |bits: fn(u64) -> u64| hashes.iter().map(|hash| bits(*hash)).collect::<HashSet<_>>().len();
        assert!(distinct(|hash| hash & 1023) > 600);
        assert_eq!(distinct(|hash| hash >> 57), 128);
    }
}
