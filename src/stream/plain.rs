//! Reads the tokens and the finish reason of a JSON response that is not a stream, while it passes, and
//! whether there is an answer in it.
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
use super::meaning::Substance;
use crate::base::FinishReason;
use crate::base::json::count_of;
use crate::base::usage::{Count, Counts, Usage};

/// Reads one response. Fixed size except for the longest key, which is bounded by
/// [`MAX_KEPT_BYTES`](crate::request::MAX_KEPT_BYTES).
#[derive(Debug)]
pub struct AnswerReader {
    lexer: Lexer,
    members: Members,
    /// How much of a byte order mark has come; `None` once something else has.
    mark: Option<usize>,
    /// Why it is not read any more.
    unreadable: Option<ScanError>,
}

/// What a response is if it ends here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainEnding {
    /// It has the shape of its dialect's answers, and this in it.
    Answer(Substance),
    /// An object without its dialect's answer.
    Foreign,
    /// It says that the provider failed.
    Failed,
    /// It ends in the middle.
    CutOff,
    /// It begins like JSON but is not an object.
    NoObject,
    /// It is not JSON.
    NotJson,
    /// It is JSON that is too deep to be read.
    Unread,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl AnswerReader {
    /// A reader at the start of a response from `endpoint`.
    pub fn new(endpoint: Endpoint) -> Self {
        // What is no stream counts tokens like OpenAI's other responses.
        let mut reader = Self::in_dialect(StreamDialect::of(endpoint).unwrap_or(StreamDialect::Chat));
        reader.members.answers = answers(endpoint);
        reader
    }

    pub(super) fn in_dialect(dialect: StreamDialect) -> Self {
        let members = Members::new(dialect);
        Self { lexer: Lexer::new(), members, mark: Some(0), unreadable: None }
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
        let window = self.without_mark(window);
        if self.unreadable.is_none() {
            self.unreadable = self.lexer.feed(window, &mut self.members).err();
        }
    }

    fn without_mark<'w>(&mut self, mut window: &'w [u8]) -> &'w [u8] {
        while let (Some(at), Some((first, rest))) = (self.mark, window.split_first()) {
            if BYTE_ORDER_MARK.get(at) != Some(first) {
                self.mark = None;
                break;
            }
            self.mark = Some(at + 1);
            window = rest;
        }
        window
    }

    /// Whether the response would be truncated if it ended here. False if it is not a JSON object.
    pub fn is_cut_off(&self) -> bool {
        self.unreadable.is_none() && self.lexer.finish().is_err()
    }

    /// Whether it may state an error. If not, no member is called `error`, and none names its kind so.
    pub const fn may_state_error(&self) -> bool {
        self.unreadable.is_some() || self.members.may_state_error
    }

    /// Whether nothing but white space can follow.
    pub fn is_complete(&self) -> bool {
        self.unreadable.is_none() && self.lexer.finish().is_ok()
    }

    /// What the response is if it ends here.
    pub fn ending(&self) -> PlainEnding {
        match self.unreadable {
            Some(ScanError::NotAnObject { .. }) => return PlainEnding::NoObject,
            Some(
                ScanError::TooDeep { .. }
                | ScanError::TooManyModels { .. }
                | ScanError::ModelInOtherCase { .. },
            ) => return PlainEnding::Unread,
            Some(_) => return PlainEnding::NotJson,
            None if self.is_cut_off() => return PlainEnding::CutOff,
            None => {}
        }
        let Members { has_content, has_answer, status, .. } = self.members;
        let finish = self.finish_reason();
        let is_paid = self.usage().is_some_and(|usage| usage.is_paid());
        match (finish, status) {
            (Some(FinishReason::Error), _) => PlainEnding::Failed,
            // A response in the background has not begun to be an answer.
            (_, Some(Status::Pending)) => PlainEnding::Answer(Substance::Answer),
            _ if !has_answer => PlainEnding::Foreign,
            // Output tokens were paid for, even if it does not say why it ended.
            _ if has_content || is_paid => PlainEnding::Answer(Substance::Answer),
            _ => PlainEnding::Answer(Substance::without_content(finish, is_paid)),
        }
    }

    /// The tokens it reports; `None` if it has reported none.
    pub fn usage(&self) -> Option<Usage> {
        self.members.counts.usage(self.members.dialect.sums())
    }

    /// Why it ended. If it has several choices, the reason of the last one that did not fail.
    pub const fn finish_reason(&self) -> Option<FinishReason> {
        match (self.members.finish, self.members.status) {
            (Some(finish), _) => Some(finish),
            (None, Some(Status::Completed)) => Some(FinishReason::Stop),
            (None, Some(Status::Incomplete)) => Some(FinishReason::Other),
            (None, Some(Status::Failed)) => Some(FinishReason::Error),
            (None, Some(Status::Pending) | None) => None,
        }
    }
}

