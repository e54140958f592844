//! `cheapest`: the candidate with the lowest estimated cost for this request.
//!
//! A target without a price comes last, because its cost is unknown. Several targets often cost the same, for
//! example the accounts of one provider. Among those, the target with the lower failure rate wins. Targets
//! with a similar failure rate share the requests by weight.

use super::candidate::{Candidate, weighted};
use crate::base::{Random, TargetId};

/// Failure rates are compared in steps of this size. Smaller differences are chance.
const STEP_PERMILLE: u16 = 50;

pub fn choose<I>(candidates: I, rng: &mut impl Random) -> Option<TargetId>
where
    I: Iterator<Item = Candidate> + Clone,
{
    let best = candidates.clone().filter(|candidate| candidate.weight > 0).map(rank).min()?;
    weighted(candidates.filter(|candidate| rank(*candidate) == best), rng).map(|chosen| chosen.target)
}

/// The lowest rank wins.
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
    fn the_cheapest_target_gets_every_request() {
        let candidates =
            [at(0, 9, Some(30), 0), at(1, 1, Some(10), 400), at(2, 9, Some(20), 0), at(3, 9, None, 0)];
        assert_eq!(counts(&candidates), [0, 1000, 0, 0]);
        assert_eq!(counts(&[at(0, 1, None, 0), at(1, 1, Some(u64::MAX - 1), 0)]), [0, 1000, 0, 0]);
    }

    #[test]
    fn equal_costs_prefer_the_lower_failure_rate_then_share_by_weight() {
        let counts = counts(&[at(0, 1, Some(10), 310), at(1, 1, Some(10), 20), at(2, 3, Some(10), 0)]);
        assert_eq!(counts[0], 0);
        // Five standard deviations are 69.
        assert!(counts[1].abs_diff(250) < 69, "{counts:?}");
    }
}
