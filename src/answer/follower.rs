//! Reads a response to its end while it goes to the client. Only the end shows whether it was a success,
//! and its usage.

use super::plain::PlainFollower;
use super::report::{AnswerFacts, ChunkReport, Release};
use super::stream_follower::StreamFollower;
use crate::base::{ErrorClass, HeaderSink};
use crate::request::BodyBuffer;
use crate::stream::Made;

/// A response that goes to the client.
pub struct Follower(Response);

enum Response {
    /// It cannot be read.
    Unread,
    /// A recording. There is nothing to be read in it.
    Bytes,
    /// A failure that the client gets, so that nothing more is to be learned from it.
    Failure,
    /// The filter's own error has taken the place of all that came. The rest goes no further.
    Replaced,
    /// The host sends all of it as a response of its own.
    Delivered,
    /// JSON. Its usage may be anywhere in it, and only its end shows whether it is an error object.
    Plain(PlainFollower),
    Stream(Box<StreamFollower>),
}

impl Follower {
    /// For a response that cannot be read.
    pub const fn unread() -> Self {
        Self(Response::Unread)
    }

    /// For a recording.
    pub const fn of_bytes() -> Self {
        Self(Response::Bytes)
    }

    /// For a failure that the client gets.
    pub const fn of_failure() -> Self {
        Self(Response::Failure)
    }

    /// For a response that the filter's own error has replaced.
    pub const fn replaced() -> Self {
        Self(Response::Replaced)
    }

    /// For a response that the host sends as a response of its own.
    pub const fn delivered() -> Self {
        Self(Response::Delivered)
    }

    /// Whether it is an answer that cannot be read.
    pub const fn is_unread(&self) -> bool {
        match &self.0 {
            Response::Unread => true,
            Response::Stream(stream) => stream.is_unread(),
            Response::Bytes
            | Response::Failure
            | Response::Replaced
            | Response::Delivered
            | Response::Plain(_) => false,
        }
    }

    pub(super) fn of_plain(plain: PlainFollower) -> Self {
        Self(Response::Plain(plain))
    }

    pub(super) fn of_stream(stream: StreamFollower) -> Self {
        Self(Response::Stream(Box::new(stream)))
    }

    /// Reads what is new in the host's buffer, which holds `available` bytes, and leaves in it what goes to
    /// the client.
    pub fn chunk(&mut self, host: &mut impl BodyBuffer, available: usize, end: bool) -> ChunkReport {
        match &mut self.0 {
            // Content cannot be recognised in it, so all bytes count as content and only idle time is
            // noticed.
            Response::Unread | Response::Bytes | Response::Failure => {
                ChunkReport { new_bytes: available, content: Some(0), ..PASSES_UNREAD }
            }
            Response::Delivered => PASSES_UNREAD,
            Response::Replaced => {
                let _ = host.replace_front(available, &[]);
                ChunkReport { new_bytes: available, forwarded: false, ..PASSES_UNREAD }
            }
            Response::Plain(plain) => plain.chunk(host, available, end),
            Response::Stream(stream) => stream.chunk(host, available, end),
        }
    }

    /// Arranges the `held` bytes that the gatekeeper has read, in the callback in which they came.
    pub fn pass_held(
        &mut self,
        host: &mut (impl HeaderSink + BodyBuffer),
        held: usize,
        end: bool,
    ) -> ChunkReport {
        match &mut self.0 {
            Response::Unread
            | Response::Bytes
            | Response::Failure
            | Response::Replaced
            | Response::Delivered => PASSES_UNREAD,
            Response::Plain(plain) => plain.pass_held(host, held, end),
            Response::Stream(stream) => stream.pass_held(host, held, end),
        }
    }

    /// The same in a callback of another kind, after which the host releases what there is.
    pub fn pass_held_outside_callback(
        &mut self,
        host: &mut (impl HeaderSink + BodyBuffer),
        held: usize,
    ) -> ChunkReport {
        match &mut self.0 {
            Response::Unread
            | Response::Bytes
            | Response::Failure
            | Response::Replaced
            | Response::Delivered => PASSES_UNREAD,
            Response::Plain(plain) => plain.pass_held(host, held, false),
            Response::Stream(stream) => stream.pass_held_outside_callback(host, held),
        }
    }

