use std::time::UNIX_EPOCH;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::provider::MAX_HINT;

/// 2025-06-15T12:00:00Z, a Sunday.
const NOW: WallTime = WallTime::from_millis(1_749_988_800_000);

const fn ms(ms: u64) -> Option<Duration> {
    Some(Duration::from_millis(ms))
}

const fn secs(seconds: u64) -> Option<Duration> {
    ms(seconds * 1000)
}

fn hint(status: u16, headers: &[(&str, &str)]) -> Option<Duration> {
    wait_hint(&HeaderBlock::of(headers), b"", status, NOW)
}

/// Checks the hint that each value of the header `name` gives with `status`.
#[track_caller]
fn check(status: u16, name: &str, table: &[(&str, Option<Duration>)]) {
    for (value, expected) in table {
        assert_eq!(hint(status, &[(name, value)]), *expected, "{name}: {value}");
    }
}

#[test]
fn milliseconds_are_whole_or_decimal() {
    let table = [
        ("1500", ms(1500)),
        (" 250 ", ms(250)),
        ("0.2", ms(1)),
        ("12.5", ms(13)),
        ("0", None),
        ("-1", None),
        ("NaN", None),
        ("inf", None),
        ("1e3", None),
        ("100ms", None),
        ("", None),
        (".", None),
        ("86400001", Some(MAX_HINT)),
        ("99999999999999999999", None),
    ];
    check(503, "retry-after-ms", &table);
    check(429, "x-ms-retry-after-ms", &table);
}

