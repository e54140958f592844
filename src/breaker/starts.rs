//! The count of attempts that start during slow start (`ramp.rs`).

/// A slot that lies further ahead was noted before the clock stepped back.
const SLOTS_AHEAD: u64 = 4;
/// The first step allows the usual rate divided by this.
const FIRST_SHARE: u16 = 3;
/// Attempts that have started during slow start, and how many are usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ramp {
    /// Attempts in a slot before the breaker opened.
    pub(super) usual: u16,
    /// The newest slot in which an attempt has started, from the closing on.
    pub(super) slot: u64,
    /// Attempts that have started in it.
    pub(super) started: u16,
}

impl Ramp {
    /// The breaker has closed.
    pub(super) const fn begin(&mut self) {
        (self.slot, self.started) = (0, 0);
    }

    /// What has started in this slot, or in a later one that another worker has begun.
    pub(super) fn in_slot(self, slot: u64) -> Self {
        let is_current = (slot..=slot.saturating_add(SLOTS_AHEAD)).contains(&self.slot);
        if is_current { self } else { Self { slot, started: 0, ..self } }
    }

    /// How many attempts may start in a slot of this step.
    pub(super) fn allowed(self, step: u32) -> u32 {
        u32::from(self.usual.div_ceil(FIRST_SHARE).max(1)) << step.min(15)
    }
}
