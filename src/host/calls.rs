//! How many calls to the host the streams of this VM make. Only a build of its own counts, with the feature
//! `count-host-calls`, for `make bench`; in any other the functions below are empty.

#[cfg(feature = "count-host-calls")]
pub use counting::{forget, note, report};

/// A call was made.
#[cfg(not(feature = "count-host-calls"))]
pub const fn note() {}

/// Hands the number to the host.
#[cfg(not(feature = "count-host-calls"))]
pub const fn report() {}

/// Drops what has been noted since the last report.
#[cfg(not(feature = "count-host-calls"))]
pub const fn forget() {}

#[cfg(feature = "count-host-calls")]
mod counting {
    use std::sync::atomic::{AtomicI64, Ordering};

    use crate::host::abi;
    use crate::record::MetricKind;

    static CALLS: AtomicI64 = AtomicI64::new(0);

    pub fn note() {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }

    /// Its own calls do not count.
    pub fn report() {
        let calls = CALLS.load(Ordering::Relaxed);
        if calls > 0
            && let Ok(id) = abi::define_metric(MetricKind::Counter, "llm_failsafe_host_calls")
        {
            let _ = abi::add_metric(id, calls);
        }
        forget();
    }

    pub fn forget() {
        CALLS.store(0, Ordering::Relaxed);
    }
}
