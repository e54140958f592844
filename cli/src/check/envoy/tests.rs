//! Every rule on the shipped files, with one change each.

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::check::finding::Severity;

fn shipped(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy").join(file);
    serde_yaml_ng::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn found(tree: &Value) -> Vec<Finding> {
    let file = Envoy::read(tree);
    let plugin = file.positions()[0].plugin.configuration.to_string();
    let variables = std::cell::RefCell::new(Vec::new());
    let env = |name: &str| {
        variables.borrow_mut().push(Variable { name: name.to_owned(), is_set: true });
        Some("x".to_owned())
    };
    let config = llm_failsafe::config::load(plugin.as_bytes(), &env).unwrap();
    findings(&file, &config, &variables.into_inner())
}

/// What a change of a shipped file adds to its findings.
fn added(file: &str, change: impl FnOnce(&mut Value)) -> Vec<Finding> {
    let mut tree = shipped(file);
    let before = found(&tree);
    change(&mut tree);
    found(&tree).into_iter().filter(|finding| !before.contains(finding)).collect()
}

const EDGE: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const HOP: &str = "/static_resources/clusters/0/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const INNER: &str = "/static_resources/listeners/1/filter_chains/0/filters/0/typed_config";

/// The filter's plugin. In `single.yaml` the CORS filter is in front of it.
fn plugin(manager: &str) -> String {
    format!("{manager}/http_filters/{}/typed_config/config", usize::from(manager == EDGE))
}

fn set(pointer: &str, value: Value) -> impl FnOnce(&mut Value) {
    move |tree| {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = tree.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
        match name.parse::<usize>() {
            Ok(index) if parent.is_array() => parent[index] = value,
            _ if value.is_null() => drop(parent.as_object_mut().unwrap().remove(name)),
            _ => parent[name] = value,
        }
    }
}

/// Checks that the change adds exactly one finding, with this severity, end of the path and part of the problem.
#[track_caller]
fn check(file: &str, pointer: &str, value: Value, severity: Severity, path: &str, problem: &str) {
    let found = added(file, set(pointer, value));
    let [one] = found.as_slice() else { panic!("{pointer}: {found:#?}") };
    assert_eq!(one.severity, severity, "{one}");
    assert!(one.path.ends_with(path), "{one}");
    assert!(one.problem.contains(problem), "{one}");
}

#[test]
fn the_shipped_files_have_no_mistakes_and_only_lack_keys() {
    for (file, warnings) in [("envoy.yaml", 1), ("single.yaml", 1), ("playground.yaml", 0)] {
        let found = found(&shipped(file));
        assert_eq!(found.len(), warnings, "{file}: {found:#?}");
        assert!(found.iter().all(|finding| finding.problem.contains("has no `keys`")), "{found:#?}");
    }
}

/// Keys must not go to whoever answers.
#[test]
fn tls_verifies_the_server_and_public_names_have_tls() {
    let openai = "/static_resources/clusters/1";
    let options = "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    for (pointer, value) in [
        ("/transport_socket/typed_config/common_tls_context/validation_context".to_owned(), json!({})),
        ("/transport_socket/typed_config/common_tls_context".to_owned(), json!({})),
        (format!("{options}/upstream_http_protocol_options/auto_san_validation"), json!(false)),
    ] {
        let pointer = format!("{openai}{pointer}");
        check("envoy.yaml", &pointer, value, Severity::Warning, "].transport_socket", "whoever answers");
    }
    let address = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
    for (host, is_found) in [
        ("api.example.com", true),
        ("api.example.com.", true),
        ("vllm", false),
        ("vllm.llm.svc", false),
        ("vllm.llm.svc.cluster.local", false),
        ("10.0.0.1", false),
        ("llm.internal", false),
    ] {
        let found = added("envoy.yaml", |tree| {
            *tree.pointer_mut(openai).unwrap().pointer_mut("/transport_socket").unwrap() = Value::Null;
            let address = tree.pointer_mut(openai).unwrap().pointer_mut(address).unwrap();
            *address = json!({"address": host, "port_value": 8000});
        });
        assert_eq!(found.len(), usize::from(is_found), "{host}: {found:#?}");
        assert!(found.iter().all(|finding| finding.problem.contains("without TLS")), "{found:#?}");
    }
}

