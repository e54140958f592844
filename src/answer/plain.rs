//! Reads a response in one piece (JSON), before the commit point and after it.

use std::rc::Rc;

use super::buffer::{After, WINDOW, read_windows};
use super::model_names::ModelNames;
use super::report::{AnswerFacts, ChunkReport, Release};
use super::translated::{Lost, Translate, TranslatedPlain};
use crate::base::{Decimal, Endpoint, ErrorClass, HeaderBlock, HeaderSink};
use crate::config::EmptyStop;
use crate::provider::{self, Failure, ProviderKind};
use crate::request::BodyBuffer;
use crate::stream::{AnswerReader, Made, PlainEnding, Substance};

/// A plain response longer than this is not an error object, and is not held any longer. White space before
/// it does not count: some providers send it while they wait.
pub const MAX_HELD_PLAIN: usize = 16 * 1024;

/// The most white space at the beginning of a plain response that is held.
pub const MAX_HELD_SPACE: usize = 64 * 1024;

/// A plain response as far as it has been read.
pub(super) struct PlainReader {
    /// The bytes so far, while it can still be an error object that has not been judged.
    head: Option<Vec<u8>>,
    /// How much white space has come before anything else.
    space: usize,
    answer: AnswerReader,
    empty_stop: EmptyStop,
}

impl PlainReader {
    /// A response of which nothing has come.
    pub(super) fn new(endpoint: Endpoint, empty_stop: EmptyStop) -> Self {
        Self { head: Some(Vec::new()), space: 0, answer: AnswerReader::new(endpoint), empty_stop }
    }

    /// The same, and it notes what the provider keeps of the answer.
    pub(super) fn learning(self, learns: bool) -> Self {
        Self { answer: self.answer.learning(learns), ..self }
    }

    /// Reads the next bytes. It keeps the first ones without a copy, because most responses come in one piece.
    pub(super) fn feed(&mut self, window: Vec<u8>) {
        self.answer.feed(&window);
        self.head = match self.head.take() {
            Some(head) if head.is_empty() => self.begin(window),
            Some(head) if head.len() + window.len() > MAX_HELD_PLAIN => None,
            Some(mut head) => {
                head.extend_from_slice(&window);
                Some(head)
            }
            None => None,
        };
    }

    /// The beginning without the white space before it.
    fn begin(&mut self, mut window: Vec<u8>) -> Option<Vec<u8>> {
        let space = window.len() - window.trim_ascii_start().len();
        if space > 0 {
            self.space = self.space.saturating_add(space);
            window.drain(..space);
        }
        (window.len() <= MAX_HELD_PLAIN && self.space <= MAX_HELD_SPACE).then_some(window)
    }

    /// Whether it is too long to be an error object.
    pub(super) fn is_long(&self) -> bool {
        self.head.as_ref().is_none_or(|head| head.len() >= MAX_HELD_PLAIN)
    }

    /// Whether it is an object, or has begun to be one.
    pub(super) fn is_object(&self) -> bool {
        !matches!(self.answer.ending(), PlainEnding::NoObject | PlainEnding::NotJson)
    }

    /// Whether nothing but white space can follow.
    pub(super) fn is_complete(&self) -> bool {
        self.answer.is_complete()
    }

    /// Whether it is an error in the format of a dialect.
    pub(super) fn is_error_object(&self, kind: ProviderKind, headers: &HeaderBlock) -> bool {
        !self.answer.is_cut_off() && self.stated_failure(kind, headers).is_some()
    }

    fn stated_failure(&self, kind: ProviderKind, headers: &HeaderBlock) -> Option<Failure> {
        // Known from reading it, so that nearly no answer has to be searched.
        if !self.answer.may_state_error() {
            return None;
        }
        provider::failure_in_success(kind, headers, self.head.as_ref()?)
    }

    /// The bytes that have come, unless they are too many for an error object.
    pub(super) fn head(&self) -> &[u8] {
        self.head.as_deref().unwrap_or_default()
    }

