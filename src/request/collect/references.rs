//! Notes what a request refers to at an account.

use super::{Collector, Frame, Kind};
use crate::request::References;
use crate::request::spot::{Spot, TurnsKey};
use crate::request::text::Kept;
use crate::request::token::{Container, Span, Value};

/// Open containers above an item of `input`: the body and the array.
const ABOVE_ITEMS: usize = 2;

impl Collector {
    /// Whether the value at the current place may be a reference, or begin an item that has some.
    #[inline]
    pub(super) fn is_reference(&self) -> bool {
        self.references.is_some()
            && match self.next {
                Spot::Part | Spot::PartId | Spot::Encrypted => self.turns_key == TurnsKey::Input,
                Spot::Turns(TurnsKey::Input)
                | Spot::PreviousResponse
                | Spot::Conversation
                | Spot::ConversationId
                | Spot::Container
                | Spot::CachedContent
                | Spot::GoogleCachedContent
                | Spot::StoredId
                | Spot::FileId
                | Spot::ToolFile
                | Spot::ToolContainer => true,
                _ => false,
            }
    }

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
                    tracker.end_item(false, span.end);
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
            let is_reasoning = frame.container == Container::Object && frame.kind == Kind::Reasoning;
            tracker.end_item(is_reasoning, end);
        }
    }
}
