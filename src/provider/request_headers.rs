//! Which of a client's headers and query parameters a provider gets.
//!
//! The lists say what passes, because nobody can list what must not: gateways, login proxies and tracing agents
//! in front of the filter add headers of their own, and some of these carry credentials. The lists have what
//! the vendors' APIs document, what their SDKs say about themselves, and the headers of the two common formats
//! of trace contexts. `baggage` is on none: it carries values of the application.
//!
//! Sources: the vendors' API references and the SDKs of OpenAI and Anthropic.

use super::ProviderKind;
use super::table::CREDENTIAL_HEADERS;
use crate::base::{Dialect, Endpoint, Names};

/// What becomes of a client's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestHeader {
    /// Every provider gets it.
    Common,
    /// It carries a credential, or says whose it is: a position in [`CREDENTIAL_HEADERS`].
    Credential(u8),
    /// Providers of some kinds get it: a position in [`VENDOR_HEADERS`].
    Vendor(u8),
    /// No provider gets it, unless the operator says so.
    Other,
}

/// A header that providers of some kinds get.
#[derive(Debug)]
pub struct VendorHeader {
    /// Its lower-case name.
    pub name: &'static str,
    kinds: &'static [ProviderKind],
    /// The vendor whose own it is, if its kind is a listed one.
    owner: Option<&'static str>,
}

impl VendorHeader {
    /// Whether providers of `kind` get it.
    pub fn is_for(&self, kind: ProviderKind) -> bool {
        match (kind, self.owner) {
            (ProviderKind::Listed(_), Some(owner)) => kind.name() == owner,
            _ => self.kinds.contains(&kind.general()),
        }
    }
}

/// `content-length` says where an HTTP/1.1 request ends. The others describe the body, the client or the call.
const COMMON: [&str; 15] = [
    "accept",
    "accept-encoding",
    "b3",
    "content-encoding",
    "content-length",
    "content-type",
    "idempotency-key",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-b3-flags",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
];

/// Names that begin like this are common. Envoy's own begin with a colon, and they are not sent as headers. The
/// SDKs of OpenAI and Anthropic put their version, language and time limit into the others.
const COMMON_PREFIXES: [&[u8]; 2] = [b":", b"x-stainless-"];

const OPENAI: &[ProviderKind] =
    &[ProviderKind::OpenAi, ProviderKind::AzureOpenAi, ProviderKind::OpenAiCompatible];
const ANTHROPIC: &[ProviderKind] =
    &[ProviderKind::Anthropic, ProviderKind::OpenRouter, ProviderKind::OpenAiCompatible];
const CODEX: &[ProviderKind] = &[ProviderKind::OpenAi];
const AZURE: &[ProviderKind] = &[ProviderKind::AzureOpenAi];
const GEMINI: &[ProviderKind] = &[ProviderKind::Gemini];
const OPENROUTER: &[ProviderKind] = &[ProviderKind::OpenRouter];
const COMPATIBLE: &[ProviderKind] = &[ProviderKind::OpenAiCompatible];

const fn only(name: &'static str, kinds: &'static [ProviderKind]) -> VendorHeader {
    VendorHeader { name, kinds, owner: None }
}

/// The own header of a listed vendor.
const fn of(owner: &'static str, name: &'static str) -> VendorHeader {
    VendorHeader { name, kinds: COMPATIBLE, owner: Some(owner) }
}

/// Headers that providers of some kinds get.
pub const VENDOR_HEADERS: [VendorHeader; 22] = [
    only("anthropic-beta", ANTHROPIC),
    only("anthropic-version", ANTHROPIC),
    only("x-app", &[ProviderKind::Anthropic]),
    only("openai-beta", OPENAI),
    only("x-client-request-id", OPENAI),
    // Codex: which conversation a request belongs to, and which client sends it.
    only("conversation_id", CODEX),
    only("originator", CODEX),
    only("session-id", CODEX),
    only("session_id", CODEX),
    only("x-codex-beta-features", CODEX),
    only("x-codex-turn-state", CODEX),
    only("x-ms-client-request-id", AZURE),
    only("x-ms-oai-image-generation-deployment", AZURE),
    only("x-ms-useragent", AZURE),
    only("x-goog-api-client", GEMINI),
    only("http-referer", OPENROUTER),
    only("x-openrouter-categories", OPENROUTER),
    only("x-openrouter-title", OPENROUTER),
    only("x-session-id", OPENROUTER),
    only("x-title", OPENROUTER),
    // xAI and Fireworks: to which server a conversation goes.
    of("xai", "x-grok-conv-id"),
    of("fireworks", "x-session-affinity"),
];

const KNOWN: usize = COMMON.len() + CREDENTIAL_HEADERS.len() + VENDOR_HEADERS.len();

static NAMES: Names<RequestHeader, 128> = Names::new(&known());

