use super::*;

use serde_yaml_ng::Value as Tree;

use crate::init::description::Manifests;
use crate::init::examples;

fn description(in_loop: bool) -> Description {
    let kubernetes =
        Kubernetes { manifests: Manifests::EnvoyGateway, module_image: "r.test/llm-failsafe:1".to_owned() };
    Description { kubernetes: Some(kubernetes), ..examples::shipped(in_loop) }
}

/// The objects of all files, with the names of their files.
fn objects(in_loop: bool) -> Vec<(String, Tree)> {
    let description = description(in_loop);
    let mut objects = Vec::new();
    for file in files(&description, description.kubernetes.as_ref().unwrap()) {
        for document in file.text.split("\n---\n") {
            objects.push((file.name.clone(), serde_yaml_ng::from_str(document).unwrap()));
        }
    }
    objects
}

fn the(in_loop: bool, kind: &str) -> Tree {
    let found: Vec<_> = objects(in_loop).into_iter().filter(|(_, object)| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}");
    found[0].1.clone()
}

fn policy(in_loop: bool, name: &str) -> Vec<Tree> {
    let found = objects(in_loop).into_iter().find(|(_, object)| object["metadata"]["name"] == name);
    found.unwrap().1["spec"]["jsonPatches"].as_sequence().unwrap().clone()
}

fn names(tree: &Tree) -> Vec<&str> {
    tree.as_mapping().unwrap().keys().filter_map(Tree::as_str).collect()
}

/// The edge of the Envoy file, and its connection manager.
fn edge(in_loop: bool) -> (Tree, Tree) {
    let mut edge = Parts::of(&description(in_loop)).edge;
    let manager = super::super::parts::manager(&mut edge).clone();
    (edge, manager)
}

#[test]
fn the_policy_for_clients_says_what_the_edge_says() {
    for in_loop in [true, false] {
        let policy = the(in_loop, "ClientTrafficPolicy")["spec"].clone();
        let (edge, manager) = edge(in_loop);
        assert_eq!(policy["connection"]["bufferLimit"], edge["per_connection_buffer_limit_bytes"]);
        let times = &policy["timeout"]["http"];
        assert_eq!(times["requestReceivedTimeout"], manager["request_timeout"]);
        assert_eq!(times["streamIdleTimeout"], manager["stream_idle_timeout"]);
        let common = &manager["common_http_protocol_options"];
        assert_eq!(times["idleTimeout"], common["idle_timeout"]);
        for (_, time) in times.as_mapping().unwrap() {
            // The Gateway API knows no fractions.
            let seconds = time.as_str().and_then(|time| time.strip_suffix('s')).unwrap();
            assert!(seconds.len() <= 5 && seconds.parse::<u32>().is_ok(), "{seconds}");
        }
        let (given, http2) = (&manager["http2_protocol_options"], &policy["http2"]);
        assert_eq!(http2["maxConcurrentStreams"], given["max_concurrent_streams"]);
        assert_eq!(http2["initialStreamWindowSize"], given["initial_stream_window_size"]);
        assert_eq!(http2["initialConnectionWindowSize"], given["initial_connection_window_size"]);
        assert_eq!(http2["onInvalidMessage"], "TerminateStream");
        assert_eq!(given["override_stream_error_on_invalid_http_message"], true);
        let removed = policy["headers"]["earlyRequestHeaders"]["remove"].as_sequence().unwrap();
        let mutations = &manager["early_header_mutation_extensions"][0]["typed_config"]["mutations"];
        let mutations = mutations.as_sequence().unwrap().iter().map(|it| it["remove"].clone());
        assert_eq!(*removed, mutations.collect::<Vec<_>>());

        // What the Envoy file says besides would be lost.
        assert_eq!(names(common), ["idle_timeout"]);
        assert_eq!(given.as_mapping().unwrap().len(), 4);
        let of_listener = [
            "name",
            "address",
            "traffic_direction",
            "per_connection_buffer_limit_bytes",
            "listener_filters_timeout",
            "listener_filters",
            "filter_chains",
        ];
        assert_eq!(names(&edge), of_listener);
    }
}

#[test]
fn the_patches_of_the_edge_carry_what_the_policy_does_not() {
    for in_loop in [true, false] {
        let patches = policy(in_loop, "llm-failsafe-edge");
        let value = |path: &str| {
            let found = patches.iter().find(|patch| patch["operation"]["path"] == path);
            found.unwrap_or_else(|| panic!("{path}"))["operation"]["value"].clone()
        };
        let (_, manager) = edge(in_loop);
        let host = &manager["route_config"]["virtual_hosts"][0];
        assert_eq!(value("request_headers_timeout"), manager["request_headers_timeout"]);
        assert_eq!(value("request_body_buffer_limit"), host["request_body_buffer_limit"]);
        let routes = host["routes"].as_sequence().unwrap();
        let last = &routes.last().unwrap()["route"];
        for (name, expected) in last.as_mapping().unwrap() {
            assert_eq!(value("route")[name], *expected);
        }
        assert_eq!(value("route").get("retry_policy"), host.get("retry_policy"));
        for (number, route) in routes.iter().rev().skip(1).rev().enumerate() {
            assert_eq!(value(&format!("routes/{number}"))["match"], route["match"]);
        }
        let filter = Parts::of(&description(in_loop)).filter["typed_config"]["config"].clone();
        let stops = patches.iter().any(|it| it["operation"]["path"] == "allow_on_headers_stop_iteration");
        assert_eq!((stops, &filter["allow_on_headers_stop_iteration"]), (!in_loop, &Tree::from(true)));
    }
}

