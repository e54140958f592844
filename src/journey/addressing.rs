//! What an attempt's request looks like when it leaves: cluster, host, path and credential, and nothing that is only
//! between the client, Envoy and this filter.

use crate::base::{Endpoint, HeaderBlock, HeaderSink};
use crate::config::{Config, Target};
use crate::provider;

/// The header that the inner route reads the cluster from.
pub const CLUSTER_HEADER: &str = "x-llm-cluster";

/// Headers that end at this filter, by their exact names: what Envoy adds about the hop, and what identifies the client
/// to us and not to a provider.
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

/// Envoy finds no route for a request without this one. The inner route removes it (`request_headers_to_remove`).
const NEEDED_FOR_ROUTING: &str = "x-forwarded-proto";

/// And by their beginnings.
const PRIVATE_PREFIXES: [&str; 3] = ["x-envoy-", "x-forwarded-", "x-llm-"];

/// Removes what no provider may see. Credentials are dealt with when the target is known.
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

/// What of the client's request decides how it is addressed.
#[derive(Debug, Clone, Default)]
pub struct Address {
    /// The query string, without its question mark.
    pub query: Option<Box<str>>,
    /// The credential headers the client sent, as a bit set over `provider::CREDENTIAL_HEADERS`.
    pub credentials: u8,
    /// Whether the client said which version of Anthropic's API it speaks.
    pub anthropic_version: bool,
}

impl Address {
    /// Reads it from the headers of a request whose path nobody has looked at.
    pub fn of(headers: &HeaderBlock) -> Self {
        let path = headers.get(":path").unwrap_or_default();
        Self::read(headers, path.split_once('?').map(|(_, query)| query))
    }

    /// Reads it from the request's headers.
    pub fn read(headers: &HeaderBlock, query: Option<&str>) -> Self {
        let mut address = Self { query: query.map(Box::from), ..Self::default() };
        for (name, _) in headers.iter() {
            if name == b"anthropic-version" {
                address.anthropic_version = true;
            }
            for (bit, credential) in provider::CREDENTIAL_HEADERS.iter().enumerate() {
                if name == credential.as_bytes() {
                    address.credentials |= 1 << bit;
                }
            }
        }
        address
    }
}

/// Addresses the request to `target`. `false` when the target's provider does not speak the endpoint, which the gate
/// should have told before.
pub fn address_to(
    config: &Config,
    target: &Target,
    endpoint: Endpoint,
    address: &Address,
    sink: &mut impl HeaderSink,
) -> bool {
    let (Some(at), Some(account)) = (config.provider(target.provider), config.account(target.account)) else {
        return false;
    };
    let Some(route) = provider::route(at.kind, endpoint) else { return false };
    let mut path = String::with_capacity(64);
    let (prefix, version) = (at.path_prefix.as_deref(), at.api_version.as_deref());
    let query = address.query.as_deref();
    if !provider::upstream_path(at.kind, endpoint, prefix, version, &target.model, query, &mut path) {
        return false;
    }
    sink.set(CLUSTER_HEADER, &at.cluster);
    sink.set(":authority", &at.host);
    sink.set(":path", &path);
    // A client's key is for this filter. It goes on only where the operator configured neither client keys nor a
    // credential for the target, which then is the client's own affair or that of Envoy's credential injector.
    if account.key.is_some() || config.keys.is_some() {
        for (bit, name) in provider::CREDENTIAL_HEADERS.iter().enumerate() {
            let replaced = account.key.is_some() && *name == route.credential;
            if address.credentials & (1 << bit) != 0 && !replaced {
                sink.remove(name);
            }
        }
    }
    if let Some(key) = &account.key {
        sink.set(route.credential, &route.scheme.value(key.expose()));
    }
    for (name, value) in route.headers {
        if !(address.anthropic_version && *name == "anthropic-version") {
            sink.set(name, value);
        }
    }
    // A compressed answer could not be judged, only passed on.
    sink.set("accept-encoding", "identity");
    for (name, value) in &at.headers {
        sink.set(name, value);
    }
    true
}
