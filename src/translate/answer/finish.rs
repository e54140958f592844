//! Why an answer ended, in each dialect.

use crate::base::FinishReason;

/// The end of the model's output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finish<'a> {
    /// Why it ended.
    pub reason: FinishReason,
    /// The stop sequence that was reached, if the provider names it.
    pub stop_sequence: Option<&'a [u8]>,
}

/// The reason that fits the content. Some servers say `stop` although the model calls tools, and a client that
/// is told of calls looks for them.
pub(super) const fn fitting(reason: FinishReason, has_calls: bool) -> FinishReason {
    match (reason, has_calls) {
        (FinishReason::Stop | FinishReason::Other, true) => FinishReason::ToolCalls,
        (FinishReason::ToolCalls, false) => FinishReason::Stop,
        _ => reason,
    }
}

/// Whether the output was cut off, so that its last part need not be whole.
pub(super) const fn is_cut(reason: FinishReason) -> bool {
    matches!(reason, FinishReason::Length | FinishReason::ContentFilter)
}

/// Chat's `finish_reason`.
pub(super) const fn chat_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
        FinishReason::Stop | FinishReason::Other | FinishReason::Error => "stop",
    }
}

/// The `stop_reason` of Messages.
pub(super) const fn messages_reason(reason: FinishReason, has_stop_sequence: bool) -> &'static str {
    match reason {
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::ContentFilter => "refusal",
        FinishReason::Stop if has_stop_sequence => "stop_sequence",
        FinishReason::Stop | FinishReason::Other | FinishReason::Error => "end_turn",
    }
}

/// The reason in `incomplete_details` of Responses; `None` if the response is complete.
pub(super) const fn incomplete_reason(reason: FinishReason) -> Option<&'static str> {
    match reason {
        FinishReason::Length => Some("max_output_tokens"),
        FinishReason::ContentFilter => Some("content_filter"),
        FinishReason::Stop | FinishReason::ToolCalls | FinishReason::Other | FinishReason::Error => None,
    }
}
