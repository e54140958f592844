//! Why a response ended, and the names of vendors for it.

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
    pub fn from_wire(name: &[u8]) -> Option<Self> {
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
