//! What Gemini means beyond the names everyone uses: the reasons are in the details.

use serde_json::Value;

use super::classify::Said;
use crate::base::ErrorClass;

/// How messages about the key begin; the OpenAI-compatible endpoint does not always send details with them.
const BAD_KEY: [&str; 3] =
    ["API key not valid", "API key expired", "Missing or invalid Authorization header"];

pub(super) fn class(said: &Said) -> Option<ErrorClass> {
    let status = said.status?;
    match status {
        400 if has_bad_key(said) => Some(ErrorClass::Auth),
        400 if said.report.kind() == Some("FAILED_PRECONDITION") => Some(ErrorClass::Permission),
        429 if is_daily(said) => Some(ErrorClass::QuotaExhausted),
        _ => None,
    }
}

fn details<'a>(said: &Said<'a>) -> impl Iterator<Item = &'a Value> {
    said.report.get("details").and_then(Value::as_array).into_iter().flatten()
}

fn has_bad_key(said: &Said) -> bool {
    details(said).any(|detail| detail.get("reason").and_then(Value::as_str) == Some("API_KEY_INVALID"))
        || BAD_KEY.iter().any(|beginning| said.report.message().starts_with(beginning))
}

/// Quotas are named like `GenerateRequestsPerDayPerProjectPerModel-FreeTier`: by Gemini in the violations, by Vertex in what
/// it says of the error.
fn is_daily(said: &Said) -> bool {
    let names = |detail: &Value| {
        let violations = detail.get("violations").and_then(Value::as_array).into_iter().flatten();
        let mut quotas = violations.filter_map(|violation| violation.get("quotaId")?.as_str());
        let limit = detail.get("metadata").and_then(|metadata| metadata.get("quota_limit")?.as_str());
        quotas.any(is_per_day) || limit.is_some_and(is_per_day)
    };
    details(said).any(names)
}

fn is_per_day(quota: &str) -> bool {
    quota.contains("PerDay")
}
