//! The routes to the providers: whether they lead to the cluster that the filter names, and do what the filter leaves to them
//! (`route_strips_headers`).

use llm_failsafe::intake::{ACCEPTED_ENCODING, STRIPPED_BY_ROUTE, STRIPPING_CLUSTER_HEADER, StrippedBy};

use super::Subject;
use super::retry_loop::reads_header;
use crate::check::finding::Finding;
use crate::envoy::{Addition, Position, To};

/// Routes that would show private headers to a provider, and connection managers without a route for the filter's requests.
pub(super) fn findings(subject: Subject<'_>) -> Vec<Finding> {
    subject.positions.iter().flat_map(position_findings).collect()
}

fn position_findings(position: &Position<'_>) -> Vec<Finding> {
    let (manager, plugin) = (position.manager, position.plugin);
    let name = &manager.name;
    // Routes that Envoy gets from elsewhere cannot be seen here.
    let Some(table) = &manager.routes else {
        let problem = format!("the routes of `{name}` are not in this file; Envoy gets them from elsewhere");
        return vec![Finding::unknown(format!("{}.route_config", manager.path), problem)];
    };
    let path = format!("{}.route_config.virtual_hosts", manager.path);
    if !plugin.has("route_strips_headers") {
        let header = StrippedBy::Filter.cluster_header();
        let problem =
            format!("no route of `{name}` reads the cluster from {header}, so the filter cannot choose it");
        return if reads_header(manager, header) {
            Vec::new()
        } else {
            vec![Finding::warning(path, problem).write(format!(
                "- {{ match: {{ prefix: / }}, route: {{ cluster_header: {header}, timeout: 0s }} }}"
            ))]
        };
    }
    let mut findings = Vec::new();
    if !reads_header(manager, STRIPPING_CLUSTER_HEADER) {
        let problem = format!(
            "no route of `{name}` reads {STRIPPING_CLUSTER_HEADER}, which `route_strips_headers` needs"
        );
        findings.push(Finding::mistake(path, problem).write("route_strips_headers: false"));
    }
    for host in &table.hosts {
        let stripping = To::Header(STRIPPING_CLUSTER_HEADER.to_owned());
        for route in host.routes.iter().filter(|route| route.to == stripping) {
            let levels = [&table.edits, &host.edits, &route.edits];
            let removes = |name: &str| levels.iter().any(|level| level.removes.iter().any(|it| it == name));
            let all = STRIPPED_BY_ROUTE.into_iter().chain([STRIPPING_CLUSTER_HEADER]);
            for header in all.filter(|header| !removes(header)) {
                let problem = format!(
                    "this route of `{name}` reads {STRIPPING_CLUSTER_HEADER}, so it must remove {header}"
                );
                let path = format!("{}.request_headers_to_remove", route.path);
                findings.push(Finding::mistake(path, problem).write(format!("- {header}")));
            }
            if !levels.iter().flat_map(|level| &level.adds).any(forbids_compression) {
                let problem = format!(
                    "this route of `{name}` reads {STRIPPING_CLUSTER_HEADER}, so it must set accept-encoding to {ACCEPTED_ENCODING}"
                );
                let path = format!("{}.request_headers_to_add", route.path);
                let line = format!(
                    "- {{ header: {{ key: accept-encoding, value: {ACCEPTED_ENCODING} }}, append_action: OVERWRITE_IF_EXISTS_OR_ADD }}"
                );
                findings.push(Finding::mistake(path, problem).write(line));
            }
        }
    }
    findings
}

fn forbids_compression(addition: &Addition) -> bool {
    addition.name == "accept-encoding" && addition.value == ACCEPTED_ENCODING && addition.replaces
}
