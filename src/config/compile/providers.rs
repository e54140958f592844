use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::common::word;
use super::limits::MAX_HEADERS;
use super::text;
use crate::base::{Endpoint, EndpointSet};
use crate::config::compiled::Provider;
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::nearest::hint;
use crate::config::raw::{RawProvider, Words};
use crate::provider::{self, ProviderKind};

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

pub(super) fn provider(
    name: &str,
    raw: &RawProvider,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Provider> {
    let kind = kind(raw, at, mistakes);
    let cluster = match &raw.cluster {
        Some(cluster) => text::checked(cluster, text::cluster, &at.field("cluster"), mistakes),
        None => Some(name.to_owned()),
    };
    let host = host(raw, kind, at, mistakes);
    let path_prefix = optional(raw.path_prefix.as_ref(), |prefix| {
        text::checked(prefix, text::path_prefix, &at.field("path_prefix"), mistakes)
    });
    let api_version = api_version(raw, kind, at, mistakes);
    let endpoints = endpoints(raw.endpoints.as_ref(), kind, at, mistakes);
    let asks_usage = asks_usage(raw, kind, at, mistakes);
    let headers = headers(raw.headers.as_ref(), at, mistakes);
    Some(Provider {
        name: Rc::from(name),
        kind: kind?,
        cluster: cluster?,
        host: host?,
        path_prefix: path_prefix?,
        api_version: api_version?,
        endpoints: endpoints?,
        asks_usage: asks_usage?,
        headers,
    })
}

/// Checks an optional value. The outer `None` is a mistake, the inner one an absent value.
fn optional<T, U>(written: Option<T>, check: impl FnOnce(T) -> Option<U>) -> Option<Option<U>> {
    match written {
        Some(value) => check(value).map(Some),
        None => Some(None),
    }
}

fn kind(raw: &RawProvider, at: &Trail<'_>, mistakes: &mut Mistakes) -> Option<ProviderKind> {
    let known = ProviderKind::ALL.into_iter().map(ProviderKind::name);
    let at_kind = at.field("kind");
    let Some(name) = &raw.kind else {
        mistakes.add(&at_kind, format!("is missing{}", hint("", known)));
        return None;
    };
    let kind = ProviderKind::from_name(name);
    if kind.is_none() {
        mistakes.add(&at_kind, format!("`{}` is not a provider kind{}", shown(name), hint(name, known)));
    }
    kind
}

fn host(
    raw: &RawProvider,
    kind: Option<ProviderKind>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<String> {
    if let Some(host) = &raw.host {
        return text::checked(host, text::host, &at.field("host"), mistakes);
    }
    let kind = kind?;
    let default = provider::default_host(kind);
    if default.is_none() {
        mistakes.add(&at.field("host"), format!("is missing: kind `{}` has no default host", kind.name()));
    }
    default.map(str::to_owned)
}

fn api_version(
    raw: &RawProvider,
    kind: Option<ProviderKind>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Option<String>> {
    let at = at.field("api_version");
    optional(raw.api_version.as_ref(), |version| match kind {
        Some(ProviderKind::AzureOpenAi) | None => text::checked(version, text::api_version, &at, mistakes),
        Some(kind) => {
            mistakes.add(&at, format!("is not used by kind `{}`, only by `azure-openai`", kind.name()));
            None
        }
    })
}

fn endpoints(
    words: Option<&Words>,
    kind: Option<ProviderKind>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<EndpointSet> {
    let Some(words) = words else { return kind.map(provider::endpoints) };
    let at = at.field("endpoints");
    if words.is_empty() {
        mistakes.add(
            &at,
            "is empty, so the provider could serve nothing; leave it out for all endpoints of its kind",
        );
    }
    let mut listed = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let Some(word) = word else { continue };
        match endpoint(word, kind, &listed) {
            Ok(endpoint) => listed.push(endpoint),
            Err(problem) => mistakes.add(&at.item(index), problem),
        }
    }
    Some(EndpointSet::of(&listed))
}

fn endpoint(word: &str, kind: Option<ProviderKind>, listed: &[Endpoint]) -> Result<Endpoint, String> {
    let supported =
        |endpoint: &Endpoint| kind.is_none_or(|kind| provider::endpoints(kind).contains(*endpoint));
    let known = Endpoint::ALL.into_iter().filter(supported).map(Endpoint::name);
    let Some(endpoint) = Endpoint::from_name(word) else {
        return Err(format!("`{}` is not an endpoint{}", shown(word), hint(word, known)));
    };
    if !supported(&endpoint) {
        let kind = kind.map_or("", ProviderKind::name);
        return Err(format!("kind `{kind}` does not support `{word}`{}", hint("", known)));
    }
    if listed.contains(&endpoint) {
        return Err(format!("`{word}` is listed twice"));
    }
    Ok(endpoint)
}

fn asks_usage(
    raw: &RawProvider,
    kind: Option<ProviderKind>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<bool> {
    let asked = word(
        raw.usage.as_ref(),
        &[("ask", Some(true)), ("leave", Some(false))],
        &at.field("usage"),
        mistakes,
    );
    asked.or_else(|| kind.map(provider::takes_usage_option))
}

fn headers(
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
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let of_value = |byte: u8| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t';
    if !(1..=MAX_HEADER_NAME).contains(&lower_name.len()) || !lower_name.bytes().all(of_token) {
        return Some("is not a header name, expected 1 to 128 letters, digits or `-`");
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
}
