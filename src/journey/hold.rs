//! A request that is held: its next attempt comes later, or when somebody is free.
//!
//! What has come of it stays in the host's buffers: all of the body where it is the first attempt that has to wait,
//! otherwise what the edge has sent again so far. Its needs are known, so nothing is read while it waits; only when its
//! target is known is the model put into what is there by then.
//!
//! Who waits for a time of its own, a back-off, waits alone. Who waits until somebody is free stands in a line of its
//! model (`src/retry/line.rs`), a first attempt as well as a later one. Those whom the same targets may take stand in one
//! line: who waits for one target, because another has failed it or may not take it, keeps nobody from the other.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::addressing::Address;
use super::attempt::Picked;
use super::exchange::{Exchange, Phase, RequestHost, RequestStep};
use super::plan::{Wait, Wanted};
use super::{Journey, Refusal, SharedJourney, Worker};
use crate::base::Timestamp;
use crate::breaker::{Blame, QueueState};
use crate::config::{Priority, QueuePolicy};
use crate::record::Metric;
use crate::request::StreamEditor;
use crate::retry::{Position, Queue};

/// How often somebody who waits for others looks whether they are free.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How often a request whose time has come looks whether its body has.
const BODY_COMES: Duration = Duration::from_millis(10);
/// How long it waits for that beyond its own time; then it goes with what there is, and the rest follows.
const BODY_OVERDUE: Duration = Duration::from_secs(5);

/// A request that is held.
pub(super) struct Held {
    pub(super) journey: SharedJourney,
    pub(super) address: Address,
    /// The length that the client announced.
    pub(super) length: Option<usize>,
    /// When to try.
    pub(super) at: Timestamp,
    /// When to give up, if nobody is free until then.
    pub(super) until: Timestamp,
    /// How much of the body is in the host's buffer.
    pub(super) buffered: usize,
    /// Whether that is all of it. Envoy 1.36 loses the end of a large body that is let go from the timer while it still comes.
    pub(super) complete: bool,
    /// Its place among others that wait.
    pub(super) stands: Stands,
    /// Whom it waits for: see [`Wanted::those_it_may_have`](super::plan::Wanted::those_it_may_have).
    pub(super) waits_for: u64,
}

pub(super) enum Stands {
    /// It waits for a time of its own.
    Alone,
    /// It is to have a place in the line of its model, or has one.
    InLine(Option<Position>),
}

impl Held {
    /// One that waits until somebody is free.
    pub(super) fn in_line(journey: SharedJourney, at: Timestamp, until: Timestamp) -> Self {
        let (address, stands) = (Address::default(), Stands::InLine(None));
        let complete = false;
        Self { journey, address, length: None, at, until, buffered: 0, complete, stands, waits_for: 0 }
    }

    /// One that waits for a time of its own.
    pub(super) fn alone(self) -> Self {
        Self { stands: Stands::Alone, ..self }
    }

    fn place(&self) -> Option<Position> {
        match self.stands {
            Stands::Alone => None,
            Stands::InLine(place) => place,
        }
    }
}

/// The lines of one worker, by model and whom they wait for. They go by names, so that a change of the configuration leaves
/// nobody behind.
#[derive(Debug, Default)]
pub struct Queues {
    by_model: HashMap<(Rc<str>, u64), Queue>,
    last_number: u64,
    /// An attempt has ended that somebody who waits may have waited for.
    freed: bool,
}

impl Queues {
    /// How many wait in all of them.
    pub fn len(&self) -> usize {
        self.by_model.values().map(Queue::len).sum()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.by_model.is_empty()
    }

    fn of_model(&self, model: &str) -> impl Iterator<Item = &Queue> {
        self.by_model.iter().filter(move |((name, _), _)| **name == *model).map(|(_, line)| line)
    }

    /// Who waits for a model here.
    pub fn queued(&self, model: &str) -> QueueState {
        self.of_model(model).fold(QueueState::default(), |sum, line| {
            sum.plus(QueueState {
                requests: u32::try_from(line.len()).unwrap_or(u32::MAX),
                bytes: line.bytes(),
                since: line.oldest_since().unwrap_or_default(),
            })
        })
    }

    /// Whether a body of so many bytes may still wait for a model.
    fn has_room(&self, model: &str, policy: &QueuePolicy, bytes: u64) -> bool {
        let (waiting, held) = self.of_model(model).fold((0_usize, bytes), |(waiting, held), line| {
            (waiting.saturating_add(line.len()), held.saturating_add(line.bytes()))
        });
        waiting < policy.max_waiting && held <= policy.max_waiting_bytes
    }

