//! Passes a stream on as it comes, but only whole events.
//!
//! Text can be inserted only between two events: an error event that ends a broken stream, or a comment
//! that keeps a quiet one open. So the beginning of an event is held back until its rest comes. That costs
//! a copy when a chunk ends within an event, and nothing when it ends with one, as nearly all chunks do.
//!
//! An event of more than [`MAX_HELD_EVENT`] is passed on in pieces. If the stream breaks then, the torn
//! event is ended first, so that the notice is an event of its own.
//!
//! A long chunk is moved through the host's buffer window by window, so that its length does not matter to the VM.
//!
//! Some failures do not look like failures to clients: data that is not JSON, an end without an answer. Such an
//! event goes no further: the notice takes its place, and nothing follows.

use std::borrow::Cow;
use std::ops::Range;

use super::buffer::{After, WINDOW, read_all, read_windows};
use super::injected_usage;
use super::model_names::ModelNames;
use super::moved::{NotMoved, Rewriting, Tail, move_back};
use super::report::{AnswerFacts, ChunkReport, Release};
use super::stream_reader::StreamReader;
use crate::base::ErrorClass;
use crate::request::BodyBuffer;
use crate::stream::{self, Made};

/// The most of an incomplete event that is held back. A longer one is passed on in pieces.
pub const MAX_HELD_EVENT: usize = 64 * 1024;

/// The longest chunk that is arranged in one piece. How long chunks get depends on the buffer limit of the provider's
/// cluster, and a Wasm memory never shrinks.
pub const MAX_PIECE: usize = 64 * 1024;

/// Whether text can be inserted into the stream between two chunks.
///
/// That needs the host's buffer outside of a chunk's callback, and Envoy allows it only if every chunk is
/// held and released explicitly. From the second chunk on this works in the chunk's own callback. The first
/// chunk has to be released from a callback of another kind (Envoy's shared queue), one turn of the event
/// loop later. See `docs/envoy-host.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Insertion {
    /// It is not wanted.
    Off,
    /// It is wanted, and nothing has been passed on.
    Wanted,
    /// This many bytes of the first chunk wait to be released.
    Staged(usize),
    /// Text can be inserted.
    Ready,
    /// The notice that ends the stream has been put in. Nothing may follow it.
    Ended(Release),
}

/// A chunk in the host's buffer, all of which the reader has read.
struct Chunk {
    len: usize,
    /// Its bytes, if they had to be read in one piece anyway.
    bytes: Option<Vec<u8>>,
    /// So many bytes that are to be passed on before it stand behind it. So it has to be moved there, too.
    behind: usize,
}

impl Chunk {
    fn new(len: usize) -> Self {
        Self { len, bytes: None, behind: 0 }
    }

    /// Whether it is moved through the buffer instead of being arranged in one piece.
    const fn is_moved(&self) -> bool {
        self.behind > 0 || self.len > MAX_PIECE
    }

    /// Its bytes, read from the host unless they have been read before.
    fn bytes<B: BodyBuffer>(&mut self, host: &mut B) -> Result<&mut Vec<u8>, B::Error> {
        let bytes = match self.bytes.take() {
            Some(bytes) => bytes,
            None => read_all(host, self.len)?,
        };
        Ok(self.bytes.insert(bytes))
    }
}

/// A stream that goes to the client.
pub(super) struct StreamFollower {
    reader: Box<StreamReader>,
    /// Present if the client is to read another name of the model.
    names: Option<Box<ModelNames>>,
    /// What has come and is held back: the beginning of an event, or of a name in it.
    held_back: Vec<u8>,
    /// The client has got the beginning of the event that is coming.
    is_torn: bool,
    insertion: Insertion,
}

