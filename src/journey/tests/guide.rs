//! The code does what the tables of `docs/retries.md` say.

use std::time::Duration;

use super::super::test_support::{CONFIG, NOW, load};
use crate::base::{ClassSet, ErrorClass, HeaderBlock, Timestamp};
use crate::breaker::{Blame, HealthSignal};
use crate::config::{RetryBudget, RetryPolicy};
use crate::provider;
use crate::refusal::ClientRetry;
use crate::retry::{
    Failed, Next, Permission, Reach, Received, RemainingOptions, Situation, Spent, Stop, after_failure,
};

const PAGE: &str = include_str!("../../../docs/retries.md");

/// The cells of the table whose first column has this name, without code marks.
fn table(first_column: &str) -> Vec<Vec<String>> {
    let head = format!("| {first_column} |");
    let lines = PAGE.lines().skip_while(|line| !line.starts_with(&head)).skip(2);
    let rows: Vec<Vec<_>> = lines
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let inner = line.trim().strip_prefix('|').unwrap().strip_suffix('|').unwrap();
            inner.split('|').map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "no table {first_column}");
    rows
}

/// The classes that lead to a fallback by default.
fn usual_classes() -> ClassSet {
    load(CONFIG).models()[0].fallback_on
}

const FRESH: Spent = Spent {
    attempts: 1,
    at_target: 1,
    replays: 0,
    deadline: Timestamp::from_millis(u64::MAX),
    stateful: false,
};

fn decide(failed: Failed, permission: Permission, spent: Spent, left: RemainingOptions) -> Next {
    let (policy, on) = (&RetryPolicy::default(), usual_classes());
    after_failure(Situation { policy, on, failed, permission, spent, left, now: NOW, draw: u64::MAX })
}

#[test]
fn the_decision_for_each_class_matches_the_page() {
    let rows = table("failure");
    let mut classes: Vec<_> = rows.iter().map(|row| row[0].as_str()).collect();
    let mut all = ErrorClass::ALL.map(ErrorClass::name);
    classes.sort_unstable();
    all.sort_unstable();
    assert_eq!(classes, all, "one row for each class");
    let elsewhere = RemainingOptions { elsewhere: Some(Reach::Account), same: true, free_at: None };
    let alone = RemainingOptions { elsewhere: None, same: true, free_at: None };
    let limited =
        RemainingOptions { elsewhere: None, same: false, free_at: Some(NOW.after(Duration::from_secs(3))) };
    let none = RemainingOptions::default();
    for row in rows {
        let class = ErrorClass::ALL.into_iter().find(|class| class.name() == row[0]).unwrap();
        let found = [elsewhere, alone, limited, none].map(|left| {
            match decide(Failed::of(class), Permission::Granted, FRESH, left) {
                Next::Elsewhere(_) => "another target, at once",
                Next::Again { .. } => "same target, after a back-off",
                Next::Wait { .. } => "waits",
                Next::Stop(Stop::Policy) => "passes",
                Next::Stop(_) => "ends",
            }
        });
        let mut actual = vec![row[0].as_str(), blamed(class)];
        actual.extend(found);
        assert_eq!(row, actual);
    }
}

fn blamed(class: ErrorClass) -> &'static str {
    match Blame::of(class, None) {
        Blame { endpoint: HealthSignal::Failure(_), .. } => "endpoint",
        Blame { account: HealthSignal::Blocked(_), .. } => "account",
        Blame { target: HealthSignal::Failure(_), .. } => "target",
        Blame { target: HealthSignal::Throttled(_) | HealthSignal::Exhausted(_), .. } => {
            "limit of the target"
        }
        _ => "nothing",
    }
}

/// Changes the situation so that `reason` applies.
fn make_reason_apply(reason: &str, situation: &mut (Failed, Permission, Spent, RemainingOptions)) {
    let (failed, permission, spent, left) = situation;
    match reason {
        "no_retry_loop" => *permission = Permission::Denied(Stop::NoRetryLoop),
        "policy" => failed.class = ErrorClass::Invalid,
        "attempts_used_up" => spent.attempts = 3,
        "maybe_billed" => (failed.received, spent.replays) = (Received::Perhaps, 1),
        "deadline" => spent.deadline = NOW,
        "wait_too_long" => left.free_at = Some(NOW.after(Duration::from_secs(11))),
        "nothing_left" => left.same = false,
        other => panic!("unknown reason {other}"),
    }
}

