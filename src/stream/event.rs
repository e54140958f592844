/// How much of an event there was to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// It ended with its blank line.
    Whole,
    /// The stream ended before its blank line. Its data may be cut anywhere.
    Torn,
    /// It ended with its blank line but spanned more than the limit: its data is withheld, its name is known only if it
    /// came before the limit.
    Oversize,
}

/// One event, borrowed from the chunk or from the framer's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event` field, at most [`super::MAX_NAME`] bytes; empty when there was none.
    pub name: &'a [u8],
    /// The `data` lines joined by LF, undecoded.
    pub data: &'a [u8],
    /// Offset in the stream of the event's first byte; comments before it belong to no event.
    pub start: u64,
    /// Offset just after the blank line that ended the event. Where a chunk ends between the CR and the LF of that
    /// line, the event is not kept waiting: `end` is then before the LF, and the next [`super::Framer::tail_start`] after it.
    pub end: u64,
    /// Whether it could be read.
    pub form: Form,
}
