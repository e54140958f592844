//! `fastest`: of two candidates drawn by weight, the one with the lower expected time ([`Speed`]).
//!
//! **Why two draws.** The reason is that of `least_pending`: with a view that is a tick old, the fastest of
//! all would get the next requests of every worker at once.
//!
//! **Load counts.** The expected time is multiplied by the attempts that already wait there, relative to the
//! weight. So a target that can serve only few requests at a time loses traffic before its measured times
//! rise.
//!
//! **Recovery.** A target without measurements is tried with one request at a time. A slow target gets no
//! requests, so its measurement grows stale and it would never be found fast again. Therefore one choice in
//! [`EXPLORE_ONE_IN`] treats a stale measurement as unknown. That bounds the cost: at most this share of
//! requests is slower than necessary, and much less under heavy traffic.

use super::candidate::{Candidate, weighted};
use super::speed::Speed;
use crate::base::{Random, TargetId};

/// One choice in this many explores a target with a stale measurement.
pub const EXPLORE_ONE_IN: u64 = 32;

pub fn choose<I>(candidates: I, rng: &mut impl Random) -> Option<TargetId>
where
    I: Iterator<Item = Candidate> + Clone,
{
    let explore = rng.below(EXPLORE_ONE_IN) == 0;
    let first = weighted(candidates.clone(), rng)?;
    let others = candidates.filter(|candidate| candidate.target != first.target);
    let Some(second) = weighted(others, rng) else { return Some(first.target) };
    let weights = f64::from(first.weight) + f64::from(second.weight);
    let expected = |candidate: Candidate| expected(candidate, weights / 2.0, explore);
    Some(if expected(second) < expected(first) { second.target } else { first.target })
}

/// Expected microseconds, including the attempts that already wait there. An unmeasured target counts as 0 if
/// no attempt is waiting there, so it is tried first, and as infinity otherwise.
fn expected(candidate: Candidate, usual_weight: f64, explore: bool) -> f64 {
    let Speed { expected_us, stale, waiting } = candidate.speed;
    match expected_us.filter(|_| !(explore && stale)) {
        None if waiting == 0 => 0.0,
        None => f64::INFINITY,
        Some(us) => {
            us as f64 * (f64::from(waiting) * usual_weight / f64::from(candidate.weight.max(1)) + 1.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::*;
    use super::*;
    use crate::base::SplitMix64;

    fn known(index: usize, us: u64, waiting: u32) -> Candidate {
        Candidate { speed: Speed { expected_us: Some(us), stale: false, waiting }, ..idle(index, 1) }
    }

    fn unknown(index: usize, waiting: u32) -> Candidate {
        Candidate { speed: Speed { expected_us: None, stale: true, waiting }, ..idle(index, 1) }
    }

    /// How many of 1,000 choices pick the second candidate.
    fn second(candidates: [Candidate; 2]) -> u32 {
        let mut rng = SplitMix64::new(5);
        let chosen = (0..1000).map(|_| choose(candidates.into_iter(), &mut rng));
        u32::try_from(chosen.filter(|chosen| *chosen == Some(target(1))).count()).unwrap()
    }

    #[test]
    fn the_faster_target_wins_unless_too_many_attempts_wait_there() {
        assert_eq!(second([known(0, 800, 0), known(1, 300, 0)]), 1000);
        assert_eq!(second([known(0, 800, 0), known(1, 300, 1)]), 1000);
        assert_eq!(second([known(0, 800, 0), known(1, 300, 2)]), 0);
        let heavy = Candidate { weight: 3, ..known(1, 300, 2) };
        assert_eq!(second([known(0, 800, 0), heavy]), 1000, "it takes more at a time");
    }

    #[test]
    fn an_unmeasured_target_gets_one_request_at_a_time() {
        assert_eq!(second([known(0, 300, 0), unknown(1, 0)]), 1000);
        assert_eq!(second([known(0, 300, 9), unknown(1, 1)]), 0);
    }

    #[test]
    fn a_stale_measurement_is_explored_now_and_then() {
        let old =
            Candidate { speed: Speed { expected_us: Some(9_000), stale: true, waiting: 0 }, ..idle(1, 1) };
        let tried = second([known(0, 300, 0), old]);
        // 1 in 32 of 1,000; five standard deviations are 28.
        assert!(tried.abs_diff(31) < 28, "{tried}");
        let recent = Candidate { speed: Speed { stale: false, ..old.speed }, ..old };
        assert_eq!(second([known(0, 300, 0), recent]), 0);
    }
}
