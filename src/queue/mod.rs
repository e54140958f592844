//! Requests that wait until a target is free, in the order in which they go.
//!
//! Requests for which the same targets are eligible wait in one queue, whether it is their first attempt or
//! a later one. So requests queued for one target do not block requests for another. How a queue drains is
//! the policy of `src/retry/queue.rs`.
//!
//! Queues belong to one worker, because the worker that received a request holds it. They are keyed by
//! model names, so no request is lost when the configuration changes.

mod rules;

use std::collections::HashMap;
use std::rc::Rc;

pub use rules::{Waiting, held_until};

use crate::base::Timestamp;
use crate::breaker::QueueState;
use crate::config::{Priority, QueuePolicy};
use crate::retry::{Position, Queue};

/// The queues of one worker. Empty ones are not kept.
#[derive(Debug, Default)]
pub struct Queues {
    by_targets: HashMap<(Rc<str>, u64), Queue>,
    last_number: u64,
    /// An attempt has ended, and a waiting request may take its place.
    freed: bool,
}

/// A request that is to wait.
#[derive(Debug)]
pub struct Joining {
    /// The model that it asks for.
    model: Rc<str>,
    /// The mark of the targets that may take it.
    targets: u64,
    /// How many may wait.
    policy: QueuePolicy,
    /// Its priority.
    priority: Priority,
    /// The bytes of its body.
    bytes: u64,
    /// Whether it waits until an attempt under way ends (`max_pending`), and not for a rate limit or a
    /// breaker.
    for_concurrency: bool,
}

/// A request's position in a queue. It is given up once.
#[derive(Debug)]
#[must_use = "a position is given up by `go` or `leave`"]
pub struct Entry {
    model: Rc<str>,
    targets: u64,
    position: Position,
}

impl Entry {
    /// The order in which waiting requests go, also across queues.
    pub const fn position(&self) -> Position {
        self.position
    }
}

impl Queues {
    /// How many requests wait.
    pub fn len(&self) -> usize {
        self.by_targets.values().map(Queue::len).sum()
    }

    /// Whether no request waits.
    pub fn is_empty(&self) -> bool {
        self.by_targets.is_empty()
    }

    fn of_model(&self, model: &str) -> impl Iterator<Item = &Queue> {
        self.by_targets.iter().filter(move |((name, _), _)| **name == *model).map(|(_, queue)| queue)
    }

    /// The requests that wait for a model here.
    pub fn queued(&self, model: &str) -> QueueState {
        self.of_model(model).fold(QueueState::default(), |sum, queue| {
            sum.plus(QueueState {
                requests: u32::try_from(queue.len()).unwrap_or(u32::MAX),
                bytes: queue.bytes(),
                since: queue.oldest_since().unwrap_or_default(),
            })
        })
    }

    /// Whether one more request with a body of `bytes` may wait for a model.
    fn has_room(&self, model: &str, policy: &QueuePolicy, bytes: u64) -> bool {
        let (waiting, held) = self.of_model(model).fold((0_usize, bytes), |(waiting, held), queue| {
            (waiting.saturating_add(queue.len()), held.saturating_add(queue.bytes()))
        });
        waiting < policy.max_waiting && held <= policy.max_waiting_bytes
    }

    /// Whether any request waits for a model.
    fn has_waiting(&self, model: &str) -> bool {
        self.of_model(model).next().is_some()
    }

    /// Whether requests wait that a new one of this priority must not overtake.
    fn is_ahead(&self, model: &Rc<str>, targets: u64, priority: Priority) -> bool {
        let queue = self.by_targets.get(&(Rc::clone(model), targets));
        queue.is_some_and(|queue| queue.has_waiting_before(priority))
    }

    /// Takes the last position of its priority; `None` when the model's queues are full.
    pub fn join(&mut self, joining: &Joining, now: Timestamp) -> Option<Entry> {
        let Joining { model, targets, policy, priority, bytes, for_concurrency } = joining;
        if !self.has_room(model, policy, *bytes) {
            return None;
        }
        self.last_number = self.last_number.wrapping_add(1);
        let number = self.last_number;
        let queue = self.by_targets.entry((Rc::clone(model), *targets)).or_default();
        let position = queue.join((policy, *priority), *bytes, number, now)?;
        queue.note_joined(*for_concurrency);
        Some(Entry { model: Rc::clone(model), targets: *targets, position })
    }

    fn of(&mut self, entry: &Entry) -> Option<&mut Queue> {
        self.by_targets.get_mut(&(Rc::clone(&entry.model), entry.targets))
    }

    /// Whether it is this request's turn to look for a free target.
    pub fn may_try(&mut self, entry: &Entry, now: Timestamp) -> bool {
        self.of(entry).is_some_and(|queue| queue.may_try(entry.position, now))
    }

    /// The request has found no free target, so no other request in its queue tries in this round.
    pub fn found_none(&mut self, entry: &Entry, for_concurrency: bool) {
        if let Some(queue) = self.of(entry) {
            queue.note_none_available(for_concurrency);
        }
    }

    /// The request goes to a target.
    pub fn go(&mut self, entry: Entry) {
        if let Some(queue) = self.of(&entry) {
            queue.dequeue(entry.position);
        }
        self.drop_empty();
    }

    /// The request waits no longer.
    pub fn leave(&mut self, entry: Entry) {
        if let Some(queue) = self.of(&entry) {
            queue.leave(entry.position);
        }
        self.drop_empty();
    }

    fn drop_empty(&mut self) {
        self.by_targets.retain(|_, queue| !queue.is_empty());
    }

    /// An attempt has ended, so one request of each queue may try. Only the try shows which of them can use
    /// the free place.
    pub fn free_one(&mut self) {
        for queue in self.by_targets.values_mut() {
            self.freed |= queue.attempt_ended();
        }
    }

    /// Whether waiting requests are to be looked at before the next tick.
    pub fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }
}