    /// What is wrong with a response that ends here, if anything is.
    pub(super) fn failure_at_end(&self, kind: ProviderKind, headers: &HeaderBlock) -> Option<Failure> {
        let ending = self.answer.ending();
        // A proxy in trouble sends a success status without a complete body.
        if ending == PlainEnding::CutOff {
            return Some(Failure::of(ErrorClass::StreamTruncated));
        }
        if let Some(failure) = self.stated_failure(kind, headers) {
            return Some(failure);
        }
        match ending {
            PlainEnding::NotJson => Some(Failure::of(ErrorClass::Malformed)),
            PlainEnding::NoObject if !is_json(self.head()) => Some(Failure::of(ErrorClass::Malformed)),
            PlainEnding::Failed => Some(Failure::of(ErrorClass::Server)),
            PlainEnding::Answer(Substance::EmptyStop) if self.empty_stop == EmptyStop::Pass => None,
            PlainEnding::Foreign
            | PlainEnding::NoObject
            | PlainEnding::Answer(Substance::EmptyStop | Substance::Nothing) => {
                let stated = provider::flat_failure(kind, headers, self.head(), ErrorClass::Server);
                Some(stated.unwrap_or(Failure::of(ErrorClass::Empty)))
            }
            PlainEnding::CutOff | PlainEnding::Unread | PlainEnding::Answer(Substance::Answer) => None,
        }
    }

    /// What it has said about itself so far.
    pub(super) fn facts(&self) -> AnswerFacts {
        AnswerFacts { usage: self.answer.usage(), finish: self.answer.finish_reason(), stream: None }
    }
}

pub(super) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

/// Puts the client's name for the model into a plain response.
struct Renaming {
    names: ModelNames,
    /// Its provider announced its length.
    has_length: bool,
    /// Bytes in the host's buffer that have been read and wait there for the end of a name.
    waiting: usize,
}

/// A plain response that goes to the client.
pub(super) struct PlainFollower {
    kind: ProviderKind,
    headers: HeaderBlock,
    reader: Box<PlainReader>,
    renaming: Option<Box<Renaming>>,
    /// Present if the client gets it in another dialect.
    translated: Option<Box<TranslatedPlain>>,
}

impl PlainFollower {
    /// A response of which nothing has been passed on; `reader` may have read its beginning. `rename_to` is
    /// the name that the client is to read.
    pub(super) fn new(
        kind: ProviderKind,
        headers: HeaderBlock,
        mut reader: Box<PlainReader>,
        rename_to: Option<&str>,
    ) -> Self {
        // What has been read has been judged, and is not needed any more.
        reader.head = reader.head.filter(Vec::is_empty);
        let has_length = headers.get_bytes("content-length").is_some();
        let renaming = |name| Renaming { names: ModelNames::in_plain(name), has_length, waiting: 0 };
        let renaming = rename_to.map(|name| Box::new(renaming(name)));
        Self { kind, headers, reader, renaming, translated: None }
    }

    /// The same, and it is translated for the client.
    pub(super) fn translating(mut self, translate: Option<Rc<Translate>>) -> Self {
        self.translated = translate.map(|translate| Box::new(TranslatedPlain::new(translate)));
        self
    }

    /// Takes what has come out of the host's buffer, and puts the translation there once the answer is over. Says
    /// how long that is.
    fn translate(
        &mut self,
        host: &mut impl BodyBuffer,
        available: usize,
        is_read: bool,
        end: bool,
    ) -> (ChunkReport, usize) {
        let Self { reader, translated: Some(translated), .. } = self else {
            return (ChunkReport::of(Release::Pass), available);
        };
        translated.collect(host, available, |window| {
            if !is_read {
                reader.feed(std::mem::take(window));
            }
        });
        let report = ChunkReport {
            new_bytes: available,
            content: (available > 0).then_some(0),
            ..ChunkReport::of(Release::Pass)
        };
        if translated.is_written() {
            return (report, 0);
        }
        // Its provider may leave it open.
        let is_complete = reader.is_complete();
        if !end && !is_complete {
            // Trailers may come next, and in their callback only a buffer that is held can be filled.
            return (ChunkReport { release: Release::Hold, ..report }, 0);
        }
        let written = if reader.answer.is_cut_off() { Err(Lost) } else { translated.finish(host) };
        match written {
            Ok(length) => {
                (ChunkReport { forwarded: true, finished_choices: self.finished(), ..report }, length)
            }
            Err(Lost) => (ChunkReport { release: Release::Hold, is_cut: true, ..report }, 0),
        }
    }

