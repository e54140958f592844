use super::metric_kind::MetricKind;
use super::series::{Family, Series};
use crate::config::Config;

macro_rules! catalogue {
    ($($(#[doc = $doc:literal])+ $variant:ident, $kind:ident, $name:literal;)+) => {
        /// Every metric of the filter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Metric {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Metric {
            /// The whole catalogue, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name under which Envoy exports it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Counter, gauge or histogram.
            pub const fn kind(self) -> MetricKind {
                match self { $(Self::$variant => MetricKind::$kind,)+ }
            }
        }
    };
}

catalogue! {
    /// Client requests to a model endpoint, counted when their headers arrive.
    Requests, Counter, "llm_failsafe_requests";
    /// Requests that the filter refused with its own error instead of sending an attempt.
    Refusals, Counter, "llm_failsafe_refusals";
    /// Attempts sent to a provider.
    Attempts, Counter, "llm_failsafe_attempts";
    /// Attempts in flight now, over all workers.
    AttemptsInFlight, Gauge, "llm_failsafe_attempts_in_flight";
    /// Attempts whose response was not a failure when the filter began to pass it to the client.
    AttemptsAnswered, Counter, "llm_failsafe_attempts_answered";
    /// Responses that went to the client unread, because their body is compressed or of an unknown type.
    AnswersUnread, Counter, "llm_failsafe_answers_unread";
    /// Attempts that failed before any of the response reached the client.
    AttemptsFailed, Counter, "llm_failsafe_attempts_failed";
    /// Failed attempts after which the filter asked for an attempt at another target.
    Failovers, Counter, "llm_failsafe_failovers";
    /// Failed attempts after which the filter asked for another attempt at the same target, after a back-off.
    Repetitions, Counter, "llm_failsafe_repetitions";
    /// Times that a request was held before an attempt: for a back-off, a rate limit or in the queue.
    Waits, Counter, "llm_failsafe_waits";
    /// Requests held now, over all workers.
    Waiting, Gauge, "llm_failsafe_waiting";
    /// Requests given up because all their attempts were used (`attempts_used_up`).
    GaveUpAttempts, Counter, "llm_failsafe_gave_up_attempts_used_up";
    /// Requests given up because every eligible target had been tried (`nothing_left`).
    GaveUpNothingLeft, Counter, "llm_failsafe_gave_up_nothing_left";
    /// Requests given up because a provider may have accepted them and may charge for them (`maybe_billed`).
    GaveUpMaybeBilled, Counter, "llm_failsafe_gave_up_maybe_billed";
    /// Requests given up because the next target becomes available too late (`wait_too_long`).
    GaveUpWaitTooLong, Counter, "llm_failsafe_gave_up_wait_too_long";
    /// Requests given up because their total time was used up (`deadline`).
    GaveUpDeadline, Counter, "llm_failsafe_gave_up_deadline";
    /// Requests given up because the retry budget of this Envoy was exhausted (`retry_budget`).
    GaveUpRetryBudget, Counter, "llm_failsafe_gave_up_retry_budget";
    /// Requests refused or given up because the queue was full (`queue_full`).
    GaveUpQueueFull, Counter, "llm_failsafe_gave_up_queue_full";
    /// Requests given up because the next attempt could have exceeded `max_cost` (`spend_ceiling`).
    GaveUpSpendCeiling, Counter, "llm_failsafe_gave_up_spend_ceiling";
    /// Requests refused because no target became available while they were queued (`queue_timeout`).
    QueueTimeouts, Counter, "llm_failsafe_queue_timeouts";
    /// Attempts that exceeded one of their time limits.
    Alarms, Counter, "llm_failsafe_alarms";
    /// Requests whose client disconnected before the response was complete.
    ClientAborts, Counter, "llm_failsafe_client_aborts";
    /// Streams that reached their client in full.
    StreamsComplete, Counter, "llm_failsafe_streams_complete";
    /// Complete responses that their provider did not end, so that the filter ended them.
    StreamsLeftOpen, Counter, "llm_failsafe_streams_left_open";
    /// Streams that the provider ended too early, after part of them had reached the client.
    StreamsTruncated, Counter, "llm_failsafe_streams_truncated";
    /// Streams that reported a failure after part of them had reached the client.
    StreamsFailed, Counter, "llm_failsafe_streams_failed";
    /// Streams that went idle or fell below the minimum rate after part of them had reached the client.
    StreamsStalled, Counter, "llm_failsafe_streams_stalled";
    /// Streams that ended because the total time of the request was used up.
    StreamsOutOfTime, Counter, "llm_failsafe_streams_out_of_time";
    /// Streams whose connection broke after part of them had reached the client.
    StreamsBrokenOff, Counter, "llm_failsafe_streams_broken_off";
    /// Streams that Envoy cut itself, with its connection between the edge and the filter.
    StreamsHopClosed, Counter, "llm_failsafe_streams_hop_closed";
    /// Streams whose client disconnected before their end.
    StreamsAbandoned, Counter, "llm_failsafe_streams_abandoned";
    /// Streams that `gate.max_time` released before there was content.
    GatesOpenedByTime, Counter, "llm_failsafe_gates_opened_by_time";
    /// Keep-alives that the filter put into idle streams.
    KeepAlives, Counter, "llm_failsafe_keep_alives";
    /// Input tokens that providers reported, including those read from and written to a prompt cache.
    TokensInput, Counter, "llm_failsafe_tokens_input";
    /// Input tokens read from a prompt cache.
    TokensCachedInput, Counter, "llm_failsafe_tokens_cached_input";
    /// Input tokens written to a prompt cache.
    TokensCacheCreation, Counter, "llm_failsafe_tokens_cache_creation";
    /// Output tokens that providers reported, including reasoning tokens.
    TokensOutput, Counter, "llm_failsafe_tokens_output";
    /// Output tokens spent on reasoning, if the provider reports them separately.
    TokensReasoning, Counter, "llm_failsafe_tokens_reasoning";
    /// Attempts with content whose provider reported no token usage.
    UsageMissing, Counter, "llm_failsafe_usage_missing";
    /// Journeys that the workers hold now, over all workers.
    Journeys, Gauge, "llm_failsafe_journeys";
    /// Journeys whose next attempt never came: Envoy declined the retry or the client disconnected.
    JourneysOrphaned, Counter, "llm_failsafe_journeys_orphaned";
    /// Requests that got a single attempt because the worker already held `limits.max_journeys` journeys.
    JourneysFull, Counter, "llm_failsafe_journeys_full";
    /// Breakers that opened.
    BreakerOpened, Counter, "llm_failsafe_breaker_opened";
    /// Breakers that opened again because a probe failed.
    BreakerReopened, Counter, "llm_failsafe_breaker_reopened";
    /// Breakers that closed after successful probes.
    BreakerClosed, Counter, "llm_failsafe_breaker_closed";
    /// Rate limits that came into force or were extended.
    BreakerThrottled, Counter, "llm_failsafe_breaker_throttled";
    /// Failures that opened no breaker, because they all came from one client key or host, and others were served.
    BreakerHeld, Counter, "llm_failsafe_breaker_held";
    /// Requests that probed a breaker.
    BreakerProbes, Counter, "llm_failsafe_breaker_probes";
    /// Requests sent to an unhealthy target because the model has `when_all_open: try_anyway`.
    TriedAnyway, Counter, "llm_failsafe_tried_anyway";
    /// In shadow mode: requests that enforcement would have sent to another target.
    ShadowWouldMove, Counter, "llm_failsafe_shadow_would_move";
    /// In shadow mode: requests that enforcement would have refused.
    ShadowWouldRefuse, Counter, "llm_failsafe_shadow_would_refuse";
    /// Requests refused because a budget of their client key was exhausted.
    BudgetRefusals, Counter, "llm_failsafe_budget_refusals";
    /// Requests that brought a budget of their client key to its `warn_at` or above.
    BudgetWarnings, Counter, "llm_failsafe_budget_warnings";
    /// Requests refused by Envoy's own rate-limit filter behind this filter.
    FleetRefusals, Counter, "llm_failsafe_fleet_refusals";
    /// Requests that a model with `fallback: { mode: shadow }` would have sent to a substitute.
    FallbackWouldMove, Counter, "llm_failsafe_fallback_would_move";
    /// Requests of such a model that were sent to a target which does not pass a gate.
    FallbackWouldReject, Counter, "llm_failsafe_fallback_would_reject";
    /// Attempts whose provider did not know the model or the path: the `model` of the target is wrong or was withdrawn.
    ModelNotFound, Counter, "llm_failsafe_model_not_found";
    /// Changes to shared records that only one worker knows, because of contention or the host.
    SharedDataFailed, Counter, "llm_failsafe_shared_data_failed";
    /// Calls to Envoy that failed although a stream depended on them. Envoy's log says which.
    HostCallsFailed, Counter, "llm_failsafe_host_calls_failed";
    /// Orders that operators gave.
    OperatorOrders, Counter, "llm_failsafe_operator_orders";
    /// Requests on operator paths that were declined: wrong key, cross-site request, too many requests and so on.
    OperatorDeclined, Counter, "llm_failsafe_operator_declined";
    /// Bytes of request bodies in Envoy's buffers, over all workers (`limits.max_held_bytes`).
    HeldBytes, Gauge, "llm_failsafe_held_bytes";
    /// Requests refused because the bodies of others left no room for theirs (`memory_full`).
    HeldRefusals, Counter, "llm_failsafe_held_refusals";
    /// Largest Wasm memory of any worker's VM, in bytes. A Wasm memory never shrinks.
    WasmMemory, Gauge, "llm_failsafe_wasm_memory_bytes";
}

/// Maximum number of buffered histogram values. A full buffer is handed over before the next tick.
const MAX_VALUES: usize = 1024;

/// Counts that have not been handed to the host yet. They are handed over on the tick, because a host call
/// per count would cost a request more than all of the filter's decisions.
#[derive(Debug)]
pub struct Tally {
    deltas: [i64; Metric::ALL.len()],
    series: Series,
    /// The pending change of each series with a single value.
    sums: Vec<Sum>,
    /// The numbers of the series with a pending change.
    touched: Vec<usize>,
    /// Each pending value of a histogram, with the number of its series.
    values: Vec<(usize, u64)>,
}

/// The pending change of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sum {
    Nothing,
    Added(i64),
    Set(u64),
}

