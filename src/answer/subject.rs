//! What is being judged: a response as far as it has been read, by its kind.

use std::rc::Rc;

use super::first_bytes::{Shape, shape};
use super::headers::Media;
use super::plain::{MAX_HELD_PLAIN, PlainReader};
use super::report::AnswerFacts;
use super::stream_reader::{Sign, StreamReader};
use super::translated::Translate;
use crate::base::{Endpoint, ErrorClass, HeaderBlock};
use crate::config::{EmptyStop, HoldPolicy, HoldUntil};
use crate::provider::{self, Failure, MAX_ERROR_BODY, ProviderKind};
use crate::retry::Received;
use crate::stream::StreamDialect;

/// `Err` for a failure, `Ok` for anything else.
pub(super) type Judgement = Result<(), Failure>;

/// A response as far as it has been read.
pub(super) enum Subject {
    /// Envoy made it, because the provider could not be reached or did not answer in time.
    Envoy { status: u16, received: Received },
    /// The provider's status says failure; the body says which.
    Error { status: u16, body: Vec<u8> },
    /// A success status without a body.
    Nothing,
    /// A success status, and too little of the body to see what it is.
    Beginning(Beginning),
    /// JSON under a success status.
    Plain(Box<PlainReader>),
    /// A web page under a success status.
    Page,
    /// An event stream under a success status. `content` says whether any has come.
    Stream { reader: Box<StreamReader>, gate: HoldPolicy, content: bool },
    /// A body that cannot be read: it is compressed, or of a type that is not known.
    Unreadable,
    /// A recording, at an endpoint whose answers may be one.
    Bytes,
}

/// How the answers to a request are read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) kind: ProviderKind,
    pub(super) endpoint: Endpoint,
    pub(super) gate: HoldPolicy,
    pub(super) hides_usage: bool,
    pub(super) empty_stop: EmptyStop,
    /// Whether it is to be learned what the provider keeps of the answer.
    pub(super) learns: bool,
    /// How it is translated, if it is.
    pub(super) translate: Option<Rc<Translate>>,
}

/// The beginning of a body that does not show yet what it is.
pub(super) struct Beginning {
    reading: Reading,
    label: Option<Media>,
    /// The client asked for a stream.
    streamed: bool,
    bytes: Vec<u8>,
}

impl Reading {
    fn plain(&self) -> Subject {
        Subject::Plain(Box::new(PlainReader::new(self.endpoint, self.empty_stop).learning(self.learns)))
    }

    /// A stream, or JSON if the endpoint does not stream.
    pub(super) fn stream(&self) -> Subject {
        let Self { kind, endpoint, gate, hides_usage, empty_stop, learns, ref translate } = *self;
        let Some(dialect) = StreamDialect::of(endpoint) else { return self.plain() };
        let reader = StreamReader::new(kind, dialect, hides_usage, empty_stop).learning(learns);
        let reader = reader.translating(translate.as_deref());
        Subject::Stream { reader: Box::new(reader), gate, content: false }
    }
}

impl Subject {
    /// A response with a success status of which nothing has come.
    pub(super) fn begin(reading: Reading, label: Option<Media>, streamed: bool) -> Self {
        Self::Beginning(Beginning { reading, label, streamed, bytes: Vec::new() })
    }

    /// Reads the next bytes. `seen` is how many have come with them.
    pub(super) fn read(&mut self, kind: ProviderKind, window: Vec<u8>, seen: usize) -> Option<Judgement> {
        match self {
            Self::Beginning(beginning) => {
                let bytes = beginning.join(window);
                let Some(shape) = shape(&bytes, false) else {
                    beginning.bytes = bytes;
                    return None;
                };
                *self = beginning.subject(shape);
                self.read(kind, bytes, seen)
            }
            Self::Envoy { .. } | Self::Nothing => None,
            Self::Unreadable | Self::Bytes => Some(Ok(())),
            Self::Page => (seen >= MAX_HELD_PLAIN).then(|| Err(Failure::of(ErrorClass::Server))),
            Self::Error { body, .. } => {
                body.extend_from_slice(&window);
                (body.len() >= MAX_ERROR_BODY).then(|| self.judge_at_end(kind, &HeaderBlock::default()))
            }
            Self::Plain(reader) => {
                reader.feed(window);
                reader.is_long().then_some(Ok(()))
            }
            Self::Stream { reader, gate, content } => {
                let mut judgement = None;
                reader.feed(&window, |sign| judge_event(sign, gate.until, &mut judgement, content));
                judgement.or((seen >= gate.max_bytes).then_some(Ok(())))
            }
        }
    }

