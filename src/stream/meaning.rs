use super::usage::Counts;

/// What one event means for the stream it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning<'e> {
    /// Nothing of the answer: a ping, a role-only or empty chunk, `response.created` and the like.
    Empty,
    /// Part of the answer: text, refusal, tool call, reasoning, audio.
    Content,
    /// Chat's last chunk: usage, no choices. A client that did not ask for usage does not expect it.
    UsageOnly,
    /// A finish reason; in a stream of several choices, of one of them.
    Finished {
        /// Whether the same event carries part of the answer.
        with_content: bool,
    },
    /// The dialect's last event of a stream that did not fail.
    Terminal(Terminal),
    /// The provider says within the stream that it failed.
    Failed(EventFailure<'e>),
    /// Data that is not of the dialect. To the gate it is content, because what is not understood must not be held back.
    Unknown,
}

impl Meaning<'_> {
    /// Whether the client gets something of the answer with this event, or something that may be.
    pub const fn is_content(&self) -> bool {
        matches!(self, Self::Content | Self::Unknown | Self::Finished { with_content: true })
    }
}

/// How a terminal event ends the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// The answer is complete as far as this event says.
    Completed,
    /// `response.incomplete`: complete as a stream, cut short as an answer.
    Incomplete(FinishReason),
}

/// What an in-band failure says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventFailure<'e> {
    /// The error itself as raw JSON: the value of the `error` member, usually `{"type":…,"code":…,"message":…}`, or the
    /// whole data where there is no such member. Whatever it is, it is to be classified like an error body of the provider.
    Error(&'e [u8]),
    /// `finish_reason: "error"` and no more.
    FinishedInError,
    /// Gemini declines the prompt (`promptFeedback.blockReason`).
    PromptBlocked,
}

/// Why an answer ended, over all dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// The model was done, or came to a stop sequence.
    Stop,
    /// An output limit or the context window.
    Length,
    /// The model calls tools.
    ToolCalls,
    /// The provider declines to go on.
    ContentFilter,
    /// The provider failed.
    Error,
    /// Any other.
    Other,
}

impl FinishReason {
    /// The name used in records and telemetry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Error => "error",
            Self::Other => "other",
        }
    }

    /// The reason behind any dialect's name for it; their names do not collide.
    pub(super) fn from_wire(name: &[u8]) -> Self {
        match name {
            b"stop" | b"end_turn" | b"stop_sequence" | b"STOP" => Self::Stop,
            b"length"
            | b"max_tokens"
            | b"max_output_tokens"
            | b"model_length"
            | b"model_context_window_exceeded"
            | b"MAX_TOKENS" => Self::Length,
            b"tool_calls" | b"function_call" | b"tool_use" => Self::ToolCalls,
            b"content_filter"
            | b"refusal"
            | b"SAFETY"
            | b"RECITATION"
            | b"BLOCKLIST"
            | b"PROHIBITED_CONTENT"
            | b"SPII"
            | b"IMAGE_SAFETY"
            | b"IMAGE_PROHIBITED_CONTENT"
            | b"IMAGE_RECITATION" => Self::ContentFilter,
            b"error" => Self::Error,
            _ => Self::Other,
        }
    }
}

/// What a stream was when its bytes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnding {
    /// It came to its end by the rules of its dialect.
    Complete,
    /// Its terminal event came although an answer in it never got a finish reason.
    Unfinished,
    /// Every answer got its finish reason, but the terminal event is missing.
    NoTerminal,
    /// It ended in the middle.
    Truncated,
    /// It carried a failure, whatever came after.
    Failed,
    /// It lacks its end, but an event too large to read went by, which may have been that.
    Unwatched,
}

/// The answers (choices, candidates) of a stream, by index. The dialects allow up to 128; what is above shares the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Answers {
    seen: u128,
    finished: u128,
}

impl Answers {
    /// One answer, at `index`.
    pub(super) fn at(index: u64, finished: bool) -> Self {
        let bit = 1_u128 << index.min(127);
        Self { seen: bit, finished: if finished { bit } else { 0 } }
    }

    pub(super) fn add(&mut self, more: Self) {
        self.seen |= more.seen;
        self.finished |= more.finished;
    }

    /// Whether there are answers and all of them have finished.
    pub(super) const fn all_finished(&self) -> bool {
        self.finished != 0 && self.seen & !self.finished == 0
    }
}

/// What a dialect's reader found in one event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'e> {
    pub(super) meaning: Meaning<'e>,
    pub(super) usage: Option<Counts>,
    pub(super) finish: Option<FinishReason>,
    pub(super) answers: Answers,
}

impl<'e> Reading<'e> {
    pub(super) fn of(meaning: Meaning<'e>) -> Self {
        Self { meaning, usage: None, finish: None, answers: Answers::default() }
    }

    /// The only answer of a dialect without several has finished.
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
