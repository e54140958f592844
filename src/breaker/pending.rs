//! Attempts in flight at each target over all workers, and how many of their tokens no provider has counted
//! yet.
//!
//! **Why.** The breaker's windows count attempts when they end, so a target that has stopped responding looks
//! idle to them. This count shows the attempts that wait there.
//!
//! **How workers share it.** Each worker publishes its own counts with a heartbeat in its own slot and reads
//! the slots of the others. A worker that is gone stops its heartbeat, and its counts are dropped with it. So
//! no worker decrements the counts of another, and a crash leaves no count behind.
//!
//! The slots also carry figures that only operators read (`figures`): times to first content and queues. So
//! these cost no host call of their own.

use std::time::Duration;

use super::figures::{FirstContentTimes, QueueState, Recent};
use crate::base::{CREATE, FNV_BASIS, ModelId, Store, StoreError, TargetId, Timestamp, Tokens, fnv1a};
use crate::config::Config;

/// The most workers that see each other's counts. Envoy runs one worker per core by default. Further workers
/// see only their own.
pub const MAX_WORKERS: usize = 256;

/// A worker without a heartbeat for this long is gone. Workers tick every 100 ms.
const GONE_AFTER: Duration = Duration::from_secs(3);

const VERSION: u8 = 3;
/// Version, worker, heartbeat, size of the target entries. The model entries follow.
const HEADER_BYTES: usize = 1 + 8 + 8 + 4;
const ENTRY_BYTES: usize = 8 + 4 + 4 + 8 + 8 + FirstContentTimes::BYTES;
const QUEUE_BYTES: usize = 8 + QueueState::BYTES;

/// Attempts in flight at one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Count {
    attempts: u32,
    /// Attempts without a response: their provider may not have counted them yet.
    unanswered: u32,
    tokens: Tokens,
}

impl Count {
    fn plus(self, other: Self) -> Self {
        Self {
            attempts: self.attempts.saturating_add(other.attempts),
            unanswered: self.unanswered.saturating_add(other.unanswered),
            tokens: self.tokens.plus(other.tokens),
        }
    }
}

/// One worker's counts, and what it last read of the others.
#[derive(Debug)]
pub struct Pending {
    worker: u64,
    slot: Option<(usize, u32)>,
    /// Hashes of the target names, so that counts of different configurations match.
    names: Vec<u64>,
    own: Vec<Count>,
    others: Vec<Count>,
    /// This worker's times, and those of the others.
    times: (Recent, Vec<FirstContentTimes>),
    /// Hashes of the model names.
    models: Vec<u64>,
    /// The queues of this worker as of the last exchange, and those of the others.
    queued: (Vec<QueueState>, Vec<QueueState>),
    /// Whether other workers exist.
    has_other_workers: bool,
}

impl Pending {
    /// Counts for the targets of `config`; `worker` is a random number unique to this worker.
    pub fn new(config: &Config, worker: u64) -> Self {
        let names: Vec<u64> = config.targets().iter().map(|target| target.name_hash).collect();
        let models: Vec<u64> =
            config.models().iter().map(|model| fnv1a(FNV_BASIS, model.name.as_bytes())).collect();
        let none = vec![Count::default(); names.len()];
        let times = (Recent::of(names.len()), vec![FirstContentTimes::default(); names.len()]);
        let empty = vec![QueueState::default(); models.len()];
        let queued = (empty.clone(), empty);
        Self {
            worker,
            slot: None,
            names,
            own: none.clone(),
            others: none,
            times,
            models,
            queued,
            has_other_workers: false,
        }
    }

    /// The first content of an attempt has come.
    pub fn first_content(&mut self, target: TargetId, took: Duration) {
        self.times.0.add(target.index(), took);
    }

    /// Recent times to first content, over all workers.
    pub fn first_content_times(&self, target: TargetId) -> FirstContentTimes {
        let others = self.times.1.get(target.index()).copied().unwrap_or_default();
        self.times.0.at(target.index()).plus(others)
    }

    /// This worker's queues, by model.
    pub fn set_queues(&mut self, queued: impl Iterator<Item = QueueState>) {
        for (known, now) in self.queued.0.iter_mut().zip(queued) {
            *known = now;
        }
    }

    /// The queue of a model over all workers, as of the last exchange.
    pub fn queue_state(&self, model: ModelId) -> QueueState {
        let at = |list: &[QueueState]| list.get(model.index()).copied().unwrap_or_default();
        at(&self.queued.0).plus(at(&self.queued.1))
    }

