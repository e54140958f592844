//! Responses of Envoy itself that the filter does not see: a provider that broke off while the filter held its response,
//! and a crash of the filter's VM. Marks on them let the edge repeat the request.

use super::Subject;
use crate::check::finding::Finding;
use crate::envoy::{Position, RETRY_HEADER, Way};

/// Asks the edge to wait, in seconds.
const WAIT_HEADER: &str = "x-llm-retry-wait";
/// The value of the mark after a crash of the VM.
const CRASHED: &str = "crashed";
/// The values of the mark, and what happens without each.
const MARKS: [(&str, &str); 2] = [
    (
        "transport",
        "if a provider breaks off before it answers, its client gets the error and no other target is asked",
    ),
    (CRASHED, "after a crash of the filter's VM no request is repeated"),
];

pub(super) fn findings(Subject { positions, .. }: Subject<'_>) -> Vec<Finding> {
    let loops = positions.iter().filter(|position| position.plugin.has("retry_loop"));
    loops
        .flat_map(|position| {
            let edges: Vec<_> = position.ways.iter().filter(|way| way.retries_for_the_filter()).collect();
            let marks = if edges.is_empty() { None } else { marks(position) };
            marks.into_iter().chain(edges.into_iter().flat_map(|way| edge(position, way)))
        })
        .collect()
}

/// The listener of the filter sets the marks.
fn marks(position: &Position<'_>) -> Option<Finding> {
    let missing: Vec<_> =
        MARKS.iter().filter(|(value, _)| !position.manager.marks(RETRY_HEADER, value)).collect();
    let problem = missing.iter().map(|(_, problem)| *problem).collect::<Vec<_>>().join("; ");
    let values = missing.iter().map(|(value, _)| format!("`{value}`")).collect::<Vec<_>>().join(" and ");
    (!missing.is_empty()).then(|| {
        Finding::warning(format!("{}.local_reply_config", position.manager.path), problem).write(format!(
            "the mappers that set {RETRY_HEADER} to {values}, from the inner listener of envoy/envoy.yaml"
        ))
    })
}

/// The edge follows the marks and keeps them from clients.
fn edge(position: &Position<'_>, way: &Way<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let levels = [&way.table.edits, &way.host.edits, &way.route.edits];
    let removes =
        |name: &str| levels.iter().flat_map(|edits| &edits.response_removes).any(|removed| removed == name);
    let sets_marks = MARKS.iter().any(|(value, _)| position.manager.marks(RETRY_HEADER, value));
    if sets_marks && !(removes(RETRY_HEADER) && removes(WAIT_HEADER)) {
        let problem =
            "clients see the marks for the edge; another gateway between them and this one could follow them";
        let path = format!("{}.response_headers_to_remove", way.host.path);
        findings.push(
            Finding::warning(path, problem)
                .write(format!("response_headers_to_remove: [{RETRY_HEADER}, {WAIT_HEADER}]")),
        );
    }
    let waits = |name: &String| name == WAIT_HEADER;
    if let Some(retry) = way.retry().filter(|retry| !retry.wait_headers.iter().any(waits))
        && position.manager.marks(RETRY_HEADER, CRASHED)
    {
        let problem =
            "after a crash the edge repeats requests before there can be a new VM, so they fail again";
        let path = format!("{}.rate_limited_retry_back_off", retry.path);
        findings.push(Finding::warning(path, problem).write(format!(
            "rate_limited_retry_back_off: {{ reset_headers: [{{ name: {WAIT_HEADER}, format: SECONDS }}], max_interval: 2s }}"
        )));
    }
    findings
}
