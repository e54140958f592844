//! The clocks of one attempt: what may not take longer than it is allowed to.
//!
//! Why several: a provider that accepts and says nothing, one that stops in the middle, one that hides a stall behind
//! keep-alives, and a request that as a whole takes too long are different failures. A healthy long answer meets none of
//! them: the total alone bounds it, and that is the operator's to choose.

use super::pace::Pace;
use crate::base::Timestamp;
use crate::config::StreamPolicy;

/// What has taken too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// No content has come since the attempt was sent.
    FirstContent,
    /// Not a byte has come.
    Idle,
    /// Bytes have come, but nothing of the answer: pings, comments.
    ContentIdle,
    /// Content comes, but too little of it.
    BelowMinimumRate,
    /// A plain answer is not complete.
    Answer,
    /// The client's whole request, over all attempts.
    Total,
}

/// What an attempt is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// A whole answer, which says nothing until it is complete.
    Plain,
    /// The first content of a stream.
    First,
    /// The rest of a stream.
    Rest { content_at: Timestamp },
    /// The end, which is due now.
    End { at: Timestamp },
    /// Nothing more.
    Over,
}

/// The clocks of one attempt.
#[derive(Debug, Clone)]
pub struct Watch {
    policy: StreamPolicy,
    sent_at: Timestamp,
    total_until: Timestamp,
    heard_at: Timestamp,
    wait: Wait,
    pace: Option<Pace>,
}

impl Watch {
    /// Starts the clocks of an attempt that is sent at `now` for a request that began at `began`. `streamed` says whether
    /// the client asked for a stream.
    pub fn start(policy: StreamPolicy, streamed: bool, began: Timestamp, now: Timestamp) -> Self {
        let wait = if streamed { Wait::First } else { Wait::Plain };
        let pace = policy.min_rate.map(Pace::new);
        Self { policy, sent_at: now, total_until: began.after(policy.total), heard_at: now, wait, pace }
    }

    /// The provider has said something.
    pub fn heard(&mut self, now: Timestamp) {
        self.heard_at = self.heard_at.max(now);
    }

    /// Part of the answer has come, in so many events.
    pub fn content(&mut self, events: u64, now: Timestamp) {
        if let Some(pace) = &mut self.pace {
            pace.content(events, now);
        }
        if matches!(self.wait, Wait::First | Wait::Rest { .. }) {
            self.wait = Wait::Rest { content_at: now };
        }
    }

    /// The answer is complete: nothing is waited for.
    pub fn over(&mut self) {
        self.wait = Wait::Over;
    }

    /// Whatever comes, it ends at `at`.
    pub fn end_by(&mut self, at: Timestamp) {
        self.wait = Wait::End { at };
    }

    /// The earliest moment at which something has taken too long, if nothing is heard until then.
    pub fn due(&self) -> Option<(Timestamp, Alarm)> {
        let total = (self.total_until, Alarm::Total);
        let idle = (self.heard_at.after(self.policy.idle), Alarm::Idle);
        let pace = self.pace.as_ref().and_then(Pace::due);
        let pace = pace.map_or(total, |at| (at, Alarm::BelowMinimumRate));
        let waits: &[(Timestamp, Alarm)] = match self.wait {
            Wait::Over => return None,
            Wait::End { at } => return Some((at, Alarm::Idle)),
            Wait::Plain => &[total, (self.sent_at.after(self.policy.answer), Alarm::Answer)],
            // Before the first content the provider may think in silence for as long as it is given for that.
            Wait::First => &[total, (self.sent_at.after(self.policy.first_content), Alarm::FirstContent)],
            Wait::Rest { content_at } => {
                &[total, idle, pace, (content_at.after(self.policy.content_idle), Alarm::ContentIdle)]
            }
        };
        waits.iter().copied().min_by_key(|(at, _)| *at)
    }

    /// What has taken too long at `now`.
    pub fn alarm(&self, now: Timestamp) -> Option<Alarm> {
        self.due().filter(|(at, _)| *at <= now).map(|(_, alarm)| alarm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MinRate;
    use std::time::Duration;

    fn s(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + seconds * 1000)
    }

    fn policy() -> StreamPolicy {
        StreamPolicy {
            first_content: Duration::from_secs(30),
            idle: Duration::from_secs(20),
            content_idle: Duration::from_secs(60),
            answer: Duration::from_secs(200),
            total: Duration::from_secs(300),
            ..StreamPolicy::default()
        }
    }

    fn streamed() -> Watch {
        Watch::start(policy(), true, s(0), s(0))
    }

    #[test]
    fn a_stream_without_content_is_given_up_whatever_bytes_it_sends() {
        let mut watch = streamed();
        watch.heard(s(25));
        assert_eq!(watch.alarm(s(29)), None);
        assert_eq!(watch.alarm(s(30)), Some(Alarm::FirstContent));
    }

    #[test]
    fn after_content_silence_counts_and_bytes_end_it() {
        let mut watch = streamed();
        watch.heard(s(10));
        watch.content(1, s(10));
        assert_eq!(watch.due(), Some((s(30), Alarm::Idle)));
        watch.heard(s(29));
        assert_eq!(watch.alarm(s(48)), None);
        assert_eq!(watch.alarm(s(49)), Some(Alarm::Idle));
    }

    #[test]
    fn keep_alives_do_not_hide_a_stall() {
        let mut watch = streamed();
        watch.content(1, s(5));
        for second in 5..65 {
            watch.heard(s(second));
            assert_eq!(watch.alarm(s(second)), None, "{second}");
        }
        watch.heard(s(65));
        assert_eq!(watch.alarm(s(65)), Some(Alarm::ContentIdle));
    }

    #[test]
    fn a_drip_is_no_stream_whatever_its_silences() {
        let min_rate = Some(MinRate { events: 3, window: Duration::from_secs(10) });
        let mut watch = Watch::start(StreamPolicy { min_rate, ..policy() }, true, s(0), s(0));
        assert_eq!(watch.due(), Some((s(30), Alarm::FirstContent)), "the pace counts from the first content");
        watch.heard(s(20));
        watch.content(1, s(20));
        watch.heard(s(26));
        watch.content(1, s(26));
        assert_eq!(watch.due(), Some((s(30), Alarm::BelowMinimumRate)));
        watch.over();
        assert_eq!(watch.due(), None);
    }

    #[test]
    fn a_plain_answer_may_take_its_time_and_the_total_runs_over_all_attempts() {
        let first = Watch::start(policy(), false, s(0), s(0));
        assert_eq!(first.due(), Some((s(200), Alarm::Answer)));
        let watch = Watch::start(policy(), false, s(0), s(250));
        assert_eq!(watch.alarm(s(299)), None);
        assert_eq!(watch.alarm(s(300)), Some(Alarm::Total));
        let late = Watch::start(policy(), true, s(0), s(290));
        assert_eq!(late.due(), Some((s(300), Alarm::Total)));
    }

    #[test]
    fn nothing_is_due_after_the_end_and_a_clock_that_steps_back_raises_no_alarm() {
        let mut watch = streamed();
        watch.content(1, s(100));
        watch.heard(s(100));
        assert_eq!(watch.alarm(s(0)), None);
        watch.heard(s(50));
        assert_eq!(watch.due(), Some((s(120), Alarm::Idle)), "a step back shortens nothing");
        watch.over();
        assert_eq!(watch.alarm(s(10_000)), None);
    }
}
