//! Requests that a target did not begin to answer before their clients left.
//!
//! One client that leaves says nothing: it may have lost interest. Several clients in a row that waited, and got
//! nothing, say that the target is silent. It is probed then, and not served, until it answers again.
//!
//! **No open time.** The next request is a probe. A target that is only slow loses nothing but its share, and the
//! trips of other rules are not counted on.
//!
//! **One client alone never causes it.** It could leave as often as it likes.

use super::keys::Keys;

/// The requests since the last answer that were not answered when their clients left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnansweredRun {
    pub(super) count: u16,
    /// Whose requests.
    pub(super) keys: Keys,
}

impl UnansweredRun {
    /// Adds a request. One of an unknown client does not count.
    pub(super) const fn add(&mut self, key: Keys) {
        if key.is_known() {
            self.count = self.count.saturating_add(1);
            self.keys = self.keys.and(key);
        }
    }

    /// Whether this many requests, of more than one client, are enough. 0 is never enough.
    pub(super) fn is_enough(&self, limit: u32) -> bool {
        limit > 0 && u32::from(self.count) >= limit && self.keys.are_several()
    }
}