#[test]
fn retry_after_is_seconds_or_an_http_date() {
    check(
        503,
        "retry-after",
        &[
            ("7", secs(7)),
            ("1.5", ms(1500)),
            ("0.0004", ms(1)),
            (" 30\t", secs(30)),
            ("5.", secs(5)),
            (".5", ms(500)),
            ("Sun, 15 Jun 2025 12:00:20 GMT", secs(20)),
            ("Sunday, 15-Jun-25 12:00:20 GMT", secs(20)),
            ("Sun Jun 15 12:00:20 2025", secs(20)),
            ("Sun, 15 Jun 2025 12:00:00 GMT", None),
            ("Sun, 15 Jun 2025 11:00:00 GMT", None),
            ("Thu, 01 Jan 1970 00:00:00 GMT", None),
            ("Tue, 17 Jun 2025 12:00:00 GMT", Some(MAX_HINT)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", None),
            ("Sun, 15 Jun 2025 12:00:20 CEST", None),
            ("172800", Some(MAX_HINT)),
            ("1749988830", secs(30)),
            ("0", None),
            ("-5", None),
            ("+5", None),
            ("1,5", None),
            ("1.5.0", None),
            ("soon", None),
            ("", None),
        ],
    );
}

#[test]
fn resets_are_go_durations_or_bare_seconds() {
    let table = [
        ("6m0s", secs(360)),
        ("12ms", ms(12)),
        ("1h2m3.5s", ms(3_723_500)),
        ("8.64s", ms(8640)),
        ("2m59.56s", ms(179_560)),
        ("1d", secs(86_400)),
        ("1d1h", Some(MAX_HINT)),
        ("500us", ms(1)),
        ("1500\u{b5}s", ms(2)),
        ("1500\u{3bc}s", ms(2)),
        ("7ns", ms(1)),
        ("12", secs(12)),
        ("0.25", ms(250)),
        ("0s", None),
        ("0", None),
        ("-1", None),
        ("-1s", None),
        ("6m0", None),
        ("m", None),
        ("6 m", None),
        ("6x", None),
        ("1..5s", None),
        ("9999999999h", None),
        ("1749988830", secs(30)),
        ("", None),
    ];
    check(429, "x-ratelimit-reset-requests", &table);
    check(429, "x-ratelimit-reset-tokens", &table);
}

#[test]
fn anthropics_resets_are_timestamps() {
    let table = [
        ("2025-06-15T12:00:30Z", secs(30)),
        ("2025-06-15t12:00:30z", secs(30)),
        ("2025-06-15 12:00:30Z", secs(30)),
        ("2025-06-15T12:00:30.25Z", ms(30_250)),
        ("2025-06-15T12:00:30.123456789Z", ms(30_123)),
        ("2025-06-15T14:00:30+02:00", secs(30)),
        ("2025-06-15T05:00:30-07:00", secs(30)),
        ("2025-06-15T17:30:30.5+05:30", ms(30_500)),
        ("2025-06-15T12:59:60Z", secs(3600)),
        ("2025-06-17T12:00:00Z", Some(MAX_HINT)),
        ("2025-06-15T12:00:00Z", None),
        ("2025-06-15T11:59:59Z", None),
        ("1969-12-31T23:59:59Z", None),
        ("0000-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59Z", None),
        ("2025-06-31T12:00:30Z", None),
        ("2025-02-29T12:00:30Z", None),
        ("2025-13-15T12:00:30Z", None),
        ("2025-06-15T24:00:30Z", None),
        ("2025-06-15T12:60:30Z", None),
        ("2025-06-15T12:00:61Z", None),
        ("2025-06-15T12:00:30", None),
        ("2025-06-15T12:00:30.Z", None),
        ("2025-06-15T12:00:30.xZ", None),
        ("2025-06-15T12:00Z", None),
        ("2025-06-15T12:00:30+2:00", None),
        ("2025-06-15T12:00:30+24:00", None),
        ("2025-06-15T12:00:30Zulu", None),
        ("25-06-15T12:00:30Z", None),
        ("+025-06-15T12:00:30Z", None),
        ("2025-06-15", None),
        ("30", secs(30)),
        ("", None),
    ];
    for kind in ["requests", "tokens", "input-tokens", "output-tokens"] {
        check(429, &format!("anthropic-ratelimit-{kind}-reset"), &table);
    }
}

#[test]
fn resets_count_only_with_a_429() {
    for (name, value) in [
        ("x-ratelimit-reset-requests", "6m0s"),
        ("x-ratelimit-reset-tokens", "12"),
        ("anthropic-ratelimit-tokens-reset", "2025-06-15T12:00:30Z"),
    ] {
        for status in [200, 400, 500, 503, 529] {
            assert_eq!(hint(status, &[(name, value)]), None, "{status} {name}");
        }
    }
}

#[test]
fn the_latest_reset_of_the_exhausted_limits_counts() {
    let openai = |requests_left, tokens_left| {
        hint(
            429,
            &[
                ("x-ratelimit-remaining-requests", requests_left),
                ("x-ratelimit-reset-requests", "6m0s"),
                ("x-ratelimit-remaining-tokens", tokens_left),
                ("x-ratelimit-reset-tokens", "12ms"),
            ],
        )
    };
    assert_eq!(openai("99", "0"), ms(12));
    assert_eq!(openai("0", "99"), secs(360));
    assert_eq!(openai("0", "0"), secs(360));
    assert_eq!(openai("99", "99"), None);
    // Azure writes an unknown value as -1.
    assert_eq!(openai("-1", "1"), secs(360));
    assert_eq!(openai("?", "1"), secs(360));

    let anthropic = |input_left, output_left| {
        hint(
            429,
            &[
                ("anthropic-ratelimit-requests-remaining", "3"),
                ("anthropic-ratelimit-requests-reset", "2025-06-15T13:00:00Z"),
                ("anthropic-ratelimit-input-tokens-remaining", input_left),
                ("anthropic-ratelimit-input-tokens-reset", "2025-06-15T12:00:10Z"),
                ("anthropic-ratelimit-output-tokens-remaining", output_left),
                ("anthropic-ratelimit-output-tokens-reset", "2025-06-15T12:00:40Z"),
            ],
        )
    };
    assert_eq!(anthropic("0", "1000"), secs(10));
    assert_eq!(anthropic("0", "0"), secs(40));
    assert_eq!(anthropic("1", "1"), None);
}

#[test]
fn googles_delay_is_read_from_the_body() {
    let of = |body: &str| wait_hint(&HeaderBlock::of(&[]), body.as_bytes(), 429, NOW);
    let error = |delay: serde_json::Value| {
        json!({"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
        ]}})
    };
    for (delay, expected) in [
        (json!("30s"), secs(30)),
        (json!("38.262474s"), ms(38_263)),
        (json!("0s"), None),
        (json!("-3s"), None),
        (json!("s"), None),
        (json!(30), secs(30)),
        (json!({"seconds": 30}), None),
        (json!(null), None),
        (json!("9".repeat(1000) + "s"), None),
        (json!("200000s"), Some(MAX_HINT)),
    ] {
        assert_eq!(of(&error(delay.clone()).to_string()), expected, "{delay}");
        assert_eq!(of(&json!([error(delay.clone())]).to_string()), expected, "[{delay}]");
    }
    for body in
        ["", "{", "[]", "null", r#"{"error":{"details":"30s"}}"#, r#"{"error":{"details":[[],null,1]}}"#]
    {
        assert_eq!(of(body), None, "{body}");
    }
    // It counts with a 503 too, which is not a rate limit.
    let body = error(json!("5s")).to_string();
    assert_eq!(wait_hint(&HeaderBlock::of(&[]), body.as_bytes(), 503, NOW), secs(5));
}

