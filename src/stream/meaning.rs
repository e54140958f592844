//! The meanings of events and the ends of streams, common to all dialects.

use crate::base::FinishReason;
use crate::base::usage::Counts;

/// The meaning of one event for its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning<'e> {
    /// Nothing of the response: a ping, a role-only or empty chunk, `response.created` and the like.
    Empty,
    /// Part of the response: text, refusal, tool call, reasoning, audio.
    Content,
    /// Chat's last chunk: usage, no choices. A client that did not ask for usage does not expect it.
    UsageOnly,
    /// A finish reason. In a stream of several choices, that of one of them.
    Finished {
        /// Whether the event also carries part of the response.
        with_content: bool,
    },
    /// The dialect's last event of a stream that did not fail.
    Terminal(Terminal),
    /// The provider reports a failure within the stream.
    Failed(EventFailure<'e>),
    /// Data that is not JSON. Strict clients fail at it.
    Malformed,
    /// JSON that is not of the dialect. It counts as content, because unknown data must not be held back.
    Unknown,
}

impl Meaning<'_> {
    /// Whether the event carries, or may carry, part of the response.
    pub const fn is_content(&self) -> bool {
        matches!(self, Self::Content | Self::Unknown | Self::Finished { with_content: true })
    }
}

/// How a terminal event ends the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// The response is complete as far as this event says.
    Completed,
    /// `response.incomplete`: complete as a stream, truncated as a response.
    Incomplete(FinishReason),
}

/// What an in-band failure says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventFailure<'e> {
    /// The error as raw JSON: the value of the `error` member, usually `{"type":…,"code":…,"message":…}`, or
    /// all data without such a member. It is classified like a provider's error body.
    Error(&'e [u8]),
    /// An error in the flat format of a vendor, which no client of the dialect takes for one.
    Flat(&'e [u8]),
    /// A finish reason that says failure, such as `error` or `network_error`, and no more.
    FinishedInError,
    /// Gemini rejects the prompt (`promptFeedback.blockReason`).
    PromptBlocked,
}

/// What an answer has brought, apart from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Substance {
    /// Content, or an end that explains why there is none, or output tokens that were paid for.
    Answer,
    /// An ordinary end, and neither content nor output tokens.
    EmptyStop,
    /// Nothing, and no end either.
    Nothing,
}

impl Substance {
    /// The substance of an answer without content. `is_paid` says whether output tokens were reported.
    pub(super) const fn without_content(finish: Option<FinishReason>, is_paid: bool) -> Self {
        match finish {
            // The limit may have been used up by reasoning, and a filter is policy.
            Some(FinishReason::Length | FinishReason::ContentFilter) => Self::Answer,
            Some(FinishReason::Stop | FinishReason::ToolCalls | FinishReason::Other) if is_paid => {
                Self::Answer
            }
            Some(FinishReason::Stop | FinishReason::ToolCalls | FinishReason::Other) => Self::EmptyStop,
            Some(FinishReason::Error) | None => Self::Nothing,
        }
    }
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnding {
    /// It ended as its dialect requires.
    Complete,
    /// Its terminal event came, but a choice has no finish reason.
    Unfinished,
    /// Every choice has a finish reason, but the terminal event is missing.
    NoTerminal,
    /// It ended in the middle.
    Truncated,
    /// It carried a failure, whatever came after.
    Failed,
    /// It has no proper end, but an event too large to read has passed, which may have been the end.
    Unwatched,
}

/// The number of choices of a stream that are told apart. Dialects allow up to 128.
pub const MAX_CHOICES: u64 = 128;

/// The choices (candidates) of a stream, by index. Indices of [`MAX_CHOICES`] and more share the last bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Answers {
    seen: u128,
    finished: u128,
}

impl Answers {
    /// One choice, at `index`.
    pub(super) fn at(index: u64, finished: bool) -> Self {
        let bit = 1_u128 << index.min(MAX_CHOICES - 1);
        Self { seen: bit, finished: if finished { bit } else { 0 } }
    }

    pub(super) fn add(&mut self, more: Self) {
        self.seen |= more.seen;
        self.finished |= more.finished;
    }

    /// How many choices have finished.
    pub(super) const fn finished(&self) -> u32 {
        self.finished.count_ones()
    }

    /// Whether there are choices and all have finished.
    pub(super) const fn all_finished(&self) -> bool {
        self.finished != 0 && self.seen & !self.finished == 0
    }
}

/// What one event contains.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'e> {
    pub(super) meaning: Meaning<'e>,
    pub(super) usage: Option<Counts>,
    pub(super) finish: Option<FinishReason>,
    pub(super) answers: Answers,
    /// It repeats the whole answer, and there is something in it.
    pub(super) has_answer: bool,
}

impl<'e> Reading<'e> {
    pub(super) fn of(meaning: Meaning<'e>) -> Self {
        Self { meaning, usage: None, finish: None, answers: Answers::default(), has_answer: false }
    }

    /// Whether it is content, and neither usage nor a finish reason.
    pub(super) fn is_content_only(&self) -> bool {
        self.meaning == Meaning::Content && self.usage.is_none() && self.finish.is_none()
    }

    /// The only choice of a dialect without several has finished.
    pub(super) fn finished(mut self, reason: FinishReason) -> Self {
        self.finish = Some(reason);
        self.answers.add(Answers::at(0, true));
        self
    }

    pub(super) fn with_usage(mut self, usage: Option<Counts>) -> Self {
        self.usage = usage;
        self
    }
}
