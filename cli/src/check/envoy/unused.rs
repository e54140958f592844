//! What a running Envoy says about its configuration.

use super::Subject;
use crate::check::finding::Finding;

/// Updates that Envoy has refused, and listeners that wait.
pub(super) fn findings(Subject { file, .. }: Subject<'_>) -> Vec<Finding> {
    file.unused.iter().map(|unused| Finding::mistake(&unused.path, &unused.problem)).collect()
}
