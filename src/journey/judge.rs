//! Looking at the beginning of an answer while it is held: is it one, or a failure in disguise?

use std::ops::Range;
use std::time::Duration;

use super::unasked::Unasked;
use crate::base::{Endpoint, ErrorClass, HeaderBlock, Timestamp};
use crate::config::{Gate, GateUntil};
use crate::provider::{self, Failure, MAX_ERROR_BODY, ProviderKind};
use crate::record::StreamDraft;
use crate::request::BodyBuffer;
use crate::retry::{Failed, Received};
use crate::stream::{
    self, AnswerReader, Ending, Event, FinishReason, Framer, Meaning, StreamDialect, StreamState, Usage,
};

/// A plain answer longer than this is no error object, and is no longer held.
pub const MAX_HELD_PLAIN: usize = 16 * 1024;

/// The most that is read from the host in one piece.
const WINDOW: usize = 16 * 1024;

/// What the beginning of an answer has shown so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Open,
    /// It is an answer, or what cannot be told from one.
    Answer,
    /// It is a failure.
    Failure(Failure),
}

/// An answer that is held until its beginning has been read.
pub struct Judge {
    kind: ProviderKind,
    seen: usize,
    subject: Subject,
}

enum Subject {
    /// Envoy made it, because the provider could not be reached or did not answer in time.
    Envoys { status: u16, received: Received },
    /// The provider answered with a status that says failure; the body says which.
    Failure { status: u16, headers: HeaderBlock, body: Vec<u8> },
    /// JSON with a status that says success. Its beginning is kept; all of it is read for what it says of itself.
    Plain { body: Vec<u8>, reader: Box<AnswerReader> },
    /// A web page with a status that says success: no model's API answers so, but what stands before one does.
    Page,
    /// An event stream with a status that says success.
    Stream(Box<Stream>),
}

/// A stream as far as it has been read.
struct Stream {
    framer: Framer,
    told: Told,
}

/// What its events have told.
struct Told {
    kind: ProviderKind,
    gate: Gate,
    state: StreamState,
    failed: Option<ErrorClass>,
    /// How many events with content have come.
    content: u64,
    /// What the client is spared.
    unasked: Unasked,
}

impl Subject {
    fn plain(endpoint: Endpoint) -> Self {
        Self::Plain { body: Vec::new(), reader: Box::new(AnswerReader::new(endpoint)) }
    }
}

impl Judge {
    /// For an answer that Envoy made itself.
    pub const fn of_envoys(kind: ProviderKind, status: u16, received: Received) -> Self {
        Self { kind, seen: 0, subject: Subject::Envoys { status, received } }
    }

    /// For an answer whose status says failure.
    pub const fn of_failure(kind: ProviderKind, status: u16, headers: HeaderBlock) -> Self {
        Self { kind, seen: 0, subject: Subject::Failure { status, headers, body: Vec::new() } }
    }

    /// For an answer whose status says success; `None` when its beginning tells nothing that could be understood.
    /// `streamed` says whether the client asked for a stream.
    pub fn of_success(
        kind: ProviderKind,
        endpoint: Endpoint,
        headers: &HeaderBlock,
        streamed: bool,
        gate: Gate,
    ) -> Option<Self> {
        if headers.get("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return None;
        }
        let subject = match Media::of(headers)? {
            // Some servers call their events plain text. What is none ends without an event, as a stream cut off.
            Media::Text if !streamed => return None,
            Media::Events | Media::Text => {
                let state = StreamState::new(StreamDialect::of(endpoint)?);
                let unasked = Unasked::default();
                let told = Told { kind, gate, state, failed: None, content: 0, unasked };
                Subject::Stream(Box::new(Stream { framer: Framer::new(), told }))
            }
            // Also where a stream was asked for: some servers answer in one piece all the same.
            Media::Json => Subject::plain(endpoint),
            Media::Page => Subject::Page,
        };
        Some(Self { kind, seen: 0, subject })
    }

    /// The same for a client that is not to be told of usage.
    pub fn sparing_usage(mut self) -> Self {
        if let Subject::Stream(stream) = &mut self.subject {
            stream.told.unasked.spare();
        }
        self
    }

    /// Whether its headers alone say that it is no answer.
    pub const fn is_page(&self) -> bool {
        matches!(self.subject, Subject::Page)
    }

    /// Whether it is a stream that shall not be held; `late` says whether the time for holding one is over.
    pub fn opens_at_once(&self, late: bool) -> bool {
        matches!(&self.subject, Subject::Stream(stream) if late || stream.told.gate.until == GateUntil::Headers)
    }

    /// Whether what has been read brings something of the answer, or something that may be.
    pub const fn has_content(&self) -> bool {
        match &self.subject {
            Subject::Stream(stream) => stream.told.content > 0,
            _ => true,
        }
    }

