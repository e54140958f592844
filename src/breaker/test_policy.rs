use std::time::Duration;

use crate::config::BreakerPolicy;

/// The policy of tests that do not set their own.
pub fn policy() -> BreakerPolicy {
    BreakerPolicy {
        window: Duration::from_secs(60),
        min_requests: 10,
        failure_permille: 500,
        consecutive: 5,
        open: Duration::from_secs(30),
        open_max: Duration::from_secs(240),
        probes: 1,
        close_after: 2,
        probe_lease: Duration::from_secs(20),
        slow_start: Duration::from_secs(10),
        ..BreakerPolicy::default()
    }
}
