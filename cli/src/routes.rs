//! Whether the routes in an envoy.yaml do what the filter leaves to them (`route_strips_headers`).

use llm_failsafe::intake::{ACCEPTED_ENCODING, STRIPPED_BY_ROUTE, STRIPPING_CLUSTER_HEADER};
use serde_json::Value;

/// What is wrong, one line each. Such a route would show private headers to a provider, or no route would take the requests.
pub fn mistakes(envoy: &Value) -> Vec<String> {
    let mut mistakes = Vec::new();
    each_object(envoy, &mut |object| {
        let leaves_headers = list(object, "http_filters").iter().any(leaves_headers);
        if leaves_headers {
            connection_manager(object, &mut mistakes);
        }
    });
    mistakes
}

/// Whether it is the filter, and configured to leave headers to the route.
fn leaves_headers(http_filter: &Value) -> bool {
    let configuration = http_filter.pointer("/typed_config/config/configuration/value");
    let parsed = match configuration {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(other) => other.clone(),
        None => Value::Null,
    };
    parsed["route_strips_headers"] == Value::Bool(true)
}

fn connection_manager(manager: &Value, mistakes: &mut Vec<String>) {
    let name = manager["stat_prefix"].as_str().unwrap_or_default();
    // Routes that Envoy gets from elsewhere cannot be seen here.
    let Some(table) = manager.get("route_config") else { return };
    let mut takes_requests = false;
    for host in list(table, "virtual_hosts") {
        for route in list(host, "routes") {
            if route["route"]["cluster_header"] != STRIPPING_CLUSTER_HEADER {
                continue;
            }
            takes_requests = true;
            let levels = [table, host, route];
            let removes = |name: &str| {
                levels
                    .iter()
                    .any(|level| list(level, "request_headers_to_remove").iter().any(|it| it == name))
            };
            let all = STRIPPED_BY_ROUTE.into_iter().chain([STRIPPING_CLUSTER_HEADER]);
            for header in all.filter(|header| !removes(header)) {
                mistakes.push(format!(
                    "http_connection_manager `{name}`: a route that reads {STRIPPING_CLUSTER_HEADER} must remove {header} \
                     (request_headers_to_remove)"
                ));
            }
            if !levels
                .iter()
                .any(|level| list(level, "request_headers_to_add").iter().any(forbids_compression))
            {
                mistakes.push(format!(
                    "http_connection_manager `{name}`: a route that reads {STRIPPING_CLUSTER_HEADER} must set \
                     accept-encoding to {ACCEPTED_ENCODING} (request_headers_to_add with OVERWRITE_IF_EXISTS_OR_ADD)"
                ));
            }
        }
    }
    if !takes_requests {
        mistakes.push(format!(
            "http_connection_manager `{name}`: no route reads {STRIPPING_CLUSTER_HEADER}, which `route_strips_headers` needs"
        ));
    }
}

fn forbids_compression(addition: &Value) -> bool {
    let header = &addition["header"];
    header["key"].as_str().is_some_and(|key| key.eq_ignore_ascii_case("accept-encoding"))
        && header["value"] == ACCEPTED_ENCODING
        && addition["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD"
}

fn list<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    object.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn each_object(tree: &Value, visit: &mut impl FnMut(&Value)) {
    match tree {
        Value::Object(members) => {
            visit(tree);
            members.values().for_each(|member| each_object(member, visit));
        }
        Value::Array(items) => items.iter().for_each(|item| each_object(item, visit)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn shipped(file: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy").join(file);
        std::fs::read_to_string(path).unwrap()
    }

    fn mistakes_in(text: &str) -> Vec<String> {
        mistakes(&serde_yaml_ng::from_str(text).unwrap())
    }

    #[test]
    fn the_shipped_files_do_what_the_filter_leaves_to_the_route() {
        for file in ["envoy.yaml", "single.yaml", "playground.yaml"] {
            assert_eq!(mistakes_in(&shipped(file)), Vec::<String>::new(), "{file}");
        }
    }

    #[test]
    fn a_route_that_leaves_a_header_is_a_mistake() {
        let text = shipped("envoy.yaml");
        for header in STRIPPED_BY_ROUTE.into_iter().chain([STRIPPING_CLUSTER_HEADER]) {
            // The lists of the early header mutation and of the access log look different.
            let without = text
                .replace(&format!("                - {header}\n"), "")
                .replace(&format!("x-llm-cluster, {header}, "), "x-llm-cluster, ");
            assert_ne!(without, text);
            let found = mistakes_in(&without);
            assert!(
                matches!(&found[..], [one] if one.contains("`inner`") && one.contains(header)),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_route_that_lets_responses_be_compressed_is_a_mistake() {
        for changed in [
            shipped("single.yaml").replace("value: identity", "value: gzip"),
            shipped("single.yaml")
                .replace("append_action: OVERWRITE_IF_EXISTS_OR_ADD", "append_action: ADD_IF_ABSENT"),
        ] {
            let found = mistakes_in(&changed);
            assert!(matches!(&found[..], [one] if one.contains("accept-encoding")), "{found:?}");
        }
    }

    #[test]
    fn the_filter_needs_a_route_that_strips_only_if_it_is_configured_so() {
        let old = shipped("single.yaml")
            .replace("cluster_header: x-llm-strip-cluster", "cluster_header: x-llm-cluster");
        assert!(matches!(&mistakes_in(&old)[..], [one] if one.contains("no route reads")));
        assert!(mistakes_in(&old.replace("route_strips_headers: true", "")).is_empty());
    }
}
