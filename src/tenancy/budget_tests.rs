use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::base::memory::{Memory, Shelf};
use crate::base::{MicroDollars, Moment, Timestamp};
use crate::config::Budget;

/// Noon of some day, at the beginning of a slice.
const NOON_MS: u64 = 20_000 * 86_400_000 + 43_200_000;

fn at(s: u64) -> Moment {
    Timestamp::from_millis(NOON_MS + s * 1000).moment()
}

fn tokens(tokens: u64) -> Amount {
    Amount { tokens, cost: MicroDollars::ZERO }
}

fn per_minute(requests: Option<u64>, tokens: Option<u64>) -> Budget {
    Budget { requests_per_minute: requests, tokens_per_minute: tokens, ..Budget::default() }
}

fn per_day(tokens: Option<u64>, micro_usd: Option<u64>) -> Budget {
    Budget { tokens_per_day: tokens, usd_per_day: micro_usd.map(MicroDollars::new), ..Budget::default() }
}

fn seconds(wait: Option<Duration>) -> Option<u64> {
    wait.map(|wait| wait.as_secs())
}

#[test]
fn a_full_minute_gives_the_time_of_the_next_request() {
    let budget = per_minute(Some(3), None);
    let mut ledger = Ledger::default();
    for s in [0, 1, 20] {
        ledger.reserve(&budget, Amount::default(), at(s)).unwrap();
    }
    let refused = ledger.reserve(&budget, Amount::default(), at(30)).unwrap_err();
    assert_eq!(refused.which, BudgetKind::RequestsPerMinute);
    // The slice of seconds 0 to 5 leaves the window 65 seconds after it began.
    assert_eq!(seconds(refused.wait), Some(35));
    assert!(ledger.reserve(&budget, Amount::default(), at(64)).is_err());
    ledger.reserve(&budget, Amount::default(), at(65)).unwrap();
    ledger.reserve(&budget, Amount::default(), at(65)).unwrap();
    assert!(ledger.reserve(&budget, Amount::default(), at(66)).is_err(), "the one of second 20 still counts");
}

#[test]
fn tokens_are_reserved_at_once_and_settled_in_the_same_slice() {
    let budget = per_minute(None, Some(1000));
    let mut ledger = Ledger::default();
    let granted = ledger.reserve(&budget, tokens(800), at(0)).unwrap();
    let refused = ledger.reserve(&budget, tokens(300), at(1)).unwrap_err();
    assert_eq!((refused.which, seconds(refused.wait)), (BudgetKind::TokensPerMinute, Some(64)));
    ledger.settle(granted.reservation, tokens(100), at(2));
    ledger.reserve(&budget, tokens(900), at(3)).unwrap();
    assert_eq!(ledger.used_at(BudgetKind::TokensPerMinute, at(3)), 1000);
}

#[test]
fn a_released_reservation_frees_tokens_but_the_request_counts() {
    let budget = Budget { requests_per_minute: Some(5), tokens_per_day: Some(100), ..Budget::default() };
    let mut ledger = Ledger::default();
    let granted = ledger.reserve(&budget, tokens(100), at(0)).unwrap();
    ledger.settle(granted.reservation, Amount::default(), at(1));
    assert_eq!(ledger.used_at(BudgetKind::TokensPerDay, at(1)), 0);
    assert_eq!(ledger.used_at(BudgetKind::RequestsPerMinute, at(1)), 1);
}

#[test]
fn a_request_that_was_never_sent_takes_nothing() {
    let budget = Budget { requests_per_minute: Some(1), tokens_per_day: Some(100), ..Budget::default() };
    let mut ledger = Ledger::default();
    for second in [1, 2, 200] {
        let granted = ledger.reserve(&budget, tokens(100), at(second)).unwrap();
        ledger.release(granted.reservation, at(second + 1));
        assert_eq!(ledger.used_at(BudgetKind::RequestsPerMinute, at(second + 1)), 0);
        assert_eq!(ledger.used_at(BudgetKind::TokensPerDay, at(second + 1)), 0);
    }
    // A request whose minute is over has left the window already.
    let granted = ledger.reserve(&budget, tokens(100), at(300)).unwrap();
    let other = ledger.reserve(&budget, tokens(0), at(400)).unwrap();
    ledger.release(granted.reservation, at(401));
    assert_eq!(ledger.used_at(BudgetKind::RequestsPerMinute, at(401)), 1);
    ledger.release(other.reservation, at(402));
}

