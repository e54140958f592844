//! Holds a response until its beginning shows whether it is an answer or a failure in disguise.

use std::rc::Rc;

use super::buffer::WINDOW;
use super::follower::Follower;
use super::headers::{Media, forbid_buffering};
use super::plain::{MAX_HELD_PLAIN, PlainFollower, is_json};
use super::rejection::{Appearance, BAD_GATEWAY, Rejection, meant_status};
use super::report::AnswerFacts;
use super::stream_follower::StreamFollower;
use super::subject::{Judgement, Reading, Subject};
use super::translated::Translate;
use crate::base::{Endpoint, ErrorClass, HeaderBlock, HeaderSink, WallTime};
use crate::config::{EmptyStop, HoldPolicy, HoldUntil};
use crate::provider::{self, Failure, ProviderKind};
use crate::request::BodyBuffer;
use crate::retry::{Failed, Received};

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
    /// What an ordinary end without content or output tokens is.
    pub empty_stop: EmptyStop,
    /// The filter asked for usage and the client did not, so the client does not get that event.
    pub hides_usage: bool,
    /// The model name that the client is to read, if not the provider's.
    pub model_name: Option<Rc<str>>,
    /// Whether it is to be learned what the provider keeps of the answer.
    pub learns: bool,
    /// How it is translated for the client, if it is. The endpoint is then the provider's.
    pub translate: Option<Rc<Translate>>,
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
    /// It is held only until its first bytes show what it is, because nothing would follow a failure.
    is_let_go: bool,
    /// The model name that the client is to read, if not the provider's.
    model_name: Option<Rc<str>>,
    /// How it is translated for the client, if it is.
    translate: Option<Rc<Translate>>,
    /// The client speaks another dialect than the provider.
    is_foreign: bool,
}

impl Gatekeeper {
    fn new(kind: ProviderKind, headers: HeaderBlock, subject: Subject) -> Self {
        Self {
            kind,
            headers,
            seen: 0,
            subject,
            is_let_go: false,
            model_name: None,
            translate: None,
            is_foreign: false,
        }
    }

    /// For a response that Envoy made itself.
    pub fn of_envoy(kind: ProviderKind, status: u16, received: Received) -> Self {
        Self::new(kind, HeaderBlock::default(), Subject::Envoy { status, received })
    }

    /// For a response with an error status.
    pub fn of_error(kind: ProviderKind, status: u16, headers: HeaderBlock) -> Self {
        Self::new(kind, headers, Subject::Error { status, body: Vec::new() })
    }

    /// For a response with a success status. `None` if its body is compressed, so that there is nothing to
    /// judge. If it is to be translated, that is a failure.
    pub fn of_success(terms: Terms, headers: HeaderBlock) -> Option<Self> {
        let Terms { kind, endpoint, streamed, gate, empty_stop, hides_usage, model_name, learns, translate } =
            terms;
        let is_foreign = translate.is_some();
        if headers.get("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return is_foreign.then(|| Self::new(kind, headers, Subject::Unreadable).foreign(true));
        }
        let reading =
            Reading { kind, endpoint, gate, hides_usage, empty_stop, learns, translate: translate.clone() };
        let subject = Subject::begin(reading, Media::of(&headers), streamed);
        Some(Self { model_name, translate, is_foreign, ..Self::new(kind, headers, subject) })
    }

    /// The same for a client that speaks another dialect than the provider, or does not.
    #[must_use]
    pub fn foreign(self, is_foreign: bool) -> Self {
        Self { is_foreign, ..self }
    }

    /// For a response that says success and has no body.
    pub fn of_nothing(kind: ProviderKind) -> Self {
        Self::new(kind, HeaderBlock::default(), Subject::Nothing)
    }

    /// Whether the response is held at all. `could_move` says whether there is another target to ask.
    pub fn holds(&mut self, gate_is_over: bool, could_move: impl FnOnce() -> bool) -> bool {
        // A plain response can report a failure only by its status, and that goes to the client first.
        let Subject::Beginning(beginning) = &self.subject else { return true };
        if !beginning.is_streamed() {
            return true;
        }
        // If no other target is left, holding a stream gains nothing: it can report failures later.
        let reading = beginning.reading();
        self.is_let_go = gate_is_over || reading.gate.until == HoldUntil::Headers || !could_move();
        if self.is_let_go && beginning.is_as_expected() {
            self.subject = reading.stream();
            return false;
        }
        true
    }

    /// Whether it is a stream, or is expected to be one.
    pub fn is_stream(&self) -> bool {
        self.subject.is_stream()
    }

    /// Whether it is a plain response or an error of which nothing but its end is to come.
    pub fn is_whole(&self) -> bool {
        match &self.subject {
            Subject::Plain(reader) => reader.is_complete(),
            Subject::Error { body, .. } => body.trim_ascii_end().ends_with(b"}") && is_json(body),
            _ => false,
        }
    }

    /// Whether so much of it is held to its end, if it is what its label says.
    pub fn holds_all_of(&self, available: usize) -> bool {
        available < MAX_HELD_PLAIN && self.subject.is_held_to_its_end()
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
        now: WallTime,
    ) -> Verdict {
        match self.read(host, available) {
            Some(judgement) => self.verdict(judgement, now),
            None if end => self.end(now),
            None => Verdict::Hold,
        }
    }

