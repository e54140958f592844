//! The adaptive limit on attempts in flight at one target (`max_pending: { adaptive: true, … }`).
//!
//! **Up.** Each answer raises the limit by a part of 1, so that as many answers as the limit raise it by 1. It counts
//! only if the limit was reached while the attempt was in flight: otherwise nothing shows that more would be served
//! well. Until the limit is first lowered, and after that below the value that it was lowered to, each such answer raises
//! it by a whole 1, so that it finds its range soon.
//! The answer to a stream counts with its first content, because then the target has shown that it serves the request.
//!
//! **Down.** A 429, 503 or 529 lowers the limit to 70 % of the attempts in flight, at most once a second. A further one
//! within that second lowers it to the attempts that are in flight besides. Otherwise all that wait would be refused in
//! that second. Attempts that were sent before the limit was last lowered do not lower it again, so a burst of refusals
//! counts once. For a second the limit does not rise either, so that a target with fast answers refuses little.
//!
//! **Slowness** is the sign of a target that queues instead of refusing. What is compared is the median of at least ten
//! answers within at least a second, because one answer says little: prompts differ in length, and caches hit or miss.
//! A window is slow if its median is more than twice the usual one. After one slow window the limit does not rise, after
//! each second one it is lowered to 70 %, or to half if the median is more than four times the usual one. For a stream the time to first content is taken. For another answer it is the time
//! per token, because a long answer is not a slow one.
//!
//! **What is usual** is the best median that was seen. It follows slower medians only while the limit is not reached:
//! if it did at the limit, the limit and the delay would raise each other. If lowering the limit twice does not make the
//! answers faster, attempts in flight are not why they are slow (prompts have become longer, or the target has). Then
//! the present median becomes the usual one. Otherwise such a change would leave the limit at its minimum.
//!
//! A single minimum, as in TCP Vegas, would not do: the shortest prompt with a cache hit would make all others slow.

use std::time::Duration;

use crate::base::Timestamp;
use crate::config::PendingBounds;

/// The limit of a target about which nothing is known, if its bounds allow it.
const START: u32 = 4;
/// Limits are kept in these parts of 1.
const ONE: u32 = 1_000;
/// What is left of a limit that is lowered, in 1/1000.
const LOWERED_PERMILLE: u32 = 700;
/// The same, if the target is very slow.
const HALVED_PERMILLE: u32 = 500;
/// A limit that was lowered does not rise for so long, and is lowered to a part at most this often.
const LOWER_EVERY: Duration = Duration::from_secs(1);
/// How many answers a window compares, and for how long it lasts at least.
const SAMPLES: usize = 10;
const WINDOW: Duration = Duration::from_secs(1);
/// Each so many slow windows in a row lower the limit.
const SLOW_WINDOWS: u8 = 2;
/// After so many slow windows in a row, lowering must have helped.
const SHOULD_HELP: u8 = 6;
/// The part of a slower median by which the usual one rises.
const RISE: u32 = 32;

const TRACK_BYTES: usize = 4 + 4 + 8 + 3 + 4 * SAMPLES;
/// The size of a limit in a record.
pub const ADAPTIVE_BYTES: usize = 4 + 4 + 8 + 8 + 2 * TRACK_BYTES;

/// What an attempt has shown about the load that its target can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadSignal {
    /// When the attempt was sent.
    pub sent_at: Timestamp,
    /// When this was seen.
    pub at: Timestamp,
    /// What was seen.
    pub sign: LoadSign,
}

/// A sign of how much load a target can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadSign {
    /// It answers, after this time.
    Answered(Option<Pace>),
    /// It has not answered for so long.
    Silent(Pace),
    /// It refused the request because it has too many.
    Overloaded,
}

/// How fast an answer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A stream, by its time to first content.
    FirstContent(Duration),
    /// Another answer, by its time per token.
    PerToken(Duration),
}

impl Pace {
    /// The pace of an answer that is no stream.
    pub fn of_answer(took: Duration, tokens: u64) -> Self {
        // The time of a short answer is mostly waiting.
        let tokens = u32::try_from(tokens.saturating_add(16)).unwrap_or(u32::MAX);
        Self::PerToken(took.checked_div(tokens).unwrap_or_default())
    }

    /// Its track, and its time in microseconds.
    fn measured(self) -> (usize, u32) {
        let (track, time) = match self {
            Self::FirstContent(time) => (0, time),
            Self::PerToken(time) => (1, time),
        };
        // 0 means unknown.
        (track, u32::try_from(time.as_micros()).unwrap_or(u32::MAX).max(1))
    }
}

/// Times shorter than this beyond twice the usual one are no slowness: clocks and workers are not more exact.
const TOLERATED_US: [u32; 2] = [50_000, 3_000];

