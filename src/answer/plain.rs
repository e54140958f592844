//! Reads a response in one piece (JSON), before the commit point and after it.

use super::buffer::{After, WINDOW, read_windows};
use super::model_names::ModelNames;
use super::report::{AnswerFacts, ChunkReport, Release};
use crate::base::{Endpoint, ErrorClass, HeaderBlock, HeaderSink};
use crate::provider::{self, Failure, ProviderKind};
use crate::request::BodyBuffer;
use crate::stream::AnswerReader;

/// A plain response longer than this is not an error object, and is not held any longer.
pub const MAX_HELD_PLAIN: usize = 16 * 1024;

/// A plain response as far as it has been read.
pub(super) struct PlainReader {
    /// The bytes so far, while it can still be an error object that has not been judged.
    head: Option<Vec<u8>>,
    answer: AnswerReader,
}

impl PlainReader {
    /// A response of which nothing has come.
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { head: Some(Vec::new()), answer: AnswerReader::new(endpoint) }
    }

    /// Reads the next bytes. It keeps the first ones without a copy, because most responses come in one piece.
    pub(super) fn feed(&mut self, window: Vec<u8>) {
        self.answer.feed(&window);
        self.head = match self.head.take() {
            Some(head) if head.len() + window.len() > MAX_HELD_PLAIN => None,
            Some(head) if head.is_empty() => Some(window),
            Some(mut head) => {
                head.extend_from_slice(&window);
                Some(head)
            }
            None => None,
        };
    }

    /// Whether it is too long to be an error object.
    pub(super) fn is_long(&self) -> bool {
        self.head.as_ref().is_none_or(|head| head.len() >= MAX_HELD_PLAIN)
    }

    /// Whether it would be incomplete if it ended here.
    pub(super) fn is_cut_off(&self) -> bool {
        self.answer.is_cut_off()
    }

    /// The bytes that have come, unless they are too many for an error object.
    pub(super) fn head(&self) -> &[u8] {
        self.head.as_deref().unwrap_or_default()
    }

    /// What is wrong with a response that ends here, if anything is.
    pub(super) fn failure_at_end(&self, kind: ProviderKind, headers: &HeaderBlock) -> Option<Failure> {
        // A proxy in trouble sends a success status without a complete body.
        if self.is_cut_off() {
            return Some(Failure { class: ErrorClass::StreamTruncated, kind: None, code: None });
        }
        provider::failure_in_success(kind, headers, self.head.as_ref()?)
    }

    /// What it has said about itself so far.
    pub(super) fn facts(&self) -> AnswerFacts {
        AnswerFacts { usage: self.answer.usage(), finish: self.answer.finish_reason(), stream: None }
    }
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
        Self { kind, headers, reader, renaming }
    }

    /// Reads what is new in the host's buffer.
    pub(super) fn chunk(&mut self, host: &mut impl BodyBuffer, available: usize, end: bool) -> ChunkReport {
        let Self { reader, renaming, .. } = self;
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
        let is_cut = end && reader.is_cut_off();
        let release = match renaming {
            _ if is_cut => Release::Hold,
            Some(renaming) => renaming.release(host, available, end).0,
            None => Release::Pass,
        };
        let content = (any || read.is_err()).then_some(0);
        let forwarded = release == Release::Pass;
        ChunkReport { new_bytes, content, forwarded, is_cut, ..ChunkReport::of(release) }
    }

    /// Passes on what was held. The reader has read all of it. The headers are still held, so the length
    /// can be corrected if the response is complete.
    pub(super) fn pass_held(
        &mut self,
        host: &mut (impl HeaderSink + BodyBuffer),
        held: usize,
        end: bool,
    ) -> ChunkReport {
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
        ChunkReport { forwarded: release == Release::Pass, ..ChunkReport::of(release) }
    }

    /// Whether it is incomplete if it ends here.
    pub(super) fn is_cut_off(&self) -> bool {
        self.reader.is_cut_off()
    }

    /// What is wrong with the response that has ended here, if anything is.
    pub(super) fn failure_at_end(&self) -> Option<ErrorClass> {
        self.reader.failure_at_end(self.kind, &self.headers).map(|failure| failure.class)
    }

    /// What it has said about itself so far.
    pub(super) fn facts(&self) -> AnswerFacts {
        self.reader.facts()
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
