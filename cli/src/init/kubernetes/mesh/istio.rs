//! Istio: EnvoyFilters that only add, for the sidecars of applications or for a gateway of its own.
//!
//! The plumbing and the filter are two EnvoyFilters. The filter comes as an extension configuration (ECDS), so a change of the
//! policy touches no listener.

use serde_yaml_ng::{Mapping, Value};

use super::super::super::description::{Description, Kubernetes, Manifests, Provider};
use super::super::super::files::NewFile;
use super::super::super::yaml;
use super::super::fill::{Value as Place, fill};
use super::super::parts::{DISRUPTION_BUDGET, KEYS_SECRET, VERSION, envoy_image};
use super::parts::Parts;

const ENVOY_FILTER: &str = include_str!("../istio/both/envoy-filter.yaml");
const FILTER: &str = include_str!("../istio/both/filter.yaml");
const INTERNAL_HOST: &str = include_str!("../istio/both/internal-host.yaml");
const EGRESS: &str = include_str!("../istio/both/egress.yaml");
const PROVIDER: &str = include_str!("../istio/both/provider.yaml");
const KEYS: &str = include_str!("../istio/both/keys.yaml");
const SIDECAR: &str = include_str!("../istio/sidecar/kustomization.yaml");
const WORKLOAD: &str = include_str!("../istio/sidecar/workload-kustomization.yaml");
const WORKLOAD_PATCH: &str = include_str!("../istio/sidecar/workload.yaml");
const SIDECAR_ROUTE: &str = include_str!("../istio/sidecar/virtual-service.yaml");
const GATEWAY: &str = include_str!("../istio/gateway/kustomization.yaml");
const DEPLOYMENT: &str = include_str!("../istio/gateway/deployment.yaml");
const COPIED_MODULE: &str = include_str!("../kustomize/copied-module.yaml");
const SERVICE: &str = include_str!("../istio/gateway/service.yaml");
const GATEWAY_ROUTE: &str = include_str!("../istio/gateway/gateway.yaml");

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
/// What comes before the clusters of providers in the plumbing. A test holds that.
const OTHER_PATCHES: usize = 3;
/// The subset of Istio's clusters for providers. Only the filter uses it, so that applications can reach a provider as before.
const SUBSET: &str = "llm";

/// The longest host in the name of an object. Kubernetes takes 253 characters, with what is before and after it.
const MAX_HOST: usize = 200;

/// What the kustomization says of components.
const COMPONENTS: &str = "# Switch on what you want, without the `#`:\n# components:\n";
const EGRESS_COMPONENT: &str =
    "# - components/egress           # providers through Istio's own ServiceEntry and DestinationRule\n";
const MODULE_COMPONENT: &str =
    "# - components/copied-module    # for Kubernetes before 1.35, which mounts no images by default\n";

/// What differs between sidecars and a gateway.
struct Kind {
    name: &'static str,
    /// The label of the pods, as in YAML.
    selector: &'static str,
    context: &'static str,
    /// The host that leads to the filter's listener.
    host: &'static str,
    /// When a pod ends, Istio closes inbound listeners first. An application needs its sidecar's until it has ended.
    direction: &'static str,
}

const IN_SIDECARS: Kind = Kind {
    name: "llm-failsafe-sidecar",
    selector: "llm-failsafe: sidecar",
    context: "SIDECAR_OUTBOUND",
    host: "llm.internal",
    direction: "OUTBOUND",
};
const IN_GATEWAY: Kind = Kind {
    name: "llm-failsafe-gateway",
    selector: "app.kubernetes.io/instance: llm-failsafe-gateway",
    context: "GATEWAY",
    host: "llm-failsafe-gateway.internal",
    direction: "INBOUND",
};