/// The limit and what it rests on. All workers share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdaptiveLimit {
    /// In 1/1000.
    limit: u32,
    /// Below this it rises by a whole 1 with each answer.
    fast_until: u32,
    /// When the limit was last reached.
    full_at: Timestamp,
    /// When it was last lowered; 0 if never.
    lowered_at: Timestamp,
    tracks: [Track; 2],
}

/// The times of answers of one kind, in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Track {
    /// The usual median; 0 if unknown.
    usual: u32,
    /// The highest median of the slow windows in a row.
    slowest: u32,
    /// When the first answer of the window came.
    began: Timestamp,
    /// How many answers the window has, at most [`u8::MAX`].
    count: u8,
    /// Whether the limit was reached while an attempt of the window was in flight.
    was_full: bool,
    /// Slow windows in a row.
    slow: u8,
    /// The latest answers.
    samples: [u32; SAMPLES],
}

/// What a window shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The limit is to be lowered to this part of it, in 1/1000.
    Lower(u32),
    Nothing,
}

impl AdaptiveLimit {
    /// The limit before anything is known.
    pub fn new() -> Self {
        Self {
            limit: START.saturating_mul(ONE),
            fast_until: u32::MAX,
            full_at: Timestamp::from_millis(0),
            lowered_at: Timestamp::from_millis(0),
            tracks: [Track::default(), Track::default()],
        }
    }

    /// How many attempts may be in flight.
    pub fn limit(&self, bounds: PendingBounds) -> u32 {
        (self.limit / ONE).clamp(bounds.min, bounds.max)
    }

    /// An attempt has been sent. With it, so many are in flight.
    pub fn sent(&mut self, used: u32, bounds: PendingBounds, now: Timestamp) {
        if used >= self.limit(bounds) {
            self.full_at = self.full_at.max(now);
        }
    }

    /// Takes in what an attempt has shown. With it, so many are in flight.
    pub fn learn(&mut self, signal: LoadSignal, used: u32, bounds: PendingBounds) {
        // A new configuration may have other bounds.
        self.limit = self.limit.clamp(bounds.min.saturating_mul(ONE), bounds.max.saturating_mul(ONE));
        match signal.sign {
            LoadSign::Overloaded => self.refused(used, bounds, signal),
            LoadSign::Answered(pace) => {
                match pace.map_or(Verdict::Nothing, |pace| self.measure(pace, signal)) {
                    Verdict::Lower(permille) => self.lower(self.limit, permille, bounds, signal.at),
                    Verdict::Nothing => self.raise(bounds, signal),
                }
            }
            LoadSign::Silent(pace) => {
                let (track, us) = pace.measured();
                let is_slow = self.tracks.get(track).is_some_and(|known| known.is_slow(track, us));
                if is_slow && let Verdict::Lower(permille) = self.measure(pace, signal) {
                    self.lower(self.limit, permille, bounds, signal.at);
                }
            }
        }
    }

    fn raise(&mut self, bounds: PendingBounds, signal: LoadSignal) {
        let is_slow = self.tracks.iter().any(|track| track.slow > 0);
        let was_lowered = signal.at.since(self.lowered_at) < LOWER_EVERY;
        if is_slow || was_lowered || signal.sent_at > self.full_at {
            return;
        }
        let part = (ONE * ONE).checked_div(self.limit).unwrap_or(ONE).max(1);
        let more = self.limit.saturating_add(if self.limit < self.fast_until { ONE } else { part });
        self.limit = more.min(bounds.max.saturating_mul(ONE));
    }

    fn refused(&mut self, used: u32, bounds: PendingBounds, signal: LoadSignal) {
        if signal.sent_at < self.lowered_at {
            return;
        }
        if signal.at.since(self.lowered_at) < LOWER_EVERY {
            let besides = used.saturating_sub(1).max(bounds.min).saturating_mul(ONE);
            self.limit = self.limit.min(besides);
            self.lowered_at = signal.at;
        } else {
            let used = used.max(1).saturating_mul(ONE);
            self.lower(self.limit.min(used), LOWERED_PERMILLE, bounds, signal.at);
        }
    }

    fn lower(&mut self, from: u32, permille: u32, bounds: PendingBounds, now: Timestamp) {
        let lowered = u64::from(from).saturating_mul(permille.into()) / 1000;
        let lowered = u32::try_from(lowered).unwrap_or(u32::MAX);
        self.limit = lowered.max(bounds.min.saturating_mul(ONE));
        self.fast_until = self.limit;
        self.lowered_at = now;
        self.tracks.iter_mut().for_each(Track::restart);
    }

