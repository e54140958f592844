//! The folder of a gateway in Kubernetes: a base for kustomize, or a chart for Helm.
//!
//! Both are made of the same templates (`both`). What differs, such as names and values, fills the same places (`fill`). The
//! Envoy file and the filter's configuration are those of a `live` folder.

mod fill;
mod helm;
mod kustomize;
mod mesh;
mod parts;

use super::description::{Description, Kubernetes, Manifests};
use super::files::NewFile;
pub use mesh::istio::is_of_proxy;
pub use parts::{KEYS_SECRET, usual_module_image};

/// All files of the folder.
pub fn files(description: &Description, kubernetes: &Kubernetes) -> Vec<NewFile> {
    match kubernetes.manifests {
        Manifests::Kustomize => kustomize::files(description, kubernetes),
        Manifests::Helm => helm::files(description, kubernetes),
        Manifests::IstioSidecar | Manifests::IstioGateway => mesh::istio::files(description, kubernetes),
        Manifests::EnvoyGateway => mesh::envoy_gateway::files(description, kubernetes),
    }
}
