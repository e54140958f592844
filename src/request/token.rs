//! What the lexer reports: values and where they are.

use super::text::Kept;

/// A range of bytes of the body, from `start` up to but not including `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Span {
    /// The number of bytes.
    pub const fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether it has no bytes.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// An object or an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Container {
    /// `{…}`
    #[default]
    Object,
    /// `[…]`
    Array,
}

/// A scalar value, or the beginning of an object or array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// An object or array begins; its content follows.
    Opening(Container),
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it is written.
    Number(Kept<'a>),
    /// A string.
    Text {
        /// What the sink wanted of it.
        kept: Kept<'a>,
        /// Its decoded length in bytes.
        length: usize,
    },
}