    fn of(&mut self, model: &Rc<str>, waits_for: u64) -> &mut Queue {
        self.by_model.entry((Rc::clone(model), waits_for)).or_default()
    }

    fn join(
        &mut self,
        (model, waits_for): (&Rc<str>, u64),
        (policy, priority): (&QueuePolicy, Priority),
        bytes: u64,
        now: Timestamp,
    ) -> Option<Position> {
        if !self.has_room(model, policy, bytes) {
            return None;
        }
        self.last_number = self.last_number.wrapping_add(1);
        let number = self.last_number;
        self.of(model, waits_for).join((policy, priority), bytes, number, now)
    }

    /// An attempt has ended: of each line one may try. Which of them can use the place is found out then.
    pub(super) fn free_one(&mut self) {
        for line in self.by_model.values_mut() {
            self.freed |= line.attempt_ended();
        }
    }

    /// Whether somebody who waits is to be looked at before the next tick.
    pub fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// Gives up the place of a request that is no longer held.
    pub(super) fn leave(&mut self, held: &Held) {
        let journey = held.journey.borrow();
        if let (Some(place), Some(model)) = (held.place(), journey.model()) {
            self.of(&model.name, held.waits_for).leave(place);
            self.by_model.retain(|_, line| !line.is_empty());
        }
    }
}

impl Journey {
    /// How those wait whose attempt has failed: as the queue says, or as it would by default.
    fn queue_policy(&self) -> QueuePolicy {
        self.model().and_then(|model| model.retry.queue).unwrap_or_default()
    }

    fn body_bytes(&self) -> u64 {
        self.facts.body_bytes
    }

    /// Whether somebody would be free but for the attempts that are under way there.
    fn is_short_of_places(&self, now: Timestamp) -> bool {
        self.wanted(now)
            .is_some_and(|wanted| wanted.is_short_of_places(&self.config, &self.health_view.borrow(), now))
    }

    /// Whether there is room for one more that waits.
    pub(super) fn may_wait(&self, worker: &Worker) -> bool {
        let policy = self.queue_policy();
        self.model().is_none_or(|model| worker.lines.has_room(&model.name, &policy, self.body_bytes()))
    }

    /// Whom it waits for, if it has to.
    fn waits_for(&self, now: Timestamp) -> u64 {
        self.wanted(now).map_or(0, Wanted::those_it_may_have)
    }

    /// Whether others wait that it must not overtake. Where there is no queue nobody can stand behind those whose attempt has
    /// failed.
    pub(super) fn is_behind_others(&self, worker: &Worker, now: Timestamp) -> bool {
        let Some(model) = self.model().filter(|model| model.retry.queue.is_some()) else { return false };
        if worker.lines.is_empty() {
            return false;
        }
        let line = worker.lines.by_model.get(&(Rc::clone(&model.name), self.waits_for(now)));
        line.is_some_and(|line| line.has_waiting_before(self.priority))
    }

    /// Until when a request that nobody may take now waits; `None` where it does not: there is no queue, or it could not
    /// make it.
    pub(super) fn queued_until(&self, worker: &mut Worker, now: Timestamp) -> Option<Timestamp> {
        let policy = self.model()?.retry.queue?;
        let until = now.after(policy.max_wait).min(self.deadline());
        let soon = match self.wanted(now)?.wait(&self.config, &self.health_view.borrow(), now) {
            Wait::None => true,
            Wait::Until(at) => at < until,
            Wait::Never => false,
        };
        if !soon {
            return None;
        }
        if !self.may_wait(worker) {
            worker.tally.count(Metric::GaveUpQueueFull);
            return None;
        }
        Some(until)
    }
}

impl Exchange {
    /// Holds the request.
    pub(super) fn hold(&mut self, worker: &mut Worker, mut held: Held, now: Timestamp) -> RequestStep {
        if matches!(held.stands, Stands::InLine(None)) {
            let journey = held.journey.borrow();
            let policy = journey.queue_policy();
            held.waits_for = journey.waits_for(now);
            let place = journey.model().and_then(|model| {
                let line = (&model.name, held.waits_for);
                worker.lines.join(line, (&policy, journey.priority), journey.body_bytes(), now)
            });
            if place.is_none() {
                worker.tally.count(Metric::GaveUpQueueFull);
                let refusal = Refusal::queue("queue_full", &journey, held.at);
                return self.refuse_after(worker, refusal, &journey);
            }
            if let Some(model) = journey.model() {
                let line = worker.lines.of(&model.name, held.waits_for);
                line.note_joined(journey.is_short_of_places(held.at));
            }
            drop(journey);
            held.stands = Stands::InLine(place);
        }
        worker.tally.count(Metric::Waits);
        worker.tally.add(Metric::Waiting, 1);
        self.phase = Phase::Held(Box::new(held));
        RequestStep::Hold
    }