    /// Measures an answer. Those to requests that were sent at an earlier, higher limit say nothing about this one.
    fn measure(&mut self, pace: Pace, signal: LoadSignal) -> Verdict {
        let (number, us) = pace.measured();
        if signal.sent_at < self.lowered_at {
            return Verdict::Nothing;
        }
        let was_full = signal.sent_at <= self.full_at;
        self.tracks
            .get_mut(number)
            .map_or(Verdict::Nothing, |track| track.add(number, us, was_full, signal.at))
    }

    /// Its bytes in a record.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.limit.to_le_bytes());
        bytes.extend(self.fast_until.to_le_bytes());
        bytes.extend(self.full_at.as_millis().to_le_bytes());
        bytes.extend(self.lowered_at.as_millis().to_le_bytes());
        for track in &self.tracks {
            bytes.extend(track.usual.to_le_bytes());
            bytes.extend(track.slowest.to_le_bytes());
            bytes.extend(track.began.as_millis().to_le_bytes());
            bytes.extend([track.count, track.was_full.into(), track.slow]);
            track.samples.iter().for_each(|us| bytes.extend(us.to_le_bytes()));
        }
    }

    /// The limit in [`ADAPTIVE_BYTES`] bytes. `None` for fewer.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let (limit, fast_until) = (number(&mut rest)?, number(&mut rest)?);
        let (full_at, lowered_at) = (time(&mut rest)?, time(&mut rest)?);
        let mut track = || {
            let (usual, slowest) = (number(&mut rest)?, number(&mut rest)?);
            let began = time(&mut rest)?;
            let (&[count, was_full, slow], after) = rest.split_first_chunk::<3>()?;
            let was_full = was_full != 0;
            rest = after;
            let mut samples = [0; SAMPLES];
            for sample in &mut samples {
                *sample = number(&mut rest)?;
            }
            Some(Track { usual, slowest, began, count, was_full, slow, samples })
        };
        Some(Self { limit, fast_until, full_at, lowered_at, tracks: [track()?, track()?] })
    }
}

impl Track {
    const fn restart(&mut self) {
        (self.count, self.was_full) = (0, false);
    }

    /// Whether a time is slow in the track with this number.
    fn is_slow(&self, number: usize, us: u32) -> bool {
        let tolerated = TOLERATED_US.get(number).copied().unwrap_or_default();
        self.usual > 0 && us > self.usual.saturating_mul(2).saturating_add(tolerated)
    }

    /// Adds an answer, and judges the window if it is complete.
    fn add(&mut self, number: usize, us: u32, was_full: bool, now: Timestamp) -> Verdict {
        if self.count == 0 {
            self.began = now;
        }
        if let Some(sample) = self.samples.get_mut(usize::from(self.count) % SAMPLES) {
            *sample = us;
        }
        self.was_full |= was_full;
        // Further answers replace older ones.
        self.count = self.count.checked_add(1).unwrap_or(u8::MAX - u8::MAX % SAMPLES as u8);
        if usize::from(self.count) < SAMPLES || now.since(self.began) < WINDOW {
            return Verdict::Nothing;
        }
        let was_full = self.was_full;
        self.restart();
        let mut sorted = self.samples;
        sorted.sort_unstable();
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        self.judge(number, at(SAMPLES / 2), at(SAMPLES / 4), was_full)
    }

    fn judge(&mut self, number: usize, median: u32, lower_quarter: u32, was_full: bool) -> Verdict {
        if self.usual == 0 {
            // The first window may already be slow, so its faster answers count.
            self.usual = lower_quarter;
            return Verdict::Nothing;
        }
        if !self.is_slow(number, median) || !was_full {
            self.slow = 0;
            let change = self.usual.abs_diff(median);
            if median < self.usual {
                self.usual = self.usual.saturating_sub(change / 2);
            } else if !was_full {
                self.usual = self.usual.saturating_add(change / RISE);
            }
            return Verdict::Nothing;
        }
        self.slowest = if self.slow == 0 { median } else { self.slowest.max(median) };
        self.slow = self.slow.saturating_add(1);
        let has_helped = u64::from(median) * 5 <= u64::from(self.slowest) * 4;
        if self.slow >= SHOULD_HELP && !has_helped {
            (self.usual, self.slow) = (median, 0);
            return Verdict::Nothing;
        }
        if !self.slow.is_multiple_of(SLOW_WINDOWS) {
            return Verdict::Nothing;
        }
        let is_very_slow = median > self.usual.saturating_mul(4);
        Verdict::Lower(if is_very_slow { HALVED_PERMILLE } else { LOWERED_PERMILLE })
    }
}

fn number(bytes: &mut &[u8]) -> Option<u32> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*number))
}

fn time(bytes: &mut &[u8]) -> Option<Timestamp> {
    let (ms, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(Timestamp::from_millis(u64::from_le_bytes(*ms)))
}

#[cfg(test)]
#[path = "adaptive_tests.rs"]
mod tests;
