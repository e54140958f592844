//! `sticky`: rendezvous hashing (Thaler and Ravishankar 1998) with weights. Each session ranks all targets by
//! a hash of both names and goes to the highest-ranked target that can take it.
//!
//! **Why not a table of sessions.** There is nothing to store, share between workers or expire, and every
//! worker ranks alike.
//!
//! **Why not a hash ring.** When a target is lost, only its own sessions move, spread over all others. When
//! it recovers, they return. That keeps the prompt caches at the providers warm.
//!
//! **Weights** follow Schindelhauer and Schomaker (2005): among independent exponential variables with rates
//! w, a target's variable is the smallest with probability w/Σw. A changed weight moves only as many sessions
//! as necessary.

use super::candidate::Candidate;
use super::session::Session;
use crate::base::TargetId;

pub fn choose(session: Session, candidates: impl Iterator<Item = Candidate>) -> Option<TargetId> {
    let ranked = candidates
        .filter(|candidate| candidate.weight > 0)
        .map(|candidate| (draw(session, candidate), candidate.target));
    ranked.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, target)| target)
}

/// An exponential variable of rate `weight`, determined by the session and the target's name alone.
fn draw(session: Session, candidate: Candidate) -> f64 {
    // The upper 53 bits, as many as a double holds, moved off zero: in (0, 1).
    let uniform = ((session.hash_with(candidate.name_hash) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -uniform.ln() / f64::from(candidate.weight)
}

#[cfg(test)]
mod tests {
    use super::super::test_support::*;
    use super::*;
    use proptest::prelude::*;

    fn at(session: u64, candidates: &[Candidate]) -> TargetId {
        choose(Session::of(session), candidates.iter().copied()).unwrap()
    }

    fn of_weights(weights: &[u32]) -> Vec<Candidate> {
        weights.iter().enumerate().map(|(index, weight)| idle(index, *weight)).collect()
    }

    fn without(candidates: &[Candidate], lost: usize) -> Vec<Candidate> {
        candidates.iter().copied().filter(|candidate| candidate.target != target(lost)).collect()
    }

    proptest! {
        #[test]
        fn a_lost_target_moves_only_its_own_sessions(
            weights in proptest::collection::vec(1_u32..1000, 2..12),
            lost in any::<usize>(),
            sessions in proptest::collection::vec(any::<u64>(), 1..200)
        ) {
            let candidates = of_weights(&weights);
            let lost = lost % candidates.len();
            let left = without(&candidates, lost);
            for session in sessions {
                let (before, meanwhile) = (at(session, &candidates), at(session, &left));
                prop_assert!(before == meanwhile || before == target(lost));
                prop_assert!(meanwhile != target(lost));
            }
        }

        #[test]
        fn a_growing_weight_only_attracts_sessions(
            weights in proptest::collection::vec(1_u32..1000, 2..12),
            session in any::<u64>(), grown in any::<usize>(), by in 1_u32..1000
        ) {
            let before = of_weights(&weights);
            let mut after = before.clone();
            let grown = grown % after.len();
            after[grown].weight += by;
            let (was, is) = (at(session, &before), at(session, &after));
            prop_assert!(is == was || is == target(grown));
        }

        #[test]
        fn the_order_of_the_candidates_does_not_matter(session in any::<u64>()) {
            let forth: Vec<_> = (0..8).map(|index| idle(index, 1 + index as u32)).collect();
            let back: Vec<_> = forth.iter().rev().copied().collect();
            prop_assert_eq!(at(session, &forth), at(session, &back));
        }
    }

    #[test]
    fn sessions_spread_by_weight_and_a_lost_target_s_sessions_over_all_others() {
        let candidates = [idle(0, 1), idle(1, 2), idle(2, 3), idle(3, 4)];
        let left = without(&candidates, 3);
        let (mut counts, mut heirs) = ([0_u32; 4], [0_u32; 3]);
        for session in 0..10_000 {
            let home = at(session, &candidates);
            counts[home.index()] += 1;
            if home == target(3) {
                heirs[at(session, &left).index()] += 1;
            }
        }
        // Five standard deviations of a binomial are at most 245 of 10,000 and 158 of 4,000.
        for (count, expected) in counts.into_iter().zip([1_000, 2_000, 3_000, 4_000]) {
            assert!(count.abs_diff(expected) < 245, "{counts:?}");
        }
        for (count, expected) in heirs.into_iter().zip([667, 1_333, 2_000]) {
            assert!(count.abs_diff(expected) < 158, "{heirs:?}");
        }
    }
}
