use std::rc::Rc;

use super::*;
use crate::balance::test_support::target;
use crate::base::memory::{Memory, Shelf};
use crate::config;
use proptest::prelude::*;

const CONFIG: &str = r#"{
  "providers": {"openai": {"kind": "openai"}},
  "targets": {
    "a": {"provider": "openai", "model": "m"},
    "b": {"provider": "openai", "model": "m"},
    "c": {"provider": "openai", "model": "m"}
  },
  "models": {
    "fast": {"targets": ["a", "b"], "balance": {"strategy": "fastest"}},
    "plain": {"targets": ["c"]}
  }
}"#;

fn pace() -> SpeedView {
    SpeedView::new(&config::load(CONFIG.as_bytes(), &|_| None).unwrap())
}

fn ms(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + ms)
}

/// A stream to `a` whose first content comes after `took` milliseconds, at `now`.
fn stream(pace: &mut SpeedView, took: u64, now: u64) {
    pace.begin(target(0), ms(now - took));
    pace.first_content(target(0), true, ms(now - took), ms(now));
}

fn expected(pace: &SpeedView, now: u64) -> Option<u64> {
    pace.speed(target(0), true, ms(now)).expected_us
}

#[test]
fn a_slow_sample_counts_at_once_and_fades() {
    let mut pace = pace();
    assert_eq!(pace.speed(target(0), true, ms(0)), Speed { stale: true, ..Speed::default() });
    stream(&mut pace, 200, 1_000);
    assert_eq!(expected(&pace, 1_000), Some(200_000));
    stream(&mut pace, 3_000, 4_000);
    assert_eq!(expected(&pace, 4_000), Some(3_000_000));
    // A third of the difference is left after the decay time, whether one sample comes or ten.
    let mut often = SpeedView::new(&config::load(CONFIG.as_bytes(), &|_| None).unwrap());
    stream(&mut often, 3_000, 4_000);
    for at in (5_000..=14_000).step_by(1_000) {
        stream(&mut often, 200, at);
    }
    stream(&mut pace, 200, 14_000);
    for pace in [&pace, &often] {
        let left = expected(pace, 14_000).unwrap();
        assert!((1_200_000..1_260_000).contains(&left), "{left}");
    }
}

#[test]
fn what_waits_longer_than_expected_says_so_before_it_is_answered() {
    let mut pace = pace();
    stream(&mut pace, 200, 1_000);
    pace.begin(target(0), ms(2_000));
    pace.begin(target(0), ms(4_000));
    let speed = pace.speed(target(0), true, ms(9_000));
    assert_eq!((speed.expected_us, speed.waiting), (Some(6_000_000), 2));
    // They end without content; that it took so long is remembered.
    pace.no_content(target(0), true, ms(2_000), ms(9_000));
    pace.no_content(target(0), true, ms(4_000), ms(9_000));
    let speed = pace.speed(target(0), true, ms(9_000));
    assert_eq!((speed.expected_us, speed.waiting), (Some(7_000_000), 0));
}

#[test]
fn a_quick_failure_makes_nobody_look_fast() {
    let mut pace = pace();
    pace.begin(target(0), ms(0));
    pace.no_content(target(0), true, ms(0), ms(1));
    assert_eq!(expected(&pace, 1), None);
    stream(&mut pace, 500, 1_000);
    pace.begin(target(0), ms(2_000));
    pace.no_content(target(0), true, ms(2_000), ms(2_001));
    assert_eq!(expected(&pace, 2_001), Some(500_000));
}

#[test]
fn plain_answers_are_measured_by_the_token_and_apart_from_streams() {
    let mut pace = pace();
    pace.answered(target(0), Duration::from_secs(10), 984, ms(0));
    assert_eq!(pace.speed(target(0), false, ms(0)).expected_us, Some(10_000));
    assert_eq!(expected(&pace, 0), None);
    pace.answered(target(1), Duration::from_millis(160), 0, ms(0));
    assert_eq!(pace.speed(target(1), false, ms(0)).expected_us, Some(10_000));
}

#[test]
fn workers_share_what_they_find_and_an_update_keeps_it() {
    let shelf: Rc<std::cell::RefCell<Shelf>> = Rc::default();
    let mut stores = [Memory::on(Rc::clone(&shelf)), Memory::on(Rc::clone(&shelf))];
    let mut workers = [pace(), pace()];
    stream(&mut workers[0], 900, 1_000);
    stream(&mut workers[1], 300, 1_050);
    for (worker, store) in workers.iter_mut().zip(&mut stores) {
        worker.exchange(store);
    }
    workers[0].exchange(&mut stores[0]);
    let [one, other] = [expected(&workers[0], 1_100).unwrap(), expected(&workers[1], 1_100).unwrap()];
    assert_eq!(one, other);
    assert!((890_000..=900_000).contains(&one), "{one}");
    let mut updated = pace();
    updated.exchange(&mut stores[0]);
    assert_eq!(expected(&updated, 1_100), Some(one));
    assert_eq!(shelf.borrow().records.len(), 1, "of what nobody balances by speed there is no record");
}

#[test]
fn targets_that_nobody_balances_by_speed_cost_nothing() {
    let mut pace = pace();
    pace.begin(target(2), ms(0));
    pace.first_content(target(2), true, ms(0), ms(100));
    assert_eq!(pace.speed(target(2), true, ms(100)), Speed { stale: true, ..Speed::default() });
}

proptest! {
    #[test]
    fn any_record_is_read_or_passed_over(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Some(estimates) = decode(&bytes) {
            prop_assert_eq!(&encode(estimates)[..], &bytes[..]);
        }
    }

    #[test]
    fn an_estimate_stays_between_the_samples_whatever_the_clock_does(
        samples in proptest::collection::vec((1_u64..1_000_000_000, 0_u64..100_000), 1..50)
    ) {
        let mut estimate = Estimate::default();
        for (us, at) in &samples {
            estimate.observe(*us, ms(*at));
        }
        let (least, most) = (samples.iter().map(|s| s.0).min().unwrap(), samples.iter().map(|s| s.0).max().unwrap());
        prop_assert!((least.saturating_sub(1)..=most).contains(&estimate.us));
    }
}
