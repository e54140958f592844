//! Notes what a request refers to at an account, and which items of `input` have encrypted reasoning.
//!
//! An item is removed together with one comma, so that the array stays valid: with the one before it, or with
//! the one after it if nothing before it stays.

use super::{Collector, Frame, Kind};
use crate::request::References;
use crate::request::facts::{Facts, StateKind};
use crate::request::spot::{Spot, TurnsKey};
use crate::request::text::Kept;
use crate::request::token::{Container, Span, Value};

/// Open containers above an item of `input`: the body and the array.
const ABOVE_ITEMS: usize = 2;

/// Notes the references of one body.
#[derive(Debug, Default)]
pub(super) struct ReferenceTracker {
    references: References,
    item: Item,
    /// Where the last item ended that stays; `None` before the first one.
    kept_to: Option<usize>,
    /// The last span ends where the next item begins.
    is_open: bool,
    /// An item is only an id, although its type is not `item_reference`.
    has_stored_item: bool,
}

/// The current item of `input`.
#[derive(Debug, Clone, Copy, Default)]
struct Item {
    start: usize,
    has_id: bool,
    has_content: bool,
    is_encrypted: bool,
}

impl ReferenceTracker {
    pub(super) fn add_to(self, facts: &mut Facts) {
        let mut references = self.references;
        references.signed = facts.sealed_reasoning;
        facts.sealed_reasoning |= references.encrypted;
        facts.state = facts
            .state
            .with(StateKind::StoredItem, self.has_stored_item || facts.state.contains(StateKind::StoredItem));
        facts.references = Some(Box::new(references));
    }

    fn begin_items(&mut self) {
        self.references.forget_items();
        (self.item, self.kept_to, self.is_open, self.has_stored_item) = (Item::default(), None, false, false);
    }

    fn begin_item(&mut self, start: usize) {
        if std::mem::take(&mut self.is_open) {
            self.references.extend_last(start);
        }
        self.item = Item { start, ..Item::default() };
    }

    fn end_item(&mut self, kind: Kind, end: usize) {
        let item = std::mem::take(&mut self.item);
        if kind != Kind::Reasoning || !item.is_encrypted {
            if item.is_encrypted {
                self.references.cannot_remove();
            }
            // The provider looks up reasoning without any content by its id.
            self.has_stored_item |= kind == Kind::Reasoning && item.has_id && !item.has_content;
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

impl Collector {
    /// Notes a value, or the beginning of a container, at the current place.
    pub(super) fn note_reference(&mut self, value: Value<'_>, span: Span) {
        let depth = self.frames.len();
        let in_input = self.turns_key == TurnsKey::Input;
        let parent = self.frames.last().map(|frame| (frame.spot, frame.container));
        let Some(tracker) = &mut self.references else { return };
        let references = &mut tracker.references;
        let digest = match value {
            Value::Text { kept: Kept::Hash(digest), length: 1.. } => Some(digest),
            _ => None,
        };
        match self.next {
            Spot::Turns(TurnsKey::Input) => tracker.begin_items(),
            Spot::Part if parent == Some((Spot::Turns(TurnsKey::Input), Container::Array)) => {
                tracker.begin_item(span.start);
                if !matches!(value, Value::Opening(_)) {
                    tracker.end_item(Kind::Plain, span.end);
                }
            }
            Spot::Part if in_input && depth == ABOVE_ITEMS + 1 => {
                tracker.item.has_content = !matches!(value, Value::Null);
            }
            Spot::PartId if in_input && depth == ABOVE_ITEMS + 1 => {
                tracker.item.has_id = digest.is_some();
                digest.into_iter().for_each(|digest| references.note_item(digest));
            }
            Spot::Encrypted if in_input => {
                // A value that is no text, or cannot be decoded, is not understood and stays.
                let is_empty = matches!(value, Value::Null | Value::Text { length: 0, .. });
                if !is_empty {
                    references.note_encrypted();
                    if depth == ABOVE_ITEMS + 1 && digest.is_some() {
                        tracker.item.is_encrypted = true;
                    } else {
                        references.cannot_remove();
                    }
                }
                digest.into_iter().for_each(|digest| references.note_item(digest));
            }
            Spot::PreviousResponse => {
                references.note_named(Some(References::PREVIOUS_RESPONSE), digest.unwrap_or(0));
            }
            Spot::Conversation | Spot::ConversationId => {
                references.note_named(Some(References::CONVERSATION), digest.unwrap_or(0));
            }
            Spot::Container
            | Spot::CachedContent
            | Spot::GoogleCachedContent
            | Spot::StoredId
            | Spot::FileId
            | Spot::ToolFile
            | Spot::ToolContainer => {
                digest.into_iter().for_each(|digest| references.note_named(None, digest));
            }
            _ => {}
        }
    }

    /// An object or array ends.
    pub(super) fn end_reference(&mut self, frame: &Frame, end: usize) {
        let parent = self.frames.last().map(|frame| (frame.spot, frame.container));
        if let Some(tracker) = &mut self.references
            && frame.spot == Spot::Part
            && parent == Some((Spot::Turns(TurnsKey::Input), Container::Array))
        {
            let is_object = frame.container == Container::Object;
            tracker.end_item(if is_object { frame.kind } else { Kind::Plain }, end);
        }
    }
}
