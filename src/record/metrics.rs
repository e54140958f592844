use super::series::{Family, Series};
use crate::config::Config;

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Sorts values into buckets.
    Histogram,
}

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

            /// How it behaves.
            pub const fn kind(self) -> MetricKind {
                match self { $(Self::$variant => MetricKind::$kind,)+ }
            }
        }
    };
}

catalogue! {
    /// Client requests for a model, counted when their first attempt begins or they are refused.
    Requests, Counter, "llm_failsafe_requests";
    /// Requests that the filter answered with an error of its own.
    Refusals, Counter, "llm_failsafe_refusals";
    /// Attempts sent to a provider.
    Attempts, Counter, "llm_failsafe_attempts";
    /// Attempts under way at the moment, all workers together.
    AttemptsInFlight, Gauge, "llm_failsafe_attempts_in_flight";
    /// Attempts whose answer was not a failure when it was passed on.
    AttemptsAnswered, Counter, "llm_failsafe_attempts_answered";
    /// Attempts that failed before anything reached the client.
    AttemptsFailed, Counter, "llm_failsafe_attempts_failed";
    /// Failed attempts after which another target was asked for.
    Failovers, Counter, "llm_failsafe_failovers";
    /// Failed attempts after which the same target was to be asked again, after a back-off.
    Repetitions, Counter, "llm_failsafe_repetitions";
    /// Requests that were held before an attempt: for a back-off, or until somebody was free.
    Waits, Counter, "llm_failsafe_waits";
    /// Requests held at the moment, all workers together.
    Waiting, Gauge, "llm_failsafe_waiting";
    /// Requests given up because they had had all their attempts (`attempts_used_up`).
    GaveUpAttempts, Counter, "llm_failsafe_gave_up_attempts_used_up";
    /// Requests given up because every target that may take them had been tried (`nothing_left`).
    GaveUpNothingLeft, Counter, "llm_failsafe_gave_up_nothing_left";
    /// Requests given up because a provider may have taken them on and may charge for them (`maybe_billed`).
    GaveUpMaybeBilled, Counter, "llm_failsafe_gave_up_maybe_billed";
    /// Requests given up because somebody would be free, but too late (`wait_too_long`).
    GaveUpWaitTooLong, Counter, "llm_failsafe_gave_up_wait_too_long";
    /// Requests given up because their total time was over (`deadline`).
    GaveUpDeadline, Counter, "llm_failsafe_gave_up_deadline";
    /// Requests given up because too many of all requests were attempted again (`retry_budget`).
    GaveUpRetryBudget, Counter, "llm_failsafe_gave_up_retry_budget";
    /// Requests refused or given up because as many wait as may (`queue_full`).
    GaveUpQueueFull, Counter, "llm_failsafe_gave_up_queue_full";
    /// Requests given up because they could have cost more than they may (`spend_ceiling`).
    GaveUpSpendCeiling, Counter, "llm_failsafe_gave_up_spend_ceiling";
    /// Requests that waited in vain until somebody is free (`queue_timeout`).
    QueueTimeouts, Counter, "llm_failsafe_queue_timeouts";
    /// Attempts that took longer than a time limit of theirs.
    Alarms, Counter, "llm_failsafe_alarms";
    /// Requests whose client left before the answer was complete.
    ClientAborts, Counter, "llm_failsafe_client_aborts";
    /// Streams that reached their client and came to their end.
    StreamsComplete, Counter, "llm_failsafe_streams_complete";
    /// Streams that their provider ended too early, after part of them had reached the client.
    StreamsTruncated, Counter, "llm_failsafe_streams_truncated";
    /// Streams that told of a failure after part of them had reached the client.
    StreamsFailed, Counter, "llm_failsafe_streams_failed";
    /// Streams that went silent, or brought too little, after part of them had reached the client.
    StreamsStalled, Counter, "llm_failsafe_streams_stalled";
    /// Streams that the request's total ended.
    StreamsOutOfTime, Counter, "llm_failsafe_streams_out_of_time";
    /// Streams whose connection broke after part of them had reached the client.
    StreamsBrokenOff, Counter, "llm_failsafe_streams_broken_off";
    /// Streams whose client left before their end.
    StreamsAbandoned, Counter, "llm_failsafe_streams_abandoned";
    /// Streams that `gate.max_time` let go before there was content.
    GatesOpenedByTime, Counter, "llm_failsafe_gates_opened_by_time";
    /// Keep-alives that were put into quiet streams.
    KeepAlives, Counter, "llm_failsafe_keep_alives";
    /// Input tokens that providers reported, those from and for a prompt cache included.
    TokensInput, Counter, "llm_failsafe_tokens_input";
    /// Of the input tokens, those read from a prompt cache.
    TokensCachedInput, Counter, "llm_failsafe_tokens_cached_input";
    /// Of the input tokens, those written to a prompt cache.
    TokensCacheCreation, Counter, "llm_failsafe_tokens_cache_creation";
    /// Output tokens that providers reported, reasoning included.
    TokensOutput, Counter, "llm_failsafe_tokens_output";
    /// Of the output tokens, those spent on reasoning, where the provider tells them apart.
    TokensReasoning, Counter, "llm_failsafe_tokens_reasoning";
    /// Attempts that brought content and no word of the tokens they took.
    UsageMissing, Counter, "llm_failsafe_usage_missing";
    /// Journeys that one of the workers keeps at the moment, all workers together.
    Journeys, Gauge, "llm_failsafe_journeys";
    /// Journeys that waited in vain for their next attempt: Envoy declined the retry or the client left.
    JourneysOrphaned, Counter, "llm_failsafe_journeys_orphaned";
    /// Requests that got a single attempt because the worker kept `limits.max_journeys` already.
    JourneysFull, Counter, "llm_failsafe_journeys_full";
    /// Breakers that opened.
    BreakerOpened, Counter, "llm_failsafe_breaker_opened";
    /// Breakers that opened again because a probe failed.
    BreakerReopened, Counter, "llm_failsafe_breaker_reopened";
    /// Breakers that closed after successful probes.
    BreakerClosed, Counter, "llm_failsafe_breaker_closed";
    /// Rate limits that came into force or were extended.
    BreakerThrottled, Counter, "llm_failsafe_breaker_throttled";
    /// Requests that probed a breaker.
    BreakerProbes, Counter, "llm_failsafe_breaker_probes";
    /// Requests sent to an unhealthy target because the model says `when_all_open: try_anyway`.
    TriedAnyway, Counter, "llm_failsafe_tried_anyway";
    /// In shadow mode: requests that enforcement would have sent to another target.
    ShadowWouldMove, Counter, "llm_failsafe_shadow_would_move";
    /// In shadow mode: requests that enforcement would have refused.
    ShadowWouldRefuse, Counter, "llm_failsafe_shadow_would_refuse";
    /// Requests refused because a budget of their key was used up.
    BudgetRefusals, Counter, "llm_failsafe_budget_refusals";
    /// Requests that brought a budget of their key to its `warn_at` or above.
    BudgetWarnings, Counter, "llm_failsafe_budget_warnings";
    /// Requests that Envoy's own rate-limit filter, behind this one, refused.
    FleetRefusals, Counter, "llm_failsafe_fleet_refusals";
    /// Requests that a model with `fallback: { mode: shadow }` would have sent to a substitute.
    FallbackWouldMove, Counter, "llm_failsafe_fallback_would_move";
    /// Requests of such a model whose target does not pass a gate.
    FallbackWouldReject, Counter, "llm_failsafe_fallback_would_reject";
    /// Attempts at which the provider did not know the model or the path: a target's `model` is wrong, or was withdrawn.
    ModelNotFound, Counter, "llm_failsafe_model_not_found";
    /// Changes of shared records that only one worker knows of, because of contention or the host.
    SharedDataFailed, Counter, "llm_failsafe_shared_data_failed";
    /// Calls to Envoy that failed although a stream depended on them. Envoy's log says which.
    HostCallsFailed, Counter, "llm_failsafe_host_calls_failed";
    /// Orders that operators gave.
    OperatorOrders, Counter, "llm_failsafe_operator_orders";
    /// Requests on operators' paths that were declined: a wrong key, a foreign page, too many.
    OperatorDeclined, Counter, "llm_failsafe_operator_declined";
    /// The largest memory that the VM of any worker has reached, in bytes. A Wasm memory never shrinks.
    WasmMemory, Gauge, "llm_failsafe_wasm_memory_bytes";
}

