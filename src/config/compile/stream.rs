use std::time::Duration;

use super::common::{needed, number, word};
use super::field_reader::FieldReader;
use crate::config::duration::{Linger, TimeSpan};
use crate::config::mistakes::{Mistakes, Trail};
use crate::config::raw::{Mapping, RawGate, RawMinRate, RawStream};
use crate::config::stream_policy::{HoldPolicy, HoldUntil, MinRate, OnBreak, StreamPolicies, StreamPolicy};

/// A worker checks its streams on each tick, so shorter times would have no effect.
const TENTH: TimeSpan = TimeSpan::millis(100);
const SECOND: TimeSpan = TimeSpan::seconds(1);
const HOUR: TimeSpan = TimeSpan::seconds(3_600);
const DAY: TimeSpan = TimeSpan::seconds(86_400);

/// The maximum of `min_rate.events`. The time of each event is kept.
const MAX_EVENTS: u64 = 100;

/// The bounds of `gate.max_bytes`.
const HELD_BYTES: std::ops::RangeInclusive<u64> = 1024..=1024 * 1024;

/// The configured policies; absent fields are as in [`StreamPolicies::default`]. A configured time holds for every target.
pub(super) fn policies(
    raw: Option<&Mapping<RawStream>>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> StreamPolicies {
    let StreamPolicies { may_reason: defaults, never_reasons } = StreamPolicies::default();
    let Some(Mapping(raw)) = raw else { return StreamPolicies::default() };
    let ends = [("error_event", OnBreak::ErrorEvent), ("reset", OnBreak::Reset)];
    let at = at.field("stream");
    let on_break = word(raw.on_break.as_ref(), &ends, &at.field("on_break"), mistakes);
    let gate = gate(raw.gate.as_ref(), &at.field("gate"), mistakes);
    let min_rate =
        raw.min_rate.as_ref().and_then(|Mapping(raw)| min_rate(raw, at.field("min_rate"), mistakes));
    let mut fields = FieldReader { at, mistakes };
    let keep_alive =
        raw.keep_alive.map(|every| fields.span("keep_alive", Some(every), HOUR, SECOND..=HOUR).duration());
    let linger = match raw.linger {
        None => defaults.linger,
        Some(Linger::Provider) => None,
        Some(Linger::For(span)) => Some(fields.span("linger", Some(span), HOUR, TENTH..=HOUR).duration()),
    };
    let mut span = |name, written, default, most| {
        fields.span(name, written, TimeSpan::of(default), TENTH..=most).duration()
    };
    let answer = span("answer", raw.answer, defaults.answer, DAY);
    let may_reason = StreamPolicy {
        first_content: span("first_content", raw.first_content, defaults.first_content, HOUR),
        idle: span("idle", raw.idle, defaults.idle, HOUR),
        content_idle: span("content_idle", raw.content_idle, defaults.content_idle, HOUR),
        answer,
        total: span("total", raw.total, defaults.total.max(half_longer(answer)), DAY),
        min_rate,
        gate,
        keep_alive,
        on_break,
        linger,
    };
    // What is written has been checked above.
    let either = |written: Option<TimeSpan>, default| written.map_or(default, TimeSpan::duration);
    let never_reasons = StreamPolicy {
        first_content: either(raw.first_content, never_reasons.first_content),
        idle: either(raw.idle, never_reasons.idle),
        answer: either(raw.answer, never_reasons.answer),
        ..may_reason
    };
    StreamPolicies { may_reason, never_reasons }
}

/// One and a half times `answer`, the default of `total` if that is longer than the usual one: a provider that never answers
/// shall leave time for another one.
fn half_longer(answer: Duration) -> Duration {
    answer.saturating_add(answer / 2).min(DAY.duration())
}

fn gate(raw: Option<&Mapping<RawGate>>, at: &Trail<'_>, mistakes: &mut Mistakes) -> HoldPolicy {
    let defaults = HoldPolicy::default();
    let Some(Mapping(raw)) = raw else { return defaults };
    let words = [
        ("headers", HoldUntil::Headers),
        ("first_event", HoldUntil::FirstEvent),
        ("first_content", HoldUntil::FirstContent),
    ];
    let until = word(raw.until.as_ref(), &words, &at.field("until"), mistakes);
    let max_bytes = raw.max_bytes.map_or(defaults.max_bytes as u64, |size| size.0);
    if !HELD_BYTES.contains(&max_bytes) {
        mistakes.add(&at.field("max_bytes"), format!("is {max_bytes} bytes, expected 1KiB to 1MiB"));
    }
    let mut fields = FieldReader { at: *at, mistakes };
    let max_time =
        raw.max_time.map(|time| fields.span("max_time", Some(time), HOUR, TENTH..=HOUR).duration());
    HoldPolicy { until, max_bytes: usize::try_from(max_bytes).unwrap_or(defaults.max_bytes), max_time }
}

fn min_rate(raw: &RawMinRate, at: Trail<'_>, mistakes: &mut Mistakes) -> Option<MinRate> {
    let events = needed(&raw.events, "events", &at, mistakes)
        .map(|events| number(Some(*events), 1, 1..=MAX_EVENTS, &at.field("events"), mistakes));
    let window = *needed(&raw.window, "window", &at, mistakes)?;
    let window = FieldReader { at, mistakes }.span("window", Some(window), HOUR, SECOND..=HOUR);
    Some(MinRate { events: u16::try_from(events?).ok()?, window: window.duration() })
}
