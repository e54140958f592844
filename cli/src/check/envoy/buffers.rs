//! How much of a body Envoy buffers, compared with `limits.max_body`.

use super::Subject;
use crate::check::finding::Finding;
use crate::envoy::{DEFAULT_BUFFER_BYTES, Position, Way};

/// The window of an HTTP/2 stream if the file does not say. Older versions of Envoy have a larger one.
const DEFAULT_STREAM_WINDOW: u64 = 16 * 1024 * 1024;

/// Limits below `max_body`.
pub(super) fn findings(subject: Subject<'_>) -> Vec<Finding> {
    let most = subject.config.limits.max_body_bytes;
    let mut findings = Vec::new();
    for position in subject.positions {
        findings.extend(window(position, most));
        if !position.manager.is_http2 {
            findings.extend(held(position, most));
        }
        let ways = position.ways.iter().filter(|way| way.retries_for_the_filter());
        findings.extend(ways.filter_map(|way| kept(way, most)));
    }
    findings
}

/// With HTTP/2 the stream window limits what Envoy holds while the filter reads a body.
fn window(position: &Position<'_>, most: u64) -> Option<Finding> {
    let manager = position.manager;
    let path = format!("{}.http2_protocol_options.initial_stream_window_size", manager.path);
    let line = format!("initial_stream_window_size: {}", with_room(most));
    match manager.stream_window {
        Some(window) if window < most => {
            let problem = refused(window, most);
            Some(Finding::mistake(path, problem).write(line))
        }
        None if manager.is_http2 && DEFAULT_STREAM_WINDOW < most => {
            let problem = format!(
                "Envoy's default depends on its version; with {DEFAULT_STREAM_WINDOW} bytes larger bodies get its plain 413, although \
                 `limits.max_body` allows {most}"
            );
            Some(Finding::warning(path, problem).write(line))
        }
        _ => None,
    }
}

/// With HTTP/1.1 two limits apply, of which the larger one counts.
fn held(position: &Position<'_>, most: u64) -> Option<Finding> {
    let manager = position.manager;
    let hosts = manager.routes.iter().flat_map(|table| &table.hosts);
    let of_routes =
        hosts.flat_map(|host| host.routes.iter().map(|route| route.buffer_bytes.or(host.buffer_bytes)));
    // Each route may have its own; the least of them counts for a rule that holds for all.
    let of_routes = of_routes.map(|limit| limit.unwrap_or(0)).min().unwrap_or(0);
    let of_listener = position.listener.buffer_bytes.unwrap_or(DEFAULT_BUFFER_BYTES);
    let limit = of_routes.max(of_listener);
    (limit < most && manager.routes.is_some()).then(|| {
        let path = format!("{}.per_connection_buffer_limit_bytes", position.listener.path);
        let line = format!("per_connection_buffer_limit_bytes: {}", with_room(most));
        // The cluster in between may speak HTTP/2, and then only the window counts.
        let problem = refused(limit, most);
        let finding = if position.ways.is_empty() {
            Finding::mistake(path, problem)
        } else {
            Finding::warning(path, problem)
        };
        finding.write(line)
    })
}

/// The edge keeps a body for further attempts.
fn kept(way: &Way<'_>, most: u64) -> Option<Finding> {
    let of_listener = way.listener.buffer_bytes.unwrap_or(DEFAULT_BUFFER_BYTES);
    let limit = way.route.buffer_bytes.or(way.host.buffer_bytes).unwrap_or(of_listener);
    (limit < most).then(|| {
        let problem = format!("requests with more than {limit} bytes get no second attempt, although `limits.max_body` allows {most}");
        let path = format!("{}.request_body_buffer_limit", way.host.path);
        Finding::warning(path, problem).write(format!("request_body_buffer_limit: {}", with_room(most)))
    })
}

fn refused(limit: u64, most: u64) -> String {
    format!(
        "bodies with more than {limit} bytes get Envoy's plain 413, although `limits.max_body` allows {most}"
    )
}

/// A limit must exceed `max_body`, so that the filter's own error comes first.
const fn with_room(most: u64) -> u64 {
    most.saturating_add(1024 * 1024)
}
