use super::{Candidate, Speed};
use crate::base::{TargetId, mix};

pub fn target(index: usize) -> TargetId {
    TargetId::from_index(index).unwrap()
}

/// A target of this weight with no attempts in flight.
pub fn idle(index: usize, weight: u32) -> Candidate {
    Candidate {
        target: target(index),
        name_hash: mix(index as u64 + 1),
        weight,
        pending: 0,
        speed: Speed::default(),
        cost: None,
        failing_permille: 0,
    }
}
