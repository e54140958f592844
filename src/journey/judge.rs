//! Looking at the beginning of an answer while it is held: is it one, or a failure in disguise?

mod following;
mod told;

use std::time::Duration;

use told::{Stream, Told, of_class};

use super::injected_usage::Unasked;
use super::renaming::{Rename, Renaming};
use crate::base::{Endpoint, ErrorClass, HeaderBlock, Timestamp};
use crate::config::{Gate, GateUntil};
use crate::provider::{self, Failure, MAX_ERROR_BODY, ProviderKind};
use crate::request::BodyBuffer;
use crate::retry::{Failed, Received};
use crate::stream::{AnswerReader, Framer, StreamDialect, StreamState};

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
    /// The answer's headers, while what they say of a failure may be asked for.
    headers: HeaderBlock,
    seen: usize,
    subject: Subject,
    rename: Option<Rename>,
}

enum Subject {
    /// Envoy made it, because the provider could not be reached or did not answer in time.
    Envoys { status: u16, received: Received },
    /// The provider answered with a status that says failure; the body says which.
    Failure { status: u16, body: Vec<u8> },
    /// JSON with a status that says success. Its beginning is kept; all of it is read for what it says of itself.
    Plain { body: Vec<u8>, reader: Box<AnswerReader> },
    /// A web page with a status that says success: no model's API answers so, but what stands before one does.
    Page,
    /// An event stream with a status that says success.
    Stream(Box<Stream>),
}

impl Subject {
    fn plain(endpoint: Endpoint) -> Self {
        Self::Plain { body: Vec::new(), reader: Box::new(AnswerReader::new(endpoint)) }
    }
}

impl Judge {
    const fn new(kind: ProviderKind, headers: HeaderBlock, subject: Subject) -> Self {
        Self { kind, headers, seen: 0, subject, rename: None }
    }

    /// For an answer that Envoy made itself.
    pub fn of_envoys(kind: ProviderKind, status: u16, received: Received) -> Self {
        Self::new(kind, HeaderBlock::default(), Subject::Envoys { status, received })
    }

    /// For an answer whose status says failure.
    pub const fn of_failure(kind: ProviderKind, status: u16, headers: HeaderBlock) -> Self {
        Self::new(kind, headers, Subject::Failure { status, body: Vec::new() })
    }

    /// For an answer whose status says success; `None` when its beginning tells nothing that could be understood.
    /// `streamed` says whether the client asked for a stream.
    pub fn of_success(
        kind: ProviderKind,
        endpoint: Endpoint,
        headers: HeaderBlock,
        streamed: bool,
        gate: Gate,
    ) -> Option<Self> {
        if headers.get("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return None;
        }
        let subject = match Media::of(&headers)? {
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
        Some(Self::new(kind, headers, subject))
    }

    /// The same for a client that is not to be told of usage.
    pub fn sparing_usage(mut self) -> Self {
        if let Subject::Stream(stream) = &mut self.subject {
            stream.told.unasked.spare();
        }
        self
    }

    /// The same for a client that is to read another name of the model.
    pub fn renaming(self, rename: Rename) -> Self {
        Self { rename: Some(rename), ..self }
    }

    /// What its client is to read as the model's name, if not what the provider says.
    pub const fn rename(&self) -> Option<&Rename> {
        self.rename.as_ref()
    }

    /// What puts that name into a stream.
    pub fn renaming_of_stream(&self) -> Option<Box<Renaming>> {
        match (&self.subject, &self.rename) {
            (Subject::Stream(stream), Some(rename)) => {
                Some(Box::new(Renaming::of_stream(stream.told.state.dialect(), &rename.to)))
            }
            _ => None,
        }
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
        Self::new(kind, HeaderBlock::default(), Subject::plain(endpoint))
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

    /// Whether it is an answer in one piece.
    pub const fn is_plain(&self) -> bool {
        matches!(self.subject, Subject::Plain { .. })
    }

    /// Whether the failure is an error object in the place of an answer.
    pub fn is_error_object(&self) -> bool {
        matches!(&self.subject, Subject::Plain { reader, .. } if !reader.is_cut_off())
    }

    /// How long the provider asks to be left alone, as far as its answer has been read.
    pub fn wait_hint(&self, now: Timestamp) -> Option<Duration> {
        match &self.subject {
            Subject::Failure { status, body } => provider::wait_hint(&self.headers, body, *status, now),
            // A failure under success says it in the same words.
            Subject::Plain { body, .. } => provider::wait_hint(&self.headers, body, 200, now),
            Subject::Stream(_) => provider::wait_hint(&self.headers, b"", 200, now),
            Subject::Envoys { .. } | Subject::Page => None,
        }
    }

    /// What is known of a failure of `class` that the answer has turned out to be.
    pub fn failed(&self, class: ErrorClass, now: Timestamp) -> Failed {
        let failed = Failed {
            hint: self.wait_hint(now),
            should_retry: provider::should_retry(&self.headers),
            ..Failed::of(class)
        };
        match &self.subject {
            Subject::Envoys { received, .. } => Failed { received: *received, ..failed },
            _ => failed,
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
            Subject::Failure { status, body } => {
                Verdict::Failure(provider::classify(self.kind, *status, &self.headers, body))
            }
            Subject::Plain { reader, .. } if reader.is_cut_off() => {
                Verdict::Failure(of_class(ErrorClass::StreamTruncated))
            }
            Subject::Plain { body, .. } => provider::failure_in_success(self.kind, &self.headers, body)
                .map_or(Verdict::Answer, Verdict::Failure),
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
