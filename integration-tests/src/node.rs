//! Runs a script for Node with Vercel's AI SDK and LangChain (`scripts/setup.sh node` installs them).

use std::path::Path;

use tokio::process::Command;

pub use crate::script::Output;
use crate::tools;

/// Runs a script (a path in `integration-tests/node/`) with these arguments and environment variables and without other
/// variables that an SDK reads. `None` if this machine cannot have the packages.
///
/// # Panics
/// If the packages are missing and `LLM_FAILSAFE_WITHOUT` does not name them, or if the script runs longer than
/// [`crate::script::TIME_LIMIT`] and is killed.
pub async fn run(script: &str, arguments: &[&str], env: &[(&str, &str)]) -> Option<Output> {
    let packages = tools::node_packages()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("node").join(script);
    let mut command = Command::new("node");
    command.arg(script).args(arguments).env("LLM_FAILSAFE_NODE_PACKAGES", packages);
    Some(crate::script::run(command, env).await)
}
