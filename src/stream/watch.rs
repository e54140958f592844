//! The clocks of one attempt: its time limits.
//!
//! **Why several limits.** These are different failures: a provider that accepts a request and sends nothing,
//! one that stops in the middle, one that hides a stall behind keep-alives, and a request that takes too long
//! as a whole. A healthy long response exceeds none of them except the total, which the operator chooses.
//!
//! **Limits.** Before the first content of a stream, `first_content` applies; after it, `idle`,
//! `content_idle` and the minimum rate. For a response that is not a stream, `answer` applies. `total` always
//! applies.
//!
//! **A complete stream** that its provider keeps open exceeds none of them. It has `linger` to end. Some
//! providers omit the terminal event, so after the finish reasons there is only a [`FINISH_GRACE`] for it.

use std::time::Duration;

use super::minimum_rate::MinimumRate;
use crate::base::Timestamp;
use crate::config::StreamPolicy;

/// How long a stream's terminal event may take after its finish reasons. A chunk with the usage may come in
/// between.
pub const FINISH_GRACE: Duration = Duration::from_secs(1);

/// The limit that was exceeded, or the moment that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// No content since the attempt was sent.
    FirstContent,
    /// No bytes.
    Idle,
    /// Bytes, but no content: only pings or comments.
    ContentIdle,
    /// Content, but too little.
    BelowMinimumRate,
    /// A response that is not a stream is incomplete.
    Answer,
    /// The client's whole request, over all attempts.
    Total,
    /// The response has ended too early, and its end is held.
    Cut,
    /// A stream has its finish reasons, and its terminal event has not come.
    Finished,
    /// A complete stream is still open.
    Linger,
    /// The time for which the client waits for its first byte.
    Patience,
}

/// What an attempt is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WaitingFor {
    /// A response that is not a stream.
    Plain,
    /// The first content of a stream.
    First,
    /// The rest of a stream.
    Rest { content_at: Timestamp },
    /// The terminal event of a stream that has its finish reasons.
    Terminal { at: Timestamp },
    /// The provider's end of a stream that is complete.
    Close { at: Timestamp },
    /// The end of the stream, whatever comes.
    End { at: Timestamp, alarm: Alarm },
    /// Nothing more.
    Over,
}

/// The clocks of one attempt.
#[derive(Debug, Clone)]
pub struct Watch {
    policy: StreamPolicy,
    sent_at: Timestamp,
    total_until: Timestamp,
    received_at: Timestamp,
    wait: WaitingFor,
    min_rate: Option<MinimumRate>,
}

impl Watch {
    /// Starts the clocks of an attempt sent at `now` for a request that began at `began`. `streamed` says
    /// whether the client asked for a stream.
    pub fn start(policy: StreamPolicy, streamed: bool, began: Timestamp, now: Timestamp) -> Self {
        let wait = if streamed { WaitingFor::First } else { WaitingFor::Plain };
        let min_rate = policy.min_rate.map(MinimumRate::new);
        Self {
            policy,
            sent_at: now,
            total_until: began.after(policy.total),
            received_at: now,
            wait,
            min_rate,
        }
    }

    /// Nothing could be read for this long before `now`, so no limit counts that time.
    pub fn excuse(&mut self, pause: Duration, now: Timestamp) {
        // What has come after the pause came no later than now.
        let came = |at: &mut Timestamp| *at = at.after(pause).min(now);
        let due = |at: &mut Timestamp| *at = at.after(pause);
        came(&mut self.sent_at);
        came(&mut self.received_at);
        due(&mut self.total_until);
        match &mut self.wait {
            WaitingFor::Rest { content_at } => came(content_at),
            WaitingFor::Terminal { at } | WaitingFor::Close { at } | WaitingFor::End { at, .. } => due(at),
            WaitingFor::Plain | WaitingFor::First | WaitingFor::Over => {}
        }
        if let Some(min_rate) = &mut self.min_rate {
            min_rate.excuse(pause, now);
        }
    }

    /// The provider has sent bytes.
    pub fn bytes_received(&mut self, now: Timestamp) {
        self.received_at = self.received_at.max(now);
    }

    /// Part of the response has come, in this many events.
    pub fn content_received(&mut self, events: u64, now: Timestamp) {
        if let Some(min_rate) = &mut self.min_rate {
            min_rate.content(events, now);
        }
        if matches!(self.wait, WaitingFor::First | WaitingFor::Rest { .. }) {
            self.wait = WaitingFor::Rest { content_at: now };
        }
    }

