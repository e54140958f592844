//! Looking at the beginning of an answer while it is held: is it one, or a failure in disguise?

use std::time::Duration;

use crate::base::{Endpoint, ErrorClass, HeaderBlock, Timestamp};
use crate::provider::{self, Failure, MAX_ERROR_BODY, ProviderKind};
use crate::request::BodyBuffer;
use crate::stream::{
    self, AnswerReader, Ending, Event, FinishReason, Framer, Meaning, StreamDialect, StreamState, Usage,
};

/// A plain answer longer than this is no error object, and is no longer held.
pub const MAX_HELD_PLAIN: usize = 16 * 1024;

/// A stream that has brought this much without content is no longer held.
pub const MAX_HELD_STREAM: usize = 64 * 1024;

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
    Envoys { status: u16 },
    /// The provider answered with a status that says failure; the body says which.
    Failure { status: u16, headers: HeaderBlock, body: Vec<u8> },
    /// JSON with a status that says success. Its beginning is kept; all of it is read for what it says of itself.
    Plain { body: Vec<u8>, reader: Box<AnswerReader> },
    /// An event stream with a status that says success, and the failure that it has told of.
    Stream { framer: Framer, state: StreamState, failed: Option<ErrorClass> },
}

impl Subject {
    fn plain(endpoint: Endpoint) -> Self {
        Self::Plain { body: Vec::new(), reader: Box::new(AnswerReader::new(endpoint)) }
    }
}

impl Judge {
    /// For an answer that Envoy made itself.
    pub const fn of_envoys(kind: ProviderKind, status: u16) -> Self {
        Self { kind, seen: 0, subject: Subject::Envoys { status } }
    }

    /// For an answer whose status says failure.
    pub const fn of_failure(kind: ProviderKind, status: u16, headers: HeaderBlock) -> Self {
        Self { kind, seen: 0, subject: Subject::Failure { status, headers, body: Vec::new() } }
    }

    /// For an answer whose status says success; `None` when its beginning tells nothing that could be understood.
    pub fn of_success(kind: ProviderKind, endpoint: Endpoint, headers: &HeaderBlock) -> Option<Self> {
        if headers.get("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return None;
        }
        let media_type = headers.get("content-type")?.split(';').next()?.trim();
        let subject = if media_type.eq_ignore_ascii_case("text/event-stream") {
            let dialect = StreamDialect::of(endpoint)?;
            Subject::Stream { framer: Framer::new(), state: StreamState::new(dialect), failed: None }
        } else if media_type.eq_ignore_ascii_case("application/json") {
            Subject::plain(endpoint)
        } else {
            return None;
        };
        Some(Self { kind, seen: 0, subject })
    }

    /// For an answer that says success and has neither body nor type.
    pub fn of_nothing(kind: ProviderKind, endpoint: Endpoint) -> Self {
        Self { kind, seen: 0, subject: Subject::plain(endpoint) }
    }

    /// The status of an answer that Envoy made, whose body is to be replaced by one that the client can read.
    pub const fn envoys_status(&self) -> Option<u16> {
        match self.subject {
            Subject::Envoys { status } => Some(status),
            _ => None,
        }
    }

    /// How long the provider asks to be left alone, as far as its answer has been read.
    pub fn wait_hint(&self, now: Timestamp) -> Option<Duration> {
        match &self.subject {
            Subject::Failure { status, headers, body } => provider::wait_hint(headers, body, *status, now),
            Subject::Envoys { .. } | Subject::Plain { .. } | Subject::Stream { .. } => None,
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
            if decided != Verdict::Open
                && !matches!(self.subject, Subject::Stream { .. } | Subject::Plain { .. })
            {
                return decided;
            }
        }
        if end_of_stream && decided == Verdict::Open { self.end() } else { decided }
    }

    /// What goes on reading an answer that is passed on.
    pub fn into_follower(mut self) -> Option<Box<Self>> {
        match &mut self.subject {
            Subject::Stream { .. } => self.seen = 0,
            // It has been judged by its beginning, which is not needed any more; that `seen` runs ahead tells so.
            Subject::Plain { body, .. } => *body = Vec::new(),
            Subject::Envoys { .. } | Subject::Failure { .. } => return None,
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
                Subject::Stream { framer, state, failed } => {
                    let kind = self.kind;
                    framer.feed(&window, |event| content |= follow_event(kind, state, &event, failed));
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
                Subject::Envoys { .. } | Subject::Failure { .. } => return true,
            }
        }
        content
    }

    /// How many bytes of a stream's next event have come; `None` for what is no stream.
    pub fn open_event(&self) -> Option<usize> {
        match &self.subject {
            Subject::Stream { framer, .. } => Some(usize::try_from(framer.tail_len()).unwrap_or(usize::MAX)),
            _ => None,
        }
    }

    /// What the client of a stream is told when it ends with a failure of `class` here.
    pub fn notice(&self, class: ErrorClass) -> Option<String> {
        match &self.subject {
            Subject::Stream { state, .. } => Some(stream::notice(state.dialect(), class, state.events())),
            _ => None,
        }
    }

