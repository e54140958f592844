//! A body that is sent in pieces with pauses.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// Some bytes and the pause before they are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The pause after the previous piece or the headers.
    pub after: Duration,
    /// The content.
    pub bytes: Bytes,
}

impl Piece {
    /// Bytes without a pause.
    pub fn now(bytes: impl Into<Bytes>) -> Self {
        Self { after: Duration::ZERO, bytes: bytes.into() }
    }

    /// Bytes that follow after a pause.
    pub fn after(after: Duration, bytes: impl Into<Bytes>) -> Self {
        Self { after, bytes: bytes.into() }
    }
}

enum Pace {
    /// The next poll returns the next piece.
    Ready,
    /// Pending once, so that hyper flushes.
    Flush,
    /// The next piece waits. hyper flushes meanwhile.
    Waiting(Pin<Box<Sleep>>),
}

impl Pace {
    fn before(piece: &Piece) -> Self {
        // A timer of zero would still take a millisecond.
        if piece.after.is_zero() {
            Self::Flush
        } else {
            Self::Waiting(Box::pin(tokio::time::sleep(piece.after)))
        }
    }
}

/// Sends its pieces one by one and flushes between them, so that each is a separate read on the other side
/// (unless the network joins them).
pub struct PacedBody {
    pieces: VecDeque<Piece>,
    pace: Pace,
    declared_length: Option<u64>,
}

impl PacedBody {
    /// A body of these pieces. With a declared length it has a `content-length`, otherwise it is chunked.
    pub fn new(pieces: impl IntoIterator<Item = Piece>, declared_length: Option<u64>) -> Self {
        let mut body = Self { pieces: pieces.into_iter().collect(), pace: Pace::Ready, declared_length };
        // The first piece is not delayed by a flush unless it has a pause.
        if let Some(first) = body.pieces.front().filter(|first| !first.after.is_zero()) {
            body.pace = Pace::before(first);
        }
        body
    }

    /// One piece without a pause, with its `content-length`.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let length = bytes.len() as u64;
        Self::new((length > 0).then(|| Piece::now(bytes)), Some(length))
    }

    /// Whether every piece has been sent.
    pub fn is_done(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The next piece, or `None` after the last.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &mut self.pace {
            Pace::Ready => {}
            Pace::Flush => {
                self.pace = Pace::Ready;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Pace::Waiting(sleep) => ready!(sleep.as_mut().poll(cx)),
        }
        let piece = self.pieces.pop_front();
        self.pace = self.pieces.front().map_or(Pace::Ready, Pace::before);
        Poll::Ready(piece.map(|piece| piece.bytes))
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.poll_piece(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        self.declared_length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A body of prepared frames, for example with trailers.
pub struct Frames(pub VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}
