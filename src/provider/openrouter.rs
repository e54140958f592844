//! OpenRouter's own error rules.

use super::evidence::Evidence;
use crate::base::ErrorClass;

pub(super) fn class(evidence: &Evidence) -> Option<ErrorClass> {
    match evidence.status? {
        // With a time to wait it is a temporary shortage; the account is not out of money.
        402 if evidence.retry_after => Some(ErrorClass::RateLimited),
        403 if is_moderation(evidence) => Some(ErrorClass::ContentPolicy),
        _ => None,
    }
}

/// A key without permission also gets a 403. Only moderation says what it flagged.
fn is_moderation(evidence: &Evidence) -> bool {
    let metadata = evidence.body.get("metadata");
    ["reasons", "flagged_input"]
        .iter()
        .any(|name| metadata.is_some_and(|members| members.get(name).is_some()))
        || evidence.body.message().contains("moderation")
}