#[allow(clippy::indexing_slicing)]
const fn known() -> [(&'static [u8], RequestHeader); KNOWN] {
    let mut known: [(&'static [u8], RequestHeader); KNOWN] = [(b"", RequestHeader::Other); KNOWN];
    let mut at = 0;
    while at < COMMON.len() {
        known[at] = (COMMON[at].as_bytes(), RequestHeader::Common);
        at += 1;
    }
    let mut index = 0;
    while index < CREDENTIAL_HEADERS.len() {
        known[at] = (CREDENTIAL_HEADERS[index].as_bytes(), RequestHeader::Credential(index as u8));
        at += 1;
        index += 1;
    }
    let mut index = 0;
    while index < VENDOR_HEADERS.len() {
        known[at] = (VENDOR_HEADERS[index].name.as_bytes(), RequestHeader::Vendor(index as u8));
        at += 1;
        index += 1;
    }
    known
}

/// What becomes of the client's header with this lower-case name.
pub fn request_header(name: &[u8]) -> RequestHeader {
    if COMMON_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return RequestHeader::Common;
    }
    NAMES.get(name).unwrap_or(RequestHeader::Other)
}

/// Whether a provider of `kind` gets the query parameter that is written as `name`. A client that writes a name
/// in an unusual way, with `%62eta` for `beta`, is not understood.
pub(super) fn takes_parameter(kind: ProviderKind, endpoint: Endpoint, name: &str) -> bool {
    match name {
        "beta" => endpoint.dialect() == Dialect::Anthropic,
        "include" | "include[]" | "include%5B%5D" | "include%5b%5d" => endpoint == Endpoint::Responses,
        "api-version" => matches!(kind, ProviderKind::AzureOpenAi | ProviderKind::OpenAiCompatible),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_header_is_found_and_no_other() {
        for name in COMMON {
            assert_eq!(request_header(name.as_bytes()), RequestHeader::Common, "{name}");
        }
        for (index, name) in CREDENTIAL_HEADERS.iter().enumerate() {
            assert_eq!(request_header(name.as_bytes()), RequestHeader::Credential(index as u8), "{name}");
        }
        for (index, header) in VENDOR_HEADERS.iter().enumerate() {
            let found = request_header(header.name.as_bytes());
            assert_eq!(found, RequestHeader::Vendor(index as u8), "{}", header.name);
        }
        for name in [":path", ":anything", "x-stainless-lang", "x-stainless-retry-count"] {
            assert_eq!(request_header(name.as_bytes()), RequestHeader::Common, "{name}");
        }
        for name in ["", "accept-language", "baggage", "cookie", "x-stainles", "anthropic-beta-x", "X-App"] {
            assert_eq!(request_header(name.as_bytes()), RequestHeader::Other, "{name}");
        }
    }

    #[test]
    fn a_vendors_own_headers_go_to_no_other_vendor() {
        let kinds = |name: &str| {
            let header = VENDOR_HEADERS.iter().find(|header| header.name == name);
            let kinds =
                ProviderKind::ALL.into_iter().filter(|kind| header.is_some_and(|it| it.is_for(*kind)));
            let kinds = kinds.filter(|kind| *kind == kind.general());
            kinds.map(ProviderKind::name).collect::<Vec<_>>()
        };
        assert_eq!(kinds("anthropic-beta"), ["anthropic", "openrouter", "openai-compatible"]);
        assert_eq!(kinds("openai-beta"), ["openai", "azure-openai", "openai-compatible"]);
        assert_eq!(kinds("http-referer"), ["openrouter"]);
        assert_eq!(kinds("x-grok-conv-id"), ["openai-compatible"]);
    }

    #[test]
    fn no_parameter_passes_that_the_endpoint_does_not_have() {
        use Endpoint::{Chat, CountTokens, Messages, Responses};
        use ProviderKind::{Anthropic, AzureOpenAi, OpenAi, OpenAiCompatible, OpenRouter};
        for (kind, endpoint, name, passes) in [
            (Anthropic, Messages, "beta", true),
            (OpenRouter, Messages, "beta", true),
            (Anthropic, CountTokens, "beta", true),
            (Anthropic, Chat, "beta", false),
            (OpenAi, Responses, "include[]", true),
            (OpenAi, Responses, "include%5B%5D", true),
            (OpenAi, Chat, "include[]", false),
            (AzureOpenAi, Chat, "api-version", true),
            (OpenAiCompatible, Chat, "api-version", true),
            (OpenAi, Chat, "api-version", false),
            (Anthropic, Messages, "BETA", false),
            (Anthropic, Messages, "key", false),
            (OpenAiCompatible, Chat, "api_key", false),
            (OpenAiCompatible, Chat, "", false),
        ] {
            assert_eq!(takes_parameter(kind, endpoint, name), passes, "{kind:?} {endpoint:?} {name}");
        }
    }
}