    /// Every choice of a stream has its finish reason. Its terminal event may still come. Some servers write a
    /// finish reason into every chunk, so the answer goes on as long as there is `content`.
    pub fn finish_reasons_received(&mut self, content: bool, now: Timestamp) {
        let goes_on = content && matches!(self.wait, WaitingFor::Terminal { .. } | WaitingFor::Close { .. });
        if goes_on || matches!(self.wait, WaitingFor::Plain | WaitingFor::First | WaitingFor::Rest { .. }) {
            self.wait = WaitingFor::Terminal { at: now.after(FINISH_GRACE).min(self.total_until) };
        }
    }

    /// A choice of a stream has no finish reason yet. It may have begun after others had finished.
    pub fn unfinished(&mut self, now: Timestamp) {
        if matches!(self.wait, WaitingFor::Terminal { .. } | WaitingFor::Close { .. }) {
            self.wait = WaitingFor::Rest { content_at: now };
        }
    }

    /// A stream is complete, and its provider has not ended it.
    pub fn complete(&mut self, now: Timestamp) {
        if !matches!(self.wait, WaitingFor::Close { .. } | WaitingFor::End { .. } | WaitingFor::Over) {
            let at = self.policy.linger.map_or(self.total_until, |linger| now.after(linger));
            self.wait = WaitingFor::Close { at: at.min(self.total_until) };
        }
    }

    /// The response is over. No limit applies any more.
    pub fn finish(&mut self) {
        self.wait = WaitingFor::Over;
    }

    /// The stream is to be looked at at `at`, whatever comes, and then ends.
    pub fn end_by(&mut self, at: Timestamp, alarm: Alarm) {
        self.wait = WaitingFor::End { at, alarm };
    }

    /// The earliest time at which a limit is exceeded if no bytes come until then.
    pub fn due(&self) -> Option<(Timestamp, Alarm)> {
        let total = (self.total_until, Alarm::Total);
        Some(match self.wait {
            WaitingFor::Over => return None,
            WaitingFor::End { at, alarm } => (at, alarm),
            WaitingFor::Terminal { at } => (at, Alarm::Finished),
            WaitingFor::Close { at } => (at, Alarm::Linger),
            WaitingFor::Plain => earlier(total, (self.sent_at.after(self.policy.answer), Alarm::Answer)),
            // Before the first content the provider may be silent for as long as this limit permits.
            WaitingFor::First => {
                earlier(total, (self.sent_at.after(self.policy.first_content), Alarm::FirstContent))
            }
            WaitingFor::Rest { content_at } => {
                let idle = (self.received_at.after(self.policy.idle), Alarm::Idle);
                let content_idle = (content_at.after(self.policy.content_idle), Alarm::ContentIdle);
                let min_rate = self.min_rate.as_ref().and_then(MinimumRate::due);
                let min_rate = min_rate.map_or(total, |at| (at, Alarm::BelowMinimumRate));
                earlier(earlier(earlier(total, idle), min_rate), content_idle)
            }
        })
    }

    /// Whether nothing more of the response is to come.
    pub const fn is_over(&self) -> bool {
        matches!(self.wait, WaitingFor::Over | WaitingFor::Close { .. })
    }

    /// Whether a stream has its finish reasons.
    pub const fn has_finish_reasons(&self) -> bool {
        matches!(self.wait, WaitingFor::Terminal { .. })
    }

    /// The limit that is exceeded at `now`.
    pub fn alarm(&self, now: Timestamp) -> Option<Alarm> {
        self.due().filter(|(at, _)| *at <= now).map(|(_, alarm)| alarm)
    }
}

