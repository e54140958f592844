//! The floor under a stream's pace.
//!
//! A provider in trouble may bring a token now and then, so that no silence is long enough. The measure is events with
//! content, because they are what can be counted: how many tokens an event carries is the provider's affair, and bytes
//! are mostly its envelope. It is exact: whatever the window is laid over, fewer events than the floor end the stream,
//! and exactly as many do not.

use std::collections::VecDeque;

use crate::base::Timestamp;
use crate::config::MinRate;

/// The last events with content of one stream: as many as the floor asks for, which is bounded.
#[derive(Debug, Clone)]
pub struct MinimumRate {
    floor: MinRate,
    /// When the events came, the oldest first; before there were that many, when the first of all came.
    recent: VecDeque<Timestamp>,
}

impl MinimumRate {
    /// A stream of which no content has come.
    pub const fn new(floor: MinRate) -> Self {
        Self { floor, recent: VecDeque::new() }
    }

    /// So many events with content have come, at least one.
    pub fn content(&mut self, events: u64, now: Timestamp) {
        let most = usize::from(self.floor.events);
        // The window begins with the first content: what came before it was the first content's to bound.
        let more = if self.recent.is_empty() { most } else { usize::try_from(events.max(1)).unwrap_or(most) };
        let now = self.recent.back().map_or(now, |last| now.max(*last));
        for _ in 0..more.min(most) {
            if self.recent.len() == most {
                self.recent.pop_front();
            }
            self.recent.push_back(now);
        }
    }

    /// When the pace has fallen below the floor, if no more content comes until then.
    pub fn due(&self) -> Option<Timestamp> {
        self.recent.front().map(|oldest| oldest.after(self.floor.window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn s(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn pace() -> MinimumRate {
        MinimumRate::new(MinRate { events: 3, window: Duration::from_secs(10) })
    }

    #[test]
    fn a_stream_that_keeps_the_pace_is_never_due() {
        let mut pace = pace();
        assert_eq!(pace.due(), None, "before the first content another clock runs");
        for second in 0..100 {
            pace.content(1, s(second * 3));
            assert!(pace.due() > Some(s(second * 3 + 3)), "{second}");
        }
    }

    #[test]
    fn one_that_drips_is_due_within_the_window() {
        let mut pace = pace();
        pace.content(1, s(0));
        pace.content(1, s(6));
        assert_eq!(pace.due(), Some(s(10)), "two in the first ten seconds are one too few");
        pace.content(1, s(9));
        pace.content(1, s(9));
        assert_eq!(pace.due(), Some(s(16)));
        pace.content(50, s(15));
        assert_eq!(pace.due(), Some(s(25)), "what comes at once counts at once");
    }

    proptest! {
        /// Against the definition: at each moment, the events of the window that ends there.
        #[test]
        fn it_is_due_exactly_when_a_window_has_too_few(
            floor in 1_u16..5, gaps in proptest::collection::vec((0_u64..8, 1_u64..4), 1..30), wait in 1_u64..20
        ) {
            let window = 10;
            let mut pace = MinimumRate::new(MinRate { events: floor, window: Duration::from_secs(window) });
            let mut came = Vec::new();
            let mut now = 100;
            for (gap, events) in gaps {
                now += gap;
                came.extend(std::iter::repeat_n(now, usize::try_from(events).unwrap()));
                pace.content(events, s(now));
            }
            let first = came[0];
            for at in now..now + wait {
                // What came at the very beginning of the window is still in it; a window before the first content is none.
                let within = came.iter().filter(|moment| **moment + window > at).count();
                let too_few = at >= first + window && within < usize::from(floor);
                prop_assert_eq!(pace.due() <= Some(s(at)), too_few, "at {} of {:?}", at, came);
            }
        }
    }
}
