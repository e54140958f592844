//! Of two candidates drawn by weight, the one that is expected to answer first ([`Speed`]).
//!
//! Two and not all, for the same reason as in `least_pending`: the fastest of all would get the next requests of every
//! worker at once. What is expected is multiplied by what already waits there, for its weight, so that a target which
//! serves a few requests at a time is left before its answers show it.
//!
//! Of whom nothing is known is tried, one request at a time. What is known grows old where nothing is sent any more, and a
//! target that was slow would never be found well again; so one choice in [`CURIOUS`] takes what is old for unknown. That
//! bounds what looking costs: at most so many requests are slower than they had to be, with much traffic far fewer.

use super::{Candidate, Speed, weighted};
use crate::base::{Random, TargetId};

/// One choice in so many tries what has not been tried lately.
pub const CURIOUS: u64 = 32;

pub fn choose<I>(candidates: I, rng: &mut impl Random) -> Option<TargetId>
where
    I: Iterator<Item = Candidate> + Clone,
{
    let curious = rng.below(CURIOUS) == 0;
    let first = weighted(candidates.clone(), rng)?;
    let others = candidates.filter(|candidate| candidate.target != first.target);
    let Some(second) = weighted(others, rng) else { return Some(first.target) };
    let weights = f64::from(first.weight) + f64::from(second.weight);
    let expected = |candidate: Candidate| expected(candidate, weights / 2.0, curious);
    Some(if expected(second) < expected(first) { second.target } else { first.target })
}

/// Expected microseconds, behind what waits already. Nothing for whom nobody knows and nobody asks, to be tried before all;
/// for ever for whom nobody knows and somebody asks just now.
fn expected(candidate: Candidate, usual_weight: f64, curious: bool) -> f64 {
    let Speed { expected_us, stale, waiting } = candidate.speed;
    match expected_us.filter(|_| !(curious && stale)) {
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

    /// How many of 1,000 choices go to the second.
    fn second(candidates: [Candidate; 2]) -> u32 {
        let mut rng = SplitMix64::new(5);
        let chosen = (0..1000).map(|_| choose(candidates.into_iter(), &mut rng));
        u32::try_from(chosen.filter(|chosen| *chosen == Some(target(1))).count()).unwrap()
    }

    #[test]
    fn the_faster_one_is_chosen_unless_too_many_wait_there() {
        assert_eq!(second([known(0, 800, 0), known(1, 300, 0)]), 1000);
        assert_eq!(second([known(0, 800, 0), known(1, 300, 1)]), 1000);
        assert_eq!(second([known(0, 800, 0), known(1, 300, 2)]), 0);
        let heavy = Candidate { weight: 3, ..known(1, 300, 2) };
        assert_eq!(second([known(0, 800, 0), heavy]), 1000, "it takes more at a time");
    }

    #[test]
    fn the_unknown_is_tried_one_request_at_a_time() {
        assert_eq!(second([known(0, 300, 0), unknown(1, 0)]), 1000);
        assert_eq!(second([known(0, 300, 9), unknown(1, 1)]), 0);
    }

    #[test]
    fn what_is_old_is_tried_now_and_then() {
        let old =
            Candidate { speed: Speed { expected_us: Some(9_000), stale: true, waiting: 0 }, ..idle(1, 1) };
        let tried = second([known(0, 300, 0), old]);
        // 1 in 32 of 1,000; five standard deviations are 28.
        assert!(tried.abs_diff(31) < 28, "{tried}");
        let recent = Candidate { speed: Speed { stale: false, ..old.speed }, ..old };
        assert_eq!(second([known(0, 300, 0), recent]), 0);
    }
}
