use proptest::prelude::*;

use super::*;
use crate::stream::samples;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    name: Vec<u8>,
    data: Vec<u8>,
    start: u64,
    end: u64,
    form: Form,
}

fn owned(event: Event<'_>) -> Owned {
    let (name, data) = (event.name.to_vec(), event.data.to_vec());
    Owned { name, data, start: event.start, end: event.end, form: event.form }
}

/// The same grammar, read from the whole input at once.
fn reference(input: &[u8], max_event: usize) -> Vec<Owned> {
    let mut events = Vec::new();
    let (mut name, mut data, mut fields) = (Vec::new(), None::<Vec<u8>>, false);
    let (mut at, mut start, mut oversize) = (0, 0, false);
    while at < input.len() {
        let text_end = (at..input.len()).find(|i| matches!(input[*i], b'\n' | b'\r')).unwrap_or(input.len());
        let line_end = text_end + if input[text_end..].starts_with(b"\r\n") { 2 } else { 1 };
        let ended = line_end <= input.len();
        let mut line = &input[at..text_end];
        let empty = line.is_empty();
        if at == 0 {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        oversize |= text_end - start > max_event;
        at = line_end.min(input.len());
        if oversize && !empty {
            continue;
        }
        let colon = line.iter().position(|b| *b == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value).to_vec();
        match field {
            b"" if line.is_empty() && ended => {
                if oversize || data.is_some() || !name.is_empty() {
                    let form = if oversize { Form::Oversize } else { Form::Whole };
                    let data = if oversize { Vec::new() } else { data.take().unwrap_or_default() };
                    events.push(Owned { name, data, start: start as u64, end: at as u64, form });
                }
                (name, data, fields, start, oversize) = (Vec::new(), None, false, at, false);
            }
            b"" if !fields && ended => start = at,
            b"" => {}
            b"data" => {
                data = Some(data.map_or(value.clone(), |data| [&data[..], b"\n", &value[..]].concat()));
                fields = true;
            }
            b"event" => {
                name = value[..value.len().min(MAX_NAME)].to_vec();
                fields = true;
            }
            _ => fields = true,
        }
    }
    if !oversize && (data.is_some() || !name.is_empty()) {
        let (data, end) = (data.unwrap_or_default(), input.len() as u64);
        events.push(Owned { name, data, start: start as u64, end, form: Form::Torn });
    }
    events
}

/// Feeds `chunks`. Checks the events and what must hold after every chunk.
fn frame<'c>(max_event: usize, chunks: impl IntoIterator<Item = &'c [u8]>) -> Vec<Owned> {
    let mut framer = Framer::with_max_event(max_event);
    let mut events: Vec<Owned> = Vec::new();
    let mut fed = 0;
    for chunk in chunks {
        framer.feed(chunk, |event| events.push(owned(event)));
        fed += chunk.len() as u64;
        assert_eq!(framer.position(), fed);
        assert_eq!(framer.at_boundary(), framer.tail_start() == fed);
        assert!(framer.is_passing_over() || framer.tail_len() <= max_event as u64 + 2);
        assert!(framer.buffered() <= max_event.max(8), "{} bytes held", framer.buffered());
        assert!(events.last().is_none_or(|event| event.end <= framer.tail_start()));
    }
    framer.finish(|event| events.push(owned(event)));
    assert!(framer.at_boundary() && framer.position() == fed);
    let oversize = events.iter().filter(|event| event.form == Form::Oversize).count() as u64;
    assert!(framer.oversize_events() - oversize <= 1);
    events
}

/// The events of `chunks` are those of the whole input, except for an `end` between CR and LF.
fn check_chunks(input: &[u8], max_event: usize, chunks: &[&[u8]]) {
    let mut cuts = Vec::new();
    chunks.iter().fold(0, |at, chunk| {
        cuts.push(at + chunk.len() as u64);
        at + chunk.len() as u64
    });
    let mut events = frame(max_event, chunks.iter().copied());
    let expected = reference(input, max_event);
    for (event, expected) in events.iter_mut().zip(&expected) {
        if cuts.contains(&event.end) && event.end + 1 == expected.end && event.form != Form::Torn {
            assert_eq!(&input[event.end as usize - 1..=event.end as usize], b"\r\n");
            event.end += 1;
        }
    }
    assert_eq!(events, expected, "{:?} in {} chunks", String::from_utf8_lossy(input), chunks.len());
}

fn check_every_split(input: &[u8], max_event: usize) {
    check_chunks(input, max_event, &[input]);
    check_chunks(input, max_event, &input.chunks(1).collect::<Vec<_>>());
    for at in 0..=input.len() {
        let (head, tail) = input.split_at(at);
        check_chunks(input, max_event, &[head, tail]);
    }
}

/// The (name, data) pairs of `input`, under every split.
fn check(input: &str, expected: &[(&str, &str)]) {
    check_every_split(input.as_bytes(), MAX_EVENT);
    let events = frame(MAX_EVENT, [input.as_bytes()]);
    let pairs: Vec<_> = events
        .iter()
        .map(|e| (std::str::from_utf8(&e.name).unwrap(), std::str::from_utf8(&e.data).unwrap()))
        .collect();
    assert_eq!(pairs, expected, "{input:?}");
}