    /// What a stream has come to as soon as that is certain, which may be long before its connection ends: its terminal
    /// event has come, or it has told of a failure.
    pub fn settled(&self) -> Option<Result<(), ErrorClass>> {
        match &self.subject {
            Subject::Stream { failed: Some(class), .. } => Some(Err(*class)),
            Subject::Stream { state, .. } if state.is_over() => Some(Ok(())),
            _ => None,
        }
    }

    /// The tokens that the answer has said so far it took; `None` where it has said nothing, or cannot be read.
    pub fn usage(&self) -> Option<Usage> {
        match &self.subject {
            Subject::Stream { state, .. } => state.usage(),
            Subject::Plain { reader, .. } => reader.usage(),
            Subject::Envoys { .. } | Subject::Failure { .. } => None,
        }
    }

    /// Why the answer has said so far that it ended.
    pub const fn finish_reason(&self) -> Option<FinishReason> {
        match &self.subject {
            Subject::Stream { state, .. } => state.finish_reason(),
            Subject::Plain { reader, .. } => reader.finish_reason(),
            Subject::Envoys { .. } | Subject::Failure { .. } => None,
        }
    }

    /// Whether the answer that has ended here was no good one, and what was wrong with it.
    pub fn ended_badly(&mut self) -> Option<ErrorClass> {
        let kind = self.kind;
        let (framer, state, failed) = match &mut self.subject {
            Subject::Stream { framer, state, failed } => (framer, state, failed),
            Subject::Plain { body, .. } if self.seen == body.len() => {
                if body.trim_ascii().is_empty() {
                    return Some(ErrorClass::StreamTruncated);
                }
                return provider::failure_in_success(kind, body).map(|failure| failure.class);
            }
            _ => return None,
        };
        framer.finish(|event| {
            follow_event(kind, state, &event, failed);
        });
        match state.ending() {
            Ending::Truncated => Some(ErrorClass::StreamTruncated),
            Ending::Failed => Some(failed.unwrap_or(ErrorClass::StreamError)),
            // Every answer has its finish reason; that some servers leave the terminal event out hurts nobody.
            Ending::Complete | Ending::Unfinished | Ending::NoTerminal | Ending::Unwatched => None,
        }
    }

    fn window(&mut self, window: &[u8]) -> Verdict {
        match &mut self.subject {
            Subject::Envoys { .. } => Verdict::Open,
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
            Subject::Stream { framer, state, failed } => {
                let mut verdict = Verdict::Open;
                let kind = self.kind;
                framer.feed(window, |event| judge_event(kind, state, &event, (&mut verdict, &mut *failed)));
                if verdict == Verdict::Open && self.seen >= MAX_HELD_STREAM {
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
            Subject::Envoys { status } => {
                let class = if *status == 504 || *status == 408 {
                    ErrorClass::Timeout
                } else {
                    ErrorClass::Transport
                };
                Verdict::Failure(Failure { class, kind: None, code: None })
            }
            Subject::Failure { status, headers, body } => {
                Verdict::Failure(provider::classify(self.kind, *status, headers, body))
            }
            // A status and no answer is what a proxy in trouble sends.
            Subject::Plain { body, .. } if body.trim_ascii().is_empty() => {
                Verdict::Failure(Failure { class: ErrorClass::StreamTruncated, kind: None, code: None })
            }
            Subject::Plain { body, .. } => {
                provider::failure_in_success(self.kind, body).map_or(Verdict::Answer, Verdict::Failure)
            }
            Subject::Stream { framer, state, failed } => {
                let mut verdict = Verdict::Open;
                let kind = self.kind;
                framer.finish(|event| judge_event(kind, state, &event, (&mut verdict, &mut *failed)));
                if verdict == Verdict::Open {
                    // Nothing of an answer came: whatever the status said, the client got nothing yet.
                    let class = ErrorClass::StreamTruncated;
                    verdict = Verdict::Failure(Failure { class, kind: None, code: None });
                }
                verdict
            }
        }
    }
}

/// The first event that is neither empty nor a mere finish decides. What comes after it in the same piece is only noted.
fn judge_event(
    kind: ProviderKind,
    state: &mut StreamState,
    event: &Event<'_>,
    (verdict, failed): (&mut Verdict, &mut Option<ErrorClass>),
) {
    if *verdict != Verdict::Open {
        follow_event(kind, state, event, failed);
        return;
    }
    *verdict = match state.read(event) {
        Meaning::Failed(failure) => {
            let failure = in_band(kind, &failure, event.data);
            *failed = Some(failure.class);
            Verdict::Failure(failure)
        }
        Meaning::Terminal(_) => Verdict::Answer,
        meaning if meaning.is_content() => Verdict::Answer,
        _ => Verdict::Open,
    };
}

/// Says whether the event brings content. Of several failures the first is the one.
fn follow_event(
    kind: ProviderKind,
    state: &mut StreamState,
    event: &Event<'_>,
    failed: &mut Option<ErrorClass>,
) -> bool {
    let meaning = state.read(event);
    if let Meaning::Failed(failure) = &meaning
        && failed.is_none()
    {
        *failed = Some(in_band(kind, failure, event.data).class);
    }
    meaning.is_content()
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
