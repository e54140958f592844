//! What OpenAI, Azure OpenAI and servers like them mean beyond the names everyone uses.

use super::classify::Said;
use crate::base::ErrorClass;

/// A request above the account's tokens per minute, which comes as a rate limit (OpenAI) or a 413 (Groq) but which no
/// wait cures. As a rate limit, one client's huge request would hold up everyone's small ones.
const ABOVE_THE_RATE: &str = "Request too large for";

pub(super) fn class(said: &Said) -> Option<ErrorClass> {
    match said.status {
        Some(413) => Some(ErrorClass::TooLarge),
        Some(429) if said.report.message().starts_with(ABOVE_THE_RATE) => Some(ErrorClass::TooLarge),
        Some(404) if is_about_the_clients_data(said) => Some(ErrorClass::Invalid),
        _ if is_flagged(said) => Some(ErrorClass::ContentPolicy),
        _ => None,
    }
}

/// Azure's inner error, or a prompt that OpenAI's reasoning models were not given for what it says.
fn is_flagged(said: &Said) -> bool {
    let inner =
        said.report.text(&["innererror", "code"]).or_else(|| said.report.text(&["inner_error", "code"]));
    inner == Some("ResponsibleAIPolicyViolation")
        || (said.report.text(&["code"]) == Some("invalid_prompt")
            && said.report.message().contains("flagged"))
}

/// A previous response, item or file that is not there says nothing about the model.
fn is_about_the_clients_data(said: &Said) -> bool {
    said.report.text(&["param"]).is_some_and(|param| param != "model")
}
