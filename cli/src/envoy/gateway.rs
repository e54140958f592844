//! The folder for Envoy Gateway, as the Envoy file that Envoy Gateway makes of it.

use serde_json::{Value, json};

use super::place::{CONTENT, FROM};
use crate::bounded_yaml;

mod edits;

/// The file with the filter in the retry loop.
pub const FILTER: &str = "filter/filter.yaml";
/// The file with the filter without the retry loop.
pub const EXTENSION: &str = "gateway/extension-policy.yaml";
/// The file with the changes of the listener for clients.
pub const EDGE: &str = "gateway/patches-edge.yaml";

/// Where patches of a listener are: in its connection managers.
pub const MANAGERS: &str =
    "$..filters[?(@.name=='envoy.filters.network.http_connection_manager')].typed_config";
/// Where patches of a listener are: in the filter of an EnvoyExtensionPolicy.
pub const PLUGINS: &str =
    "$..http_filters[?(@.typed_config.config.name=='llm-failsafe')].typed_config.config";
/// Where patches of routes are: in the virtual hosts.
pub const HOSTS: &str = "$.virtual_hosts[*]";
/// Where patches of routes are: in each route.
pub const ROUTES: &str = "$.virtual_hosts[*].routes[*]";

const ADDITIONS: &str = "gateway/patches-additions.yaml";
const TRAFFIC: &str = "gateway/client-traffic.yaml";
const PROXY: &str = "gateway/envoy-proxy.yaml";
/// The file with several objects.
const OBJECTS: &str = "gateway/gateway.yaml";

const MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const MUTATION: &str =
    "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// A file of the folder. That with several objects becomes a list.
///
/// # Errors
/// It is no YAML.
pub fn parsed(name: &str, text: &str) -> Result<Value, String> {
    if name != OBJECTS {
        return bounded_yaml::parse(text);
    }
    let mut documents = vec![String::new()];
    for line in text.lines() {
        match documents.last_mut() {
            Some(document) if line.trim_end() != "---" => *document += &format!("{line}\n"),
            _ => documents.push(String::new()),
        }
    }
    documents.iter().map(|document| bounded_yaml::parse(document)).collect()
}

