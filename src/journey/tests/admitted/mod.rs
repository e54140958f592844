//! Everything that an attempt takes is returned or settled exactly once: breaker leases, counts
//! against configured limits, the reservation in the client key's budget, positions in queues, and
//! counts of what is under way.
//!
//! `script` says what may happen. `world` plays it on two workers that share their data. `expected`
//! keeps its own account of what was sent and what it cost. `checks` compares the filter's counts
//! with that account.

mod checks;
mod expected;
mod host;
mod script;
mod world;

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use crate::record::Metric;
use script::cases;
use world::World;

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 3_000, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn everything_taken_is_returned_or_settled_exactly_once(case in cases()) {
        World::new(&case).run();
    }
}

/// The property would hold if nothing happened.
#[test]
fn the_random_journeys_reach_everything_that_takes_or_returns() {
    const METRICS: [(Metric, i64); 15] = [
        (Metric::Attempts, 500),
        (Metric::Waits, 25),
        (Metric::BreakerOpened, 50),
        (Metric::BreakerProbes, 50),
        (Metric::BreakerReopened, 10),
        (Metric::BreakerClosed, 10),
        (Metric::TriedAnyway, 10),
        (Metric::ShadowWouldMove, 10),
        (Metric::BudgetRefusals, 25),
        (Metric::FleetRefusals, 15),
        (Metric::ClientAborts, 100),
        (Metric::JourneysOrphaned, 25),
        (Metric::JourneysFull, 10),
        (Metric::QueueTimeouts, 2),
        (Metric::Alarms, 20),
    ];
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut counts, mut events) = ([0_i64; METRICS.len()], BTreeMap::new());
    for _ in 0..150 {
        let case = cases().new_tree(&mut runner).unwrap().current();
        let seen = World::new(&case).run();
        for (metric, delta) in seen.metrics {
            let known = METRICS.iter().position(|(known, _)| *known == metric);
            known.into_iter().for_each(|place| counts[place] += delta);
        }
        for event in seen.events {
            *events.entry(event).or_insert(0) += 1;
        }
    }
    for ((metric, least), count) in METRICS.iter().zip(counts) {
        assert!(count >= *least, "{metric:?}: {count}");
    }
    for event in world::EVENTS {
        assert!(events.get(event).is_some_and(|count| *count >= 2), "{event}: {events:?}");
    }
}
