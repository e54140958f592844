//! Gemini's own error rules. Its reasons are in the `details` of the error.

use serde_json::Value;

use super::accounts;
use super::error_body::ErrorBody;
use super::evidence::Evidence;
use crate::base::ErrorClass;

pub(super) fn class(evidence: &Evidence) -> Option<ErrorClass> {
    match evidence.status? {
        400 if has_bad_key(evidence) => Some(ErrorClass::Auth),
        400 if evidence.body.kind() == Some("FAILED_PRECONDITION") => {
            accounts::by_words(evidence).or(Some(ErrorClass::Permission))
        }
        _ => None,
    }
}

/// How the message begins if there is no key. The OpenAI-compatible endpoint sends no details with it.
const NO_KEY: &str = "Missing or invalid Authorization header";

fn has_bad_key(evidence: &Evidence) -> bool {
    evidence.body.message().starts_with(NO_KEY)
}

/// The class of a used-up daily quota. Relays pass Google's details on, so this holds for all kinds.
pub(super) fn daily_quota(evidence: &Evidence) -> Option<ErrorClass> {
    if evidence.status.is_some_and(|status| status != 429) {
        return None;
    }
    let daily = || quotas(evidence.body).filter(|quota| is_per_day(quota));
    // One that is not about a model is about the project, and keeps all its models from being used.
    let is_of_model = |quota: &str| quota.contains("PerModel") || quota.contains("PerBaseModel");
    match (daily().next(), daily().all(is_of_model)) {
        (None, _) => None,
        (_, true) => Some(ErrorClass::ModelQuota),
        (_, false) => Some(ErrorClass::QuotaExhausted),
    }
}

/// Whether an error reports a used-up daily quota.
pub(super) fn is_daily(body: &ErrorBody) -> bool {
    quotas(body).any(is_per_day)
}

/// The names of the quotas that an error reports. Daily ones have names such as
/// `GenerateRequestsPerDayPerProjectPerModel-FreeTier`. Gemini puts the name into the violations, Vertex into
/// the metadata.
fn quotas(body: &ErrorBody) -> impl Iterator<Item = &str> {
    let details = body.get("details").and_then(Value::as_array).into_iter().flatten();
    details.flat_map(|detail| {
        let violations = detail.get("violations").and_then(Value::as_array).into_iter().flatten();
        let quotas = violations.filter_map(|violation| violation.get("quotaId")?.as_str());
        let limit = detail.get("metadata").and_then(|metadata| metadata.get("quota_limit")?.as_str());
        quotas.chain(limit)
    })
}

fn is_per_day(quota: &str) -> bool {
    quota.contains("PerDay")
}
