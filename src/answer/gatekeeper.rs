//! Holds a response until its beginning shows whether it is an answer or a failure in disguise.

use std::rc::Rc;

use super::buffer::WINDOW;
use super::follower::Follower;
use super::headers::Media;
use super::plain::{MAX_HELD_PLAIN, PlainFollower, PlainReader};
use super::rejection::{Appearance, Rejection, meant_status};
use super::report::AnswerFacts;
use super::stream_follower::StreamFollower;
use super::stream_reader::{Sign, StreamReader};
use crate::base::{Endpoint, ErrorClass, HeaderBlock, HeaderSink, Timestamp};
use crate::config::{HoldPolicy, HoldUntil};
use crate::provider::{self, Failure, MAX_ERROR_BODY, ProviderKind};
use crate::request::BodyBuffer;
use crate::retry::{Failed, Received};
use crate::stream::StreamDialect;

/// What a request implies for a response that says success.
#[derive(Debug)]
pub struct Terms {
    /// The kind of provider that responds.
    pub kind: ProviderKind,
    /// The endpoint that was called.
    pub endpoint: Endpoint,
    /// The client asked for a stream.
    pub streamed: bool,
    /// How far a stream is held.
    pub gate: HoldPolicy,
    /// The filter asked for usage and the client did not, so the client does not get that event.
    pub hides_usage: bool,
    /// The model name that the client is to read, if not the provider's.
    pub model_name: Option<Rc<str>>,
}

/// What decides whether a response is held.
#[derive(Debug, Clone, Copy)]
pub struct HoldTerms {
    /// The time for holding a stream is over.
    pub gate_is_over: bool,
    /// The edge can start another attempt.
    pub in_retry_loop: bool,
}

/// What a held response has turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Hold,
    /// An answer, or something that looks like one.
    Commit {
        /// Whether what has come brings part of the answer, or may do so.
        content: bool,
    },
    /// A failure.
    Reject(Rejection),
}

/// A response of which the client has got nothing.
pub struct Gatekeeper {
    kind: ProviderKind,
    /// The response's headers, for what they say about a failure.
    headers: HeaderBlock,
    /// How much of the body has been read, which is how much has come.
    seen: usize,
    subject: Subject,
    /// The model name that the client is to read, if not the provider's.
    model_name: Option<Rc<str>>,
}

enum Subject {
    /// Envoy made it, because the provider could not be reached or did not answer in time.
    Envoy { status: u16, received: Received },
    /// The provider's status says failure; the body says which.
    Error { status: u16, body: Vec<u8> },
    /// JSON under a success status.
    Plain(Box<PlainReader>),
    /// A web page under a success status.
    Page,
    /// An event stream under a success status. `content` says whether any has come.
    Stream { reader: Box<StreamReader>, gate: HoldPolicy, content: bool },
}

/// `Err` for a failure, `Ok` for anything else.
type Judgement = Result<(), Failure>;

impl Gatekeeper {
    fn new(kind: ProviderKind, headers: HeaderBlock, subject: Subject) -> Self {
        Self { kind, headers, seen: 0, subject, model_name: None }
    }

    /// For a response that Envoy made itself.
    pub fn of_envoy(kind: ProviderKind, status: u16, received: Received) -> Self {
        Self::new(kind, HeaderBlock::default(), Subject::Envoy { status, received })
    }

    /// For a response with an error status.
    pub fn of_error(kind: ProviderKind, status: u16, headers: HeaderBlock) -> Self {
        Self::new(kind, headers, Subject::Error { status, body: Vec::new() })
    }

    /// For a response with a success status. `None` if its body cannot be read, so that there is
    /// nothing to judge.
    pub fn of_success(terms: Terms, headers: HeaderBlock) -> Option<Self> {
        if headers.get("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return None;
        }
        let Terms { kind, endpoint, streamed, gate, hides_usage, model_name } = terms;
        let subject = match Media::of(&headers)? {
            // Some servers send events as plain text. Any other text ends without an event, like a
            // truncated stream.
            Media::Text if !streamed => return None,
            Media::Events | Media::Text => {
                let reader = StreamReader::new(kind, StreamDialect::of(endpoint)?, hides_usage);
                Subject::Stream { reader: Box::new(reader), gate, content: false }
            }
            // Also if a stream was asked for, because some servers respond in one piece anyway.
            Media::Json => Subject::Plain(Box::new(PlainReader::new(endpoint))),
            Media::Page => Subject::Page,
        };
        Some(Self { model_name, ..Self::new(kind, headers, subject) })
    }

