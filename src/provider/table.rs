//! For each vendor the host, the path prefix and, per endpoint, how it is called.
//!
//! Sources: the vendors' API references. Anthropic's and Gemini's OpenAI-compatible endpoints take a bearer
//! token. Mistral's fill-in-the-middle completions differ from OpenAI's, so Mistral does not support
//! `completions`.

use super::ProviderKind;
use crate::base::{Dialect, Endpoint, EndpointSet};

/// The request headers that carry credentials, or say whose they are. Code that sets one of them for a
/// provider must remove the others, so that a client's key is never sent to another vendor. OpenAI rejects a
/// key that comes with the organisation or the project of another one.
pub const CREDENTIAL_HEADERS: [&str; 6] =
    ["authorization", "x-api-key", "api-key", "x-goog-api-key", "openai-organization", "openai-project"];

/// How a credential is written into its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `Bearer <key>`
    Bearer,
    /// The key alone.
    Plain,
}

impl Scheme {
    /// The header value that carries `key`.
    pub fn value(self, key: &str) -> String {
        match self {
            // Not with `format!`: nothing else in an ordinary request runs its code.
            Self::Bearer => ["Bearer ", key].concat(),
            Self::Plain => key.to_owned(),
        }
    }
}

/// How one vendor is called for one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The path after the prefix: `/chat/completions`.
    pub operation: &'static str,
    /// The lower-case name of the header that carries the credential.
    pub credential: &'static str,
    /// How the credential is written there.
    pub scheme: Scheme,
    /// Headers that the vendor requires, sent when the client has not set them; names are lower case.
    pub headers: &'static [(&'static str, &'static str)],
    /// The dialect of requests and responses. Errors may still come in the vendor's own shape.
    pub dialect: Dialect,
}

struct Vendor {
    host: Option<&'static str>,
    prefix: Option<&'static str>,
    endpoints: &'static [Endpoint],
}

const fn vendor(kind: ProviderKind) -> Vendor {
    use Endpoint::{
        Chat, Completions, CountTokens, Embeddings, Images, Messages, Moderations, Rerank, Responses, Speech,
    };
    match kind {
        ProviderKind::OpenAi => Vendor {
            host: Some("api.openai.com"),
            prefix: Some("/v1"),
            endpoints: &[Chat, Completions, Embeddings, Responses, Moderations, Images, Speech],
        },
        // The host contains the resource's name, so there is no default.
        ProviderKind::AzureOpenAi => Vendor {
            host: None,
            prefix: Some("/openai/v1"),
            endpoints: &[Chat, Completions, Embeddings, Responses, Images, Speech],
        },
        ProviderKind::Anthropic => Vendor {
            host: Some("api.anthropic.com"),
            prefix: Some("/v1"),
            endpoints: &[Chat, Messages, CountTokens],
        },
        ProviderKind::Gemini => Vendor {
            host: Some("generativelanguage.googleapis.com"),
            prefix: Some("/v1beta/openai"),
            endpoints: &[Chat, Embeddings, Images],
        },
        ProviderKind::OpenRouter => Vendor {
            host: Some("openrouter.ai"),
            prefix: Some("/api/v1"),
            endpoints: &[Chat, Completions, Embeddings, Responses, Messages, Rerank, Speech],
        },
        ProviderKind::Mistral => Vendor {
            host: Some("api.mistral.ai"),
            prefix: Some("/v1"),
            endpoints: &[Chat, Embeddings, Moderations],
        },
        // vLLM and others support the Messages dialect as well.
        ProviderKind::OpenAiCompatible => {
            Vendor { host: None, prefix: Some("/v1"), endpoints: &Endpoint::ALL }
        }
        ProviderKind::Listed(listed) => {
            let row = listed.row();
            Vendor { host: row.host, prefix: row.prefix, endpoints: row.endpoints }
        }
    }
}

/// How `kind` is called for `endpoint`; `None` if it does not support it.
pub fn route(kind: ProviderKind, endpoint: Endpoint) -> Option<Route> {
    if !vendor(kind).endpoints.contains(&endpoint) {
        return None;
    }
    let (credential, scheme) = credential_header(kind, endpoint);
    let headers = default_headers(kind, endpoint);
    Some(Route { operation: endpoint.operation(), credential, scheme, headers, dialect: endpoint.dialect() })
}

/// How `kind` is called in the API that it has made itself, for what lives at an account.
pub fn native_route(kind: ProviderKind) -> Option<Route> {
    route(kind, if kind == ProviderKind::Anthropic { Endpoint::Messages } else { Endpoint::Chat })
}

/// The endpoints that `kind` supports.
pub fn endpoints(kind: ProviderKind) -> EndpointSet {
    EndpointSet::of(vendor(kind).endpoints)
}

/// The host of `kind` unless the operator sets another one; `None` if there is no default.
pub const fn default_host(kind: ProviderKind) -> Option<&'static str> {
    vendor(kind).host
}

/// The path prefix of `kind`, without a trailing slash; `None` if there is no default.
pub const fn default_prefix(kind: ProviderKind) -> Option<&'static str> {
    vendor(kind).prefix
}

/// The path prefix of `endpoint` at `kind`, unless the operator sets another one for all of them.
pub(super) fn prefix_of(kind: ProviderKind, endpoint: Endpoint) -> Option<&'static str> {
    match (kind, endpoint) {
        (ProviderKind::Listed(listed), Endpoint::Rerank) => listed.row().rerank_prefix,
        _ => None,
    }
    .or_else(|| default_prefix(kind))
}