/// A change that the host applies to a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// A counter grew by this amount.
    Add(i64),
    /// The new value of a gauge, or one more value of a histogram.
    Value(u64),
}

impl Tally {
    /// An empty tally for the metrics of this configuration.
    pub fn new(config: &Config) -> Self {
        let series = Series::new(config);
        Self {
            deltas: [0; Metric::ALL.len()],
            sums: vec![Sum::Nothing; series.len()],
            series,
            touched: Vec::new(),
            values: Vec::new(),
        }
    }

    /// The metrics with labels.
    pub const fn series(&self) -> &Series {
        &self.series
    }

    /// Adds to a counter with labels.
    pub fn label(&mut self, config: &Config, family: Family, place: (usize, usize), delta: u64) {
        if delta == 0 {
            return;
        }
        let delta = i64::try_from(delta).unwrap_or(i64::MAX);
        self.change(self.series.number(config, family, place.0, place.1), |sum| match sum {
            Sum::Added(before) => Sum::Added(before.saturating_add(delta)),
            Sum::Nothing | Sum::Set(_) => Sum::Added(delta),
        });
    }

    /// Sets a gauge with labels, or records a value in a histogram.
    pub fn observe(&mut self, config: &Config, family: Family, place: usize, value: u64) {
        let number = self.series.number(config, family, place, 0);
        if family.kind() == MetricKind::Histogram {
            self.values.extend(number.map(|number| (number, value)));
        } else {
            self.change(number, |_| Sum::Set(value));
        }
    }

