//! The minimum rate of a stream's content.
//!
//! **Why.** A provider in trouble may still send a token now and then, so that no idle limit is reached.
//!
//! **What is counted.** Events with content. Tokens cannot be counted before the provider reports them, and
//! bytes are mostly envelope. The times of the last few events are kept, so the check is exact and bounded:
//! in any window, fewer events than the minimum end the stream, and exactly the minimum does not. The
//! `content_idle` limit is the special case of one event.
//!
//! **When does it begin?** With the first content. Before that another limit applies.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::Timestamp;
use crate::config::MinRate;

/// The times of the last events with content of one stream, as many as the minimum.
#[derive(Debug, Clone)]
pub struct MinimumRate {
    minimum: MinRate,
    /// Times of the events, oldest first. Until there are enough events, the time of the first one fills the
    /// rest.
    recent: VecDeque<Timestamp>,
}

impl MinimumRate {
    /// A stream without content.
    pub const fn new(minimum: MinRate) -> Self {
        Self { minimum, recent: VecDeque::new() }
    }

    /// At least one event with content has come.
    pub fn content(&mut self, events: u64, now: Timestamp) {
        let most = usize::from(self.minimum.events);
        // The window begins with the first content: another limit covers the time before it.
        let more = if self.recent.is_empty() { most } else { usize::try_from(events.max(1)).unwrap_or(most) };
        let now = self.recent.back().map_or(now, |last| now.max(*last));
        for _ in 0..more.min(most) {
            if self.recent.len() == most {
                self.recent.pop_front();
            }
            self.recent.push_back(now);
        }
    }

    /// Nothing could be read for this long before `now`.
    pub fn excuse(&mut self, pause: Duration, now: Timestamp) {
        self.recent.iter_mut().for_each(|at| *at = at.after(pause).min(now));
    }

    /// When the rate falls below the minimum if no more content comes.
    pub fn due(&self) -> Option<Timestamp> {
        self.recent.front().map(|oldest| oldest.after(self.minimum.window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn s(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn rate() -> MinimumRate {
        MinimumRate::new(MinRate { events: 3, window: Duration::from_secs(10) })
    }

    #[test]
    fn a_stream_at_the_minimum_rate_is_never_due() {
        let mut rate = rate();
        assert_eq!(rate.due(), None, "before the first content another clock runs");
        for second in 0..100 {
            rate.content(1, s(second * 3));
            assert!(rate.due() > Some(s(second * 3 + 3)), "{second}");
        }
    }

    #[test]
    fn a_stream_below_the_minimum_rate_is_due_within_the_window() {
        let mut rate = rate();
        rate.content(1, s(0));
        rate.content(1, s(6));
        assert_eq!(rate.due(), Some(s(10)), "two in the first ten seconds are one too few");
        rate.content(1, s(9));
        rate.content(1, s(9));
        assert_eq!(rate.due(), Some(s(16)));
        rate.content(50, s(15));
        assert_eq!(rate.due(), Some(s(25)), "events that come together all count");
    }

    proptest! {
        /// Against the definition: at each moment, the events of the window that ends there.
        #[test]
        fn it_is_due_exactly_when_a_window_has_too_few(
            minimum in 1_u16..5,
            gaps in proptest::collection::vec((0_u64..8, 1_u64..4), 1..30), wait in 1_u64..20
        ) {
            let window = 10;
            let mut rate = MinimumRate::new(MinRate { events: minimum, window: Duration::from_secs(window) });
            let mut came = Vec::new();
            let mut now = 100;
            for (gap, events) in gaps {
                now += gap;
                came.extend(std::iter::repeat_n(now, usize::try_from(events).unwrap()));
                rate.content(events, s(now));
            }
            let first = came[0];
            for at in now..now + wait {
                // The first moment of the window belongs to it. There is no window before the first content.
                let within = came.iter().filter(|moment| **moment + window > at).count();
                let too_few = at >= first + window && within < usize::from(minimum);
                prop_assert_eq!(rate.due() <= Some(s(at)), too_few, "at {} of {:?}", at, came);
            }
        }
    }
}