    /// How many events with content there have been; 0 for what is no stream.
    pub const fn content_events(&self) -> u64 {
        match &self.subject {
            Subject::Stream(stream) => stream.told.content,
            _ => 0,
        }
    }

    /// For an answer that says success and has neither body nor type.
    pub fn of_nothing(kind: ProviderKind, endpoint: Endpoint) -> Self {
        Self { kind, seen: 0, subject: Subject::plain(endpoint) }
    }

    /// The status of an answer that Envoy made, whose body is to be replaced by one that the client can read.
    pub const fn envoys_status(&self) -> Option<u16> {
        match self.subject {
            Subject::Envoys { status, .. } => Some(status),
            _ => None,
        }
    }

    /// Whether a client would take the failure that this answer has turned out to be for an answer: a status of success, and
    /// no word of an error.
    pub fn looks_like_success(&self) -> bool {
        match &self.subject {
            Subject::Stream(stream) => stream.told.failed.is_none(),
            Subject::Plain { reader, .. } => reader.is_cut_off(),
            Subject::Page => true,
            Subject::Envoys { .. } | Subject::Failure { .. } => false,
        }
    }

    /// How long the provider asks to be left alone, as far as its answer has been read.
    pub fn wait_hint(&self, now: Timestamp) -> Option<Duration> {
        match &self.subject {
            Subject::Failure { status, headers, body } => provider::wait_hint(headers, body, *status, now),
            Subject::Envoys { .. } | Subject::Plain { .. } | Subject::Page | Subject::Stream(_) => None,
        }
    }

    /// What is known of a failure of `class` that the answer has turned out to be.
    pub fn failed(&self, class: ErrorClass, now: Timestamp) -> Failed {
        let failed = Failed { hint: self.wait_hint(now), ..Failed::of(class) };
        match &self.subject {
            Subject::Envoys { received, .. } => Failed { received: *received, ..failed },
            Subject::Failure { headers, .. } => {
                Failed { should_retry: provider::should_retry(headers), ..failed }
            }
            Subject::Page | Subject::Plain { .. } | Subject::Stream { .. } => failed,
        }
    }

    /// How much of the answer has been read, which while it is held is how much has come.
    pub const fn seen(&self) -> usize {
        self.seen
    }

    /// Reads what is new in the host's buffer, which holds all of the answer so far. A buffer that cannot be read is
    /// passed on rather than lost.
    pub fn read(&mut self, host: &mut impl BodyBuffer, available: usize, end_of_stream: bool) -> Verdict {
        let mut decided = Verdict::Open;
        while self.seen < available {
            let Ok(window) = host.read(self.seen, WINDOW.min(available - self.seen)) else {
                return Verdict::Answer;
            };
            if window.is_empty() {
                break;
            }
            self.seen += window.len();
            let verdict = self.window(&window);
            decided = if decided == Verdict::Open { verdict } else { decided };
            // Of an answer all is read, because it is followed to its end.
            if decided != Verdict::Open && !matches!(self.subject, Subject::Stream(_) | Subject::Plain { .. })
            {
                return decided;
            }
        }
        if end_of_stream && decided == Verdict::Open { self.end() } else { decided }
    }

    /// What goes on reading an answer that is passed on.
    pub fn into_follower(mut self) -> Option<Box<Self>> {
        match &mut self.subject {
            Subject::Stream(_) => self.seen = 0,
            // It has been judged by its beginning, which is not needed any more; that `seen` runs ahead tells so.
            Subject::Plain { body, .. } => *body = Vec::new(),
            Subject::Envoys { .. } | Subject::Failure { .. } | Subject::Page => return None,
        }
        Some(Box::new(self))
    }

    /// Reads a piece of an answer that passes, all of the host's buffer being new, and says whether content is in it.
    pub fn follow(&mut self, host: &mut impl BodyBuffer, available: usize) -> bool {
        let mut read = 0;
        let mut content = false;
        while read < available {
            let Ok(window) = host.read(read, WINDOW.min(available - read)) else { return true };
            if window.is_empty() {
                break;
            }
            read += window.len();
            match &mut self.subject {
                Subject::Stream(stream) => {
                    let Stream { framer, told } = &mut **stream;
                    told.unasked.before(framer, &window);
                    framer.feed(&window, |event| content |= told.follow(&event));
                    // An event so large that it is passed over is something all the same.
                    content |= framer.is_passing_over();
                }
                // Whatever is larger is no error object; that `seen` runs ahead then tells that not all was kept.
                Subject::Plain { body, reader } => {
                    content = true;
                    reader.feed(&window);
                    self.seen = self.seen.saturating_add(window.len());
                    if self.seen > MAX_HELD_PLAIN {
                        *body = Vec::new();
                    } else {
                        body.extend_from_slice(&window);
                    }
                }
                Subject::Envoys { .. } | Subject::Failure { .. } | Subject::Page => return true,
            }
        }
        content
    }

