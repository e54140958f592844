//! What is observed of a response while it comes, for the decision record.

use std::fmt;
use std::time::Duration;

use crate::base::{HeaderBlock, Timestamp};
use crate::provider::Failure;
use crate::stream::StreamFacts;

/// The headers in which providers report their id of a request: those of OpenAI, Anthropic, Azure, AWS and
/// OpenRouter. Azure sends the first two beside its own, and its support asks for its own, so a later
/// header wins.
const REQUEST_ID_HEADERS: [&str; 5] =
    ["x-request-id", "request-id", "apim-request-id", "x-amzn-requestid", "x-generation-id"];

/// How late the recorded time of a chunk may be: for chunks the host reads the clock once per tick.
const TICK: Duration = Duration::from_millis(100);

/// The longest identifier that is kept, in bytes. A longer one is omitted, because a part of it would be
/// useless.
pub const MAX_ID: usize = 128;

/// The sender of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnsweredBy {
    /// The provider.
    Provider,
    /// Envoy, which could not get a response from the provider.
    Envoy,
    /// The filter, when time had run out.
    Filter,
}

impl AnsweredBy {
    /// The name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Envoy => "envoy",
            Self::Filter => "filter",
        }
    }
}

/// What has been observed of the response to an attempt.
#[derive(Debug, Default)]
pub struct Observed {
    /// When its headers came.
    pub headers_at: Option<Timestamp>,
    /// When its first content came.
    pub content_at: Option<Timestamp>,
    /// When its last chunk came.
    pub heard_at: Option<Timestamp>,
    /// The longest time between two chunks.
    pub longest_gap: Duration,
    /// A hash of the address of the host that had the request, if that was looked at.
    pub host: Option<u64>,
    /// Its status.
    pub status: Option<u16>,
    /// The status that the client sees instead, if the provider sent a failure under a success status.
    pub shown_status: Option<u16>,
    /// Its sender.
    pub answered_by: Option<AnsweredBy>,
    /// The type and code of its error.
    pub error: (Option<Box<str>>, Option<Box<str>>),
    /// The provider's id of the request.
    pub provider_request_id: Option<Id>,
    /// How long the provider asks to wait.
    pub hint: Option<Duration>,
    /// Bytes of its body.
    pub bytes: u64,
    /// What came of its stream.
    pub stream: Option<StreamFacts>,
    /// The provider never got the request.
    pub unsent: bool,
    /// Envoy's own rate limit held the request back.
    pub held_back: bool,
}

impl Observed {
    /// The headers have come.
    pub fn headers(&mut self, status: u16, headers: &HeaderBlock, now: Timestamp) {
        self.headers_at = Some(now);
        self.status = Some(status);
        self.answered_by = Some(AnsweredBy::Provider);
        let id = headers
            .iter()
            // All of them end alike, and hardly another header does.
            .filter(|(name, _)| {
                name.ends_with(b"id") && REQUEST_ID_HEADERS.iter().any(|known| known.as_bytes() == *name)
            })
            .map(|(_, value)| value)
            .filter(|value| Id::fits(value))
            .last();
        self.provider_request_id = id.and_then(Id::of);
    }

    /// A chunk has come. `now` may be up to `TICK` late, so that much is subtracted from a gap.
    pub fn chunk(&mut self, now: Timestamp) {
        if let Some(before) = self.heard_at {
            self.longest_gap = self.longest_gap.max(now.since(before).saturating_sub(TICK));
        }
        self.heard_at = Some(now);
    }

    /// The response is a failure.
    pub fn failure(&mut self, failure: &Failure) {
        self.error = (failure.kind.clone(), failure.code.clone());
    }
}

/// An identifier that can be shown: short, visible ASCII. It is kept in place, so that it needs no
/// allocation.
#[derive(Clone, Copy)]
pub struct Id {
    bytes: [u8; MAX_ID],
    len: u8,
}

impl Id {
    /// The identifier with this text. `None` if it cannot be shown.
    pub fn of(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_ID];
        bytes.get_mut(..text.len()).filter(|_| Self::fits(text))?.copy_from_slice(text);
        Some(Self { bytes, len: u8::try_from(text.len()).ok()? })
    }

    fn fits(text: &[u8]) -> bool {
        // Without an early exit the compiler looks at many bytes at once.
        let is_visible = text.iter().fold(true, |all, byte| all & byte.is_ascii_graphic());
        (1..=MAX_ID).contains(&text.len()) && is_visible
    }

    /// Its text.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.as_bytes()), f)
    }
}