#[test]
fn the_filter_needs_its_switches_and_its_variables() {
    let config = |field: &str| format!("{}/{field}", plugin(INNER));
    let mistake = |field: &str, value, path: &str, problem: &str| {
        check("envoy.yaml", &config(field), value, Severity::Mistake, path, problem);
    };
    mistake(
        "allow_on_headers_stop_iteration",
        json!(null),
        "config.allow_on_headers_stop_iteration",
        "every request hangs",
    );
    let keys = "vm_config/environment_variables/host_env_keys";
    mistake(
        keys,
        json!(["OPENAI_KEY_A", "ANTHROPIC_KEY"]),
        "vm_config.environment_variables",
        "`OPENAI_KEY_B` is not passed on",
    );
    mistake(
        keys,
        json!([]),
        "vm_config.environment_variables",
        "`ANTHROPIC_KEY`, `OPENAI_KEY_A`, `OPENAI_KEY_B` are not passed on",
    );
    check(
        "envoy.yaml",
        &config("failure_policy"),
        json!(null),
        Severity::Warning,
        "config.failure_policy",
        "after a crash",
    );
    let in_file = json!({"key_values": {"OPENAI_KEY_A": "a", "OPENAI_KEY_B": "b", "ANTHROPIC_KEY": "c"}});
    assert_eq!(added("envoy.yaml", set(&config("vm_config/environment_variables"), in_file)), []);
    let found = added("envoy.yaml", set(&config(keys), json!(["OPENAI_KEY_A"])));
    assert_eq!(found[0].line.as_deref(), Some("host_env_keys: [OPENAI_KEY_A, ANTHROPIC_KEY, OPENAI_KEY_B]"));
}

#[test]
fn a_cluster_that_does_not_exist_is_a_mistake_unless_it_comes_from_elsewhere() {
    let name = "/static_resources/clusters/1/name";
    check(
        "envoy.yaml",
        name,
        json!("opnai"),
        Severity::Mistake,
        "providers.openai.cluster",
        "no cluster `openai`",
    );
    let found = added("envoy.yaml", |tree| {
        set(name, json!("opnai"))(tree);
        tree["dynamic_resources"] = json!({"cds_config": {"ads": {}}});
    });
    assert!(matches!(&found[..], [one] if one.severity == Severity::Unknown), "{found:#?}");
    // A cluster with nearly this name is the one that was meant, but never that of the loop.
    let provider = format!("{}/configuration/value/providers/anthropic", plugin(INNER));
    for (written, hint, line) in [
        ("antropic", "fails; did you mean `anthropic`?", "cluster: anthropic"),
        (
            "lop",
            "clusters of this file: `openai`, `anthropic`",
            "- name: lop   # in static_resources.clusters",
        ),
    ] {
        let value = json!({"kind": "anthropic", "cluster": written});
        let found = added("envoy.yaml", set(&provider, value));
        let [one] = found.as_slice() else { panic!("{found:#?}") };
        assert!(one.problem.ends_with(hint), "{one}");
        assert_eq!(one.line.as_deref(), Some(line), "{one}");
    }
    let other = format!("{}/configuration/value/other_paths", plugin(INNER));
    check(
        "envoy.yaml",
        &other,
        json!({"cluster": "files"}),
        Severity::Mistake,
        "other_paths.cluster",
        "no cluster `files`",
    );
    let route = format!("{INNER}/route_config/virtual_hosts/0/routes/1/route");
    check(
        "envoy.yaml",
        &route,
        json!({"cluster": "files", "timeout": "0s"}),
        Severity::Mistake,
        "routes[1].route",
        "does not start",
    );
    check(
        "single.yaml",
        "/static_resources/clusters/0/transport_socket",
        json!(null),
        Severity::Warning,
        "clusters[0].transport_socket",
        "without TLS",
    );
}

