//! Adds what `envoy/telemetry.yaml` describes to a gateway, for a collector of the test's own.

use integration_tests::gateway::{Gateway, connection_manager};
use integration_tests::otlp::Collector;
use integration_tests::paths;
use serde_json::{Value, json};

/// The same gateway with tracing and an access log that go to this collector.
pub fn add(gateway: Gateway, collector: &Collector) -> Gateway {
    let text = std::fs::read_to_string(paths::root().join("envoy/telemetry.yaml")).unwrap();
    let mut parts: Value = serde_yaml_ng::from_str(&text).unwrap();
    let gateway =
        parts["providers"].as_object().unwrap().iter().fold(gateway, |gateway, (name, provider)| {
            gateway.cluster_options(name, json!({"metadata": provider["metadata"]}))
        });
    gateway.edit(|config| {
        for (listener, part) in [(0, "edge"), (1, "inner")] {
            let manager = connection_manager(config, listener);
            manager["tracing"] = parts[part]["tracing"].take();
            if part == "inner" {
                manager["access_log"].as_array_mut().unwrap().push(parts["access_log"].take());
            }
        }
        let mut cluster = parts["cluster"].take();
        cluster["type"] = json!("STATIC");
        let endpoint = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        endpoint["address"]["socket_address"] =
            json!({"address": "127.0.0.1", "port_value": collector.port()});
        config["static_resources"]["clusters"].as_array_mut().unwrap().push(cluster);
    })
}