    /// Judges a response that is over, or of which no more is read.
    pub(super) fn judge_at_end(&mut self, kind: ProviderKind, headers: &HeaderBlock) -> Judgement {
        match self {
            Self::Beginning(beginning) => {
                let bytes = beginning.join(Vec::new());
                if bytes.trim_ascii().is_empty() {
                    return Err(Failure::of(ErrorClass::Empty));
                }
                *self = beginning.subject(shape(&bytes, true).unwrap_or(Shape::Text));
                let seen = bytes.len();
                self.read(kind, bytes, seen).unwrap_or_else(|| self.judge_at_end(kind, headers))
            }
            Self::Envoy { status: 504 | 408, .. } => Err(Failure::of(ErrorClass::Timeout)),
            Self::Envoy { .. } => Err(Failure::of(ErrorClass::Transport)),
            Self::Error { status, body } => Err(provider::classify(kind, *status, headers, body)),
            Self::Plain(reader) => reader.failure_at_end(kind, headers).map_or(Ok(()), Err),
            Self::Page => Err(Failure::of(ErrorClass::Server)),
            Self::Nothing => Err(Failure::of(ErrorClass::Empty)),
            Self::Unreadable | Self::Bytes => Ok(()),
            Self::Stream { reader, gate, content } => {
                let mut judgement = None;
                reader.finish(|sign| judge_event(sign, gate.until, &mut judgement, content));
                // Without an event it is not an answer, whatever its status.
                let at_end = || reader.failure_at_end().map_or(Ok(()), |class| Err(Failure::of(class)));
                judgement.unwrap_or_else(at_end)
            }
        }
    }

    /// What it is taken for when no more can be waited for.
    pub(super) fn decided(mut self, kind: ProviderKind) -> Self {
        if let Self::Beginning(beginning) = &mut self {
            let bytes = beginning.join(Vec::new());
            let seen = bytes.len();
            let mut subject = if beginning.is_stream() {
                beginning.reading.stream()
            } else {
                beginning.subject(Shape::Text)
            };
            let _ = subject.read(kind, bytes, seen);
            return subject;
        }
        self
    }

    /// Whether it is a stream, or is expected to be one.
    pub(super) fn is_stream(&self) -> bool {
        match self {
            Self::Stream { .. } => true,
            Self::Beginning(beginning) => beginning.is_stream(),
            _ => false,
        }
    }

    /// Whether a short response of this kind is held until it is over. Before its first bytes have come, its label tells.
    pub(super) fn is_held_to_its_end(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Beginning(beginning) => !beginning.streamed && beginning.label == Some(Media::Json),
            _ => false,
        }
    }

    /// What the response has said about itself so far.
    pub(super) fn facts(&self) -> AnswerFacts {
        match self {
            Self::Stream { reader, .. } => reader.facts(),
            Self::Plain(reader) => reader.facts(),
            _ => AnswerFacts::default(),
        }
    }

    /// Its proper type, if it is known.
    pub(super) fn media(&self) -> Option<Media> {
        match self {
            Self::Stream { .. } => Some(Media::Events),
            Self::Plain(reader) if reader.is_object() => Some(Media::Json),
            Self::Error { body, .. } if shape(body, true) == Some(Shape::Json) => Some(Media::Json),
            _ => None,
        }
    }
}

impl Beginning {
    /// All that has come, with the next bytes. Nearly always there is nothing before them.
    fn join(&mut self, window: Vec<u8>) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.is_empty() {
            return window;
        }
        bytes.extend_from_slice(&window);
        bytes
    }

    /// Whether a stream was asked for, and the label does not deny that it comes.
    fn is_stream(&self) -> bool {
        self.streamed && !matches!(self.label, Some(Media::Json | Media::Page))
    }

    /// Whether the client gets what it asked for, if the label is right.
    pub(super) fn is_as_expected(&self) -> bool {
        self.streamed && self.label == Some(Media::Events)
    }

    pub(super) const fn is_streamed(&self) -> bool {
        self.streamed
    }

    pub(super) const fn reading(&self) -> &Reading {
        &self.reading
    }

    /// What the first bytes show it to be. If they do not tell, the label does.
    fn subject(&self, shape: Shape) -> Subject {
        let is_of_bytes = self.reading.endpoint.answers_with_bytes();
        match (shape, self.label) {
            // A recording may begin with any bytes, also with those of a text.
            (_, Some(Media::Bytes)) if is_of_bytes => Subject::Bytes,
            (Shape::Text | Shape::Binary, None) if is_of_bytes => Subject::Bytes,
            (Shape::Compressed, _) => Subject::Unreadable,
            (Shape::Json, _) => self.reading.plain(),
            (Shape::Events, _) => self.reading.stream(),
            (Shape::Page, _) | (_, Some(Media::Page)) => Subject::Page,
            // Some servers send events as plain text. Any other text ends without an event, like a truncated
            // stream.
            (_, Some(Media::Events)) => self.reading.stream(),
            (_, Some(Media::Text)) if self.streamed => self.reading.stream(),
            (Shape::Text, _) | (Shape::Binary, Some(Media::Json | Media::Text)) => self.reading.plain(),
            (Shape::Binary, None | Some(Media::Bytes)) => Subject::Unreadable,
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