/// All files of the folder.
pub fn files(description: &Description, kubernetes: &Kubernetes) -> Vec<NewFile> {
    let is_gateway = kubernetes.manifests == Manifests::IstioGateway;
    let kind = if is_gateway { IN_GATEWAY } else { IN_SIDECARS };
    let parts = Parts::of(description);
    let module = yaml::text(&kubernetes.module_image);
    let egress = egress(&kind, description);
    let of_egress = if egress.is_empty() { "" } else { EGRESS_COMPONENT };
    let of_module = if is_gateway { MODULE_COMPONENT } else { "" };
    let mut places = places(&kind, description, &parts, module);
    let named = format!("{of_egress}{of_module}");
    let head = if named.is_empty() { "" } else { COMPONENTS };
    places.push(("components", format!("{head}{named}")));
    let file = |name: &str, template: &str| NewFile::new(name, fill(template, &places));
    let mut files = vec![
        with_patches("envoy-filter.yaml", ENVOY_FILTER, &places, plumbing(&kind, &parts)),
        with_patches("filter.yaml", FILTER, &places, vec![policy(&parts)]),
    ];
    if is_gateway {
        files.extend([
            file("kustomization.yaml", GATEWAY),
            file("deployment.yaml", DEPLOYMENT),
            file("service.yaml", SERVICE),
            file("gateway.yaml", GATEWAY_ROUTE),
            file("internal-host.yaml", INTERNAL_HOST),
            file("disruption-budget.yaml", DISRUPTION_BUDGET),
            file("components/copied-module/kustomization.yaml", COPIED_MODULE),
        ]);
    } else {
        files.extend([
            file("kustomization.yaml", SIDECAR),
            file("llm-internal.yaml", &format!("{INTERNAL_HOST}---\n{SIDECAR_ROUTE}")),
            file("workload/kustomization.yaml", WORKLOAD),
            file("workload/deployment.yaml", WORKLOAD_PATCH),
        ]);
    }
    files.extend(egress);
    files.extend(keys_example(description));
    files
}

fn places(kind: &Kind, description: &Description, parts: &Parts, module: String) -> Vec<Place<'static>> {
    vec![
        ("name", kind.name.to_owned()),
        ("version", VERSION.to_owned()),
        ("selector", kind.selector.to_owned()),
        ("host", kind.host.to_owned()),
        ("port", description.listen.port.to_string()),
        ("copied-module", module.clone()),
        ("module", module),
        ("image", envoy_image()),
        ("env", env(description)),
        ("proxy-config", yaml::indented(&proxy_config(parts), 10)),
    ]
}

/// Settings of the proxy, in the annotation of a pod.
fn proxy_config(parts: &Parts) -> String {
    let labels = parts.stats_tags.as_sequence().into_iter().flatten();
    let labels = labels.filter_map(|label| label["tag_name"].as_str());
    format!(
        "# The labels of the filter's metrics, which it writes as Istio reads them (`metric_labels` in filter.yaml).
extraStatTags: {}
# Metrics of Envoy itself that Istio leaves out otherwise.
proxyStatsMatcher:
  inclusionPrefixes: [cluster.llm-failsafe-, http.llm-failsafe-, extension_config_discovery., filesystem.]
# How long streams may go on in a listener that an update has replaced. Istio's default is 45 s.
drainDuration: 600s
proxyMetadata:
  # Applications find hosts of Istio such as llm.internal.
  ISTIO_META_DNS_CAPTURE: \"true\"
  # A pod that has to leave waits until its requests have finished.
  EXIT_ON_ZERO_ACTIVE_CONNECTIONS: \"true\"
  MINIMUM_DRAIN_DURATION: 10s
",
        yaml::list(labels)
    )
}

/// The variables of the proxy's container, with the keys.
fn env(description: &Description) -> String {
    let variables = description.variables();
    if variables.is_empty() {
        return String::new();
    }
    let one = |name: &&str| {
        let name = yaml::text(name);
        format!(
            "        - name: {name}
          valueFrom: {{ secretKeyRef: {{ name: {KEYS_SECRET}, key: {name} }} }}
"
        )
    };
    format!("        env:\n{}", variables.iter().map(one).collect::<String>())
}

/// A Secret to copy, with a place for each key.
fn keys_example(description: &Description) -> Option<NewFile> {
    let variables = description.variables();
    let entries: String =
        variables.iter().map(|name| format!("  {}: WRITE THE KEY HERE\n", yaml::text(name))).collect();
    let places = [("secret", KEYS_SECRET.to_owned()), ("entries", entries)];
    (!variables.is_empty()).then(|| NewFile::new("keys.example.yaml", fill(KEYS, &places)))
}

