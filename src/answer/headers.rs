//! The media type of a response, and the response headers that the filter changes.

use crate::base::{HeaderBlock, HeaderSink};
use crate::provider::{self, ResponseHeader};

/// What the content type says a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Events,
    Json,
    Text,
    /// A web page. It comes from a proxy or login page in front of an API, never from the API itself.
    Page,
    /// Sound, images or other bytes.
    Bytes,
}

impl Media {
    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Json => "application/json",
            Self::Text => "text/plain",
            Self::Page => "text/html",
            Self::Bytes => "application/octet-stream",
        }
    }

    /// `None` for unknown types, and without a type.
    pub(super) fn of(headers: &HeaderBlock) -> Option<Self> {
        match headers.get_bytes("content-type")? {
            // As most providers write them.
            b"application/json" => Some(Self::Json),
            b"text/event-stream" => Some(Self::Events),
            other => Self::of_type(other),
        }
    }

    #[inline(never)]
    fn of_type(content_type: &[u8]) -> Option<Self> {
        let media_type = content_type.split(|byte| *byte == b';').next()?.trim_ascii();
        let is = |name: &str| media_type.eq_ignore_ascii_case(name.as_bytes());
        if is("text/event-stream") {
            Some(Self::Events)
        } else if is("application/json") || is_json_suffixed(media_type) {
            Some(Self::Json)
        } else if is("text/plain") {
            Some(Self::Text)
        } else {
            let pages = ["text/html", "text/xml", "application/xml", "application/xhtml+xml"];
            if pages.into_iter().any(is) {
                return Some(Self::Page);
            }
            (is(Self::Bytes.name()) || BYTES.iter().any(|kind| begins_with(media_type, kind)))
                .then_some(Self::Bytes)
        }
    }
}

/// How the types of sound, images and films begin.
const BYTES: [&[u8]; 3] = [b"audio/", b"image/", b"video/"];

fn begins_with(media_type: &[u8], beginning: &[u8]) -> bool {
    media_type.get(..beginning.len()).is_some_and(|first| first.eq_ignore_ascii_case(beginning))
}

/// Whether it is a type such as `application/problem+json`.
fn is_json_suffixed(media_type: &[u8]) -> bool {
    const PREFIX: &[u8] = b"application/";
    const SUFFIX: &[u8] = b"+json";
    begins_with(media_type, PREFIX)
        && media_type.last_chunk::<5>().is_some_and(|suffix| suffix.eq_ignore_ascii_case(SUFFIX))
}

/// Keeps caches and proxies from storing or buffering a stream. nginx and similar proxies read
/// `x-accel-buffering`.
pub(super) fn forbid_buffering(headers: &HeaderBlock, sink: &mut impl HeaderSink) {
    if headers.get("cache-control").is_none() {
        sink.set("cache-control", "no-cache");
    }
    sink.set("x-accel-buffering", "no");
}

/// The same for what its label says to be a stream.
pub fn forbid_buffering_of_streams(headers: &HeaderBlock, sink: &mut impl HeaderSink) {
    if Media::of(headers) == Some(Media::Events) {
        forbid_buffering(headers, sink);
    }
}

/// Removes the headers that only this filter and Envoy may set, from a response that is not a provider's. `te` is
/// removed because Envoy passes it on from HTTP/1 although HTTP/2 forbids it, and that would break the hop.
pub fn strip_reserved(headers: &HeaderBlock, sink: &mut impl HeaderSink) {
    remove(headers, sink, |name| provider::is_reserved(name) || name == b"te");
}

/// Removes what is not for the client from a provider's response. What is left of an account's limits is for a
/// client only if its requests go to no other account.
pub fn strip_provider(headers: &HeaderBlock, one_account: bool, sink: &mut impl HeaderSink) {
    remove(headers, sink, |name| match provider::response_header(name) {
        ResponseHeader::Passes => false,
        ResponseHeader::RateLimit => !one_account,
        ResponseHeader::Ends => true,
    });
}

fn remove(headers: &HeaderBlock, sink: &mut impl HeaderSink, ends: impl Fn(&[u8]) -> bool) {
    for (name, _) in headers.iter().filter(|(name, _)| ends(name)) {
        sink.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_read_in_any_case_and_without_their_parameters() {
        for (content_type, media) in [
            ("text/event-stream; charset=utf-8", Some(Media::Events)),
            ("Text/Event-Stream", Some(Media::Events)),
            ("application/json", Some(Media::Json)),
            ("Application/Problem+JSON", Some(Media::Json)),
            ("application/+json", Some(Media::Json)),
            ("audio/mpeg", Some(Media::Bytes)),
            ("Image/PNG", Some(Media::Bytes)),
            ("application/octet-stream", Some(Media::Bytes)),
            ("audio", None),
            ("text/problem+json", None),
            ("+json", None),
            ("text/plain", Some(Media::Text)),
            ("application/xhtml+xml", Some(Media::Page)),
            ("application/vnd.amazon.eventstream", None),
            ("", None),
        ] {
            let headers = HeaderBlock::of(&[("content-type", content_type)]);
            assert_eq!(Media::of(&headers), media, "{content_type}");
        }
        assert_eq!(Media::of(&HeaderBlock::default()), None);
    }
}
