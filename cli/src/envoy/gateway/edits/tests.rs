use std::path::{Path, PathBuf};

use super::super::{parsed, tree};
use super::*;

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/envoy-gateway")
}

/// What `tree` says about the shipped folder after these changes. A change to nothing takes the file away.
fn after(changes: &[(&str, &str, &str)]) -> Result<Value, String> {
    tree(&|name: &str| {
        let Ok(mut text) = std::fs::read_to_string(shipped().join(name)) else { return Ok(Value::Null) };
        for (_, from, to) in changes.iter().filter(|(file, ..)| *file == name) {
            assert!(text.contains(from), "{name} has no {from}");
            if to.is_empty() {
                return Ok(Value::Null);
            }
            text = text.replacen(from, to, 1);
        }
        parsed(name, &text)
    })
}

const V2: (&str, &str, &str) = (KUSTOMIZATION, "\n- components/xds-names\n", "\n- components/xds-names-v2\n");

#[test]
fn an_edit_that_takes_something_away_is_a_mistake() {
    let target = "name: llm-failsafe }";
    let in_managers = "http_connection_manager')].typed_config";
    for (file, from, to, expected) in [
        (TRAFFIC, "kind", "", "is missing"),
        (TRAFFIC, target, "name: other }", "spec.targetRefs: must name the Gateway `llm-failsafe`"),
        (
            TRAFFIC,
            "earlyRequestHeaders",
            "earlyHeaders",
            "remove: lacks x-llm-cluster, x-llm-strip-cluster, ",
        ),
        (TRAFFIC, "- x-llm-cluster\n", "- x-lm-cluster\n", "remove: lacks x-llm-cluster, so clients"),
        (TRAFFIC, "- x-llm-strip-cluster\n", "- other\n", "remove: lacks x-llm-strip-cluster, so clients"),
        (TRAFFIC, "- x-llm-journey\n", "- other\n", "remove: lacks x-llm-journey, so clients"),
        (
            TRAFFIC,
            "- x-envoy-attempt-count\n",
            "- other\n",
            "remove: lacks x-envoy-attempt-count, so clients",
        ),
        (ADDITIONS, "kind", "", "is missing"),
        (ADDITIONS, target, "name: other }", "spec.targetRef: must name the Gateway `llm-failsafe`"),
        (ADDITIONS, "type: JSONPatch", "type: Merge", "spec.type: must be JSONPatch"),
        (EDGE, target, "name: llm-failsafe, sectionName: other }", "spec.targetRef: must name the Gateway"),
        (EDGE, "kind: Gateway", "kind: GatewayClass", "spec.targetRef: must name the Gateway"),
        (EDGE, "type: JSONPatch", "type: JSON", "spec.type: must be JSONPatch"),
        (
            EDGE,
            "llm/llm-failsafe/http",
            "llm/llm-failsafe/https",
            "jsonPatches[0].name: must be llm/llm-fail",
        ),
        (EDGE, "llm/llm-failsafe/http", "other/llm-failsafe/http", "jsonPatches[0].name: must be llm/llm-"),
        (EDGE, "llm/llm-failsafe/http", "http-80", "http or llm/llm-failsafe/http or tcp-80"),
        (EDGE, in_managers, "http_manager')].typed_config", "jsonPatches[0].operation.jsonPath: must be $.."),
        (
            EDGE,
            "\"$.virtual_hosts[*]\"",
            "\"$.hosts[*]\"",
            "[4].operation.jsonPath: must be $.virtual_hosts[*] or",
        ),
        (
            EDGE,
            "listener.v3.Listener",
            "listener.v2.Listener",
            "jsonPatches[0].type: must be type.googleapis",
        ),
        (EDGE, "op: add", "op: remove", "spec.jsonPatches[0].operation.op: must be add"),
        (EDGE, "path: internal_address_config", "at: x", "spec.jsonPatches[0].operation.path: is missing"),
        (
            EDGE,
            "path: routes/0",
            "path: routes/x",
            "spec.jsonPatches[9].operation.path: must end with a number",
        ),
        (OBJECTS, "kind: Gateway", "kind: Gate", "has no Gateway"),
        (OBJECTS, "- name: http", "- name: other", "patches-edge.yaml: spec.jsonPatches[0].name: must be"),
        (KUSTOMIZATION, "resources:", "namespace: llm\nresources:", "namespace: must not be here"),
    ] {
        let said = after(&[(file, from, to)]).unwrap_err();
        let is_said = said.lines().any(|line| line.contains(".yaml: ") && line.contains(expected));
        assert!(is_said, "{file}: {from} became {to}: {said}");
        let names_its_file = said.contains(&format!("{file}: ")) || file == OBJECTS;
        assert!(names_its_file, "{file}: {from} became {to}: {said}");
    }
}

#[test]
fn each_scheme_of_names_is_good_and_a_forgotten_name_is_a_mistake() {
    for changes in [
        &[][..],
        &[V2],
        &[(EDGE, "llm/llm-failsafe/http", "tcp-80")],
        &[(INNER_KUSTOMIZATION, "namespace: llm", "namespace: other"), (EDGE, "llm/", "other/")],
    ] {
        after(changes).unwrap();
    }
    let https = (OBJECTS, "protocol: HTTP\n    port: 80", "protocol: HTTPS\n    port: 443");
    let said = after(&[V2, https]).unwrap_err();
    assert!(said.starts_with(&format!("{NAMES_V2}: /spec/jsonPatches/0/name: must be tcp-443\n")), "{said}");
    assert!(said.contains("/spec/jsonPatches/4/name: must be llm/llm-failsafe/http"), "{said}");
    let forgotten = (NAMES_V2, "/spec/jsonPatches/10/name", "/spec/jsonPatches/11/name");
    let said = after(&[V2, forgotten]).unwrap_err();
    assert_eq!(said, format!("{NAMES_V2}: /spec/jsonPatches/10/name: must be http-80"));
}

#[test]
fn odd_files_are_mistakes_and_nothing_panics() {
    for odd in [Value::from(1), Value::Null, serde_json::json!([{"kind": "Gateway", "spec": 1}])] {
        assert!(tree(&|_| Ok(odd.clone())).is_err());
    }
    assert!(parsed(OBJECTS, "a: 1\n---\nb: [\n").is_err());
}
