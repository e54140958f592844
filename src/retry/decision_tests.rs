//! The decision as a table: one row per class and remaining option. Compare with the defaults in
//! `docs/retries.md`.

use std::time::Duration;

use proptest::prelude::*;

use super::decision::*;
use crate::base::{ClassSet, ErrorClass, Timestamp};
use crate::config::{Replay, RetryPolicy};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn in_ms(ms: u64) -> Timestamp {
    NOW.after(Duration::from_millis(ms))
}

/// After the first of three attempts, with ten minutes left.
const FRESH: Spent = Spent {
    attempts: 1,
    at_target: 1,
    replays: 0,
    deadline: Timestamp::from_millis(1_600_000),
    stateful: false,
};

const NOTHING: RemainingOptions = RemainingOptions { elsewhere: None, same: false, free_at: None };
const ACCOUNT: RemainingOptions =
    RemainingOptions { elsewhere: Some(Reach::Account), same: true, free_at: None };
const TIER: RemainingOptions = RemainingOptions { elsewhere: Some(Reach::Tier), same: true, free_at: None };
/// The target that failed is the only one and may be asked again.
const ALONE: RemainingOptions = RemainingOptions { elsewhere: None, same: true, free_at: None };

fn free_in(ms: u64) -> RemainingOptions {
    RemainingOptions { free_at: Some(in_ms(ms)), ..NOTHING }
}

/// The default classes of `fallback.on`.
fn usual_classes() -> ClassSet {
    let config = crate::config::load(
        br#"{"providers": {"p": {"kind": "openai"}}, "targets": {"t": {"provider": "p", "model": "m"}},
            "models": {"m": {"targets": ["t"]}}}"#,
        &|_| None,
    );
    config.unwrap().models()[0].fallback_on
}

/// The largest draw, for the longest back-off: 99 ms before the first repetition.
const LONGEST: u64 = u64::MAX;

fn decide(failed: Failed, spent: Spent, left: RemainingOptions) -> Next {
    let (policy, on) = (&RetryPolicy::default(), usual_classes());
    after_failure(Situation {
        policy,
        on,
        failed,
        permission: Permission::Granted,
        spent,
        left,
        now: NOW,
        draw: LONGEST,
    })
}

/// The next step in one word.
fn word(next: Next) -> String {
    match next {
        Next::Elsewhere(Reach::Account) => "account".into(),
        Next::Elsewhere(Reach::Tier) => "tier".into(),
        Next::Again { at } => format!("again in {} ms", at.since(NOW).as_millis()),
        Next::Wait { until } => format!("wait {} ms", until.since(NOW).as_millis()),
        Next::Stop(stop) => stop.name().into(),
    }
}