#[test]
fn after_its_minute_only_the_excess_counts() {
    let budget = Budget { tokens_per_minute: Some(1000), tokens_per_day: Some(5000), ..Budget::default() };
    let mut ledger = Ledger::default();
    let granted = ledger.reserve(&budget, tokens(400), at(0)).unwrap();
    ledger.settle(granted.reservation, tokens(700), at(300));
    assert_eq!(ledger.used_at(BudgetKind::TokensPerMinute, at(300)), 300);
    assert_eq!(ledger.used_at(BudgetKind::TokensPerDay, at(300)), 700);
    let granted = ledger.reserve(&budget, tokens(400), at(301)).unwrap();
    ledger.settle(granted.reservation, tokens(0), at(600));
    assert_eq!(ledger.used_at(BudgetKind::TokensPerMinute, at(600)), 0);
}

#[test]
fn a_day_ends_at_midnight_in_utc() {
    let budget = per_day(None, Some(1_000_000));
    let money = |micros| Amount { tokens: 0, cost: MicroDollars::new(micros) };
    let mut ledger = Ledger::default();
    let late = ledger.reserve(&budget, money(900_000), at(0)).unwrap();
    let refused = ledger.reserve(&budget, money(200_000), at(3600)).unwrap_err();
    assert_eq!((refused.which, seconds(refused.wait)), (BudgetKind::UsdPerDay, Some(11 * 3600)));
    let midnight = 12 * 3600;
    ledger.reserve(&budget, money(200_000), at(midnight)).unwrap();
    // Of yesterday's use only the excess counts today.
    ledger.settle(late.reservation, money(950_000), at(midnight + 1));
    assert_eq!(ledger.used_at(BudgetKind::UsdPerDay, at(midnight + 1)), 250_000);
}

#[test]
fn a_request_larger_than_the_budget_gets_no_wait() {
    let budget = Budget { tokens_per_minute: Some(100), tokens_per_day: Some(1000), ..Budget::default() };
    let mut ledger = Ledger::default();
    let refused = ledger.reserve(&budget, tokens(101), at(0)).unwrap_err();
    assert_eq!(refused, Exhausted { which: BudgetKind::TokensPerMinute, wait: None });
    assert_eq!(ledger, {
        let mut untouched = Ledger::default();
        untouched.settle(reservation_of_nothing(&budget), Amount::default(), at(0));
        untouched
    });
}

fn reservation_of_nothing(budget: &Budget) -> Reservation {
    Ledger::default().reserve(budget, Amount::default(), at(0)).unwrap().reservation
}

#[test]
fn of_several_exhausted_budgets_the_longest_wait_is_named() {
    let budget = Budget { requests_per_minute: Some(1), tokens_per_day: Some(10), ..Budget::default() };
    let mut ledger = Ledger::default();
    ledger.reserve(&budget, tokens(10), at(0)).unwrap();
    assert_eq!(ledger.reserve(&budget, tokens(5), at(1)).unwrap_err().which, BudgetKind::TokensPerDay);
}

#[test]
fn a_warning_mark_warns_and_refuses_nothing() {
    let budget = Budget { warn_permille: Some(800), ..per_day(Some(1000), None) };
    let mut ledger = Ledger::default();
    assert!(ledger.reserve(&budget, tokens(799), at(0)).unwrap().warnings.is_empty());
    let warned = ledger.reserve(&budget, tokens(1), at(0)).unwrap().warnings;
    assert_eq!(warned.kinds().collect::<Vec<_>>(), [BudgetKind::TokensPerDay]);
}

#[test]
fn a_large_step_back_of_the_clock_keeps_nothing_shut() {
    let budget = Budget { requests_per_minute: Some(1), tokens_per_day: Some(1), ..Budget::default() };
    let mut ledger = Ledger::default();
    ledger.reserve(&budget, tokens(1), at(10 * 86_400)).unwrap();
    ledger.reserve(&budget, tokens(1), at(0)).unwrap();
    assert!(ledger.reserve(&budget, tokens(1), at(0)).is_err());
}

