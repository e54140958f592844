//! Which of a provider's response headers a client gets.
//!
//! The lists say what passes, as for requests (`request_headers`). Most other headers speak for the provider's
//! host or account: cookies, security policies, other ways to reach the host, where to send reports, whose
//! account it is. A client would apply them to the gateway, or learn what only the operator should know.

use crate::base::Names;

/// What becomes of a response header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseHeader {
    /// The client gets it.
    Passes,
    /// It says how much of an account's limits is left.
    RateLimit,
    /// The client does not get it.
    Ends,
}

use ResponseHeader::Passes;

/// Besides these, request ids and rate limits are recognised by parts of their names.
static NAMES: Names<ResponseHeader, 64> = Names::new(&[
    (b":status", Passes),
    (b"anthropic-version", Passes),
    (b"cache-control", Passes),
    (b"content-disposition", Passes),
    (b"content-encoding", Passes),
    (b"content-language", Passes),
    (b"content-length", Passes),
    (b"content-type", Passes),
    (b"date", Passes),
    (b"openai-model", Passes),
    (b"openai-processing-ms", Passes),
    (b"openai-version", Passes),
    (b"request-id", Passes),
    (b"retry-after", Passes),
    (b"retry-after-ms", Passes),
    // Envoy replaces it.
    (b"server", Passes),
    (b"trailer", Passes),
    // Envoy removes these, because they belong to the connection.
    (b"transfer-encoding", Passes),
    (b"connection", Passes),
    (b"x-accel-buffering", Passes),
    // Codex sends it back with the next request of its turn.
    (b"x-codex-turn-state", Passes),
    (b"x-ms-retry-after-ms", Passes),
    (b"x-reasoning-included", Passes),
    (b"x-request-id", Passes),
    (b"x-should-retry", Passes),
]);

/// Names that end like this are ids of a request at the provider: `x-amzn-requestid`, `apim-request-id`,
/// `x-generation-id`, `x-correlation-id`.
const REQUEST_IDS: [&[u8]; 6] =
    [b"request-id", b"request_id", b"requestid", b"generation-id", b"correlation-id", b"trace-id"];

/// Names with one of these are rate limits: `x-ratelimit-…`, `anthropic-ratelimit-…`, `ratelimit-policy`.
const RATE_LIMITS: [&[u8]; 2] = [b"ratelimit", b"rate-limit"];

/// Names that begin like this are rate limits, too. The first two are on nearly every response, so a look at the
/// beginning finds them with the least work.
const RATE_LIMIT_PREFIXES: [&[u8]; 4] =
    [b"x-ratelimit-", b"anthropic-ratelimit-", b"anthropic-priority-", b"anthropic-fast-"];

/// Headers that only this filter and Envoy may set. The edge and clients would take a provider's `x-llm-*` for
/// the filter's and its `x-envoy-*` for the inner listener's. For example the edge does not retry a 429 with
/// `x-envoy-ratelimited`, which a provider behind an Envoy sends.
const RESERVED: [&[u8]; 2] = [b"x-llm-", b"x-envoy-"];

/// What becomes of the response header with this lower-case name.
pub fn response_header(name: &[u8]) -> ResponseHeader {
    if let Some(known) = NAMES.get(name) {
        return known;
    }
    let is_limit = RATE_LIMIT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || RATE_LIMITS.iter().any(|part| name.windows(part.len()).any(|window| window == *part));
    let is_id = || REQUEST_IDS.iter().any(|suffix| name.ends_with(suffix));
    if is_reserved(name) {
        ResponseHeader::Ends
    } else if is_limit {
        ResponseHeader::RateLimit
    } else if is_id() {
        Passes
    } else {
        ResponseHeader::Ends
    }
}

/// Whether only this filter and Envoy may set the header.
pub fn is_reserved(name: &[u8]) -> bool {
    RESERVED.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_answer_its_ids_and_its_waits() {
        for name in [
            ":status",
            "content-type",
            "content-length",
            "retry-after",
            "retry-after-ms",
            "x-should-retry",
            "openai-processing-ms",
            "x-request-id",
            "request-id",
            "apim-request-id",
            "x-ms-request-id",
            "x-amzn-requestid",
            "x-generation-id",
            "cohere-trace-id",
        ] {
            assert_eq!(response_header(name.as_bytes()), ResponseHeader::Passes, "{name}");
        }
    }

    #[test]
    fn what_speaks_for_the_providers_host_or_account_ends_here() {
        for name in [
            "alt-svc",
            "strict-transport-security",
            "set-cookie",
            "set-cookie2",
            "clear-site-data",
            "access-control-allow-origin",
            "access-control-expose-headers",
            "openai-organization",
            "openai-project",
            "anthropic-organization-id",
            "location",
            "content-location",
            "refresh",
            "link",
            "via",
            "nel",
            "report-to",
            "reporting-endpoints",
            "content-security-policy",
            "content-security-policy-report-only",
            "cross-origin-opener-policy",
            "permissions-policy",
            "x-frame-options",
            "x-content-type-options",
            "public-key-pins",
            "expect-ct",
            "www-authenticate",
            "proxy-authenticate",
            "x-powered-by",
            "server-timing",
            "cf-ray",
            "cf-cache-status",
            "x-ms-region",
            "x-llm-target",
            "x-llm-request-id",
            "x-envoy-ratelimited",
            "x-envoy-upstream-service-time",
            "te",
            "",
        ] {
            assert_eq!(response_header(name.as_bytes()), ResponseHeader::Ends, "{name}");
        }
    }

    #[test]
    fn rate_limits_are_recognised_in_any_vendors_spelling() {
        for name in [
            "x-ratelimit-limit-requests",
            "x-ratelimit-reset-tokens",
            "anthropic-ratelimit-unified-status",
            "anthropic-priority-input-tokens-remaining",
            "ratelimit",
            "ratelimit-policy",
            "x-rate-limit-remaining",
            "x-ms-ratelimit-remaining",
        ] {
            assert_eq!(response_header(name.as_bytes()), ResponseHeader::RateLimit, "{name}");
        }
    }
}
