//! Upstream addressing: cluster, host, path and credential of a request that leaves for a target.

use crate::base::{Endpoint, HeaderSink};
use crate::config::{Config, Target};
use crate::intake::{CLUSTER_HEADER, CallHeaders};
use crate::provider;

/// Addresses the request to `target`. `false` when the target's provider does not speak the endpoint, which the gate
/// should have told before.
pub fn address_to(
    config: &Config,
    target: &Target,
    endpoint: Endpoint,
    call: &CallHeaders,
    sink: &mut impl HeaderSink,
) -> bool {
    let (Some(at), Some(account)) = (config.provider(target.provider), config.account(target.account)) else {
        return false;
    };
    let Some(route) = provider::route(at.kind, endpoint) else { return false };
    let mut path = String::with_capacity(64);
    let (prefix, version) = (at.path_prefix.as_deref(), at.api_version.as_deref());
    let query = call.query.as_deref();
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
            if call.credentials & (1 << bit) != 0 && !replaced {
                sink.remove(name);
            }
        }
    }
    if let Some(key) = &account.key {
        sink.set(route.credential, &route.scheme.value(key.expose()));
    }
    for (name, value) in route.headers {
        if !(call.anthropic_version && *name == "anthropic-version") {
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
