//! The error rules of OpenAI, Azure OpenAI and compatible servers.

use super::evidence::Evidence;
use crate::base::ErrorClass;

/// How the message begins for a request larger than the account's tokens per minute. OpenAI sends it as a
/// rate limit, Groq as a 413, but waiting does not help. Treated as a rate limit, one client's huge request
/// would block the small requests of all others.
const LARGER_THAN_RATE_LIMIT: &str = "Request too large for";

pub(super) fn class(evidence: &Evidence) -> Option<ErrorClass> {
    match evidence.status {
        Some(413) => Some(ErrorClass::TooLarge),
        Some(429) if evidence.body.message().starts_with(LARGER_THAN_RATE_LIMIT) => {
            Some(ErrorClass::TooLarge)
        }
        Some(404) if concerns_client_data(evidence) => Some(ErrorClass::Invalid),
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

/// Whether a previous response, item or file is missing rather than the model.
fn concerns_client_data(evidence: &Evidence) -> bool {
    evidence.body.text(&["param"]).is_some_and(|param| param != "model")
}
