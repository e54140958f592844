//! The budgets of one key: any stored state, then random requests and settlements, with a clock that also steps back.
//!
//! Input: one byte for the length of the stored state, the stored state, then six bytes per operation.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use llm_failsafe::base::{MicroDollars, Moment, Timestamp, WallClock};
use llm_failsafe::config::Budget;
use llm_failsafe::tenancy::{Amount, BudgetKind, Ledger, Reservation};

const MAX_OPEN: usize = 64;
const LIMIT: u64 = 1000;

/// Both clocks agree.
fn moment(at: Timestamp) -> Moment {
    Moment { at, wall: WallClock::default().at(at) }
}

fuzz_target!(|input: &[u8]| {
    let Some((len, rest)) = input.split_first() else { return };
    let (record, mut ops) = rest.split_at(usize::from(*len).min(rest.len()));
    let mut ledger = Ledger::decode(record).unwrap_or_default();
    let budget = Budget {
        requests_per_minute: Some(LIMIT),
        tokens_per_minute: Some(LIMIT),
        tokens_per_day: Some(10 * LIMIT),
        usd_per_day: Some(MicroDollars::new(LIMIT)),
        warn_permille: Some(800),
    };
    let mut now = Timestamp::from_millis(1_700_000_000_000);
    let mut open: Vec<Reservation> = Vec::new();
    while let Some(([what, time, low, high, _, cost], rest)) = ops.split_first_chunk::<6>() {
        ops = rest;
        now = if *time < 16 {
            Timestamp::from_millis(now.as_millis().saturating_sub(1 << (2 * time)))
        } else {
            now.after(Duration::from_millis(u64::from(*time) * u64::from(*time)))
        };
        let tokens = u64::from(u16::from_le_bytes([*low, *high]));
        let amount = Amount { tokens, cost: MicroDollars::new(u64::from(*cost)) };
        if what % 2 == 0 && open.len() < MAX_OPEN {
            let before = ledger.clone();
            match ledger.reserve(&budget, amount, moment(now)) {
                Ok(granted) => {
                    assert!(ledger.used_at(BudgetKind::TokensPerMinute, moment(now)) <= LIMIT);
                    assert!(ledger.used_at(BudgetKind::UsdPerDay, moment(now)) <= LIMIT);
                    open.push(granted.reservation);
                }
                // A rejected request has reserved nothing.
                Err(_) => {
                    for kind in BudgetKind::ALL {
                        assert_eq!(ledger.used_at(kind, moment(now)), before.used_at(kind, moment(now)));
                    }
                }
            }
        } else if let Some(reservation) = open.pop() {
            ledger.settle(reservation, amount, moment(now));
        }
        assert_eq!(Ledger::decode(&ledger.encode()).as_ref(), Some(&ledger));
    }
});
