//! `least_pending`: the power of two choices (Mitzenmacher 2001). Of two candidates drawn at random, the one
//! with fewer attempts in flight wins.
//!
//! **Why two draws and not the least busy target of all.** What workers know of each other is up to a tick
//! old. A target that looks idle would get the next request of every worker at once. Two random draws spread
//! the requests and still keep the longest queue short.
//!
//! **Weights.** The draws follow the weights, so idle targets share the traffic by weight. Attempts in flight
//! are compared relative to the weight, so busy targets do the same.

use super::candidate::{Candidate, weighted};
use crate::base::{Random, TargetId};

pub fn choose<I>(candidates: I, rng: &mut impl Random) -> Option<TargetId>
where
    I: Iterator<Item = Candidate> + Clone,
{
    let first = weighted(candidates.clone(), rng)?;
    let others = candidates.filter(|candidate| candidate.target != first.target);
    let Some(second) = weighted(others, rng) else { return Some(first.target) };
    // Cross-multiplied, so that nothing is lost to rounding.
    let load = |of: Candidate, other: Candidate| u64::from(of.pending) * u64::from(other.weight);
    Some(if load(second, first) < load(first, second) { second.target } else { first.target })
}

#[cfg(test)]
mod tests {
    use super::super::test_support::*;
    use super::*;
    use crate::base::SplitMix64;

    #[test]
    fn the_target_with_fewer_attempts_for_its_weight_wins() {
        let check = |first: (u32, u32), second: (u32, u32), wanted: usize| {
            let candidates = [(0, first), (1, second)]
                .map(|(index, (weight, pending))| Candidate { pending, ..idle(index, weight) });
            for seed in 0..50 {
                let chosen = choose(candidates.into_iter(), &mut SplitMix64::new(seed));
                assert_eq!(chosen, Some(target(wanted)), "{candidates:?}");
            }
        };
        check((1, 5), (1, 4), 1);
        check((1, 4), (1, 5), 0);
        check((3, 5), (1, 2), 0);
        check((3, 7), (1, 2), 1);
    }

    #[test]
    fn idle_targets_share_by_weight() {
        let mut rng = SplitMix64::new(7);
        let mut first = 0_u32;
        for _ in 0..10_000 {
            let chosen = choose([idle(0, 3), idle(1, 1)].into_iter(), &mut rng);
            first += u32::from(chosen == Some(target(0)));
        }
        // Five standard deviations are 217.
        assert!(first.abs_diff(7_500) < 217, "{first}");
    }

    /// Four targets that serve one request at a time, one of them ten times slower. In steady state the queue
    /// of the slow target must not grow, which it would if requests went by weight alone.
    #[test]
    fn a_slow_target_gets_fewer_requests_instead_of_a_growing_queue() {
        let mut rng = SplitMix64::new(3);
        let service = [1.0_f64, 1.0, 1.0, 10.0];
        let mut queues = [0_u32; 4];
        let mut done = [0.0_f64; 4];
        let mut longest = 0;
        for step in 0..20_000 {
            // 2.5 requests a unit of time for a capacity of 3.1.
            let now = f64::from(step) / 2.5;
            for index in 0..4 {
                while queues[index] > 0 && done[index] <= now {
                    queues[index] -= 1;
                    done[index] += service[index];
                }
            }
            let candidates = [0, 1, 2, 3].map(|index| Candidate { pending: queues[index], ..idle(index, 1) });
            let chosen = choose(candidates.into_iter(), &mut rng).unwrap().index();
            if queues[chosen] == 0 {
                done[chosen] = now + service[chosen];
            }
            queues[chosen] += 1;
            longest = longest.max(queues[3]);
        }
        assert!(longest <= 8, "{longest}");
    }
}