#[test]
fn a_loop_needs_the_filters_switch_and_the_switch_a_loop() {
    let switch = |inner: &str| format!("{}/configuration/value/retry_loop", plugin(inner));
    check(
        "envoy.yaml",
        &switch(INNER),
        json!(null),
        Severity::Mistake,
        "value.retry_loop",
        "no failed attempt is repeated",
    );
    check(
        "single.yaml",
        &switch(EDGE),
        json!(true),
        Severity::Mistake,
        "value.retry_loop",
        "there is no retry loop",
    );
    let found = added("single.yaml", |tree| {
        set(&switch(EDGE), json!(true))(tree);
        set("/static_resources/listeners/0/address/socket_address/address", json!("127.0.0.1"))(tree);
    });
    assert!(matches!(&found[..], [one] if one.severity == Severity::Mistake), "{found:#?}");
    // Who connects to a pipe is not known.
    let found = added("single.yaml", |tree| {
        set(&switch(EDGE), json!(true))(tree);
        set("/static_resources/listeners/0/address", json!({"pipe": {"path": "/run/edge"}}))(tree);
    });
    assert!(matches!(&found[..], [one] if one.severity == Severity::Unknown), "{found:#?}");
    let found = added("single.yaml", |tree| {
        set(&switch(EDGE), json!(true))(tree);
        tree["dynamic_resources"] = json!({"lds_config": {"ads": {}}});
    });
    assert!(matches!(&found[..], [one] if one.severity == Severity::Unknown), "{found:#?}");
}