/// Values of histograms that are kept until they are handed over; with as many the host takes them before the next tick.
const MAX_VALUES: usize = 1024;

/// What has been counted and not yet handed to the host, which takes it on its tick: a call for each would cost a request
/// more than all the filter decides for it.
#[derive(Debug)]
pub struct Tally {
    deltas: [i64; Metric::ALL.len()],
    series: Series,
    /// What is new of each series that has one value.
    sums: Vec<Sum>,
    /// The numbers of those of which something is.
    touched: Vec<usize>,
    /// Of histograms, each value.
    values: Vec<(usize, u64)>,
}

/// What is new of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sum {
    Nothing,
    Added(i64),
    Set(u64),
}

/// What happened to a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// A counter grew by so much.
    Add(i64),
    /// A gauge is at this now, or a histogram gets one more value.
    Value(u64),
}

impl Tally {
    /// For the metrics of this configuration.
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

    /// Sets a gauge with labels, or gives a histogram a value.
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

    /// Whether it holds as much as it should, so that it is not to wait for the tick.
    pub const fn is_full(&self) -> bool {
        self.values.len() >= MAX_VALUES
    }

    /// Hands what happened to each series to `sink` and forgets it.
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

    /// Counts one more.
    pub fn count(&mut self, metric: Metric) {
        self.add(metric, 1);
    }

    /// Adds to a counter or moves a gauge.
    pub fn add(&mut self, metric: Metric, delta: i64) {
        if let Some(sum) = self.deltas.get_mut(metric as usize) {
            *sum = sum.saturating_add(delta);
        }
    }

    /// Hands every change to `sink` and forgets it.
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
    fn names_are_unique_and_carry_the_prefix() {
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
    fn what_happens_to_a_series_is_summed_up_and_each_value_of_a_histogram_kept() {
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
    fn it_says_when_it_holds_as_much_as_it_should() {
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
    fn a_delta_is_handed_out_once() {
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
