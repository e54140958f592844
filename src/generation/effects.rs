//! The effects that a step may have besides changing its own request.

use crate::base::{SplitMix64, Store};
use crate::record::{Metric, Tally};

/// What a step may change besides its own request: the data that workers share, counters, and the random
/// source.
pub struct Effects<'a> {
    /// The data that workers share.
    pub store: &'a mut dyn Store,
    /// Counters that the host gets with the next tick.
    pub tally: &'a mut Tally,
    /// The random source.
    pub rng: &'a mut SplitMix64,
}

impl Effects<'_> {
    /// Counts a change that holds in this worker only, because shared data could not be changed.
    pub fn note_shared(&mut self, shared: bool) {
        if !shared {
            self.tally.count(Metric::SharedDataFailed);
        }
    }
}