#[test]
fn patches_have_no_null_and_no_name_that_belongs_to_others() {
    fn has_null(tree: &Tree) -> bool {
        match tree {
            Tree::Null => true,
            Tree::Sequence(items) => items.iter().any(has_null),
            Tree::Mapping(fields) => fields.iter().any(|(_, value)| has_null(value)),
            _ => false,
        }
    }
    for in_loop in [true, false] {
        for (file, object) in objects(in_loop) {
            assert!(!has_null(&object), "{file}");
            let name = object["metadata"]["name"].as_str();
            assert!(name.is_none_or(|name| name.starts_with("llm-failsafe")), "{file}: {name:?}");
        }
        let added: Vec<_> = policy(in_loop, "llm-failsafe-additions");
        let added: Vec<_> = added.iter().map(|patch| patch["name"].as_str().unwrap()).collect();
        let providers = ["llm-failsafe-openai", "llm-failsafe-anthropic"];
        assert_eq!(added[..2], providers);
        let of_loop: &[&str] = if in_loop { &["llm-failsafe-loop", "llm-failsafe-inner"] } else { &[] };
        assert_eq!(&added[2..], of_loop);
    }
}

/// The other component names the same patches, in the same order.
#[test]
fn each_patch_of_the_edge_has_a_name_in_the_second_scheme() {
    for in_loop in [true, false] {
        let found = objects(in_loop).into_iter().find(|(file, _)| file.contains("xds-names-v2")).unwrap().1;
        let renamed: Tree = serde_yaml_ng::from_str(found["patches"][0]["patch"].as_str().unwrap()).unwrap();
        let patches = policy(in_loop, "llm-failsafe-edge");
        assert_eq!(renamed.as_sequence().unwrap().len(), patches.len());
        for (number, patch) in patches.iter().enumerate() {
            let is_listener = patch["type"].as_str().unwrap().ends_with(".Listener");
            assert_eq!(renamed[number]["path"], format!("/spec/jsonPatches/{number}/name"));
            assert_eq!(renamed[number]["value"], if is_listener { "tcp-80" } else { "http-80" });
        }
    }
}

#[test]
fn pods_get_the_keys_the_module_and_the_filter() {
    for in_loop in [true, false] {
        let pods = the(in_loop, "EnvoyProxy")["spec"]["provider"]["kubernetes"]["envoyDeployment"].clone();
        let env = pods["container"]["env"].as_sequence().unwrap();
        let variables: Vec<_> = env.iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(variables, ["OPENAI_KEY_A", "OPENAI_KEY_B", "ANTHROPIC_KEY"]);
        let secret = the(in_loop, "Secret");
        assert_eq!(names(&secret["stringData"]), variables);
        assert!(env.iter().all(|it| it["valueFrom"]["secretKeyRef"]["name"] == secret["metadata"]["name"]));
        assert_eq!(pods.get("pod").is_some(), in_loop);
        if in_loop {
            let mounts = pods["container"]["volumeMounts"].as_sequence().unwrap();
            let volumes = pods["pod"]["volumes"].as_sequence().unwrap();
            for (mount, volume) in mounts.iter().zip(volumes) {
                assert_eq!(mount["name"], volume["name"]);
            }
            let folder = mounts[0]["mountPath"].as_str().unwrap();
            assert_eq!(format!("{folder}/plugin.wasm"), live::MODULE_IN_POD);
            assert_eq!(volumes[0]["image"]["reference"], "r.test/llm-failsafe:1");
        } else {
            let filter = the(in_loop, "EnvoyExtensionPolicy")["spec"]["wasm"][0].clone();
            assert_eq!(filter["code"]["image"]["url"], "r.test/llm-failsafe:1");
            assert_eq!(filter["env"]["hostKeys"], Tree::from(variables));
            let given = Parts::of(&description(in_loop)).filter["typed_config"]["config"].clone();
            assert_eq!(filter["config"], given["configuration"]["value"]);
        }
    }
}

/// The image has its name in one place.
#[test]
fn the_component_that_copies_the_module_takes_its_image_from_the_pods() {
    let found = objects(true).into_iter().find(|(file, _)| file.contains("copied-module")).unwrap().1;
    let steps: Vec<serde_json::Value> =
        serde_yaml_ng::from_str(found["patches"][0]["patch"].as_str().unwrap()).unwrap();
    let pods = serde_json::to_value(the(true, "EnvoyProxy")).unwrap();
    let (copies, others): (Vec<_>, Vec<_>) = steps.iter().partition(|step| step["op"] == "copy");
    assert_eq!(pods.pointer(copies[0]["from"].as_str().unwrap()).unwrap(), "r.test/llm-failsafe:1");
    assert!(copies[0]["path"].as_str().unwrap().ends_with("/initContainers/0/image"));
    assert!(others.iter().all(|step| !step.to_string().contains("r.test")), "{others:?}");
}