    /// For a response that says success and has neither a body nor a type.
    pub fn of_nothing(kind: ProviderKind, endpoint: Endpoint) -> Self {
        Self::new(kind, HeaderBlock::default(), Subject::Plain(Box::new(PlainReader::new(endpoint))))
    }

    /// Whether the response is held at all. `could_move` says whether there is another target to ask.
    pub fn holds(&self, terms: HoldTerms, could_move: impl FnOnce() -> bool) -> bool {
        let HoldTerms { gate_is_over, in_retry_loop } = terms;
        match &self.subject {
            // If no other target is left, holding a stream gains nothing: it can report failures later.
            Subject::Stream { gate, .. } => !gate_is_over && gate.until != HoldUntil::Headers && could_move(),
            // A plain response can report a failure only by its status, and that goes to the client first.
            Subject::Plain(_) => in_retry_loop || could_move(),
            // A page is never an answer. It is held to its end, so that an error can replace it.
            Subject::Page | Subject::Envoy { .. } | Subject::Error { .. } => true,
        }
    }

    /// Whether it is a stream.
    pub const fn is_stream(&self) -> bool {
        matches!(self.subject, Subject::Stream { .. })
    }

    /// How many bytes are held.
    pub const fn held(&self) -> usize {
        self.seen
    }

    /// Reads what is new in the host's buffer, which holds `available` bytes: all of the response so far.
    pub fn chunk(
        &mut self,
        host: &mut impl BodyBuffer,
        available: usize,
        end: bool,
        now: Timestamp,
    ) -> Verdict {
        match self.read(host, available) {
            Some(judgement) => self.verdict(judgement, now),
            None if end => self.end(now),
            None => Verdict::Hold,
        }
    }

    /// The response is over.
    pub fn end(&mut self, now: Timestamp) -> Verdict {
        let judgement = self.judge_at_end();
        self.verdict(judgement, now)
    }

    /// Passes the commit point: from now on the response goes to the client. `wants_insertion` says whether
    /// text may have to be inserted into a stream.
    pub fn commit(self, wants_insertion: bool, headers: &mut impl HeaderSink) -> Follower {
        let rename_to = self.model_name.as_deref();
        match self.subject {
            Subject::Stream { reader, .. } => {
                // A notice may make the stream longer than its provider announced.
                headers.remove("content-length");
                Follower::of_stream(StreamFollower::new(reader, rename_to, wants_insertion))
            }
            Subject::Plain(reader) => {
                if rename_to.is_some() {
                    headers.remove("content-length");
                }
                Follower::of_plain(PlainFollower::new(self.kind, self.headers, reader, rename_to))
            }
            Subject::Envoy { .. } | Subject::Error { .. } | Subject::Page => Follower::unread(),
        }
    }

    /// What the response has said about itself so far.
    pub fn facts(&self) -> AnswerFacts {
        match &self.subject {
            Subject::Stream { reader, .. } => reader.facts(),
            Subject::Plain(reader) => reader.facts(),
            Subject::Envoy { .. } | Subject::Error { .. } | Subject::Page => AnswerFacts::default(),
        }
    }

    /// Reads in windows until there is a judgement. A buffer that cannot be read is passed on rather than
    /// lost.
    fn read(&mut self, host: &mut impl BodyBuffer, available: usize) -> Option<Judgement> {
        let mut judgement = None;
        while self.seen < available {
            let Ok(window) = host.read(self.seen, WINDOW.min(available - self.seen)) else {
                return judgement.or(Some(Ok(())));
            };
            if window.is_empty() {
                break;
            }
            self.seen += window.len();
            let by_window = self.judge(window);
            judgement = judgement.or(by_window);
            // A follower must have read everything, so these two are read to the end of the buffer.
            if judgement.is_some() && !matches!(self.subject, Subject::Stream { .. } | Subject::Plain(_)) {
                break;
            }
        }
        judgement
    }

