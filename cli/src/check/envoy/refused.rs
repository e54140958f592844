//! What a running Envoy says about its configuration.

use super::Subject;
use crate::check::finding::Finding;

/// Updates that Envoy has refused.
pub(super) fn findings(Subject { file, .. }: Subject<'_>) -> Vec<Finding> {
    let found = file.refused.iter().map(|refused| {
        let problem =
            format!("Envoy has refused this update and keeps what it had before: {}", refused.problem);
        Finding::mistake(&refused.path, problem)
    });
    found.collect()
}
