//! `llm-failsafe check` with what a running Envoy says of its configuration, as `istioctl` and `egctl` pass it on.

use std::fs;
use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::envoy::{Envoy, EnvoyConfig};
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::ScriptedProvider;
use llm_failsafe::base::WallTime;
use serde_json::{Value, json};

const TYPES: &str = "type.googleapis.com/envoy.config.";

/// What `check` says about a dump of this Envoy.
async fn check(envoy: &Envoy) -> Result<String, String> {
    let file = envoy.dir().join("dump.json");
    fs::write(&file, envoy.admin("/config_dump").await).unwrap();
    let arguments = ["check", "--config", file.to_str().unwrap()];
    llm_failsafe_cli::run(arguments, WallTime::default()).map_err(|failure| failure.to_string())
}

/// A gateway that gets its listeners and the routes of its edge from watched files, as from a control plane.
fn discovered(port: u16) -> (EnvoyConfig, Value) {
    let mut listeners = Value::Null;
    let mut routes = Value::Null;
    let gateway = Gateway::new(Shape::Loop).provider("first", port).plugin(&json!({
        "providers": {"first": compatible("first")},
        "targets": {"first": {"provider": "first", "model": "m"}},
        "models": {"chat": {"tiers": [["first"]]}},
    }));
    let gateway = gateway.edit(|config| {
        config["node"] = json!({"id": "test", "cluster": "test"});
        listeners = config["static_resources"]["listeners"].take();
        config["static_resources"].as_object_mut().unwrap().remove("listeners");
        let manager = &mut listeners[0]["filter_chains"][0]["filters"][0]["typed_config"];
        routes = manager["route_config"].take();
        let source = |file: &str| json!({"path_config_source": {"path": format!("{{{{dir}}}}/{file}")}});
        manager.as_object_mut().unwrap().remove("route_config");
        manager["rds"] = json!({"route_config_name": routes["name"], "config_source": source("routes.json")});
        config["dynamic_resources"] = json!({"lds_config": source("listeners.json")});
    });
    routes["@type"] = format!("{TYPES}route.v3.RouteConfiguration").into();
    let config = gateway
        .to_config()
        .file("routes.json", json!({"resources": [routes]}).to_string())
        .file("listeners.json", resources(&listeners));
    (config, listeners)
}

fn resources(listeners: &Value) -> String {
    let mut listeners = listeners.clone();
    for listener in listeners.as_array_mut().unwrap() {
        listener["@type"] = format!("{TYPES}listener.v3.Listener").into();
    }
    json!({"resources": listeners}).to_string()
}

#[tokio::test]
async fn a_dump_of_a_good_gateway_is_good_and_names_what_was_refused() {
    let first = ScriptedProvider::start("first").await;
    let (config, mut listeners) = discovered(first.port());
    let envoy = Envoy::start(config).await;
    let report = check(&envoy).await.unwrap();
    assert!(report.starts_with("good: 1 model, 1 target"), "{report}");
    assert!(!report.contains("elsewhere") && !report.contains("lacks"), "{report}");

    // A control plane has dropped a field.
    let manager = &mut listeners[0]["filter_chains"][0]["filters"][0]["typed_config"];
    manager.as_object_mut().unwrap().remove("request_headers_timeout").unwrap();
    envoy.replace_file("listeners.json", &resources(&listeners));
    envoy.wait_for_stat("listener_manager.lds.update_success", |count| count >= 2).await;
    let report = check(&envoy).await.unwrap();
    assert!(
        report.contains("lacks what the shipped envoy/envoy.yaml has here: `request_headers_timeout`"),
        "{report}"
    );

    listeners[1]["filter_chains"][0]["filters"][0]["typed_config"]["stat_prefix"] = json!("");
    envoy.replace_file("listeners.json", &resources(&listeners));
    envoy.wait_for_stat("listener_manager.lds.update_rejected", |count| count >= 1).await;
    let report = check(&envoy).await.unwrap_err();
    assert!(report.contains("the Envoy file has 1 mistake:"), "{report}");
    assert!(report.contains(".error_state: Envoy has refused this update and keeps"), "{report}");
    assert!(report.contains("StatPrefix"), "{report}");
}

/// A patch that adds the inner listener was dropped: everything else is there.
#[tokio::test]
async fn a_dump_without_the_inner_listener_names_the_cluster_that_leads_nowhere() {
    let first = ScriptedProvider::start("first").await;
    let (config, mut listeners) = discovered(first.port());
    let envoy = Envoy::start(config).await;
    listeners.as_array_mut().unwrap().remove(1);
    envoy.replace_file("listeners.json", &resources(&listeners));
    let deadline = Instant::now() + SOON;
    let report = loop {
        let report = check(&envoy).await;
        match report {
            Err(report) if report.contains("has no Wasm filter") => break report,
            _ => assert!(Instant::now() < deadline, "{report:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(report.contains("its listeners: `edge`, `probes`\n"), "{report}");
    let nowhere = "its cluster `loop` leads to the listener `inner`, which does not exist";
    assert!(report.contains(nowhere), "{report}");
}