/// The members of which one holds the answer, at endpoints that generate no text. Vendors name it differently.
const fn answers(endpoint: Endpoint) -> &'static [&'static [u8]] {
    match endpoint {
        Endpoint::Embeddings | Endpoint::Images => &[b"data"],
        Endpoint::Moderations => &[b"results"],
        Endpoint::Rerank => &[b"results", b"data"],
        Endpoint::CountTokens => &[b"input_tokens"],
        // JSON with a recording in it has no common form, and one without is no recording.
        Endpoint::Speech => &[b"audio", b"data"],
        Endpoint::Chat | Endpoint::Completions | Endpoint::Responses | Endpoint::Messages => &[],
    }
}

/// The status in a `response` object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Completed,
    Incomplete,
    Failed,
    /// It is queued or in progress, in the background.
    Pending,
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
    /// The message of a choice.
    Message,
    /// The content of Anthropic's message, or the answer of an endpoint that generates no text.
    Blocks,
    Block,
    /// The output of a response.
    Items,
    Item,
    /// The content or the summary of an item.
    Pieces,
    Piece,
}

impl Node {
    const fn parent(self) -> Self {
        match self {
            Self::Outside | Self::Root => Self::Outside,
            Self::Usage | Self::Choices | Self::Incomplete | Self::Blocks | Self::Items => Self::Root,
            Self::UsageDetails => Self::Usage,
            Self::Choice => Self::Choices,
            Self::Message => Self::Choice,
            Self::Block => Self::Blocks,
            Self::Item => Self::Items,
            Self::Pieces => Self::Item,
            Self::Piece => Self::Pieces,
        }
    }

    const fn container(self) -> Container {
        match self {
            Self::Choices | Self::Blocks | Self::Items | Self::Pieces => Container::Array,
            _ => Container::Object,
        }
    }

    /// Whether it is what answers of its dialect consist of.
    const fn is_answer(self) -> bool {
        matches!(self, Self::Choices | Self::Blocks | Self::Items)
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
    /// It may be part of the answer: text, or a container with something in it.
    Content,
}

#[derive(Debug)]
struct Members {
    dialect: StreamDialect,
    /// The members of which one holds the answer, if those of the dialect do not.
    answers: &'static [&'static [u8]],
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
    /// The member of which its dialect's answers consist has come.
    has_answer: bool,
    /// There is something in it.
    has_content: bool,
    /// The containers open within the relevant one are part of the answer.
    in_content: bool,
    /// The next value says what an object is or how it ended.
    is_kind: bool,
    may_state_error: bool,
}

impl Members {
    fn new(dialect: StreamDialect) -> Self {
        Self {
            dialect,
            answers: &[],
            node: Node::Outside,
            skipped: 0,
            next: Member::Node(Node::Root),
            reading: Counts::default(),
            counts: Counts::default(),
            finish: None,
            status: None,
            made: None,
            has_answer: false,
            has_content: false,
            in_content: false,
            is_kind: false,
            may_state_error: false,
        }
    }

