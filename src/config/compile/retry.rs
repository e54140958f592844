use super::common::{number, word};
use super::field_reader::FieldReader;
use super::limits::MAX_ATTEMPTS;
use crate::config::duration::TimeSpan;
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::raw::{Mapping, RawBackoff, RawQueue, RawRetry, RawRetryBudget};
use crate::config::retry::{Backoff, LastError, QueuePolicy, Replay, RetryBudget, RetryPolicy};
use crate::config::size::Size;

/// Waiting requests are checked on each tick, so shorter times would have no effect.
const TENTH: TimeSpan = TimeSpan::millis(100);
const MAX_WAITING: u64 = 10_000;
const MIN_WAITING_BYTES: u64 = 1024;
const MAX_WAITING_BYTES: u64 = 1024 * 1024 * 1024;
const MILLISECOND: TimeSpan = TimeSpan::millis(1);
/// Clients give up before a longer back-off ends.
const MINUTE: TimeSpan = TimeSpan::seconds(60);
const TEN_MINUTES: TimeSpan = TimeSpan::seconds(600);

/// The configured policy; absent fields are as in [`RetryPolicy::default`].
pub(super) fn policy(
    raw: Option<&Mapping<RawRetry>>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> RetryPolicy {
    let defaults = RetryPolicy::default();
    let Some(Mapping(raw)) = raw else { return defaults };
    let most = u64::from(MAX_ATTEMPTS);
    let replays = [("once", Replay::Once), ("never", Replay::Never), ("always", Replay::Always)];
    let errors = [("provider", LastError::Provider), ("own", LastError::Own)];
    let replay_uncertain =
        word(raw.replay_uncertain.as_ref(), &replays, &at.field("replay_uncertain"), mistakes);
    let last_error = word(raw.last_error.as_ref(), &errors, &at.field("last_error"), mistakes);
    let backoff = backoff(raw.backoff.as_ref(), defaults.backoff, &at.field("backoff"), mistakes);
    let queue = raw.queue.as_ref().map(|Mapping(raw)| queue(raw, &at.field("queue"), mistakes));
    let mut fields = FieldReader { at: *at, mistakes };
    RetryPolicy {
        attempts: fields.count("attempts", raw.attempts, defaults.attempts, most),
        attempts_per_target: fields.count(
            "attempts_per_target",
            raw.attempts_per_target,
            defaults.attempts_per_target,
            most,
        ),
        backoff,
        retry_after_cap: fields
            .span(
                "retry_after_cap",
                raw.retry_after_cap,
                TimeSpan::of(defaults.retry_after_cap),
                TimeSpan::ZERO..=TEN_MINUTES,
            )
            .duration(),
        replay_uncertain,
        last_error,
        max_cost: raw.max_cost.and_then(|dollars| fields.dollars("max_cost", dollars)),
        queue,
    }
}

fn queue(raw: &RawQueue, at: &Trail<'_>, mistakes: &mut Mistakes) -> QueuePolicy {
    let defaults = QueuePolicy::default();
    let Size(mut max_waiting_bytes) = raw.max_waiting_bytes.unwrap_or(Size(defaults.max_waiting_bytes));
    if !(MIN_WAITING_BYTES..=MAX_WAITING_BYTES).contains(&max_waiting_bytes) {
        let problem = format!("is {max_waiting_bytes} bytes, expected 1KiB to 1024MiB");
        mistakes.add(&at.field("max_waiting_bytes"), problem);
        max_waiting_bytes = defaults.max_waiting_bytes;
    }
    let mut fields = FieldReader { at: *at, mistakes };
    let max_waiting = fields.count("max_waiting", raw.max_waiting, defaults.max_waiting as u64, MAX_WAITING);
    QueuePolicy {
        max_wait: fields
            .span("max_wait", raw.max_wait, TimeSpan::of(defaults.max_wait), TENTH..=TEN_MINUTES)
            .duration(),
        max_waiting: usize::try_from(max_waiting).unwrap_or(defaults.max_waiting),
        max_waiting_bytes,
    }
}

fn backoff(
    raw: Option<&Mapping<RawBackoff>>,
    defaults: Backoff,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Backoff {
    let Some(Mapping(raw)) = raw else { return defaults };
    let mut fields = FieldReader { at: *at, mistakes };
    let base = fields.span("base", raw.base, TimeSpan::of(defaults.base), MILLISECOND..=MINUTE);
    // If only a longer first wait is configured, the default of the maximum must not make it invalid.
    let default = TimeSpan::of(defaults.max).max(base);
    let least = if fields.mistakes.holds(&at.field("base")) { MILLISECOND } else { base };
    let max = fields.span("max", raw.max, default, least..=MINUTE);
    Backoff { base: base.duration(), max: max.duration() }
}

/// A ratio above 1 is hardly a budget, but allows operators to try without one.
const MAX_RATIO: f64 = 10.0;
const MAX_FLOOR: u64 = 10_000;

pub(super) fn budget(raw: Option<&Mapping<RawRetryBudget>>, mistakes: &mut Mistakes) -> RetryBudget {
    let defaults = RetryBudget::default();
    let Some(Mapping(raw)) = raw else { return defaults };
    let at = Trail::Root.field("retry_budget");
    let ratio_permille = match raw.ratio {
        None => defaults.ratio_permille,
        // Between 0 and 10,000, where the cast is exact.
        Some(ratio) if (0.0..=MAX_RATIO).contains(&ratio) => (ratio * 1000.0).round() as u32,
        Some(ratio) => {
            let problem = format!("is {}, expected 0 to {MAX_RATIO}", shown(&ratio.to_string()));
            mistakes.add(&at.field("ratio"), problem);
            defaults.ratio_permille
        }
    };
    let floor = number(raw.floor, u64::from(defaults.floor), 0..=MAX_FLOOR, &at.field("floor"), mistakes);
    RetryBudget { ratio_permille, floor: u32::try_from(floor).unwrap_or(defaults.floor) }
}