    /// Reads what is new in the host's buffer.
    pub(super) fn chunk(&mut self, host: &mut impl BodyBuffer, available: usize, end: bool) -> ChunkReport {
        if self.translated.is_some() {
            return self.translate(host, available, false, end).0;
        }
        let Self { reader, renaming, .. } = self;
        let was_complete = reader.is_complete();
        let waiting = renaming.as_ref().map_or(0, |renaming| renaming.waiting);
        let new_bytes = available.saturating_sub(waiting);
        let mut any = false;
        let read = read_windows(&mut After { host, skipped: waiting }, new_bytes, WINDOW, |window| {
            any = true;
            if let Some(renaming) = renaming {
                renaming.names.read(window);
            }
            reader.feed(std::mem::take(window));
        });
        let is_cut = end && reader.answer.is_cut_off();
        let release = match renaming {
            _ if is_cut => Release::Hold,
            Some(renaming) => renaming.release(host, available, end).0,
            None => Release::Pass,
        };
        let content = ((any && !was_complete) || read.is_err()).then_some(0);
        let forwarded = release == Release::Pass;
        let finished_choices = self.finished();
        ChunkReport { new_bytes, content, forwarded, finished_choices, is_cut, ..ChunkReport::of(release) }
    }

    /// Passes on what was held. The reader has read all of it. The headers are still held, so the length
    /// can be corrected if the response is complete.
    pub(super) fn pass_held(
        &mut self,
        host: &mut (impl HeaderSink + BodyBuffer),
        held: usize,
        end: bool,
    ) -> ChunkReport {
        if self.translated.is_some() {
            let (report, length) = self.translate(host, held, true, end);
            if report.forwarded {
                host.set("content-length", Decimal::of(length as u64).as_str());
            }
            return report;
        }
        let mut release = Release::Pass;
        if let Some(renaming) = &mut self.renaming {
            // If the host's buffer cannot be read, it passes without an edit.
            let _ = read_windows(host, held, WINDOW, |window| renaming.names.read(window));
            let (how, length) = renaming.release(host, held, end);
            if end && renaming.has_length {
                host.set("content-length", &length.to_string());
            }
            release = how;
        }
        let finished_choices = self.finished();
        ChunkReport { forwarded: release == Release::Pass, finished_choices, ..ChunkReport::of(release) }
    }

    /// All choices are finished once the response is complete.
    fn finished(&self) -> Option<u32> {
        self.reader.is_complete().then_some(u32::MAX)
    }

    /// The response ends with trailers. Says whether it is incomplete and is to be held.
    pub(super) fn end_with_trailers(&mut self, host: &mut impl BodyBuffer) -> bool {
        if self.reader.answer.is_cut_off() {
            return true;
        }
        let open = self.translated.as_mut().filter(|translated| !translated.is_written());
        open.is_some_and(|translated| translated.finish(host).is_err())
    }

    /// What is wrong with the response that has ended here, if anything is.
    pub(super) fn failure_at_end(&self) -> Option<ErrorClass> {
        self.reader.failure_at_end(self.kind, &self.headers).map(|failure| failure.class)
    }

    /// What it has said about itself so far.
    pub(super) fn facts(&self) -> AnswerFacts {
        self.reader.facts()
    }

    /// What the provider keeps of the answer, if that is noted.
    pub(super) fn made(&self) -> Option<&Made> {
        self.reader.answer.made()
    }
}

impl Renaming {
    /// Replaces the names in the host's buffer. Returns how to release it and its new length. A name that
    /// is cut in two by the chunk's end waits in the buffer for its rest.
    fn release(&mut self, host: &mut impl BodyBuffer, available: usize, end: bool) -> (Release, usize) {
        if !end && self.names.open_name() > 0 {
            self.waiting = available;
            return (Release::Hold, available);
        }
        self.waiting = 0;
        let length = match self.names.edit_of_last(available) {
            // If the host refuses the edit, the response passes as the provider sent it.
            Some(edit) => edit.apply_held(host, available).unwrap_or(available),
            None => available,
        };
        (Release::Pass, length)
    }
}
