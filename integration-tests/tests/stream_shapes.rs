//! Valid streams of unusual shape arrive unchanged. When they are truncated, the client gets an error event in spite of the
//! shape. Each dialect, HTTP/1 and HTTP/2, with the end of the stream in the last data or after it.

use crate::scenes::one_provider;
use std::time::Duration;

use crate::dialects::{self, Dialect, wire};
use integration_tests::body::Piece;
use integration_tests::client::{Protocol, Read, Request};
use integration_tests::gateway::Shape;
use integration_tests::provider::Script;
use integration_tests::scene::Scene;
use serde_json::{Value, json};

/// Larger than the part of an event that is held back, smaller than the part that is read.
const LARGE: usize = 100_000;
/// Larger than the part of an event that is read.
const HUGE: usize = 2_000_000;

struct Stage(Scene<1>);

impl Stage {
    async fn set() -> Self {
        Self(one_provider(Shape::Loop, &json!({})).start_with(["all"]).await)
    }

    /// Sends these bytes in pieces of this size. `apart`: the end of the stream arrives on its own.
    async fn pass(
        &self,
        dialect: &Dialect,
        protocol: Protocol,
        (bytes, piece, apart): (&[u8], usize, bool),
    ) -> Read {
        let mut pieces: Vec<_> = bytes.chunks(piece).map(|piece| Piece::now(piece.to_vec())).collect();
        if apart {
            pieces.push(Piece::after(Duration::from_millis(50), ""));
        }
        let script = Script::usual().header("content-type", "text/event-stream").pieces(pieces);
        self.play(dialect, protocol, script).await
    }

    async fn play(&self, dialect: &Dialect, protocol: Protocol, script: Script) -> Read {
        self.0.providers[0].script(script);
        let request =
            Request::post(dialect.path).json(&json!({"model": "chat", "stream": true, "max_tokens": 5}));
        let request = request.over(protocol);
        let read = request.ask(self.0.port()).await;
        assert_eq!(read.header("x-llm-attempts"), Some("1"), "{}", dialect.path);
        read
    }
}

/// Both protocols and both kinds of end.
fn ways() -> impl Iterator<Item = (Protocol, bool)> {
    [Protocol::Http1, Protocol::H2c].into_iter().flat_map(|protocol| [(protocol, false), (protocol, true)])
}

async fn check_passes(stage: &Stage, dialect: &Dialect, bytes: &str, pieces: &[usize], what: &str) {
    for piece in pieces {
        for (protocol, apart) in ways() {
            let case = format!("{} {what} in pieces of {piece} {protocol:?} {apart}", dialect.path);
            let read = stage.pass(dialect, protocol, (bytes.as_bytes(), *piece, apart)).await;
            assert!(read.error.is_none(), "{case}: {:?}", read.error);
            assert!(
                read.bytes() == bytes.as_bytes(),
                "{case}: {} of {} bytes",
                read.bytes().len(),
                bytes.len()
            );
        }
    }
}

/// Streams with unusual framing, comments, and multi-byte characters.
fn unusual(dialect: &Dialect) -> Vec<(&'static str, String)> {
    let plain = wire(&dialect.whole(&["gr\u{fc}\u{df}e ", "\u{1f44b}\u{1f3fd}", " \u{4f60}\u{597d}"]));
    vec![
        ("CRLF", plain.replace('\n', "\r\n")),
        ("CR", plain.replace('\n', "\r")),
        ("a byte order mark", format!("\u{feff}{plain}")),
        ("comments", format!(": hello\n\n{}", plain.replace("\n\n", "\n\n: keep-alive\n\nretry: 100\n\n"))),
        ("several lines of data", plain.replacen("data: {", "data: {\ndata: ", 2)),
        ("plain", plain),
    ]
}

#[tokio::test]
async fn unusual_framing_and_split_characters_arrive_unchanged() {
    let stage = Stage::set().await;
    for dialect in dialects::all() {
        for (what, bytes) in unusual(&dialect) {
            check_passes(&stage, &dialect, &bytes, &[3, 64, bytes.len()], what).await;
        }
    }
    stage.0.envoy.expect_count("alarms", 0).await;
}

#[tokio::test]
async fn large_and_huge_events_arrive_unchanged() {
    let stage = Stage::set().await;
    for dialect in dialects::all() {
        for size in [LARGE, HUGE] {
            let text = "\u{fc}".repeat(size / 2);
            let bytes = wire(&dialect.whole(&["first", &text, "last"]));
            check_passes(&stage, &dialect, &bytes, &[4_000, 70_000], "large").await;
            // The large event may also be the first content.
            let bytes = wire(&dialect.whole(&[&text]));
            check_passes(&stage, &dialect, &bytes, &[16_384], "large at once").await;
        }
    }
    let memory = stage.0.envoy.count("wasm_memory_bytes").await;
    assert!(memory < 16 << 20, "{memory} bytes of Wasm memory");
}

