//! Successes and failures of the recent past, by the time at which attempts ended.

use std::time::Duration;

use super::keys::Keys;
use crate::base::Timestamp;

/// Slices of the window. They leave it one at a time, so it covers 90 to 100 % of its nominal length.
pub const BUCKETS: usize = 10;

/// A sliding window of counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Window {
    /// Number of the newest slice since the epoch.
    pub(super) head: u64,
    /// Slice `n` is at `n % BUCKETS`.
    pub(super) buckets: [Bucket; BUCKETS],
}

/// What a slice of the window counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    /// Successes.
    pub successes: u16,
    /// Failures, in halves.
    pub halves: u16,
    /// Whose successes.
    pub succeeded: Keys,
    /// Whose failures.
    pub failed: Keys,
    /// Which hosts had the successes, as far as that was looked at.
    pub served_by: Keys,
    /// Which hosts had the failures.
    pub failed_at: Keys,
}

impl Bucket {
    fn plus(self, other: Self) -> Self {
        Self {
            successes: self.successes.saturating_add(other.successes),
            halves: self.halves.saturating_add(other.halves),
            succeeded: self.succeeded.and(other.succeeded),
            failed: self.failed.and(other.failed),
            served_by: self.served_by.and(other.served_by),
            failed_at: self.failed_at.and(other.failed_at),
        }
    }
}

impl Window {
    /// Adds to the slice of `now`, or to the newest slice if the clock has stepped back.
    pub fn add(&mut self, now: Timestamp, length: Duration, results: Bucket) {
        self.advance(now, length);
        let slot = usize::try_from(self.head % BUCKETS as u64).unwrap_or(0);
        if let Some(bucket) = self.buckets.get_mut(slot) {
            *bucket = bucket.plus(results);
        }
    }

    /// Successes and half failures in the window.
    pub fn counts(&self, now: Timestamp, length: Duration) -> (u32, u32) {
        self.current(now, length).buckets.iter().fold((0, 0), |(good, bad), bucket| {
            (good + u32::from(bucket.successes), bad + u32::from(bucket.halves))
        })
    }

    /// Whose requests succeeded, and whose failed.
    pub fn keys(&self, now: Timestamp, length: Duration) -> (Keys, Keys) {
        let all = |(good, bad): (Keys, Keys), of: &Bucket| (good.and(of.succeeded), bad.and(of.failed));
        self.current(now, length).buckets.iter().fold((Keys::NONE, Keys::NONE), all)
    }

    /// The hosts that had the successes, and those that had the failures.
    pub fn hosts(&self, now: Timestamp, length: Duration) -> (Keys, Keys) {
        let all = |(good, bad): (Keys, Keys), of: &Bucket| (good.and(of.served_by), bad.and(of.failed_at));
        self.current(now, length).buckets.iter().fold((Keys::NONE, Keys::NONE), all)
    }

    fn current(&self, now: Timestamp, length: Duration) -> Self {
        let mut current = self.clone();
        current.advance(now, length);
        current
    }

    fn advance(&mut self, now: Timestamp, length: Duration) {
        let slice_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX).div_ceil(BUCKETS as u64).max(1);
        let newest = now.as_millis() / slice_ms;
        // The clock stepped back by more than the window, or the length changed: start again.
        if newest.saturating_add(BUCKETS as u64) < self.head {
            *self = Self { head: newest, ..Self::default() };
        }
        let passed = newest.saturating_sub(self.head).min(BUCKETS as u64);
        for step in 1..=passed {
            let slot = usize::try_from((newest - passed + step) % BUCKETS as u64).unwrap_or(0);
            if let Some(bucket) = self.buckets.get_mut(slot) {
                *bucket = Bucket::default();
            }
        }
        self.head = self.head.max(newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LENGTH: Duration = Duration::from_secs(60);

    fn at(s: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + s * 1000)
    }

    fn results(successes: u16, halves: u16) -> Bucket {
        Bucket { successes, halves, ..Bucket::default() }
    }

    #[test]
    fn keys_leave_the_window_with_their_results() {
        let (one, other) = (Keys::of(&[1; 32]), Keys::of(&[2; 32]));
        let mut window = Window::default();
        window.add(at(0), LENGTH, Bucket { succeeded: one, ..results(1, 0) });
        window.add(at(30), LENGTH, Bucket { failed: other, ..results(0, 1) });
        assert_eq!(window.keys(at(30), LENGTH), (one, other));
        window.add(at(30), LENGTH, Bucket { failed: one, ..results(0, 1) });
        assert_eq!(window.keys(at(61), LENGTH), (Keys::NONE, one.and(other)));
        assert_eq!(window.keys(at(200), LENGTH), (Keys::NONE, Keys::NONE));
    }

    #[test]
    fn old_results_leave_the_window() {
        let mut window = Window::default();
        window.add(at(0), LENGTH, results(3, 2));
        window.add(at(30), LENGTH, results(1, 0));
        assert_eq!(window.counts(at(30), LENGTH), (4, 2));
        assert_eq!(window.counts(at(61), LENGTH), (1, 0));
        assert_eq!(window.counts(at(200), LENGTH), (0, 0));
    }

    #[test]
    fn a_small_step_back_of_the_clock_keeps_counting() {
        let mut window = Window::default();
        window.add(at(30), LENGTH, results(1, 1));
        window.add(at(20), LENGTH, results(1, 1));
        assert_eq!(window.counts(at(20), LENGTH), (2, 2));
        window.add(at(0).after(Duration::from_secs(31)), LENGTH, results(0, 1));
        assert_eq!(window.counts(at(31), LENGTH), (2, 3));
    }

    #[test]
    fn counts_saturate() {
        let mut window = Window::default();
        window.add(at(0), LENGTH, results(u16::MAX, u16::MAX));
        window.add(at(0), LENGTH, results(5, 5));
        assert_eq!(window.counts(at(0), LENGTH), (u32::from(u16::MAX), u32::from(u16::MAX)));
    }

    proptest! {
        /// Against the plain definition: everything of the last 54 s is in, nothing older than 60 s is.
        #[test]
        fn the_window_covers_its_nominal_length(
            mut events in proptest::collection::vec((0_u64..300_000, any::<bool>()), 0..60),
            end in 300_000_u64..400_000
        ) {
            events.sort_unstable();
            let moment = |ms: u64| Timestamp::from_millis(5_000_000 + ms);
            let mut window = Window::default();
            for (ms, good) in &events {
                window.add(moment(*ms), LENGTH, results(u16::from(*good), u16::from(!*good)));
            }
            let (good, bad) = window.counts(moment(end), LENGTH);
            let within =
                |age: u64| u32::try_from(events.iter().filter(|(ms, _)| end - ms < age).count()).unwrap();
            prop_assert!(good + bad >= within(54_000));
            prop_assert!(good + bad <= within(60_001));
        }
    }
}
