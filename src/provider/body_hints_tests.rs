use std::time::Duration;

use serde_json::json;

use super::*;
use crate::base::HeaderBlock;
use crate::provider::{MAX_HINT, wait_hint};

/// 2025-06-15T12:00:00Z, a Sunday.
const NOW: WallTime = WallTime::from_millis(1_749_988_800_000);

const fn ms(ms: u64) -> Option<Duration> {
    Some(Duration::from_millis(ms))
}

const fn secs(seconds: u64) -> Option<Duration> {
    ms(seconds * 1000)
}

fn body_hint(status: u16, body: &serde_json::Value) -> Option<Duration> {
    wait_hint(&HeaderBlock::of(&[]), body.to_string().as_bytes(), status, NOW)
}

#[test]
fn members_of_a_body_hold_waits_and_moments() {
    for (member, expected) in [
        (json!({"retry_after": 7}), secs(7)),
        (json!({"retryAfter": "7"}), secs(7)),
        (json!({"retry-after": "7s"}), secs(7)),
        (json!({"retry_after_seconds": 1.5}), ms(1500)),
        (json!({"retry_after_ms": 1500}), ms(1500)),
        (json!({"retryAfterMs": "1500"}), ms(1500)),
        (json!({"retryDelay": "30s"}), secs(30)),
        (json!({"resets_in_seconds": 600, "resets_at": 1_749_989_400}), secs(600)),
        (json!({"resets_at": 1_749_988_830}), secs(30)),
        (json!({"reset_at": "2025-06-15T12:00:30Z"}), secs(30)),
        (json!({"resetAt": 1_749_988_830_000_u64}), secs(30)),
        (json!({"reset_time": "Sun, 15 Jun 2025 12:00:20 GMT"}), secs(20)),
        (json!({"quotaResetDelay": "1h2m"}), secs(3720)),
        (json!({"quotaResetTimeStamp": "2025-06-15T12:00:30Z"}), secs(30)),
        (json!({"X-RateLimit-Reset": "1749988830000"}), secs(30)),
        (json!({"resets_at": 1_749_988_000}), None),
        (json!({"retry_after": 0}), None),
        (json!({"retry_after": -5}), None),
        (json!({"retry_after": null}), None),
        (json!({"retry_after": true}), None),
        (json!({"retry_after": {"seconds": 5}}), None),
        (json!({"retry_after": "9".repeat(100)}), None),
        (json!({"retry_after": 1e300}), None),
        (json!({"retry_after": 200_000}), Some(MAX_HINT)),
        (json!({"max_tokens": 7, "wait": 7}), None),
    ] {
        let mut error = member.clone();
        error["message"] = json!("m");
        for body in [
            json!({"error": error}),
            json!([{"error": error}]),
            error.clone(),
            json!({"error": {"message": "m", "metadata": member}}),
            json!({"error": {"message": "m", "metadata": {"headers": member}}}),
            json!({"error": {"message": "m", "details": member}}),
            json!({"error": {"message": "m", "details": [{"x": 1}, member]}}),
            json!({"error": {"message": "m", "details": [{"metadata": member}]}}),
            json!({"type": "error", "error": {"message": "m", "type": "limit", "headers": member}}),
        ] {
            assert_eq!(body_hint(429, &body), expected, "{body}");
            assert_eq!(body_hint(503, &body), expected, "{body}");
        }
    }
    let openrouter = json!({"error": {"message": "Rate limit exceeded: free-models-per-day", "code": 429,
        "metadata": {"headers": {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": "1750032000000"}, "provider_name": null}}});
    assert_eq!(body_hint(429, &openrouter), secs(43_200));
    assert_eq!(body_hint(200, &openrouter), secs(43_200), "an error under a 200");
}

#[test]
fn messages_name_waits_in_many_ways() {
    for (message, expected) in [
        ("Please retry in 55.8s.", ms(55_800)),
        ("You exceeded your current quota.\nPlease retry in 38.262474s.", ms(38_263)),
        ("Rate limit reached on tokens per min (TPM). Please try again in 6ms.", ms(6)),
        ("Please try again in 12m2.5s. Need more tokens?", ms(722_500)),
        ("Please try again in 1h2m3s", secs(3723)),
        ("Please retry after 26 seconds.", secs(26)),
        ("Please wait 20 seconds before the next request", secs(20)),
        ("Please wait for 2 minutes and 5 seconds.", secs(125)),
        ("Try again in about 5 minutes", secs(300)),
        ("Your limit will reset at 2025-06-15 12:00:30", secs(30)),
        ("Quota resets at 2025-06-15T12:00:30Z.", secs(30)),
        ("You will regain access on 2025-06-16 at 00:00 UTC.", secs(43_200)),
        ("Limits reset in 2 days", Some(MAX_HINT)),
        ("请在30秒后重试", secs(30)),
        ("请在 2 分钟后重试", secs(120)),
        ("Please retry in 0s", None),
        ("Please retry in 5", None),
        ("Please wait 5 messages", None),
        ("Please try again in a moment.", None),
        ("Please try again later.", None),
        ("wait ", None),
        ("retry in ............s", None),
        ("Limit resets at 2025-06-15", None),
        ("Please retry in 99999999999999999999999999s", None),
    ] {
        let body = json!({"error": {"message": message}});
        for status in [429, 503, 529] {
            assert_eq!(body_hint(status, &body), expected, "{message}");
        }
        assert_eq!(body_hint(400, &body), None, "a 400 may quote the client: {message}");
        assert_eq!(body_hint(500, &body), None, "{message}");
    }
    let in_success = json!({"error": {"message": "Please retry in 5s.", "code": 429}});
    assert_eq!(body_hint(200, &in_success), secs(5), "the error says its status");
    let late = json!({"error": {"message": format!("{} Please retry in 5s.", "x".repeat(600))}});
    assert_eq!(body_hint(429, &late), None);
}

#[test]
fn a_daily_quota_of_google_waits_until_midnight_in_california() {
    let daily = |delay: &str| {
        json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "m", "details": [
            {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},
            {"retryDelay": delay},
        ]}})
    };
    // It is 05:00 in summer there.
    assert_eq!(body_hint(429, &daily("30s")), secs(19 * 3600));
    assert_eq!(body_hint(429, &daily("20h")), secs(20 * 3600), "a longer delay counts");
    let at = |ms| until_pacific_midnight(WallTime::from_millis(ms)).map(|WaitHint(wait)| wait);
    for (moment, hours) in [
        // 2025-01-15T12:00:00Z, 2025-03-08T12:00:00Z and the day after, when the clocks change.
        (1_736_942_400_000, 20),
        (1_741_435_200_000, 20),
        (1_741_521_600_000, 19),
        // 2025-11-01T12:00:00Z and the day after.
        (1_761_998_400_000, 19),
        (1_762_084_800_000, 20),
        (0, 8),
    ] {
        assert_eq!(at(moment), secs(hours * 3600), "{moment}");
    }
    assert_eq!(at(1_749_988_800_000 + 19 * 3_600_000), secs(24 * 3600), "at midnight itself");
    assert!(at(u64::MAX).is_none_or(|wait| wait <= MAX_HINT));
}
