use std::time::Duration;

/// A point in wall time, in whole milliseconds since the Unix epoch.
///
/// The host's clock may step back, so every operation saturates instead of wrapping or panicking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The time `ms` milliseconds after the epoch.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The time since `earlier`; zero if the clock has stepped back before it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This time plus `span`, saturating.
    pub const fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }
}

/// Whole milliseconds, saturating. [`Duration::as_millis`] needs 128 bits, which Wasm has not.
/// So does `saturating_mul`.
pub const fn millis(span: Duration) -> u64 {
    if span.as_secs() >= u64::MAX / 1000 {
        return u64::MAX;
    }
    span.as_secs() * 1000 + span.subsec_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_since_a_later_timestamp_is_zero() {
        assert_eq!(Timestamp::from_millis(5).since(Timestamp::from_millis(9)), Duration::ZERO);
    }

    #[test]
    fn millis_are_whole_and_saturate() {
        for span in [
            Duration::ZERO,
            Duration::from_micros(999),
            Duration::from_micros(1_001_999),
            Duration::from_millis(u64::MAX),
            Duration::MAX,
        ] {
            assert_eq!(millis(span), u64::try_from(span.as_millis()).unwrap_or(u64::MAX), "{span:?}");
        }
    }

    #[test]
    fn adding_saturates() {
        assert_eq!(Timestamp::from_millis(u64::MAX - 1).after(Duration::MAX).as_millis(), u64::MAX);
    }
}
