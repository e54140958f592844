//! The headers of requests to a provider: those that are set, and those of clients that it gets besides the
//! ones that its kind documents.

use std::collections::{BTreeMap, BTreeSet};

use super::limits::MAX_HEADERS;
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::raw::Words;
use crate::provider::{self, RequestHeader};

/// The maximum length of a header's name and value.
const MAX_HEADER_NAME: usize = 128;
const MAX_HEADER_VALUE: usize = 4096;
/// Headers that belong to one message on one connection (RFC 9110 §7.6.1, §7.2, §8.6, §10.1.1). The transport
/// sets them.
const TRANSPORT_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Headers that the filter and Envoy exchange.
const PRIVATE_PREFIXES: [&str; 2] = ["x-llm-", "x-envoy-"];
const NO_NAME: &str = "is not a header name, expected 1 to 128 letters, digits or `-`";

/// Headers that a client's message has and a provider's must not have: the body is edited, the response must be
/// readable, and the id is Envoy's.
const NEVER_FORWARDED: [&str; 7] = [
    "accept-encoding",
    "content-digest",
    "content-encoding",
    "content-md5",
    "digest",
    "repr-digest",
    "x-request-id",
];
/// Credentials that are for something on the way, besides those of the vendors' APIs.
const CREDENTIALS: [&str; 3] = ["cookie", "proxy-authorization", "set-cookie"];

/// The headers that are set for a provider.
pub(super) fn set(
    written: Option<&BTreeMap<String, Option<String>>>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Vec<(String, String)> {
    let at = at.field("headers");
    let count = written.map_or(0, BTreeMap::len);
    if count > MAX_HEADERS {
        mistakes.add(&at, format!("has {count} entries, at most {MAX_HEADERS} are allowed"));
    }
    let mut seen = BTreeSet::new();
    let mut headers = Vec::new();
    for (name, value) in written.into_iter().flatten() {
        let Some(value) = value else { continue };
        let lower = name.to_ascii_lowercase();
        match header_problem(&lower, value) {
            Some(problem) => mistakes.add(&at.field(name), problem),
            None if !seen.insert(lower.clone()) => {
                mistakes.add(&at.field(name), "is set twice: header names are not case-sensitive");
            }
            None => headers.push((lower, value.clone())),
        }
    }
    headers.sort();
    headers
}

/// What is wrong with a header. The value is never shown, because it may be a credential.
fn header_problem(lower_name: &str, value: &str) -> Option<&'static str> {
    let of_value = |byte: u8| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t';
    if !is_header_name(lower_name) {
        return Some(NO_NAME);
    }
    if TRANSPORT_HEADERS.contains(&lower_name) {
        return Some("cannot be set here: Envoy sets this header for each connection");
    }
    if PRIVATE_PREFIXES.iter().any(|prefix| lower_name.starts_with(prefix)) {
        return Some("cannot be set here: `x-llm-` and `x-envoy-` headers are never sent to providers");
    }
    let has_margin = value.trim_ascii().len() != value.len();
    if !(1..=MAX_HEADER_VALUE).contains(&value.len()) || has_margin || !value.bytes().all(of_value) {
        return Some(
            "has a value that is not allowed in a header, expected 1 to 4096 ASCII characters without line \
             breaks or outer spaces",
        );
    }
    None
}

/// The headers of clients that are forwarded to a provider.
pub(super) fn forwarded(words: Option<&Words>, at: &Trail<'_>, mistakes: &mut Mistakes) -> Vec<String> {
    let at = at.field("forward_headers");
    let count = words.map_or(0, Vec::len);
    if count > MAX_HEADERS {
        mistakes.add(&at, format!("has {count} entries, at most {MAX_HEADERS} are allowed"));
    }
    let mut names = BTreeSet::new();
    for (index, word) in words.into_iter().flatten().enumerate() {
        let Some(word) = word else { continue };
        let name = word.to_ascii_lowercase();
        let problem = forward_problem(&name).or_else(|| {
            (!names.insert(name)).then_some("is listed twice: header names are not case-sensitive")
        });
        if let Some(problem) = problem {
            mistakes.add_with(&at.item(index), || format!("`{}` {problem}", shown(word)));
        }
    }
    names.into_iter().collect()
}

/// Why a client's header cannot be forwarded.
fn forward_problem(lower_name: &str) -> Option<&'static str> {
    if !is_header_name(lower_name) {
        return Some(NO_NAME);
    }
    if TRANSPORT_HEADERS.contains(&lower_name) || NEVER_FORWARDED.contains(&lower_name) {
        return Some("cannot be forwarded: Envoy or the filter sets or removes this header");
    }
    let begins = |prefix: &&str| lower_name.starts_with(*prefix);
    if PRIVATE_PREFIXES.iter().chain(&["x-forwarded-"]).any(begins) {
        return Some(
            "cannot be forwarded: `x-llm-`, `x-envoy-` and `x-forwarded-` headers are never sent to providers",
        );
    }
    let is_credential =
        matches!(provider::request_header(lower_name.as_bytes()), RequestHeader::Credential(_));
    if is_credential || CREDENTIALS.contains(&lower_name) {
        return Some("cannot be forwarded: it carries a client's credential, or says whose it is");
    }
    None
}

fn is_header_name(name: &str) -> bool {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=MAX_HEADER_NAME).contains(&name.len()) && name.bytes().all(of_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_transport_and_of_the_filter_are_rejected() {
        let rejected = [
            "host",
            "content-length",
            ":authority",
            "connection",
            "te",
            "x-llm-target",
            "x-envoy-a",
            "",
            "a b",
        ];
        for name in rejected {
            assert!(header_problem(name, "v").is_some(), "{name}");
        }
        for name in ["x-foo", "authorization", "openai-organization", "x-llmx"] {
            assert_eq!(header_problem(name, "v"), None, "{name}");
        }
    }

    #[test]
    fn header_values_with_line_breaks_are_rejected() {
        for value in ["", "a\r\nb: c", "a\nb", "a\0", " a", "a\t", "ä", &"x".repeat(4097)] {
            assert!(header_problem("x-foo", value).is_some(), "{value:?}");
        }
        assert_eq!(header_problem("x-foo", "a b\tc"), None);
    }

    #[test]
    fn a_clients_credentials_and_envoys_headers_are_never_forwarded() {
        for name in [
            "",
            "a b",
            ":path",
            "host",
            "te",
            "content-length",
            "accept-encoding",
            "x-request-id",
            "x-llm-session",
            "x-envoy-internal",
            "x-forwarded-for",
            "authorization",
            "x-api-key",
            "x-goog-api-key",
            "openai-organization",
            "openai-project",
            "cookie",
            "proxy-authorization",
        ] {
            assert!(forward_problem(name).is_some(), "{name}");
        }
        for name in
            ["x-team", "baggage", "openai-beta", "x-real-ip", "accept-language", "x-codex-turn-metadata"]
        {
            assert_eq!(forward_problem(name), None, "{name}");
        }
    }
}
