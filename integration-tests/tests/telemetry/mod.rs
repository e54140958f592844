//! What `envoy/telemetry.yaml` says to add, for a collector of the test's own.

use integration_tests::paths;
use serde_json::{Value, json};

/// To the shipped configuration.
pub fn add(config: &mut Value, collector: u16) {
    let text = std::fs::read_to_string(paths::root().join("envoy/telemetry.yaml")).unwrap();
    let mut parts: Value = serde_yaml_ng::from_str(&text).unwrap();
    for (listener, part) in [(0, "edge"), (1, "inner")] {
        let manager = &mut config["static_resources"]["listeners"][listener]["filter_chains"][0]["filters"]
            [0]["typed_config"];
        manager["tracing"] = parts[part]["tracing"].take();
        if part == "inner" {
            manager["access_log"].as_array_mut().unwrap().push(parts["access_log"].take());
        }
    }
    for cluster in config["static_resources"]["clusters"].as_array_mut().unwrap() {
        let name = cluster["name"].as_str().unwrap().to_owned();
        if let Some(provider) = parts["providers"].get(&name) {
            cluster["metadata"] = provider["metadata"].clone();
        }
    }
    let mut cluster = parts["cluster"].take();
    cluster["type"] = json!("STATIC");
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"] =
        json!({"address": "127.0.0.1", "port_value": collector});
    config["static_resources"]["clusters"].as_array_mut().unwrap().push(cluster);
}
