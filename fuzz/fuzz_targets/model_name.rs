//! Model names in a response: every chunking finds the same ones. Replacing a name changes no other byte and keeps the
//! JSON valid.
//!
//! Input: one byte for the kind of response, one byte for the chunk length, then the response.

#![no_main]

use std::ops::Range;

use libfuzzer_sys::fuzz_target;
use llm_failsafe::stream::{MAX_MODEL_NAME, MAX_MODEL_NAMES, ModelFinder, StreamDialect};

fn finder(kind: u8) -> ModelFinder {
    match kind % 4 {
        0 => ModelFinder::of_answer(),
        1 => ModelFinder::of_stream(StreamDialect::Chat),
        2 => ModelFinder::of_stream(StreamDialect::Responses),
        _ => ModelFinder::of_stream(StreamDialect::Messages),
    }
}

fn found<'a>(kind: u8, chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Range<u64>> {
    let mut finder = finder(kind);
    for chunk in chunks {
        finder.feed(chunk);
        assert!(finder.open_name() <= MAX_MODEL_NAME);
    }
    finder.finish();
    finder.found().to_vec()
}

fuzz_target!(|input: &[u8]| {
    let [kind, chunk, answer @ ..] = input else { return };
    let whole = found(*kind, std::iter::once(answer));
    assert_eq!(found(*kind, answer.chunks(usize::from(*chunk) + 1)), whole);
    assert_eq!(found(*kind, answer.chunks(1)), whole);
    let mut last = 0;
    for name in &whole {
        assert!(name.start >= last && name.end - name.start <= MAX_MODEL_NAME as u64);
        last = name.end;
        let text = &answer[name.start as usize..name.end as usize];
        assert!(text.len() >= 2 && text.starts_with(b"\"") && text.ends_with(b"\""));
    }
    if kind % 4 == 0 {
        assert!(whole.len() <= MAX_MODEL_NAMES);
        let Ok(mut before) = serde_json::from_slice::<serde_json::Value>(answer) else { return };
        let mut renamed = answer.to_vec();
        for name in whole.iter().rev() {
            renamed.splice(name.start as usize..name.end as usize, *b"\"new\"");
        }
        let after: serde_json::Value = serde_json::from_slice(&renamed).unwrap();
        // The last of several members with the same name counts, and at most MAX_MODEL_NAMES are replaced.
        if !whole.is_empty() && whole.len() < MAX_MODEL_NAMES && before["model"].is_string() {
            before["model"] = after["model"].clone();
        }
        if whole.len() < MAX_MODEL_NAMES {
            assert_eq!(after, before);
        }
    }
});
