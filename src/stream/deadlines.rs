//! When to check which stream.
//!
//! Each open stream has one entry, at or before the earliest time at which one of its limits can be exceeded.
//! A chunk moves that time but not the entry. When the entry comes up, the stream gives the time of its next
//! check. So a chunk costs nothing here, an idle stream costs one check per time limit, and a stream that has
//! ended leaves nothing behind.
//!
//! Entries are checked on the tick, every 100 ms: that is the accuracy of all limits. `idle_tests` counts the
//! checks of ten thousand streams.

use std::collections::BTreeSet;

use crate::base::Timestamp;

/// The entries of one worker.
#[derive(Debug)]
pub struct Deadlines<K> {
    entries: BTreeSet<(Timestamp, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { entries: BTreeSet::new() }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Adds an entry for `key` at `at`.
    pub fn enter(&mut self, at: Timestamp, key: K) {
        self.entries.insert((at, key));
    }

    /// Removes the entry that was added with these arguments.
    pub fn cancel(&mut self, at: Timestamp, key: K) {
        self.entries.remove(&(at, key));
    }

    /// Removes the earliest entry if it is due.
    pub fn next_due(&mut self, now: Timestamp) -> Option<K> {
        let (at, key) = *self.entries.first()?;
        if at > now {
            return None;
        }
        self.entries.pop_first();
        Some(key)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn due_entries_come_once_in_order_and_cancelled_ones_never(
            entries in proptest::collection::vec((0_u64..100, any::<bool>()), 0..100), now in 0_u64..120
        ) {
            let mut deadlines = Deadlines::default();
            for (key, (at, _)) in entries.iter().enumerate() {
                deadlines.enter(Timestamp::from_millis(*at), key);
            }
            for (key, (at, cancelled)) in entries.iter().enumerate() {
                if *cancelled {
                    deadlines.cancel(Timestamp::from_millis(*at), key);
                }
            }
            let mut due = Vec::new();
            while let Some(key) = deadlines.next_due(Timestamp::from_millis(now)) {
                due.push((entries[key].0, key));
            }
            let mut expected: Vec<_> = entries
                .iter()
                .enumerate()
                .filter(|(_, (at, cancelled))| *at <= now && !cancelled)
                .map(|(key, (at, _))| (*at, key))
                .collect();
            expected.sort_unstable();
            prop_assert_eq!(due, expected);
        }
    }
}
