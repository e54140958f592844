//! An HTTP/2 client that writes its frames itself: for floods, and for requests that no library sends.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::watch;

use crate::SOON;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: u32 = 8;
/// The longest header name or value: beyond it, HPACK writes the length in several bytes.
const MAX_TEXT: usize = 126;

/// A frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame's length").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The frames of a request whose body is whole.
pub fn request(stream: u32, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut frames = headers_only(stream, headers);
    frames.extend(frame(DATA, END_STREAM, stream, body));
    frames
}

/// The frames of a request that ends with trailers.
pub fn request_with_trailers(
    stream: u32,
    headers: &[(&str, &str)],
    body: &[u8],
    trailers: &[(&str, &str)],
) -> Vec<u8> {
    let mut frames = headers_only(stream, headers);
    frames.extend(frame(DATA, 0, stream, body));
    frames.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(trailers)));
    frames
}

/// The frame of a request's headers. Its body is to follow.
pub fn headers_only(stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(headers))
}

/// Headers or trailers in HPACK.
fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        // A literal that enters no table.
        block.push(0);
        for text in [name, value] {
            assert!(text.len() <= MAX_TEXT, "{text} is too long");
            block.push(u8::try_from(text.len()).expect("a short text"));
            block.extend(text.as_bytes());
        }
    }
    block
}

/// The frame with which a client gives up a stream.
pub fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// A connection.
pub struct RawHttp2 {
    writer: OwnedWriteHalf,
    seen: watch::Receiver<Seen>,
}

/// What the gateway sent on a connection.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Streams that it reset.
    pub resets: Vec<u32>,
    /// The bodies of its responses, one after the other.
    pub bodies: Vec<u8>,
    /// Whether it has closed the connection.
    pub is_closed: bool,
}

impl RawHttp2 {
    /// Connects to a port of this machine.
    ///
    /// # Panics
    /// If nothing listens there.
    pub async fn open(port: u16) -> Self {
        let (mut reader, mut writer) =
            TcpStream::connect(("127.0.0.1", port)).await.expect("a connection").into_split();
        let preface = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        writer.write_all(&preface).await.expect("the preface is written");
        let (sender, seen) = watch::channel(Seen::default());
        tokio::spawn(async move {
            let mut bytes = Vec::new();
            while let Ok(1..) = reader.read_buf(&mut bytes).await {
                sender.send_modify(|seen| {
                    while let Some(used) = seen.take(&bytes) {
                        bytes.drain(..used);
                    }
                });
            }
            sender.send_modify(|seen| seen.is_closed = true);
        });
        Self { writer, seen }
    }

    /// Writes frames. `false` once the gateway has closed the connection.
    pub async fn write(&mut self, frames: &[u8]) -> bool {
        !self.seen.borrow().is_closed && self.writer.write_all(frames).await.is_ok()
    }

    /// Waits until the gateway has sent what is wanted, or has closed the connection. Returns what it has sent.
    ///
    /// # Panics
    /// If neither happens within [`SOON`].
    pub async fn wait_for(&mut self, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let seen = self.seen.wait_for(|seen| seen.is_closed || wanted(seen));
        let seen = tokio::time::timeout(SOON, seen).await.expect("the gateway sends what is wanted");
        seen.expect("the reader runs").clone()
    }
}

impl Seen {
    /// Reads a frame if it is whole. Returns its length.
    fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        let (head, rest) = bytes.split_at_checked(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = rest.get(..length)?;
        match head[3] {
            DATA => self.bodies.extend(payload),
            RST_STREAM => self.resets.push(u32::from_be_bytes([head[5], head[6], head[7], head[8]])),
            _ => {}
        }
        Some(9 + length)
    }
}