#[test]
fn fields_follow_the_grammar() {
    check("data: a\n\n", &[("", "a")]);
    check("data:a\n\ndata:  b\n\n", &[("", "a"), ("", " b")]);
    check("event: x\ndata: a\nid: 7\nretry: 5\nother: z\nnocolon\n\n", &[("x", "a")]);
    check("data: a\ndata: b\ndata:\ndata\ndata: c\n\n", &[("", "a\nb\n\n\nc")]);
    check("data\n\n", &[("", "")]);
    check("data: a\nevent: first\nevent: last\n\n", &[("last", "a")]);
    check("event: x\n\ndata: a\n\n", &[("x", ""), ("", "a")]);
    check("database: a\nevents: b\ndata : c\n data: d\n\n", &[]);
    check("id: 1\n\nretry: 2\n\n\n\n\ndata: a\n\n", &[("", "a")]);
}

#[test]
fn line_ends_may_be_mixed() {
    for input in ["data: a\n\ndata: b\n\n", "data: a\r\n\r\ndata: b\r\n\r\n", "data: a\r\rdata: b\r\r"] {
        check(input, &[("", "a"), ("", "b")]);
    }
    check(
        "data: a\r\n\ndata: b\n\r\ndata: c\r\r\ndata: d\n\rdata: e\n\r",
        &[("", "a"), ("", "b"), ("", "c"), ("", "d"), ("", "e")],
    );
    check("event: x\rdata: 1\r\ndata: 2\ndata: 3\r\r\n", &[("x", "1\n2\n3")]);
}

#[test]
fn comments_are_no_events() {
    check(": ping\n\n:\n\n: OPENROUTER PROCESSING\n\n", &[]);
    check(": before\ndata: a\n: between\ndata: b\n:\n\n", &[("", "a\nb")]);
}

#[test]
fn a_byte_order_mark_is_dropped_at_the_start_only() {
    check("\u{feff}data: a\n\n\u{feff}data: b\n\n", &[("", "a")]);
    check("\u{feff}\ndata: a\n\n", &[("", "a")]);
    check("\u{feff}: comment\ndata: \u{feff}a\n\n", &[("", "\u{feff}a")]);
    check(": comment\n\u{feff}data: a\n\n", &[]);
    check("\u{feff}", &[]);
}

#[test]
fn a_last_event_without_its_blank_line_is_torn() {
    for input in ["data: a", "data: a\n", "data: a\r", "data: a\r\n", "\u{feff}data: a"] {
        check(input, &[("", "a")]);
        assert_eq!(frame(MAX_EVENT, [input.as_bytes()])[0].form, Form::Torn);
    }
    check("data: a\n\nevent: x\ndata: b\nda", &[("", "a"), ("x", "b")]);
    check("data: a\n\n: comment", &[("", "a")]);
    check("id: 3", &[]);
}

#[test]
fn a_character_split_across_chunks_arrives_whole() {
    check("data: 日本語 👋🏽 ñ\r\n\r\n", &[("", "日本語 👋🏽 ñ")]);
}

#[test]
fn samples_frame_alike_with_any_line_ends_under_every_split() {
    for sample in samples::ALL {
        let text = std::str::from_utf8(sample.bytes).unwrap().replace("\r\n", "\n");
        for line_end in ["\n", "\r\n", "\r"] {
            check_every_split(text.replace('\n', line_end).as_bytes(), MAX_EVENT);
        }
    }
}

#[test]
fn offsets_account_for_every_byte() {
    let input = b": c\n\ndata: a\n\n: d\nevent: x\ndata: b\n\n\ndata: c";
    let spans: Vec<_> = frame(MAX_EVENT, [&input[..]]).iter().map(|e| (e.start, e.end)).collect();
    assert_eq!(spans, [(5, 14), (18, 36), (37, 44)]);
}

#[test]
fn the_tail_is_what_follows_the_last_whole_event() {
    let mut framer = Framer::new();
    framer.feed(b"data: a\n\ndata: b", |_| {});
    assert_eq!((framer.at_boundary(), framer.tail_start(), framer.tail_len()), (false, 9, 7));
    framer.feed(b"\r\n\r", |_| {});
    assert!(framer.at_boundary());
    framer.feed(b"\n", |_| {});
    assert!(framer.at_boundary(), "the LF of a CRLF begins no event");
    framer.feed(b": half a comm", |_| {});
    assert!(!framer.at_boundary(), "an event put in here would become part of the comment");
    framer.feed(b"ent\n", |_| {});
    assert!(framer.at_boundary());
    framer.feed(b"id: 4\n", |_| {});
    assert!(!framer.at_boundary(), "an event put in here would take the id");
}

