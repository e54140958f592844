//! Paths that are not endpoints of a model: the list of models, and all others, which are refused or passed
//! on as configured.

use super::headers::{NEEDED_FOR_ROUTING, StrippedBy};
use super::models;
use super::paths::OtherPath;
use super::reading::authenticate;
use crate::base::{Dialect, HeaderBlock, HeaderSink, Timestamp};
use crate::config::OtherPaths;
use crate::generation::Generation;
use crate::provider;
use crate::refusal::{LocalAnswer, PathHint, Refusal};

/// Headers that do not go to the cluster for other paths: what Envoy, and other proxies and login products in
/// front of it, add about the client and the way to here. All others do, because the cluster is the operator's
/// and may serve anything.
const PRIVATE: [&[u8]; 13] = [
    b"x-request-id",
    b"forwarded",
    b"via",
    b"x-real-ip",
    b"x-client-ip",
    b"true-client-ip",
    b"cdn-loop",
    b"cookie",
    b"proxy-authorization",
    b"expect",
    b"te",
    b"x-goog-iap-jwt-assertion",
    b"x-ms-client-principal",
];

/// The same by prefix.
const PRIVATE_PREFIXES: [&[u8]; 7] = [
    b"x-envoy-",
    b"x-forwarded-",
    b"x-llm-",
    b"cf-",
    b"x-amzn-oidc-",
    b"x-auth-request-",
    b"x-goog-authenticated-",
];

fn is_private(name: &[u8]) -> bool {
    let by_prefix = || PRIVATE_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    (PRIVATE.contains(&name) || by_prefix()) && name != NEEDED_FOR_ROUTING
}

/// What is done with a request to another path.
pub enum OtherRequest {
    /// The filter answers it.
    Answer(LocalAnswer),
    /// It goes to the operator's cluster for other paths.
    PassOn,
    /// It is refused.
    Refuse(Refusal, Dialect),
}

/// The dialect of a client whose path does not tell.
pub fn usual_dialect(headers: &HeaderBlock) -> Dialect {
    match headers.get_bytes("anthropic-version") {
        Some(_) => Dialect::Anthropic,
        None => Dialect::OpenAi,
    }
}

/// Decides what is done with a request for `path`, and addresses it if it passes.
pub fn other_path(
    generation: &Generation,
    method: &str,
    path: OtherPath,
    headers: &HeaderBlock,
    now: Timestamp,
    sink: &mut impl HeaderSink,
) -> OtherRequest {
    let usual = usual_dialect(headers);
    let kept = PathHint::NotServed("/v1/responses/{id}");
    let (result, dialect) = match path {
        OtherPath::Models { wanted, dialect } => {
            let dialect = dialect.unwrap_or(usual);
            let listed = list_models(generation, method, wanted.as_deref(), (headers, now), dialect);
            (listed.map(OtherRequest::Answer), dialect)
        }
        OtherPath::Health => (health(method).map(OtherRequest::Answer), usual),
        OtherPath::Unknown { hint, hides_known: false } => {
            (pass_on(generation, hint, headers, now, sink).map(|()| OtherRequest::PassOn), usual)
        }
        OtherPath::Response(_) => {
            (pass_on(generation, kept, headers, now, sink).map(|()| OtherRequest::PassOn), usual)
        }
        OtherPath::Resource(_) => {
            (pass_on(generation, PathHint::None, headers, now, sink).map(|()| OtherRequest::PassOn), usual)
        }
        OtherPath::Unknown { hint, hides_known: true } => (Err(Refusal::UnknownPath { hint }), usual),
    };
    result.unwrap_or_else(|refusal| OtherRequest::Refuse(refusal, dialect))
}

/// Envoy sends the head of a response without its body to a client that asks for the head only.
fn only_get(method: &str) -> Result<(), Refusal> {
    if matches!(method, "GET" | "HEAD") { Ok(()) } else { Err(Refusal::Method { allowed: "GET, HEAD" }) }
}

/// That this worker's filter answers. It says nothing of providers: a load balancer that took the gateway out
/// because a provider fails would leave its clients with nothing.
fn health(method: &str) -> Result<LocalAnswer, Refusal> {
    only_get(method)?;
    let headers = vec![
        ("content-type", "text/plain; charset=utf-8".to_owned()),
        ("cache-control", "no-store".to_owned()),
    ];
    Ok(LocalAnswer { status: 200, headers, body: "ok".to_owned() })
}

fn list_models(
    generation: &Generation,
    method: &str,
    wanted: Option<&str>,
    (headers, now): (&HeaderBlock, Timestamp),
    dialect: Dialect,
) -> Result<LocalAnswer, Refusal> {
    only_get(method)?;
    let key = authenticate(generation, headers, now)?;
    let body = models::list(&generation.config, key, wanted, dialect)?;
    Ok(LocalAnswer { status: 200, headers: Vec::new(), body })
}

fn pass_on(
    generation: &Generation,
    hint: PathHint,
    headers: &HeaderBlock,
    now: Timestamp,
    sink: &mut impl HeaderSink,
) -> Result<(), Refusal> {
    let cluster = match &generation.config.other_paths {
        // What goes to an account has been sent there.
        OtherPaths::Refuse | OtherPaths::Account(_) => {
            let is_wrong = hint == PathHint::Operators && !generation.config.operators.is_empty();
            return Err(Refusal::UnknownPath { hint: if is_wrong { PathHint::None } else { hint } });
        }
        OtherPaths::Cluster(cluster) => cluster,
    };
    authenticate(generation, headers, now)?;
    for (name, _) in headers.iter().filter(|(name, _)| is_private(name)) {
        sink.remove(name);
    }
    if generation.config.keys.is_some() {
        for name in provider::CREDENTIAL_HEADERS {
            sink.remove(name.as_bytes());
        }
    }
    sink.set(StrippedBy::Filter.cluster_header(), cluster);
    Ok(())
}
