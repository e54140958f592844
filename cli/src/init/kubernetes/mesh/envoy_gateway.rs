//! Envoy Gateway: a patch policy that only adds plumbing, and the filter in a watched ConfigMap.

use super::super::super::description::{Description, Kubernetes};
use super::super::super::files::NewFile;

/// All files of the folder.
pub fn files(_description: &Description, _kubernetes: &Kubernetes) -> Vec<NewFile> {
    Vec::new()
}
