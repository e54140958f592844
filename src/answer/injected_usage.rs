//! Removes the usage event from a stream whose client did not ask for it.
//!
//! The filter asked in the client's place, because chat streams report their tokens only on request and
//! budgets would have to guess otherwise. The event is removed in the chunk that completes it. Only that
//! chunk is read and written as a whole, once per stream.

use std::ops::Range;

use crate::stream::{Event, Form, Framer, Meaning};

/// How many usage events are taken out of one chunk. A provider sends one per stream; more than that pass.
const MAX_CUTS: usize = 16;

/// Finds the usage events in a stream.
#[derive(Debug, Default)]
pub(super) struct InjectedUsage {
    /// What is to be taken out, as offsets in the stream.
    cuts: Vec<Range<u64>>,
    /// Where the last cut ended.
    cut_to: Option<u64>,
}

impl InjectedUsage {
    /// `window` is about to be read. If the last cut ended with the CR of a CRLF, its LF comes only now.
    pub(super) fn window_begins(&mut self, framer: &Framer, window: &[u8]) {
        let at = framer.position();
        if self.cut_to == Some(at) && framer.is_after_cr() && window.first() == Some(&b'\n') {
            self.cut(at..at.saturating_add(1));
        }
    }

    /// An event has been read.
    pub(super) fn event(&mut self, event: &Event<'_>, meaning: &Meaning<'_>) {
        if *meaning == Meaning::UsageOnly && event.form == Form::Whole {
            self.cut(event.start..event.end);
        }
    }

    /// What has been found since the last call, in the order of the stream.
    pub(super) fn take_cuts(&mut self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.cuts)
    }

    fn cut(&mut self, range: Range<u64>) {
        if self.cuts.len() < MAX_CUTS {
            self.cut_to = Some(range.end);
            self.cuts.push(range);
        }
    }
}

/// `bytes`, which begin at offset `start` of the stream, without `cuts`. Cuts that begin before `start`
/// have passed.
pub(super) fn without(bytes: &[u8], start: u64, cuts: &[Range<u64>]) -> Vec<u8> {
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