    /// Whether the request is held until [`wake`](Self::wake) lets it go.
    pub const fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Held(_))
    }

    /// Its place in a line, if it stands in one. Whoever looks at several does so in this order.
    pub fn place(&self) -> Option<Position> {
        match &self.phase {
            Phase::Held(held) => held.place(),
            _ => None,
        }
    }

    /// An attempt has ended, so a request that stands in a line need not wait for its moment.
    pub fn wake_early<H: RequestHost>(
        &mut self,
        worker: &mut Worker,
        now: Timestamp,
        host: &mut H,
    ) -> RequestStep {
        let Phase::Held(held) = &mut self.phase else { return RequestStep::Hold };
        if held.place().is_none() {
            return RequestStep::Hold;
        }
        let at = held.at;
        held.at = at.min(now);
        let step = self.wake(worker, now, host);
        if let Phase::Held(held) = &mut self.phase {
            held.at = at;
        }
        step
    }

    /// The moment has come that a held request waits for.
    pub fn wake<H: RequestHost>(&mut self, worker: &mut Worker, now: Timestamp, host: &mut H) -> RequestStep {
        let mut held = match std::mem::take(&mut self.phase) {
            // The edge has the rest at hand, so this is a matter of milliseconds.
            Phase::Held(mut held)
                if held.at <= now && !held.complete && now < held.until.after(BODY_OVERDUE) =>
            {
                held.at = now.after(BODY_COMES);
                self.phase = Phase::Held(held);
                return RequestStep::Hold;
            }
            Phase::Held(held) if held.at <= now => held,
            other => {
                self.phase = other;
                return RequestStep::Hold;
            }
        };
        let journey = held.journey.borrow();
        let dialect = journey.endpoint.dialect();
        let name = journey.model().map(|model| Rc::clone(&model.name)).unwrap_or_default();
        let its_turn =
            held.place().is_none_or(|place| worker.lines.of(&name, held.waits_for).may_try(place, now));
        let picked = if its_turn {
            self.pick(worker, &journey, now)
        } else {
            Err(Refusal::queue("queue_timeout", &journey, now))
        };
        drop(journey);
        if picked.is_err() && its_turn && held.place().is_some() {
            let busy = held.journey.borrow().is_short_of_places(now);
            worker.lines.of(&name, held.waits_for).note_none_available(busy);
        }
        let (target, tickets, detour) = match picked {
            Ok(picked) => picked,
            Err(_) if now < held.until => {
                held.at = now.after(LOOK_AGAIN).min(held.until);
                self.phase = Phase::Held(held);
                return RequestStep::Hold;
            }
            Err(refusal) => {
                if held.place().is_some() {
                    worker.tally.count(Metric::QueueTimeouts);
                }
                return self.release(worker, &held, refusal);
            }
        };
        if let Some(place) = held.place() {
            worker.lines.of(&name, held.waits_for).dequeue(place);
        }
        let first = held.journey.borrow().tried.is_empty();
        if first {
            let reserved = held.journey.borrow_mut().reserve(worker, target, now);
            if let Err(refusal) = reserved {
                held.journey.borrow().report(worker, target, tickets, Blame::NEUTRAL, now);
                return self.release(worker, &held, refusal);
            }
        }
        let edit = held.journey.borrow().address_to(target, &held.address, held.length, host);
        let Some(edit) = edit else {
            held.journey.borrow().report(worker, target, tickets, Blame::NEUTRAL, now);
            self.settle_unkept(worker, &held.journey, now);
            return self.release(worker, &held, Refusal::Internal);
        };
        worker.lines.leave(&held);
        worker.tally.add(Metric::Waiting, -1);
        let Held { journey, buffered, .. } = *held;
        let asked_usage = edit.asks_for_usage();
        let mut editor = (!edit.is_noop()).then(|| StreamEditor::new(edit));
        let edited =
            buffered == 0 || editor.as_mut().is_none_or(|editor| editor.edit_chunk(host, buffered).is_ok());
        let step = self.send(worker, Picked { journey, target, tickets, detour, asked_usage }, editor, now);
        if edited { step } else { self.abandon(worker, dialect, now) }
    }

    /// It is held no longer, and is refused.
    fn release(&mut self, worker: &mut Worker, held: &Held, refusal: Refusal) -> RequestStep {
        worker.lines.leave(held);
        worker.tally.add(Metric::Waiting, -1);
        self.refuse_after(worker, refusal, &held.journey.borrow())
    }
}
