//! The EnvoyFilters of a folder for Istio, as the Envoy file that they make together with what Istio has.

mod objects;

use serde_json::{Map, Value, json};

pub use objects::Objects;

use super::place::{CONTENT, FROM};

/// The file with listeners and clusters.
pub const PLUMBING: &str = "envoy-filter.yaml";
/// The file with the filter.
pub const POLICY: &str = "filter.yaml";

/// The file that only a gateway has.
pub const GATEWAY: &str = "gateway.yaml";

/// How names of Istio's own clusters begin. They are not in the folder.
const OF_ISTIO: &str = "\"outbound|";

/// The Envoy file. Istio's own listeners and clusters are not in it.
///
/// # Errors
/// A patch does not add something, or a filter that is asked for is not there.
pub fn tree(plumbing: &Value, policy: &Value) -> Result<Value, String> {
    let mut added: Map<String, Value> = Map::new();
    for (file, object) in [(PLUMBING, plumbing), (POLICY, policy)] {
        let patches = object["spec"]["configPatches"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (number, patch) in patches.iter().enumerate() {
            let at = format!("{file}: spec.configPatches[{number}]");
            if patch["patch"]["operation"] != "ADD" {
                return Err(format!("{at}.patch.operation: must be ADD"));
            }
            let mut value = patch["patch"]["value"].clone();
            if let Some(fields) = value.as_object_mut().filter(|fields| fields.contains_key(CONTENT)) {
                fields.insert(FROM.to_owned(), format!("{at}.patch.value").into());
            }
            let kind = patch["applyTo"].as_str().unwrap_or_default();
            let kind = added.entry(kind).or_insert_with(|| json!([]));
            kind.as_array_mut().into_iter().for_each(|values| values.push(value.clone()));
        }
    }
    let mut of = |kind: &str| added.remove(kind).unwrap_or_else(|| json!([]));
    let (filters, clusters, mut listeners) = (of("EXTENSION_CONFIG"), of("CLUSTER"), of("LISTENER"));
    let has_more_clusters = filters.to_string().contains(OF_ISTIO);
    for listener in listeners.as_array_mut().into_iter().flatten() {
        // Istio's agent closes listeners by itself.
        if let Some(fields) = listener.as_object_mut() {
            fields.insert("traffic_direction".to_owned(), "INBOUND".into());
        }
        put(&filters, listener)?;
    }
    let mut tree = json!({
        // Istio's bootstrap file has this.
        "bootstrap_extensions": [{
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"},
        }],
        // Only the limit of the container bounds the memory of Istio's proxy.
        "overload_manager": {},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    });
    if has_more_clusters {
        tree["dynamic_resources"] = json!({"cds_config": {"ads": {}}});
    }
    Ok(tree)
}

/// Puts filters in the place of the references to them.
fn put(filters: &Value, tree: &mut Value) -> Result<(), String> {
    if tree.get("config_discovery").is_some() {
        let name = &tree["name"];
        let found = filters.as_array().into_iter().flatten().find(|filter| &filter["name"] == name);
        let missing = || format!("{POLICY}: has no EXTENSION_CONFIG with the name {name}");
        let filter = found.ok_or_else(missing)?.clone();
        *tree = filter;
        return Ok(());
    }
    match tree {
        Value::Object(members) => members.values_mut().try_for_each(|member| put(filters, member)),
        Value::Array(items) => items.iter_mut().try_for_each(|item| put(filters, item)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(patches: &Value) -> Value {
        json!({"spec": {"configPatches": patches}})
    }

    fn add(apply_to: &str, value: &Value) -> Value {
        json!({"applyTo": apply_to, "patch": {"operation": "ADD", "value": value}})
    }

    #[test]
    fn a_filter_stands_where_it_is_asked_for() {
        let listener = json!({"name": "inner", "http_filters": [{"name": "f", "config_discovery": {}}]});
        let plumbing = object(&json!([add("LISTENER", &listener), add("CLUSTER", &json!({"name": "loop"}))]));
        let policy = |cluster: &str| {
            object(&json!([add("EXTENSION_CONFIG", &json!({"name": "f", CONTENT: {"cluster": cluster}}))]))
        };
        let made = tree(&plumbing, &policy("own")).unwrap();
        let filter = &made["static_resources"]["listeners"][0]["http_filters"][0];
        assert_eq!(filter[CONTENT]["cluster"], "own");
        assert_eq!(filter[FROM], "filter.yaml: spec.configPatches[0].patch.value");
        assert_eq!(made["static_resources"]["clusters"][0]["name"], "loop");
        assert!(made.get("dynamic_resources").is_none());
        assert!(tree(&plumbing, &policy("outbound|443||h")).unwrap().get("dynamic_resources").is_some());

        let problem = tree(&plumbing, &object(&json!([]))).unwrap_err();
        assert_eq!(problem, "filter.yaml: has no EXTENSION_CONFIG with the name \"f\"");
        let merge = json!([{"applyTo": "CLUSTER", "patch": {"operation": "MERGE"}}]);
        let problem = tree(&object(&merge), &policy("own")).unwrap_err();
        assert_eq!(problem, "envoy-filter.yaml: spec.configPatches[0].patch.operation: must be ADD");
        assert!(tree(&Value::Null, &json!({"spec": 1})).is_ok());
    }
}
