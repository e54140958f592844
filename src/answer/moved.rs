//! Changes a long chunk of a stream without having it in one piece.
//!
//! The host's buffer can be changed at its front and at its end. So each window is read at the front, changed, and
//! written to the end. When the whole chunk has gone this way, the buffer has its changed bytes in order.

use std::borrow::Cow;
use std::ops::Range;

use super::buffer::{WINDOW, read_all};
use super::injected_usage;
use super::model_names::ModelNames;
use crate::request::BodyBuffer;

/// What stays of the end of a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tail {
    /// So many bytes are kept for later.
    Kept(usize),
    /// So many bytes go nowhere.
    Dropped(usize),
    /// The beginning of a name, if the chunk ends with one.
    OpenName,
}

/// The host refused a read or a write. What had been moved is in order; the rest has been taken out of the buffer.
pub(super) struct NotMoved;

/// A chunk that is being moved.
pub(super) struct Rewriting<'n> {
    pub(super) names: Option<&'n mut ModelNames>,
    /// What has been read and not written yet. At first what was held back before the chunk, in the end what is kept.
    pub(super) pending: Vec<u8>,
    /// The offset of `pending` in the stream.
    pub(super) start: u64,
    /// How many bytes have been written.
    pub(super) passed: usize,
}

impl Rewriting<'_> {
    /// Moves the first `len` bytes of the buffer to its end, without `cuts` and with the client's name for the model.
    pub(super) fn run<B: BodyBuffer>(
        &mut self,
        host: &mut B,
        len: usize,
        tail: Tail,
        cuts: &[Range<u64>],
        end: bool,
    ) -> Result<(), NotMoved> {
        // As in the rest of the follower, a cut whose beginning has passed is none.
        let cuts: Vec<_> = cuts.iter().filter(|cut| cut.start >= self.start).cloned().collect();
        let dropped = if let Tail::Dropped(dropped) = tail { dropped } else { 0 };
        self.pending.truncate(self.pending.len().saturating_sub(dropped.saturating_sub(len)));
        let (len, dropped) = (len.saturating_sub(dropped), dropped.min(len));
        let mut left = len;
        loop {
            let window = WINDOW.min(left);
            if self.read(host, window).is_none() {
                return Err(take_out(host, left.saturating_add(dropped)));
            }
            left -= window;
            if left == 0
                && end
                && let Some(names) = &mut self.names
            {
                names.finish();
            }
            let open_name = self.names.as_ref().map_or(0, |names| names.open_name());
            let kept = match tail {
                Tail::OpenName => open_name,
                Tail::Kept(kept) if left == 0 => kept,
                Tail::Kept(kept) => kept.saturating_sub(left).max(open_name),
                Tail::Dropped(_) if left == 0 => 0,
                Tail::Dropped(_) => open_name,
            };
            // Write first, so that the buffer is never empty: a host may take an empty buffer for the end of the body.
            if self.write(host, kept, &cuts).is_err() || host.replace_front(window, &[]).is_err() {
                return Err(take_out(host, left.saturating_add(window).saturating_add(dropped)));
            }
            if left == 0 {
                break;
            }
        }
        host.replace_front(dropped, &[]).map_err(|_| NotMoved)
    }

    /// Reads a window at the front of the buffer, if it is there.
    fn read(&mut self, host: &mut impl BodyBuffer, len: usize) -> Option<()> {
        let window = read_all(host, len).ok().filter(|window| window.len() == len)?;
        if let Some(names) = &mut self.names {
            names.read(&window);
        }
        self.pending.extend_from_slice(&window);
        host.reuse(window);
        Some(())
    }

    /// Writes what has been read, without the last `kept` bytes, to the end of the buffer.
    fn write<B: BodyBuffer>(
        &mut self,
        host: &mut B,
        kept: usize,
        cuts: &[Range<u64>],
    ) -> Result<(), B::Error> {
        let ready = self.pending.len().saturating_sub(kept);
        let bytes = self.pending.get(..ready).unwrap_or_default();
        let cuts = within(cuts, self.start, ready);
        let changed = match &mut self.names {
            Some(names) => names.apply(bytes, self.start, &cuts).map(Cow::Borrowed),
            None if cuts.is_empty() => None,
            None => Some(Cow::Owned(injected_usage::without(bytes, self.start, &cuts))),
        };
        let bytes = changed.as_deref().unwrap_or(bytes);
        if !bytes.is_empty() {
            host.append(bytes)?;
        }
        self.passed = self.passed.saturating_add(bytes.len());
        self.start = self.start.saturating_add(ready as u64);
        self.pending.drain(..ready);
        Ok(())
    }
}

/// Moves the first `len` bytes of the buffer to its end as they are.
pub(super) fn move_back<B: BodyBuffer>(host: &mut B, len: usize) -> Result<(), B::Error> {
    let mut left = len;
    while left > 0 {
        let window = read_all(host, WINDOW.min(left))?;
        if window.is_empty() {
            break;
        }
        host.append(&window)?;
        host.replace_front(window.len(), &[])?;
        left = left.saturating_sub(window.len());
        host.reuse(window);
    }
    Ok(())
}

fn take_out(host: &mut impl BodyBuffer, len: usize) -> NotMoved {
    let _ = host.replace_front(len, &[]);
    NotMoved
}

/// The parts of `cuts` that are in the `len` bytes from `start` on.
fn within(cuts: &[Range<u64>], start: u64, len: usize) -> Vec<Range<u64>> {
    let end = start.saturating_add(len as u64);
    let parts = cuts.iter().map(|cut| cut.start.max(start)..cut.end.min(end));
    parts.filter(|part| part.start < part.end).collect()
}
