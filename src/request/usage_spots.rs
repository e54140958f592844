//! Where a body must be changed so that its `stream_options.include_usage` is `true`.
//!
//! Duplicate keys are legal JSON and parsers differ in which one they take, so every `stream_options` and
//! every `include_usage` in it is changed. An invalid value is left for the provider to reject.

use super::limits::MAX_USAGE_SPOTS;
use super::token::{Container, Span, Value};
use crate::base::Few;

/// The places to change in one body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageSpots {
    /// Where the body's object begins.
    root: usize,
    spots: Few<(Span, Text), 2>,
    /// The index of the opening brace of the current `stream_options`, as long as it has no `include_usage`.
    open: Option<usize>,
    /// The body cannot be changed: a value has another type, or there are too many places.
    impossible: bool,
}

/// What replaces a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Text {
    /// Replaces the value of `include_usage`.
    #[default]
    True,
    /// Replaces the null in `stream_options: null`.
    Object,
    /// Replaces the opening brace of an empty `stream_options`.
    OnlyMember,
    /// Replaces the opening brace of a `stream_options` with members.
    FirstMember,
}

impl Text {
    const fn bytes(self) -> &'static [u8] {
        match self {
            Self::True => b"true",
            Self::Object => br#"{"include_usage":true}"#,
            Self::OnlyMember => br#"{"include_usage":true"#,
            Self::FirstMember => br#"{"include_usage":true,"#,
        }
    }
}

impl UsageSpots {
    /// The replacements in the order of the body; `None` if the body must be left as it is. The body's object
    /// must have a member.
    pub(super) fn changes(&self) -> Option<impl Iterator<Item = (Span, &'static [u8])>> {
        if self.impossible {
            return None;
        }
        let whole: (_, &'static [u8]) = (self.brace(), br#"{"stream_options":{"include_usage":true},"#);
        let whole = self.spots.is_empty().then_some(whole);
        Some(whole.into_iter().chain(self.spots.iter().map(|(span, text)| (*span, text.bytes()))))
    }

    /// The brace with which the body's object begins.
    pub(super) const fn brace(&self) -> Span {
        Span { start: self.root, end: self.root.saturating_add(1) }
    }

    pub(super) const fn root(&mut self, start: usize) {
        self.root = start;
    }

    /// Notes the value of a `stream_options`, or its beginning.
    pub(super) fn options(&mut self, value: Value<'_>, span: Span) {
        self.open = None;
        match value {
            Value::Null => self.add(span, Text::Object),
            Value::Opening(Container::Object) => {
                self.open = Some(self.spots.len());
                self.add(Span { start: span.start, end: span.start.saturating_add(1) }, Text::OnlyMember);
            }
            _ => self.impossible = true,
        }
    }

    /// Notes that a member of the current `stream_options` begins.
    pub(super) fn option(&mut self) {
        if let Some((_, text)) = self.open.and_then(|open| self.spots.get_mut(open)) {
            *text = Text::FirstMember;
        }
    }

    /// Notes the value of an `include_usage`, or its beginning.
    pub(super) fn include_usage(&mut self, span: Span) {
        if let Some(open) = self.open.take()
            && open < self.spots.len()
        {
            self.spots.remove(open);
        }
        self.add(span, Text::True);
    }

    /// Notes that the latest `include_usage` ends before `end`.
    pub(super) fn include_usage_ends(&mut self, end: usize) {
        if let Some((span, _)) = self.spots.last_mut() {
            span.end = end;
        }
    }

    fn add(&mut self, span: Span, text: Text) {
        if self.spots.len() < MAX_USAGE_SPOTS {
            self.spots.push((span, text));
        } else {
            self.impossible = true;
        }
    }
}
