//! Reading on in an answer that is passed on: only its end tells whether it was a good one, and what it took.

use std::ops::Range;

use super::told::Stream;
use super::{Judge, MAX_HELD_PLAIN, Subject, WINDOW};
use crate::base::{ErrorClass, HeaderBlock};
use crate::provider;
use crate::record::StreamFacts;
use crate::request::BodyBuffer;
use crate::stream::{self, FinishReason, StreamEnding, Usage};

impl Judge {
    /// What goes on reading an answer that is passed on.
    pub fn into_follower(mut self) -> Option<Box<Self>> {
        match &mut self.subject {
            Subject::Stream(_) => {
                self.seen = 0;
                self.headers = HeaderBlock::default();
            }
            // It has been judged by its beginning, which is not needed any more; that `seen` runs ahead tells so.
            Subject::Plain { body, .. } => *body = Vec::new(),
            Subject::Envoys { .. } | Subject::Failure { .. } | Subject::Page => return None,
        }
        Some(Box::new(self))
    }

    /// Reads a piece of an answer that passes, all of the host's buffer being new, and says whether content is in it.
    pub fn follow(&mut self, host: &mut impl BodyBuffer, available: usize) -> bool {
        self.follow_with(host, available, |_| {})
    }

    /// The same for somebody who reads along.
    pub fn follow_with(
        &mut self,
        host: &mut impl BodyBuffer,
        available: usize,
        mut along: impl FnMut(&[u8]),
    ) -> bool {
        let mut content = false;
        let all = Self::windows(host, available, |window| {
            content |= self.follow_window(window);
            along(window);
        });
        content || !all
    }

    /// Reads what is in the host's buffer, window by window. `false` where the host would not give it.
    pub fn windows(host: &mut impl BodyBuffer, available: usize, mut read: impl FnMut(&[u8])) -> bool {
        let mut at = 0;
        while at < available {
            let Ok(window) = host.read(at, WINDOW.min(available - at)) else { return false };
            if window.is_empty() {
                break;
            }
            at += window.len();
            read(&window);
        }
        true
    }

    /// The same for a piece that has been read from the host.
    pub fn follow_window(&mut self, window: &[u8]) -> bool {
        match &mut self.subject {
            Subject::Stream(stream) => {
                let Stream { framer, told } = &mut **stream;
                let mut content = false;
                told.unasked.before(framer, window);
                framer.feed(window, |event| content |= told.follow(&event));
                // An event so large that it is passed over is something all the same.
                content | framer.is_passing_over()
            }
            // Whatever is larger is no error object; that `seen` runs ahead then tells that not all was kept.
            Subject::Plain { body, reader } => {
                reader.feed(window);
                self.seen = self.seen.saturating_add(window.len());
                if self.seen > MAX_HELD_PLAIN {
                    *body = Vec::new();
                } else {
                    body.extend_from_slice(window);
                }
                true
            }
            Subject::Envoys { .. } | Subject::Failure { .. } | Subject::Page => true,
        }
    }

    /// How many bytes of a stream's next event have come; `None` for what is no stream.
    pub fn open_event(&self) -> Option<usize> {
        match &self.subject {
            Subject::Stream(stream) => Some(usize::try_from(stream.framer.tail_len()).unwrap_or(usize::MAX)),
            _ => None,
        }
    }

    /// How much of a stream has been read.
    pub fn position(&self) -> u64 {
        match &self.subject {
            Subject::Stream(stream) => stream.framer.position(),
            _ => 0,
        }
    }

    /// What is to be taken out of what has been read since this was called last.
    pub fn take_unasked(&mut self) -> Vec<Range<u64>> {
        match &mut self.subject {
            Subject::Stream(stream) => stream.told.unasked.take(),
            _ => Vec::new(),
        }
    }

    /// What keeps a stream open on which nothing moves.
    pub fn keep_alive(&self) -> Option<&'static str> {
        match &self.subject {
            Subject::Stream(stream) => Some(stream::keep_alive(stream.told.state.dialect())),
            _ => None,
        }
    }

    /// What the client of a stream is told when it ends with a failure of `class` here.
    pub fn notice(&self, class: ErrorClass) -> Option<String> {
        match &self.subject {
            Subject::Stream(stream) => {
                let state = &stream.told.state;
                Some(stream::notice(state.dialect(), class, state.events()))
            }
            _ => None,
        }
    }

    /// What a stream has come to as soon as that is certain, which may be long before its connection ends: its terminal
    /// event has come, or it has told of a failure.
    pub fn settled(&self) -> Option<Result<(), ErrorClass>> {
        match &self.subject {
            Subject::Stream(stream) => match stream.told.failed {
                Some(class) => Some(Err(class)),
                None => stream.told.state.is_over().then_some(Ok(())),
            },
            _ => None,
        }
    }

    /// The tokens that the answer has said so far it took; `None` where it has said nothing, or cannot be read.
    pub fn usage(&self) -> Option<Usage> {
        match &self.subject {
            Subject::Stream(stream) => stream.told.state.usage(),
            Subject::Plain { reader, .. } => reader.usage(),
            Subject::Envoys { .. } | Subject::Failure { .. } | Subject::Page => None,
        }
    }

    /// Why the answer has said so far that it ended.
    pub const fn finish_reason(&self) -> Option<FinishReason> {
        match &self.subject {
            Subject::Stream(stream) => stream.told.state.finish_reason(),
            Subject::Plain { reader, .. } => reader.finish_reason(),
            Subject::Envoys { .. } | Subject::Failure { .. } | Subject::Page => None,
        }
    }

    /// What has come of a stream; `None` for what is no stream.
    pub fn stream_facts(&self) -> Option<StreamFacts> {
        match &self.subject {
            Subject::Stream(stream) => {
                let state = &stream.told.state;
                Some(StreamFacts { events: state.events(), ending: state.ending() })
            }
            _ => None,
        }
    }

    /// Whether the answer that has ended here was no good one, and what was wrong with it.
    pub fn ended_badly(&mut self) -> Option<ErrorClass> {
        let Stream { framer, told } = match &mut self.subject {
            Subject::Stream(stream) => &mut **stream,
            // Less than all of it, or nothing: a status and no answer is what a proxy in trouble sends.
            Subject::Plain { reader, .. } if reader.is_cut_off() => {
                return Some(ErrorClass::StreamTruncated);
            }
            Subject::Plain { body, .. } if self.seen == body.len() => {
                return provider::failure_in_success(self.kind, &self.headers, body)
                    .map(|failure| failure.class);
            }
            _ => return None,
        };
        framer.finish(|event| {
            told.follow(&event);
        });
        match told.state.ending() {
            StreamEnding::Truncated => Some(ErrorClass::StreamTruncated),
            StreamEnding::Failed => Some(told.failed.unwrap_or(ErrorClass::StreamError)),
            // Every answer has its finish reason; that some servers leave the terminal event out hurts nobody.
            StreamEnding::Complete
            | StreamEnding::Unfinished
            | StreamEnding::NoTerminal
            | StreamEnding::Unwatched => None,
        }
    }
}
