use std::time::Duration;

/// A point in time for everything that lasts: limits, open breakers, windows. In whole milliseconds.
///
/// It shows wall time as it was when Envoy started, plus the time that has passed since. The wall clock may
/// step, this one does not. [`WallClock`] turns it into the time of the calendar. Every operation saturates
/// instead of wrapping or panicking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The time `ms` milliseconds after the epoch.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch, as long as the wall clock has not stepped.
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

/// A point of the calendar, in whole milliseconds since the Unix epoch.
///
/// Only what people and providers mean by a date needs it: the start of a request in its record, days of budgets, the end of a
/// key, moments in providers' headers. It may step, so nothing is measured by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct WallTime(u64);

impl WallTime {
    /// The time `ms` milliseconds after the epoch.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The time since `earlier`; zero if that comes later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// How far the wall clock is ahead of the clock that never steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WallClock {
    ahead_ms: i64,
}

impl WallClock {
    /// The wall clock shows `wall` at `at`.
    pub const fn shows(wall: WallTime, at: Timestamp) -> Self {
        Self { ahead_ms: wall.0.wrapping_sub(at.0) as i64 }
    }

    /// What the calendar says at `at`.
    pub const fn at(self, at: Timestamp) -> WallTime {
        WallTime(at.0.saturating_add_signed(self.ahead_ms))
    }
}

/// A moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// For what lasts.
    pub at: Timestamp,
    /// For the calendar.
    pub wall: WallTime,
}

/// For tests in which both clocks agree.
#[cfg(any(test, feature = "test-support"))]
impl Timestamp {
    /// The time of the calendar.
    pub fn wall(self) -> WallTime {
        WallClock::default().at(self)
    }

    /// Both.
    pub fn moment(self) -> Moment {
        Moment { at: self, wall: self.wall() }
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
    fn the_calendar_follows_the_wall_clock_wherever_it_steps() {
        let at = Timestamp::from_millis;
        for wall in [0, 1, 999, 1000, 1_001, u64::MAX / 2] {
            let clock = WallClock::shows(WallTime::from_millis(wall), at(1000));
            assert_eq!(clock.at(at(1000)).as_millis(), wall);
            assert_eq!(clock.at(at(1500)).as_millis(), wall + 500);
        }
        assert_eq!(WallClock::default().at(at(7)).as_millis(), 7);
        assert_eq!(WallClock::shows(WallTime::default(), at(1000)).at(at(400)).as_millis(), 0, "saturates");
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
