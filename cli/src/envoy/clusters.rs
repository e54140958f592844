//! Clusters.

use super::listeners::{Address, Listener};
use super::place::Place;

/// Where a cluster's HTTP options are.
pub const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// A cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Where it is in the file.
    pub path: String,
    /// Its name.
    pub name: String,
    /// Where its endpoints are, as far as the file says.
    pub destinations: Vec<Destination>,
    /// The most retries at the same time, if the file says.
    pub max_retries: Option<u64>,
    /// Whether requests may share a connection, as HTTP/2 lets them.
    pub may_multiplex: bool,
    /// The most requests on one connection, if the file says.
    pub max_requests_per_connection: Option<u64>,
    /// Whether connections are encrypted, or may be.
    pub has_tls: bool,
    /// Whether a server without the right certificate is accepted.
    pub trusts_everyone: bool,
    /// The paths of its settings.
    pub settings: Vec<String>,
}

/// The address of an endpoint.
#[derive(Debug, PartialEq, Eq)]
pub enum Destination {
    /// A listener of this process.
    Internal(String),
    /// A host and a port.
    Socket(String, u64),
}

impl Cluster {
    pub(super) fn read(place: &Place<'_>) -> Self {
        let endpoints = place.at(&["load_assignment", "endpoints"]).items();
        let endpoints = endpoints.iter().flat_map(|locality| locality.field("lb_endpoints").items());
        let thresholds = place.at(&["circuit_breakers", "thresholds"]).items();
        let usual =
            thresholds.iter().find(|entry| matches!(entry.field("priority").text(), None | Some("DEFAULT")));
        let options = place.at(&["typed_extension_protocol_options", HTTP_OPTIONS]);
        Self {
            path: place.path.clone(),
            settings: place.settings(),
            name: place.field("name").text().unwrap_or_default().to_owned(),
            destinations: endpoints
                .filter_map(|endpoint| destination(&endpoint.at(&["endpoint", "address"])))
                .collect(),
            max_retries: usual.and_then(|entry| entry.field("max_retries").number()),
            may_multiplex: options.at(&["explicit_http_config", "http2_protocol_options"]).exists()
                || options.field("use_downstream_protocol_config").exists()
                || options.field("auto_config").exists(),
            max_requests_per_connection: options
                .at(&["common_http_protocol_options", "max_requests_per_connection"])
                .number(),
            trusts_everyone: trusts_everyone(place, &options),
            has_tls: place.field("transport_socket").exists()
                || place.field("transport_socket_matches").exists(),
        }
    }

    /// Whether it leads to this listener.
    pub fn leads_to(&self, listener: &Listener) -> bool {
        self.destinations.iter().any(|destination| match (destination, &listener.address) {
            (Destination::Internal(name), Address::Internal) => *name == listener.name,
            (Destination::Socket(host, port), Address::Socket(bound, bound_port)) => {
                port == bound_port && *port != 0 && (host == bound || (is_loopback(host) && is_any(bound)))
            }
            _ => false,
        })
    }
}

/// Whether the cluster's own TLS neither knows whom to trust nor compares the name. What comes from a secret may do both.
fn trusts_everyone(cluster: &Place<'_>, options: &Place<'_>) -> bool {
    let (tls, kind) = cluster.at(&["transport_socket", "typed_config"]).extension();
    let common = tls.field("common_tls_context");
    let comes = ["validation_context_sds_secret_config", "combined_validation_context"];
    if kind != "UpstreamTlsContext"
        || comes.iter().any(|name| common.field(name).exists())
        || common.field("custom_validator_config").exists()
    {
        return false;
    }
    let context = common.field("validation_context");
    let trusts = ["trusted_ca", "verify_certificate_spki", "verify_certificate_hash", "system_root_certs"];
    let compares = ["match_typed_subject_alt_names", "match_subject_alt_names"];
    let names = options.at(&["upstream_http_protocol_options", "auto_san_validation"]).is_true()
        || tls.field("auto_sni_san_validation").is_true();
    let pins = trusts[1..3].iter().any(|name| context.field(name).exists());
    let has = |names: &[&str]| names.iter().any(|name| context.field(name).exists());
    !pins && !(has(&trusts) && (names || has(&compares)))
}

fn destination(address: &Place<'_>) -> Option<Destination> {
    let internal = address.at(&["envoy_internal_address", "server_listener_name"]);
    if let Some(name) = internal.text() {
        return Some(Destination::Internal(name.to_owned()));
    }
    let socket = address.field("socket_address");
    Some(Destination::Socket(
        socket.field("address").text()?.to_owned(),
        socket.field("port_value").number()?,
    ))
}

/// Whether only this machine reaches the address.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Whether a listener with this address accepts connections to every address of the machine.
fn is_any(host: &str) -> bool {
    host.parse().is_ok_and(|address: std::net::IpAddr| address.is_unspecified())
}
