//! Figures that workers exchange for operators to read. No decision depends on them.

use std::time::Duration;

use crate::base::Timestamp;

/// Samples are kept in two halves of this length, so a figure covers the last 30 to 60 seconds.
const HALF: Duration = Duration::from_secs(30);

/// Times that attempts took to first content. For a response that is not streamed, its total time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FirstContentTimes {
    /// Attempts.
    pub count: u32,
    /// Sum of their times.
    pub sum_ms: u64,
    /// The longest time.
    pub longest_ms: u32,
}

impl FirstContentTimes {
    pub(super) const BYTES: usize = 4 + 8 + 4;

    fn add(&mut self, took: Duration) {
        let ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        *self = self.plus(Self { count: 1, sum_ms: ms.into(), longest_ms: ms });
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            sum_ms: self.sum_ms.saturating_add(other.sum_ms),
            longest_ms: self.longest_ms.max(other.longest_ms),
        }
    }

    /// The average; `None` without attempts.
    pub const fn mean_ms(self) -> Option<u64> {
        self.sum_ms.checked_div(self.count as u64)
    }

    pub(super) fn write(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.count.to_le_bytes());
        bytes.extend(self.sum_ms.to_le_bytes());
        bytes.extend(self.longest_ms.to_le_bytes());
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (count, bytes) = bytes.split_first_chunk::<4>()?;
        let (sum, bytes) = bytes.split_first_chunk::<8>()?;
        let (most, _) = bytes.split_first_chunk::<4>()?;
        Some(Self {
            count: u32::from_le_bytes(*count),
            sum_ms: u64::from_le_bytes(*sum),
            longest_ms: u32::from_le_bytes(*most),
        })
    }
}

/// One worker's times per target. Old ones are dropped by halves.
#[derive(Debug)]
pub(super) struct Recent {
    newer: Vec<FirstContentTimes>,
    older: Vec<FirstContentTimes>,
    began: Timestamp,
}

impl Recent {
    pub(super) fn of(targets: usize) -> Self {
        let none = vec![FirstContentTimes::default(); targets];
        Self { newer: none.clone(), older: none, began: Timestamp::default() }
    }

    pub(super) fn add(&mut self, index: usize, took: Duration) {
        if let Some(times) = self.newer.get_mut(index) {
            times.add(took);
        }
    }

    pub(super) fn at(&self, index: usize) -> FirstContentTimes {
        let times = |list: &[FirstContentTimes]| list.get(index).copied().unwrap_or_default();
        times(&self.newer).plus(times(&self.older))
    }

    /// Call this often. A clock that stepped back starts a new half, too.
    pub(super) fn forget(&mut self, now: Timestamp) {
        if now.since(self.began) >= HALF || now < self.began {
            std::mem::swap(&mut self.newer, &mut self.older);
            self.newer.fill(FirstContentTimes::default());
            self.began = now;
        }
    }
}

/// What one VM has now. Gauges show the sum over all VMs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Levels {
    /// Attempts in flight.
    pub attempts: u32,
    /// Requests that are held.
    pub waiting: u32,
    /// Journeys.
    pub journeys: u32,
    /// Bytes of request bodies in Envoy's buffers.
    pub held_bytes: u64,
}

impl Levels {
    pub(super) const BYTES: usize = 4 + 4 + 4 + 8;

    /// Those of two VMs together.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            attempts: self.attempts.saturating_add(other.attempts),
            waiting: self.waiting.saturating_add(other.waiting),
            journeys: self.journeys.saturating_add(other.journeys),
            held_bytes: self.held_bytes.saturating_add(other.held_bytes),
        }
    }

    pub(super) fn write(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.attempts.to_le_bytes());
        bytes.extend(self.waiting.to_le_bytes());
        bytes.extend(self.journeys.to_le_bytes());
        bytes.extend(self.held_bytes.to_le_bytes());
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (attempts, bytes) = bytes.split_first_chunk::<4>()?;
        let (waiting, bytes) = bytes.split_first_chunk::<4>()?;
        let (journeys, bytes) = bytes.split_first_chunk::<4>()?;
        let (held_bytes, _) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            attempts: u32::from_le_bytes(*attempts),
            waiting: u32::from_le_bytes(*waiting),
            journeys: u32::from_le_bytes(*journeys),
            held_bytes: u64::from_le_bytes(*held_bytes),
        })
    }
}

/// The queue of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueState {
    /// Requests in it.
    pub requests: u32,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// When the longest-waiting request joined; 0 if the queue is empty.
    pub since: Timestamp,
}

impl QueueState {
    pub(super) const BYTES: usize = 4 + 8 + 8;

    /// Both queues together.
    pub fn plus(self, other: Self) -> Self {
        let since =
            [self, other].into_iter().filter(|queue| queue.requests > 0).map(|queue| queue.since).min();
        Self {
            requests: self.requests.saturating_add(other.requests),
            bytes: self.bytes.saturating_add(other.bytes),
            since: since.unwrap_or_default(),
        }
    }

    pub(super) fn write(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.requests.to_le_bytes());
        bytes.extend(self.bytes.to_le_bytes());
        bytes.extend(self.since.as_millis().to_le_bytes());
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (requests, bytes) = bytes.split_first_chunk::<4>()?;
        let (sum, bytes) = bytes.split_first_chunk::<8>()?;
        let (since, _) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            requests: u32::from_le_bytes(*requests),
            bytes: u64::from_le_bytes(*sum),
            since: Timestamp::from_millis(u64::from_le_bytes(*since)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + seconds * 1000)
    }

    #[test]
    fn times_cover_the_last_30_to_60_seconds() {
        let mut recent = Recent::of(2);
        recent.forget(s(0));
        recent.add(0, Duration::from_millis(300));
        recent.add(0, Duration::from_millis(100));
        recent.add(7, Duration::from_millis(100));
        assert_eq!(recent.at(0), FirstContentTimes { count: 2, sum_ms: 400, longest_ms: 300 });
        assert_eq!((recent.at(0).mean_ms(), recent.at(1).mean_ms()), (Some(200), None));
        recent.forget(s(31));
        recent.add(0, Duration::from_millis(500));
        assert_eq!(recent.at(0).count, 3);
        recent.forget(s(62));
        assert_eq!(recent.at(0), FirstContentTimes { count: 1, sum_ms: 500, longest_ms: 500 });
        // A clock that steps back by an hour keeps nothing for an hour.
        recent.forget(s(0));
        recent.forget(s(30));
        assert_eq!(recent.at(0), FirstContentTimes::default());
    }

    #[test]
    fn the_sum_of_two_queues_keeps_the_longest_wait() {
        let one = QueueState { requests: 2, bytes: 10, since: s(9) };
        let other = QueueState { requests: 1, bytes: 5, since: s(7) };
        assert_eq!(one.plus(other), QueueState { requests: 3, bytes: 15, since: s(7) });
        assert_eq!(one.plus(QueueState::default()), one);
    }
}
