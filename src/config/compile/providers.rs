use std::rc::Rc;

use super::common::word;
use super::{headers, text};
use crate::base::{Endpoint, EndpointSet};
use crate::config::compiled::Provider;
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::nearest::hint;
use crate::config::raw::{RawProvider, Words};
use crate::provider::{self, ProviderKind};

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
    let path_prefix = path_prefix(raw, kind, at, mistakes);
    let api_version = api_version(raw, kind, at, mistakes);
    let endpoints = endpoints(raw.endpoints.as_ref(), kind, at, mistakes);
    let asks_usage = asks_usage(raw, kind, at, mistakes);
    let headers = headers::set(raw.headers.as_ref(), at, mistakes);
    let forward_headers = headers::forwarded(raw.forward_headers.as_ref(), at, mistakes);
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
        forward_headers,
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

fn path_prefix(
    raw: &RawProvider,
    kind: Option<ProviderKind>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Option<String>> {
    let at = at.field("path_prefix");
    if let Some(kind) =
        kind.filter(|kind| raw.path_prefix.is_none() && provider::default_prefix(*kind).is_none())
    {
        mistakes.add(&at, format!("is missing: kind `{}` has no default path", kind.name()));
        return None;
    }
    optional(raw.path_prefix.as_ref(), |prefix| text::checked(prefix, text::path_prefix, &at, mistakes))
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