#[test]
fn each_class_leads_where_the_documented_defaults_say() {
    use ErrorClass::*;
    let again = "again in 99 ms";
    #[rustfmt::skip]
    let table = [
        // class             account     tier       alone            rate-limited     none
        (Transport,         "account",  "tier",    again,           "wait 3000 ms",  "nothing_left"),
        (Timeout,           "account",  "tier",    again,           "wait 3000 ms",  "nothing_left"),
        (Overloaded,        "account",  "tier",    again,           "wait 3000 ms",  "nothing_left"),
        (Server,            "account",  "tier",    again,           "wait 3000 ms",  "nothing_left"),
        (StreamTruncated,   "account",  "tier",    again,           "wait 3000 ms",  "nothing_left"),
        (StreamError,       "account",  "tier",    again,           "wait 3000 ms",  "nothing_left"),
        (StreamStalled,     "account",  "tier",    again,           "wait 3000 ms",  "nothing_left"),
        (Empty,             "account",  "tier",    again,           "wait 3000 ms",  "nothing_left"),
        (Malformed,         "account",  "tier",    again,           "wait 3000 ms",  "nothing_left"),
        (RateLimited,       "account",  "tier",    again,           "wait 3000 ms",  "nothing_left"),
        // Another account or none: the same one would give the same error.
        (QuotaExhausted,    "account",  "tier",    "nothing_left",  "wait 3000 ms",  "nothing_left"),
        (Auth,              "account",  "tier",    "nothing_left",  "wait 3000 ms",  "nothing_left"),
        (NotFound,          "account",  "tier",    "nothing_left",  "wait 3000 ms",  "nothing_left"),
        (ModelQuota,        "account",  "tier",    "nothing_left",  "wait 3000 ms",  "nothing_left"),
        (Unsuitable,        "account",  "tier",    "nothing_left",  "wait 3000 ms",  "nothing_left"),
        (StateNotFound,     "account",  "tier",    "nothing_left",  "wait 3000 ms",  "nothing_left"),
        (Redirected,        "account",  "tier",    "nothing_left",  "wait 3000 ms",  "nothing_left"),
        (HopClosed,         "account",  "tier",    again,           "wait 3000 ms",  "nothing_left"),
        (Conflict,          "account",  "tier",    again,           "wait 3000 ms",  "nothing_left"),
        // Passed through.
        (Permission,        "policy",   "policy",  "policy",        "policy",        "policy"),
        (Invalid,           "policy",   "policy",  "policy",        "policy",        "policy"),
        (TooLarge,          "policy",   "policy",  "policy",        "policy",        "policy"),
        (ContextLength,     "policy",   "policy",  "policy",        "policy",        "policy"),
        (ContentPolicy,     "policy",   "policy",  "policy",        "policy",        "policy"),
        (ClientAbort,       "policy",   "policy",  "policy",        "policy",        "policy"),
    ];
    for (class, account, tier, alone, limited, none) in table {
        let after = |left| word(decide(Failed::of(class), FRESH, left));
        let found = [ACCOUNT, TIER, ALONE, free_in(3000), NOTHING].map(after);
        assert_eq!(found, [account, tier, alone, limited, none], "{}", class.name());
    }
    assert_eq!(table.map(|(class, ..)| class).len(), ErrorClass::ALL.len());
}

#[test]
fn limits_are_checked_in_this_order_and_each_has_its_reason() {
    let denied = |stop| {
        let (policy, on) = (&RetryPolicy::default(), usual_classes());
        let failed = Failed::of(ErrorClass::Server);
        word(after_failure(Situation {
            policy,
            on,
            failed,
            permission: Permission::Denied(stop),
            spent: FRESH,
            left: ACCOUNT,
            now: NOW,
            draw: 0,
        }))
    };
    assert_eq!(denied(Stop::ClientForbids), "client_forbids");
    assert_eq!(denied(Stop::NoRetryLoop), "no_retry_loop");
    assert_eq!(denied(Stop::JourneysFull), "journeys_full");

    let timeout = Failed::of(ErrorClass::Timeout);
    let check = |spent| word(decide(timeout, spent, ACCOUNT));
    let used_up = Spent { attempts: 3, replays: 1, deadline: NOW, ..FRESH };
    assert_eq!(check(used_up), "attempts_used_up");
    assert_eq!(check(Spent { attempts: 2, ..used_up }), "maybe_billed");
    assert_eq!(check(Spent { replays: 0, ..Spent { attempts: 2, ..used_up } }), "deadline");
    assert_eq!(check(Spent { attempts: 2, ..FRESH }), "account");
}

