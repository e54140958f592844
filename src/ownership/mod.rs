//! Which account holds the state of a conversation.
//!
//! Providers keep responses, items and files for an organisation, and encrypt reasoning so that only the same
//! organisation can use it. If a model has targets of several organisations ([`Owner`]s), the next turn of a
//! conversation must go to the owner of the turns before it. A request does not show the owner, so the filter
//! remembers it:
//!
//! - **Learned from answers.** A response has an id, and its items have ids and encrypted contents. Their digests
//!   belong to the owner that answered (`src/stream/made.rs`).
//! - **Learned from requests.** If a request that refers to things of an unknown owner succeeds, they belong to the
//!   owner that answered. That is the only way to learn the owner of a file.
//! - **Looked up** once per request, and only if the request has such references
//!   (`src/request/references.rs`).
//!
//! **If nothing is known** (after a restart, in another Envoy, for a forgotten conversation), requests that
//! belong to one conversation choose alike by rendezvous hashing (`src/balance`), the first turn included. If
//! that is wrong, too, the provider says so. Then the other accounts are asked, and the result is remembered.
//!
//! **Memory.** Shared data has at most [`BUCKETS`] records of [`MAX_ENTRIES`] entries, so all workers of an Envoy
//! know the same. The digest says in which record an entry is. The oldest entry makes room for a new one, and an
//! entry is of no use after [`LIFETIME`]. A model whose targets have one owner reads and writes none of it.
//!
//! **What if an entry is wrong?** Digests are short, and an attacker could find two texts with the same one. An
//! entry is only a guess about where the state is. No request gets to an account that it could not get to
//! anyway.

mod codec;

pub use codec::{LIFETIME, MAX_ENTRIES};

use codec::Entry;

use crate::base::{KnownOwner, Store, Timestamp, mix, update};

/// The number of records.
pub const BUCKETS: u64 = 4096;

/// The most digests that one answer or request adds.
pub const MAX_REMEMBERED: usize = 4;

/// What is known about the first of these digests that is known.
pub fn find(store: &mut dyn Store, digests: impl Iterator<Item = u64>, now: Timestamp) -> Option<KnownOwner> {
    for digest in digests {
        let Ok(Some(stored)) = store.read(&key(digest)) else { continue };
        let mut entries = codec::entries(&stored.bytes);
        if let Some(entry) = entries.find(|entry| entry.digest == digest && !entry.is_old(now)) {
            return Some(entry.known);
        }
    }
    None
}

/// Remembers what is known about the first [`MAX_REMEMBERED`] of these digests. Says whether all workers know it
/// now.
pub fn remember(
    store: &mut dyn Store,
    digests: impl Iterator<Item = u64>,
    known: KnownOwner,
    now: Timestamp,
) -> bool {
    let mut shared = true;
    for digest in digests.take(MAX_REMEMBERED) {
        let added = update(store, &key(digest), |bytes| {
            ((), Some(codec::with(bytes.unwrap_or_default(), Entry::new(digest, known, now), now)))
        });
        shared &= added.is_some();
    }
    shared
}

fn key(digest: u64) -> String {
    format!("llm-failsafe/state/{}", mix(digest) % BUCKETS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::Owner;
    use crate::base::memory::Memory;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const A: KnownOwner = KnownOwner { owner: Owner::of(1), mixed: false };
    const B: KnownOwner = KnownOwner { owner: Owner::of(Owner::MAX), mixed: true };

    /// Digests that share a record.
    fn neighbours(count: usize) -> Vec<u64> {
        let first = key(1);
        (1..).filter(|digest| key(*digest) == first).take(count).collect()
    }

    #[test]
    fn the_first_digest_that_is_known_decides() {
        let mut store = Memory::new();
        assert!(remember(&mut store, [7].into_iter(), A, NOW));
        assert!(remember(&mut store, [8].into_iter(), B, NOW));
        for (digests, expected) in
            [(&[7, 8][..], Some(A)), (&[8, 7], Some(B)), (&[9, 8], Some(B)), (&[9], None), (&[], None)]
        {
            assert_eq!(find(&mut store, digests.iter().copied(), NOW), expected, "{digests:?}");
        }
    }

    #[test]
    fn the_last_owner_counts_and_an_old_entry_does_not() {
        let mut store = Memory::new();
        remember(&mut store, [7].into_iter(), A, NOW);
        remember(&mut store, [7].into_iter(), B, NOW.after(Duration::from_secs(1)));
        let find = |store: &mut Memory<'_>, after| find(store, [7].into_iter(), NOW.after(after));
        assert_eq!(find(&mut store, Duration::ZERO), Some(B), "also if the clock has stepped back");
        assert_eq!(find(&mut store, LIFETIME), Some(B));
        assert_eq!(find(&mut store, LIFETIME + Duration::from_secs(2)), None);
    }

    #[test]
    fn a_record_keeps_its_newest_entries_and_no_more() {
        let mut store = Memory::new();
        let digests = neighbours(MAX_ENTRIES + 1);
        for (nth, digest) in digests.iter().enumerate() {
            let known = if nth == 0 { A } else { B };
            remember(&mut store, [*digest].into_iter(), known, NOW);
            // The first one is used again and again, so it is never the oldest.
            remember(&mut store, [digests[0]].into_iter(), A, NOW);
        }
        assert_eq!(find(&mut store, [digests[0]].into_iter(), NOW), Some(A));
        assert_eq!(find(&mut store, [digests[1]].into_iter(), NOW), None, "the oldest made room");
        for digest in &digests[2..] {
            assert_eq!(find(&mut store, [*digest].into_iter(), NOW), Some(B));
        }
        let stored = store.read(&key(1)).unwrap().unwrap();
        assert_eq!(codec::entries(&stored.bytes).count(), MAX_ENTRIES);
    }

    #[test]
    fn no_more_digests_are_added_than_allowed() {
        let mut store = Memory::new();
        remember(&mut store, 1..=MAX_REMEMBERED as u64 + 1, A, NOW);
        assert_eq!(find(&mut store, [MAX_REMEMBERED as u64].into_iter(), NOW), Some(A));
        assert_eq!(find(&mut store, [MAX_REMEMBERED as u64 + 1].into_iter(), NOW), None);
    }

    #[test]
    fn an_unreadable_record_counts_as_empty_and_is_replaced() {
        for bytes in [&b""[..], b"\x02aaaabbbbccccdddd", b"\x01abc"] {
            assert_eq!(codec::entries(bytes).count(), 0);
            let added = codec::with(bytes, Entry::new(7, A, NOW), NOW);
            assert_eq!(codec::entries(&added).map(|entry| entry.known).collect::<Vec<_>>(), [A]);
        }
    }
}
