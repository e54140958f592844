//! Settings that keep clients apart and the process in bounds. Files from before they existed work without them.

use super::Subject;
use crate::check::finding::Finding;
use crate::envoy::{Address, Listener, Manager, Position};

pub(super) fn findings(Subject { file, positions, .. }: Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for position in positions {
        // A control plane ends its Envoys in a way of its own.
        if !file.is_dump {
            let edges = position.ways.iter().map(|way| way.listener);
            let edges = edges.chain(position.ways.is_empty().then_some(position.listener));
            findings.extend(edges.filter_map(entrance));
        }
        findings.extend(messages(position.manager, position.listener));
        findings.extend(position.ways.iter().filter_map(|way| messages(way.manager, way.listener)));
        findings.extend(reload(position));
    }
    if !positions.is_empty() && !file.has_overload_manager {
        let problem = "nothing bounds Envoy's memory, so the system may end the process";
        findings.push(Finding::warning("overload_manager", problem).write("that of envoy/envoy.yaml"));
    }
    // A listener may be on several ways.
    let mut unique: Vec<Finding> = Vec::new();
    for finding in findings {
        if !unique.contains(&finding) {
            unique.push(finding);
        }
    }
    unique
}

/// Where clients connect.
fn entrance(listener: &Listener) -> Option<Finding> {
    let is_socket = matches!(listener.address, Address::Socket(..));
    (is_socket && !listener.is_inbound).then(|| {
        let problem = "envoy/entrypoint.sh cannot close this listener before Envoy ends, so the last connections are cut";
        Finding::warning(format!("{}.traffic_direction", listener.path), problem).write("traffic_direction: INBOUND")
    })
}

fn messages(manager: &Manager, listener: &Listener) -> Option<Finding> {
    (!manager.bad_messages_end_alone).then(|| {
        let whose = if listener.address == Address::Internal { "other clients" } else { "the same client" };
        let problem = format!(
            "one malformed HTTP/2 request ends the other requests of its connection, those of {whose}"
        );
        let path =
            format!("{}.http2_protocol_options.override_stream_error_on_invalid_http_message", manager.path);
        Finding::warning(path, problem).write("override_stream_error_on_invalid_http_message: true")
    })
}

/// The edge waits a second after a crash before it repeats a request.
fn reload(position: &Position<'_>) -> Option<Finding> {
    let is_repeated =
        position.plugin.has("retry_loop") && position.plugin.failure_policy.as_deref() == Some("FAIL_RELOAD");
    (is_repeated && !position.plugin.has_reload_backoff).then(|| {
        let problem = "after a crash the edge may repeat a request before there can be a new VM";
        Finding::warning(format!("{}.reload_config", position.plugin.path), problem)
            .write("reload_config: { backoff: { base_interval: 0.5s } }")
    })
}
