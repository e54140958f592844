//! The candidate at which the request is estimated to cost least.
//!
//! A target without a price is taken last: what it costs may be anything. Of several that cost the same, which is the rule
//! among accounts of one provider, the healthier one is taken, and of those that fail alike one by weight.

use super::{Candidate, weighted};
use crate::base::{Random, TargetId};

/// Failures are told apart in steps of so many per mille: what differs less is chance.
const STEP_PERMILLE: u16 = 50;

pub fn choose<I>(candidates: I, rng: &mut impl Random) -> Option<TargetId>
where
    I: Iterator<Item = Candidate> + Clone,
{
    let best = candidates.clone().filter(|candidate| candidate.weight > 0).map(rank).min()?;
    weighted(candidates.filter(|candidate| rank(*candidate) == best), rng).map(|chosen| chosen.target)
}

/// Less is better.
fn rank(candidate: Candidate) -> (u64, u16) {
    let cost = candidate.cost.map_or(u64::MAX, |cost| cost.micros());
    (cost, candidate.failing_permille / STEP_PERMILLE)
}

#[cfg(test)]
mod tests {
    use super::super::test_support::*;
    use super::*;
    use crate::base::{MicroDollars, SplitMix64};

    fn at(index: usize, weight: u32, cost: Option<u64>, failing_permille: u16) -> Candidate {
        Candidate { cost: cost.map(MicroDollars::new), failing_permille, ..idle(index, weight) }
    }

    fn counts(candidates: &[Candidate]) -> [u32; 4] {
        let mut rng = SplitMix64::new(11);
        let mut counts = [0; 4];
        for _ in 0..1000 {
            counts[choose(candidates.iter().copied(), &mut rng).unwrap().index()] += 1;
        }
        counts
    }

    #[test]
    fn the_cheapest_gets_everything() {
        let candidates =
            [at(0, 9, Some(30), 0), at(1, 1, Some(10), 400), at(2, 9, Some(20), 0), at(3, 9, None, 0)];
        assert_eq!(counts(&candidates), [0, 1000, 0, 0]);
        assert_eq!(counts(&[at(0, 1, None, 0), at(1, 1, Some(u64::MAX - 1), 0)]), [0, 1000, 0, 0]);
    }

    #[test]
    fn of_those_that_cost_the_same_the_healthier_ones_by_weight() {
        let counts = counts(&[at(0, 1, Some(10), 310), at(1, 1, Some(10), 20), at(2, 3, Some(10), 0)]);
        assert_eq!(counts[0], 0);
        // Five standard deviations are 69.
        assert!(counts[1].abs_diff(250) < 69, "{counts:?}");
    }
}
