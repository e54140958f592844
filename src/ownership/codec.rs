//! The records in shared data: a version, then entries of 16 bytes, the oldest first.

use std::time::Duration;

use crate::base::{KnownOwner, Owner, Timestamp};

/// The most entries of a record.
pub const MAX_ENTRIES: usize = 64;

/// How long an entry is of use: providers keep responses for 30 days.
pub const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

const VERSION: u8 = 1;
const ENTRY_BYTES: usize = 16;
/// Set beside the owner's number.
const MIXED: u32 = Owner::MAX + 1;

/// One digest and what is known about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) digest: u64,
    pub(super) known: KnownOwner,
    /// When it was noted, in seconds since the epoch.
    at_s: u32,
}

impl Entry {
    pub(super) fn new(digest: u64, known: KnownOwner, now: Timestamp) -> Self {
        Self { digest, known, at_s: seconds(now) }
    }

    pub(super) fn is_old(&self, now: Timestamp) -> bool {
        u64::from(seconds(now).saturating_sub(self.at_s)) > LIFETIME.as_secs()
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mixed = if self.known.mixed { MIXED } else { 0 };
        out.extend_from_slice(&self.digest.to_le_bytes());
        out.extend_from_slice(&(self.known.owner.number() | mixed).to_le_bytes());
        out.extend_from_slice(&self.at_s.to_le_bytes());
    }

    fn read([digest @ .., a, b, c, d, e, f, g, h]: [u8; ENTRY_BYTES]) -> Self {
        let owner = u32::from_le_bytes([a, b, c, d]);
        Self {
            digest: u64::from_le_bytes(digest),
            known: KnownOwner { owner: Owner::of(owner), mixed: owner & MIXED != 0 },
            at_s: u32::from_le_bytes([e, f, g, h]),
        }
    }
}

/// The entries of a record. An unreadable record has none.
pub(super) fn entries(bytes: &[u8]) -> impl Iterator<Item = Entry> {
    let entries = match bytes.split_first() {
        Some((&VERSION, rest)) => rest.as_chunks::<ENTRY_BYTES>(),
        _ => (&[][..], &[][..]),
    };
    let whole = if entries.1.is_empty() { entries.0 } else { &[] };
    whole.iter().map(|entry| Entry::read(*entry))
}

/// The record with one more entry, without an older one for the same digest and without what is too old.
pub(super) fn with(bytes: &[u8], new: Entry, now: Timestamp) -> Vec<u8> {
    let kept = || entries(bytes).filter(|entry| entry.digest != new.digest && !entry.is_old(now));
    let surplus = (kept().count() + 1).saturating_sub(MAX_ENTRIES);
    let mut record = Vec::with_capacity(1 + MAX_ENTRIES * ENTRY_BYTES);
    record.push(VERSION);
    kept().skip(surplus).for_each(|entry| entry.write(&mut record));
    new.write(&mut record);
    record
}

fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.as_millis() / 1000).unwrap_or(u32::MAX)
}
