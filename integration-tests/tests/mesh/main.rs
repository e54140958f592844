//! The real control planes, with stock Envoy. `scripts/test-mesh.sh` runs them in a network of their own, because control planes
//! and their proxies have fixed ports. Nothing else is in that network, so tests use these ports, too.

mod istio;
mod istiod;
mod kubernetes_api;
mod process;
mod proxy;
mod rate_limit;

use std::path::PathBuf;

use integration_tests::paths;
use tokio::sync::{Mutex, MutexGuard};

static NETWORK: Mutex<()> = Mutex::const_new(());

/// Waits for the network, in which one control plane can run at a time.
///
/// # Panics
/// If this is not the network of `scripts/test-mesh.sh`.
async fn network() -> MutexGuard<'static, ()> {
    let is_own = std::env::var_os("LLM_FAILSAFE_MESH_NETWORK").is_some();
    assert!(is_own, "these tests need a network of their own. Run: scripts/test-mesh.sh");
    NETWORK.lock().await
}

/// A program or a file of the control planes.
///
/// # Panics
/// If it does not exist.
fn tool(name: &str) -> PathBuf {
    let path = paths::root().join(".tools/mesh").join(name);
    assert!(path.is_file(), "{} is missing. Run: scripts/setup.sh mesh", path.display());
    path
}
