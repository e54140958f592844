//! Upstream addressing: cluster, host, path and credential of a request that leaves for a target.

use crate::base::{Endpoint, HeaderSink};
use crate::config::{Config, Target};
use crate::intake::{ACCEPTED_ENCODING, CallHeaders, StrippedBy};
use crate::provider;

/// Addresses a request that the client sent to the endpoint `from` to the endpoint `to` of `target`, whose provider
/// calls the model `model`. `false` if the target's provider does not support that, which the gate `dialect`
/// should have prevented.
pub fn address_to(
    config: &Config,
    (target, model): (&Target, &str),
    (from, to): (Endpoint, Endpoint),
    call: &CallHeaders,
    sink: &mut impl HeaderSink,
) -> bool {
    let (Some(at), Some(account)) = (config.provider(target.provider), config.account(target.account)) else {
        return false;
    };
    let Some(route) = provider::route(at.kind, to) else { return false };
    let mut path = String::with_capacity(64);
    let (prefix, version) = (at.path_prefix.as_deref(), at.api_version.as_deref());
    let query = call.query.as_deref();
    if !provider::upstream_path(at.kind, to, prefix, version, model, query, &mut path) {
        return false;
    }
    let stripped_by = StrippedBy::of(config);
    sink.set(stripped_by.cluster_header(), account.cluster.as_deref().unwrap_or(&at.cluster));
    sink.set(":authority", &at.host);
    if !call.called(from, &path) {
        sink.set(":path", &path);
    }
    // A client's key is for this filter. It is passed on only if the operator configured neither client
    // keys nor a credential for the target.
    let own = account.key.secret();
    if account.key.is_own() || config.keys.is_some() {
        for (bit, name) in provider::CREDENTIAL_HEADERS.iter().enumerate() {
            let replaced = own.is_some() && *name == route.credential;
            if call.credentials & (1 << bit) != 0 && !replaced {
                sink.remove(name.as_bytes());
            }
        }
    }
    if let Some(key) = own {
        sink.set(route.credential, &route.scheme.value(key.expose()));
    }
    for header in call.vendor_headers() {
        if !header.is_for(at.kind) && !at.forwards(header.name) {
            sink.remove(header.name.as_bytes());
        }
    }
    for name in
        call.forwarded.iter().filter_map(|position| config.forwarded_headers().get(usize::from(*position)))
    {
        if !at.forwards(name) {
            sink.remove(name.as_bytes());
        }
    }
    for (name, value) in route.headers {
        if !call.has_vendor_header(name) {
            sink.set(name, value);
        }
    }
    if stripped_by == StrippedBy::Filter && !call.plain_response {
        sink.set("accept-encoding", ACCEPTED_ENCODING);
    }
    for (name, value) in &at.headers {
        sink.set(name, value);
    }
    true
}
