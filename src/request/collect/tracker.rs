//! The references of one body, and which items of `input` have encrypted reasoning.
//!
//! An item is removed together with one comma, so that the array stays valid: with the one before it, or with
//! the one after it if nothing before it stays.

use crate::request::References;
use crate::request::facts::{Facts, StateKind};
use crate::request::token::Span;

/// Notes the references of one body.
#[derive(Debug, Default)]
pub(super) struct ReferenceTracker {
    pub(super) references: References,
    pub(super) item: Item,
    /// Where the last item ended that stays; `None` before the first one.
    kept_to: Option<usize>,
    /// The last span ends where the next item begins.
    is_open: bool,
    /// An item is only an id, although its type is not `item_reference`.
    has_stored_item: bool,
}

/// The current item of `input`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Item {
    start: usize,
    pub(super) has_id: bool,
    pub(super) has_content: bool,
    pub(super) is_encrypted: bool,
}

impl ReferenceTracker {
    pub(super) fn add_to(self, facts: &mut Facts) {
        let mut references = self.references;
        references.signed = facts.sealed_reasoning;
        facts.sealed_reasoning |= references.encrypted;
        facts.state = facts
            .state
            .with(StateKind::StoredItem, self.has_stored_item || facts.state.contains(StateKind::StoredItem));
        if !references.is_empty() {
            facts.references = Some(Box::new(references));
        }
    }

    pub(super) fn begin_items(&mut self) {
        self.references.forget_items();
        (self.item, self.kept_to, self.is_open, self.has_stored_item) = (Item::default(), None, false, false);
    }

    pub(super) fn begin_item(&mut self, start: usize) {
        if std::mem::take(&mut self.is_open) {
            self.references.extend_last(start);
        }
        self.item = Item { start, ..Item::default() };
    }

    pub(super) fn end_item(&mut self, is_reasoning: bool, end: usize) {
        let item = std::mem::take(&mut self.item);
        if !is_reasoning || !item.is_encrypted {
            if item.is_encrypted {
                self.references.cannot_remove();
            }
            // The provider looks up reasoning without any content by its id.
            self.has_stored_item |= is_reasoning && item.has_id && !item.has_content;
            self.kept_to = Some(end);
            return;
        }
        match self.kept_to {
            Some(kept_to) => {
                self.references.remove(Span { start: kept_to, end });
                self.kept_to = Some(end);
            }
            None => {
                self.references.remove(Span { start: item.start, end });
                self.is_open = true;
            }
        }
    }
}
