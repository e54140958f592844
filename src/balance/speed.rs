//! How fast targets respond, as measured by all workers.
//!
//! **What is measured.** For a stream, the time to first content. For any other response, its total time
//! divided by its tokens, because a long response is not a slow one.
//!
//! **Why peak averages.** Both are *peak* moving averages, as in Finagle and Linkerd: a slower sample counts
//! at once and in full, a faster one only gradually, with the time constant [`DECAY`]. So a target that
//! becomes slow loses traffic within one request, and a single fast response does not bring all traffic back.
//!
//! **Targets that stop responding** yield no samples. Therefore each worker also counts its own attempts that
//! still wait for first content, with their age.
//!
//! **Sharing.** Samples are taken only for targets of models that balance by speed. A worker uses its own at
//! once. In each tick it adds them to the target's shared record and reads those of the other workers.

use std::time::Duration;

use crate::base::{Store, TargetId, Timestamp, update};
use crate::config::{Balance, Config};

/// The time in which a slow sample fades to about a third.
const DECAY: Duration = Duration::from_secs(10);

/// An estimate older than this is worth a new try.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// Added to the tokens of each non-streamed response: the time of a short response is mostly waiting.
const BASE_TOKENS: u64 = 16;

const VERSION: u8 = 1;
const RECORD_BYTES: usize = 1 + 4 * 8;

/// The expected speed of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Speed {
    /// Microseconds to first content of a stream, or per token of another response; `None` if unknown.
    pub expected_us: Option<u64>,
    /// The estimate is so old that it is worth a new try.
    pub stale: bool,
    /// This worker's attempts that wait for first content.
    pub waiting: u32,
}

/// One worker's view of how fast targets are.
#[derive(Debug)]
pub struct SpeedView {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// `None` if no model with this target balances by speed.
    key: Option<Box<str>>,
    streams: Track,
    answers: Track,
    waiting: u32,
    /// Sum of the times, in milliseconds, at which the waiting attempts were sent.
    waiting_since: u64,
}

