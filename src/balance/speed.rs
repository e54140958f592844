//! How fast targets answer, as all workers have found it.
//!
//! Of a stream the time to its first content counts, of a plain answer its whole time for each token: a long answer is no
//! slow one. Both are kept as *peak* moving averages (Finagle's and Linkerd's measure): a slower sample counts at once and
//! in full, and what is faster again is believed within some [`DECAY`]. So a target that has become slow is left within one
//! request, and one lucky answer does not bring everybody back.
//!
//! Samples are taken where a model balances by speed and nowhere else. A worker sees its own at once; in the tick they are
//! put into the target's shared record, and what others have put there is read. What waits for its first content is counted
//! by each worker for itself, because a target that has stopped answering yields no samples at all.

use std::time::Duration;

use crate::base::{Store, TargetId, Timestamp, update};
use crate::config::{Balance, Config};

/// The time in which the memory of a slow sample fades to about a third.
const DECAY: Duration = Duration::from_secs(10);

/// Older than this, an estimate is worth trying again.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// Tokens that every plain answer is taken to have besides its own: a short answer's time is mostly waiting.
const TOKENS_FOR_WAITING: u64 = 16;

const VERSION: u8 = 1;
const RECORD_BYTES: usize = 1 + 4 * 8;

/// What is expected of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Speed {
    /// Microseconds to the first content of a stream, or for each token of a plain answer; `None` when nothing is known.
    pub expected_us: Option<u64>,
    /// It was found out so long ago that it is worth trying again.
    pub stale: bool,
    /// Attempts of this worker that wait for their first content.
    pub waiting: u32,
}

/// One worker's view of how fast targets are.
#[derive(Debug)]
pub struct SpeedView {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// `None` where no model balances by speed.
    key: Option<Box<str>>,
    streams: Track,
    answers: Track,
    waiting: u32,
    /// The sum of the moments, in milliseconds, since when they wait.
    waiting_since: u64,
}

/// An estimate, and the samples that the others do not know of.
#[derive(Debug, Default)]
struct Track {
    estimate: Estimate,
    fresh: Option<Batch>,
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
    /// The targets of a configuration, of which nothing is known yet. Records go by names, so they outlive changes of it.
    pub fn new(config: &Config) -> Self {
        let mut used = vec![false; config.targets().len()];
        for model in config.models().iter().filter(|model| model.balance == Balance::Fastest) {
            for target in model.tiers.iter().flatten() {
                if let Some(used) = used.get_mut(target.index()) {
                    *used = true;
                }
            }
        }
        let entries = config.targets().iter().zip(used).map(|(target, used)| Entry {
            key: used.then(|| format!("llm-failsafe/pace/{}", target.name).into()),
            streams: Track::default(),
            answers: Track::default(),
            waiting: 0,
            waiting_since: 0,
        });
        Self { entries: entries.collect() }
    }

    fn used(&mut self, target: TargetId) -> Option<&mut Entry> {
        self.entries.get_mut(target.index()).filter(|entry| entry.key.is_some())
    }

    /// An attempt is sent.
    pub fn begin(&mut self, target: TargetId, now: Timestamp) {
        if let Some(entry) = self.used(target) {
            entry.waiting = entry.waiting.saturating_add(1);
            entry.waiting_since = entry.waiting_since.saturating_add(now.as_millis());
        }
    }

    /// An attempt's first content has come.
    pub fn first_content(&mut self, target: TargetId, streamed: bool, sent_at: Timestamp, now: Timestamp) {
        let Some(entry) = self.used(target) else { return };
        entry.end_wait(sent_at);
        if streamed {
            entry.streams.observe(micros(now.since(sent_at)), now);
        }
    }

    /// An attempt has ended without content. How fast it would have been is not known; that it would have been no faster
    /// than this is.
    pub fn no_content(&mut self, target: TargetId, streamed: bool, sent_at: Timestamp, now: Timestamp) {
        let Some(entry) = self.used(target) else { return };
        entry.end_wait(sent_at);
        let waited = micros(now.since(sent_at));
        if streamed && entry.streams.estimate.us > 0 && waited > entry.streams.estimate.us {
            entry.streams.observe(waited, now);
        }
    }

    /// A plain answer is complete.
    pub fn answered(&mut self, target: TargetId, took: Duration, tokens: u64, now: Timestamp) {
        if let Some(entry) = self.used(target) {
            let each = micros(took) / tokens.saturating_add(TOKENS_FOR_WAITING);
            entry.answers.observe(each, now);
        }
    }

    /// What is expected of a target that is sent a request now.
    pub fn speed(&self, target: TargetId, streamed: bool, now: Timestamp) -> Speed {
        let Some(entry) = self.entries.get(target.index()) else { return Speed::default() };
        let estimate = if streamed { entry.streams.estimate } else { entry.answers.estimate };
        let mut us = estimate.us;
        // What waits has not been answered in this time: the average age says so before any answer does.
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

    /// Puts this worker's samples into the shared records and reads those of the others. Where that fails the samples stay
    /// this worker's own.
    pub fn exchange(&mut self, store: &mut dyn Store) {
        for entry in &mut self.entries {
            let Some(key) = &entry.key else { continue };
            let fresh = [entry.streams.fresh.take(), entry.answers.fresh.take()];
            let shared = update(store, key, |bytes| {
                let before = bytes.and_then(decode).unwrap_or_default();
                let mut after = before;
                for (estimate, batch) in after.iter_mut().zip(fresh) {
                    if let Some(batch) = batch {
                        estimate.observe(batch.sum / batch.count.max(1), batch.at);
                        estimate.us = estimate.us.max(if estimate.at == batch.at { batch.most } else { 0 });
                    }
                }
                (after, (after != before).then(|| encode(after)))
            });
            if let Some([streams, answers]) = shared {
                // Where nobody has shared anything yet, what this worker knows is still better than nothing.
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
        let batch = self.fresh.get_or_insert(Batch { sum: 0, count: 0, most: 0, at: now });
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
            // Exponential decay towards what is seen, by the time since the last sample.
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
        for (place, word) in rest.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
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