#[test]
fn an_edge_that_does_not_do_its_part_is_found() {
    let host = |field: &str| format!("{EDGE}/route_config/virtual_hosts/0/{field}");
    let policy = |field: &str| host(&format!("retry_policy/{field}"));
    for (pointer, value, severity, path, problem) in [
        (
            host("retry_policy"),
            json!(null),
            Severity::Mistake,
            "virtual_hosts[0].retry_policy",
            "does not repeat",
        ),
        (policy("retriable_headers"), json!([]), Severity::Mistake, "retry_policy", "does not repeat"),
        (policy("retry_on"), json!("reset"), Severity::Mistake, "retry_policy.retry_on", "must contain"),
        (
            policy("retry_on"),
            json!("retriable-headers"),
            Severity::Warning,
            "retry_policy.retry_on",
            "without `reset`",
        ),
        (
            policy("num_retries"),
            json!(1),
            Severity::Warning,
            "retry_policy.num_retries",
            "models.chat allows 3 attempts",
        ),
        (
            policy("num_retries"),
            json!(null),
            Severity::Warning,
            "retry_policy.num_retries",
            "retries at most 1 time, but",
        ),
        (
            policy("per_try_timeout"),
            json!("5s"),
            Severity::Warning,
            "retry_policy.per_try_timeout",
            "after 5 s",
        ),
        (
            host("include_request_attempt_count"),
            json!(null),
            Severity::Mistake,
            "include_request_attempt_count",
            "looks like the first",
        ),
        (
            host("request_headers_to_add"),
            json!([]),
            Severity::Mistake,
            "request_headers_to_add",
            "does not set x-llm-journey",
        ),
        (
            host("request_headers_to_add/0/append_action"),
            json!("ADD_IF_ABSENT"),
            Severity::Warning,
            "request_headers_to_add",
            "clients can choose it",
        ),
        (
            "/static_resources/clusters/0/circuit_breakers".to_owned(),
            json!(null),
            Severity::Warning,
            "clusters[0].circuit_breakers.thresholds",
            "allows 3 retries",
        ),
        (
            format!("{HOP}/common_http_protocol_options/max_requests_per_connection"),
            json!(null),
            Severity::Warning,
            "common_http_protocol_options.max_requests_per_connection",
            "may carry 250 requests or more",
        ),
        (
            format!("{HOP}/common_http_protocol_options/max_requests_per_connection"),
            json!(250),
            Severity::Warning,
            "common_http_protocol_options.max_requests_per_connection",
            "may carry 250 requests or more",
        ),
        (
            "/bootstrap_extensions".to_owned(),
            json!([]),
            Severity::Mistake,
            "bootstrap_extensions",
            "does not start",
        ),
    ] {
        check("envoy.yaml", &pointer, value, severity, path, problem);
    }
    for (pointer, value, path, problem) in [
        (
            format!("{INNER}/local_reply_config"),
            json!(null),
            "typed_config.local_reply_config",
            "breaks off before it answers, its client gets the error and no other target is asked; after a crash",
        ),
        (
            format!("{INNER}/local_reply_config/mappers/0/headers_to_add/0/header/value"),
            json!("other"),
            "typed_config.local_reply_config",
            "breaks off before it answers",
        ),
        (
            host("response_headers_to_remove"),
            json!(["x-llm-retry"]),
            "virtual_hosts[0].response_headers_to_remove",
            "clients see the marks",
        ),
        (
            policy("rate_limited_retry_back_off"),
            json!(null),
            "retry_policy.rate_limited_retry_back_off",
            "before there can be a new VM",
        ),
    ] {
        check("envoy.yaml", &pointer, value, Severity::Warning, path, problem);
    }
    for (pointer, path, problem) in [
        (
            "/static_resources/listeners/0/traffic_direction".to_owned(),
            "listeners[0].traffic_direction",
            "the last connections are cut",
        ),
        ("/overload_manager".to_owned(), "overload_manager", "nothing bounds Envoy's memory"),
        (format!("{}/reload_config", plugin(INNER)), "config.reload_config", "before there can be a new VM"),
        (
            format!("{INNER}/http2_protocol_options/override_stream_error_on_invalid_http_message"),
            "http2_protocol_options.override_stream_error_on_invalid_http_message",
            "those of other clients",
        ),
        (
            format!("{EDGE}/http2_protocol_options/override_stream_error_on_invalid_http_message"),
            "http2_protocol_options.override_stream_error_on_invalid_http_message",
            "those of the same client",
        ),
    ] {
        check("envoy.yaml", &pointer, json!(null), Severity::Warning, path, problem);
    }
    let fewer = format!("{HOP}/common_http_protocol_options/max_requests_per_connection");
    assert_eq!(added("envoy.yaml", set(&fewer, json!(100))), [], "fewer are fine");
    let http1 = json!({"explicit_http_config": {"http_protocol_options": {}}});
    assert_eq!(added("envoy.yaml", set(HOP, http1)), [], "over HTTP/1 requests do not share a connection");
    assert_eq!(
        added("envoy.yaml", set(&policy("num_retries"), json!(2))),
        [],
        "three attempts need two retries"
    );
    let older = json!([{"header": {"key": "X-LLM-Journey", "value": "%UNIQUE_ID%"}, "append": false}]);
    assert_eq!(
        added("envoy.yaml", set(&host("request_headers_to_add"), older)),
        [],
        "the older form says the same"
    );
    let lost = json!({"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9}}});
    let endpoint = "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint";
    check("envoy.yaml", endpoint, lost, Severity::Mistake, "listeners[1]", "gets no requests");
}

#[test]
fn a_loop_through_a_port_is_a_loop() {
    let found = added("envoy.yaml", |tree| {
        let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": 10001}});
        let inner = &mut tree["static_resources"]["listeners"][1];
        inner.as_object_mut().unwrap().remove("internal_listener");
        inner["address"] = address.clone();
        let endpoint = "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint";
        *tree.pointer_mut(endpoint).unwrap() = json!({"address": address});
    });
    assert_eq!(found, []);
}

#[test]
fn buffers_below_max_body_are_found() {
    let buffer = "/static_resources/listeners/0/per_connection_buffer_limit_bytes";
    let host = |inner: &str| format!("{inner}/route_config/virtual_hosts/0/request_body_buffer_limit");
    let window = |inner: &str| format!("{inner}/http2_protocol_options/initial_stream_window_size");
    check(
        "envoy.yaml",
        &window(INNER),
        json!(65_536),
        Severity::Mistake,
        "initial_stream_window_size",
        "more than 65536 bytes get Envoy's plain 413",
    );
    check(
        "envoy.yaml",
        &window(INNER),
        json!(null),
        Severity::Warning,
        "initial_stream_window_size",
        "depends on its version",
    );
    check(
        "envoy.yaml",
        &host(EDGE),
        json!(1_000_000),
        Severity::Warning,
        "request_body_buffer_limit",
        "get no second attempt",
    );
    check(
        "single.yaml",
        &window(EDGE),
        json!(65_536),
        Severity::Mistake,
        "initial_stream_window_size",
        "plain 413",
    );
    assert_eq!(added("envoy.yaml", set(buffer, json!(null))), [], "the virtual host has a limit of its own");
    assert_eq!(added("single.yaml", set(buffer, json!(null))), [], "the virtual host has a limit of its own");
    let found = added("single.yaml", |tree| {
        set(buffer, json!(null))(tree);
        set(&host(EDGE), json!(null))(tree);
    });
    assert!(
        matches!(&found[..], [one] if one.problem.contains("more than 1048576 bytes") && one.severity == Severity::Mistake),
        "{found:#?}"
    );
    let limits = |inner: &str| format!("{}/configuration/value/limits", plugin(inner));
    let found = added("envoy.yaml", set(&limits(INNER), json!({"max_body": "40MiB"})));
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn limits_shorter_than_the_filters_are_found() {
    let routes =
        |manager: &str, route: usize| format!("{manager}/route_config/virtual_hosts/0/routes/{route}/route");
    let timeout = |manager: &str, route| routes(manager, route) + "/timeout";
    check(
        "envoy.yaml",
        &timeout(EDGE, 2),
        json!(null),
        Severity::Mistake,
        "routes[2].route.timeout",
        "default of 15 s",
    );
    check(
        "envoy.yaml",
        &timeout(INNER, 0),
        json!(null),
        Severity::Mistake,
        "routes[0].route.timeout",
        "default of 15 s",
    );
    check(
        "single.yaml",
        &timeout(EDGE, 3),
        json!("60s"),
        Severity::Warning,
        "routes[3].route.timeout",
        "after 60 s, although `stream.total` of a model allows 900 s",
    );
    let idle = |manager: &str| format!("{manager}/stream_idle_timeout");
    for manager in [EDGE, INNER] {
        for (value, what) in [(json!(null), "idle for 300 s"), (json!("60s"), "idle for 60 s")] {
            check("envoy.yaml", &idle(manager), value, Severity::Warning, "stream_idle_timeout", what);
        }
        assert_eq!(added("envoy.yaml", set(&idle(manager), json!("0s"))), [], "no limit");
    }
    check(
        "envoy.yaml",
        &(routes(EDGE, 2) + "/idle_timeout"),
        json!("10s"),
        Severity::Warning,
        "routes[2].route.idle_timeout",
        "idle for 10 s",
    );
    let longest = format!("{EDGE}/common_http_protocol_options/max_stream_duration");
    check("envoy.yaml", &longest, json!("60s"), Severity::Warning, "max_stream_duration", "after 60 s");
}

#[test]
fn a_public_listener_without_keys_is_found_unless_something_else_guards_it() {
    let lacks_keys = |file: &str, change: &dyn Fn(&mut Value)| {
        let mut tree = shipped(file);
        change(&mut tree);
        found(&tree).iter().any(|finding| finding.problem.contains("has no `keys`"))
    };
    let value = |manager: &str| format!("{}/configuration/value", plugin(manager));
    for (file, manager) in [("envoy.yaml", INNER), ("single.yaml", EDGE)] {
        assert!(lacks_keys(file, &|_| {}));
        let keys = json!({"team": {"sha256": "ab".repeat(32)}});
        assert!(!lacks_keys(file, &|tree| set(&format!("{}/keys", value(manager)), keys.clone())(tree)));
        let address = "/static_resources/listeners/0/address/socket_address/address";
        assert!(!lacks_keys(file, &|tree| set(address, json!("127.0.0.1"))(tree)));
        assert!(!lacks_keys(file, &|tree| set(address, json!("::1"))(tree)));
        let certificate = json!({"typed_config": {"require_client_certificate": true}});
        let socket = "/static_resources/listeners/0/filter_chains/0/transport_socket";
        assert!(!lacks_keys(file, &|tree| set(socket, certificate.clone())(tree)));
        assert!(!lacks_keys(file, &|tree| {
            let guard = json!({"typed_config": {"@type": "x/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"}});
            tree.pointer_mut(EDGE).unwrap()["http_filters"].as_array_mut().unwrap().push(guard);
        }));
        let own = json!({"mine": {"provider": "openai"}});
        assert!(
            !lacks_keys(file, &|tree| {
                let config = tree.pointer_mut(&value(manager)).unwrap();
                config["accounts"] = own.clone();
                config["targets"] = json!({"gpt": {"account": "mine", "model": "m"}});
                config["models"] = json!({"chat": {"targets": ["gpt"]}});
            }),
            "clients send keys of their own"
        );
    }
}

#[test]
fn a_route_that_leaves_a_header_is_a_mistake() {
    use llm_failsafe::intake::{STRIPPED_BY_ROUTE, STRIPPING_CLUSTER_HEADER};
    for header in STRIPPED_BY_ROUTE.into_iter().chain([STRIPPING_CLUSTER_HEADER]) {
        let found = added("envoy.yaml", |tree| {
            let host = tree.pointer_mut(&format!("{INNER}/route_config/virtual_hosts/0")).unwrap();
            let without = |edits: &mut Value| {
                edits["request_headers_to_remove"].as_array_mut().unwrap().retain(|it| it != header);
            };
            without(&mut host["routes"][0]);
            without(host);
        });
        assert!(
            matches!(&found[..], [one] if one.severity == Severity::Mistake && one.problem.contains("`inner`") && one.problem.contains(header)),
            "{found:#?}"
        );
    }
}

#[test]
fn a_route_that_lets_responses_be_compressed_is_a_mistake() {
    let addition = format!("{EDGE}/route_config/virtual_hosts/0/routes/2/request_headers_to_add/0");
    for (field, value) in [
        ("header", json!({"key": "accept-encoding", "value": "gzip"})),
        ("append_action", json!("ADD_IF_ABSENT")),
    ] {
        check(
            "single.yaml",
            &format!("{addition}/{field}"),
            value,
            Severity::Mistake,
            "request_headers_to_add",
            "accept-encoding",
        );
    }
}

#[test]
fn the_filter_needs_a_route_that_strips_only_if_it_is_configured_so() {
    let route = format!("{EDGE}/route_config/virtual_hosts/0/routes/2/route/cluster_header");
    check(
        "single.yaml",
        &route,
        json!("x-llm-cluster"),
        Severity::Mistake,
        "route_config.virtual_hosts",
        "no route of `edge` reads",
    );
    let switch = format!("{}/configuration/value/route_strips_headers", plugin(EDGE));
    let found = added("single.yaml", |tree| {
        set(&route, json!("x-llm-cluster"))(tree);
        set(&switch, json!(false))(tree);
    });
    assert_eq!(found, []);
}

#[test]
fn what_comes_from_elsewhere_is_named_and_not_judged() {
    let table = format!("{INNER}/route_config");
    let found = added("envoy.yaml", |tree| {
        set(&table, json!(null))(tree);
        tree.pointer_mut(INNER).unwrap()["rds"] = json!({"route_config_name": "inner"});
    });
    assert!(
        matches!(&found[..], [one] if one.severity == Severity::Unknown && one.problem.contains("from elsewhere")),
        "{found:#?}"
    );
}

#[test]
fn unusual_files_that_work_have_no_mistakes() {
    let has_mistake = |change: &dyn Fn(&mut Value)| {
        let found = added("envoy.yaml", change);
        found.iter().any(|finding| finding.severity == Severity::Mistake)
    };
    // Camel case, clusters on demand, a second route without retries, HTTP/2 that the listener detects, a tunnel.
    assert!(!has_mistake(&|tree| {
        let listeners = tree["static_resources"]["listeners"].as_array_mut().unwrap();
        for listener in listeners {
            // The listener for probes has none.
            if let Some(limit) = listener.as_object_mut().unwrap().remove("per_connection_buffer_limit_bytes")
            {
                listener["perConnectionBufferLimitBytes"] = limit;
            }
        }
    }));
    let on_demand =
        json!({"typed_config": {"@type": "x/envoy.extensions.filters.http.on_demand.v3.OnDemand"}});
    assert!(!has_mistake(&|tree| {
        tree["static_resources"]["clusters"].as_array_mut().unwrap().truncate(1);
        tree.pointer_mut(INNER).unwrap()["http_filters"].as_array_mut().unwrap().push(on_demand.clone());
    }));
    assert!(!has_mistake(&|tree| {
        let hosts =
            tree.pointer_mut(&format!("{EDGE}/route_config/virtual_hosts")).unwrap().as_array_mut().unwrap();
        let mut second = hosts[0].clone();
        second.as_object_mut().unwrap().remove("retry_policy");
        hosts.push(second);
    }));
    assert!(!has_mistake(&|tree| {
        tree["static_resources"]["listeners"][1]
            .as_object_mut()
            .unwrap()
            .remove("per_connection_buffer_limit_bytes");
        tree.pointer_mut(INNER).unwrap()["codec_type"] = json!("AUTO");
    }));
    assert!(!has_mistake(&|tree| {
        let tunnel = json!({"typed_config": {"@type": "x/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "cluster": "loop"}});
        tree["static_resources"]["listeners"][0]["filter_chains"][0]["filters"] = json!([tunnel]);
    }));
}
