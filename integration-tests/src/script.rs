//! Runs a script that uses clients as their users do, and keeps what it prints.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

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

    /// The JSON lines that a script printed that must have succeeded.
    ///
    /// # Panics
    /// If it failed, or if a line is not JSON.
    pub fn expect_lines(self) -> Vec<serde_json::Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.expect_success().lines().map(parse).collect()
    }
}

/// Runs a command with these environment variables and without other variables that an SDK reads.
///
/// # Panics
/// If it cannot be started, or if it runs longer than [`TIME_LIMIT`] and is killed. What it had printed is shown.
pub(crate) async fn run(mut command: Command, env: &[(&str, &str)]) -> Output {
    const READ_BY_SDKS: [&str; 4] = ["openai_", "anthropic_", "langsmith_", "langchain_"];
    command.kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy().to_lowercase();
        let leads_elsewhere = name_text.ends_with("_proxy");
        if leads_elsewhere || READ_BY_SDKS.iter().any(|prefix| name_text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command.envs(env.iter().copied());
    let shown = format!("{:?}", command.as_std());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{shown} could not be started: {error}"));
    let stdout = tokio::spawn(read(child.stdout.take()));
    let stderr = tokio::spawn(read(child.stderr.take()));
    let in_time = tokio::time::timeout(TIME_LIMIT, child.wait()).await;
    if in_time.is_err() {
        child.kill().await.unwrap_or_else(|error| panic!("{shown} could not be killed: {error}"));
    }
    let stdout = stdout.await.expect("standard output is read");
    let stderr = stderr.await.expect("standard error is read");
    let status = in_time.unwrap_or_else(|_| {
        panic!("{shown} ran longer than {TIME_LIMIT:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    });
    let success = status.expect("a started process has a status").success();
    Output { success, stdout, stderr }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What came before a broken pipe is shown all the same.
        let _ = pipe.read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
