//! The patch policies: what Envoy Gateway's own objects cannot say.
//!
//! One policy adds clusters and the inner listener. The other one changes the listener and the routes that Envoy Gateway makes,
//! so that they are like the edge of the Envoy file.

use serde_yaml_ng::{Mapping, Value};

use crate::envoy::gateway::{HOSTS, MANAGERS, PLUGINS, ROUTES as EACH_ROUTE};

use super::super::super::super::live;
use super::super::super::super::yaml;
use super::super::super::fill::fill;
use super::super::parts::{self, Parts};

const POLICY: &str = include_str!("patches.yaml");
const NAMES_V2: &str = include_str!("xds-names-v2.yaml");

const ADDITIONS: &str = "# Adds the clusters of the providers. With the retry loop it adds the inner listener with the filter, too, and the cluster
# that leads there.
";
const EDGE: &str = "# Changes the listener for clients and its routes. `name` in each patch is the name that Envoy Gateway gives to them.
";

/// The folder in the pod with the file of the filter.
pub const FILTER_IN_POD: &str = "/etc/llm-failsafe";

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

/// Listener and routes have the same name, unless Envoy Gateway runs with XDSNameSchemeV2.
const NAME: &str = "llm/llm-failsafe/http";
const LISTENER_V2: &str = "tcp-80";
const ROUTES_V2: &str = "http-80";

/// What of the edge's connection manager needs no patch: Envoy Gateway does the same, or `client_traffic` says it. Routes and
/// filters are Envoy Gateway's own. For browsers it has a SecurityPolicy.
const WITHOUT_PATCH: [&str; 12] = [
    "@type",
    "stat_prefix",
    "codec_type",
    "use_remote_address",
    "preserve_external_request_id",
    "request_timeout",
    "stream_idle_timeout",
    "common_http_protocol_options",
    "http2_protocol_options",
    "early_header_mutation_extensions",
    "route_config",
    "http_filters",
];
/// What of the filter an EnvoyExtensionPolicy says.
const OF_PLUGIN_WITHOUT_PATCH: [&str; 4] = ["name", "root_id", "vm_config", "configuration"];
/// What of the edge's virtual host needs no patch. The retry policy goes into the route.
const OF_HOST_WITHOUT_PATCH: [&str; 5] =
    ["name", "domains", "typed_per_filter_config", "retry_policy", "routes"];

/// A patch, or the addition of a whole resource.
struct Patch {
    kind: &'static str,
    name: String,
    operation: Value,
}

/// The policy that adds what Envoy Gateway does not have.
pub fn additions(parts: &Parts) -> String {
    let clusters = parts.providers.iter().map(|cluster| addition(CLUSTER, cluster.clone()));
    let mut patches: Vec<_> = clusters.collect();
    if !parts.inner.is_null() {
        patches.push(addition(CLUSTER, parts.to_inner.clone()));
        patches.push(addition(LISTENER, parts.inner_with(discovery())));
    }
    policy("additions", ADDITIONS, &patches)
}

/// The policy that changes the listener for clients and its routes.
pub fn edge(parts: &Parts) -> String {
    policy("edge", EDGE, &of_edge(parts))
}

/// The component with the names of Envoy Gateway's XDSNameSchemeV2.
pub fn names_v2(parts: &Parts) -> String {
    let renamed: String = of_edge(parts)
        .iter()
        .enumerate()
        .map(|(number, patch)| {
            let name = if patch.kind == LISTENER { LISTENER_V2 } else { ROUTES_V2 };
            format!("    - {{ op: replace, path: /spec/jsonPatches/{number}/name, value: {name} }}\n")
        })
        .collect();
    fill(NAMES_V2, &[("names", renamed)])
}

fn of_edge(parts: &Parts) -> Vec<Patch> {
    let mut edge = parts.edge.clone();
    let manager = parts::manager(&mut edge);
    let host = &manager["route_config"]["virtual_hosts"][0];
    let routes = host["routes"].as_sequence().and_then(|routes| routes.split_last());
    let (last, others) = routes.unwrap_or_else(|| unreachable!("the edge has routes"));
    let mut route = last["route"].clone();
    if let Some(retries) = host.get("retry_policy") {
        route["retry_policy"] = retries.clone();
    }

    let without = |tree: &Value, names: &[&str]| -> Vec<(String, Value)> {
        let fields = tree.as_mapping().into_iter().flatten();
        let fields = fields.filter_map(|(name, value)| Some((name.as_str()?.to_owned(), value.clone())));
        fields.filter(|(name, _)| !names.contains(&name.as_str())).collect()
    };
    let mut patches = Vec::new();
    for (field, value) in without(manager, &WITHOUT_PATCH) {
        patches.push(change(LISTENER, MANAGERS, &field, value));
    }
    if parts.inner.is_null() {
        for (field, value) in without(&parts.filter["typed_config"]["config"], &OF_PLUGIN_WITHOUT_PATCH) {
            patches.push(change(LISTENER, PLUGINS, &field, value));
        }
    }
    for (field, value) in without(host, &OF_HOST_WITHOUT_PATCH) {
        patches.push(change(ROUTES, HOSTS, &field, value));
    }
    // Cluster, time limit and retries belong together, so that no request is sent with only some of them. The routes that come
    // first are added later: they have a destination of their own.
    patches.push(change(ROUTES, EACH_ROUTE, "route", route));
    for (number, mut route) in others.iter().cloned().enumerate() {
        // Envoy Gateway enables a filter only in routes of its own.
        route.as_mapping_mut().and_then(|fields| fields.remove("typed_per_filter_config"));
        patches.push(change(ROUTES, HOSTS, &format!("routes/{number}"), route));
    }
    patches
}

/// What stands in the place of the filter.
fn discovery() -> Value {
    let read: Value = serde_yaml_ng::from_str(&live::discovery(FILTER_IN_POD))
        .unwrap_or_else(|error| unreachable!("the discovery: {error}"));
    read[0].clone()
}

fn addition(kind: &'static str, resource: Value) -> Patch {
    let name = resource["name"].as_str().unwrap_or_default().to_owned();
    let operation = mapping([("op", "add".into()), ("path", "".into()), ("value", without_nulls(resource))]);
    Patch { kind, name, operation }
}

fn change(kind: &'static str, json_path: &str, path: &str, value: Value) -> Patch {
    let operation = mapping([
        ("op", "add".into()),
        ("jsonPath", json_path.into()),
        ("path", path.into()),
        ("value", without_nulls(value)),
    ]);
    Patch { kind, name: NAME.to_owned(), operation }
}

/// Envoy Gateway sends a null at first and leaves it out in its next update. Envoy would take that for a change of the listener.
fn without_nulls(tree: Value) -> Value {
    match tree {
        Value::Mapping(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect::<Mapping>()
            .into(),
        Value::Sequence(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

fn mapping<const N: usize>(fields: [(&str, Value); N]) -> Value {
    fields.into_iter().map(|(name, value)| (Value::from(name), value)).collect::<Mapping>().into()
}

fn policy(name: &str, comment: &str, patches: &[Patch]) -> String {
    let patches = patches.iter().map(|patch| {
        mapping([
            ("type", patch.kind.into()),
            ("name", patch.name.as_str().into()),
            ("operation", patch.operation.clone()),
        ])
    });
    let patches = yaml::tree(&patches.collect(), 2);
    fill(POLICY, &[("comment", comment.to_owned()), ("name", name.to_owned()), ("patches", patches)])
}