    fn judge(&mut self, window: Vec<u8>) -> Option<Judgement> {
        match &mut self.subject {
            Subject::Envoy { .. } => None,
            Subject::Page => (self.seen >= MAX_HELD_PLAIN).then(|| Err(of_class(ErrorClass::Server))),
            Subject::Error { body, .. } => {
                body.extend_from_slice(&window);
                (body.len() >= MAX_ERROR_BODY).then(|| self.judge_at_end())
            }
            Subject::Plain(reader) => {
                reader.feed(window);
                reader.is_long().then_some(Ok(()))
            }
            Subject::Stream { reader, gate, content } => {
                let mut judgement = None;
                reader.feed(&window, |sign| judge_event(sign, gate.until, &mut judgement, content));
                judgement.or((self.seen >= gate.max_bytes).then_some(Ok(())))
            }
        }
    }

    /// Judges a response that is over, or of which no more is read.
    fn judge_at_end(&mut self) -> Judgement {
        match &mut self.subject {
            Subject::Envoy { status: 504 | 408, .. } => Err(of_class(ErrorClass::Timeout)),
            Subject::Envoy { .. } => Err(of_class(ErrorClass::Transport)),
            Subject::Error { status, body } => {
                Err(provider::classify(self.kind, *status, &self.headers, body))
            }
            Subject::Plain(reader) => reader.failure_at_end(self.kind, &self.headers).map_or(Ok(()), Err),
            Subject::Page => Err(of_class(ErrorClass::Server)),
            Subject::Stream { reader, gate, content } => {
                let mut judgement = None;
                reader.finish(|sign| judge_event(sign, gate.until, &mut judgement, content));
                // A stream without an event is not an answer, whatever its status.
                judgement.unwrap_or_else(|| Err(of_class(ErrorClass::StreamTruncated)))
            }
        }
    }

    fn verdict(&self, judgement: Judgement, now: Timestamp) -> Verdict {
        match judgement {
            Ok(()) => {
                let content = !matches!(self.subject, Subject::Stream { content: false, .. });
                Verdict::Commit { content }
            }
            Err(failure) => Verdict::Reject(Rejection {
                failed: self.failed(failure.class, now),
                stream: self.facts().stream,
                appearance: self.appearance(&failure),
                failure,
            }),
        }
    }

    /// The failure as the retry decision needs it.
    fn failed(&self, class: ErrorClass, now: Timestamp) -> Failed {
        let hint = |body, status| provider::wait_hint(&self.headers, body, status, now);
        let hint = match &self.subject {
            Subject::Error { status, body } => hint(body, *status),
            // An error under a 200 has its hint in the same places.
            Subject::Plain(reader) => hint(reader.head(), 200),
            Subject::Stream { .. } => hint(b"", 200),
            Subject::Envoy { .. } | Subject::Page => None,
        };
        let failed = Failed::of(class);
        let received = match self.subject {
            Subject::Envoy { received, .. } => received,
            _ => failed.received,
        };
        let rejects_addition = match &self.subject {
            Subject::Error { status, body } => provider::rejects_usage_option(*status, body),
            _ => false,
        };
        let should_retry = provider::should_retry(&self.headers);
        Failed { received, hint, should_retry, rejects_addition, ..failed }
    }

    /// How the failed response looks to a client.
    fn appearance(&self, failure: &Failure) -> Appearance {
        match &self.subject {
            Subject::Envoy { status, .. } => Appearance::EnvoyText { status: *status },
            Subject::Error { .. } if failure.class == ErrorClass::Redirected => Appearance::Answer,
            Subject::Error { .. } => Appearance::Error,
            Subject::Stream { reader, .. } if reader.failed().is_some() => Appearance::Error,
            Subject::Plain(reader) if !reader.is_cut_off() => {
                Appearance::ErrorUnderSuccess { meant: meant_status(failure) }
            }
            Subject::Plain(_) | Subject::Page | Subject::Stream { .. } => Appearance::Answer,
        }
    }
}

/// The first event with a meaning decides. Of later events only content is noted.
fn judge_event(sign: Sign, until: HoldUntil, judgement: &mut Option<Judgement>, content: &mut bool) {
    *content |= matches!(sign, Sign::Content);
    if judgement.is_none() {
        *judgement = match sign {
            Sign::Failed(failure) => Some(Err(failure)),
            Sign::Terminal | Sign::Content => Some(Ok(())),
            Sign::Other if until == HoldUntil::FirstContent => None,
            Sign::Other => Some(Ok(())),
        };
    }
}

const fn of_class(class: ErrorClass) -> Failure {
    Failure { class, kind: None, code: None }
}