    fn change(&mut self, number: Option<usize>, to: impl FnOnce(Sum) -> Sum) {
        let Some(number) = number else { return };
        if let Some(sum) = self.sums.get_mut(number) {
            if *sum == Sum::Nothing {
                self.touched.push(number);
            }
            *sum = to(*sum);
        }
    }

    /// Whether the histogram buffer is full, so that it must be flushed before the tick.
    pub const fn is_full(&self) -> bool {
        self.values.len() >= MAX_VALUES
    }

    /// Hands the pending changes of each series to `sink` and clears them.
    pub fn drain_series(&mut self, mut sink: impl FnMut(usize, Sample)) {
        for number in self.touched.drain(..) {
            let sum = self.sums.get_mut(number).map(|sum| std::mem::replace(sum, Sum::Nothing));
            match sum {
                Some(Sum::Added(delta)) => sink(number, Sample::Add(delta)),
                Some(Sum::Set(value)) => sink(number, Sample::Value(value)),
                Some(Sum::Nothing) | None => {}
            }
        }
        for (number, value) in self.values.drain(..) {
            sink(number, Sample::Value(value));
        }
    }

    /// Adds one to a counter.
    pub fn count(&mut self, metric: Metric) {
        self.add(metric, 1);
    }

    /// Adds to a counter or moves a gauge.
    pub fn add(&mut self, metric: Metric, delta: i64) {
        if let Some(sum) = self.deltas.get_mut(metric as usize) {
            *sum = sum.saturating_add(delta);
        }
    }