#[test]
fn the_limit_is_exact_and_the_next_event_is_read() {
    let input = |len: usize| format!("event: n\ndata: {}\r\n\r\ndata: after\n\n", "x".repeat(len - 15));
    for (len, form) in [(40, Form::Whole), (41, Form::Oversize), (42, Form::Oversize), (90, Form::Oversize)] {
        let input = input(len);
        // The line end after the last field counts, that of the blank line does not.
        check_every_split(input.as_bytes(), 42);
        let events = frame(42, [input.as_bytes()]);
        assert_eq!(events.iter().map(|e| e.form).collect::<Vec<_>>(), [form, Form::Whole]);
        assert_eq!((events[0].name.as_slice(), events[1].data.as_slice()), (&b"n"[..], &b"after"[..]));
        assert_eq!(events[0].data.is_empty(), form == Form::Oversize);
    }
}

#[test]
fn a_large_event_is_read_and_its_memory_freed() {
    let data = "é".repeat(50_000);
    let input = format!("data: {data}\n\ndata: small\n\n");
    for size in [1, 7, 1000, 16_384, 1 << 20] {
        let mut framer = Framer::new();
        let mut lens = Vec::new();
        for chunk in input.as_bytes().chunks(size) {
            framer.feed(chunk, |event| lens.push(event.data.len()));
        }
        assert_eq!(lens, [100_000, 5]);
        assert!(framer.buffered() <= KEPT_CAPACITY, "{} bytes held after it", framer.buffered());
    }
}

#[test]
fn a_two_megabyte_event_is_skipped_in_bounded_memory() {
    let input = format!("event: big\ndata: {}\n\ndata: after\n\n", "x".repeat(2 << 20));
    let mut framer = Framer::new();
    let (mut events, mut most) = (Vec::new(), 0);
    for chunk in input.as_bytes().chunks(16_384) {
        framer.feed(chunk, |event| events.push(owned(event)));
        most = most.max(framer.buffered());
    }
    assert!(most <= MAX_EVENT && framer.buffered() <= KEPT_CAPACITY);
    assert_eq!(framer.oversize_events(), 1);
    assert_eq!(events.iter().map(|e| e.form).collect::<Vec<_>>(), [Form::Oversize, Form::Whole]);
    assert_eq!((events[0].name.as_slice(), events[0].end), (&b"big"[..], events[1].start));
    check_chunks(input.as_bytes(), MAX_EVENT, &[input.as_bytes()]);
}

#[test]
fn an_event_within_a_chunk_is_neither_copied_nor_buffered() {
    let mut framer = Framer::new();
    let chunk = b"event: x\ndata: {\"a\":1}\n\n: c\ndata: b\r\n\r\n".repeat(100);
    let span = chunk.as_ptr_range();
    let mut events = 0;
    framer.feed(&chunk, |event| {
        events += 1;
        assert!(span.contains(&event.data.as_ptr()), "the data lies in the chunk");
    });
    assert_eq!((events, framer.buffered()), (200, 0));
}

#[test]
fn a_steady_stream_of_split_events_allocates_once() {
    let mut framer = Framer::new();
    let event = format!("event: delta\ndata: {}\ndata: second\n\n", "x".repeat(300));
    framer.feed(event.as_bytes(), |_| {});
    let stream = event.repeat(1000);
    let mut capacities = Vec::new();
    for chunk in stream.as_bytes().chunks(97) {
        framer.feed(chunk, |_| {});
        capacities.push(framer.buffered());
    }
    capacities.drain(..10);
    capacities.dedup();
    assert_eq!(capacities.len(), 1, "{capacities:?}");
}

#[test]
fn an_overlong_name_is_cut() {
    let input = format!("event: {}\ndata: a\n\n", "n".repeat(MAX_NAME + 1));
    check(&input, &[("n".repeat(MAX_NAME).as_str(), "a")]);
}

/// Text made of the tokens of the grammar.
fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&[u8]; 13] = [
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b":",
        b" ",
        b"data",
        b"data: ",
        b"event: ",
        b"id: 1",
        BYTE_ORDER_MARK,
        b"\xf0\x9f",
        b"some text",
    ];
    let piece = proptest::sample::select(PIECES.to_vec());
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn check_random_chunks(input: &[u8], sizes: &[usize], max_event: usize) {
    let (mut chunks, mut rest, mut sizes) = (Vec::new(), input, sizes.iter().cycle());
    while !rest.is_empty() {
        let (head, tail) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        // An occasional empty chunk must change nothing.
        chunks.extend([head, &[]]);
        rest = tail;
    }
    check_chunks(input, max_event, &chunks);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_chunking_gives_the_events_of_the_whole(
        input in any_stream(),
        sizes in proptest::collection::vec(1_usize..30, 1..8),
        max_event in prop_oneof![Just(MAX_EVENT), 0_usize..60],
    ) {
        check_random_chunks(&input, &sizes, max_event);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_stay_bounded(
        input in proptest::collection::vec(any::<u8>(), 0..300),
        sizes in proptest::collection::vec(1_usize..30, 1..8),
        max_event in 0_usize..60,
    ) {
        check_random_chunks(&input, &sizes, max_event);
    }
}