    /// An attempt with an estimate of `tokens` begins.
    pub fn begin(&mut self, target: TargetId, tokens: Tokens) {
        if let Some(count) = self.own.get_mut(target.index()) {
            *count = count.plus(Count { attempts: 1, unanswered: 1, tokens });
        }
    }

    /// An attempt has a response, or will never have one. `tokens` are those given to `begin`.
    pub fn answered(&mut self, target: TargetId, tokens: Tokens) {
        if let Some(count) = self.own.get_mut(target.index()) {
            count.unanswered = count.unanswered.saturating_sub(1);
            count.tokens = count.tokens.minus(tokens);
        }
    }

    /// An attempt has ended.
    pub fn end(&mut self, target: TargetId) {
        if let Some(count) = self.own.get_mut(target.index()) {
            count.attempts = count.attempts.saturating_sub(1);
        }
    }

    /// Attempts in flight at `target`: this worker's as of now, the others' as of the last exchange.
    pub fn attempts(&self, target: TargetId) -> u32 {
        self.count(target).attempts
    }

    /// Attempts in flight without a response, and their tokens.
    pub fn unanswered(&self, target: TargetId) -> (u32, Tokens) {
        let count = self.count(target);
        (count.unanswered, count.tokens)
    }

    /// Whether there is no other worker.
    pub const fn is_only_worker(&self) -> bool {
        !self.has_other_workers
    }

    fn count(&self, target: TargetId) -> Count {
        let count = |list: &[Count]| list.get(target.index()).copied().unwrap_or_default();
        count(&self.own).plus(count(&self.others))
    }

    /// Publishes this worker's counts and reads those of the others.
    pub fn exchange(&mut self, store: &mut dyn Store, now: Timestamp) {
        self.times.0.forget(now);
        self.publish(store, now);
        self.others.fill(Count::default());
        self.times.1.fill(FirstContentTimes::default());
        self.queued.1.fill(QueueState::default());
        self.has_other_workers = false;
        for slot in 0..MAX_WORKERS {
            let Ok(Some(stored)) = store.read(&key(slot)) else { break };
            let Some(record) = Record::decode(&stored.bytes) else { continue };
            if record.worker == self.worker || record.is_gone(now) {
                continue;
            }
            self.has_other_workers = true;
            for (name, count, times) in record.entries() {
                let Some(index) = self.names.iter().position(|known| *known == name) else { continue };
                if let (Some(sum), Some(all)) = (self.others.get_mut(index), self.times.1.get_mut(index)) {
                    *sum = sum.plus(count);
                    *all = all.plus(times);
                }
            }
            for (name, queue) in record.queues() {
                let known = self.models.iter().position(|known| *known == name);
                if let Some(sum) = known.and_then(|index| self.queued.1.get_mut(index)) {
                    *sum = sum.plus(queue);
                }
            }
        }
    }

    fn publish(&mut self, store: &mut dyn Store, now: Timestamp) {
        let bytes = self.encode(now);
        if let Some((slot, cas)) = self.slot {
            if store.write(&key(slot), &bytes, cas).is_ok() {
                self.slot = store.read(&key(slot)).ok().flatten().map(|stored| (slot, stored.cas));
                return;
            }
            // Another worker has taken the slot, because it considered this one gone.
            self.slot = None;
        }
        for slot in 0..MAX_WORKERS {
            let cas = match store.read(&key(slot)) {
                Ok(None) => CREATE,
                Ok(Some(stored)) => {
                    let free = Record::decode(&stored.bytes)
                        .is_none_or(|record| record.worker == self.worker || record.is_gone(now));
                    if !free {
                        continue;
                    }
                    stored.cas
                }
                Err(_) => return,
            };
            match store.write(&key(slot), &bytes, cas) {
                Ok(()) => {
                    self.slot = store.read(&key(slot)).ok().flatten().map(|stored| (slot, stored.cas));
                    return;
                }
                Err(StoreError::Changed) => {}
                Err(StoreError::Failed) => return,
            }
        }
    }