    /// How many bytes of a stream's next event have come; `None` for what is no stream.
    pub fn open_event(&self) -> Option<usize> {
        match &self.subject {
            Subject::Stream(stream) => Some(usize::try_from(stream.framer.tail_len()).unwrap_or(usize::MAX)),
            _ => None,
        }
    }

    /// How much of a stream has been read.
    pub fn position(&self) -> u64 {
        match &self.subject {
            Subject::Stream(stream) => stream.framer.position(),
            _ => 0,
        }
    }

    /// What is to be taken out of what has been read since this was called last.
    pub fn take_unasked(&mut self) -> Vec<Range<u64>> {
        match &mut self.subject {
            Subject::Stream(stream) => stream.told.unasked.take(),
            _ => Vec::new(),
        }
    }

    /// What keeps a stream open on which nothing moves.
    pub fn keep_alive(&self) -> Option<&'static str> {
        match &self.subject {
            Subject::Stream(stream) => Some(stream::keep_alive(stream.told.state.dialect())),
            _ => None,
        }
    }

    /// What the client of a stream is told when it ends with a failure of `class` here.
    pub fn notice(&self, class: ErrorClass) -> Option<String> {
        match &self.subject {
            Subject::Stream(stream) => {
                let state = &stream.told.state;
                Some(stream::notice(state.dialect(), class, state.events()))
            }
            _ => None,
        }
    }

    /// What a stream has come to as soon as that is certain, which may be long before its connection ends: its terminal
    /// event has come, or it has told of a failure.
    pub fn settled(&self) -> Option<Result<(), ErrorClass>> {
        match &self.subject {
            Subject::Stream(stream) => match stream.told.failed {
                Some(class) => Some(Err(class)),
                None => stream.told.state.is_over().then_some(Ok(())),
            },
            _ => None,
        }
    }

    /// The tokens that the answer has said so far it took; `None` where it has said nothing, or cannot be read.
    pub fn usage(&self) -> Option<Usage> {
        match &self.subject {
            Subject::Stream(stream) => stream.told.state.usage(),
            Subject::Plain { reader, .. } => reader.usage(),
            Subject::Envoys { .. } | Subject::Failure { .. } | Subject::Page => None,
        }
    }

    /// Why the answer has said so far that it ended.
    pub const fn finish_reason(&self) -> Option<FinishReason> {
        match &self.subject {
            Subject::Stream(stream) => stream.told.state.finish_reason(),
            Subject::Plain { reader, .. } => reader.finish_reason(),
            Subject::Envoys { .. } | Subject::Failure { .. } | Subject::Page => None,
        }
    }

    /// What has come of a stream; `None` for what is no stream.
    pub fn stream_facts(&self) -> Option<StreamDraft> {
        match &self.subject {
            Subject::Stream(stream) => {
                let state = &stream.told.state;
                Some(StreamDraft { events: state.events(), ending: state.ending() })
            }
            _ => None,
        }
    }

    /// Whether the answer that has ended here was no good one, and what was wrong with it.
    pub fn ended_badly(&mut self) -> Option<ErrorClass> {
        let Stream { framer, told } = match &mut self.subject {
            Subject::Stream(stream) => &mut **stream,
            // Less than all of it, or nothing: a status and no answer is what a proxy in trouble sends.
            Subject::Plain { reader, .. } if reader.is_cut_off() => {
                return Some(ErrorClass::StreamTruncated);
            }
            Subject::Plain { body, .. } if self.seen == body.len() => {
                return provider::failure_in_success(self.kind, body).map(|failure| failure.class);
            }
            _ => return None,
        };
        framer.finish(|event| {
            told.follow(&event);
        });
        match told.state.ending() {
            Ending::Truncated => Some(ErrorClass::StreamTruncated),
            Ending::Failed => Some(told.failed.unwrap_or(ErrorClass::StreamError)),
            // Every answer has its finish reason; that some servers leave the terminal event out hurts nobody.
            Ending::Complete | Ending::Unfinished | Ending::NoTerminal | Ending::Unwatched => None,
        }
    }

    fn window(&mut self, window: &[u8]) -> Verdict {
        match &mut self.subject {
            Subject::Envoys { .. } => Verdict::Open,
            // A longer one is not waited for.
            Subject::Page if self.seen < MAX_HELD_PLAIN => Verdict::Open,
            Subject::Page => self.end(),
            Subject::Failure { body, .. } => {
                body.extend_from_slice(window);
                if body.len() < MAX_ERROR_BODY { Verdict::Open } else { self.end() }
            }
            Subject::Plain { body, reader } => {
                reader.feed(window);
                if body.len() < MAX_HELD_PLAIN {
                    body.extend_from_slice(window);
                }
                if body.len() < MAX_HELD_PLAIN { Verdict::Open } else { Verdict::Answer }
            }
            Subject::Stream(stream) => {
                let Stream { framer, told } = &mut **stream;
                let mut verdict = Verdict::Open;
                told.unasked.before(framer, window);
                framer.feed(window, |event| told.judge(&event, &mut verdict));
                if verdict == Verdict::Open && self.seen >= told.gate.max_bytes {
                    Verdict::Answer
                } else {
                    verdict
                }
            }
        }
    }

    /// The answer is over, or as much of it has been read as ever is.
    pub fn end(&mut self) -> Verdict {
        match &mut self.subject {
            Subject::Envoys { status, .. } => {
                let class = if *status == 504 || *status == 408 {
                    ErrorClass::Timeout
                } else {
                    ErrorClass::Transport
                };
                Verdict::Failure(of_class(class))
            }
            Subject::Failure { status, headers, body } => {
                Verdict::Failure(provider::classify(self.kind, *status, headers, body))
            }
            Subject::Plain { reader, .. } if reader.is_cut_off() => {
                Verdict::Failure(of_class(ErrorClass::StreamTruncated))
            }
            Subject::Plain { body, .. } => {
                provider::failure_in_success(self.kind, body).map_or(Verdict::Answer, Verdict::Failure)
            }
            Subject::Page => Verdict::Failure(of_class(ErrorClass::Server)),
            Subject::Stream(stream) => {
                let Stream { framer, told } = &mut **stream;
                let mut verdict = Verdict::Open;
                framer.finish(|event| told.judge(&event, &mut verdict));
                if verdict == Verdict::Open {
                    // Nothing of an answer came: whatever the status said, the client got nothing yet.
                    verdict = Verdict::Failure(of_class(ErrorClass::StreamTruncated));
                }
                verdict
            }
        }
    }
}

