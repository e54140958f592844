use super::section::Section;
use super::word;
use crate::config::compiled::{OnBreak, StreamPolicy};
use crate::config::duration::Span;
use crate::config::mistakes::{Mistakes, Trail};
use crate::config::raw::{Mapping, RawStream};

/// Shorter times cannot be told from the period in which a worker looks at its streams.
const TENTH: Span = Span::millis(100);
const HOUR: Span = Span::seconds(3_600);
const DAY: Span = Span::seconds(86_400);

/// The policy that is written; what is absent is as in [`StreamPolicy::default`].
pub(super) fn policy(
    raw: Option<&Mapping<RawStream>>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> StreamPolicy {
    let usual = StreamPolicy::default();
    let Some(Mapping(raw)) = raw else { return usual };
    let ends = [("error_event", OnBreak::ErrorEvent), ("reset", OnBreak::Reset)];
    let on_break = word(raw.on_break.as_ref(), &ends, &at.field("stream").field("on_break"), mistakes);
    let mut section = Section { at: at.field("stream"), mistakes };
    let mut span = |name, written, default, most| {
        section.span(name, written, Span::of(default), TENTH..=most).duration()
    };
    StreamPolicy {
        first_content: span("first_content", raw.first_content, usual.first_content, HOUR),
        silence: span("silence", raw.silence, usual.silence, HOUR),
        content_silence: span("content_silence", raw.content_silence, usual.content_silence, HOUR),
        answer: span("answer", raw.answer, usual.answer, DAY),
        total: span("total", raw.total, usual.total, DAY),
        on_break,
    }
}