#[test]
fn possibly_billed_requests_are_replayed_as_often_as_the_policy_permits() {
    let stateful = Spent { stateful: true, ..FRESH };
    let replayed = Spent { attempts: 2, replays: 1, ..FRESH };
    let lost = Failed { received: Received::Perhaps, ..Failed::of(ErrorClass::Transport) };
    let never_sent = Failed { received: Received::Never, ..lost };
    let answered = Failed::of(ErrorClass::Server);
    for (replay, failed, spent, expected) in [
        (Replay::Once, lost, FRESH, "account"),
        (Replay::Once, lost, replayed, "maybe_billed"),
        (Replay::Once, lost, stateful, "maybe_billed"),
        (Replay::Never, lost, FRESH, "maybe_billed"),
        (Replay::Always, lost, replayed, "account"),
        (Replay::Always, lost, stateful, "maybe_billed"),
        // Requests that never arrived or were answered cannot be billed twice.
        (Replay::Never, never_sent, stateful, "account"),
        (Replay::Never, answered, stateful, "account"),
    ] {
        let policy = RetryPolicy { replay_uncertain: replay, ..RetryPolicy::default() };
        let (policy, on) = (&policy, usual_classes());
        let next = after_failure(Situation {
            policy,
            on,
            failed,
            permission: Permission::Granted,
            spent,
            left: ACCOUNT,
            now: NOW,
            draw: 0,
        });
        assert_eq!(word(next), expected, "{replay:?} {failed:?} {spent:?}");
    }
}

#[test]
fn the_provider_s_instruction_concerns_only_itself() {
    let said = |class, should_retry| Failed { should_retry: Some(should_retry), ..Failed::of(class) };
    // "Do not retry": still elsewhere, but not at the same provider.
    assert_eq!(word(decide(said(ErrorClass::Server, false), FRESH, ACCOUNT)), "account");
    assert_eq!(word(decide(said(ErrorClass::Server, false), FRESH, ALONE)), "nothing_left");
    // "Retry": at the same provider, but nowhere the policy excludes.
    assert_eq!(word(decide(said(ErrorClass::Invalid, true), FRESH, ALONE)), "again in 99 ms");
    assert_eq!(word(decide(said(ErrorClass::Invalid, true), FRESH, ACCOUNT)), "again in 99 ms");
    assert_eq!(word(decide(said(ErrorClass::Invalid, true), FRESH, free_in(1))), "policy");
}

#[test]
fn a_target_that_rejects_what_the_filter_added_is_asked_again_at_once_and_no_other_is() {
    for class in [ErrorClass::Invalid, ErrorClass::Unsuitable] {
        let failed = Failed { rejects_addition: true, ..Failed::of(class) };
        for left in [ALONE, ACCOUNT] {
            assert_eq!(word(decide(failed, FRESH, left)), "again in 0 ms");
        }
        let used_up = Spent { attempts: 10, ..FRESH };
        assert_eq!(word(decide(failed, used_up, ACCOUNT)), "attempts_used_up");
    }
}

#[test]
fn reasoning_that_nobody_else_may_read_is_dropped_at_the_last_account() {
    let failed = Failed { may_drop_reasoning: true, ..Failed::of(ErrorClass::StateNotFound) };
    assert_eq!(word(decide(failed, FRESH, ACCOUNT)), "account", "another account may be able to read it");
    assert!(word(decide(failed, FRESH, ALONE)).starts_with("again in "));
    assert_eq!(word(decide(Failed::of(ErrorClass::StateNotFound), FRESH, ALONE)), "nothing_left");
}

#[test]
fn a_hint_is_obeyed_if_it_fits_the_cap_and_the_deadline() {
    let asks =
        |seconds| Failed { hint: Some(Duration::from_secs(seconds)), ..Failed::of(ErrorClass::Overloaded) };
    assert_eq!(word(decide(asks(10), FRESH, ALONE)), "again in 10000 ms");
    assert_eq!(word(decide(asks(11), FRESH, ALONE)), "wait_too_long");
    assert_eq!(word(decide(asks(11), FRESH, ACCOUNT)), "account", "another target needs no wait");
    let soon_over = Spent { deadline: in_ms(9_999), ..FRESH };
    assert_eq!(word(decide(asks(10), soon_over, ALONE)), "deadline");

    let limited = Failed::of(ErrorClass::RateLimited);
    assert_eq!(word(decide(limited, FRESH, free_in(10_000))), "wait 10000 ms");
    assert_eq!(word(decide(limited, FRESH, free_in(10_001))), "wait_too_long");
    assert_eq!(word(decide(limited, soon_over, free_in(9_999))), "deadline");
}

