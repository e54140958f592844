//! One server-sent event, as the framer reports it.

/// How much of an event could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// It ended with its blank line.
    Whole,
    /// The stream ended before its blank line. Its data may be cut anywhere.
    Torn,
    /// It ended with its blank line but exceeded the limit. Its data is withheld, and its name is known only
    /// if it came before the limit.
    Oversize,
}

/// One event, borrowed from the chunk or from the framer's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event` field, at most [`super::MAX_NAME`] bytes; empty if there was none.
    pub name: &'a [u8],
    /// The `data` lines joined by LF, undecoded.
    pub data: &'a [u8],
    /// Offset of the event's first byte in the stream. Comments before it belong to no event.
    pub start: u64,
    /// Offset just after the blank line that ended the event. If a chunk ends between the CR and the LF of
    /// that line, the event is reported at once: `end` is then before the LF, and the next
    /// [`super::Framer::tail_start`] after it.
    pub end: u64,
    /// How much of it could be read.
    pub form: Form,
}