    fn member(&self, key: &[u8]) -> Member {
        use StreamDialect::{Chat, Completions, Gemini, Media, Messages, Responses};
        match (self.dialect, self.node, key) {
            (Chat | Completions | Responses | Messages | Media, Node::Root, b"usage")
            | (Gemini, Node::Root, b"usageMetadata") => Member::Node(Node::Usage),
            (Chat | Completions | Responses | Messages | Media, Node::Usage, _) if Count::is_details(key) => {
                Member::Node(Node::UsageDetails)
            }
            (Chat | Completions | Responses | Media, Node::Usage, _) => count_member(Count::openai(key)),
            (Messages, Node::Usage, _) => count_member(Count::anthropic(key)),
            (Gemini, Node::Usage, _) => count_member(Count::gemini(key)),
            (_, Node::UsageDetails, _) => count_member(Count::detail(key)),
            (_, Node::Root, _) if self.answers.contains(&key) => Member::Node(Node::Blocks),
            (_, Node::Root, b"choices") if !self.answers.is_empty() => Member::Other,
            (Messages, Node::Root, b"content") => Member::Node(Node::Blocks),
            (Responses, Node::Root, b"output") => Member::Node(Node::Items),
            (Chat | Completions, Node::Root, b"choices") | (Gemini, Node::Root, b"candidates") => {
                Member::Node(Node::Choices)
            }
            (Responses, Node::Root, b"incomplete_details") => Member::Node(Node::Incomplete),
            (Responses, Node::Root, b"status") => Member::Status,
            (Responses, Node::Root, b"id") if self.made.is_some() => Member::ResponseId,
            (_, Node::Item, b"id") if self.made.is_some() => Member::ItemId,
            (_, Node::Item, b"encrypted_content") if self.made.is_some() => Member::Encrypted,
            (Chat | Completions, Node::Choice, b"finish_reason")
            | (Gemini, Node::Choice, b"finishReason")
            | (Responses, Node::Incomplete, b"reason")
            | (Messages, Node::Root, b"stop_reason") => Member::Finish,
            // What is known to be an answer is not looked at any further.
            _ if self.has_content => Member::Other,
            _ => self.content_member(key),
        }
    }

    /// The kind of a member that may hold part of the answer. As in streams, any filled member is content,
    /// except those that only say what or whose it is.
    fn content_member(&self, key: &[u8]) -> Member {
        match (self.node, key) {
            (Node::Choice, b"message" | b"delta") => Member::Node(Node::Message),
            (Node::Item, b"content" | b"summary") => Member::Node(Node::Pieces),
            (Node::Choice, b"text" | b"logprobs" | b"content") => Member::Content,
            (Node::Message, b"role" | b"name")
            | (Node::Block, b"type" | b"id" | b"object" | b"index")
            | (Node::Item, b"type" | b"id" | b"status" | b"role" | b"phase")
            | (Node::Piece, b"type") => Member::Other,
            (Node::Message | Node::Block | Node::Item | Node::Piece, _) => Member::Content,
            _ => Member::Other,
        }
    }

    /// A value in a container that is part of the answer.
    const fn read_nested(&mut self, value: Value<'_>) {
        let is_filled = matches!(value, Value::Text { length: 1.., .. } | Value::Number(_));
        self.has_content |= is_filled && matches!(self.next, Member::Content);
        self.next = Member::Content;
    }

    /// The next member in a container: an array's next element, or unknown before the next key.
    const fn within(node: Node) -> Member {
        match node {
            Node::Outside => Member::Node(Node::Root),
            Node::Choices => Member::Node(Node::Choice),
            Node::Blocks => Member::Node(Node::Block),
            Node::Items => Member::Node(Node::Item),
            Node::Pieces => Member::Node(Node::Piece),
            _ => Member::Other,
        }
    }
}

