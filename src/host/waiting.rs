//! The streams of one VM that wait for a moment, or for their turn in a queue.
//!
//! They belong to the VM and not to a root context. After a change of the configuration, the streams of the old one are
//! still looked at in time.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::base::Timestamp;
use crate::stream::Deadlines;

type Shared<S> = Rc<RefCell<S>>;

/// Waiting streams by the id of their context.
pub struct Waiting<S> {
    streams: HashMap<u32, Shared<S>>,
    deadlines: Deadlines<u32>,
    /// Those that wait in a queue for their turn.
    queued: HashSet<u32>,
}

impl<S> Default for Waiting<S> {
    fn default() -> Self {
        Self { streams: HashMap::new(), deadlines: Deadlines::default(), queued: HashSet::new() }
    }
}

impl<S> Waiting<S> {
    /// Adds a stream. It is due when [`schedule`](Self::schedule) says.
    pub fn add(&mut self, id: u32, stream: Shared<S>) {
        self.streams.insert(id, stream);
    }

    /// Forgets a stream that has ended. `scheduled` is the moment that it was scheduled for.
    pub fn remove(&mut self, id: u32, scheduled: Option<Timestamp>) {
        self.streams.remove(&id);
        self.queued.remove(&id);
        if let Some(at) = scheduled {
            self.deadlines.cancel(at, id);
        }
    }

    pub fn get(&self, id: u32) -> Option<Shared<S>> {
        self.streams.get(&id).map(Rc::clone)
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
        let Self { streams, deadlines, .. } = self;
        std::iter::from_fn(|| deadlines.next_due(now))
            .filter_map(|id| Some((id, Rc::clone(streams.get(&id)?))))
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

    fn waiting(ids: &[u32]) -> Waiting<u32> {
        let mut waiting = Waiting::default();
        for id in ids {
            waiting.add(*id, Rc::new(RefCell::new(*id)));
        }
        waiting
    }

    fn ids(mut streams: Vec<(u32, Shared<u32>)>) -> Vec<u32> {
        streams.sort_by_key(|(id, _)| *id);
        streams.into_iter().map(|(id, stream)| if *stream.borrow() == id { id } else { 0 }).collect()
    }

    #[test]
    fn streams_are_due_once_at_their_moment() {
        let mut waiting = waiting(&[1, 2, 3]);
        waiting.schedule(1, at(10));
        waiting.schedule(2, at(20));
        waiting.schedule(3, at(10));
        waiting.unschedule(3, at(10));
        assert_eq!(ids(waiting.take_due(at(9))), Vec::<u32>::new());
        assert_eq!(ids(waiting.take_due(at(15))), [1]);
        assert_eq!(ids(waiting.take_due(at(20))), [2]);
        assert_eq!(ids(waiting.take_due(at(99))), Vec::<u32>::new());
    }

    #[test]
    fn a_stream_that_has_ended_is_not_woken() {
        let mut waiting = waiting(&[1, 2]);
        for id in [1, 2] {
            waiting.schedule(id, at(10));
            waiting.set_queued(id, true);
        }
        waiting.remove(1, Some(at(10)));
        assert!(waiting.get(1).is_none());
        assert_eq!(ids(waiting.queued()), [2]);
        waiting.set_queued(2, false);
        assert_eq!(ids(waiting.queued()), Vec::<u32>::new());
        assert_eq!(ids(waiting.take_due(at(10))), [2]);
    }
}
