//! Whether and when a client should come again after an answer with which the filter has given up.
//!
//! SDKs retry by themselves, two times as a rule. After what the filter has tried that can only add to the load, unless
//! there is a moment from which on it helps.

use std::time::Duration;

use super::Journey;
use super::response::Disclosure;
use crate::base::Timestamp;
use crate::retry::{Failed, Next, Stop};

/// SDKs follow a `retry-after` of up to a minute and treat a longer one as none.
const HEEDED_BY_CLIENTS_S: u64 = 60;

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Nothing: its own retries may be as good as any, or its request is what is wrong.
    Unsaid,
    /// It may after so many seconds.
    After(u64),
    /// It should not by itself: nobody knows when that would help.
    NotByItself,
}

impl Again {
    /// For a wait that is known, or is not.
    pub(super) fn after(wait: Option<Duration>) -> Self {
        wait.map_or(Self::NotByItself, |wait| Self::After(seconds(wait)))
    }

    /// The same for one in seconds.
    pub(super) fn after_seconds(wait_s: Option<u64>) -> Self {
        wait_s.map_or(Self::NotByItself, Self::After)
    }

    /// When to come again.
    pub(super) const fn wait_s(self) -> Option<u64> {
        match self {
            Self::After(seconds) => Some(seconds),
            Self::Unsaid | Self::NotByItself => None,
        }
    }

    /// Whether its own retries would come too early.
    pub(super) const fn should_not(self) -> bool {
        match self {
            Self::Unsaid => false,
            Self::After(seconds) => seconds > HEEDED_BY_CLIENTS_S,
            Self::NotByItself => true,
        }
    }
}

/// Rounded up: a moment too early is refused again.
fn seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).div_ceil(1000).max(1)
}

impl Journey {
    /// Tells the client of a request that is given up why, and whether to send it again: after a time where waiting helps,
    /// and not by itself where it can only make matters worse.
    pub(super) fn advise(&self, next: Next, failed: Failed, now: Timestamp, sink: &mut impl Disclosure) {
        let Next::Stop(stop) = next else { return };
        // Where such a failure is never tried again there is nothing to tell.
        if !matches!(stop, Stop::Policy | Stop::NoRetryLoop) {
            sink.tell("x-llm-reason", stop.name());
        }
        if !stop.is_filter_decision() {
            return;
        }
        let wait = self.soonest(now).map(|at| at.since(now));
        // The provider's own word passes as it is where it says the same, or sooner.
        if let Some(wait) = wait
            && failed.hint.is_none_or(|hint| wait < hint)
        {
            for name in ["retry-after-ms", "x-ms-retry-after-ms"] {
                sink.untell(name);
            }
            sink.tell("retry-after", &seconds(wait).to_string());
        }
        if Again::after(wait.or(failed.hint)).should_not() {
            sink.tell("x-should-retry", "false");
        }
    }

    /// The same for an answer made here after the last failure. `gave_up` is why nothing more is tried.
    pub(super) fn again(&self, gave_up: Stop, now: Timestamp) -> Again {
        if !gave_up.is_filter_decision() {
            return Again::Unsaid;
        }
        let hint = self.failed.and_then(|failed| failed.hint);
        Again::after(self.soonest(now).map(|at| at.since(now)).or(hint))
    }

    /// When the first target of the model may be asked again; `None` when one may be now, or only an operator can tell.
    fn soonest(&self, now: Timestamp) -> Option<Timestamp> {
        let wanted = self.wanted(now)?.afresh();
        if wanted.anyone_left(&self.config, &self.health_view.borrow(), now) {
            return None;
        }
        let health_view = self.health_view.borrow();
        wanted.obstacles(&self.config, &health_view, now).filter_map(|(_, obstacle)| obstacle.until()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Dialect;
    use crate::journey::Refusal;

    #[test]
    fn every_refusal_says_whether_and_when_to_come_again() {
        let well = |wait_s| Refusal::NobodyWell { throttled: false, wait_s, rejected: Vec::new() };
        let budget = |wait_s| Refusal::BudgetExhausted { budget: "usd_per_day", wait_s };
        let queue = |wait_s| Refusal::Queue { why: "queue_full", wait_s };
        let exhausted = |again| Refusal::Exhausted { status: 503, tried: Vec::new(), again };
        for (refusal, wait, should) in [
            (well(Some(7)), Some("7"), None),
            (well(Some(60)), Some("60"), None),
            (well(Some(61)), Some("61"), Some("false")),
            (well(None), None, Some("false")),
            (budget(Some(7)), Some("7"), None),
            (budget(Some(3600)), Some("3600"), Some("false")),
            (budget(None), None, Some("false")),
            (queue(7), Some("7"), None),
            (queue(600), Some("600"), Some("false")),
            (exhausted(Again::After(7)), Some("7"), None),
            (exhausted(Again::After(600)), Some("600"), Some("false")),
            (exhausted(Again::NotByItself), None, Some("false")),
            (exhausted(Again::Unsaid), None, None),
            // Statuses with which no client comes again, or of which nobody knows what would help.
            (Refusal::NoModel, None, None),
            (Refusal::TooLarge { limit: 1 }, None, None),
            (Refusal::Internal, None, None),
        ] {
            let case = format!("{refusal:?}");
            let answer = refusal.answer(Dialect::OpenAi);
            let get = |name: &str| {
                let mut found = answer.headers.iter().filter(|(candidate, _)| *candidate == name);
                let value = found.next().map(|(_, value)| value.as_str());
                assert!(found.next().is_none(), "{case}: {name} stands there once");
                value
            };
            assert_eq!((get("retry-after"), get("x-should-retry")), (wait, should), "{case}");
            assert!(get("x-llm-reason").is_some(), "{case}");
        }
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        for (ms, expected) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (7000, 7)] {
            assert_eq!(Again::after(Some(Duration::from_millis(ms))), Again::After(expected));
        }
        assert_eq!(Again::after(None), Again::NotByItself);
    }
}
