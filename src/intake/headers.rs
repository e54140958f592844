//! What the filter reads from a request's headers, and which of them it removes.
//!
//! Headers that no provider may have are removed before the target is known. Those that only some providers may
//! have are noted in [`CallHeaders`], and removed when the request is addressed to another one.

use std::rc::Rc;
use std::time::Duration;

use super::journey_id::JourneyId;
use super::paths::Spelling;
use crate::base::{Endpoint, HeaderBlock, HeaderSink};
use crate::config::{self, ClientKey, Config, Priority};
use crate::fallback::ClientLimits;
use crate::provider::{self, RequestHeader};
use crate::refusal::Refusal;

/// The header from which the route reads the cluster.
pub const CLUSTER_HEADER: &str = "x-llm-cluster";

/// The same for a route that strips requests (`route_strips_headers` of the configuration). The name is another
/// one so that a route which does not strip finds no cluster, and a request with private headers goes nowhere.
pub const STRIPPING_CLUSTER_HEADER: &str = "x-llm-strip-cluster";

/// What a route that strips removes besides [`STRIPPING_CLUSTER_HEADER`]: headers that Envoy puts on nearly
/// every request. It also has to set `accept-encoding` to [`ACCEPTED_ENCODING`].
pub const STRIPPED_BY_ROUTE: [&str; 5] =
    ["x-request-id", "x-forwarded-for", "x-envoy-attempt-count", "x-envoy-external-address", "x-llm-journey"];

/// A compressed response could not be judged, only passed on.
pub const ACCEPTED_ENCODING: &str = "identity";

/// In these the SDKs of OpenAI and Anthropic say how many seconds they wait for a response.
const SDK_TIMEOUTS: [&str; 2] = ["x-stainless-timeout", "x-stainless-read-timeout"];

/// Envoy finds no route for a request without this one. The inner route removes it
/// (`request_headers_to_remove`).
pub(super) const NEEDED_FOR_ROUTING: &[u8] = b"x-forwarded-proto";

/// Who removes private headers from a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrippedBy {
    /// The filter removes all of them.
    Filter,
    /// The route removes those in [`STRIPPED_BY_ROUTE`]. The filter removes the others.
    Route,
}

impl StrippedBy {
    /// Who strips requests for models. Requests to other paths are always stripped by the filter.
    pub const fn of(config: &Config) -> Self {
        if config.route_strips_headers { Self::Route } else { Self::Filter }
    }

    /// The header from which the route reads the cluster.
    pub const fn cluster_header(self) -> &'static str {
        match self {
            Self::Filter => CLUSTER_HEADER,
            Self::Route => STRIPPING_CLUSTER_HEADER,
        }
    }

    fn leaves(self, name: &[u8]) -> bool {
        self == Self::Route && STRIPPED_BY_ROUTE.iter().any(|stripped| stripped.as_bytes() == name)
    }
}

/// The parts of the client's headers that decide how its request is addressed to a provider.
#[derive(Debug, Clone, Default)]
pub struct CallHeaders {
    /// How the client spelled the path.
    pub spelling: Spelling,
    /// The query string, without its question mark.
    pub query: Option<Box<str>>,
    /// The credential headers that the client sent, as a bit set over `provider::CREDENTIAL_HEADERS`.
    pub credentials: u8,
    /// The headers for providers of some kinds, as a bit set over `provider::VENDOR_HEADERS`.
    pub vendors: u32,
    /// The headers that the operator lets some providers have, by their positions in
    /// `Config::forwarded_headers`.
    pub forwarded: Vec<u16>,
    /// The length that it announced.
    pub length: Option<usize>,
    /// Whether it accepts a response as it is and no other.
    pub plain_response: bool,
}

impl CallHeaders {
    /// Whether the client called exactly this path, with its query.
    pub fn called(&self, endpoint: Endpoint, path: &str) -> bool {
        self.spelling == Spelling::Usual
            && path.strip_prefix(endpoint.client_path()).is_some_and(|rest| match &self.query {
                Some(query) => rest.strip_prefix('?') == Some(query),
                None => rest.is_empty(),
            })
    }

    /// The same for a path with this spelling.
    pub fn spelled(mut self, spelling: Spelling) -> Self {
        self.spelling = spelling;
        // Azure's clients say by it how they have made the path, which no provider gets.
        if spelling == Spelling::Azure {
            self.query = self.query.and_then(|query| without_api_version(&query));
        }
        self
    }

    /// Whether the client sent this header, one of `provider::VENDOR_HEADERS`.
    pub fn has_vendor_header(&self, name: &str) -> bool {
        self.vendor_headers().any(|header| header.name == name)
    }