    fn encode(&self, now: Timestamp) -> Vec<u8> {
        let mut entries = Vec::new();
        for (index, (name, count)) in self.names.iter().zip(&self.own).enumerate() {
            let times = self.times.0.at(index);
            if count.attempts == 0 && times.count == 0 {
                continue;
            }
            entries.extend(name.to_le_bytes());
            entries.extend(count.attempts.to_le_bytes());
            entries.extend(count.unanswered.to_le_bytes());
            entries.extend(count.tokens.input.to_le_bytes());
            entries.extend(count.tokens.output.to_le_bytes());
            times.write(&mut entries);
        }
        let mut bytes = vec![VERSION];
        bytes.extend(self.worker.to_le_bytes());
        bytes.extend(now.as_millis().to_le_bytes());
        bytes.extend(u32::try_from(entries.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.append(&mut entries);
        for (name, queue) in self.models.iter().zip(&self.queued.0).filter(|(_, queue)| queue.requests > 0) {
            bytes.extend(name.to_le_bytes());
            queue.write(&mut bytes);
        }
        bytes
    }
}

struct Record<'b> {
    worker: u64,
    heartbeat: Timestamp,
    entries: &'b [u8],
    queues: &'b [u8],
}

impl<'b> Record<'b> {
    fn decode(bytes: &'b [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let (version, header) = header.split_first()?;
        let (worker, header) = header.split_first_chunk::<8>()?;
        let (heartbeat, size) = header.split_first_chunk::<8>()?;
        let size = usize::try_from(u32::from_le_bytes(size.try_into().ok()?)).ok()?;
        let (entries, queues) = rest.split_at_checked(size)?;
        let whole = *version == VERSION
            && entries.len().is_multiple_of(ENTRY_BYTES)
            && queues.len().is_multiple_of(QUEUE_BYTES);
        whole.then(|| Self {
            worker: u64::from_le_bytes(*worker),
            heartbeat: Timestamp::from_millis(u64::from_le_bytes(*heartbeat)),
            entries,
            queues,
        })
    }

    fn entries(&self) -> impl Iterator<Item = (u64, Count, FirstContentTimes)> {
        self.entries.chunks_exact(ENTRY_BYTES).filter_map(|entry| {
            let (name, entry) = entry.split_first_chunk::<8>()?;
            let (attempts, entry) = entry.split_first_chunk::<4>()?;
            let (unanswered, entry) = entry.split_first_chunk::<4>()?;
            let (input, entry) = entry.split_first_chunk::<8>()?;
            let (output, times) = entry.split_first_chunk::<8>()?;
            let tokens = Tokens { input: u64::from_le_bytes(*input), output: u64::from_le_bytes(*output) };
            let (attempts, unanswered) = (u32::from_le_bytes(*attempts), u32::from_le_bytes(*unanswered));
            Some((
                u64::from_le_bytes(*name),
                Count { attempts, unanswered, tokens },
                FirstContentTimes::read(times)?,
            ))
        })
    }

    fn queues(&self) -> impl Iterator<Item = (u64, QueueState)> {
        self.queues.chunks_exact(QUEUE_BYTES).filter_map(|queue| {
            let (name, queue) = queue.split_first_chunk::<8>()?;
            Some((u64::from_le_bytes(*name), QueueState::read(queue)?))
        })
    }

