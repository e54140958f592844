//! What the filter reads from a request's headers, and which of them it removes.

use std::rc::Rc;
use std::time::Duration;

use super::journey_id::JourneyId;
use crate::base::{HeaderBlock, HeaderSink};
use crate::config::{self, ClientKey, Priority};
use crate::fallback::ClientLimits;
use crate::provider;
use crate::refusal::Refusal;

/// The header from which the inner route reads the cluster.
pub const CLUSTER_HEADER: &str = "x-llm-cluster";

/// Headers that no provider may see, by name: what Envoy adds about the hop, and what identifies the client.
const PRIVATE: [&str; 9] = [
    "x-request-id",
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "cookie",
    "proxy-authorization",
    "expect",
    "te",
];

/// The same by prefix.
const PRIVATE_PREFIXES: [&str; 3] = ["x-envoy-", "x-forwarded-", "x-llm-"];

/// Envoy finds no route for a request without this one. The inner route removes it
/// (`request_headers_to_remove`).
const NEEDED_FOR_ROUTING: &str = "x-forwarded-proto";

/// Removes what no provider may see. Credentials are handled when the target is known.
pub fn strip_private(headers: &HeaderBlock, sink: &mut impl HeaderSink) {
    for (name, _) in headers.iter() {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        let private =
            PRIVATE_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || PRIVATE.contains(&name);
        if private && name != NEEDED_FOR_ROUTING {
            sink.remove(name);
        }
    }
}

/// The parts of the client's headers that decide how its request is addressed to a provider.
#[derive(Debug, Clone, Default)]
pub struct CallHeaders {
    /// The query string, without its question mark.
    pub query: Option<Box<str>>,
    /// The credential headers that the client sent, as a bit set over `provider::CREDENTIAL_HEADERS`.
    pub credentials: u8,
    /// Whether the client says which version of Anthropic's API it speaks.
    pub anthropic_version: bool,
    /// The length that it announced.
    pub length: Option<usize>,
}

impl CallHeaders {
    /// Reads them from a request's headers.
    pub fn read(headers: &HeaderBlock) -> Self {
        let path = headers.get(":path").unwrap_or_default();
        let mut call = Self {
            query: path.split_once('?').map(|(_, query)| Box::from(query)),
            length: headers.get("content-length").and_then(|text| text.parse().ok()),
            ..Self::default()
        };
        for (name, _) in headers.iter() {
            if name == b"anthropic-version" {
                call.anthropic_version = true;
            }
            for (bit, credential) in provider::CREDENTIAL_HEADERS.iter().enumerate() {
                if name == credential.as_bytes() {
                    call.credentials |= 1 << bit;
                }
            }
        }
        call
    }
}

/// The journey's id and the number of the attempt, as the edge of the retry loop gives them.
pub(super) fn loop_headers(headers: &HeaderBlock) -> (Option<JourneyId>, u8) {
    let id = headers.get("x-llm-journey").and_then(JourneyId::parse);
    let attempt = headers.get("x-envoy-attempt-count").and_then(|count| count.parse().ok()).unwrap_or(1);
    (id, attempt)
}

/// How the client wants its request to be served.
pub(super) struct Wishes {
    pub(super) no_fallback: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) regions: Option<Vec<Rc<str>>>,
    pub(super) priority: Priority,
}

impl Wishes {
    /// Reads them. An invalid value is refused and not ignored.
    pub(super) fn read(headers: &HeaderBlock, key: Option<&ClientKey>) -> Result<Self, Refusal> {
        Ok(Self {
            timeout: timeout(headers)?,
            regions: regions(headers)?,
            no_fallback: forbids_fallback(headers),
            priority: priority(headers, key),
        })
    }
}

/// The regions in `x-llm-region`. An invalid list must not count as no list: a typing mistake would send a
/// client's data out of the regions that it wants.
fn regions(headers: &HeaderBlock) -> Result<Option<Vec<Rc<str>>>, Refusal> {
    if headers.get_bytes("x-llm-region").is_none() {
        return Ok(None);
    }
    let text = headers.get("x-llm-region").ok_or(Refusal::Region)?;
    ClientLimits::regions_in(text).map(Some).ok_or(Refusal::Region)
}

/// Whether the client forbids fallback (`x-llm-no-fallback`). Only `false` and `0` mean no. Any other value
/// means yes, also in addition to a `false`: a typing mistake must not allow what the client wanted to
/// forbid.
fn forbids_fallback(headers: &HeaderBlock) -> bool {
    let mut values = headers.iter().filter(|(name, _)| *name == b"x-llm-no-fallback");
    values.any(|(_, value)| {
        let value = value.trim_ascii();
        value != b"0" && !value.eq_ignore_ascii_case(b"false")
    })
}

/// The priority in a queue (`x-llm-priority`): as the client asks, but no higher than its key allows.
/// Without keys every client may ask for any priority.
pub fn priority(headers: &HeaderBlock, key: Option<&ClientKey>) -> Priority {
    let asked = headers.get("x-llm-priority").map(str::trim_ascii);
    let asked = Priority::ALL.into_iter().find(|priority| asked == Some(priority.name()));
    let most = key.map_or(Priority::High, |key| key.priority);
    asked.unwrap_or_default().min(most)
}

/// The time limit in `x-llm-timeout`: a duration as in the configuration, or seconds without a unit.
fn timeout(headers: &HeaderBlock) -> Result<Option<Duration>, Refusal> {
    let Some(text) = headers.get("x-llm-timeout") else { return Ok(None) };
    let text = text.trim();
    let limit = config::duration(text).or_else(|| config::duration(&format!("{text}s")));
    limit.filter(|limit| !limit.is_zero()).map(Some).ok_or(Refusal::InvalidTimeout)
}
