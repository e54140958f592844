//! The usage of an answer, in each dialect.

use super::super::json::Writer;
use crate::base::usage::Usage;

/// Chat's `usage`.
pub(super) fn write_chat(usage: &Usage, to: &mut Writer) {
    to.object(|to| {
        to.key("prompt_tokens").count(usage.input);
        to.key("completion_tokens").count(usage.output);
        to.key("total_tokens").count(usage.input.saturating_add(usage.output));
        to.key("prompt_tokens_details").object(|to| write_input_details(usage, to));
        to.key("completion_tokens_details").object(|to| to.key("reasoning_tokens").count(usage.reasoning));
    });
}

/// The `usage` of Responses.
pub(super) fn write_responses(usage: &Usage, to: &mut Writer) {
    to.object(|to| {
        to.key("input_tokens").count(usage.input);
        to.key("input_tokens_details").object(|to| write_input_details(usage, to));
        to.key("output_tokens").count(usage.output);
        to.key("output_tokens_details").object(|to| to.key("reasoning_tokens").count(usage.reasoning));
        to.key("total_tokens").count(usage.input.saturating_add(usage.output));
    });
}

fn write_input_details(usage: &Usage, to: &mut Writer) {
    to.key("cached_tokens").count(usage.cached_input);
    to.key("cache_write_tokens").count(usage.cache_creation);
}

/// The `usage` of Messages, whose `input_tokens` are those that no cache has to do with.
pub(super) fn write_messages(usage: &Usage, to: &mut Writer) {
    let fresh = usage.input.saturating_sub(usage.cached_input).saturating_sub(usage.cache_creation);
    to.object(|to| {
        to.key("input_tokens").count(fresh);
        to.key("cache_creation_input_tokens").count(usage.cache_creation);
        to.key("cache_read_input_tokens").count(usage.cached_input);
        to.key("output_tokens").count(usage.output);
        if usage.reasoning > 0 {
            to.key("output_tokens_details").object(|to| to.key("thinking_tokens").count(usage.reasoning));
        }
    });
}
