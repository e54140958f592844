//! The clock of this VM.

use std::cell::Cell;
use std::time::Duration;

use super::abi;
use crate::base::Timestamp;

/// How often Envoy calls `on_tick`.
pub const TICK: Duration = Duration::from_millis(100);

thread_local! {
    static LAST_READ: Cell<Timestamp> = Cell::default();
}

/// Reads Envoy's clock.
pub fn now() -> Timestamp {
    let now = Timestamp::from_millis(abi::now_ns() / 1_000_000);
    LAST_READ.set(now);
    now
}

/// A time between now and one tick later, as long as ticks are on time. It spares a host call in callbacks whose limits are
/// measured in seconds. It errs on the late side, so no limit expires too soon.
pub fn about_now() -> Timestamp {
    let last_read = LAST_READ.get();
    if last_read == Timestamp::default() { now() } else { last_read.after(TICK) }
}