/// The environment variables of the pods.
pub fn variables(read: &dyn Fn(&str) -> Result<Value, String>) -> Result<Vec<String>, String> {
    let proxy = read(PROXY)?;
    let variables = proxy["spec"]["provider"]["kubernetes"]["envoyDeployment"]["container"]["env"].as_array();
    let names = variables.into_iter().flatten().filter_map(|variable| variable["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

/// The Envoy file. `read` reads a file of the folder; without one there is nothing.
///
/// # Errors
/// A file cannot be read, a patch does not add something, or Envoy Gateway would not apply a policy or a patch.
pub fn tree(read: &dyn Fn(&str) -> Result<Value, String>) -> Result<Value, String> {
    edits::check(read)?;
    let mut manager = manager(&read(TRAFFIC)?["spec"]);
    let extension = read(EXTENSION)?;
    let filter = extension["spec"]["wasm"].get(0);
    if let (Some(filter), Some(filters)) = (filter, manager.get_mut("http_filters")) {
        insert(filters, 0, wasm(filter));
    }
    for (at, patch) in additions(EDGE, &read(EDGE)?)? {
        change(&mut manager, &patch, &at)?;
    }
    let mut listeners = vec![json!({
        "name": "edge",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}},
        // The shutdown manager drains all listeners.
        "traffic_direction": "INBOUND",
        "per_connection_buffer_limit_bytes": bytes(&read(TRAFFIC)?["spec"]["connection"]["bufferLimit"]),
        "filter_chains": [{"filters": [{"name": "edge", CONTENT: manager}]}],
    })];
    let mut clusters = Vec::new();
    for (_, patch) in additions(ADDITIONS, &read(ADDITIONS)?)? {
        let kind = patch["type"].as_str().unwrap_or_default();
        let list = if kind.ends_with(".Listener") { &mut listeners } else { &mut clusters };
        list.push(patch["operation"]["value"].clone());
    }
    let proxy = read(PROXY)?;
    let bootstrap = proxy["spec"]["bootstrap"]["value"].as_str().unwrap_or_default();
    let bootstrap = bounded_yaml::parse(bootstrap)
        .map_err(|problem| format!("{PROXY}: spec.bootstrap.value: {problem}"))?;
    Ok(json!({
        "bootstrap_extensions": bootstrap["bootstrap_extensions"],
        // Envoy Gateway's bootstrap file has one.
        "overload_manager": {},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }))
}

/// The patches of a policy, and where they are.
fn additions(file: &str, policy: &Value) -> Result<Vec<(String, Value)>, String> {
    let patches = policy["spec"]["jsonPatches"].as_array().map(Vec::as_slice).unwrap_or_default();
    let patches = patches.iter().enumerate().map(|(number, patch)| {
        let at = format!("{file}: spec.jsonPatches[{number}].operation");
        if patch["operation"]["op"] != "add" {
            return Err(format!("{at}.op: must be add"));
        }
        Ok((at, patch.clone()))
    });
    patches.collect()
}

/// What Envoy Gateway makes of the policy for clients.
fn manager(traffic: &Value) -> Value {
    let (times, http2) = (&traffic["timeout"]["http"], &traffic["http2"]);
    let removed = traffic["headers"]["earlyRequestHeaders"]["remove"].as_array();
    let mutations: Vec<_> = removed.into_iter().flatten().map(|name| json!({"remove": name})).collect();
    json!({
        "@type": MANAGER,
        "use_remote_address": true,
        "request_timeout": times["requestReceivedTimeout"],
        "stream_idle_timeout": times["streamIdleTimeout"],
        "common_http_protocol_options": {"idle_timeout": times["idleTimeout"]},
        "http2_protocol_options": {
            "max_concurrent_streams": http2["maxConcurrentStreams"],
            "initial_stream_window_size": http2["initialStreamWindowSize"],
            "initial_connection_window_size": http2["initialConnectionWindowSize"],
            "override_stream_error_on_invalid_http_message": http2["onInvalidMessage"] == "TerminateStream",
        },
        "early_header_mutation_extensions": [{CONTENT: {"@type": MUTATION, "mutations": mutations}}],
        "http_filters": [{CONTENT: {"@type": ROUTER, "suppress_envoy_headers": true}}],
        "route_config": {"virtual_hosts": [{"domains": ["*"], "routes": [{"match": {"prefix": "/"}}]}]},
    })
}

/// What Envoy Gateway makes of the filter of an EnvoyExtensionPolicy.
fn wasm(filter: &Value) -> Value {
    let configuration =
        json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": filter["config"]});
    let config = json!({
        "name": filter["name"],
        "root_id": filter["rootID"],
        "vm_config": {"environment_variables": {"host_env_keys": filter["env"]["hostKeys"]}},
        "configuration": configuration,
    });
    json!({
        "name": filter["name"],
        CONTENT: {"@type": WASM, "config": config},
        FROM: format!("{EXTENSION}: spec.wasm[0]"),
    })
}

/// Applies a patch of the listener or of its routes. What the folder of `init` does not have is of no concern.
fn change(manager: &mut Value, patch: &Value, at: &str) -> Result<(), String> {
    const HOST: &str = "/route_config/virtual_hosts/0";
    let operation = &patch["operation"];
    let (place, path) = (operation["jsonPath"].as_str().unwrap_or_default(), operation["path"].as_str());
    let path = path.ok_or_else(|| format!("{at}.path: is missing"))?;
    let value = &operation["value"];
    if place == PLUGINS {
        set(manager.pointer_mut("/http_filters/0/typed_config/config"), path, value);
    } else if place == MANAGERS {
        set(Some(manager), path, value);
    } else if place == ROUTES {
        let routes = manager.pointer_mut(&format!("{HOST}/routes")).and_then(Value::as_array_mut);
        routes.into_iter().flatten().for_each(|route| set(Some(route), path, value));
    } else if place == HOSTS {
        let host = manager.pointer_mut(HOST);
        match path.split_once('/') {
            Some((list, number)) => {
                let number = number.parse().map_err(|_| format!("{at}.path: must end with a number"))?;
                if let Some(list) = host.and_then(|host| host.get_mut(list)) {
                    insert(list, number, value.clone());
                }
            }
            None => set(host, path, value),
        }
    }
    Ok(())
}

/// Sets a field of a mapping, if it is one.
fn set(target: Option<&mut Value>, field: &str, value: &Value) {
    if let Some(fields) = target.and_then(Value::as_object_mut) {
        fields.insert(field.to_owned(), value.clone());
    }
}

/// Inserts into a list, at its end at the latest.
fn insert(list: &mut Value, at: usize, item: Value) {
    if let Some(items) = list.as_array_mut() {
        items.insert(at.min(items.len()), item);
    }
}

/// A quantity of Kubernetes in bytes, if it is a whole number with a binary unit or without one.
fn bytes(quantity: &Value) -> Value {
    let Some(text) = quantity.as_str() else { return quantity.clone() };
    let units = [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10), ("", 1_u64)];
    let read = units.into_iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, size)));
    let number = read.and_then(|(number, size)| number.parse::<u64>().ok()?.checked_mul(size));
    number.map_or_else(|| quantity.clone(), Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_bytes() {
        for (given, expected) in [
            (json!(34_603_008), json!(34_603_008)),
            (json!("34603008"), json!(34_603_008)),
            (json!("33Mi"), json!(34_603_008)),
            (json!("1Gi"), json!(1_073_741_824)),
            (json!("33M"), json!("33M")),
            (json!("99999999999999999999Gi"), json!("99999999999999999999Gi")),
        ] {
            assert_eq!(bytes(&given), expected);
        }
    }
}