impl Told {
    /// The first event that is neither empty nor a mere finish decides. What comes after it in the same piece is only noted.
    fn judge(&mut self, event: &Event<'_>, verdict: &mut Verdict) {
        if *verdict != Verdict::Open {
            self.follow(event);
            return;
        }
        *verdict = match self.read(event) {
            Meaning::Failed(failure) => {
                let failure = in_band(self.kind, &failure, event.data);
                self.failed = Some(failure.class);
                Verdict::Failure(failure)
            }
            Meaning::Terminal(_) => Verdict::Answer,
            meaning if meaning.is_content() => {
                self.content = self.content.saturating_add(1);
                Verdict::Answer
            }
            _ if self.gate.until == GateUntil::FirstContent => Verdict::Open,
            _ => Verdict::Answer,
        };
    }

    fn read<'e>(&mut self, event: &Event<'e>) -> Meaning<'e> {
        let meaning = self.state.read(event);
        self.unasked.read(event, &meaning);
        meaning
    }

    /// Says whether the event brings content. Of several failures the first is the one.
    fn follow(&mut self, event: &Event<'_>) -> bool {
        let meaning = self.read(event);
        if let Meaning::Failed(failure) = &meaning
            && self.failed.is_none()
        {
            self.failed = Some(in_band(self.kind, failure, event.data).class);
        }
        self.content = self.content.saturating_add(u64::from(meaning.is_content()));
        meaning.is_content()
    }
}

/// What the content type says an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    Events,
    Json,
    Text,
    Page,
}

impl Media {
    /// `None` for what the filter knows nothing of, and where the provider does not say.
    fn of(headers: &HeaderBlock) -> Option<Self> {
        let media_type = headers.get("content-type")?.split(';').next()?.trim().to_ascii_lowercase();
        match media_type.as_str() {
            "text/event-stream" => Some(Self::Events),
            "application/json" => Some(Self::Json),
            "text/plain" => Some(Self::Text),
            "text/html" | "text/xml" | "application/xml" | "application/xhtml+xml" => Some(Self::Page),
            other if other.starts_with("application/") && other.ends_with("+json") => Some(Self::Json),
            _ => None,
        }
    }
}

const fn of_class(class: ErrorClass) -> Failure {
    Failure { class, kind: None, code: None }
}

fn in_band(kind: ProviderKind, failure: &stream::Failure<'_>, data: &[u8]) -> Failure {
    let class = match failure {
        stream::Failure::Error(_) => {
            if let Some(failure) = provider::classify_event(kind, data) {
                return failure;
            }
            ErrorClass::StreamError
        }
        stream::Failure::FinishedInError => ErrorClass::StreamError,
        stream::Failure::PromptBlocked => ErrorClass::ContentPolicy,
    };
    Failure { class, kind: None, code: None }
}
