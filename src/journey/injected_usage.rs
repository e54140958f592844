//! The event that tells of usage, on its way out of a stream whose client did not ask for it.

use std::ops::Range;

use crate::stream::{Event, Form, Framer, Meaning};

/// How many such events are taken out of one piece of a stream. A provider sends one; what is more passes.
pub const MAX_CUTS: usize = 16;

/// What is to be taken out, as offsets in the stream.
#[derive(Debug, Default)]
pub struct Unasked {
    wanted: bool,
    cuts: Vec<Range<u64>>,
    /// Where the last cut ended.
    cut_to: Option<u64>,
}

impl Unasked {
    /// From now on the client is spared what it has not asked for.
    pub const fn spare(&mut self) {
        self.wanted = true;
    }

    /// An event has been read.
    pub fn read(&mut self, event: &Event<'_>, meaning: &Meaning<'_>) {
        if self.wanted && *meaning == Meaning::UsageOnly && event.form == Form::Whole {
            self.cut(event.start..event.end);
        }
    }

    /// `window` is about to be read. Where the event before it ended with the CR of a CRLF, its LF may come only now.
    pub fn before(&mut self, framer: &Framer, window: &[u8]) {
        let at = framer.position();
        if self.cut_to == Some(at) && framer.is_after_cr() && window.first() == Some(&b'\n') {
            self.cut(at..at.saturating_add(1));
        }
    }

    /// What has been found since this was called last, in the order of the stream.
    pub fn take(&mut self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.cuts)
    }

    fn cut(&mut self, range: Range<u64>) {
        if self.cuts.len() < MAX_CUTS {
            self.cut_to = Some(range.end);
            self.cuts.push(range);
        }
    }
}

/// `bytes`, which begin at `start` of the stream, without `cuts`. What begins before them has passed already.
pub fn without(bytes: &[u8], start: u64, cuts: &[Range<u64>]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bytes.len());
    let place = |offset: u64| usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX);
    let mut done = 0;
    for cut in cuts.iter().filter(|cut| cut.start >= start) {
        kept.extend_from_slice(bytes.get(done..place(cut.start)).unwrap_or_default());
        done = place(cut.end);
    }
    kept.extend_from_slice(bytes.get(done..).unwrap_or_default());
    kept
}
