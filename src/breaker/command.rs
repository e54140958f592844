//! What an operator's command does to a breaker.

use super::health::Health;
use super::state::{BreakerPhase, Command, MAX_PROBES, Order};
use crate::base::Timestamp;

impl Health {
    /// Carries out an operator's command.
    pub fn command(&mut self, command: Command, now: Timestamp) {
        match command {
            Command::ForceOpen => self.order = Some(Order::ForcedOpen),
            Command::ForceClosed => self.order = Some(Order::ForcedClosed),
            Command::Drain => self.order = Some(Order::Drained),
            Command::Undo => self.order = None,
            Command::Reset => {
                let generation = self.generation.wrapping_add(1);
                *self = Self { generation, ..Self::default() };
            }
            Command::Probe => {
                self.throttle = None;
                match &mut self.phase {
                    BreakerPhase::Open { until, .. } => *until = now,
                    BreakerPhase::HalfOpen { leases, .. } => *leases = [None; MAX_PROBES],
                    BreakerPhase::Closed { .. } => {}
                }
            }
        }
    }
}
