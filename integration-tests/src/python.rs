//! Runs a Python script with the vendors' own SDKs (`make setup` installs them).

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::paths;

/// How long a script may run. On a busy machine, importing the SDKs alone takes tens of seconds.
pub const TIME_LIMIT: Duration = Duration::from_secs(180);

/// A script's output and result.
#[derive(Clone, Debug)]
pub struct Output {
    /// Whether its exit status was 0.
    pub success: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// The standard output of a script that must have succeeded.
    ///
    /// # Panics
    /// If it failed. Its output is printed.
    pub fn expect_success(self) -> String {
        assert!(self.success, "the script failed\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self.stdout
    }
}

/// Runs a script (a path in `integration-tests/python/`) with these environment variables and without other variables
/// that an SDK reads.
///
/// # Panics
/// If Python is missing, or if the script runs longer than [`TIME_LIMIT`] and is killed.
pub async fn run(script: impl AsRef<Path>, env: &[(&str, &str)]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
    let mut command = tokio::process::Command::new(paths::python());
    command.arg("-u").arg(&script).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy().to_lowercase();
        let leads_elsewhere = name_text.ends_with("_proxy");
        if leads_elsewhere || name_text.starts_with("openai_") || name_text.starts_with("anthropic_") {
            command.env_remove(&name);
        }
    }
    command.env("PYTHONDONTWRITEBYTECODE", "1").envs(env.iter().copied());
    let output = tokio::time::timeout(TIME_LIMIT, command.output())
        .await
        .unwrap_or_else(|_| panic!("{} ran longer than {TIME_LIMIT:?}", script.display()))
        .unwrap_or_else(|error| panic!("{} could not be started: {error}", script.display()));
    Output {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