#[test]
fn stop_reasons_are_checked_in_the_order_of_the_page() {
    let reasons = table("reason");
    for (place, row) in reasons.iter().enumerate() {
        // This reason applies, and all after it on the page.
        let mut situation =
            (Failed::of(ErrorClass::Server), Permission::Granted, FRESH, RemainingOptions::default());
        for later in reasons.iter().skip(place).rev() {
            make_reason_apply(&later[0], &mut situation);
        }
        let (failed, permission, spent, left) = situation;
        let Next::Stop(stop) = decide(failed, permission, spent, left) else { panic!("{row:?}") };
        assert_eq!(stop.name(), row[0]);
        assert_eq!(row[2], if stop.is_filter_decision() { "yes" } else { "no" }, "{}", row[0]);
    }
    for stop in Stop::ALL {
        let named = PAGE.contains(&format!("`{}`", stop.name()));
        assert!(named, "the page lacks {}", stop.name());
    }
}

#[test]
fn retry_hints_are_read_in_the_order_of_the_page() {
    let rows = table("what says it");
    for place in 0..rows.len() {
        let mut headers = Vec::new();
        let mut error = serde_json::json!({});
        // This hint is given, and all after it on the page.
        for row in &rows[place..] {
            let (name, value) = row[1].split_once(": ").unwrap();
            match name {
                "retryDelay" => error["details"] = serde_json::json!([{"retryDelay": value}]),
                "message" | "resets_in_seconds" => error[name] = value.into(),
                name => headers.push((name, value)),
            }
        }
        let body = serde_json::json!({ "error": error }).to_string();
        let wait = provider::wait_hint(&HeaderBlock::of(&headers), body.as_bytes(), 429, NOW.wall()).unwrap();
        assert_eq!(rows[place][2], format!("{} ms", wait.as_millis()), "{}", rows[place][1]);
    }
    let long = HeaderBlock::of(&[("retry-after", "172800")]);
    assert_eq!(provider::wait_hint(&long, b"", 503, NOW.wall()), Some(Duration::from_secs(24 * 3600)));
}

#[test]
fn back_offs_match_the_page() {
    let alone = RemainingOptions { elsewhere: None, same: true, free_at: None };
    for row in table("attempts at the target so far") {
        let spent = Spent { at_target: row[0].parse().unwrap(), ..FRESH };
        let next = decide(Failed::of(ErrorClass::Server), Permission::Granted, spent, alone);
        let Next::Again { at } = next else { panic!("{next:?}") };
        // The largest draw is just short of the span.
        assert_eq!(row[1], format!("{} ms", at.since(NOW).as_millis() + 1));
    }
}

#[test]
fn the_default_limits_match_the_page() {
    let (policy, budget) = (RetryPolicy::default(), RetryBudget::default());
    let replays = |replays| {
        let failed = Failed::of(ErrorClass::Timeout);
        let left = RemainingOptions { elsewhere: Some(Reach::Account), ..RemainingOptions::default() };
        let next = decide(failed, Permission::Granted, Spent { replays, ..FRESH }, left);
        next != Next::Stop(Stop::MaybeBilled)
    };
    let values = [
        policy.attempts.to_string(),
        policy.attempts_per_target.to_string(),
        (0..9).take_while(|times| replays(*times)).count().to_string(),
        format!("{} ms", policy.retry_after_cap.as_millis()),
        (budget.ratio_permille / 10).to_string(),
        budget.floor.to_string(),
        policy.max_cost.map_or("none".to_owned(), |cost| format!("{cost:?}")),
    ];
    let rows = table("limit");
    assert_eq!(rows.iter().map(|row| row[1].as_str()).collect::<Vec<_>>(), values);
    for row in rows {
        assert!(Stop::ALL.iter().any(|stop| stop.name() == row[2]), "{}", row[2]);
    }
}

#[test]
fn what_clients_are_told_matches_the_page() {
    for row in table("the filter knows") {
        let seconds = row[0].split(' ').find_map(|word| word.parse().ok());
        let again = ClientRetry::after_seconds(seconds);
        let wait = again.wait_s().map(|seconds| seconds.to_string()).unwrap_or_default();
        let should = if again.forbids_retries() { "false" } else { "" };
        assert_eq!([row[1].as_str(), row[2].as_str()], [wait.as_str(), should], "{}", row[0]);
    }
}