impl Sink for Members {
    #[inline]
    fn key(&mut self, key: Option<&[u8]>) {
        self.may_state_error |= key == Some(b"error");
        self.is_kind = matches!(key, Some(b"type" | b"object" | b"status" | b"finish_reason"));
        if self.skipped == 0 {
            self.next = key.map_or(Member::Other, |key| self.member(key));
        } else if self.in_content {
            let is_label = matches!(key, Some(b"type" | b"role" | b"index" | b"object"));
            self.next = if is_label { Member::Other } else { Member::Content };
        }
    }

    #[inline]
    fn want(&self) -> Want {
        match self.next {
            _ if self.is_kind => Want::Text,
            Member::Count(_) | Member::Finish | Member::Status if self.skipped == 0 => Want::Text,
            Member::ResponseId | Member::ItemId | Member::Encrypted if self.skipped == 0 => Want::Opening,
            _ => Want::Length,
        }
    }

    #[inline]
    fn scalar(&mut self, value: Value<'_>, _span: Span) -> Result<(), ScanError> {
        if let (true, Value::Text { kept: Kept::Text(kind), .. }) = (self.is_kind, value) {
            self.may_state_error |= matches!(kind, b"error" | b"failed" | b"response.failed");
        }
        if self.skipped > 0 {
            if self.in_content {
                self.read_nested(value);
            }
            return Ok(());
        }
        match (self.next, value) {
            (Member::Content, Value::Text { length: 1.., .. }) => self.has_content = true,
            // A number of tokens, or the score of a document.
            (Member::Content, Value::Number(_)) if !self.answers.is_empty() => self.has_content = true,
            (Member::Node(Node::Blocks), Value::Number(_)) if !self.answers.is_empty() => {
                self.has_answer = true;
                self.has_content = true;
            }
            // Some relays write text in place of a list.
            (Member::Node(node), Value::Text { length: 1.., .. })
                if node.is_answer() || node == Node::Pieces =>
            {
                self.has_answer |= node.is_answer();
                self.has_content = true;
            }
            (Member::Count(count), Value::Number(Kept::Text(number))) => {
                self.reading.set(count, count_of(number));
            }
            (member, Value::Text { kept: Kept::Hash(digest), length: 1.. }) => {
                if let Some(made) = &mut self.made {
                    match member {
                        Member::ResponseId => made.response(digest),
                        Member::ItemId => made.item(digest),
                        Member::Encrypted => {
                            made.encrypted(digest);
                            self.has_content = true;
                        }
                        _ => {}
                    }
                }
            }
            (Member::Finish, Value::Text { kept: Kept::Text(name), .. }) => {
                self.finish = match (self.finish, FinishReason::from_wire(name)) {
                    // One choice that failed does not take the others away.
                    (Some(finish), None | Some(FinishReason::Error)) => Some(finish),
                    (_, finish) => finish,
                };
            }
            (Member::Status, Value::Text { kept: Kept::Text(name), .. }) => {
                self.status = match name {
                    b"completed" => Some(Status::Completed),
                    b"incomplete" => Some(Status::Incomplete),
                    b"failed" | b"cancelled" => Some(Status::Failed),
                    b"queued" | b"in_progress" => Some(Status::Pending),
                    _ => None,
                };
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, container: Container, _start: usize) -> Result<(), ScanError> {
        self.is_kind = false;
        match self.next {
            Member::Node(node) if self.skipped == 0 && node.container() == container => {
                if node == Node::Usage {
                    self.reading = Counts::default();
                }
                self.has_answer |= node.is_answer();
                self.node = node;
                self.next = Self::within(node);
            }
            member => {
                self.in_content |= self.skipped == 0 && member == Member::Content;
                self.skipped = self.skipped.saturating_add(1);
                self.next = Member::Content;
            }
        }
        Ok(())
    }

    fn close(&mut self, _end: usize) {
        if self.skipped > 0 {
            self.skipped -= 1;
            self.in_content &= self.skipped > 0 && !self.has_content;
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
