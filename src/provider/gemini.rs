//! Gemini's own error rules. Its reasons are in the `details` of the error.

use serde_json::Value;

use super::evidence::Evidence;
use crate::base::ErrorClass;

/// How messages about the key begin. The OpenAI-compatible endpoint does not always send details with them.
const BAD_KEY: [&str; 3] =
    ["API key not valid", "API key expired", "Missing or invalid Authorization header"];

pub(super) fn class(evidence: &Evidence) -> Option<ErrorClass> {
    let status = evidence.status?;
    match status {
        400 if has_bad_key(evidence) => Some(ErrorClass::Auth),
        400 if evidence.body.kind() == Some("FAILED_PRECONDITION") => Some(ErrorClass::Permission),
        429 if is_daily(evidence) => Some(ErrorClass::QuotaExhausted),
        _ => None,
    }
}

fn details<'a>(evidence: &Evidence<'a>) -> impl Iterator<Item = &'a Value> {
    evidence.body.get("details").and_then(Value::as_array).into_iter().flatten()
}

fn has_bad_key(evidence: &Evidence) -> bool {
    details(evidence).any(|detail| detail.get("reason").and_then(Value::as_str) == Some("API_KEY_INVALID"))
        || BAD_KEY.iter().any(|beginning| evidence.body.message().starts_with(beginning))
}

/// Daily quotas have names such as `GenerateRequestsPerDayPerProjectPerModel-FreeTier`. Gemini puts the name
/// into the violations, Vertex into the metadata.
fn is_daily(evidence: &Evidence) -> bool {
    let names = |detail: &Value| {
        let violations = detail.get("violations").and_then(Value::as_array).into_iter().flatten();
        let mut quotas = violations.filter_map(|violation| violation.get("quotaId")?.as_str());
        let limit = detail.get("metadata").and_then(|metadata| metadata.get("quota_limit")?.as_str());
        quotas.any(is_per_day) || limit.is_some_and(is_per_day)
    };
    details(evidence).any(names)
}

fn is_per_day(quota: &str) -> bool {
    quota.contains("PerDay")
}
