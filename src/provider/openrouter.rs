//! What OpenRouter means beyond the names everyone uses.

use super::classify::Said;
use crate::base::ErrorClass;

pub(super) fn class(said: &Said) -> Option<ErrorClass> {
    match said.status? {
        // With a time to wait it is a passing shortage, not an empty purse.
        402 if said.retry_after => Some(ErrorClass::RateLimited),
        403 if is_moderation(said) => Some(ErrorClass::ContentPolicy),
        _ => None,
    }
}

/// A 403 is also the answer to a key that may not do this; only moderation says what it flagged.
fn is_moderation(said: &Said) -> bool {
    let metadata = said.report.get("metadata");
    ["reasons", "flagged_input"]
        .iter()
        .any(|name| metadata.is_some_and(|members| members.get(name).is_some()))
        || said.report.message().contains("moderation")
}