impl StreamFollower {
    /// A stream of which nothing has been passed on; `reader` may have read its beginning. `rename_to` is
    /// the model name that the client is to read, `wants_insertion` whether it must be possible to put text
    /// into the stream at any time.
    pub(super) fn new(reader: Box<StreamReader>, rename_to: Option<&str>, wants_insertion: bool) -> Self {
        let names = rename_to.map(|name| Box::new(ModelNames::in_stream(reader.dialect(), name)));
        let insertion = if wants_insertion { Insertion::Wanted } else { Insertion::Off };
        Self { reader, names, held_back: Vec::new(), is_torn: false, insertion }
    }

    /// Reads what is new in the host's buffer, and leaves in it what is to be passed on.
    pub(super) fn chunk(&mut self, host: &mut impl BodyBuffer, available: usize, end: bool) -> ChunkReport {
        let staged = match self.insertion {
            Insertion::Ended(release) => {
                let _ = host.replace_front(available, &[]);
                return ChunkReport { new_bytes: available, ..self.report(release, 0) };
            }
            // The first chunk has not been released yet, and stands before the new one.
            Insertion::Staged(bytes) => bytes,
            Insertion::Off | Insertion::Wanted | Insertion::Ready => 0,
        };
        let new_bytes = available.saturating_sub(staged);
        let (content, passed) = if staged > 0 && available > MAX_PIECE && !self.reader.is_translated() {
            match move_back(host, staged) {
                Ok(()) => self.read(host, Chunk { behind: staged, ..Chunk::new(new_bytes) }, end),
                Err(_) => (None, self.give_up_order(host, available)),
            }
        } else {
            self.read(&mut After { host, skipped: staged }, Chunk::new(new_bytes), end)
        };
        let release = self.release(passed, end);
        ChunkReport { new_bytes, content, ..self.report(release, passed) }
    }

    /// Passes on what was held before the commit point, all of which the reader has read.
    pub(super) fn pass_held(&mut self, host: &mut impl BodyBuffer, held: usize, end: bool) -> ChunkReport {
        let passed = self.arrange(host, Chunk::new(held), end);
        let release = self.release(passed, end);
        self.report(release, passed)
    }

    /// The same in a callback of another kind than the chunk's own. From then on text can be put in, wanted
    /// or not.
    pub(super) fn pass_held_outside_callback(
        &mut self,
        host: &mut impl BodyBuffer,
        held: usize,
    ) -> ChunkReport {
        if held == 0 {
            return self.report(Release::Flow, 0);
        }
        let passed = self.arrange(host, Chunk::new(held), false);
        self.insertion = Insertion::Ready;
        self.report(Release::Flow, passed)
    }

    /// The first chunk, which was staged, has been released.
    pub(super) fn released(&mut self) {
        if matches!(self.insertion, Insertion::Staged(_)) {
            self.insertion = Insertion::Ready;
        }
    }

    /// The first chunk has been released in its own callback, because the host has no other for it.
    pub(super) fn cannot_stage(&mut self) {
        self.insertion = Insertion::Off;
    }

