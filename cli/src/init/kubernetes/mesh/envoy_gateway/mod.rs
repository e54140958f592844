//! Envoy Gateway: its own objects, patch policies that are only plumbing, and the filter in a watched ConfigMap.
//!
//! - `client_traffic`: the part of the edge for which Envoy Gateway has fields.
//! - `patches`: the rest of the edge, and what is added.
//!
//! A change of the filter's configuration changes no listener, so Envoy drains nothing. That does not hold without the retry loop:
//! there the filter is in an EnvoyExtensionPolicy.

mod client_traffic;
mod patches;

use super::super::super::description::{Description, Kubernetes};
use super::super::super::files::NewFile;
use super::super::super::live;
use super::super::super::plugin;
use super::super::super::yaml;
use super::super::fill::{Value, fill};
use super::super::parts::{KEYS_SECRET, NAME, VERSION, envoy_image};
use super::parts::Parts;
use patches::FILTER_IN_POD;

const KUSTOMIZATION: &str = include_str!("kustomization.yaml");
const CLASS: &str = include_str!("class.yaml");
const GATEWAY: &str = include_str!("gateway.yaml");
const GATEWAY_KUSTOMIZATION: &str = include_str!("gateway-kustomization.yaml");
const FILTER_KUSTOMIZATION: &str = include_str!("filter-kustomization.yaml");
const ENVOY_PROXY: &str = include_str!("envoy-proxy.yaml");
const XDS_NAMES: &str = include_str!("xds-names.yaml");
const EXTENSION_POLICY: &str = include_str!("extension-policy.yaml");
const COPIED_MODULE_COMMENT: &str = "# For Kubernetes before 1.35, which mounts no images by default:
# - components/copied-module
";
const COPIED_MODULE: &str = include_str!("copied-module.yaml");

/// Where Envoy Gateway runs its proxies, unless its deployment type is GatewayNamespace.
const PROXIES: &str = "envoy-gateway-system";

/// All files of the folder.
pub fn files(description: &Description, kubernetes: &Kubernetes) -> Vec<NewFile> {
    let parts = Parts::of(description);
    let values = values(description, kubernetes, &parts);
    let filled = |name: &str, template: &str| NewFile::new(name, fill(template, &values));
    let mut files = vec![
        filled("kustomization.yaml", KUSTOMIZATION),
        filled("class.yaml", CLASS),
        filled("gateway/kustomization.yaml", GATEWAY_KUSTOMIZATION),
        filled("gateway/gateway.yaml", GATEWAY),
        filled("gateway/envoy-proxy.yaml", ENVOY_PROXY),
        NewFile::new("gateway/client-traffic.yaml", client_traffic::text(&parts)),
        NewFile::new("gateway/patches-additions.yaml", patches::additions(&parts)),
        NewFile::new("gateway/patches-edge.yaml", patches::edge(&parts)),
        filled("components/xds-names/kustomization.yaml", XDS_NAMES),
        NewFile::new("components/xds-names-v2/kustomization.yaml", patches::names_v2(&parts)),
    ];
    if description.in_loop {
        files.extend([
            filled("filter/kustomization.yaml", FILTER_KUSTOMIZATION),
            NewFile::new("filter/filter.yaml", live::filter(description)),
            filled("components/copied-module/kustomization.yaml", COPIED_MODULE),
        ]);
    } else {
        files.push(filled("gateway/extension-policy.yaml", EXTENSION_POLICY));
    }
    files.extend(keys_example(description));
    files
}

fn values(description: &Description, kubernetes: &Kubernetes, parts: &Parts) -> Vec<Value<'static>> {
    let module = yaml::text(&kubernetes.module_image);
    let module_folder = live::MODULE_IN_POD.rsplit_once('/').map_or("", |(folder, _)| folder);
    let in_loop = |lines: &str| if description.in_loop { lines.to_owned() } else { String::new() };
    let without = |lines: &str| if description.in_loop { String::new() } else { lines.to_owned() };
    vec![
        ("image", envoy_image()),
        ("version", VERSION.to_owned()),
        ("module-folder", module_folder.to_owned()),
        ("bootstrap", bootstrap(parts)),
        ("environment", environment(description)),
        ("filter-folder", in_loop("- filter\n")),
        ("copied-module", in_loop(COPIED_MODULE_COMMENT)),
        ("extension-policy", without("- extension-policy.yaml\n")),
        ("variables", variables(description)),
        ("configuration", yaml::indented(&plugin::text(description), 6)),
        (
            "mounts",
            in_loop(&format!(
                "          volumeMounts:
          - {{ name: llm-failsafe-module, mountPath: {module_folder}, readOnly: true }}
          - {{ name: llm-failsafe-filter, mountPath: {FILTER_IN_POD}, readOnly: true }}
"
            )),
        ),
        (
            "volumes",
            in_loop(&format!(
                "        pod:
          volumes:
          # The image of a release (docs/release.md).
          - name: llm-failsafe-module
            image: {{ reference: {module}, pullPolicy: IfNotPresent }}
          - name: llm-failsafe-filter
            configMap: {{ name: llm-failsafe-filter }}
"
            )),
        ),
        ("module", module),
    ]
}

/// The variables that the filter of an EnvoyExtensionPolicy may read.
fn variables(description: &Description) -> String {
    let variables = description.variables();
    if variables.is_empty() {
        return String::new();
    }
    format!("    env: {{ hostKeys: {} }}\n", yaml::list(variables))
}

/// What Envoy Gateway's bootstrap file does not have.
fn bootstrap(parts: &Parts) -> String {
    let tags = yaml::tree(&parts.stats_tags, 8);
    let mut text =
        format!("      # Labels of the filter's metrics.\n      stats_config:\n        stats_tags:\n{tags}");
    if !parts.bootstrap_extensions.is_null() {
        let extensions = yaml::tree(&parts.bootstrap_extensions, 6);
        text.push_str(&format!(
            "      # Enables internal listeners.\n      bootstrap_extensions:\n{extensions}"
        ));
    }
    text
}

/// The variables with the providers' keys.
fn environment(description: &Description) -> String {
    let variables: String = description
        .variables()
        .iter()
        .map(|variable| {
            let variable = yaml::text(variable);
            format!(
                "          - name: {variable}
            valueFrom: {{ secretKeyRef: {{ name: {KEYS_SECRET}, key: {variable} }} }}
"
            )
        })
        .collect();
    if variables.is_empty() { variables } else { format!("          env:\n{variables}") }
}

/// A Secret to copy, with a place for each key.
fn keys_example(description: &Description) -> Option<NewFile> {
    let entries: String = description
        .variables()
        .iter()
        .map(|variable| format!("  {}: {}\n", yaml::text(variable), live::PLACEHOLDER))
        .collect();
    (!entries.is_empty()).then(|| {
        NewFile::new(
            "keys.example.yaml",
            format!(
                "# Copy this file to a place that is not under version control, write the keys into it, and apply it with
#   kubectl apply --server-side -f keys.yaml
# Pods read the keys when they start. After a change, replace the pods (docs/envoy-gateway.md).
apiVersion: v1
kind: Secret
metadata:
  name: {KEYS_SECRET}
  # Where Envoy Gateway runs its proxies.
  namespace: {PROXIES}
  labels:
    app.kubernetes.io/name: {NAME}
type: Opaque
stringData:
{entries}"
            ),
        )
    })
}

#[cfg(test)]
mod tests;