fn with_patches(name: &str, template: &str, places: &[Place<'_>], patches: Vec<Value>) -> NewFile {
    let patches = yaml::tree(&Value::Sequence(patches), 2);
    let places: Vec<_> = places.iter().cloned().chain([("patches", patches)]).collect();
    NewFile::new(name, fill(template, &places))
}

/// Everything but the filter. The clusters of providers come last.
fn plumbing(kind: &Kind, parts: &Parts) -> Vec<Value> {
    let mut edge = parts.edge.clone();
    edge["traffic_direction"] = kind.direction.into();
    let inner = parts.inner_with(discovery(&parts.filter["name"]));
    let add = |apply_to: &str, value: Value| {
        let context = mapping([("context", kind.context.into())]);
        mapping([("applyTo", apply_to.into()), ("match", context), ("patch", addition(value))])
    };
    let mut patches =
        vec![add("CLUSTER", parts.to_inner.clone()), add("LISTENER", inner), add("LISTENER", edge)];
    patches.extend(parts.providers.iter().map(|cluster| add("CLUSTER", cluster.clone())));
    patches
}

/// The filter as an extension configuration.
fn policy(parts: &Parts) -> Value {
    mapping([("applyTo", "EXTENSION_CONFIG".into()), ("patch", addition(parts.filter.clone()))])
}

fn addition(value: Value) -> Value {
    mapping([("operation", "ADD".into()), ("value", value)])
}

/// What stands in the place of the filter. Envoy asks Istio for it on the stream for everything else.
fn discovery(name: &Value) -> Value {
    let source = mapping([
        ("ads", Value::Mapping(Mapping::new())),
        ("initial_fetch_timeout", "0s".into()),
        ("resource_api_version", "V3".into()),
    ]);
    let discovery = mapping([("config_source", source), ("type_urls", Value::Sequence(vec![WASM.into()]))]);
    mapping([("name", name.clone()), ("config_discovery", discovery)])
}

fn mapping<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Mapping(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

/// The component that lets Istio carry requests to providers. Istio names and verifies hosts, so it needs names and TLS.
fn egress(kind: &Kind, description: &Description) -> Vec<NewFile> {
    let has_name = |provider: &Provider| provider.server.host.parse::<std::net::IpAddr>().is_err();
    let through_istio =
        |provider: &Provider| provider.tls && has_name(provider) && is_dns_name(&provider.server.host);
    let (mut clusters, mut removed) = (String::new(), String::new());
    let mut hosts = Vec::new();
    for (place, provider) in description.providers.iter().enumerate().filter(|(_, it)| through_istio(it)) {
        let (host, port) = (provider.server.host.to_ascii_lowercase(), provider.server.port);
        let cluster = yaml::text(&format!("outbound|{port}|{SUBSET}|{host}"));
        let path = format!(
            "/spec/configPatches/0/patch/value/typed_config/config/configuration/value/providers/{}/cluster",
            provider.name.replace('~', "~0").replace('/', "~1")
        );
        clusters
            .push_str(&format!("    - {{ op: replace, path: {}, value: {cluster} }}\n", yaml::text(&path)));
        // The last one first, so that the places of the others stay.
        let name = yaml::text(&description.in_envoy(&provider.name));
        let at = format!("/spec/configPatches/{}", OTHER_PATCHES + place);
        removed.insert_str(
            0,
            &format!(
                "    - {{ op: test, path: {at}/patch/value/name, value: {name} }}\n    - {{ op: remove, path: {at} }}\n"
            ),
        );
        if !hosts.contains(&(host.clone(), port)) {
            hosts.push((host, port));
        }
    }
    if hosts.is_empty() {
        return Vec::new();
    }
    let names = object_names(kind.name, &hosts);
    let objects: Vec<_> = hosts
        .iter()
        .zip(names)
        .map(|((host, port), name)| {
            let places = [
                ("name", name),
                ("instance", kind.name.to_owned()),
                ("host", yaml::text(host)),
                ("port", port.to_string()),
                ("subset", SUBSET.to_owned()),
            ];
            fill(PROVIDER, &places)
        })
        .collect();
    let places = [("name", kind.name.to_owned()), ("clusters", clusters), ("removed", removed)];
    vec![
        NewFile::new("components/egress/kustomization.yaml", fill(EGRESS, &places)),
        NewFile::new("components/egress/providers.yaml", objects.join("---\n")),
    ]
}

/// Whether Istio and Kubernetes accept the host in an object and in its name.
fn is_dns_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(is_inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= MAX_HOST && host.split('.').all(is_label)
}

/// The names of the objects for these hosts, each of which is there once.
fn object_names(prefix: &str, hosts: &[(String, u16)]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (host, port) in hosts {
        let name = if *port == 443 { format!("{prefix}-{host}") } else { format!("{prefix}-{host}-{port}") };
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !names.contains(name));
        names.extend(free);
    }
    names
}

/// Whether the proxy of Istio has this variable for itself.
pub fn is_of_proxy(variable: &str) -> bool {
    const NAMES: [&str; 11] = [
        "PATH",
        "HOME",
        "HOSTNAME",
        "PROXY_CONFIG",
        "INSTANCE_IP",
        "SERVICE_ACCOUNT",
        "HOST_IP",
        "TRUST_DOMAIN",
        "JWT_POLICY",
        "GOMEMLIMIT",
        "GOMAXPROCS",
    ];
    const PREFIXES: [&str; 7] = ["PILOT_", "ISTIO_", "POD_", "CA_", "ENVOY_", "XDS_", "KUBERNETES_"];
    NAMES.contains(&variable) || PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
}
