//! Whole journeys under random combinations of faults: providers that fail in every way, policies of every
//! kind, clients that leave, an edge that declines to retry, and what happens to the whole worker: pauses,
//! crashes, steps of the clock, a hop that closes, lost shared records. `scripts` and `disturbances` generate
//! the cases. `world` plays them in simulated time and asserts what must always hold.
//!
//! A failure prints the smallest case that fails and writes its seed to `proptest-regressions`, so the next run
//! plays it again. `PROPTEST_CASES=100000` plays more.

mod client;
mod disturbances;
mod scripts;
mod watch;
mod world;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use scripts::{all_ends, cases};
use world::World;

/// How many cases are played, unless `PROPTEST_CASES` asks for more.
const CASES: u32 = 2_000;

/// The setting of proptest, whose own default is 256 cases.
fn settings() -> ProptestConfig {
    let default = ProptestConfig { max_shrink_iters: 2_000, ..ProptestConfig::default() };
    ProptestConfig { cases: default.cases.max(CASES), ..default }
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn every_journey_stays_within_its_limits_and_ends_once_under_any_fault(case in cases()) {
        World::new(&case).run();
    }
}

/// The property above would prove little if the generated cases did not reach every kind of end.
#[test]
fn generated_cases_reach_every_kind_of_end() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..300 {
        let case = cases().new_tree(&mut runner).unwrap().current();
        for end in World::new(&case).run() {
            *seen.entry(end).or_insert(0_usize) += 1;
        }
    }
    for end in all_ends() {
        assert!(seen.get(end).is_some_and(|count| *count >= 5), "{end}: {seen:?}");
    }
}
