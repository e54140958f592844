//! Counts the calls to the host. Only a build with the feature `count-host-calls` counts; in any other
//! build the functions below are empty.

#[cfg(feature = "count-host-calls")]
pub use counting::{note, take};

/// Counts one call.
#[cfg(not(feature = "count-host-calls"))]
pub const fn note() {}

/// The number of calls since the last `take`.
#[cfg(not(feature = "count-host-calls"))]
pub const fn take() -> i64 {
    0
}

#[cfg(feature = "count-host-calls")]
mod counting {
    use std::sync::atomic::{AtomicI64, Ordering};

    static CALLS: AtomicI64 = AtomicI64::new(0);

    pub fn note() {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }

    pub fn take() -> i64 {
        CALLS.swap(0, Ordering::Relaxed)
    }
}
