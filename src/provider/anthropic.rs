//! Anthropic's own error rules.

use super::evidence::Evidence;
use crate::base::ErrorClass;

const BLOCKED: &str = "Output blocked by content filtering policy";

pub(super) fn class(evidence: &Evidence) -> Option<ErrorClass> {
    let message = evidence.body.message();
    let invalid = evidence.status.is_none_or(|status| status == 400);
    if invalid && message.starts_with(BLOCKED) {
        return Some(ErrorClass::ContentPolicy);
    }
    // The monthly cap has the same type as a rate limit, but comes without a time to wait.
    let capped = evidence.body.code() == Some("enforced_spend_limit_reached");
    capped.then_some(if evidence.retry_after { ErrorClass::RateLimited } else { ErrorClass::QuotaExhausted })
}
