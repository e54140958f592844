//! The behaviour of a provider for one request.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::body::Piece;

/// One server-sent event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The `event:` line, if there is one.
    #[serde(default)]
    pub event: Option<String>,
    /// The `data:` line.
    pub data: String,
}

impl Event {
    /// An event with only data.
    pub fn data(data: impl ToString) -> Self {
        Self { event: None, data: data.to_string() }
    }

    /// An event with a name.
    pub fn named(event: &str, data: impl ToString) -> Self {
        Self { event: Some(event.to_owned()), data: data.to_string() }
    }

    /// The event as it is sent, with the blank line.
    pub fn to_wire(&self) -> String {
        match &self.event {
            Some(event) => format!("event: {event}\ndata: {}\n\n", self.data),
            None => format!("data: {}\n\n", self.data),
        }
    }
}

/// A chunk of the body in a JSON script.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextChunk {
    /// Pause before it, in milliseconds.
    #[serde(default)]
    pub after_ms: u64,
    /// The content.
    pub text: String,
}

/// The body of the response.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// The vendor's usual response to this path and request.
    #[default]
    Usual,
    /// Text with its content-length.
    Text(String),
    /// JSON with its content-length.
    Json(Value),
    /// Server-sent events, one chunk each.
    Events(Vec<Event>),
    /// Text chunks with pauses between them.
    Chunks(Vec<TextChunk>),
    /// Any bytes with pauses between them.
    #[serde(skip)]
    Pieces(Vec<Piece>),
}

/// A point in the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// The request was read, and no response was sent.
    BeforeHeaders,
    /// After this many bytes of the body; 0 is right after the headers.
    AfterBytes(usize),
    /// After this many chunks (events) of the body.
    AfterChunks(usize),
}

/// How the response ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Normally.
    #[default]
    Complete,
    /// The TCP connection is closed with all its streams.
    Cut(Point),
    /// The TCP connection is reset (RST).
    Reset(Point),
    /// HTTP/2: this stream is reset, and the connection stays open. HTTP/1: like `cut`.
    AbortStream(Point),
    /// Nothing more is sent until the client leaves.
    Hang(Point),
    /// Trailers, which end the response. HTTP/1 sends none, and the response ends normally.
    Trailers(Point),
}

impl Ending {
    /// Whether it comes before the headers.
    pub fn is_before_headers(self) -> bool {
        self.point() == Some(Point::BeforeHeaders)
    }

    fn point(self) -> Option<Point> {
        match self {
            Self::Complete => None,
            Self::Cut(point)
            | Self::Reset(point)
            | Self::AbortStream(point)
            | Self::Hang(point)
            | Self::Trailers(point) => Some(point),
        }
    }

    /// The pieces that are sent before it.
    pub fn keep(self, mut pieces: Vec<Piece>) -> Vec<Piece> {
        match self.point() {
            None => pieces,
            Some(Point::BeforeHeaders) => Vec::new(),
            Some(Point::AfterChunks(count)) => {
                pieces.truncate(count);
                pieces
            }
            Some(Point::AfterBytes(limit)) => {
                let mut left = limit;
                pieces.retain_mut(|piece| {
                    piece.bytes.truncate(left);
                    left -= piece.bytes.len();
                    !piece.bytes.is_empty()
                });
                pieces
            }
        }
    }
}

/// The usage in the usual response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// Tokens of the prompt.
    pub input: u64,
    /// Tokens of the response.
    pub output: u64,
}

/// The behaviour of a provider for one request. `Script::default()` responds like the vendor.
///
/// As JSON: `{"status": 429, "headers": {"retry-after": "1"}, "body": {"json": {…}}}`,
/// `{"ending": {"cut": {"after_chunks": 2}}}`, `{"ending": {"hang": "before_headers"}}`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// The status.
    pub status: u16,
    /// Headers in addition to, or instead of, the usual ones.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Content,
    /// Pause between the request and the headers, in milliseconds.
    pub delay_headers_ms: u64,
    /// Pause between the headers and the first chunk, in milliseconds.
    pub delay_body_ms: u64,
    /// Pause between chunks, in milliseconds, in addition to their own pauses.
    pub delay_chunk_ms: u64,
    /// Splits the body into chunks of this many bytes, regardless of events.
    pub split: Option<usize>,
    /// The text of the usual response; `hello from <name>` by default.
    pub say: Option<String>,
    /// The number of content chunks in the usual stream; one per word by default. The words repeat.
    pub content_chunks: Option<usize>,
    /// The usage in the usual response.
    pub tokens: Option<Tokens>,
    /// How the response ends.
    pub ending: Ending,
    /// Whether the request body is left unread.
    pub ignore_request_body: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            status: 200,
            headers: BTreeMap::new(),
            body: Content::Usual,
            delay_headers_ms: 0,
            delay_body_ms: 0,
            delay_chunk_ms: 0,
            split: None,
            say: None,
            content_chunks: None,
            tokens: None,
            ending: Ending::Complete,
            ignore_request_body: false,
        }
    }
}

fn ms(duration: Duration) -> u64 {
    duration.as_millis().try_into().expect("a pause that fits into milliseconds")
}

impl Script {
    /// The usual response.
    pub fn usual() -> Self {
        Self::default()
    }

