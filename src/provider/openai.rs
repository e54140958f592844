//! The error rules of OpenAI, Azure OpenAI and compatible servers.

use super::evidence::Evidence;
use super::request_bound;
use crate::base::ErrorClass;

/// What Alibaba's messages contain for a limit of tokens per minute, which has the name of a used-up quota.
const MINUTE_LIMITS: [&str; 2] = ["error-code#token-limit", "llocated quota exceeded"];

pub(super) fn class(evidence: &Evidence) -> Option<ErrorClass> {
    match evidence.status {
        // Groq gives the name of a rate limit to it.
        Some(413) if request_bound::class(evidence).is_none() => Some(ErrorClass::TooLarge),
        Some(429) if MINUTE_LIMITS.iter().any(|limit| evidence.body.message().contains(limit)) => {
            Some(ErrorClass::RateLimited)
        }
        _ if is_flagged(evidence) => Some(ErrorClass::ContentPolicy),
        _ => None,
    }
}

/// Azure's inner error, or a prompt that OpenAI withheld from a reasoning model because of its content.
fn is_flagged(evidence: &Evidence) -> bool {
    let inner =
        evidence.body.text(&["innererror", "code"]).or_else(|| evidence.body.text(&["inner_error", "code"]));
    inner == Some("ResponsibleAIPolicyViolation")
        || (evidence.body.text(&["code"]) == Some("invalid_prompt")
            && evidence.body.message().contains("flagged"))
}
