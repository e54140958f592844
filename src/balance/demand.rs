//! What a request takes from the limits of a target.

use crate::base::Tokens;
use crate::provider::Meter;

/// What a request takes from a target's limits, by [`Meter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand(pub(super) [u64; Meter::COUNT]);

impl Demand {
    /// One request of so many tokens.
    pub const fn of(tokens: Tokens) -> Self {
        Self([1, tokens.total(), tokens.input, tokens.output])
    }

    /// Its tokens, input and output.
    pub fn total(self) -> u64 {
        self.at(Meter::Tokens)
    }

    pub(super) fn at(self, meter: Meter) -> u64 {
        self.0.get(meter as usize).copied().unwrap_or(0)
    }
}
