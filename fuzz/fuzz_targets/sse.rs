//! The SSE framer and event parser: every chunking of a stream gives the same events.
//!
//! Input: three bytes for the dialect, the chunk length and the event limit, then the stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_failsafe::stream::{Event, Framer, KEPT_CAPACITY, MAX_NAME, StreamDialect, StreamState};

const DIALECTS: [StreamDialect; 5] = [
    StreamDialect::Chat,
    StreamDialect::Completions,
    StreamDialect::Responses,
    StreamDialect::Messages,
    StreamDialect::Gemini,
];

/// All events of a stream, as text.
fn read<'a>(dialect: StreamDialect, max_event: usize, chunks: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let mut framer = Framer::with_max_event(max_event);
    let mut state = StreamState::new(dialect);
    let (mut said, mut last_end) = (Vec::new(), 0);
    let mut on_event = |event: Event<'_>| {
        assert!(event.name.len() <= MAX_NAME && event.data.len() <= max_event);
        assert!(event.start >= last_end && event.end >= event.start);
        last_end = event.end;
        let meaning = state.read(&event);
        said.push(format!("{:?} {:?} {} {:?} {meaning:?}", event.name, event.data, event.start, event.form));
    };
    let mut fed = 0;
    for chunk in chunks {
        framer.feed(chunk, &mut on_event);
        fed += chunk.len() as u64;
        assert_eq!(framer.position(), fed);
        assert_eq!(framer.tail_start() + framer.tail_len(), fed);
        assert!(framer.buffered() <= 2 * max_event.max(KEPT_CAPACITY));
    }
    framer.finish(&mut on_event);
    said.push(format!(
        "{:?} {:?} {:?} {}",
        state.ending(),
        state.usage(),
        state.finish_reason(),
        framer.oversize_events()
    ));
    said
}

fuzz_target!(|input: &[u8]| {
    let [dialect, chunk, limit, stream @ ..] = input else { return };
    let dialect = DIALECTS[usize::from(*dialect) % DIALECTS.len()];
    let max_event = if limit % 2 == 0 { 1 << 20 } else { usize::from(*limit) };
    let whole = read(dialect, max_event, std::iter::once(stream));
    assert_eq!(read(dialect, max_event, stream.chunks(usize::from(*chunk) + 1)), whole);
    assert_eq!(read(dialect, max_event, stream.chunks(1)), whole);
});
