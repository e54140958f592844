//! What a request refers to at the account that serves its conversation, and the items that only that account can
//! read.
//!
//! Ids and encrypted texts are long and random. A [`digest`](crate::base::digest) of each is kept, never the
//! text.

use super::limits::{MAX_ITEM_REFERENCES, MAX_NAMED_REFERENCES, MAX_SEALED_ITEMS};
use super::token::Span;
use crate::base::Few;

/// The references of one request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct References {
    /// The previous response, then the conversation, then others. 0 is none.
    named: [u64; 2 + MAX_NAMED_REFERENCES],
    /// The ids and encrypted contents of the last items of `input`, as a ring. 0 is none.
    items: [u64; MAX_ITEM_REFERENCES],
    next_item: usize,
    /// It has reasoning that a provider signed, so that any account of that provider can read it.
    pub signed: bool,
    /// It has `encrypted_content` in `input`, which only the account that made it can read.
    pub encrypted: bool,
    /// What to remove so that no encrypted reasoning is left. Ordered and disjoint.
    removable: Few<Span, 1>,
    /// Some encrypted content cannot be removed.
    is_stuck: bool,
}

impl References {
    pub(super) const PREVIOUS_RESPONSE: usize = 0;
    pub(super) const CONVERSATION: usize = 1;

    /// The digests, the ones that say most first.
    pub fn digests(&self) -> impl Iterator<Item = u64> {
        let (after, before) = self.items.split_at(self.next_item.min(self.items.len()));
        let items = after.iter().rev().chain(before.iter().rev());
        self.named.iter().chain(items).copied().filter(|digest| *digest != 0)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        !self.encrypted && self.digests().next().is_none()
    }

    /// The digest of the conversation's id, if it has one.
    pub fn conversation(&self) -> Option<u64> {
        self.named.get(Self::CONVERSATION).copied().filter(|digest| *digest != 0)
    }

    /// The spans without which no encrypted content is left in the body. `None` if there is none, or if it
    /// cannot be removed.
    pub fn removable(&self) -> Option<&[Span]> {
        (self.encrypted && !self.is_stuck).then_some(&*self.removable)
    }

    pub(super) fn note_named(&mut self, place: Option<usize>, digest: u64) {
        let slot = match place {
            Some(place) => self.named.get_mut(place),
            None => self.named.iter_mut().skip(2).find(|slot| **slot == 0),
        };
        if let Some(slot) = slot {
            *slot = digest;
        }
    }

    pub(super) fn note_item(&mut self, digest: u64) {
        if let Some(slot) = self.items.get_mut(self.next_item) {
            *slot = digest;
        }
        self.next_item = (self.next_item + 1) % MAX_ITEM_REFERENCES;
    }

    pub(super) fn forget_items(&mut self) {
        let (named, signed) = (self.named, self.signed);
        *self = Self { named, signed, ..Self::default() };
    }

    pub(super) fn note_encrypted(&mut self) {
        self.encrypted = true;
    }

    pub(super) fn cannot_remove(&mut self) {
        self.is_stuck = true;
    }

    /// An item is to be removed with this span. It may continue the last one.
    pub(super) fn remove(&mut self, span: Span) {
        let is_full = self.removable.len() >= MAX_SEALED_ITEMS;
        match self.removable.last_mut() {
            Some(last) if last.end >= span.start => last.end = span.end,
            _ if is_full => self.is_stuck = true,
            _ => self.removable.push(span),
        }
    }

    /// The last span reaches to `end`.
    pub(super) fn extend_last(&mut self, end: usize) {
        if let Some(last) = self.removable.last_mut() {
            last.end = end;
        }
    }
}
