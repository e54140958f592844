//! When to look at which stream again.
//!
//! Every open stream has one entry, at or before the earliest moment at which something of it can be due. What it hears
//! moves that moment on but not the entry: when the entry comes up, the stream says when to look again. So a chunk costs
//! nothing here, an idle stream costs one look per time limit, and nothing is left behind by a stream that ended.

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
    /// Enters `key` at `at`.
    pub fn enter(&mut self, at: Timestamp, key: K) {
        self.entries.insert((at, key));
    }

    /// Takes out the entry that was made with exactly these.
    pub fn cancel(&mut self, at: Timestamp, key: K) {
        self.entries.remove(&(at, key));
    }

    /// Takes out the earliest entry that is due.
    pub fn next_due(&mut self, now: Timestamp) -> Option<K> {
        let (at, key) = *self.entries.first()?;
        if at > now {
            return None;
        }
        self.entries.pop_first();
        Some(key)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
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
        fn what_is_due_comes_in_order_once_and_what_was_cancelled_never(
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
