//! What workers tell each other beside their counts, for operators to read: nothing is decided by it.

use std::time::Duration;

use crate::base::Timestamp;

/// How long a half of what is remembered is filled. So what is told is of the last half to whole minute.
const HALF: Duration = Duration::from_secs(30);

/// How long attempts took to their first content: of a stream to that, of a plain answer as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FirstContentTimes {
    /// Attempts.
    pub count: u32,
    /// Their times together.
    pub sum_ms: u64,
    /// The longest of them.
    pub most_ms: u32,
}

impl FirstContentTimes {
    pub(super) const BYTES: usize = 4 + 8 + 4;

    fn add(&mut self, took: Duration) {
        let ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        *self = self.plus(Self { count: 1, sum_ms: ms.into(), most_ms: ms });
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            sum_ms: self.sum_ms.saturating_add(other.sum_ms),
            most_ms: self.most_ms.max(other.most_ms),
        }
    }

    /// What they took on average; `None` where there are none.
    pub const fn mean_ms(self) -> Option<u64> {
        self.sum_ms.checked_div(self.count as u64)
    }

    pub(super) fn write(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.count.to_le_bytes());
        bytes.extend(self.sum_ms.to_le_bytes());
        bytes.extend(self.most_ms.to_le_bytes());
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (count, bytes) = bytes.split_first_chunk::<4>()?;
        let (sum, bytes) = bytes.split_first_chunk::<8>()?;
        let (most, _) = bytes.split_first_chunk::<4>()?;
        Some(Self {
            count: u32::from_le_bytes(*count),
            sum_ms: u64::from_le_bytes(*sum),
            most_ms: u32::from_le_bytes(*most),
        })
    }
}

/// One worker's times of its targets, the old ones forgotten by halves.
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

    /// To be called often; a clock that stepped back begins a half, too.
    pub(super) fn forget(&mut self, now: Timestamp) {
        if now.since(self.began) >= HALF || now < self.began {
            std::mem::swap(&mut self.newer, &mut self.older);
            self.newer.fill(FirstContentTimes::default());
            self.began = now;
        }
    }
}

/// Who waits for a model until somebody is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueState {
    /// Requests.
    pub requests: u32,
    /// The bytes of their bodies.
    pub bytes: u64,
    /// Since when the first of them waits; 0 where nobody does.
    pub since: Timestamp,
}

impl QueueState {
    pub(super) const BYTES: usize = 4 + 8 + 8;

    /// Of two lines together.
    pub fn plus(self, other: Self) -> Self {
        let since = [self, other].into_iter().filter(|line| line.requests > 0).map(|line| line.since).min();
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
    fn times_are_of_the_last_half_to_whole_minute() {
        let mut recent = Recent::of(2);
        recent.forget(s(0));
        recent.add(0, Duration::from_millis(300));
        recent.add(0, Duration::from_millis(100));
        recent.add(7, Duration::from_millis(100));
        assert_eq!(recent.at(0), FirstContentTimes { count: 2, sum_ms: 400, most_ms: 300 });
        assert_eq!((recent.at(0).mean_ms(), recent.at(1).mean_ms()), (Some(200), None));
        recent.forget(s(31));
        recent.add(0, Duration::from_millis(500));
        assert_eq!(recent.at(0).count, 3);
        recent.forget(s(62));
        assert_eq!(recent.at(0), FirstContentTimes { count: 1, sum_ms: 500, most_ms: 500 });
        // An hour's step back of the clock keeps nothing for an hour.
        recent.forget(s(0));
        recent.forget(s(30));
        assert_eq!(recent.at(0), FirstContentTimes::default());
    }

    #[test]
    fn of_two_lines_the_longest_wait_counts_and_an_empty_one_waits_not_at_all() {
        let one = QueueState { requests: 2, bytes: 10, since: s(9) };
        let other = QueueState { requests: 1, bytes: 5, since: s(7) };
        assert_eq!(one.plus(other), QueueState { requests: 3, bytes: 15, since: s(7) });
        assert_eq!(one.plus(QueueState::default()), one);
    }
}
