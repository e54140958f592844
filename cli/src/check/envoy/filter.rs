//! How Envoy runs the filter.

use super::Subject;
use crate::check::finding::Finding;

/// Settings of the Wasm filter without which requests hang or stay lost.
pub(super) fn findings(subject: Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for position in subject.positions {
        let plugin = position.plugin;
        if !plugin.may_hold_headers {
            let problem = "without this switch every request hangs, because the filter holds headers until it has read the body";
            let path = format!("{}.allow_on_headers_stop_iteration", plugin.path);
            findings.push(Finding::mistake(path, problem).write("allow_on_headers_stop_iteration: true"));
        }
        if plugin.failure_policy.as_deref() != Some("FAIL_RELOAD") {
            let problem = "after a crash of the filter's VM, its worker serves nothing until Envoy restarts";
            let path = format!("{}.failure_policy", plugin.path);
            findings.push(Finding::warning(path, problem).write("failure_policy: FAIL_RELOAD"));
        }
    }
    findings
}
