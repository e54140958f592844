//! Where a body has to be changed so that `stream_options.include_usage` is `true` in it.
//!
//! Duplicates are legal JSON and parsers differ in which one they take, so every `stream_options` of the body is
//! changed, and every `include_usage` in one. A value that is none a provider takes is left for the provider to refuse.

use super::limits::MAX_USAGE_SPOTS;
use super::token::{Container, Span, Value};

/// The places of one body. Empty for a body of which nothing has been read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageSpots {
    /// Where the body's object begins.
    root: usize,
    spots: Vec<(Span, Text)>,
    /// Which of them is the beginning of the `stream_options` being read, as long as that has no `include_usage`.
    open: Option<usize>,
    /// It cannot be: a value of another type, or too many places.
    impossible: bool,
}

/// What is put in the place of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    /// For the value of `include_usage`.
    True,
    /// For `stream_options: null`.
    Object,
    /// For the brace that opens an empty `stream_options`.
    OnlyMember,
    /// For the brace of one with members.
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
    /// What has to be written in the place of what, in the order of the body; `None` when the body is to be left as it is.
    /// The object of the body must have a member.
    pub(super) fn changes(&self) -> Option<Vec<(Span, &'static [u8])>> {
        if self.impossible {
            return None;
        }
        if self.spots.is_empty() {
            let brace = Span { start: self.root, end: self.root.saturating_add(1) };
            return Some(vec![(brace, br#"{"stream_options":{"include_usage":true},"#)]);
        }
        Some(self.spots.iter().map(|(span, text)| (*span, text.bytes())).collect())
    }

    pub(super) const fn root(&mut self, start: usize) {
        self.root = start;
    }

    /// A `stream_options`, or the beginning of one.
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

    /// A member of the open `stream_options` begins.
    pub(super) fn option(&mut self) {
        if let Some((_, text)) = self.open.and_then(|open| self.spots.get_mut(open)) {
            *text = Text::FirstMember;
        }
    }

    /// The value of an `include_usage`, or its beginning.
    pub(super) fn include_usage(&mut self, span: Span) {
        if let Some(open) = self.open.take()
            && open < self.spots.len()
        {
            self.spots.remove(open);
        }
        self.add(span, Text::True);
    }

    /// The `include_usage` that began last ends before `end`.
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
