//! What happens to the whole worker in the middle of a case: pauses, crashes, steps of the wall clock, a close of
//! the connection that all requests share, lost shared records.

use proptest::prelude::*;

use super::watch::STEP_MS;

/// What happens.
#[derive(Debug, Clone, Copy)]
pub(super) enum Disturbance {
    /// The process is stopped for so many milliseconds.
    Pause(u64),
    /// The VM crashes, and another takes its place.
    Crash,
    /// The wall clock is set, by so many milliseconds off.
    SetClock(i64),
    /// Envoy closes the connection of the hop.
    CloseHop,
    /// Another process takes the place of this one without its shared data.
    LoseShared,
}

pub(super) fn disturbances() -> impl Strategy<Value = Vec<(u64, Disturbance)>> {
    let hour = 3_600_000_i64;
    let one = prop_oneof![
        3 => prop_oneof![1_u64..50, 100_u64..500, Just(6_000)].prop_map(|steps| Disturbance::Pause(steps * STEP_MS)),
        1 => Just(Disturbance::Crash),
        1 => prop::sample::select(vec![hour, -hour, 35_000, -35_000]).prop_map(Disturbance::SetClock),
        1 => Just(Disturbance::CloseHop),
        1 => Just(Disturbance::LoseShared),
    ];
    let some = prop::collection::vec((0_u64..3_000, one), 1..4).prop_map(|mut all| {
        all.sort_by_key(|(at_ms, _)| *at_ms);
        all
    });
    prop_oneof![1 => Just(Vec::new()), 1 => some]
}
