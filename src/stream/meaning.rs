//! The meanings of events and the ends of streams, common to all dialects.

use super::usage::Counts;

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

/// Why a response ended, over all dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// The model finished or reached a stop sequence.
    Stop,
    /// An output limit or the context window was reached.
    Length,
    /// The model calls tools.
    ToolCalls,
    /// The provider's content filter stopped the response.
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

    /// The reason for any dialect's name, in any case. The names do not collide. `None` if it names none: some
    /// servers write that as an empty text, or as the text `null` in every chunk.
    pub(crate) fn from_wire(name: &[u8]) -> Option<Self> {
        if name.is_empty() || name.eq_ignore_ascii_case(b"null") {
            return None;
        }
        let known = KNOWN_REASONS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        let says = |words: &[&[u8]]| {
            words.iter().any(|word| name.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word)))
        };
        Some(match known {
            Some((_, reason)) => *reason,
            None if says(&FAILURE_WORDS) => Self::Error,
            None if says(&FILTER_WORDS) => Self::ContentFilter,
            None if says(&LENGTH_WORDS) => Self::Length,
            None => Self::Other,
        })
    }
}

const KNOWN_REASONS: [(&[u8], FinishReason); 7] = [
    (b"stop", FinishReason::Stop),
    (b"end_turn", FinishReason::Stop),
    (b"stop_sequence", FinishReason::Stop),
    (b"tool_calls", FinishReason::ToolCalls),
    (b"function_call", FinishReason::ToolCalls),
    (b"tool_use", FinishReason::ToolCalls),
    // It has a word of failures, and is none.
    (b"error_toxic", FinishReason::ContentFilter),
];

/// What occurs in the names of finish reasons that say failure. Vendors have many: `network_error`,
/// `insufficient_system_resource`, `abort`, `MALFORMED_FUNCTION_CALL`.
const FAILURE_WORDS: [&[u8]; 9] = [
    b"error",
    b"fail",
    b"abort",
    b"malformed",
    b"unexpected",
    b"insufficient",
    b"unavailable",
    b"timeout",
    b"cancel",
];

/// What occurs in the names of finish reasons of content filters: `content_filtered`, `guardrail_intervened`,
/// `PROHIBITED_CONTENT`. An answer that ends so is not thrown away, so the words are many.
const FILTER_WORDS: [&[u8]; 13] = [
    b"filter",
    b"safety",
    b"refus",
    b"sensitive",
    b"recitation",
    b"block",
    b"prohibited",
    b"spii",
    b"guardrail",
    b"moderat",
    b"policy",
    b"toxic",
    b"flagged",
];

/// What occurs in the names of finish reasons of limits: `max_tokens`, `model_length`, `token_limit`,
/// `model_context_window_exceeded`.
const LENGTH_WORDS: [&[u8]; 5] = [b"length", b"max_token", b"max_output", b"token_limit", b"context_window"];

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