    /// The response ends here with trailers, after what has been passed on. Says whether it ends in the middle
    /// and is to be held.
    pub fn end_with_trailers(&mut self, host: &mut impl BodyBuffer) -> bool {
        match &mut self.0 {
            Response::Unread
            | Response::Bytes
            | Response::Failure
            | Response::Replaced
            | Response::Delivered => false,
            Response::Plain(plain) => plain.end_with_trailers(host),
            Response::Stream(stream) => stream.end_with_trailers(host),
        }
    }

    /// Whether nothing of it has gone to the client, although it may: it is [staged](Release::Stage).
    pub const fn is_staged(&self) -> bool {
        matches!(&self.0, Response::Stream(stream) if stream.is_staged())
    }

    /// What was [staged](Release::Stage) has been released.
    pub fn released(&mut self) {
        if let Response::Stream(stream) = &mut self.0 {
            stream.released();
        }
    }

    /// What was to be [staged](Release::Stage) has been released at once, because the host has no other
    /// callback for it.
    pub fn cannot_stage(&mut self) {
        if let Response::Stream(stream) = &mut self.0 {
            stream.cannot_stage();
        }
    }

    /// The text that keeps a quiet stream open. `None` if no text can be inserted now.
    pub fn keep_alive(&self) -> Option<&'static str> {
        match &self.0 {
            Response::Stream(stream) => stream.keep_alive(),
            _ => None,
        }
    }

    /// The notice that ends a stream now. `None` if no text can be inserted now. Nothing goes to the client
    /// after it.
    pub fn end_with_notice(&mut self, class: ErrorClass) -> Option<String> {
        match &mut self.0 {
            Response::Stream(stream) => stream.end_with_notice(class),
            _ => None,
        }
    }

    /// Whether an error of the filter's own has ended it.
    pub fn has_ended_with_notice(&self) -> bool {
        match &self.0 {
            Response::Replaced => true,
            Response::Stream(stream) => stream.has_ended_with_notice(),
            _ => false,
        }
    }

    /// Whether it is a stream that is read.
    pub const fn is_stream(&self) -> bool {
        matches!(self.0, Response::Stream(_))
    }

    /// What a stream has turned out to be: the last [`ChunkReport::settled`].
    pub fn settled(&self) -> Option<Result<(), ErrorClass>> {
        match &self.0 {
            Response::Stream(stream) => stream.settled(),
            _ => None,
        }
    }

    /// The response is over. Returns its failure, if it is one.
    pub fn finish(&mut self) -> Option<ErrorClass> {
        match &mut self.0 {
            Response::Stream(stream) => stream.finish(),
            Response::Plain(plain) => plain.failure_at_end(),
            Response::Unread
            | Response::Bytes
            | Response::Failure
            | Response::Replaced
            | Response::Delivered => None,
        }
    }

    /// What the provider keeps of the answer, if that is noted.
    pub fn made(&self) -> Option<&Made> {
        match &self.0 {
            Response::Stream(stream) => stream.made(),
            Response::Plain(plain) => plain.made(),
            Response::Unread
            | Response::Bytes
            | Response::Failure
            | Response::Replaced
            | Response::Delivered => None,
        }
    }

    /// What it has said about itself so far.
    pub fn facts(&self) -> AnswerFacts {
        match &self.0 {
            Response::Stream(stream) => stream.facts(),
            Response::Plain(plain) => plain.facts(),
            Response::Unread
            | Response::Bytes
            | Response::Failure
            | Response::Replaced
            | Response::Delivered => AnswerFacts::default(),
        }
    }
}

const PASSES_UNREAD: ChunkReport = ChunkReport { forwarded: true, ..ChunkReport::of(Release::Pass) };
