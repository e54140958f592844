//! Choosing among the targets that may take a request.
//!
//! Whoever may not take it (`fallback`) or is not well enough (`breaker`) has been left out before. The same random
//! source gives the same choices.

use crate::base::{Random, TargetId};

/// Picks one candidate with a probability proportional to its weight; `None` when there is none to pick.
///
/// The candidates are walked twice and never collected, so a choice allocates nothing.
pub fn weighted<I>(candidates: I, rng: &mut impl Random) -> Option<TargetId>
where
    I: Iterator<Item = (TargetId, u32)> + Clone,
{
    let total: u64 = candidates.clone().map(|(_, weight)| u64::from(weight)).sum();
    let mut ticket = rng.below(total);
    for (target, weight) in candidates {
        match ticket.checked_sub(u64::from(weight)) {
            Some(rest) => ticket = rest,
            None => return Some(target),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SplitMix64;

    fn target(index: usize) -> TargetId {
        TargetId::from_index(index).unwrap()
    }

    #[test]
    fn shares_follow_the_weights() {
        let candidates = [(target(0), 1), (target(1), 3), (target(2), 0), (target(3), 6)];
        let mut rng = SplitMix64::new(42);
        let mut counts = [0_u32; 4];
        for _ in 0..10_000 {
            counts[weighted(candidates.iter().copied(), &mut rng).unwrap().index()] += 1;
        }
        assert_eq!(counts[2], 0, "weight zero is never chosen");
        // Five standard deviations of a binomial with n = 10,000 are at most 250.
        for (index, expected) in [(0, 1_000), (1, 3_000), (3, 6_000)] {
            assert!(counts[index].abs_diff(expected) < 250, "{counts:?}");
        }
    }

    #[test]
    fn a_seed_repeats_its_choices() {
        let candidates = [(target(0), 2), (target(1), 2), (target(2), 2)];
        let run = || {
            let mut rng = SplitMix64::new(9);
            (0..50).map(|_| weighted(candidates.iter().copied(), &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
    }

    #[test]
    fn nobody_is_chosen_from_nobody() {
        assert_eq!(weighted(std::iter::empty(), &mut SplitMix64::new(1)), None);
    }
}
