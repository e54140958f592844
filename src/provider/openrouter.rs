//! OpenRouter's own error rules.

use super::evidence::Evidence;
use super::request_bound;
use crate::base::ErrorClass;

pub(super) fn class(evidence: &Evidence) -> Option<ErrorClass> {
    match evidence.status? {
        // With a time to wait it is a temporary shortage; the account is not out of money.
        402 if evidence.retry_after && request_bound::class(evidence).is_none() => {
            Some(ErrorClass::RateLimited)
        }
        // The allowance for free models. Models that cost something are still served.
        429 if is_daily(evidence) => Some(ErrorClass::ModelQuota),
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

/// The limit `free-models-per-day`, also with a suffix.
fn is_daily(evidence: &Evidence) -> bool {
    evidence.body.message().contains("-per-day")
        || evidence.body.text(&["metadata", "limit_source"]).is_some_and(|source| source.ends_with("_daily"))
}
