//! What attempts and decisions count.

use crate::base::{TargetId, millis};
use crate::config::Config;
use crate::outcome::{End, Outcome, StreamEnd};
use crate::record::{Family, Metric, Tally, class_place};
use crate::retry::{Next, Stop};

/// Counts an attempt in the totals and in its target's series.
pub fn count_outcome(outcome: &Outcome, config: &Config, target: TargetId, tally: &mut Tally) {
    count_by_target(outcome, config, target, tally);
    if outcome.usage_is_missing() {
        tally.count(Metric::UsageMissing);
    }
    let Some(usage) = outcome.usage else { return };
    for (metric, tokens) in [
        (Metric::TokensInput, usage.input),
        (Metric::TokensCachedInput, usage.cached_input),
        (Metric::TokensCacheCreation, usage.cache_creation),
        (Metric::TokensOutput, usage.output),
        (Metric::TokensReasoning, usage.reasoning),
    ] {
        tally.add(metric, i64::try_from(tokens).unwrap_or(i64::MAX));
    }
}

fn count_by_target(outcome: &Outcome, config: &Config, target: TargetId, tally: &mut Tally) {
    let at = target.index();
    // The numbers are positions in `OUTCOMES`, the labels of the family.
    let end = match outcome.end {
        End::Complete => 0,
        End::ClientGone => 1,
        End::Withdrawn => 2,
        End::Failed(class) => class_place(3, class),
    };
    tally.label(config, Family::AttemptsByOutcome, (at, end), 1);
    if matches!(outcome.end, End::Failed(_)) && outcome.passed {
        tally.label(config, Family::AttemptsBroken, (at, 0), 1);
    }
    if let Some(first) = outcome.first_content {
        tally.observe(config, Family::FirstContent, at, millis(first));
    }
    if let Some(gap) = outcome.longest_gap {
        tally.observe(config, Family::LongestGap, at, millis(gap));
    }
    if outcome.end == End::Complete {
        tally.observe(config, Family::Duration, at, millis(outcome.took));
    }
    if outcome.usage_is_missing() {
        tally.label(config, Family::UsageMissing, (at, 0), 1);
    }
    let Some(usage) = outcome.usage else { return };
    // In the order of `TOKENS`, the labels of the family.
    let kinds = [usage.input, usage.cached_input, usage.cache_creation, usage.output, usage.reasoning];
    for (kind, tokens) in kinds.into_iter().enumerate() {
        tally.label(config, Family::Tokens, (at, kind), tokens);
    }
    if let Some(price) = config.target(target).and_then(|target| target.offers.price) {
        // The same function as in the record, so that the two never disagree.
        let cost = price.with_cached(usage.input, usage.cached_input, usage.output);
        tally.label(config, Family::Cost, (at, 0), cost.micros());
    }
}

/// Counts how a stream ended that a client was reading.
pub fn count_stream_end(end: StreamEnd, tally: &mut Tally) {
    tally.count(match end {
        StreamEnd::Complete => Metric::StreamsComplete,
        StreamEnd::Truncated => Metric::StreamsTruncated,
        StreamEnd::Failed(_) => Metric::StreamsFailed,
        StreamEnd::Stalled(_) => Metric::StreamsStalled,
        StreamEnd::OutOfTime => Metric::StreamsOutOfTime,
        StreamEnd::BrokenOff => Metric::StreamsBrokenOff,
        StreamEnd::HopClosed => Metric::StreamsHopClosed,
        StreamEnd::ClientGone => Metric::StreamsAbandoned,
    });
}

/// Counts what was decided after a failure.
pub fn count_decision(next: Next, tally: &mut Tally) {
    let metric = match next {
        Next::Elsewhere(_) => Some(Metric::Failovers),
        Next::Again { .. } => Some(Metric::Repetitions),
        Next::Wait { .. } => None,
        Next::Stop(stop) => gave_up(stop),
    };
    metric.into_iter().for_each(|metric| tally.count(metric));
}

const fn gave_up(stop: Stop) -> Option<Metric> {
    match stop {
        Stop::AttemptsUsedUp => Some(Metric::GaveUpAttempts),
        Stop::MaybeBilled => Some(Metric::GaveUpMaybeBilled),
        Stop::Deadline => Some(Metric::GaveUpDeadline),
        Stop::NothingLeft => Some(Metric::GaveUpNothingLeft),
        Stop::WaitTooLong => Some(Metric::GaveUpWaitTooLong),
        Stop::RetryBudget => Some(Metric::GaveUpRetryBudget),
        Stop::QueueFull => Some(Metric::GaveUpQueueFull),
        Stop::SpendCeiling => Some(Metric::GaveUpSpendCeiling),
        Stop::Policy | Stop::NoRetryLoop | Stop::JourneysFull | Stop::ClientForbids => None,
    }
}
