//! The body of a scripted response: pieces, then the ending.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use tokio::time::Sleep;

use super::received::{Log, Outcome};
use super::script::Ending;
use super::wire::{Break, WireHandle};
use crate::body::PacedBody;

/// The pause between the last byte and a break, so that the client gets the written bytes first. hyper flushes meanwhile.
const FLUSH_TIME: Duration = Duration::from_millis(20);

/// One request at one provider. If it is dropped before its outcome is known, the client has left: hyper drops an exchange
/// exactly then.
pub(super) struct Exchange {
    pub(super) log: Arc<Log>,
    pub(super) index: usize,
}

impl Exchange {
    pub(super) fn close(&self, outcome: Outcome) {
        self.log.close(self.index, outcome);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.close(Outcome::ClosedByClient(Instant::now()));
    }
}

/// The error of a stream that its script broke.
#[derive(Debug)]
pub(super) struct Aborted;

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script aborted the stream")
    }
}

impl std::error::Error for Aborted {}

enum Stage {
    Sending,
    /// The ending follows once everything written has been sent.
    Flushing(Pin<Box<Sleep>>),
    /// Nothing more is sent.
    Silent,
}

pub(super) struct ScriptedBody {
    pieces: PacedBody,
    ending: Ending,
    stage: Stage,
    wire: WireHandle,
    exchange: Exchange,
    /// Set when hyper itself would not notice that the client has left.
    peer_closed: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl ScriptedBody {
    pub(super) fn new(pieces: PacedBody, ending: Ending, wire: WireHandle, exchange: Exchange) -> Self {
        let body = Self { pieces, ending, stage: Stage::Sending, wire, exchange, peer_closed: None };
        body.note_if_answered();
        body
    }

    /// Watches the socket for the client leaving.
    pub(super) fn watching_the_socket(mut self) -> Self {
        self.peer_closed = Some(Box::pin(self.wire.clone().peer_closed()));
        self
    }

    fn note_if_answered(&self) {
        if self.pieces.is_done() && self.ending == Ending::Complete {
            self.exchange.close(Outcome::Answered(Instant::now()));
        }
    }

    fn break_off(&mut self, how: Break) {
        self.exchange.close(Outcome::BrokenByProvider(Instant::now()));
        self.wire.break_now(how);
        self.stage = Stage::Silent;
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        if let Stage::Flushing(sleep) = &mut self.stage {
            ready!(sleep.as_mut().poll(cx));
            match self.ending {
                Ending::Complete | Ending::Hang(_) | Ending::Trailers(_) => self.stage = Stage::Silent,
                Ending::Cut(_) => self.break_off(Break::Close),
                Ending::Reset(_) => self.break_off(Break::Reset),
                Ending::AbortStream(_) => {
                    self.exchange.close(Outcome::BrokenByProvider(Instant::now()));
                    return Poll::Ready(Some(Err(Aborted)));
                }
            }
        }
        Poll::Pending
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        if let Some(peer_closed) = &mut self.peer_closed
            && peer_closed.as_mut().poll(cx).is_ready()
        {
            self.peer_closed = None;
            self.exchange.close(Outcome::ClosedByClient(Instant::now()));
            return Poll::Ready(Some(Err(Aborted)));
        }
        if matches!(self.stage, Stage::Sending) {
            if let Some(bytes) = ready!(self.pieces.poll_piece(cx)) {
                self.note_if_answered();
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            match self.ending {
                Ending::Complete => return Poll::Ready(None),
                Ending::Trailers(_) => {
                    self.exchange.close(Outcome::Answered(Instant::now()));
                    self.ending = Ending::Complete;
                    let trailers = [(HeaderName::from_static("x-checksum"), HeaderValue::from_static("1"))];
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers.into_iter().collect()))));
                }
                _ => {}
            }
            self.stage = Stage::Flushing(Box::pin(tokio::time::sleep(FLUSH_TIME)));
        }
        self.poll_ending(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_done() && self.ending == Ending::Complete
    }

    fn size_hint(&self) -> SizeHint {
        self.pieces.size_hint()
    }
}
