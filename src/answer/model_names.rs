//! Replaces the provider's model name with the one that the client asked for (`response_model: logical`).
//! Only the strings that name the model change.

use std::ops::Range;

use crate::request::{BodyEdit, Span};
use crate::stream::{ModelFinder, StreamDialect};

/// The model names in one response, and what replaces them.
#[derive(Debug)]
pub(super) struct ModelNames {
    finder: ModelFinder,
    /// The new name, quoted.
    name: Vec<u8>,
    /// The last piece that was changed; kept to reuse its memory.
    changed: Vec<u8>,
}

impl ModelNames {
    /// For a stream of which nothing has been read.
    pub(super) fn in_stream(dialect: StreamDialect, to: &str) -> Self {
        Self::new(ModelFinder::of_stream(dialect), to)
    }

    /// For a plain response of which nothing has been read.
    pub(super) fn in_plain(to: &str) -> Self {
        Self::new(ModelFinder::of_answer(), to)
    }

    fn new(finder: ModelFinder, to: &str) -> Self {
        Self { finder, name: serde_json::Value::from(to).to_string().into_bytes(), changed: Vec::new() }
    }

    /// Reads what comes next.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        self.finder.feed(bytes);
    }

    /// The response is over.
    pub(super) fn finish(&mut self) {
        self.finder.finish();
    }

    /// How many of the last bytes read are the beginning of a name.
    pub(super) fn open_name(&self) -> usize {
        self.finder.open_name()
    }

    /// Whether names have been read that are neither replaced nor passed on.
    pub(super) fn are_found(&self) -> bool {
        !self.finder.found().is_empty()
    }

    /// `bytes`, which begin at offset `start` of the stream and are passed on now, with the new name and
    /// without `cuts`. `None` if that changes nothing.
    pub(super) fn apply(&mut self, bytes: &[u8], start: u64, cuts: &[Range<u64>]) -> Option<&[u8]> {
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
            // A name within a cut.
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

    /// The edit that replaces the names in the last `len` bytes read, all of which are passed on now.
    /// `None` if there are none.
    pub(super) fn edit_of_last(&mut self, len: usize) -> Option<BodyEdit> {
        if !self.are_found() {
            return None;
        }
        let start = self.finder.position().saturating_sub(len as u64);
        let place = |offset: u64| usize::try_from(offset.checked_sub(start)?).ok();
        let found = self.finder.found().iter();
        let spans = found.filter_map(|name| Some(Span { start: place(name.start)?, end: place(name.end)? }));
        let edit = BodyEdit::of_spans(spans, &self.name);
        self.finder.forget_before(self.finder.position());
        Some(edit)
    }
}
