//! The traffic that is measured: the bytes of one exchange of each kind, in the form of an official SDK and a provider, and
//! the configuration of the filter.

use serde_json::json;

use crate::gateway::{Gateway, Shape};

/// The measured workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A 2 KB chat request with a 1 KB response.
    Chat,
    /// The same request with a stream of this many content chunks.
    Stream { chunks: usize },
    /// The same, asked for and read by a client of Messages.
    Translated { chunks: usize },
}

/// The header with the load's connection, for the lock-step of the stream.
pub const LANE_HEADER: &str = "x-stainless-lane";
/// The header with the number of chunks to stream.
pub const CHUNKS_HEADER: &str = "x-stainless-chunks";

/// The gateway with the filter's configuration, without providers.
pub fn gateway(shape: Shape) -> Gateway {
    Gateway::new(shape).configure(&json!({"models": {"chat": {"tiers": [["gpt-a", "gpt-b"], ["haiku"]]}}}))
}

/// The same for clients of Messages, whose requests are translated for OpenAI.
pub fn translating_gateway(shape: Shape) -> Gateway {
    gateway(shape).configure(&json!({
        "targets": {"gpt-a": {"translate": true}},
        "models": {"chat": {"tiers": null, "targets": ["gpt-a"]}},
    }))
}

const REQUEST_BYTES: usize = 2_048;
const ANSWER_BYTES: usize = 1_024;

impl Workload {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat request",
            Self::Stream { .. } => "SSE chunk",
            Self::Translated { .. } => "translated SSE chunk",
        }
    }

    /// The same workload, but short.
    pub const fn brief(self) -> Self {
        match self {
            Self::Chat => Self::Chat,
            Self::Stream { .. } => Self::Stream { chunks: 20 },
            Self::Translated { .. } => Self::Translated { chunks: 20 },
        }
    }

    /// The divisor for the cost of one exchange.
    pub const fn units(self) -> usize {
        match self {
            Self::Chat => 1,
            Self::Stream { chunks } | Self::Translated { chunks } => chunks,
        }
    }

    /// The path of the request.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat | Self::Stream { .. } => "/v1/chat/completions",
            Self::Translated { .. } => "/v1/messages",
        }
    }

    /// The events of its stream, for the client, in addition to the content chunks.
    pub const fn other_events(self) -> usize {
        match self {
            Self::Chat => 0,
            // The role event and `[DONE]`.
            Self::Stream { .. } => 2,
            // The starts of message and block; the end of the block, the stop reason and the end of the message.
            Self::Translated { .. } => 5,
        }
    }

    /// The request in the form of the vendor's Python SDK: the messages come before the model.
    pub fn request(self, lane: usize) -> Vec<u8> {
        let (stream, chunks) = match self {
            Self::Chat => ("", String::new()),
            Self::Stream { chunks } | Self::Translated { chunks } => {
                (r#","stream":true"#, format!("{CHUNKS_HEADER}: {chunks}\r\n"))
            }
        };
        let before = match self {
            Self::Translated { .. } => {
                r#"{"system":"You are a helpful assistant.","messages":[{"role":"user","content":""#
            }
            _ => {
                r#"{"messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":""#
            }
        };
        let after = format!(r#""}}],"model":"chat","temperature":0.2,"max_tokens":256{stream}}}"#);
        let body = padded(before, &after, REQUEST_BYTES);
        format!(
            "POST {} HTTP/1.1\r\n\
             Host: gateway.internal\r\n\
             Accept: application/json\r\n\
             Accept-Encoding: gzip, deflate\r\n\
             Content-Type: application/json\r\n\
             User-Agent: OpenAI/Python 2.8.1\r\n\
             X-Stainless-Lang: python\r\n\
             X-Stainless-Retry-Count: 0\r\n\
             Authorization: Bearer sk-of-the-client-0123456789\r\n\
             {LANE_HEADER}: {lane}\r\n{chunks}\
             Content-Length: {}\r\n\r\n{body}",
            self.path(),
            body.len()
        )
        .into_bytes()
    }
}

/// The provider's response to a chat request.
pub fn chat_answer() -> Vec<u8> {
    let before = r#"{"id":"chatcmpl-0123456789","object":"chat.completion","created":1760000000,"model":"gpt-4.1-mini","choices":[{"index":0,"message":{"role":"assistant","content":""#;
    let after = r#"","refusal":null},"finish_reason":"stop"}],"usage":{"prompt_tokens":480,"completion_tokens":120,"total_tokens":600}}"#;
    let body = padded(before, after, ANSWER_BYTES);
    format!("{}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", answer_head(), body.len())
        .into_bytes()
}

/// The beginning of a stream, up to its first content chunk.
pub fn stream_beginning() -> Vec<u8> {
    let mut bytes = format!(
        "{}content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n",
        answer_head()
    )
    .into_bytes();
    bytes.extend(chunk(&role_event()));
    bytes
}

/// A content chunk.
pub fn stream_chunk() -> Vec<u8> {
    chunk(&content_event())
}

/// The end of a stream.
pub fn stream_end() -> Vec<u8> {
    let mut bytes = chunk(END_EVENT);
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// The first event of a stream.
pub fn role_event() -> String {
    event(r#"{"role":"assistant","content":""}"#)
}

/// An event with content.
pub fn content_event() -> String {
    event(r#"{"content":" token"}"#)
}

/// An event with the finish reason, which translations need for a proper end.
pub fn finish_event() -> String {
    event("{}").replace("\"finish_reason\":null", "\"finish_reason\":\"stop\"")
}

/// The last event of a stream.
pub const END_EVENT: &str = "data: [DONE]\n\n";

fn event(delta: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-0123456789\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\
         \"model\":\"gpt-4.1-mini\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":null}}]}}\n\n"
    )
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

fn answer_head() -> &'static str {
    "HTTP/1.1 200 OK\r\n\
     date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
     openai-processing-ms: 420\r\n\
     openai-version: 2020-10-01\r\n\
     x-ratelimit-limit-requests: 10000\r\n\
     x-ratelimit-limit-tokens: 2000000\r\n\
     x-ratelimit-remaining-requests: 9999\r\n\
     x-ratelimit-remaining-tokens: 1999000\r\n\
     x-request-id: req_0123456789abcdef\r\n"
}

/// Filler text between two pieces, for a total of `length` bytes.
fn padded(before: &str, after: &str, length: usize) -> String {
    let prose = "The quick brown fox jumps over the lazy dog and finds that nobody was looking. ";
    let missing = length - before.len() - after.len();
    let filling: String = prose.chars().cycle().take(missing).collect();
    format!("{before}{filling}{after}")
}
