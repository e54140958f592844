//! Reads the tokens and the finish reason of a JSON response that is not a stream, while it passes.
//!
//! These members may come before the text or after it, and the text may be megabytes long. So the response is
//! read to its end, although it is held for its first 16 KiB only. It passes window by window through the
//! same state machine that reads requests, and only numbers are kept. The price: bytes are read into the VM
//! that would otherwise not be. If the response turns out not to be a JSON object, what was read until then
//! counts.

use crate::base::Endpoint;
use crate::request::{Container, Kept, Lexer, ScanError, Sink, Span, Value, Want};

use super::dialect::StreamDialect;
use super::made::Made;
use super::meaning::FinishReason;
use super::usage::{Count, Counts, Usage};
use crate::base::json::count_of;

/// Reads one response. Fixed size except for the longest key, which is bounded by
/// [`MAX_KEPT_BYTES`](crate::request::MAX_KEPT_BYTES).
#[derive(Debug)]
pub struct AnswerReader {
    lexer: Lexer,
    members: Members,
    readable: bool,
}

impl AnswerReader {
    /// A reader at the start of a response from `endpoint`.
    pub fn new(endpoint: Endpoint) -> Self {
        // An embeddings response is no stream and counts like OpenAI's other responses.
        Self::in_dialect(StreamDialect::of(endpoint).unwrap_or(StreamDialect::Chat))
    }

    pub(super) fn in_dialect(dialect: StreamDialect) -> Self {
        Self { lexer: Lexer::new(), members: Members::new(dialect), readable: true }
    }

    /// The same, and it notes what the provider keeps of the answer.
    pub fn learning(mut self, learns: bool) -> Self {
        self.members.made = (learns && self.members.dialect == StreamDialect::Responses).then(Box::default);
        self
    }

    /// What the provider keeps of the answer, if that is noted.
    pub fn made(&self) -> Option<&Made> {
        self.members.made.as_deref()
    }

    /// Reads the next piece, of any length.
    pub fn feed(&mut self, window: &[u8]) {
        if self.readable {
            self.readable = self.lexer.feed(window, &mut self.members).is_ok();
        }
    }

    /// Whether the response would be truncated if it ended here. False if it is not a JSON object.
    pub fn is_cut_off(&self) -> bool {
        self.readable && self.lexer.finish().is_err()
    }

    /// The tokens it reports; `None` if it has reported none.
    pub fn usage(&self) -> Option<Usage> {
        self.members.counts.usage(self.members.dialect.sums())
    }

    /// Why it ended. If it has several choices, the reason of the last one.
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

/// The status in a `response` object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Completed,
    Incomplete,
    Failed,
}

/// An object or array with relevant members. Each has exactly one parent, so no stack is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Outside,
    Root,
    Usage,
    UsageDetails,
    Choices,
    Choice,
    Incomplete,
    Output,
    Item,
}

impl Node {
    const fn parent(self) -> Self {
        match self {
            Self::Outside | Self::Root => Self::Outside,
            Self::Usage | Self::Choices | Self::Incomplete | Self::Output => Self::Root,
            Self::Item => Self::Output,
            Self::UsageDetails => Self::Usage,
            Self::Choice => Self::Choices,
        }
    }

    const fn container(self) -> Container {
        if matches!(self, Self::Choices | Self::Output) { Container::Array } else { Container::Object }
    }
}

/// The kind of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Other,
    Node(Node),
    Count(Count),
    Finish,
    Status,
    ResponseId,
    ItemId,
    Encrypted,
}

#[derive(Debug)]
struct Members {
    dialect: StreamDialect,
    /// The innermost relevant container, and the number of other containers open within it.
    node: Node,
    skipped: u8,
    next: Member,
    /// The `usage` being read. It counts once it is complete.
    reading: Counts,
    counts: Counts,
    finish: Option<FinishReason>,
    status: Option<Status>,
    /// Present if it is noted what the provider keeps.
    made: Option<Box<Made>>,
}

impl Members {
    fn new(dialect: StreamDialect) -> Self {
        Self {
            dialect,
            node: Node::Outside,
            skipped: 0,
            next: Member::Node(Node::Root),
            reading: Counts::default(),
            counts: Counts::default(),
            finish: None,
            status: None,
            made: None,
        }
    }

    fn member(&self, key: &[u8]) -> Member {
        use StreamDialect::{Chat, Completions, Gemini, Messages, Responses};
        match (self.dialect, self.node, key) {
            (Chat | Completions | Responses | Messages, Node::Root, b"usage")
            | (Gemini, Node::Root, b"usageMetadata") => Member::Node(Node::Usage),
            (Chat | Completions | Responses, Node::Usage, _) if Count::is_openai_details(key) => {
                Member::Node(Node::UsageDetails)
            }
            (Chat | Completions | Responses, Node::Usage, _) => count_member(Count::openai(key)),
            (Messages, Node::Usage, _) => count_member(Count::anthropic(key)),
            (Gemini, Node::Usage, _) => count_member(Count::gemini(key)),
            (_, Node::UsageDetails, _) => count_member(Count::openai_detail(key)),
            (Chat | Completions, Node::Root, b"choices") | (Gemini, Node::Root, b"candidates") => {
                Member::Node(Node::Choices)
            }
            (Responses, Node::Root, b"incomplete_details") => Member::Node(Node::Incomplete),
            (Responses, Node::Root, b"status") => Member::Status,
            (Responses, Node::Root, b"id") if self.made.is_some() => Member::ResponseId,
            (Responses, Node::Root, b"output") if self.made.is_some() => Member::Node(Node::Output),
            (Responses, Node::Item, b"id") => Member::ItemId,
            (Responses, Node::Item, b"encrypted_content") => Member::Encrypted,
            (Chat | Completions, Node::Choice, b"finish_reason")
            | (Gemini, Node::Choice, b"finishReason")
            | (Responses, Node::Incomplete, b"reason")
            | (Messages, Node::Root, b"stop_reason") => Member::Finish,
            _ => Member::Other,
        }
    }

    /// The next member in a container: an array's next element, or unknown before the next key.
    const fn within(node: Node) -> Member {
        match node {
            Node::Outside => Member::Node(Node::Root),
            Node::Choices => Member::Node(Node::Choice),
            Node::Output => Member::Node(Node::Item),
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
            Member::ResponseId | Member::ItemId | Member::Encrypted if self.skipped == 0 => Want::Opening,
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
            (member, Value::Text { kept: Kept::Hash(digest), length: 1.. }) => {
                if let Some(made) = &mut self.made {
                    match member {
                        Member::ResponseId => made.response(digest),
                        Member::ItemId => made.item(digest),
                        Member::Encrypted => made.encrypted(digest),
                        _ => {}
                    }
                }
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
            Member::Node(node) if self.skipped == 0 && node.container() == container => {
                if node == Node::Usage {
                    self.reading = Counts::default();
                }
                self.node = node;
                self.next = Self::within(node);
            }
            _ => self.skipped = self.skipped.saturating_add(1),
        }
        Ok(())
    }

    fn close(&mut self, _end: usize) {
        if self.skipped > 0 {
            self.skipped -= 1;
        } else {
            if self.node == Node::Usage {
                self.counts = self.reading;
            }
            self.node = self.node.parent();
        }
        if self.skipped == 0 {
            self.next = Self::within(self.node);
        }
    }
}

const fn count_member(count: Option<Count>) -> Member {
    match count {
        Some(count) => Member::Count(count),
        None => Member::Other,
    }
}