#[test]
fn large_numbers_are_moments_in_seconds_or_milliseconds() {
    let table = [
        ("1749988830", secs(30)),
        ("1749988830.5", ms(30_500)),
        ("1749988830000", secs(30)),
        ("1749988800", None),
        ("1749988000000", None),
        ("1000000001", None),
        ("1781000000", Some(MAX_HINT)),
        ("99999999999", None),
        ("9999999999999", None),
    ];
    for name in [
        "x-ratelimit-reset",
        "x-ratelimit-reset-requests",
        "ratelimit-reset",
        "anthropic-ratelimit-unified-reset",
        "anthropic-ratelimit-tokens-reset",
    ] {
        check(429, name, &table);
    }
    check(503, "retry-after", &table);
    check(503, "retry-after-ms", &table);
}

#[test]
fn general_resets_count_if_nothing_remains() {
    for (name, value, expected) in [
        ("x-ratelimit-reset", "45", secs(45)),
        ("x-ratelimit-reset", "1m30s", secs(90)),
        ("x-ratelimit-reset", "2025-06-15T12:00:30Z", secs(30)),
        ("x-ratelimit-reset", "Sun, 15 Jun 2025 12:00:20 GMT", secs(20)),
        ("x-rate-limit-reset", "45", secs(45)),
        ("ratelimit-reset", "45", secs(45)),
        ("ratelimitbysize-reset", "46", secs(46)),
        ("x-ratelimit-reset-after", "1.5", ms(1500)),
        ("x-ratelimit-reset-requests-day", "33011.382867", ms(33_011_383)),
        ("x-ratelimit-reset-tokens-minute", "11.38", ms(11_380)),
        ("x-ratelimit-reset-project-tokens", "6m0s", secs(360)),
    ] {
        assert_eq!(hint(429, &[(name, value)]), expected, "{name}: {value}");
        assert_eq!(hint(500, &[(name, value)]), None, "{name}: {value}");
    }
    let left = [("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "1749988830000")];
    assert_eq!(hint(429, &left), None);
}

#[test]
fn the_first_valid_hint_in_order_counts() {
    let all = [
        ("retry-after-ms", "1000"),
        ("x-ms-retry-after-ms", "2000"),
        ("retry-after", "3"),
        ("x-ratelimit-reset-tokens", "4s"),
        ("anthropic-ratelimit-tokens-reset", "2025-06-15T12:00:05Z"),
    ];
    let body = br#"{"error":{"details":[{"retryDelay":"6s"}]}}"#;
    for from in 0..=all.len() {
        // The rest in reverse, so that the order of the headers cannot decide.
        let rest: Vec<_> = all.iter().skip(from).rev().copied().collect();
        let expected = secs(1 + from as u64);
        assert_eq!(wait_hint(&HeaderBlock::of(&rest), body, 429, NOW), expected, "from {from}");
        let mut invalid: Vec<_> = all.iter().take(from).map(|(name, _)| (*name, "-1")).collect();
        invalid.extend(rest);
        assert_eq!(wait_hint(&HeaderBlock::of(&invalid), body, 429, NOW), expected, "invalid up to {from}");
    }
}

#[test]
fn should_retry_is_true_false_or_absent() {
    for (value, expected) in [
        ("true", Some(true)),
        ("false", Some(false)),
        (" False ", Some(false)),
        ("1", None),
        ("no", None),
        ("", None),
    ] {
        assert_eq!(should_retry(&HeaderBlock::of(&[("x-should-retry", value)])), expected, "{value}");
    }
    assert_eq!(should_retry(&HeaderBlock::of(&[])), None);
}

const NAMES: [&str; 11] = [
    "x-ratelimit-reset",
    "anthropic-ratelimit-unified-reset",
    "retry-after-ms",
    "x-ms-retry-after-ms",
    "retry-after",
    "x-ratelimit-reset-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-tokens",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-output-tokens-remaining",
    "anthropic-ratelimit-output-tokens-reset",
];

fn odd_value() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,80}",
        "[0-9.]{0,70}(ms|s|m|h|d|\u{b5}s)?",
        "[-+]?[0-9]{1,4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,12})?([Zz]|[+-][0-9]{2}:[0-9]{2})?",
        "[A-Z][a-z]{2}, [0-9]{2} (Jan|Feb|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
        "([0-9.]{1,4}[nu\u{3bc}m]?[smhd]){0,5}",
    ]
}