#[tokio::test]
async fn a_compressed_stream_arrives_unchanged() {
    let stage = Stage::set().await;
    // The filter cannot read compressed data, so the rest of the bytes does not matter.
    let bytes: Vec<u8> =
        [0x1f, 0x8b, 8, 0].into_iter().chain((0..50_000_u32).map(|n| (n * 7 % 251) as u8)).collect();
    for dialect in dialects::all() {
        for protocol in [Protocol::Http1, Protocol::H2c] {
            let pieces = bytes.chunks(999).map(|piece| Piece::now(piece.to_vec())).collect();
            let script = Script::usual()
                .header("content-type", "text/event-stream")
                .header("content-encoding", "gzip")
                .pieces(pieces);
            let read = stage.play(&dialect, protocol, script).await;
            assert!(read.error.is_none() && read.bytes() == bytes, "{} {protocol:?}", dialect.path);
            assert_eq!(read.header("content-encoding"), Some("gzip"));
        }
    }
    stage.0.envoy.wait_for_count("usage_missing", 6).await;
}

/// Checks for exactly one error event at the end and no normal end. Returns the text before the error event.
fn assert_error_at_end<'t>(dialect: &Dialect, text: &'t str, case: &str) -> &'t str {
    let (passed, notice) = match text.rfind("event: error\n") {
        Some(at) => text.split_at(at),
        None => {
            text.split_at(text.rfind("data: {\"error\"").unwrap_or_else(|| panic!("{case}: no error event")))
        }
    };
    let data: Vec<_> = notice.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data.len(), 1, "{case}: exactly one event: {notice}");
    let error: Value = serde_json::from_str(data[0]).unwrap();
    let (place, said) = dialect.told_cut;
    assert_eq!(error.pointer(place), Some(&json!(said)), "{case}: {notice}");
    assert!(notice.ends_with("\n\n"), "{case}: {notice}");
    assert!(!dialect.claims_completion(text), "{case}");
    passed
}

#[tokio::test]
async fn a_truncated_stream_of_unusual_framing_gets_its_error_after_the_last_whole_event() {
    let stage = Stage::set().await;
    for dialect in dialects::all() {
        for (line_end, blank) in [("\r\n", "\r\n\r\n"), ("\r", "\r\r")] {
            let events =
                [dialect.opening.clone(), vec![dialect.content("\u{fc}"), dialect.content("\u{1f44b}")]]
                    .concat();
            let whole = wire(&events).replace('\n', line_end);
            let last_whole = whole[..whole.len() - 20].rfind(blank).unwrap() + blank.len();
            for piece in [3, whole.len()] {
                for (protocol, apart) in ways() {
                    let case = format!("{} {line_end:?} in {piece} {protocol:?} {apart}", dialect.path);
                    let sent = &whole.as_bytes()[..whole.len() - 20];
                    let read = stage.pass(&dialect, protocol, (sent, piece, apart)).await;
                    assert!(read.error.is_none(), "{case}");
                    let text = read.text();
                    let passed = assert_error_at_end(&dialect, &text, &case);
                    // The last carriage return ends an event by itself. The line feed after it may be missing.
                    let shortest = &whole[..last_whole - usize::from(line_end == "\r\n")];
                    assert!(passed == shortest || passed == &whole[..last_whole], "{case}: {passed}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_truncated_large_event_is_ended_before_the_error_event() {
    let stage = Stage::set().await;
    for dialect in dialects::all() {
        for size in [LARGE, HUGE] {
            let events =
                [dialect.opening.clone(), vec![dialect.content("first"), dialect.content(&"x".repeat(size))]]
                    .concat();
            let whole = wire(&events);
            let sent = &whole[..whole.len() - 500];
            for (protocol, apart) in ways() {
                let case = format!("{} {size} {protocol:?} {apart}", dialect.path);
                let read = stage.pass(&dialect, protocol, (sent.as_bytes(), 10_000, apart)).await;
                assert!(read.error.is_none(), "{case}");
                let text = read.text();
                let passed = assert_error_at_end(&dialect, &text, &case);
                assert!(passed.ends_with("\n\n"), "{case}: the error is a separate event");
                assert!(sent.starts_with(passed.trim_end_matches('\n')), "{case}: the content is unchanged");
            }
        }
    }
}
