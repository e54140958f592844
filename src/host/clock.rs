//! The clocks of this VM.
//!
//! What lasts is measured by Envoy's monotonic clock, because the wall clock may step. Workers compare times through shared data,
//! so all of them add the same number to it: what made it show wall time when the first VM read it.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::time::Duration;

use super::abi;
use crate::base::{CREATE, Timestamp, WallClock, WallTime};
use crate::journey::{LATE, TICK};

/// Where VMs share what they add to the monotonic clock, in milliseconds.
const BASE_KEY: &str = "llm-failsafe/clock";

thread_local! {
    static BASE_MS: OnceCell<u64> = const { OnceCell::new() };
    static LAST_READ: Cell<Timestamp> = Cell::default();
    static LAST_TICK: Cell<Option<Timestamp>> = const { Cell::new(None) };
    static WALL: Rc<Cell<WallClock>> = Rc::default();
}

/// Reads the clock that does not step.
pub fn now() -> Timestamp {
    let now = match abi::monotonic_ns() {
        Ok(ns) => {
            let ms = ns / 1_000_000;
            let base = BASE_MS.with(|base| *base.get_or_init(|| shared_base(ms)));
            Timestamp::from_millis(ms.wrapping_add(base))
        }
        // Envoy can be told to withhold it. Then a step of the wall clock is seen as time that passes.
        Err(_) => Timestamp::from_millis(wall_ms()),
    };
    LAST_READ.set(now);
    now
}

/// A time between now and one tick later, as long as ticks are on time. It spares a host call in callbacks whose limits are
/// measured in seconds. It errs on the late side, so no limit expires too soon.
pub fn about_now() -> Timestamp {
    let last_read = LAST_READ.get();
    if last_read == Timestamp::default() { now() } else { last_read.after(TICK) }
}

/// What the wall clock shows, for the calendar. Each tick reads it.
pub fn wall() -> Rc<Cell<WallClock>> {
    WALL.with(Rc::clone)
}

/// Reads the wall clock, which may have stepped.
pub fn read_wall(now: Timestamp) {
    WALL.with(|wall| wall.set(WallClock::shows(WallTime::from_millis(wall_ms()), now)));
}

/// The first tick comes a tick from now.
pub fn start_ticking() {
    LAST_TICK.set(Some(now()));
}

/// A tick has come. Returns for how long the VM could do nothing before it, if that was long: the process was stopped, or
/// the worker busy.
pub fn pause_before_tick(now: Timestamp) -> Option<Duration> {
    let passed = now.since(LAST_TICK.replace(Some(now))?);
    (passed > LATE).then(|| passed.saturating_sub(TICK))
}

fn wall_ms() -> u64 {
    abi::now_ns() / 1_000_000
}

/// The number that all VMs of this process add: the first one notes it, and no other can replace it.
fn shared_base(monotonic_ms: u64) -> u64 {
    let noted = || Some(u64::from_le_bytes(abi::shared_data(BASE_KEY).ok()?.0.try_into().ok()?));
    noted().unwrap_or_else(|| {
        let base = wall_ms().wrapping_sub(monotonic_ms);

        let _ = abi::set_shared_data(BASE_KEY, &base.to_le_bytes(), CREATE);
        noted().unwrap_or(base)
    })
}
