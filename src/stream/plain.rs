//! What a plain JSON answer says of its tokens and of why it ended, read while it passes.
//!
//! The members that say so may stand before the text or behind it, and the text may be megabytes. So the answer goes
//! window by window through the state machine that requests are read with, and all that is kept of it is numbers. An
//! answer that turns out to be no JSON object has said what it said until then: it is the client's to complain about.

use crate::base::Endpoint;
use crate::request::{Container, Kept, Lexer, ScanError, Sink, Span, Value, Want};

use super::dialect::StreamDialect;
use super::meaning::FinishReason;
use super::usage::{Count, Counts, Usage};
use crate::base::json::count_of;

/// Reads one plain answer. Fixed size but for the longest key, which is bounded by
/// [`MAX_KEPT_BYTES`](crate::request::MAX_KEPT_BYTES).
#[derive(Debug)]
pub struct AnswerReader {
    lexer: Lexer,
    members: Members,
    readable: bool,
}

impl AnswerReader {
    /// A reader of an answer from `endpoint` of which nothing has come.
    pub fn new(endpoint: Endpoint) -> Self {
        // An embedding is no stream, and counts like OpenAI's other answers.
        Self::in_dialect(StreamDialect::of(endpoint).unwrap_or(StreamDialect::Chat))
    }

    pub(super) fn in_dialect(dialect: StreamDialect) -> Self {
        Self { lexer: Lexer::new(), members: Members::new(dialect), readable: true }
    }

    /// Reads the next piece, of any length.
    pub fn feed(&mut self, window: &[u8]) {
        if self.readable {
            self.readable = self.lexer.feed(window, &mut self.members).is_ok();
        }
    }

    /// Whether it would be cut off if it ended here. What is no JSON object cannot be told to be.
    pub fn is_cut_off(&self) -> bool {
        self.readable && self.lexer.finish().is_err()
    }

    /// The tokens that it says it took; `None` when it has said nothing of them.
    pub fn usage(&self) -> Option<Usage> {
        self.members.counts.usage(self.members.dialect.sums())
    }

    /// Why it says that it ended; of several answers in one, the last.
    pub const fn finish_reason(&self) -> Option<FinishReason> {
        match (self.members.finish, self.members.status) {
            (Some(finish), _) => Some(finish),
            (None, Some(Status::Completed)) => Some(FinishReason::Stop),
            (None, Some(Status::Incomplete)) => Some(FinishReason::Other),
            (None, Some(Status::Failed)) => Some(FinishReason::Error),
            (None, None) => None,
        }
    }
}

/// What a `response` object says has become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Completed,
    Incomplete,
    Failed,
}

/// An object or array that holds something of interest. Each stands in one place only, so where its end leads back to is
/// known without a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    Root,
    Usage,
    UsageDetails,
    Choices,
    Choice,
    Incomplete,
}

impl Place {
    const fn parent(self) -> Self {
        match self {
            Self::Outside | Self::Root => Self::Outside,
            Self::Usage | Self::Choices | Self::Incomplete => Self::Root,
            Self::UsageDetails => Self::Usage,
            Self::Choice => Self::Choices,
        }
    }

    const fn container(self) -> Container {
        if matches!(self, Self::Choices) { Container::Array } else { Container::Object }
    }
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Other,
    Place(Place),
    Count(Count),
    Finish,
    Status,
}

#[derive(Debug)]
struct Members {
    dialect: StreamDialect,
    /// The innermost open container of interest, and how many others are open within it.
    place: Place,
    skipped: u8,
    next: Member,
    /// The `usage` being read; it counts once it is whole.
    reading: Counts,
    counts: Counts,
    finish: Option<FinishReason>,
    status: Option<Status>,
}

impl Members {
    fn new(dialect: StreamDialect) -> Self {
        Self {
            dialect,
            place: Place::Outside,
            skipped: 0,
            next: Member::Place(Place::Root),
            reading: Counts::default(),
            counts: Counts::default(),
            finish: None,
            status: None,
        }
    }

