use super::*;
use crate::envoy::{Envoy, To};

const TYPES: &str = "type.googleapis.com/envoy.admin.v3.";
const MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// A dump with an edge whose routes and an inner listener whose filter come by discovery.
fn dump() -> Value {
    let part = |kind: &str, mut fields: Value| {
        fields["@type"] = format!("{TYPES}{kind}").into();
        fields
    };
    let listener = |name: &str, manager: Value| {
        let mut manager = manager;
        manager["@type"] = MANAGER.into();
        json!({"name": name, "active_state": {"listener":
            {"name": name, "filter_chains": [{"filters": [{"typed_config": manager}]}]}}})
    };
    let edge = listener("edge", json!({"rds": {"route_config_name": "llm"}}));
    let inner = listener(
        "inner",
        json!({"http_filters": [
        {"name": "llm", "config_discovery": {"type_urls": [WASM], "config_source": {"ads": {}}}}]}),
    );
    let routes = json!({"name": "llm", "virtual_hosts": [{"routes": [{"route": {"cluster": "loop"}}]}]});
    let filter = json!({"@type": WASM, "config":
        {"configuration": {"@type": "…", "value": {"targets": {}}}, "failure_policy": "FAIL_RELOAD"}});
    json!({"configs": [
        part("BootstrapConfigDump", json!({"bootstrap": {"dynamic_resources": {"lds_config": {}, "cds_config": {}}}})),
        part("ListenersConfigDump", json!({"dynamic_listeners": [
            edge,
            inner,
            {"name": "bad", "error_state": {"details": "no such thing\n", "failed_configuration": {}}},
        ]})),
        part("ClustersConfigDump", json!({
            "static_clusters": [{"cluster": {"name": "xds"}}],
            "dynamic_active_clusters": [{"cluster": {"name": "loop"}}],
            "dynamic_warming_clusters": [{"cluster": {"name": "openai"}}],
        })),
        part("RoutesConfigDump", json!({"dynamic_route_configs": [{"route_config": routes}]})),
        part("EcdsConfigDump", json!({"ecds_filters": [{"ecds_filter": {"name": "llm", "typed_config": filter}}]})),
    ]})
}

fn the_only(tree: &Value) -> Envoy {
    let mut dumps = dumps(tree);
    assert_eq!(dumps.len(), 1);
    Envoy::read_dump(dumps.remove(0))
}

#[test]
fn a_dump_is_read_as_a_file_in_which_everything_is_in_its_place() {
    // As the admin interface prints it, and as egctl does.
    let nested =
        json!({"xds": {"llm/llm": {"@type": format!("{TYPES}ConfigDump"), "configs": dump()["configs"]}}});
    for (tree, at) in [(dump(), ""), (nested, "xds.llm/llm.")] {
        let envoy = the_only(&tree);
        let names: Vec<_> = envoy.listeners.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["edge", "inner"]);
        assert!(!envoy.more_listeners && !envoy.more_clusters && !envoy.has_internal_listeners);
        let names: Vec<_> = envoy.clusters.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["xds", "loop", "openai"]);
        let table = envoy.listeners[0].managers[0].routes.as_ref().unwrap();
        assert!(!table.needs_clusters);
        let route = &table.hosts[0].routes[0];
        assert_eq!(route.to, To::Clusters(vec!["loop".to_owned()]));
        let path = "configs[3].dynamic_route_configs[0].route_config.virtual_hosts[0].routes[0]";
        assert_eq!(route.path, format!("{at}{path}"));
        let plugin = &envoy.listeners[1].managers[0].plugins[0];
        assert_eq!(plugin.path, format!("{at}configs[4].ecds_filters[0].ecds_filter.typed_config.config"));
        assert_eq!(plugin.failure_policy.as_deref(), Some("FAIL_RELOAD"));
        let path = format!("{at}configs[1].dynamic_listeners[2].error_state");
        let problem = "Envoy has refused this update and keeps what it had before: no such thing".to_owned();
        assert_eq!(envoy.unused, [Unused { path, problem }]);
    }
}

#[test]
fn of_what_envoy_says_the_sentence_is_kept_and_not_the_resource() {
    for (details, expected) in [
        (
            "goo.gle/debugproto   \ncodec_type: HTTP2\na {\n}\n: Proto constraint failed (x)\n",
            "Proto constraint failed (x)",
        ),
        ("Proto constraint failed (x): goo.gle/debugproto\na {\n}\n", "Proto constraint failed (x)"),
        ("goo.gle/debugstr", ""),
        ("\n", ""),
    ] {
        assert_eq!(what_is_wrong(details), expected);
    }
    assert_eq!(what_is_wrong(&"é".repeat(501)).chars().count(), MAX_PROBLEM);
    let twice = json!({"listeners": [{"error_state": {"details": "a"}}, {"error_state": {"details": "a"}}]});
    assert_eq!(unused(&Place::root(&twice)).len(), 1);
}

#[test]
fn what_a_dump_does_not_have_may_be_elsewhere() {
    for (kind, more_listeners, more_clusters, internal) in [
        ("ListenersConfigDump", true, false, false),
        ("ClustersConfigDump", false, true, false),
        ("BootstrapConfigDump", false, false, true),
    ] {
        let mut tree = dump();
        let parts = tree["configs"].as_array_mut().unwrap();
        parts.retain(|part| !part["@type"].as_str().unwrap().ends_with(kind));
        let envoy = the_only(&tree);
        assert_eq!(
            (envoy.more_listeners, envoy.more_clusters, envoy.has_internal_listeners),
            (more_listeners, more_clusters, internal),
            "{kind}"
        );
    }
    let mut tree = dump();
    tree["configs"][3]["dynamic_route_configs"] = json!([]);
    assert!(the_only(&tree).listeners[0].managers[0].routes.is_none());
}

#[test]
fn other_trees_are_no_dumps() {
    for tree in
        [json!({}), json!([]), json!({"configs": [{"@type": "x"}]}), json!({"configs": 3}), json!("configs")]
    {
        assert!(dumps(&tree).is_empty(), "{tree}");
    }
}

/// Istio's inner listener before its filter has come.
#[test]
fn a_listener_that_waits_is_there_and_not_used() {
    let mut tree = dump();
    let inner = &mut tree["configs"][1]["dynamic_listeners"][1];
    inner["warming_state"] = inner.as_object_mut().unwrap().remove("active_state").unwrap();
    let envoy = the_only(&tree);
    assert_eq!(envoy.listeners[1].name, "inner");
    let problem = &envoy.unused[0].problem;
    assert!(problem.starts_with("the listener `inner` is not used yet: it waits"), "{problem}");
}