    /// A heartbeat far in the future means that the clock has stepped back since.
    fn is_gone(&self, now: Timestamp) -> bool {
        now.since(self.heartbeat) > GONE_AFTER || self.heartbeat.since(now) > GONE_AFTER
    }
}

fn key(slot: usize) -> String {
    format!("llm-failsafe/pending/{slot}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::memory::Memory;
    use crate::config;
    use std::rc::Rc;

    const CONFIG: &str = r#"{
      "providers": {"openai": {"kind": "openai"}},
      "targets": {
        "gpt-a": {"provider": "openai", "model": "gpt-real"},
        "gpt-b": {"provider": "openai", "model": "gpt-real"},
        "gpt-c": {"provider": "openai", "model": "gpt-real"}
      },
      "models": {"chat": {"targets": ["gpt-a", "gpt-b", "gpt-c"]}}
    }"#;

    const TOKENS: Tokens = Tokens { input: 100, output: 10 };

    fn load(json: &str) -> Config {
        config::load(json.as_bytes(), &|_| None).unwrap()
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    fn target(index: usize) -> TargetId {
        TargetId::from_index(index).unwrap()
    }

    #[test]
    fn workers_see_each_other_s_attempts_until_they_are_gone() {
        let shelf = Rc::default();
        let config = load(CONFIG);
        let mut stores: Vec<_> = (0..3).map(|_| Memory::on(Rc::clone(&shelf))).collect();
        let mut workers: Vec<_> = (0..3).map(|id| Pending::new(&config, id)).collect();
        for (worker, store) in workers.iter_mut().zip(&mut stores) {
            worker.begin(target(0), TOKENS);
            worker.begin(target(1), TOKENS);
            worker.exchange(store, at(0));
        }
        workers[0].exchange(&mut stores[0], at(100));
        assert_eq!((workers[0].attempts(target(0)), workers[0].attempts(target(2))), (3, 0));
        workers[0].end(target(0));
        assert_eq!(workers[0].attempts(target(0)), 2, "a worker knows its own counts at once");
        assert_eq!(workers[0].unanswered(target(1)), (3, Tokens { input: 300, output: 30 }));
        workers[0].answered(target(1), TOKENS);
        assert_eq!(workers[0].unanswered(target(1)), (2, Tokens { input: 200, output: 20 }));
        assert_eq!(workers[0].attempts(target(1)), 3);
        // The second worker ends an attempt, the third has crashed.
        workers[1].end(target(0));
        workers[1].exchange(&mut stores[1], at(3_500));
        workers[0].exchange(&mut stores[0], at(3_500));
        assert_eq!(workers[0].attempts(target(0)), 0);
        assert_eq!(workers[0].attempts(target(1)), 2);
    }

    #[test]
    fn figures_for_operators_use_the_same_slots() {
        let shelf = Rc::default();
        let config = load(CONFIG);
        let mut stores = [Memory::on(Rc::clone(&shelf)), Memory::on(shelf)];
        let mut workers = [Pending::new(&config, 1), Pending::new(&config, 2)];
        let model = ModelId::from_index(0).unwrap();
        for (ms, worker) in [100_u16, 300].into_iter().zip(&mut workers) {
            worker.first_content(target(1), Duration::from_millis(ms.into()));
            let queue = QueueState { requests: 2, bytes: 10, since: at(ms.into()) };
            worker.set_queues([queue].into_iter());
        }
        for _ in 0..2 {
            for (worker, store) in workers.iter_mut().zip(&mut stores) {
                worker.exchange(store, at(400));
            }
        }
        for worker in &workers {
            assert_eq!(
                worker.first_content_times(target(1)),
                FirstContentTimes { count: 2, sum_ms: 400, longest_ms: 300 }
            );
            assert_eq!(worker.first_content_times(target(0)), FirstContentTimes::default());
            assert_eq!(worker.queue_state(model), QueueState { requests: 4, bytes: 20, since: at(100) });
            assert_eq!(worker.attempts(target(1)), 0);
        }
        workers[0].set_queues([QueueState::default()].into_iter());
        workers[0].exchange(&mut stores[0], at(500));
        workers[1].exchange(&mut stores[1], at(500));
        assert_eq!(workers[1].queue_state(model).requests, 2);
    }

    #[test]
    fn the_slot_of_a_worker_that_is_gone_is_reused() {
        let shelf = Rc::default();
        let config = load(CONFIG);
        for id in 0..50 {
            let mut store = Memory::on(Rc::clone(&shelf));
            Pending::new(&config, id).exchange(&mut store, at(id * 10_000));
        }
        assert_eq!(shelf.borrow().records.len(), 1);
    }

    #[test]
    fn two_workers_that_start_together_get_a_slot_each() {
        let shelf: Rc<std::cell::RefCell<crate::base::memory::Shelf>> = Rc::default();
        let config = load(CONFIG);
        let mut rival = Pending::new(&config, 7);
        let mut rivals = Memory::on(Rc::clone(&shelf));
        let mut store = Memory::on(Rc::clone(&shelf));
        store.before_write = Some(Box::new(move || rival.exchange(&mut rivals, at(0))));
        let mut worker = Pending::new(&config, 8);
        worker.exchange(&mut store, at(0));
        assert_eq!(shelf.borrow().records.len(), 2);
    }

    #[test]
    fn unreadable_records_are_ignored() {
        let shelf: Rc<std::cell::RefCell<crate::base::memory::Shelf>> = Rc::default();
        let mut store = Memory::on(Rc::clone(&shelf));
        let mut cut = Pending::new(&load(CONFIG), 7);
        cut.begin(target(0), TOKENS);
        let mut torn = cut.encode(at(0));
        torn.pop();
        let mut endless = cut.encode(at(0));
        endless[17..21].fill(255);
        for (slot, bytes) in [vec![], vec![9; 40], vec![3; 18], torn, endless].into_iter().enumerate() {
            store.write(&key(slot), &bytes, CREATE).unwrap();
        }
        let mut worker = Pending::new(&load(CONFIG), 8);
        worker.begin(target(0), TOKENS);
        worker.exchange(&mut store, at(0));
        assert_eq!(worker.attempts(target(0)), 1);
    }
}