    fn member(&self, key: &[u8]) -> Member {
        use StreamDialect::{Chat, Completions, Gemini, Messages, Responses};
        match (self.dialect, self.place, key) {
            (Chat | Completions | Responses | Messages, Place::Root, b"usage")
            | (Gemini, Place::Root, b"usageMetadata") => Member::Place(Place::Usage),
            (Chat | Completions | Responses, Place::Usage, _) if Count::is_openai_details(key) => {
                Member::Place(Place::UsageDetails)
            }
            (Chat | Completions | Responses, Place::Usage, _) => counted(Count::openai(key)),
            (Messages, Place::Usage, _) => counted(Count::anthropic(key)),
            (Gemini, Place::Usage, _) => counted(Count::gemini(key)),
            (_, Place::UsageDetails, _) => counted(Count::openai_detail(key)),
            (Chat | Completions, Place::Root, b"choices") | (Gemini, Place::Root, b"candidates") => {
                Member::Place(Place::Choices)
            }
            (Responses, Place::Root, b"incomplete_details") => Member::Place(Place::Incomplete),
            (Responses, Place::Root, b"status") => Member::Status,
            (Chat | Completions, Place::Choice, b"finish_reason")
            | (Gemini, Place::Choice, b"finishReason")
            | (Responses, Place::Incomplete, b"reason")
            | (Messages, Place::Root, b"stop_reason") => Member::Finish,
            _ => Member::Other,
        }
    }

    /// What follows in the innermost container: an array's next element, or nothing known before the next key.
    const fn within(place: Place) -> Member {
        match place {
            Place::Outside => Member::Place(Place::Root),
            Place::Choices => Member::Place(Place::Choice),
            _ => Member::Other,
        }
    }
}

impl Sink for Members {
    #[inline]
    fn key(&mut self, key: Option<&[u8]>) {
        if self.skipped == 0 {
            self.next = key.map_or(Member::Other, |key| self.member(key));
        }
    }

    #[inline]
    fn want(&self) -> Want {
        match self.next {
            Member::Count(_) | Member::Finish | Member::Status if self.skipped == 0 => Want::Text,
            _ => Want::Length,
        }
    }

    #[inline]
    fn scalar(&mut self, value: Value<'_>, _span: Span) -> Result<(), ScanError> {
        if self.skipped > 0 {
            return Ok(());
        }
        match (self.next, value) {
            (Member::Count(count), Value::Number(Kept::Text(number))) => {
                self.reading.set(count, count_of(number));
            }
            (Member::Finish, Value::Text { kept: Kept::Text(name), .. }) if !name.is_empty() => {
                self.finish = Some(FinishReason::from_wire(name));
            }
            (Member::Status, Value::Text { kept: Kept::Text(name), .. }) => {
                self.status = match name {
                    b"completed" => Some(Status::Completed),
                    b"incomplete" => Some(Status::Incomplete),
                    b"failed" => Some(Status::Failed),
                    _ => None,
                };
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, container: Container, _start: usize) -> Result<(), ScanError> {
        match self.next {
            Member::Place(place) if self.skipped == 0 && place.container() == container => {
                if place == Place::Usage {
                    self.reading = Counts::default();
                }
                self.place = place;
                self.next = Self::within(place);
            }
            _ => self.skipped = self.skipped.saturating_add(1),
        }
        Ok(())
    }

    fn close(&mut self, _end: usize) {
        if self.skipped > 0 {
            self.skipped -= 1;
        } else {
            if self.place == Place::Usage {
                self.counts = self.reading;
            }
            self.place = self.place.parent();
        }
        if self.skipped == 0 {
            self.next = Self::within(self.place);
        }
    }
}

const fn counted(count: Option<Count>) -> Member {
    match count {
        Some(count) => Member::Count(count),
        None => Member::Other,
    }
}
