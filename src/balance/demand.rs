//! What a request takes from the limits of a target.

use crate::base::Tokens;
use crate::provider::Meter;

/// What a request takes from a target's limits, by [`Meter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand(pub(super) [u64; Meter::COUNT]);

impl Demand {
    /// One request of so many tokens.
    pub const fn of(tokens: Tokens) -> Self {
        Self::of_several(1, tokens)
    }

    pub(super) const NOTHING: Self = Self([0; Meter::COUNT]);

    /// So many requests of so many tokens in all.
    pub(super) const fn of_several(requests: u64, tokens: Tokens) -> Self {
        Self([requests, tokens.total(), tokens.input, tokens.output])
    }

    pub(super) fn plus(mut self, other: Self) -> Self {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(more);
        }
        self
    }

    /// Its tokens, input and output.
    pub fn total(self) -> u64 {
        self.at(Meter::Tokens)
    }

    pub(super) fn at(self, meter: Meter) -> u64 {
        self.0.get(meter as usize).copied().unwrap_or(0)
    }
}