    /// The text that keeps the stream open, if text can be put in now.
    pub(super) fn keep_alive(&self) -> Option<&'static str> {
        self.takes_text().then(|| stream::keep_alive(self.reader.client_dialect()))
    }

    /// The notice with which the stream ends now, if text can be put in now. Nothing is passed on after it.
    pub(super) fn end_with_notice(&mut self, class: ErrorClass) -> Option<String> {
        if !self.takes_text() {
            return None;
        }
        self.insertion = Insertion::Ended(Release::Flow);
        self.held_back.clear();
        Some(self.reader.notice(class))
    }

    /// The stream ends here with trailers, after what has been passed on. Says whether it ends in the middle
    /// and is to be held, until its notice has been put in.
    pub(super) fn end_with_trailers(&mut self, host: &mut impl BodyBuffer) -> bool {
        if self.has_ended_with_notice() {
            return false;
        }
        let notice = self.last_notice();
        if !self.is_staged() {
            return notice.is_some();
        }
        // The first chunk is still in the host's buffer and goes with the trailers.
        self.released();
        let tail = match notice {
            Some(notice) if self.is_torn => format!("\n\n{notice}").into_bytes(),
            Some(notice) => notice.into_bytes(),
            None if self.reader.is_translated() => {
                self.reader.finish_translation();
                self.reader.take_translated()
            }
            None => std::mem::take(&mut self.held_back),
        };
        self.held_back.clear();
        !tail.is_empty() && host.append(&tail).is_err()
    }

    /// Whether nothing of it has gone to the client.
    pub(super) const fn is_staged(&self) -> bool {
        matches!(self.insertion, Insertion::Staged(_))
    }

    /// Whether its notice has been put in.
    pub(super) fn has_ended_with_notice(&self) -> bool {
        matches!(self.insertion, Insertion::Ended(_))
    }

    /// Whether its bytes are compressed, so that it passes unread.
    pub(super) const fn is_unread(&self) -> bool {
        self.reader.is_unread()
    }

    /// What the stream has turned out to be, once that is certain.
    pub(super) fn settled(&self) -> Option<Result<(), ErrorClass>> {
        self.reader.settled()
    }

    /// The stream is over. Says what was wrong with it, if anything was.
    pub(super) fn finish(&mut self) -> Option<ErrorClass> {
        self.reader.finish(drop);
        self.reader.failure_at_end()
    }

    /// What it has said about itself so far.
    pub(super) fn facts(&self) -> AnswerFacts {
        self.reader.facts()
    }

    /// What the provider keeps of the answer, if that is noted.
    pub(super) fn made(&self) -> Option<&Made> {
        self.reader.made()
    }

    fn takes_text(&self) -> bool {
        self.insertion == Insertion::Ready && !self.is_torn
    }

    /// A report without content. Content is counted when bytes are read.
    fn report(&self, release: Release, passed: usize) -> ChunkReport {
        ChunkReport {
            forwarded: passed > 0,
            settled: self.settled(),
            finished_choices: self.reader.finished_choices(),
            ..ChunkReport::of(release)
        }
    }

    /// Reads a chunk and arranges it. Says what content was in it, and how many bytes are passed on.
    fn read(&mut self, host: &mut impl BodyBuffer, chunk: Chunk, end: bool) -> (Option<u64>, usize) {
        // Names are replaced in the chunk as a whole.
        let in_one_piece = self.names.is_some() && !chunk.is_moved();
        let window = if in_one_piece { MAX_PIECE } else { WINDOW };
        let new_bytes = chunk.len;
        let mut content = None;
        let read = read_windows(host, new_bytes, window, |window| {
            if let Some(events) = self.reader.follow(window) {
                content = Some(content.unwrap_or(0) + events);
            }
        });
        match read {
            Ok(bytes) => (content, self.arrange(host, Chunk { bytes, ..chunk }, end)),
            Err(_) => (Some(content.unwrap_or(0)), self.give_up(host, new_bytes, chunk.behind)),
        }
    }

    /// Leaves in the buffer what is passed on now, and says how many bytes that are.
    fn arrange(&mut self, host: &mut impl BodyBuffer, chunk: Chunk, end: bool) -> usize {
        let (len, behind) = (chunk.len, chunk.behind);
        if self.reader.is_translated() {
            return self.arrange_translated(host, len, end);
        }
        self.try_arrange(host, chunk, end).unwrap_or_else(|_| self.give_up(host, len, behind))
    }

    /// Leaves in the buffer what has come of the stream in the client's dialect.
    fn arrange_translated(&mut self, host: &mut impl BodyBuffer, len: usize, end: bool) -> usize {
        let is_over = end || self.reader.since_disguised_failure().is_some();
        let notice = if is_over { self.last_notice() } else { None };
        if end && notice.is_none() {
            self.reader.finish_translation();
        }
        let mut passed = self.reader.take_translated();
        passed.extend_from_slice(notice.unwrap_or_default().as_bytes());
        if len == 0 && passed.is_empty() {
            return 0;
        }
        if host.replace_front(len, &passed).is_err() {
            return self.end_unread(0);
        }
        let length = passed.len();
        self.reader.reuse(passed);
        length
    }

    fn try_arrange<B: BodyBuffer>(
        &mut self,
        host: &mut B,
        mut chunk: Chunk,
        end: bool,
    ) -> Result<usize, B::Error> {
        if let Some(names) = &mut self.names
            && !chunk.is_moved()
        {
            names.read(chunk.bytes(host)?);
            if end {
                names.finish();
            }
        }
        let disguised = self.reader.since_disguised_failure();
        let open = disguised.unwrap_or_else(|| self.reader.open_event());
        let all = self.held_back.len().saturating_add(chunk.len);
        let is_over = end || disguised.is_some();
        let notice = if is_over { self.last_notice() } else { None };
        let begun_here = open <= all;
        let hold = match (is_over, &notice) {
            (false, _) => self.tail_to_hold(open, all),
            // An event that is cut off, or that is a failure, goes. The notice takes its place.
            (true, Some(_)) if begun_here => open,
            (true, _) => 0,
        };
        let mut cuts = self.reader.take_cuts();
        if disguised.is_some() {
            let from = self.reader.position().saturating_sub(open as u64);
            cuts.retain(|cut| cut.end <= from);
        }
        let edits = !cuts.is_empty()
            || chunk.behind > 0
            || self.names.as_ref().is_some_and(|names| chunk.is_moved() || names.are_found());
        let passed = if chunk.is_moved() && (hold > 0 || edits) {
            let tail = match (is_over, &notice) {
                (false, _) if self.is_torn => Tail::OpenName,
                (false, _) | (true, None) => Tail::Kept(hold),
                (true, Some(_)) => Tail::Dropped(hold),
            };
            self.rewrite_moved(host, chunk.len, tail, &cuts, end)
        } else if hold > 0 || edits {
            self.rewrite(host, chunk, hold, &cuts)?
        } else {
            chunk.bytes.take().into_iter().for_each(|bytes| host.reuse(bytes));
            self.put_back(host)?;
            all
        };
        if let Some(notice) = notice {
            self.held_back.clear();
            if !begun_here {
                // The client has the beginning of an event: end it, so that the notice is an event of its
                // own.
                host.append(b"\n\n")?;
            }
            host.append(notice.as_bytes())?;
        }
        Ok(passed)
    }

    /// The notice for a stream that ends here although its client has not seen a proper end or a failure.
    fn last_notice(&mut self) -> Option<String> {
        let class = self.finish()?;
        (!self.reader.has_failed_openly()).then(|| self.reader.notice(class))
    }

    /// How many of the last bytes are held back while the stream goes on. `open` bytes of an incomplete
    /// event have come; `all` bytes can be held back still.
    fn tail_to_hold(&mut self, open: usize, all: usize) -> usize {
        self.is_torn = open > MAX_HELD_EVENT || open > all;
        if !self.is_torn {
            return open;
        }
        // A name in it is still held back by itself.
        self.names.as_ref().map_or(0, |names| names.open_name()).min(all)
    }

    /// Puts what was held back before what has come.
    fn put_back<B: BodyBuffer>(&mut self, host: &mut B) -> Result<(), B::Error> {
        if !self.held_back.is_empty() {
            host.replace_front(0, &self.held_back)?;
            self.held_back.clear();
        }
        Ok(())
    }

    /// Writes to the buffer what was held back and what has come, without the last `hold` bytes, without
    /// `cuts` and with the client's name for the model. Says how many bytes that are.
    fn rewrite<B: BodyBuffer>(
        &mut self,
        host: &mut B,
        mut chunk: Chunk,
        hold: usize,
        cuts: &[Range<u64>],
    ) -> Result<usize, B::Error> {
        let mut all = std::mem::take(chunk.bytes(host)?);
        let held_before = self.held_back.len();
        if held_before > 0 {
            self.held_back.append(&mut all);
            all = std::mem::take(&mut self.held_back);
        }
        let kept = all.len().saturating_sub(hold);
        let passed = all.get(..kept).unwrap_or_default();
        let start = self.reader.position().saturating_sub(all.len() as u64);
        let changed = match &mut self.names {
            Some(names) => names.apply(passed, start, cuts).map(Cow::Borrowed),
            None if cuts.is_empty() => None,
            None => Some(Cow::Owned(injected_usage::without(passed, start, cuts))),
        };
        let passed = changed.as_deref().unwrap_or(passed);
        if let Err(error) = host.replace_front(chunk.len, passed) {
            all.truncate(held_before);
            self.held_back = all;
            return Err(error);
        }
        let passed = passed.len();
        self.held_back = if kept == 0 { all } else { all.split_off(kept) };
        Ok(passed)
    }

    /// Does the same as [`rewrite`](Self::rewrite) without having the chunk in one piece.
    fn rewrite_moved(
        &mut self,
        host: &mut impl BodyBuffer,
        len: usize,
        tail: Tail,
        cuts: &[Range<u64>],
        end: bool,
    ) -> usize {
        let pending = std::mem::take(&mut self.held_back);
        let start = self.reader.position().saturating_sub(pending.len().saturating_add(len) as u64);
        let mut rewriting = Rewriting { names: self.names.as_deref_mut(), pending, start, passed: 0 };
        let moved = rewriting.run(host, len, tail, cuts, end);
        let Rewriting { pending, passed, .. } = rewriting;
        if let Err(NotMoved) = moved {
            return self.end_unread(passed);
        }
        self.held_back = pending;
        passed
    }

    /// A part of the stream is lost, so it ends here for its client, without an end that looks proper.
    fn end_unread(&mut self, passed: usize) -> usize {
        self.names = None;
        self.insertion = Insertion::Ended(match self.insertion {
            Insertion::Off | Insertion::Wanted => Release::Pass,
            Insertion::Staged(_) | Insertion::Ready | Insertion::Ended(_) => Release::Flow,
        });
        passed
    }

    /// The order of the bytes in the buffer is lost, so none of them passes.
    fn give_up_order(&mut self, host: &mut impl BodyBuffer, available: usize) -> usize {
        let _ = host.replace_front(available, &[]);
        self.end_unread(0)
    }

    /// The host refused a read or a write, so its buffer passes as it is, unless it is not in order.
    fn give_up(&mut self, host: &mut impl BodyBuffer, available: usize, behind: usize) -> usize {
        if behind > 0 || self.reader.is_translated() {
            return self.give_up_order(host, available.saturating_add(behind));
        }
        self.is_torn = true;
        self.names = None;
        available
    }

    fn release(&mut self, passed: usize, end: bool) -> Release {
        if self.reader.since_disguised_failure().is_some() {
            let release = match self.insertion {
                Insertion::Off | Insertion::Wanted => Release::Pass,
                Insertion::Staged(_) | Insertion::Ready | Insertion::Ended(_) => Release::Flow,
            };
            self.insertion = Insertion::Ended(release);
            return release;
        }
        match self.insertion {
            Insertion::Off => Release::Pass,
            // Nothing has to be put into a stream that came all at once, and nothing can be staged yet if
            // nothing passes.
            Insertion::Wanted if end || passed == 0 => Release::Pass,
            Insertion::Wanted if self.settled().is_some() => {
                self.insertion = Insertion::Off;
                Release::Pass
            }
            Insertion::Wanted => {
                self.insertion = Insertion::Staged(passed);
                Release::Stage
            }
            Insertion::Staged(_) => {
                self.insertion = Insertion::Ready;
                Release::Flow
            }
            Insertion::Ready => Release::Flow,
            Insertion::Ended(release) => release,
        }
    }
}
