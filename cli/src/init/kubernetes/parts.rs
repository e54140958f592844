//! What both kinds of manifests are made of.

use super::super::description::{Description, Secret};
use super::super::files::NewFile;
use super::super::live;
use super::super::yaml;

/// The name of everything in Kubernetes.
pub const NAME: &str = "llm-failsafe";
/// The Secret with the providers' keys.
pub const KEYS_SECRET: &str = "llm-failsafe-keys";

pub const VERSION: &str = env!("CARGO_PKG_VERSION");
pub const ENVOY_VERSION: &str = include_str!("../../../../ENVOY_VERSION");
pub const ALERTS: &str = include_str!("../../../../envoy/alerts.yaml");
pub const DASHBOARD: &str = include_str!("../../../../envoy/dashboard.json");

pub const DEPLOYMENT: &str = include_str!("both/deployment.yaml");
pub const SERVICE: &str = include_str!("both/service.yaml");
pub const DISRUPTION_BUDGET: &str = include_str!("both/disruption-budget.yaml");
pub const NETWORK_POLICY: &str = include_str!("both/network-policy.yaml");
pub const AUTOSCALER: &str = include_str!("both/autoscaler.yaml");
pub const POD_MONITOR: &str = include_str!("both/pod-monitor.yaml");
pub const RULES: &str = include_str!("both/rules.yaml");

/// The image with the module, unless the user names one.
pub fn usual_module_image() -> String {
    format!("registry.example.com/llm-failsafe:{VERSION}")
}

pub fn envoy_image() -> String {
    format!("envoyproxy/envoy:v{}", ENVOY_VERSION.trim())
}

/// A Secret to copy, with a place for each key. Nothing here reads it, so that no real key is written beside the rest.
pub fn keys_example(description: &Description) -> Option<NewFile> {
    let entries: String = description
        .accounts
        .iter()
        .filter(|account| account.secret == Secret::File)
        .map(|account| {
            let file = yaml::text(&format!("{}.yaml", account.name));
            format!("  {file}: |\n{}", yaml::indented(&live::secret(description, account), 4))
        })
        .collect();
    (!entries.is_empty()).then(|| {
        NewFile::new(
            "keys.example.yaml",
            format!(
                "# Copy this file to a place that is not under version control, write the keys into it, and apply it with
#   kubectl apply --server-side -f keys.yaml
# Envoy takes a changed key without a restart, within about a minute (docs/kubernetes.md).
apiVersion: v1
kind: Secret
metadata:
  name: {KEYS_SECRET}
  labels:
    app.kubernetes.io/name: {NAME}
type: Opaque
stringData:
{entries}"
            ),
        )
    })
}

/// The ports of the providers' servers.
pub fn provider_ports(description: &Description) -> Vec<u16> {
    let mut ports: Vec<_> = description.providers.iter().map(|provider| provider.server.port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}
