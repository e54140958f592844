use std::time::Duration;

use super::section::Section;
use super::word;
use crate::config::duration::Span;
use crate::config::mistakes::{Mistakes, Trail};
use crate::config::raw::{Mapping, RawGate, RawStream};
use crate::config::stream_policy::{Gate, GateUntil, OnBreak, StreamPolicy};

/// Shorter times cannot be told from the period in which a worker looks at its streams.
const TENTH: Span = Span::millis(100);
const HOUR: Span = Span::seconds(3_600);
const DAY: Span = Span::seconds(86_400);

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
    let mut section = Section { at, mistakes };
    let mut span = |name, written, default, most| {
        section.span(name, written, Span::of(default), TENTH..=most).duration()
    };
    let first_content = span("first_content", raw.first_content, usual.first_content, HOUR);
    // What the operator has written holds for every target.
    let written = |usual: Duration| if raw.first_content.is_some() { first_content } else { usual };
    StreamPolicy {
        first_content,
        first_content_reasoning: written(usual.first_content_reasoning),
        silence: span("silence", raw.silence, usual.silence, HOUR),
        content_silence: span("content_silence", raw.content_silence, usual.content_silence, HOUR),
        answer: span("answer", raw.answer, usual.answer, DAY),
        total: span("total", raw.total, usual.total, DAY),
        gate,
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
    Gate { until, max_bytes: usize::try_from(max_bytes).unwrap_or(usual.max_bytes) }
}