proptest! {
    #[test]
    fn every_hint_is_more_than_zero_and_bounded(
        headers in prop::collection::vec((prop::sample::select(NAMES.to_vec()), odd_value()), 0..6),
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            odd_value()
                .prop_map(|delay| json!({"error": {"details": [{"retryDelay": delay}]}}).to_string().into()),
            odd_value().prop_map(|wait| {
                json!({"error": {"message": format!("Please retry in {wait}"), "resets_at": wait}}).to_string().into()
            }),
            any::<f64>().prop_map(|wait| json!({"retry_after_ms": wait}).to_string().into()),
        ],
        status in prop_oneof![Just(429), any::<u16>()],
        now: u64,
    ) {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let block = HeaderBlock::of(&headers);
        if let Some(wait) = wait_hint(&block, &body, status, WallTime::from_millis(now)) {
            prop_assert!(wait > Duration::ZERO && wait <= MAX_HINT);
        }
        should_retry(&block);
    }

    #[test]
    fn arbitrary_header_bytes_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..200), status: u16) {
        let _ = wait_hint(&HeaderBlock::parse(bytes), b"", status, NOW);
    }

    #[test]
    fn http_dates_and_rfc_3339_give_the_same_wait(ahead_s in 1_u64..86_400, now_s in 0_u64..4_000_000_000) {
        let now = WallTime::from_millis(now_s * 1000);
        let moment = UNIX_EPOCH + Duration::from_secs(now_s + ahead_s);
        let date = httpdate::fmt_http_date(moment);
        let waits = wait_hint(&HeaderBlock::of(&[("retry-after", &date)]), b"", 429, now);
        prop_assert_eq!(waits, secs(ahead_s), "{}", date);

        let parts: Vec<_> = date.split(' ').collect();
        let [_, day, month, year, clock, _] = parts[..] else { panic!("{date}") };
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let month = 1 + months.iter().position(|name| *name == month).unwrap();
        let moment = format!("{year}-{month:02}-{day}T{clock}Z");
        let headers = HeaderBlock::of(&[("anthropic-ratelimit-requests-reset", &moment)]);
        prop_assert_eq!(wait_hint(&headers, b"", 429, now), secs(ahead_s), "{}", moment);
    }

    #[test]
    fn go_durations_are_read_exactly(total_ms in 1_u64..86_400_000) {
        let (hours, minutes, seconds) = (total_ms / 3_600_000, total_ms / 60_000 % 60, total_ms / 1000 % 60);
        let text = format!("{hours}h{minutes}m{seconds}.{:03}s", total_ms % 1000);
        let waits = hint(429, &[("x-ratelimit-reset-tokens", text.as_str())]).unwrap();
        // The sum of the parts may be slightly above the millisecond and is then rounded up.
        prop_assert!((total_ms..=total_ms + 1).contains(&(waits.as_millis() as u64)), "{} {:?}", text, waits);
    }
}