/// Whether a provider of `kind` serves nobody without a key. Servers that operators run may have none.
pub const fn needs_key(kind: ProviderKind) -> bool {
    match kind {
        ProviderKind::OpenAiCompatible => false,
        ProviderKind::Listed(listed) => listed.row().needs_key,
        _ => true,
    }
}

/// The header (lower case) that carries the credential of `kind` for `endpoint`, and how it is written.
pub const fn credential_header(kind: ProviderKind, endpoint: Endpoint) -> (&'static str, Scheme) {
    match (kind, endpoint) {
        (ProviderKind::AzureOpenAi, _) => ("api-key", Scheme::Plain),
        (ProviderKind::Anthropic, Endpoint::Messages | Endpoint::CountTokens) => ("x-api-key", Scheme::Plain),
        _ => ("authorization", Scheme::Bearer),
    }
}

/// Headers that `kind` requires for `endpoint`, sent when the client has not set them; names are lower case.
pub const fn default_headers(
    kind: ProviderKind,
    endpoint: Endpoint,
) -> &'static [(&'static str, &'static str)] {
    match (kind, endpoint) {
        (ProviderKind::Anthropic, Endpoint::Messages | Endpoint::CountTokens) => {
            &[("anthropic-version", "2023-06-01")]
        }
        _ => &[],
    }
}

/// Whether `kind` accepts `stream_options.include_usage`, which makes its chat and completion streams report
/// usage. OpenRouter and Mistral report it anyway, and Mistral rejects members that it does not know.
pub const fn takes_usage_option(kind: ProviderKind) -> bool {
    match kind {
        ProviderKind::OpenAi
        | ProviderKind::AzureOpenAi
        | ProviderKind::Anthropic
        | ProviderKind::Gemini
        | ProviderKind::OpenAiCompatible
        | ProviderKind::Listed(_) => true,
        ProviderKind::OpenRouter | ProviderKind::Mistral => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vendor_has_exactly_its_documented_endpoints() {
        let supported = |kind| {
            let set = endpoints(kind);
            Endpoint::ALL.into_iter().filter(|e| set.contains(*e)).map(Endpoint::name).collect::<Vec<_>>()
        };
        let openai = ["chat", "completions", "embeddings", "responses"];
        let text = ["chat", "completions", "embeddings", "responses", "messages"];
        let media = ["images", "speech"];
        assert_eq!(supported(ProviderKind::OpenAi), [&openai[..], &["moderations"], &media].concat());
        assert_eq!(supported(ProviderKind::AzureOpenAi), [&openai[..], &media].concat());
        assert_eq!(supported(ProviderKind::Anthropic), ["chat", "messages", "count_tokens"]);
        assert_eq!(supported(ProviderKind::Gemini), ["chat", "embeddings", "images"]);
        assert_eq!(supported(ProviderKind::OpenRouter), [&text[..], &["rerank", "speech"]].concat());
        assert_eq!(supported(ProviderKind::Mistral), ["chat", "embeddings", "moderations"]);
        let others = ["count_tokens", "moderations", "rerank"];
        assert_eq!(supported(ProviderKind::OpenAiCompatible), [&text[..], &others, &media].concat());
    }

    #[test]
    fn a_route_exists_for_exactly_the_supported_endpoints() {
        for kind in ProviderKind::ALL {
            for endpoint in Endpoint::ALL {
                assert_eq!(route(kind, endpoint).is_some(), endpoints(kind).contains(endpoint));
            }
        }
    }

    #[test]
    fn credentials_are_sent_as_each_vendor_expects() {
        let carried = |kind, endpoint| {
            let (name, scheme) = credential_header(kind, endpoint);
            format!("{name}: {}", scheme.value("k"))
        };
        assert_eq!(carried(ProviderKind::OpenAi, Endpoint::Chat), "authorization: Bearer k");
        assert_eq!(carried(ProviderKind::AzureOpenAi, Endpoint::Responses), "api-key: k");
        assert_eq!(carried(ProviderKind::Anthropic, Endpoint::Messages), "x-api-key: k");
        assert_eq!(carried(ProviderKind::Anthropic, Endpoint::CountTokens), "x-api-key: k");
        assert_eq!(carried(ProviderKind::Anthropic, Endpoint::Chat), "authorization: Bearer k");
        assert_eq!(carried(ProviderKind::OpenRouter, Endpoint::Messages), "authorization: Bearer k");
    }

    #[test]
    fn every_credential_header_in_use_is_in_the_list_of_credential_headers() {
        for kind in ProviderKind::ALL {
            for endpoint in Endpoint::ALL {
                assert!(CREDENTIAL_HEADERS.contains(&credential_header(kind, endpoint).0));
            }
        }
    }

    #[test]
    fn only_anthropics_own_dialect_requires_a_version() {
        for endpoint in [Endpoint::Messages, Endpoint::CountTokens] {
            assert_eq!(
                default_headers(ProviderKind::Anthropic, endpoint),
                [("anthropic-version", "2023-06-01")]
            );
        }
        assert!(default_headers(ProviderKind::Anthropic, Endpoint::Chat).is_empty());
        assert!(default_headers(ProviderKind::OpenAi, Endpoint::Chat).is_empty());
    }
}
