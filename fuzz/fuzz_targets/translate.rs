//! The translation of answers: whatever a provider sends, its client gets whole events, and no end before the
//! provider's own.
//!
//! Input: one byte for the way, then the provider's stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_failsafe::stream::Framer;
use llm_failsafe::translate::{
    AnswerTerms, ReasoningPolicy, StreamTranslator, Translation, translate_answer,
};

/// The ends of streams in the dialects of clients.
const ENDS: [&[u8]; 4] = [b"[DONE]", b"message_stop", b"response.completed", b"response.incomplete"];

fn terms() -> AnswerTerms {
    let mut terms = AnswerTerms { reasoning: ReasoningPolicy::Keep, ..AnswerTerms::default() };
    terms.context.custom_tools.push((*b"f").into());
    terms
}

fuzz_target!(|input: &[u8]| {
    let [way, stream @ ..] = input else { return };
    let way = Translation::ALL[usize::from(*way) % Translation::ALL.len()];
    let mut translator = StreamTranslator::new(way, terms());
    let mut out = Vec::new();
    let mut goes_on = true;
    Framer::new().feed(stream, |event| {
        goes_on = goes_on && translator.event(event.name, event.data, &mut out).is_ok();
    });
    translator.finish(&mut out);

    let mut framer = Framer::with_max_event(usize::MAX);
    let mut ends = 0;
    framer.feed(&out, |event| {
        ends += usize::from(ENDS.iter().any(|end| *end == event.name || *end == event.data));
    });
    assert!(framer.at_boundary());
    assert!(ends <= 1);
    let may_end = [b"finish_reason".as_slice(), b"stop_reason", b"message_stop"];
    let has_end = may_end.iter().any(|end| stream.windows(end.len()).any(|part| part == *end));
    assert!(ends == 0 || has_end);
    let _ = translate_answer(way, stream, &terms());
});
