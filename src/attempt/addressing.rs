//! Upstream addressing: cluster, host, path and credential of a request that leaves for a target.

use crate::base::{AccountId, Endpoint, HeaderSink};
use crate::config::{Account, Config, Provider, Target};
use crate::intake::{ACCEPTED_ENCODING, CallHeaders, StrippedBy};
use crate::provider::{self, Route};

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
    let is_as_called = call.called(from, &path);
    Addressed { at, account, path: (!is_as_called).then_some(&*path), route, is_translated: from != to }
        .write(config, call, sink);
    true
}

/// Addresses a request for something that lives at one account. `rest` is what follows the version in the client's path;
/// without it the path stays as it is.
pub fn address_to_account(
    config: &Config,
    account: AccountId,
    rest: Option<&str>,
    call: &CallHeaders,
    sink: &mut impl HeaderSink,
) -> bool {
    let Some(account) = config.account(account) else { return false };
    let Some(at) = config.provider(account.provider) else { return false };
    let Some(route) = provider::native_route(at.kind) else { return false };
    let path = rest.map(|rest| {
        let mut path = String::with_capacity(64);
        let (prefix, version) = (at.path_prefix.as_deref(), at.api_version.as_deref());
        provider::resource_path(at.kind, prefix, version, rest, call.query.as_deref(), &mut path);
        path
    });
    Addressed { at, account, path: path.as_deref(), route, is_translated: false }.write(config, call, sink);
    true
}

/// Where a request goes.
struct Addressed<'a> {
    at: &'a Provider,
    account: &'a Account,
    /// `None` if the client's path stays.
    path: Option<&'a str>,
    route: Route,
    /// The provider gets it in another dialect than the client's.
    is_translated: bool,
}

impl Addressed<'_> {
    fn write(self, config: &Config, call: &CallHeaders, sink: &mut impl HeaderSink) {
        let Self { at, account, path, route, is_translated } = self;
        let stripped_by = StrippedBy::of(config);
        sink.set(stripped_by.cluster_header(), account.cluster.as_deref().unwrap_or(&at.cluster));
        sink.set(":authority", &at.host);
        if let Some(path) = path {
            sink.set(":path", path);
        }
        // A client's key is for this filter. It is passed on only if the operator configured neither client
        // keys nor a credential for the target, and never to a vendor of another dialect.
        let own = account.key.secret();
        if account.key.is_own() || config.keys.is_some() || is_translated {
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
            // What one dialect says in headers means nothing in another.
            if (is_translated || !header.is_for(at.kind)) && !at.forwards(header.name) {
                sink.remove(header.name.as_bytes());
            }
        }
        for name in call
            .forwarded
            .iter()
            .filter_map(|position| config.forwarded_headers().get(usize::from(*position)))
        {
            if !at.forwards(name) {
                sink.remove(name.as_bytes());
            }
        }
        for (name, value) in route.headers {
            if is_translated || !call.has_vendor_header(name) {
                sink.set(name, value);
            }
        }
        if stripped_by == StrippedBy::Filter && !call.plain_response {
            sink.set("accept-encoding", ACCEPTED_ENCODING);
        }
        for (name, value) in &at.headers {
            sink.set(name, value);
        }
    }
}