    /// A status. The default body is a short error in the dialect of the path.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Reads a script written as JSON.
    ///
    /// # Errors
    /// If the text is not a valid script.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// Accepts the request and never responds.
    pub fn hang() -> Self {
        Self::usual().ending(Ending::Hang(Point::BeforeHeaders))
    }

    /// Closes the connection instead of responding.
    pub fn cut() -> Self {
        Self::usual().ending(Ending::Cut(Point::BeforeHeaders))
    }

    /// Resets the connection instead of responding.
    pub fn reset() -> Self {
        Self::usual().ending(Ending::Reset(Point::BeforeHeaders))
    }

    /// A stream of these events.
    pub fn stream(events: impl IntoIterator<Item = Event>) -> Self {
        Self { body: Content::Events(events.into_iter().collect()), ..Self::default() }
    }

    /// Sets a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_lowercase(), value.to_owned());
        self
    }

    /// Sets a JSON body.
    pub fn json(mut self, body: Value) -> Self {
        self.body = Content::Json(body);
        self
    }

    /// Sets a text body.
    pub fn text(mut self, body: &str) -> Self {
        self.body = Content::Text(body.to_owned());
        self
    }

    /// Sets a body of any bytes with its content-length.
    pub fn bytes(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Content::Pieces(vec![Piece::now(body)]);
        let length = match &self.body {
            Content::Pieces(pieces) => pieces.iter().map(|piece| piece.bytes.len()).sum::<usize>(),
            _ => 0,
        };
        self.header("content-length", &length.to_string())
    }

    /// Sets a body that is sent in pieces.
    pub fn pieces(mut self, pieces: Vec<Piece>) -> Self {
        self.body = Content::Pieces(pieces);
        self
    }

    /// Waits before the headers.
    pub fn delay_headers(mut self, pause: Duration) -> Self {
        self.delay_headers_ms = ms(pause);
        self
    }

    /// Waits between the headers and the body.
    pub fn delay_body(mut self, pause: Duration) -> Self {
        self.delay_body_ms = ms(pause);
        self
    }

    /// Waits between chunks.
    pub fn delay_chunks(mut self, pause: Duration) -> Self {
        self.delay_chunk_ms = ms(pause);
        self
    }

    /// Splits the body into chunks of this many bytes.
    pub fn split(mut self, bytes: usize) -> Self {
        self.split = Some(bytes);
        self
    }

    /// Sets the text of the usual response.
    pub fn say(mut self, text: &str) -> Self {
        self.say = Some(text.to_owned());
        self
    }

    /// Sets the number of content chunks in the usual stream.
    pub fn content_chunks(mut self, count: usize) -> Self {
        self.content_chunks = Some(count);
        self
    }

    /// The usage in the usual response.
    pub fn tokens(mut self, input: u64, output: u64) -> Self {
        self.tokens = Some(Tokens { input, output });
        self
    }

    /// How the response ends.
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    /// Closes the connection after this many bytes of the body.
    pub fn cut_after_bytes(self, bytes: usize) -> Self {
        self.ending(Ending::Cut(Point::AfterBytes(bytes)))
    }

    /// Closes the connection after this many chunks of the body.
    pub fn cut_after_chunks(self, chunks: usize) -> Self {
        self.ending(Ending::Cut(Point::AfterChunks(chunks)))
    }

    /// Sends nothing more after this many chunks of the body.
    pub fn hang_after_chunks(self, chunks: usize) -> Self {
        self.ending(Ending::Hang(Point::AfterChunks(chunks)))
    }

    /// Leaves the request body unread.
    pub fn ignoring_request_body(mut self) -> Self {
        self.ignore_request_body = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_can_be_written_as_json() {
        let script = Script::from_json(
            r#"{"status": 429, "headers": {"retry-after": "1"}, "body": {"json": {"error": {}}},
                "delay_headers_ms": 5, "ending": {"cut": {"after_chunks": 2}}}"#,
        );
        let expected = Script::status(429)
            .header("Retry-After", "1")
            .json(serde_json::json!({ "error": {} }))
            .delay_headers(Duration::from_millis(5))
            .cut_after_chunks(2);
        assert_eq!(script.unwrap(), expected);
        assert_eq!(Script::from_json(r#"{"ending": {"hang": "before_headers"}}"#).unwrap(), Script::hang());
        let stream = Script::from_json(r#"{"body": {"events": [{"event": "ping", "data": "{}"}]}}"#);
        assert_eq!(stream.unwrap(), Script::stream([Event::named("ping", "{}")]));
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        assert!(Script::from_json(r#"{"stauts": 500}"#).is_err());
    }

    #[test]
    fn an_ending_keeps_exactly_what_goes_before_it() {
        let pieces = || vec![Piece::now("abc"), Piece::now("de"), Piece::now("f")];
        let kept = |point| Ending::Cut(point).keep(pieces()).into_iter().map(|p| p.bytes).collect::<Vec<_>>();
        assert_eq!(kept(Point::AfterBytes(0)), Vec::<Bytes>::new());
        assert_eq!(kept(Point::AfterBytes(3)), ["abc"]);
        assert_eq!(kept(Point::AfterBytes(4)), ["abc", "d"]);
        assert_eq!(kept(Point::AfterBytes(99)), ["abc", "de", "f"]);
        assert_eq!(kept(Point::AfterChunks(2)), ["abc", "de"]);
        assert_eq!(kept(Point::BeforeHeaders), Vec::<Bytes>::new());
        assert_eq!(Ending::Complete.keep(pieces()), pieces());
    }
}
