//! Chooses among the targets that may take a request.
//!
//! Ineligible targets (`fallback`) and unhealthy ones (`breaker`) are filtered out first. The strategy comes
//! last. Each strategy is a pure function of the candidates and a random source; the same source gives the
//! same choices.
//!
//! Candidates are iterated and never collected, so a choice allocates nothing. A tier has only a few of them.
//!
//! The folder decides neither whether a target may take a request nor whether it is healthy.

mod adaptive;
mod candidate;
mod cheapest;
mod configured;
mod demand;
mod fastest;
mod headroom;
mod least_pending;
mod place;
mod places;
mod reported;
mod room;
mod session;
mod speed;
mod sticky;
#[cfg(test)]
mod test_support;

pub use adaptive::{LoadSign, LoadSignal, Pace};
pub use candidate::Candidate;
#[cfg(test)]
pub use configured::Minute;
pub use demand::Demand;
pub use headroom::{CountedRequest, Headroom, Limit};
pub use places::Places;
pub use room::{InFlight, LimitKind, Room, Shortage};
pub use session::{Session, SessionHints};
pub use speed::{Speed, SpeedView};

use candidate::weighted;

use crate::base::{Random, TargetId};
use crate::config::Balance;

/// Chooses one of the candidates; `None` when there is none.
pub fn choose<I>(
    how: &Balance,
    session: Option<Session>,
    candidates: I,
    rng: &mut impl Random,
) -> Option<TargetId>
where
    I: Iterator<Item = Candidate> + Clone,
{
    match (how, session) {
        (Balance::LeastPending, _) => least_pending::choose(candidates, rng),
        (Balance::Fastest, _) => fastest::choose(candidates, rng),
        (Balance::Cheapest, _) => cheapest::choose(candidates, rng),
        (Balance::Sticky { .. }, Some(session)) => sticky::choose(session, candidates),
        // A request without a session may go to any target.
        (Balance::Weighted | Balance::Sticky { .. }, _) => {
            weighted(candidates, rng).map(|chosen| chosen.target)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::test_support::*;
    use super::*;
    use crate::base::SplitMix64;

    #[test]
    fn shares_follow_the_weights() {
        let candidates = [idle(0, 1), idle(1, 3), idle(2, 0), idle(3, 6)];
        let mut rng = SplitMix64::new(42);
        let mut counts = [0_u32; 4];
        for _ in 0..10_000 {
            let chosen = choose(&Balance::Weighted, None, candidates.iter().copied(), &mut rng);
            counts[chosen.unwrap().index()] += 1;
        }
        assert_eq!(counts[2], 0, "weight zero is never chosen");
        // Five standard deviations of a binomial with n = 10,000 are at most 250.
        for (index, expected) in [(0, 1_000), (1, 3_000), (3, 6_000)] {
            assert!(counts[index].abs_diff(expected) < 250, "{counts:?}");
        }
    }

    #[test]
    fn the_same_seed_repeats_its_choices() {
        let candidates = [idle(0, 2), idle(1, 2), idle(2, 2)];
        for how in [Balance::Weighted, Balance::LeastPending, Balance::Fastest, Balance::Cheapest] {
            let run = || {
                let mut rng = SplitMix64::new(9);
                (0..50).map(|_| choose(&how, None, candidates.into_iter(), &mut rng)).collect::<Vec<_>>()
            };
            assert_eq!(run(), run());
        }
    }

    #[test]
    fn no_candidate_gives_none_and_a_single_candidate_is_always_chosen() {
        let rng = &mut SplitMix64::new(1);
        let session = Some(Session::of(1));
        for how in [
            Balance::Weighted,
            Balance::LeastPending,
            Balance::Fastest,
            Balance::Cheapest,
            Balance::Sticky { by: Vec::new() },
        ] {
            assert_eq!(choose(&how, session, std::iter::empty(), rng), None);
            assert_eq!(choose(&how, session, std::iter::once(idle(3, 7)), rng), Some(target(3)));
        }
    }
}
