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
//! The slots also carry figures that only operators read (`figures`): times to first content, queues, and what
//! each VM has now ([`Levels`]). So these cost no host call of their own. A VM may have several slots for a
//! while, because a new configuration has one of its own. Only the newest has the VM's levels.

use std::time::Duration;

use super::figures::{FirstContentTimes, Levels, QueueState, Recent};
use crate::base::{CREATE, FNV_BASIS, ModelId, Store, StoreError, TargetId, Timestamp, Tokens, fnv1a};
use crate::config::Config;

/// The most workers that see each other's counts. Envoy runs one worker per core by default. Further workers
/// see only their own.
pub const MAX_WORKERS: usize = 256;

/// A worker without a heartbeat for this long is gone. Workers tick every 100 ms.
const GONE_AFTER: Duration = Duration::from_secs(3);

const VERSION: u8 = 4;
/// Version, worker, heartbeat, VM, its levels, size of the target entries. The model entries follow.
const HEADER_BYTES: usize = 1 + 8 + 8 + 8 + Levels::BYTES + 4;
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
    /// This VM and its levels, and those of the others.
    vm: (u64, Levels),
    other_vms: Levels,
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
            vm: (worker, Levels::default()),
            other_vms: Levels::default(),
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

    /// What this VM has now. `vm` is a random number unique to it.
    pub const fn set_levels(&mut self, vm: u64, levels: Levels) {
        self.vm = (vm, levels);
    }

    /// What the other VMs have, as of the last exchange.
    pub const fn levels_of_others(&self) -> Levels {
        self.other_vms
    }

    /// What all VMs have, as of the last exchange.
    pub const fn levels(&self) -> Levels {
        self.vm.1.plus(self.other_vms)
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
        let mut vms = Vms::default();
        for slot in 0..MAX_WORKERS {
            let Ok(Some(stored)) = store.read(&key(slot)) else { break };
            let Some(record) = Record::decode(&stored.bytes) else { continue };
            if record.worker == self.worker || record.is_gone(now) {
                continue;
            }
            self.has_other_workers = true;
            if record.vm != self.vm.0 {
                vms.see(&record);
            }
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
        self.other_vms = vms.sum();
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
        bytes.extend(self.vm.0.to_le_bytes());
        self.vm.1.write(&mut bytes);
        bytes.extend(u32::try_from(entries.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.append(&mut entries);
        for (name, queue) in self.models.iter().zip(&self.queued.0).filter(|(_, queue)| queue.requests > 0) {
            bytes.extend(name.to_le_bytes());
            queue.write(&mut bytes);
        }
        bytes
    }
}

/// The newest levels of each VM.
#[derive(Default)]
struct Vms(Vec<(u64, Timestamp, Levels)>);

impl Vms {
    fn see(&mut self, record: &Record<'_>) {
        match self.0.iter_mut().find(|(vm, ..)| *vm == record.vm) {
            Some((_, at, levels)) if *at < record.heartbeat => {
                (*at, *levels) = (record.heartbeat, record.levels)
            }
            Some(_) => {}
            None => self.0.push((record.vm, record.heartbeat, record.levels)),
        }
    }

    fn sum(&self) -> Levels {
        self.0.iter().fold(Levels::default(), |sum, (.., levels)| sum.plus(*levels))
    }
}

struct Record<'b> {
    worker: u64,
    heartbeat: Timestamp,
    vm: u64,
    levels: Levels,
    entries: &'b [u8],
    queues: &'b [u8],
}

impl<'b> Record<'b> {
    fn decode(bytes: &'b [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let (version, header) = header.split_first()?;
        let (worker, header) = header.split_first_chunk::<8>()?;
        let (heartbeat, header) = header.split_first_chunk::<8>()?;
        let (vm, header) = header.split_first_chunk::<8>()?;
        let (levels, size) = header.split_first_chunk::<{ Levels::BYTES }>()?;
        let levels = Levels::read(levels)?;
        let size = usize::try_from(u32::from_le_bytes(size.try_into().ok()?)).ok()?;
        let (entries, queues) = rest.split_at_checked(size)?;
        let whole = *version == VERSION
            && entries.len().is_multiple_of(ENTRY_BYTES)
            && queues.len().is_multiple_of(QUEUE_BYTES);
        whole.then(|| Self {
            worker: u64::from_le_bytes(*worker),
            heartbeat: Timestamp::from_millis(u64::from_le_bytes(*heartbeat)),
            vm: u64::from_le_bytes(*vm),
            levels,
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
#[path = "pending_tests.rs"]
mod tests;