    /// The headers that the client sent for providers of some kinds.
    pub fn vendor_headers(&self) -> impl Iterator<Item = &'static provider::VendorHeader> {
        let sent = self.vendors;
        let known = provider::VENDOR_HEADERS.iter().enumerate().take(if sent == 0 { 0 } else { usize::MAX });
        known.filter(move |(bit, _)| sent & (1 << bit) != 0).map(|(_, header)| header)
    }

    /// Takes them from a request's headers, for the endpoint's own path: removes what no provider may have. Credentials,
    /// and what only some providers may have, are noted until the target is known.
    pub fn take(headers: &HeaderBlock, config: &Config, sink: &mut impl HeaderSink) -> Self {
        let (_, query) = split_query(headers.get(":path").unwrap_or_default());
        let mut call = Self {
            query: query.map(Box::from),
            length: headers.get("content-length").and_then(|text| text.parse().ok()),
            ..Self::default()
        };
        let mut accepted = headers.all("accept-encoding");
        call.plain_response =
            accepted.next() == Some(ACCEPTED_ENCODING.as_bytes()) && accepted.next().is_none();
        let by = StrippedBy::of(config);
        for (name, _) in headers.iter() {
            match provider::request_header(name) {
                RequestHeader::Common => {}
                RequestHeader::Credential(bit) => call.credentials |= 1 << bit,
                RequestHeader::Vendor(bit) => call.vendors |= 1 << bit,
                RequestHeader::Other => {
                    let stays = name == NEEDED_FOR_ROUTING
                        || config.forwarded_header(name).is_some()
                        || by.leaves(name);
                    if !stays {
                        sink.remove(name);
                    }
                }
            }
        }
        for (position, name) in (0..).zip(config.forwarded_headers()) {
            if headers.get_bytes(name).is_some() {
                call.forwarded.push(position);
            }
        }
        call
    }
}

/// A path without its query string, and that without its question mark.
pub fn split_query(path: &str) -> (&str, Option<&str>) {
    let mark = memchr::memchr(b'?', path.as_bytes()).and_then(|at| path.split_at_checked(at));
    mark.map_or((path, None), |(path, query)| (path, query.get(1..)))
}

#[cold]
#[inline(never)]
fn without_api_version(query: &str) -> Option<Box<str>> {
    let is_version = |parameter: &&str| parameter.split('=').next() == Some("api-version");
    let kept: Vec<&str> = query.split('&').filter(|parameter| !is_version(parameter)).collect();
    (!kept.is_empty()).then(|| kept.join("&").into())
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
    pub(super) patience: Option<Duration>,
    pub(super) regions: Option<Vec<Rc<str>>>,
    pub(super) priority: Priority,
}

