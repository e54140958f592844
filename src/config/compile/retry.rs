use super::section::Section;
use super::{MAX_ATTEMPTS, number, word};
use crate::config::duration::Span;
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::raw::{Mapping, RawBackoff, RawQueue, RawRetry, RawRetryBudget};
use crate::config::retry::{Backoff, LastError, QueuePolicy, Replay, RetryBudget, RetryPolicy};
use crate::config::size::Size;

/// Who waits looks for somebody free on the tick.
const TENTH: Span = Span::millis(100);
const MAX_WAITING: u64 = 10_000;
const MIN_WAITING_BYTES: u64 = 1024;
const MAX_WAITING_BYTES: u64 = 1024 * 1024 * 1024;
const MILLISECOND: Span = Span::millis(1);
/// A client that waits longer has long since given up.
const MINUTE: Span = Span::seconds(60);
const TEN_MINUTES: Span = Span::seconds(600);

/// The policy that is written at `at`; what is absent is as in [`RetryPolicy::default`].
pub(super) fn policy(
    raw: Option<&Mapping<RawRetry>>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> RetryPolicy {
    let usual = RetryPolicy::default();
    let Some(Mapping(raw)) = raw else { return usual };
    let most = u64::from(MAX_ATTEMPTS);
    let replays = [("once", Replay::Once), ("never", Replay::Never), ("always", Replay::Always)];
    let errors = [("provider", LastError::Provider), ("own", LastError::Own)];
    let replay_uncertain =
        word(raw.replay_uncertain.as_ref(), &replays, &at.field("replay_uncertain"), mistakes);
    let last_error = word(raw.last_error.as_ref(), &errors, &at.field("last_error"), mistakes);
    let backoff = backoff(raw.backoff.as_ref(), usual.backoff, &at.field("backoff"), mistakes);
    let queue = raw.queue.as_ref().map(|Mapping(raw)| queue(raw, &at.field("queue"), mistakes));
    let mut section = Section { at: *at, mistakes };
    RetryPolicy {
        attempts: section.count("attempts", raw.attempts, usual.attempts, most),
        attempts_per_target: section.count(
            "attempts_per_target",
            raw.attempts_per_target,
            usual.attempts_per_target,
            most,
        ),
        backoff,
        retry_after_cap: section
            .span(
                "retry_after_cap",
                raw.retry_after_cap,
                Span::of(usual.retry_after_cap),
                Span::ZERO..=TEN_MINUTES,
            )
            .duration(),
        replay_uncertain,
        last_error,
        max_cost: raw.max_cost.and_then(|dollars| section.dollars("max_cost", dollars)),
        queue,
    }
}

fn queue(raw: &RawQueue, at: &Trail<'_>, mistakes: &mut Mistakes) -> QueuePolicy {
    let usual = QueuePolicy::default();
    let Size(mut max_waiting_bytes) = raw.max_waiting_bytes.unwrap_or(Size(usual.max_waiting_bytes));
    if !(MIN_WAITING_BYTES..=MAX_WAITING_BYTES).contains(&max_waiting_bytes) {
        let problem = format!("is {max_waiting_bytes} bytes, expected 1KiB to 1024MiB");
        mistakes.add(&at.field("max_waiting_bytes"), problem);
        max_waiting_bytes = usual.max_waiting_bytes;
    }
    let mut section = Section { at: *at, mistakes };
    let max_waiting = section.count("max_waiting", raw.max_waiting, usual.max_waiting as u64, MAX_WAITING);
    QueuePolicy {
        max_wait: section
            .span("max_wait", raw.max_wait, Span::of(usual.max_wait), TENTH..=TEN_MINUTES)
            .duration(),
        max_waiting: usize::try_from(max_waiting).unwrap_or(usual.max_waiting),
        max_waiting_bytes,
    }
}

fn backoff(
    raw: Option<&Mapping<RawBackoff>>,
    usual: Backoff,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Backoff {
    let Some(Mapping(raw)) = raw else { return usual };
    let mut section = Section { at: *at, mistakes };
    let base = section.span("base", raw.base, Span::of(usual.base), MILLISECOND..=MINUTE);
    // The default gives way to a longer first wait: who writes only that need not know that there is a limit.
    let default = Span::of(usual.max).max(base);
    let least = if section.mistakes.holds(&at.field("base")) { MILLISECOND } else { base };
    let max = section.span("max", raw.max, default, least..=MINUTE);
    Backoff { base: base.duration(), max: max.duration() }
}

/// More further attempts than requests are no budget, but somebody may want to try without one.
const MAX_RATIO: f64 = 10.0;
const MAX_FLOOR: u64 = 10_000;

pub(super) fn budget(raw: Option<&Mapping<RawRetryBudget>>, mistakes: &mut Mistakes) -> RetryBudget {
    let usual = RetryBudget::default();
    let Some(Mapping(raw)) = raw else { return usual };
    let at = Trail::Root.field("retry_budget");
    let ratio_permille = match raw.ratio {
        None => usual.ratio_permille,
        // Between 0 and 10,000, which the cast keeps.
        Some(ratio) if (0.0..=MAX_RATIO).contains(&ratio) => (ratio * 1000.0).round() as u32,
        Some(ratio) => {
            let problem = format!("is {}, expected 0 to {MAX_RATIO}", shown(&ratio.to_string()));
            mistakes.add(&at.field("ratio"), problem);
            usual.ratio_permille
        }
    };
    let floor = number(raw.floor, u64::from(usual.floor), 0..=MAX_FLOOR, &at.field("floor"), mistakes);
    RetryBudget { ratio_permille, floor: u32::try_from(floor).unwrap_or(usual.floor) }
}
