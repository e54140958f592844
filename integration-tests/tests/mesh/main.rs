//! The real control planes, with stock Envoy. `scripts/test-mesh.sh` runs them in a network of their own, because control planes
//! and their proxies have fixed ports. Nothing else is in that network, so tests use these ports, too.

mod dumps;
mod envoy_gateway;
mod gateway_objects;
mod gateway_server;
mod istio;
mod istiod;
mod kubernetes_api;
mod load;
mod process;
mod proxy;
mod rate_limit;

use std::path::PathBuf;

use integration_tests::envoy::{Envoy, EnvoyConfig};
use integration_tests::paths;
use integration_tests::provider::ScriptedProvider;
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

static NETWORK: Mutex<()> = Mutex::const_new(());

/// Waits for the network, in which one control plane can run at a time.
///
/// # Panics
/// If this is not the network of `scripts/test-mesh.sh`.
async fn network() -> MutexGuard<'static, ()> {
    certificates();
    NETWORK.lock().await
}

/// The folder with the certificate of `api.openai.com` in this network.
fn certificates() -> PathBuf {
    let folder = std::env::var_os("LLM_FAILSAFE_MESH_NETWORK");
    folder.expect("these tests need a network of their own. Run: scripts/test-mesh.sh").into()
}

/// Puts TLS before a provider, which is then `https://api.openai.com`.
async fn with_tls(provider: &ScriptedProvider) -> Envoy {
    let file = |name: &str| json!({"filename": certificates().join(name)});
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "tls_certificates": [{"certificate_chain": file("certificate.pem"), "private_key": file("key.pem")}],
        },
    });
    let proxy = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "provider",
        "cluster": "provider",
    });
    let address = |host: &str, port: u16| json!({"socket_address": {"address": host, "port_value": port}});
    let endpoint = json!({"endpoint": {"address": address("127.0.0.1", provider.port())}});
    let bootstrap = json!({
        "admin": {"address": address("127.0.0.1", 0)},
        "static_resources": {
            "listeners": [{
                "name": "tls",
                "address": address("127.0.0.1", 443),
                "filter_chains": [{
                    "transport_socket": {"name": "tls", "typed_config": tls},
                    "filters": [{"name": "proxy", "typed_config": proxy}],
                }],
            }],
            "clusters": [{
                "name": "provider",
                "type": "STATIC",
                "load_assignment": {"cluster_name": "provider", "endpoints": [{"lb_endpoints": [endpoint]}]},
            }],
        },
    });
    Envoy::start(EnvoyConfig::from_text(serde_yaml_ng::to_string(&bootstrap).unwrap())).await
}

/// A program or a file of the control planes.
///
/// # Panics
/// If it does not exist.
fn tool(name: &str) -> PathBuf {
    let path = paths::root().join(".tools/mesh").join(name);
    assert!(path.is_file(), "{} is missing. Run: scripts/setup.sh mesh", path.display());
    path
}