/// An estimate, and the samples that the other workers do not have.
#[derive(Debug, Default)]
struct Track {
    estimate: Estimate,
    unshared: Option<Batch>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Estimate {
    /// 0 is unknown.
    us: u64,
    at: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Batch {
    sum: u64,
    count: u64,
    most: u64,
    at: Timestamp,
}

impl SpeedView {
    /// A view of `config` without any estimate. Records are stored by name, so they outlive a configuration
    /// change.
    pub fn new(config: &Config) -> Self {
        let mut tracked = vec![false; config.targets().len()];
        for model in config.models().iter().filter(|model| model.balance == Balance::Fastest) {
            for target in model.tiers.iter().flatten() {
                if let Some(tracked) = tracked.get_mut(target.index()) {
                    *tracked = true;
                }
            }
        }
        let entries = config.targets().iter().zip(tracked).map(|(target, tracked)| Entry {
            key: tracked.then(|| format!("llm-failsafe/speed/{}", target.name).into()),
            streams: Track::default(),
            answers: Track::default(),
            waiting: 0,
            waiting_since: 0,
        });
        Self { entries: entries.collect() }
    }

    fn tracked(&mut self, target: TargetId) -> Option<&mut Entry> {
        self.entries.get_mut(target.index()).filter(|entry| entry.key.is_some())
    }

    /// An attempt is sent.
    pub fn begin(&mut self, target: TargetId, now: Timestamp) {
        if let Some(entry) = self.tracked(target) {
            entry.waiting = entry.waiting.saturating_add(1);
            entry.waiting_since = entry.waiting_since.saturating_add(now.as_millis());
        }
    }

    /// An attempt's first content has come.
    pub fn first_content(&mut self, target: TargetId, streamed: bool, sent_at: Timestamp, now: Timestamp) {
        let Some(entry) = self.tracked(target) else { return };
        entry.end_wait(sent_at);
        if streamed {
            entry.streams.observe(micros(now.since(sent_at)), now);
        }
    }

    /// An attempt has ended without content. Its time to first content is unknown, but it is at least the
    /// time waited.
    pub fn no_content(&mut self, target: TargetId, streamed: bool, sent_at: Timestamp, now: Timestamp) {
        let Some(entry) = self.tracked(target) else { return };
        entry.end_wait(sent_at);
        let waited = micros(now.since(sent_at));
        if streamed && entry.streams.estimate.us > 0 && waited > entry.streams.estimate.us {
            entry.streams.observe(waited, now);
        }
    }

    /// A non-streamed response is complete.
    pub fn answered(&mut self, target: TargetId, took: Duration, tokens: u64, now: Timestamp) {
        if let Some(entry) = self.tracked(target) {
            let each = micros(took) / tokens.saturating_add(BASE_TOKENS);
            entry.answers.observe(each, now);
        }
    }

    /// The expected speed of a target for a request sent now.
    pub fn speed(&self, target: TargetId, streamed: bool, now: Timestamp) -> Speed {
        let Some(entry) = self.entries.get(target.index()) else { return Speed::default() };
        let estimate = if streamed { entry.streams.estimate } else { entry.answers.estimate };
        let mut us = estimate.us;
        // The average age of waiting attempts shows slowness before any response does.
        if streamed && us > 0 && entry.waiting > 0 {
            let since = entry.waiting_since / u64::from(entry.waiting);
            us = us.max(micros(now.since(Timestamp::from_millis(since))));
        }
        Speed {
            expected_us: (us > 0).then_some(us),
            stale: now.since(estimate.at) > STALE_AFTER,
            waiting: entry.waiting,
        }
    }

    /// Adds this worker's samples to the shared records and reads those of the others. If that fails, the
    /// samples stay with this worker.
    pub fn exchange(&mut self, store: &mut dyn Store) {
        for entry in &mut self.entries {
            let Some(key) = &entry.key else { continue };
            let unshared = [entry.streams.unshared.take(), entry.answers.unshared.take()];
            let shared = update(store, key, |bytes| {
                let before = bytes.and_then(decode).unwrap_or_default();
                let mut after = before;
                for (estimate, batch) in after.iter_mut().zip(unshared) {
                    if let Some(batch) = batch {
                        estimate.observe(batch.sum / batch.count.max(1), batch.at);
                        estimate.us = estimate.us.max(if estimate.at == batch.at { batch.most } else { 0 });
                    }
                }
                (after, (after != before).then(|| encode(after)))
            });
            if let Some([streams, answers]) = shared {
                // Without a shared estimate, keep this worker's own.
                for (track, estimate) in [(&mut entry.streams, streams), (&mut entry.answers, answers)] {
                    if estimate.us > 0 {
                        track.estimate = estimate;
                    }
                }
            }
        }
    }
}

impl Entry {
    const fn end_wait(&mut self, sent_at: Timestamp) {
        self.waiting = self.waiting.saturating_sub(1);
        self.waiting_since = self.waiting_since.saturating_sub(sent_at.as_millis());
    }
}

impl Track {
    fn observe(&mut self, us: u64, now: Timestamp) {
        // 0 means unknown.
        let us = us.max(1);
        self.estimate.observe(us, now);
        let batch = self.unshared.get_or_insert(Batch { sum: 0, count: 0, most: 0, at: now });
        batch.sum = batch.sum.saturating_add(us);
        batch.count = batch.count.saturating_add(1);
        batch.most = batch.most.max(us);
        batch.at = now;
    }
}

impl Estimate {
    fn observe(&mut self, us: u64, now: Timestamp) {
        if us >= self.us {
            self.us = us;
        } else {
            // Exponential decay towards the sample, by the time since the last one.
            let kept = (-now.since(self.at).as_secs_f64() / DECAY.as_secs_f64()).exp();
            let faded = (self.us as f64).mul_add(kept, us as f64 * (1.0 - kept));
            self.us = (faded as u64).max(1);
        }
        self.at = self.at.max(now);
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn encode(estimates: [Estimate; 2]) -> [u8; RECORD_BYTES] {
    let mut bytes = [VERSION; RECORD_BYTES];
    let words = estimates.iter().flat_map(|estimate| [estimate.us, estimate.at.as_millis()]);
    if let Some(rest) = bytes.get_mut(1..) {
        for (slot, word) in rest.chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<[Estimate; 2]> {
    let (version, rest) = bytes.split_first()?;
    if *version != VERSION || bytes.len() != RECORD_BYTES {
        return None;
    }
    let mut words = rest.chunks_exact(8).filter_map(|word| Some(u64::from_le_bytes(word.try_into().ok()?)));
    let mut estimate = || Some(Estimate { us: words.next()?, at: Timestamp::from_millis(words.next()?) });
    Some([estimate()?, estimate()?])
}

#[cfg(test)]
#[path = "speed_tests.rs"]
mod tests;
