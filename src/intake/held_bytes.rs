//! How many bytes of request bodies this worker has in Envoy's buffers.
//!
//! The VM holds no body, but Envoy does: while the filter reads it and, in the retry loop, until the request is over,
//! because the edge may have to send it again. Each worker counts for itself. A count that all workers share would keep
//! what a crashed VM had added.

use std::cell::Cell;
use std::rc::Rc;

/// A body of at most this size is never refused for want of memory. Its place is counted all the same.
pub const MAX_SMALL_BODY: u64 = 64 * 1024;

/// The bytes that all requests of one worker hold.
#[derive(Debug, Default)]
pub struct HeldBytes {
    held: Cell<u64>,
    shown: Cell<u64>,
}

impl HeldBytes {
    /// How many bytes are held now.
    pub fn held(&self) -> u64 {
        self.held.get()
    }

    /// Begins to count for one request.
    pub fn begin(self: &Rc<Self>) -> Hold {
        Hold { counter: Rc::clone(self), bytes: 0 }
    }

    /// By how much the number has changed since the last call.
    pub fn take_change(&self) -> i64 {
        let (now, before) = (self.held.get(), self.shown.replace(self.held.get()));
        let change = i64::try_from(now.abs_diff(before)).unwrap_or(i64::MAX);
        if now < before { -change } else { change }
    }
}

/// What one request holds. It is given back when this is dropped, and so exactly once.
#[derive(Debug)]
pub struct Hold {
    counter: Rc<HeldBytes>,
    bytes: u64,
}

impl Hold {
    /// Whether a body of `bytes` has room now, if all requests may hold `limit`.
    pub fn has_room(&self, bytes: u64, limit: u64) -> bool {
        let others = self.counter.held().saturating_sub(self.bytes);
        bytes <= MAX_SMALL_BODY || others.saturating_add(bytes) <= limit
    }

    /// The body has grown to `bytes`. Returns whether it has room; if not, nothing changes.
    pub fn grow_to(&mut self, bytes: u64, limit: u64) -> bool {
        let fits = self.has_room(bytes, limit);
        if fits {
            self.set(bytes.max(self.bytes));
        }
        fits
    }

    fn set(&mut self, bytes: u64) {
        let others = self.counter.held().saturating_sub(self.bytes);
        self.bytes = bytes;
        self.counter.held.set(others.saturating_add(bytes));
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 10 * MAX_SMALL_BODY;

    #[test]
    fn a_large_body_is_refused_exactly_beyond_the_limit_and_a_small_one_never() {
        let counter = Rc::new(HeldBytes::default());
        let (mut first, mut large, mut small) = (counter.begin(), counter.begin(), counter.begin());
        assert!(first.grow_to(LIMIT - MAX_SMALL_BODY - 1, LIMIT));
        assert!(large.grow_to(MAX_SMALL_BODY + 1, LIMIT), "the limit itself");
        assert!(!large.has_room(MAX_SMALL_BODY + 2, LIMIT));
        assert!(!large.grow_to(MAX_SMALL_BODY + 2, LIMIT), "one byte more");
        assert_eq!(counter.held(), LIMIT);
        assert!(small.grow_to(MAX_SMALL_BODY, LIMIT), "a small body");
        assert!(!small.grow_to(MAX_SMALL_BODY + 1, LIMIT));
        drop(first);
        assert!(small.grow_to(MAX_SMALL_BODY + 1, LIMIT));
        drop((large, small));
        assert_eq!(counter.held(), 0);
    }

    #[test]
    fn changes_are_reported_once() {
        let counter = Rc::new(HeldBytes::default());
        let mut hold = counter.begin();
        assert!(hold.grow_to(7, LIMIT));
        assert_eq!((counter.take_change(), counter.take_change()), (7, 0));
        drop(hold);
        assert_eq!((counter.take_change(), counter.take_change()), (-7, 0));
    }

    proptest! {
        /// Whatever requests do, the sum is what the living ones hold, and large ones stay within the limit.
        #[test]
        fn the_sum_is_what_living_requests_hold(
            steps in proptest::collection::vec((0_usize..6, 0_u64..LIMIT, any::<bool>()), 0..100)
        ) {
            let counter = Rc::new(HeldBytes::default());
            let mut holds: [Option<Hold>; 6] = Default::default();
            for (slot, bytes, ends) in steps {
                if ends {
                    holds[slot] = None;
                } else {
                    holds[slot].get_or_insert_with(|| counter.begin()).grow_to(bytes, LIMIT);
                }
                let all = holds.iter().flatten();
                prop_assert_eq!(counter.held(), all.clone().map(|hold| hold.bytes).sum::<u64>());
                let large: u64 = all.map(|hold| hold.bytes).filter(|bytes| *bytes > MAX_SMALL_BODY).sum();
                prop_assert!(large <= LIMIT);
            }
            drop(holds);
            prop_assert_eq!(counter.held(), 0);
        }
    }
}
