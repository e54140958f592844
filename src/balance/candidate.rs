use super::speed::Speed;
use crate::base::{MicroDollars, Random, TargetId};

/// A target that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The target.
    pub target: TargetId,
    /// Hash of its name: the same in every worker and every configuration.
    pub name_hash: u64,
    /// Its configured weight; in thousandths while only a share of the weight applies.
    pub weight: u32,
    /// Attempts in flight there, over all workers.
    pub pending: u32,
    /// How fast it answers.
    pub speed: Speed,
    /// Estimated cost of the request there, if prices are known.
    pub cost: Option<MicroDollars>,
    /// Recent attempts that failed, of 1000.
    pub failing_permille: u16,
}

/// One candidate, with a probability proportional to its weight.
pub(super) fn weighted<I>(candidates: I, rng: &mut impl Random) -> Option<Candidate>
where
    I: Iterator<Item = Candidate> + Clone,
{
    let total: u64 = candidates.clone().map(|candidate| u64::from(candidate.weight)).sum();
    let mut ticket = rng.below(total);
    for candidate in candidates {
        match ticket.checked_sub(u64::from(candidate.weight)) {
            Some(rest) => ticket = rest,
            None => return Some(candidate),
        }
    }
    None
}
