//! An answer on its way to a client that is to read the name it asked for (`response_model: logical`).
//!
//! Of an answer the strings that name its model are replaced and nothing else. A name that is cut in two by a chunk's end
//! waits for its rest: in a stream with the event around it, in a plain answer in the host's buffer, with its chunk.

use std::ops::Range;
use std::rc::Rc;

use super::flow::Behind;
use super::judge::Judge;
use super::response::{ResponseHost, ResponseStep};
use crate::request::{BodyBuffer, BodyEdit, Span};
use crate::stream::{ModelFinder, StreamDialect};

/// Wanted of an answer.
#[derive(Debug, Clone)]
pub struct Rename {
    /// What its client asked for.
    pub to: Rc<str>,
    /// Its provider announced its length.
    pub announced: bool,
}

/// The names in a stream, replaced piece by piece.
#[derive(Debug)]
pub struct Renaming {
    finder: ModelFinder,
    /// The new name, quoted.
    name: Vec<u8>,
    /// The piece at hand, changed; kept for its room.
    changed: Vec<u8>,
}

impl Renaming {
    /// Of a stream that has not begun.
    pub fn of_stream(dialect: StreamDialect, to: &str) -> Self {
        Self::new(ModelFinder::of_stream(dialect), to)
    }

    fn new(finder: ModelFinder, to: &str) -> Self {
        Self { finder, name: serde_json::Value::from(to).to_string().into_bytes(), changed: Vec::new() }
    }

    /// Reads what comes next.
    pub fn read(&mut self, bytes: &[u8]) {
        self.finder.feed(bytes);
    }

    /// The stream is over.
    pub fn finish(&mut self) {
        self.finder.finish();
    }

    /// How many of the last bytes read are the beginning of a name.
    pub fn open_name(&self) -> usize {
        self.finder.open_name()
    }

    /// `bytes`, which begin at `start` of the stream and are passed on now, with the new name and without `cuts`; `None` where
    /// that changes nothing.
    pub fn apply(&mut self, bytes: &[u8], start: u64, cuts: &[Range<u64>]) -> Option<&[u8]> {
        let place = |offset: u64| usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX);
        let mut names = self.finder.found().iter().filter(|name| name.start >= start).peekable();
        let mut cuts = cuts.iter().filter(|cut| cut.start >= start).peekable();
        self.changed.clear();
        let (mut done, mut changes) = (0, false);
        loop {
            let (range, with) = match (names.peek(), cuts.peek()) {
                (Some(name), Some(cut)) if cut.start <= name.start => (*cut, None),
                (None, Some(cut)) => (*cut, None),
                (Some(name), _) => (*name, Some(self.name.as_slice())),
                (None, None) => break,
            };
            let (from, to) = (place(range.start), place(range.end));
            match with {
                None => drop(cuts.next()),
                Some(_) => drop(names.next()),
            }
            // A name within what has been taken out.
            if from < done {
                continue;
            }
            let Some(old) = bytes.get(from..to) else { break };
            if with == Some(old) {
                continue;
            }
            changes = true;
            self.changed.extend_from_slice(bytes.get(done..from).unwrap_or_default());
            self.changed.extend_from_slice(with.unwrap_or_default());
            done = to;
        }
        self.changed.extend_from_slice(bytes.get(done..).unwrap_or_default());
        self.finder.forget_before(start.saturating_add(bytes.len() as u64));
        changes.then_some(self.changed.as_slice())
    }
}

/// A plain answer that is passed on.
pub struct Plain {
    judge: Box<Judge>,
    renaming: Option<Box<Renaming>>,
    announced: bool,
    /// How much of what is in the host's buffer has been read: it waits there for the end of a name.
    waiting: usize,
}

impl Plain {
    /// One of which nothing has been passed on; `judge` may have read its beginning.
    pub fn new(judge: Box<Judge>) -> Self {
        let rename = judge.rename();
        let announced = rename.is_some_and(|rename| rename.announced);
        let renaming = rename.map(|rename| Box::new(Renaming::new(ModelFinder::of_answer(), &rename.to)));
        Self { judge, renaming, announced, waiting: 0 }
    }

    /// The judge that reads it.
    pub const fn judge(&self) -> &Judge {
        &self.judge
    }

    /// The same, to tell it of the end.
    pub fn judge_mut(&mut self) -> &mut Judge {
        &mut self.judge
    }

    /// Whether its length may change on its way.
    pub const fn is_renamed(&self) -> bool {
        self.renaming.is_some()
    }

    /// How much of what the host's buffer holds has come just now.
    pub const fn fresh(&self, available: usize) -> usize {
        available.saturating_sub(self.waiting)
    }

    /// Reads what is new in the host's buffer. Says whether content was in it, and how the host is to release it.
    pub fn chunk(&mut self, host: &mut impl BodyBuffer, available: usize, end: bool) -> (bool, ResponseStep) {
        let Some(renaming) = &mut self.renaming else {
            return (self.judge.follow(host, available), ResponseStep::Pass);
        };
        let new = available.saturating_sub(self.waiting);
        let mut behind = Behind { host: &mut *host, skipped: self.waiting };
        let content = self.judge.follow_with(&mut behind, new, |window| renaming.read(window));
        let (_, step) = self.release(host, available, end);
        (content, step)
    }

    /// The same for what the judge has read while it was held. Its headers are still held, so its length can be told where
    /// all of it has come.
    pub fn pass(&mut self, host: &mut impl ResponseHost, available: usize, end: bool) -> ResponseStep {
        let Some(renaming) = &mut self.renaming else { return ResponseStep::Pass };
        Judge::windows(host, available, |window| renaming.read(window));
        let (length, step) = self.release(host, available, end);
        if end && self.announced {
            host.set("content-length", &length.to_string());
        }
        step
    }

    /// Changes what is in the host's buffer, and says how long it is then.
    fn release(&mut self, host: &mut impl BodyBuffer, available: usize, end: bool) -> (usize, ResponseStep) {
        let Some(renaming) = &mut self.renaming else { return (available, ResponseStep::Pass) };
        let finder = &mut renaming.finder;
        if !end && finder.open_name() > 0 {
            self.waiting = available;
            return (available, ResponseStep::Hold);
        }
        self.waiting = 0;
        if finder.found().is_empty() {
            return (available, ResponseStep::Pass);
        }
        let start = finder.position().saturating_sub(available as u64);
        let place = |offset: u64| usize::try_from(offset.checked_sub(start)?).ok();
        let spans = finder
            .found()
            .iter()
            .filter_map(|name| Some(Span { start: place(name.start)?, end: place(name.end)? }));
        let edit = BodyEdit::of_spans(spans, &renaming.name);
        finder.forget_before(finder.position());
        // A host that does not do its part has the answer as it was, or else nobody can help it.
        (edit.apply_held(host, available).unwrap_or(available), ResponseStep::Pass)
    }
}
