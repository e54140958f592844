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

fn speeds() -> SpeedView {
    SpeedView::new(&config::load(CONFIG.as_bytes(), &|_| None).unwrap())
}

fn ms(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + ms)
}

/// A stream to `a` with first content `took` milliseconds after its start, at `now`.
fn stream(speeds: &mut SpeedView, took: u64, now: u64) {
    speeds.begin(target(0), ms(now - took));
    speeds.first_content(target(0), true, ms(now - took), ms(now));
}

fn expected(speeds: &SpeedView, now: u64) -> Option<u64> {
    speeds.speed(target(0), true, ms(now)).expected_us
}

#[test]
fn a_slow_sample_counts_at_once_and_fades() {
    let mut speeds = speeds();
    assert_eq!(speeds.speed(target(0), true, ms(0)), Speed { stale: true, ..Speed::default() });
    stream(&mut speeds, 200, 1_000);
    assert_eq!(expected(&speeds, 1_000), Some(200_000));
    stream(&mut speeds, 3_000, 4_000);
    assert_eq!(expected(&speeds, 4_000), Some(3_000_000));
    // After the decay time a third of the difference is left, with one sample or ten.
    let mut often = SpeedView::new(&config::load(CONFIG.as_bytes(), &|_| None).unwrap());
    stream(&mut often, 3_000, 4_000);
    for at in (5_000..=14_000).step_by(1_000) {
        stream(&mut often, 200, at);
    }
    stream(&mut speeds, 200, 14_000);
    for speeds in [&speeds, &often] {
        let left = expected(speeds, 14_000).unwrap();
        assert!((1_200_000..1_260_000).contains(&left), "{left}");
    }
}

#[test]
fn waiting_attempts_raise_the_estimate_before_any_response() {
    let mut speeds = speeds();
    stream(&mut speeds, 200, 1_000);
    speeds.begin(target(0), ms(2_000));
    speeds.begin(target(0), ms(4_000));
    let speed = speeds.speed(target(0), true, ms(9_000));
    assert_eq!((speed.expected_us, speed.waiting), (Some(6_000_000), 2));
    // They end without content. The time waited is remembered.
    speeds.no_content(target(0), true, ms(2_000), ms(9_000));
    speeds.no_content(target(0), true, ms(4_000), ms(9_000));
    let speed = speeds.speed(target(0), true, ms(9_000));
    assert_eq!((speed.expected_us, speed.waiting), (Some(7_000_000), 0));
}

#[test]
fn a_quick_failure_does_not_make_a_target_look_fast() {
    let mut speeds = speeds();
    speeds.begin(target(0), ms(0));
    speeds.no_content(target(0), true, ms(0), ms(1));
    assert_eq!(expected(&speeds, 1), None);
    stream(&mut speeds, 500, 1_000);
    speeds.begin(target(0), ms(2_000));
    speeds.no_content(target(0), true, ms(2_000), ms(2_001));
    assert_eq!(expected(&speeds, 2_001), Some(500_000));
}

#[test]
fn non_streamed_responses_are_measured_per_token_and_apart_from_streams() {
    let mut speeds = speeds();
    speeds.answered(target(0), Duration::from_secs(10), 984, ms(0));
    assert_eq!(speeds.speed(target(0), false, ms(0)).expected_us, Some(10_000));
    assert_eq!(expected(&speeds, 0), None);
    speeds.answered(target(1), Duration::from_millis(160), 0, ms(0));
    assert_eq!(speeds.speed(target(1), false, ms(0)).expected_us, Some(10_000));
}

#[test]
fn workers_share_estimates_and_a_new_configuration_keeps_them() {
    let shelf: Rc<std::cell::RefCell<Shelf>> = Rc::default();
    let mut stores = [Memory::on(Rc::clone(&shelf)), Memory::on(Rc::clone(&shelf))];
    let mut workers = [speeds(), speeds()];
    stream(&mut workers[0], 900, 1_000);
    stream(&mut workers[1], 300, 1_050);
    for (worker, store) in workers.iter_mut().zip(&mut stores) {
        worker.exchange(store);
    }
    workers[0].exchange(&mut stores[0]);
    let [one, other] = [expected(&workers[0], 1_100).unwrap(), expected(&workers[1], 1_100).unwrap()];
    assert_eq!(one, other);
    assert!((890_000..=900_000).contains(&one), "{one}");
    let mut updated = speeds();
    updated.exchange(&mut stores[0]);
    assert_eq!(expected(&updated, 1_100), Some(one));
    assert_eq!(shelf.borrow().records.len(), 1, "only targets balanced by speed have a record");
}

#[test]
fn targets_not_balanced_by_speed_cost_no_host_call() {
    let mut speeds = speeds();
    speeds.begin(target(2), ms(0));
    speeds.first_content(target(2), true, ms(0), ms(100));
    assert_eq!(speeds.speed(target(2), true, ms(100)), Speed { stale: true, ..Speed::default() });
}

proptest! {
    #[test]
    fn a_record_of_any_bytes_decodes_or_is_ignored(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Some(estimates) = decode(&bytes) {
            prop_assert_eq!(&encode(estimates)[..], &bytes[..]);
        }
    }

    #[test]
    fn an_estimate_stays_between_its_samples_whatever_the_clock_does(
        samples in proptest::collection::vec((1_u64..1_000_000_000, 0_u64..100_000), 1..50)
    ) {
        let mut estimate = Estimate::default();
        for (us, at) in &samples {
            estimate.observe(*us, ms(*at));
        }
        let least = samples.iter().map(|s| s.0).min().unwrap();
            let most = samples.iter().map(|s| s.0).max().unwrap();
        prop_assert!((least.saturating_sub(1)..=most).contains(&estimate.us));
    }
}
