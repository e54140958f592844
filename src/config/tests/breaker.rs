//! The section `breaker`: defaults and bounds.

use super::*;

#[test]
fn every_field_is_accepted_within_its_bounds_only() {
    for (field, inside, outside) in [
        (
            "window",
            [json!("1s"), json!("1h")],
            [(json!("999ms"), "is 999ms, expected 1s to 1h"), (json!("61m"), "is 61m, expected 1s to 1h")],
        ),
        (
            "min_requests",
            [json!(1), json!(10_000)],
            [(json!(0), "is 0, expected 1 to 10000"), (json!(10_001), "is 10001, expected 1 to 10000")],
        ),
        (
            "failure_ratio",
            [json!(0.001), json!(1)],
            [
                (json!(0), "is 0, expected more than 0 and at most 1"),
                (json!(1.01), "is 1.01, expected more than 0 and at most 1"),
            ],
        ),
        (
            "consecutive",
            [json!(1), json!(1000)],
            [(json!(0), "is 0, expected 1 to 1000"), (json!(1001), "is 1001, expected 1 to 1000")],
        ),
        (
            "open",
            [json!("100ms"), json!("24h")],
            [
                (json!("99ms"), "is 99ms, expected 100ms to 24h"),
                (json!("25h"), "is 25h, expected 100ms to 24h"),
            ],
        ),
        (
            "open_max",
            [json!("5s"), json!("24h")],
            [
                (json!("4s"), "is 4s, expected at least 5s (`open`) and at most 24h"),
                (json!("25h"), "is 25h, expected at least 5s (`open`) and at most 24h"),
            ],
        ),
        (
            "block",
            [json!("100ms"), json!("24h")],
            [(json!("0s"), "is 0s, expected 100ms to 24h"), (json!("25h"), "is 25h, expected 100ms to 24h")],
        ),
        (
            "block_max",
            [json!("5m"), json!("24h")],
            [
                (json!("4m"), "is 4m, expected at least 5m (`block`) and at most 24h"),
                (json!("25h"), "is 25h, expected at least 5m (`block`) and at most 24h"),
            ],
        ),
        (
            "probes",
            [json!(1), json!(MAX_PROBES)],
            [(json!(0), "is 0, expected 1 to 4"), (json!(5), "is 5, expected 1 to 4")],
        ),
        (
            "close_after",
            [json!(1), json!(20)],
            [(json!(0), "is 0, expected 1 to 20"), (json!(21), "is 21, expected 1 to 20")],
        ),
        (
            "unanswered",
            [json!(0), json!(1000)],
            [(json!(5000), "is 5000, expected 0 to 1000"), (json!(1001), "is 1001, expected 0 to 1000")],
        ),
        (
            "probe_lease",
            [json!("100ms"), json!("1h")],
            [(json!("50ms"), "is 50ms, expected 100ms to 1h"), (json!("2h"), "is 2h, expected 100ms to 1h")],
        ),
        (
            "slow_start",
            [json!("0s"), json!("1h")],
            [(json!("2h"), "is 2h, expected 0s to 1h"), (json!("3601s"), "is 3601s, expected 0s to 1h")],
        ),
        (
            "slow_start_alone",
            [json!("pass"), json!("queue")],
            [
                (json!("wait"), "`wait` is not a valid value, expected one of `pass`, `queue`, `refuse`"),
                (json!("Refuse"), "`Refuse` is not a valid value, did you mean `refuse`?"),
            ],
        ),
        (
            "slow_first_content",
            [json!("100ms"), json!("1h")],
            [(json!("0s"), "is 0s, expected 100ms to 1h"), (json!("2h"), "is 2h, expected 100ms to 1h")],
        ),
    ] {
        let breaker = |value: &Value| with(smallest(), "/breaker", json!({field: value}));
        for value in &inside {
            assert!(load_json(&breaker(value)).is_ok(), "{field} {value}");
        }
        for (value, problem) in &outside {
            check(&breaker(value), &[&format!("breaker.{field}: {problem}")]);
        }
    }
}

#[test]
fn a_long_open_time_raises_the_default_of_its_maximum() {
    let written = json!({"open": "20m", "block": "2h"});
    let policy = load_json(&with(smallest(), "/breaker", written)).unwrap().breaker;
    assert_eq!((policy.open_max, policy.block_max), (Duration::from_secs(1200), Duration::from_secs(7200)));
    let written = json!({"open": "20m", "open_max": "10m"});
    check(
        &with(smallest(), "/breaker", written),
        &["breaker.open_max: is 10m, expected at least 20m (`open`) and at most 24h"],
    );
}

#[test]
fn an_invalid_open_time_is_not_the_minimum_of_its_maximum() {
    check(
        &with(
            smallest(),
            "/breaker",
            json!({"open": "50ms", "open_max": "10s", "block": "x", "block_max": "1s"}),
        ),
        &[
            "breaker.block: `x` is not a duration, expected a number with a unit (ms, s, m or \
             h), such as \"30s\"",
            "breaker.open: is 50ms, expected 100ms to 24h",
        ],
    );
}

#[test]
fn an_empty_breaker_section_has_every_default() {
    let config = load_json(&with(smallest(), "/breaker", json!({}))).unwrap();
    assert_eq!(config.breaker, BreakerPolicy::default());
}