#[test]
fn a_back_off_doubles_up_to_its_limit() {
    let waits = |at_target, draw| {
        let policy = RetryPolicy { attempts: 10, ..RetryPolicy::default() };
        let spent = Spent { at_target, attempts: at_target, ..FRESH };
        let failed = Failed::of(ErrorClass::Server);
        let (policy, on) = (&policy, usual_classes());
        match after_failure(Situation {
            policy,
            on,
            failed,
            permission: Permission::Granted,
            spent,
            left: ALONE,
            now: NOW,
            draw,
        }) {
            Next::Again { at } => at.since(NOW).as_millis(),
            next => panic!("{next:?}"),
        }
    };
    let longest: Vec<_> = (1..9).map(|attempts| waits(attempts, u64::MAX)).collect();
    assert_eq!(longest, [99, 199, 399, 799, 1599, 1999, 1999, 1999]);
    assert_eq!(waits(3, u64::MAX / 2), 199, "full jitter: any part of it");
    assert_eq!(waits(3, 0), 0);
}

fn any_class() -> impl Strategy<Value = ErrorClass> {
    proptest::sample::select(&ErrorClass::ALL[..])
}

fn any_failed() -> impl Strategy<Value = Failed> {
    let received = proptest::sample::select(vec![Received::Never, Received::Answered, Received::Perhaps]);
    let hint = proptest::option::of((0_u64..100_000).prop_map(Duration::from_millis));
    (any_class(), received, any::<Option<bool>>(), hint).prop_map(|(class, received, should_retry, hint)| {
        Failed { should_retry, received, hint, ..Failed::of(class) }
    })
}

fn any_left() -> impl Strategy<Value = RemainingOptions> {
    let reach = proptest::sample::select(vec![None, Some(Reach::Account), Some(Reach::Tier)]);
    (reach, any::<bool>(), proptest::option::of(0_u64..2_000_000)).prop_map(|(elsewhere, same, free_at)| {
        RemainingOptions { elsewhere, same, free_at: free_at.map(Timestamp::from_millis) }
    })
}

fn any_spent() -> impl Strategy<Value = Spent> {
    (1_u8..12, 1_u8..12, 0_u8..4, 900_000_u64..1_200_000, any::<bool>()).prop_map(
        |(attempts, at_target, replays, deadline, stateful)| Spent {
            attempts,
            at_target,
            replays,
            deadline: Timestamp::from_millis(deadline),
            stateful,
        },
    )
}

proptest! {
    #[test]
    fn no_limit_is_ever_passed(
        failed in any_failed(), left in any_left(), spent in any_spent(), draw in any::<u64>(),
            attempts in 1_u8..10
    ) {
        let policy = RetryPolicy { attempts, ..RetryPolicy::default() };
        let on = usual_classes();
        let next = after_failure(Situation { policy: &policy, on, failed, permission: Permission::Granted, spent, left, now: NOW, draw });
        let goes_on = !matches!(next, Next::Stop(_));
        if goes_on {
            prop_assert!(spent.attempts < attempts);
            prop_assert!(NOW < spent.deadline);
            prop_assert!(on.contains(failed.class) || failed.should_retry == Some(true));
            prop_assert!(failed.received != Received::Perhaps || (!spent.stateful && spent.replays == 0));
        }
        match next {
            Next::Elsewhere(reach) => {
                prop_assert_eq!(left.elsewhere, Some(reach));
                prop_assert!(on.contains(failed.class));
            }
            Next::Again { at } => {
                prop_assert!(left.same && at < spent.deadline);
                prop_assert!(at.since(NOW) <= policy.retry_after_cap);
                prop_assert!(at.since(NOW) >= failed.hint.unwrap_or_default());
                prop_assert!(failed.should_retry != Some(false));
            }
            Next::Wait { until } => {
                prop_assert_eq!(left.free_at, Some(until));
                prop_assert!(until < spent.deadline && until.since(NOW) <= policy.retry_after_cap);
            }
            Next::Stop(stop) => prop_assert!(Stop::ALL.contains(&stop)),
        }
    }
}