    /// Hands every pending change to `sink` and clears it.
    pub fn drain(&mut self, mut sink: impl FnMut(Metric, i64)) {
        for (metric, delta) in Metric::ALL.iter().zip(self.deltas.iter_mut()) {
            if *delta != 0 {
                sink(*metric, *delta);
                *delta = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_have_the_prefix() {
        let mut names: Vec<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
        assert!(names.iter().all(|name| name.starts_with("llm_failsafe_")));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Metric::ALL.len());
    }

    fn config() -> Config {
        let config = r#"{"providers":{"p":{"kind":"openai"}},"targets":{"t":{"provider":"p","model":"m"}},"models":{"c":{"targets":["t"]}}}"#;
        crate::config::load(config.as_bytes(), &|_| None).unwrap()
    }

    #[test]
    fn counters_are_summed_and_histograms_keep_each_value() {
        let config = config();
        let mut tally = Tally::new(&config);
        for tokens in [3, 0, 4] {
            tally.label(&config, Family::Tokens, (0, 1), tokens);
            tally.observe(&config, Family::FirstContent, 0, tokens);
            tally.observe(&config, Family::TargetsFit, 0, tokens);
        }
        tally.label(&config, Family::Tokens, (0, 2), u64::MAX);
        tally.label(&config, Family::Tokens, (9, 0), 1);
        let number = |family, second| tally.series().number(&config, family, 0, second).unwrap();
        let (sum, other) = (number(Family::Tokens, 1), number(Family::Tokens, 2));
        let (first, fit) = (number(Family::FirstContent, 0), number(Family::TargetsFit, 0));
        let mut seen = Vec::new();
        tally.drain_series(|number, sample| seen.push((number, sample)));
        tally.drain_series(|number, sample| seen.push((number, sample)));
        let expected = [
            (sum, Sample::Add(7)),
            (fit, Sample::Value(4)),
            (other, Sample::Add(i64::MAX)),
            (first, Sample::Value(3)),
            (first, Sample::Value(0)),
            (first, Sample::Value(4)),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn is_full_reports_a_full_histogram_buffer() {
        let config = config();
        let mut tally = Tally::new(&config);
        for _ in 0..MAX_VALUES {
            assert!(!tally.is_full());
            tally.observe(&config, Family::Duration, 0, 1);
        }
        assert!(tally.is_full());
        tally.drain_series(|_, _| ());
        assert!(!tally.is_full());
    }

    #[test]
    fn a_delta_is_handed_over_once() {
        let mut tally = Tally::new(&config());
        tally.count(Metric::Requests);
        tally.add(Metric::Journeys, 2);
        tally.add(Metric::Journeys, -2);
        let mut seen = Vec::new();
        tally.drain(|metric, delta| seen.push((metric, delta)));
        tally.drain(|metric, delta| seen.push((metric, delta)));
        assert_eq!(seen, [(Metric::Requests, 1)]);
    }
}