    /// The response is over.
    pub fn end(&mut self, now: WallTime) -> Verdict {
        let judgement = self.subject.judge_at_end(self.kind, &self.headers);
        self.verdict(judgement, now)
    }

    /// Passes the commit point: from now on the response goes to the client. `wants_insertion` says whether
    /// text may have to be inserted into a stream.
    pub fn commit(self, wants_insertion: bool, headers: &mut impl HeaderSink) -> Follower {
        let rename_to = self.model_name.as_deref();
        let subject = self.subject.decided(self.kind);
        if let Some(media) = wrong_label(&subject, &self.headers) {
            headers.set("content-type", media.name());
            if media == Media::Events {
                forbid_buffering(&self.headers, headers);
            }
        }
        match subject {
            Subject::Plain(reader) if self.translate.is_some() => {
                headers.remove(b"content-length");
                Follower::of_plain(
                    PlainFollower::new(self.kind, self.headers, reader, None).translating(self.translate),
                )
            }
            Subject::Stream { reader, .. } => {
                let rename_to = rename_to.filter(|_| !reader.is_translated());
                // A notice may make the stream longer than its provider announced.
                headers.remove(b"content-length");
                Follower::of_stream(StreamFollower::new(reader, rename_to, wants_insertion))
            }
            Subject::Plain(reader) => {
                if rename_to.is_some() {
                    headers.remove(b"content-length");
                }
                Follower::of_plain(PlainFollower::new(self.kind, self.headers, reader, rename_to))
            }
            Subject::Bytes => Follower::of_bytes(),
            _ => Follower::unread(),
        }
    }

    /// What the response has said about itself so far.
    pub fn facts(&self) -> AnswerFacts {
        self.subject.facts()
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
            let by_window = self.subject.read(self.kind, window, self.seen);
            judgement = judgement.or(by_window);
            // A follower must have read everything, so these two are read to the end of the buffer.
            if judgement.is_some() && !matches!(self.subject, Subject::Stream { .. } | Subject::Plain(_)) {
                break;
            }
        }
        // Of a stream that is let go, the first bytes decide.
        let is_let_go = self.is_let_go && matches!(self.subject, Subject::Stream { .. });
        judgement.or(is_let_go.then_some(Ok(())))
    }

    fn verdict(&self, judgement: Judgement, now: WallTime) -> Verdict {
        let is_readable = matches!(self.subject, Subject::Stream { .. } | Subject::Plain(_));
        match judgement {
            // It could only pass as it is, which this client cannot read.
            Ok(()) if self.is_foreign && !is_readable => {
                self.verdict(Err(Failure::of(ErrorClass::Malformed)), now)
            }
            Ok(()) => {
                let content = !matches!(self.subject, Subject::Stream { content: false, .. });
                Verdict::Commit { content }
            }
            Err(failure) => Verdict::Reject(Rejection {
                failed: self.failed(failure.class, now),
                stream: self.facts().stream,
                appearance: self.appearance(&failure),
                label: wrong_label(&self.subject, &self.headers).map(Media::name),
                message: self.message(),
                failure,
            }),
        }
    }

    /// The failure as the retry decision needs it.
    fn failed(&self, class: ErrorClass, now: WallTime) -> Failed {
        let hint = |body, status| provider::wait_hint(&self.headers, body, status, now);
        let hint = match &self.subject {
            Subject::Error { status, body } => hint(body, *status),
            // An error under a 200 has its hint in the same places.
            Subject::Plain(reader) => hint(reader.head(), 200),
            Subject::Stream { .. } => hint(b"", 200),
            _ => None,
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

    /// The provider's message, if the client cannot read its error.
    fn message(&self) -> Option<Box<str>> {
        let body = match &self.subject {
            Subject::Error { body, .. } if self.is_foreign => body,
            Subject::Plain(reader) if self.is_foreign => reader.head(),
            _ => return None,
        };
        provider::error_message(body)
    }

    /// How the failed response looks to a client.
    fn appearance(&self, failure: &Failure) -> Appearance {
        let meant = meant_status(failure);
        match &self.subject {
            Subject::Envoy { status, .. } => Appearance::EnvoyText { status: *status },
            Subject::Error { .. } if failure.class == ErrorClass::Redirected => {
                Appearance::Answer { meant: BAD_GATEWAY }
            }
            Subject::Error { status, .. } if self.is_foreign => Appearance::Foreign { status: *status },
            Subject::Error { .. } => Appearance::Error,
            _ if self.is_foreign => Appearance::Answer { meant },
            Subject::Stream { reader, .. } if reader.has_failed_openly() => Appearance::Error,
            Subject::Plain(reader) if reader.is_error_object(self.kind, &self.headers) => {
                Appearance::ErrorUnderSuccess { meant }
            }
            _ => Appearance::Answer { meant },
        }
    }
}

/// The proper type of a response whose label says something else.
fn wrong_label(subject: &Subject, headers: &HeaderBlock) -> Option<Media> {
    subject.media().filter(|media| Media::of(headers) != Some(*media))
}
