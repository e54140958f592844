//! The clusters that lead to providers.

use llm_failsafe::base::Endpoint;
use llm_failsafe::provider::{self, ProviderKind, Scheme};

use super::description::{Account, Description, Provider, Secret, Socket};
use super::live;
use super::yaml;

/// The clusters as list items of `static_resources.clusters`.
pub fn text(description: &Description) -> String {
    let mut shared = Shared::default();
    let mut text = String::new();
    for provider in &description.providers {
        if description.has_own_clusters(&provider.name) {
            for account in description.accounts_of(&provider.name) {
                let injected = Some(account).filter(|account| account.secret == Secret::File);
                text.push_str(&cluster(
                    &description.in_envoy(&account.name),
                    provider,
                    injected,
                    &mut shared,
                ));
            }
        } else {
            text.push_str(&cluster(&description.in_envoy(&provider.name), provider, None, &mut shared));
        }
    }
    if description.has_pods() {
        text.push_str(&admin(&description.admin));
    }
    text
}

/// The cluster for Envoy's own metrics.
fn admin(Socket { host, port }: &Socket) -> String {
    format!(
        "
  # ── Envoy's own metrics, for the listener `probes` ─────────────────────────────────────────────────────
  - name: {name}
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: {name}
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: {host}, port_value: {port} }} }} }} }}] }}]
",
        name = live::ADMIN_CLUSTER,
        host = yaml::text(host),
    )
}

/// What the first cluster defines and later ones refer to.
#[derive(Default)]
struct Shared {
    has_buffer_comment: bool,
    has_http: bool,
    has_tls: bool,
}

fn cluster(name: &str, provider: &Provider, injected: Option<&Account>, shared: &mut Shared) -> String {
    let name = yaml::text(name);
    let comment =
        if std::mem::replace(&mut shared.has_buffer_comment, true) { "" } else { "         # 1 MiB" };
    let (host, port) = (yaml::text(&provider.server.host), provider.server.port);
    let mut text = format!(
        "  - name: {name}
    type: LOGICAL_DNS
    dns_lookup_family: V4_PREFERRED
    connect_timeout: 3s
    per_connection_buffer_limit_bytes: 1048576{comment}
    circuit_breakers: {{ thresholds: [{{ max_connections: 10000, max_pending_requests: 10000, max_requests: 10000 }}] }}
    load_assignment:
      cluster_name: {name}
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: {host}, port_value: {port} }} }} }} }}] }}]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:"
    );
    // What every account needs for itself cannot be shared.
    let can_share = provider.tls && injected.is_none();
    if can_share && shared.has_http {
        text.push_str(" *provider_http\n");
    } else {
        text.push_str(if can_share { " &provider_http\n" } else { "\n" });
        shared.has_http |= can_share;
        text.push_str(&http_options(provider.tls));
        text.push_str(&injected.map(|account| injector(provider.kind, account)).unwrap_or_default());
    }
    if provider.tls && std::mem::replace(&mut shared.has_tls, true) {
        text.push_str("    transport_socket: *tls\n");
    } else if provider.tls {
        text.push_str(TLS);
    }
    text
}

fn http_options(tls: bool) -> String {
    let protocol = if tls {
        "        upstream_http_protocol_options: { auto_sni: true, auto_san_validation: true }
        auto_config: { http2_protocol_options: { initial_stream_window_size: 1048576, initial_connection_window_size: 16777216 } }
"
    } else {
        // Without TLS there is no negotiation of HTTP/2.
        "        explicit_http_config: { http_protocol_options: {} }
"
    };
    format!(
        "        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        # Shorter than the idle timeout of the providers' proxies, so that no request uses a closing connection.
        common_http_protocol_options: {{ idle_timeout: 50s }}
{protocol}"
    )
}

const TLS: &str = "    transport_socket: &tls
      name: envoy.transport_sockets.tls
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        common_tls_context:
          validation_context: { trusted_ca: { filename: /etc/ssl/certs/ca-certificates.crt } }
";

/// The header with the key, and what comes before the key in it. The key's file has both: Envoy 1.36 adds nothing.
pub fn credential(kind: ProviderKind) -> (&'static str, &'static str) {
    // A cluster has one credential header. Anthropic's own endpoint decides which.
    let endpoint = if kind == ProviderKind::Anthropic { Endpoint::Messages } else { Endpoint::Chat };
    match provider::credential_header(kind, endpoint) {
        (header, Scheme::Bearer) => (header, "Bearer "),
        (header, Scheme::Plain) => (header, ""),
    }
}

/// The filter that sets the key of a file.
fn injector(kind: ProviderKind, account: &Account) -> String {
    let (header, _) = credential(kind);
    let (name, file) = (yaml::text(&account.name), yaml::text(&live::key_file(&account.name)));
    format!(
        "        # Sets the key in the file, and uses a new one as soon as a file is renamed in its folder.
        http_filters:
        - name: envoy.filters.http.credential_injector
          typed_config:
            \"@type\": type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector
            overwrite: true
            credential:
              name: envoy.http.injected_credentials.generic
              typed_config:
                \"@type\": type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic
                credential:
                  name: {name}
                  sds_config: {{ path_config_source: {{ path: {file}, watched_directory: {{ path: {folder} }} }} }}
                header: {header}
        - name: envoy.filters.http.upstream_codec
          typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec }}
",
        folder = live::KEYS,
    )
}
