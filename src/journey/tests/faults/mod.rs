//! Whole journeys under faults that nobody would think of together: providers that fail in every way, policies of every kind,
//! clients that leave, an edge that does not come back. `scripts` says what may happen, `world` lets it happen in a time of its
//! own and watches; what must hold whatever happens is asserted there.

mod scripts;
mod world;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use scripts::{cases, named};
use world::World;

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2_000, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn whatever_fails_every_journey_keeps_to_its_bounds_and_ends_once(case in cases()) {
        World::new(&case).run();
    }
}

/// The world would not notice anything if nothing happened in it.
#[test]
fn what_is_played_comes_to_every_kind_of_end() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..300 {
        let case = cases().new_tree(&mut runner).unwrap().current();
        for end in World::new(&case).run() {
            *seen.entry(end).or_insert(0_usize) += 1;
        }
    }
    for end in named() {
        assert!(seen.get(end).is_some_and(|count| *count >= 5), "{end}: {seen:?}");
    }
}
