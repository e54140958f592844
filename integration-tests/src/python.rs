//! Runs a Python script with the vendors' own SDKs (`make setup` installs them).

use std::path::Path;

use tokio::process::Command;

use crate::paths;
pub use crate::script::Output;

/// Runs a script (a path in `integration-tests/python/`) with these environment variables and without other variables
/// that an SDK reads.
///
/// # Panics
/// If Python is missing, or if the script runs longer than [`crate::script::TIME_LIMIT`] and is killed.
pub async fn run(script: impl AsRef<Path>, env: &[(&str, &str)]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
    let mut command = Command::new(paths::python());
    command.arg("-u").arg(script).env("PYTHONDONTWRITEBYTECODE", "1");
    crate::script::run(command, env).await
}