impl Wishes {
    /// Reads them. An invalid value is refused and not ignored.
    pub(super) fn read(headers: &HeaderBlock, key: Option<&ClientKey>) -> Result<Self, Refusal> {
        Ok(Self {
            patience: patience(headers)?,
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
    headers.all("x-llm-no-fallback").any(|value| {
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

/// How long the client waits for its first byte: the least of what it says.
fn patience(headers: &HeaderBlock) -> Result<Option<Duration>, Refusal> {
    let of_sdk = SDK_TIMEOUTS.iter().filter_map(|name| seconds(headers.get(name)?));
    Ok(timeout(headers)?.into_iter().chain(of_sdk).min())
}

/// A number of seconds as an SDK writes it. SDKs add these headers unasked, so another value counts as none.
fn seconds(text: &str) -> Option<Duration> {
    let seconds = text.trim().parse::<f64>().ok().filter(|seconds| *seconds > 0.0)?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The time in `x-llm-timeout`: a duration as in the configuration, or seconds without a unit.
fn timeout(headers: &HeaderBlock) -> Result<Option<Duration>, Refusal> {
    let Some(text) = headers.get("x-llm-timeout") else { return Ok(None) };
    let text = text.trim();
    let limit = config::duration(text).or_else(|| config::duration(&format!("{text}s")));
    limit.filter(|limit| !limit.is_zero()).map(Some).ok_or(Refusal::InvalidTimeout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::test_support::FakeWire;
    use serde_json::json;

    const REQUEST: [(&str, &str); 16] = [
        (":path", "/v1/chat/completions"),
        ("x-request-id", "1"),
        ("x-envoy-attempt-count", "1"),
        ("x-envoy-external-address", "10.0.0.1"),
        ("x-llm-journey", "2"),
        ("x-llm-strip-cluster", "elsewhere"),
        ("x-llm-session", "3"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("cookie", "4"),
        ("x-stainless-lang", "python"),
        ("te", "trailers"),
        ("x-anything", "5"),
        ("openai-beta", "a"),
        ("x-team", "b"),
        ("authorization", "c"),
    ];

    fn config(route_strips_headers: bool) -> Rc<Config> {
        let text = json!({
            "providers": {"p": {"kind": "openai", "forward_headers": ["X-Team", "openai-beta"]}},
            "targets": {"t": {"provider": "p", "model": "m"}},
            "models": {"chat": {"targets": ["t"]}},
            "route_strips_headers": route_strips_headers,
        });
        Rc::new(config::load(text.to_string().as_bytes(), &|_| None).unwrap())
    }

    fn taken(headers: &[(&str, &str)]) -> CallHeaders {
        CallHeaders::take(&HeaderBlock::of(headers), &config(false), &mut FakeWire::default())
    }

    fn left_by(by: StrippedBy) -> Vec<String> {
        let mut wire = FakeWire::new(&REQUEST);
        CallHeaders::take(&HeaderBlock::of(&REQUEST), &config(by == StrippedBy::Route), &mut wire);
        wire.headers.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn the_filter_removes_all_private_headers_but_those_that_the_route_removes() {
        assert_eq!(
            left_by(StrippedBy::Filter),
            [":path", "x-forwarded-proto", "x-stainless-lang", "openai-beta", "x-team", "authorization"]
        );
        assert_eq!(
            left_by(StrippedBy::Route),
            [
                ":path",
                "x-request-id",
                "x-envoy-attempt-count",
                "x-envoy-external-address",
                "x-llm-journey",
                "x-forwarded-for",
                "x-forwarded-proto",
                "x-stainless-lang",
                "openai-beta",
                "x-team",
                "authorization",
            ]
        );
    }

    #[test]
    fn headers_that_only_some_providers_may_have_are_noted_once() {
        let headers =
            [("openai-beta", "a"), ("x-team", "b"), ("x-team", "c"), ("x-anything", "d"), ("x-api-key", "e")];
        let call = taken(&headers);
        assert_eq!(call.vendor_headers().map(|header| header.name).collect::<Vec<_>>(), ["openai-beta"]);
        assert!(call.has_vendor_header("openai-beta") && !call.has_vendor_header("anthropic-version"));
        assert_eq!(call.forwarded, [0]);
        assert_eq!(call.credentials.count_ones(), 1);
    }

    #[test]
    fn a_path_is_the_one_that_was_called_only_with_its_query() {
        for (called, path, same) in [
            ("/v1/chat/completions", "/v1/chat/completions", true),
            ("/v1/chat/completions?a=1", "/v1/chat/completions?a=1", true),
            ("/v1/chat/completions?", "/v1/chat/completions", false),
            ("/v1/chat/completions", "/v1/chat/completions?api-version=1", false),
            ("/v1/chat/completions?a=1", "/v1/chat/completions", false),
            ("/v1/chat/completions", "/openai/v1/chat/completions", false),
        ] {
            let call = taken(&[(":path", called)]);
            assert_eq!(call.called(Endpoint::Chat, path), same, "{called} {path}");
            let call = call.spelled(Spelling::Other);
            assert!(!call.called(Endpoint::Chat, path), "{called} was another spelling");
        }
    }

    #[test]
    fn azure_s_version_stays_with_azure_s_path() {
        for (query, kept) in [
            ("?api-version=2024-10-21", None),
            ("?a=b&api-version=2024-10-21&c", Some("a=b&c")),
            ("?a=b", Some("a=b")),
            ("", None),
        ] {
            let headers = [(":path", format!("/openai/deployments/m/chat/completions{query}"))];
            let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
            let call = taken(&headers);
            assert_eq!(call.clone().spelled(Spelling::Azure).query.as_deref(), kept, "{query}");
            assert_eq!(call.clone().spelled(Spelling::Other).query, call.query, "{query}");
        }
    }

    #[test]
    fn only_identity_alone_means_a_plain_response() {
        for (accepted, plain) in [
            (&[][..], false),
            (&["identity"], true),
            (&["gzip"], false),
            (&["identity", "gzip"], false),
            (&["identity", "identity"], false),
        ] {
            let headers: Vec<_> = accepted.iter().map(|value| ("accept-encoding", *value)).collect();
            assert_eq!(taken(&headers).plain_response, plain, "{accepted:?}");
        }
    }
}
