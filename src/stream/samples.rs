//! Streams in the formats of the providers' documentation, with the expected result.

use super::dialect::StreamDialect;
use super::meaning::{Meaning, StreamEnding, Terminal};
use crate::base::FinishReason;
use crate::base::usage::Usage;

/// One stream and its expected result.
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) dialect: StreamDialect,
    pub(super) bytes: &'static [u8],
    /// One letter per event, see [`letter`].
    pub(super) meanings: &'static str,
    pub(super) ending: StreamEnding,
    pub(super) finish: Option<FinishReason>,
    /// Input, cached input, cache creation, output, reasoning.
    usage: Option<[u64; 5]>,
}

impl Sample {
    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage.map(|[input, cached_input, cache_creation, output, reasoning]| Usage {
            input,
            cached_input,
            cache_creation,
            output,
            reasoning,
        })
    }
}

/// A meaning in one letter.
pub(super) fn letter(meaning: &Meaning<'_>) -> char {
    match meaning {
        Meaning::Empty => '.',
        Meaning::Content => 'c',
        Meaning::UsageOnly => 'u',
        Meaning::Finished { with_content: false } => 'f',
        Meaning::Finished { with_content: true } => 'F',
        Meaning::Terminal(Terminal::Completed) => 'T',
        Meaning::Terminal(Terminal::Incomplete(_)) => 'I',
        Meaning::Failed(_) => 'X',
        Meaning::Malformed => '!',
        Meaning::Unknown => '?',
    }
}

macro_rules! sample {
    ($name:literal, $dialect:ident, $meanings:literal, $ending:ident, $finish:expr, $usage:expr) => {
        Sample {
            name: $name,
            dialect: StreamDialect::$dialect,
            bytes: include_bytes!(concat!("testdata/", $name, ".sse")),
            meanings: $meanings,
            ending: StreamEnding::$ending,
            finish: $finish,
            usage: $usage,
        }
    };
}

pub(super) const ALL: &[Sample] = &[
    sample!("chat", Chat, ".cccfuT", Complete, Some(FinishReason::Stop), Some([19, 4, 0, 10, 3])),
    sample!("chat_tools", Chat, "ccfT", Complete, Some(FinishReason::ToolCalls), None),
    sample!("chat_two_choices", Chat, "..ccffT", Complete, Some(FinishReason::Length), None),
    sample!("chat_azure", Chat, "..c.fT", Complete, Some(FinishReason::Stop), None),
    sample!("chat_reasoning", Chat, ".cccfT", Complete, Some(FinishReason::Stop), Some([7, 0, 0, 20, 15])),
    sample!("chat_openrouter_error", Chat, ".XT", Failed, Some(FinishReason::Error), None),
    sample!("chat_sglang_error", Chat, "XT", Failed, None, None),
    sample!("chat_cut", Chat, ".c", Truncated, None, None),
    sample!("completions", Completions, ".cFT", Complete, Some(FinishReason::Length), None),
    sample!(
        "responses",
        Responses,
        ".....ccc.T",
        Complete,
        Some(FinishReason::Stop),
        Some([37, 8, 0, 11, 5])
    ),
    sample!(
        "responses_incomplete",
        Responses,
        ".....cI.",
        Complete,
        Some(FinishReason::Length),
        Some([37, 8, 0, 11, 5])
    ),
    sample!("responses_failed", Responses, "..X", Failed, Some(FinishReason::Error), None),
    sample!("responses_error", Responses, ".X", Failed, None, None),
    sample!(
        "responses_tool",
        Responses,
        "..cccT",
        Complete,
        Some(FinishReason::Stop),
        Some([37, 8, 0, 11, 5])
    ),
    sample!(
        "messages",
        Messages,
        "....cc.fT",
        Complete,
        Some(FinishReason::Stop),
        Some([1125, 1000, 100, 15, 0])
    ),
    sample!(
        "messages_tool",
        Messages,
        "..cc.c.c.fT",
        Complete,
        Some(FinishReason::ToolCalls),
        Some([1125, 1000, 100, 89, 0])
    ),
    sample!("messages_overloaded", Messages, "..X", Failed, None, Some([1125, 1000, 100, 1, 0])),
    sample!("messages_error_at_once", Messages, "X", Failed, None, None),
    sample!("messages_cut", Messages, "..c", Truncated, None, Some([1125, 1000, 100, 1, 0])),
    sample!("gemini", Gemini, ".ccF", Complete, Some(FinishReason::Stop), Some([8, 2, 0, 32, 12])),
    sample!("gemini_blocked", Gemini, "X", Failed, None, Some([10, 0, 0, 0, 0])),
    sample!("gemini_error", Gemini, "cX", Failed, None, Some([8, 0, 0, 0, 0])),
    sample!("gemini_error_in_array", Gemini, "X", Failed, None, None),
    sample!("media_image", Media, "cF", Complete, Some(FinishReason::Stop), Some([50, 0, 0, 50, 0])),
    sample!("media_speech", Media, "ccF", Complete, Some(FinishReason::Stop), Some([14, 0, 0, 101, 0])),
    sample!("media_error", Media, "cX", Failed, None, None),
    sample!("gemini_cut", Gemini, "c", Truncated, None, Some([8, 0, 0, 0, 0])),
];