/// The earlier of two limits, the first if they are exceeded at the same time.
const fn earlier(one: (Timestamp, Alarm), other: (Timestamp, Alarm)) -> (Timestamp, Alarm) {
    if other.0.as_millis() < one.0.as_millis() { other } else { one }
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
    fn a_stream_without_content_exceeds_first_content_whatever_bytes_it_sends() {
        let mut watch = streamed();
        watch.bytes_received(s(25));
        assert_eq!(watch.alarm(s(29)), None);
        assert_eq!(watch.alarm(s(30)), Some(Alarm::FirstContent));
    }

    #[test]
    fn after_content_the_idle_limit_applies_and_bytes_reset_it() {
        let mut watch = streamed();
        watch.bytes_received(s(10));
        watch.content_received(1, s(10));
        assert_eq!(watch.due(), Some((s(30), Alarm::Idle)));
        watch.bytes_received(s(29));
        assert_eq!(watch.alarm(s(48)), None);
        assert_eq!(watch.alarm(s(49)), Some(Alarm::Idle));
    }

    #[test]
    fn keep_alives_do_not_hide_a_stall() {
        let mut watch = streamed();
        watch.content_received(1, s(5));
        for second in 5..65 {
            watch.bytes_received(s(second));
            assert_eq!(watch.alarm(s(second)), None, "{second}");
        }
        watch.bytes_received(s(65));
        assert_eq!(watch.alarm(s(65)), Some(Alarm::ContentIdle));
    }

    #[test]
    fn a_stream_below_the_minimum_rate_fails_within_its_idle_limits() {
        let min_rate = Some(MinRate { events: 3, window: Duration::from_secs(10) });
        let mut watch = Watch::start(StreamPolicy { min_rate, ..policy() }, true, s(0), s(0));
        assert_eq!(
            watch.due(),
            Some((s(30), Alarm::FirstContent)),
            "the minimum rate applies from the first content"
        );
        watch.bytes_received(s(20));
        watch.content_received(1, s(20));
        watch.bytes_received(s(26));
        watch.content_received(1, s(26));
        assert_eq!(watch.due(), Some((s(30), Alarm::BelowMinimumRate)));
        watch.finish();
        assert_eq!(watch.due(), None);
    }

    #[test]
    fn non_streamed_responses_have_their_own_limit_and_the_total_covers_all_attempts() {
        let first = Watch::start(policy(), false, s(0), s(0));
        assert_eq!(first.due(), Some((s(200), Alarm::Answer)));
        let watch = Watch::start(policy(), false, s(0), s(250));
        assert_eq!(watch.alarm(s(299)), None);
        assert_eq!(watch.alarm(s(300)), Some(Alarm::Total));
        let late = Watch::start(policy(), true, s(0), s(290));
        assert_eq!(late.due(), Some((s(300), Alarm::Total)));
    }

    /// Every limit comes later by the pause, whatever the attempt waits for, and no limit by more.
    #[test]
    fn a_pause_counts_for_no_limit() {
        let min_rate = Some(MinRate { events: 3, window: Duration::from_secs(10) });
        let with_rate = || Watch::start(StreamPolicy { min_rate, ..policy() }, true, s(0), s(0));
        let started = |step: &dyn Fn(&mut Watch)| {
            let mut watch = with_rate();
            step(&mut watch);
            watch
        };
        let watches = [
            streamed(),
            Watch::start(policy(), false, s(0), s(0)),
            Watch::start(policy(), true, s(0), s(290)),
            started(&|watch| watch.content_received(1, s(5))),
            started(&|watch| watch.finish_reasons_received(false, s(5))),
            started(&|watch| watch.complete(s(5))),
            started(&|watch| watch.end_by(s(9), Alarm::Idle)),
            started(&|watch| watch.finish()),
        ];
        for watch in watches {
            let mut excused = watch.clone();
            excused.excuse(Duration::from_secs(60), s(400));
            let later = watch.due().map(|(at, alarm)| (at.after(Duration::from_secs(60)), alarm));
            assert_eq!(excused.due(), later, "{watch:?}");
        }
        let mut after_the_pause = started(&|watch| watch.content_received(1, s(62)));
        after_the_pause.bytes_received(s(62));
        after_the_pause.excuse(Duration::from_secs(60), s(62));
        assert_eq!(after_the_pause.due(), Some((s(72), Alarm::BelowMinimumRate)));
    }

    #[test]
    fn no_limit_applies_after_the_end_or_when_the_clock_steps_back() {
        let mut watch = streamed();
        watch.content_received(1, s(100));
        watch.bytes_received(s(100));
        assert_eq!(watch.alarm(s(0)), None);
        watch.bytes_received(s(50));
        assert_eq!(watch.due(), Some((s(120), Alarm::Idle)), "a step back shortens nothing");
        watch.finish();
        assert_eq!(watch.alarm(s(10_000)), None);
    }
}