#[test]
fn extreme_numbers_saturate() {
    let budget = per_minute(None, Some(u64::MAX));
    let mut ledger = Ledger::default();
    let granted = ledger.reserve(&budget, tokens(u64::MAX), at(0)).unwrap();
    ledger.reserve(&budget, tokens(u64::MAX), at(1)).unwrap();
    ledger.settle(granted.reservation, tokens(u64::MAX), Timestamp::from_millis(u64::MAX).moment());
    ledger.reserve(&budget, tokens(1), Timestamp::from_millis(0).moment()).unwrap();
}

#[test]
fn workers_that_reserve_together_share_one_budget() {
    let budget = per_minute(Some(10), None);
    let shelf: Rc<RefCell<Shelf>> = Rc::default();
    let mut workers: Vec<_> = (0..4).map(|_| Memory::on(Rc::clone(&shelf))).collect();
    // Another worker reserves between each read and write of the first.
    let mut rival = Memory::on(Rc::clone(&shelf));
    let mut left = 3;
    workers[0].before_write = Some(Box::new(move || {
        if left > 0 {
            left -= 1;
            reserve(&mut rival, "team", &budget, Amount::default(), at(0)).unwrap().unwrap();
        }
    }));
    let mut granted = 3;
    for round in 0..20 {
        let decision = reserve(&mut workers[round % 4], "team", &budget, Amount::default(), at(0)).unwrap();
        granted += usize::from(decision.is_ok());
    }
    assert_eq!(granted, 10);
}

#[test]
fn when_shared_data_fails_the_request_goes_and_nothing_is_settled() {
    let mut store = Memory { broken: true, ..Memory::new() };
    assert_eq!(reserve(&mut store, "team", &per_minute(Some(1), None), tokens(1), at(0)), None);
    let reservation = reservation_of_nothing(&per_minute(Some(1), None));
    assert!(!settle(&mut store, "team", reservation, tokens(1), at(0)));
}

proptest! {
    /// Against every remembered request: no 60 seconds hold more than the budget, whatever the order.
    #[test]
    fn no_minute_ever_holds_more_than_its_budget(
        steps in proptest::collection::vec((0_u64..20_000, 1_u64..400), 1..200)
    ) {
        let budget = per_minute(Some(20), Some(1000));
        let mut ledger = Ledger::default();
        let mut taken: Vec<(u64, u64)> = Vec::new();
        let mut now_ms = NOON_MS;
        for (pause, need) in steps {
            now_ms += pause;
            let decision = ledger.reserve(&budget, tokens(need), Timestamp::from_millis(now_ms).moment());
            if decision.is_ok() {
                taken.push((now_ms, need));
            }
            let recent = taken.iter().filter(|(at, _)| now_ms - at < 60_000);
            prop_assert!(recent.clone().count() <= 20);
            prop_assert!(recent.map(|(_, need)| need).sum::<u64>() <= 1000);
            // The promised wait holds: the request then fits if nothing else comes.
            if let Err(Exhausted { wait: Some(wait), .. }) = decision {
                let then = Timestamp::from_millis(now_ms).after(wait);
                prop_assert!(ledger.clone().reserve(&budget, tokens(need), then.moment()).is_ok());
            }
        }
    }

    #[test]
    fn a_record_survives_encoding_and_other_bytes_are_rejected(
        steps in proptest::collection::vec((0_u64..90_000_000, any::<u64>(), any::<u64>()), 0..20),
        junk in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut ledger = Ledger::default();
        let mut now_ms = NOON_MS;
        for (pause, reserved, used) in steps {
            now_ms += pause;
            let now = Timestamp::from_millis(now_ms);
            if let Ok(granted) = ledger.reserve(&Budget::default(), tokens(reserved), now.moment()) {
                let actual = Amount { tokens: used, cost: MicroDollars::new(used / 2) };
                    ledger.settle(granted.reservation, actual, now.moment());
            }
        }
        let bytes = ledger.encode();
        prop_assert_eq!(Ledger::decode(&bytes), Some(ledger));
        prop_assert_eq!(Ledger::decode(&bytes[1..]), None);
        let _ = Ledger::decode(&junk);
    }
}
