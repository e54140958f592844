use std::time::Duration;

use super::section::Section;
use super::{needed, number, word};
use crate::config::duration::Span;
use crate::config::mistakes::{Mistakes, Trail};
use crate::config::raw::{Mapping, RawGate, RawMinRate, RawStream};
use crate::config::stream_policy::{Gate, GateUntil, MinRate, OnBreak, StreamPolicy};

/// Shorter times cannot be told from the period in which a worker looks at its streams.
const TENTH: Span = Span::millis(100);
const SECOND: Span = Span::seconds(1);
const HOUR: Span = Span::seconds(3_600);
const DAY: Span = Span::seconds(86_400);

/// Events that the floor under a stream's pace may ask for: each is kept with its time.
const MAX_EVENTS: u64 = 100;

/// What may be held of one stream, in bytes.
const HELD_BYTES: std::ops::RangeInclusive<u64> = 1024..=1024 * 1024;

/// The policy that is written; what is absent is as in [`StreamPolicy::default`].
pub(super) fn policy(
    raw: Option<&Mapping<RawStream>>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> StreamPolicy {
    let usual = StreamPolicy::default();
    let Some(Mapping(raw)) = raw else { return usual };
    let ends = [("error_event", OnBreak::ErrorEvent), ("reset", OnBreak::Reset)];
    let at = at.field("stream");
    let on_break = word(raw.on_break.as_ref(), &ends, &at.field("on_break"), mistakes);
    let gate = gate(raw.gate.as_ref(), &at.field("gate"), mistakes);
    let min_rate =
        raw.min_rate.as_ref().and_then(|Mapping(raw)| min_rate(raw, at.field("min_rate"), mistakes));
    let mut section = Section { at, mistakes };
    let keep_alive =
        raw.keep_alive.map(|every| section.span("keep_alive", Some(every), HOUR, SECOND..=HOUR).duration());
    let mut span = |name, written, default, most| {
        section.span(name, written, Span::of(default), TENTH..=most).duration()
    };
    let first_content = span("first_content", raw.first_content, usual.first_content, HOUR);
    // What the operator has written holds for every target.
    let written = |usual: Duration| if raw.first_content.is_some() { first_content } else { usual };
    StreamPolicy {
        first_content,
        first_content_reasoning: written(usual.first_content_reasoning),
        idle: span("idle", raw.idle, usual.idle, HOUR),
        content_idle: span("content_idle", raw.content_idle, usual.content_idle, HOUR),
        answer: span("answer", raw.answer, usual.answer, DAY),
        total: span("total", raw.total, usual.total, DAY),
        min_rate,
        gate,
        keep_alive,
        on_break,
    }
}

fn gate(raw: Option<&Mapping<RawGate>>, at: &Trail<'_>, mistakes: &mut Mistakes) -> Gate {
    let usual = Gate::default();
    let Some(Mapping(raw)) = raw else { return usual };
    let words = [
        ("headers", GateUntil::Headers),
        ("first_event", GateUntil::FirstEvent),
        ("first_content", GateUntil::FirstContent),
    ];
    let until = word(raw.until.as_ref(), &words, &at.field("until"), mistakes);
    let max_bytes = raw.max_bytes.map_or(usual.max_bytes as u64, |size| size.0);
    if !HELD_BYTES.contains(&max_bytes) {
        mistakes.add(&at.field("max_bytes"), format!("is {max_bytes} bytes, expected 1KiB to 1MiB"));
    }
    let mut section = Section { at: *at, mistakes };
    let max_time =
        raw.max_time.map(|time| section.span("max_time", Some(time), HOUR, TENTH..=HOUR).duration());
    Gate { until, max_bytes: usize::try_from(max_bytes).unwrap_or(usual.max_bytes), max_time }
}

fn min_rate(raw: &RawMinRate, at: Trail<'_>, mistakes: &mut Mistakes) -> Option<MinRate> {
    let events = needed(&raw.events, "events", &at, mistakes)
        .map(|events| number(Some(*events), 1, 1..=MAX_EVENTS, &at.field("events"), mistakes));
    let window = *needed(&raw.window, "window", &at, mistakes)?;
    let window = Section { at, mistakes }.span("window", Some(window), HOUR, SECOND..=HOUR);
    Some(MinRate { events: u16::try_from(events?).ok()?, window: window.duration() })
}
