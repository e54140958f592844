//! A process with its output in a file. It ends when dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use integration_tests::SOON;

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How much of the output is printed when a test fails.
const LINES_SHOWN: usize = 60;

pub struct Process {
    child: Child,
    name: &'static str,
    output: PathBuf,
}

impl Process {
    /// Starts it. Its output goes into this folder.
    pub fn start(name: &'static str, command: &mut Command, folder: &Path) -> Self {
        let output = folder.join(format!("{name}.log"));
        let file = File::create(&output).unwrap();
        let command = command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { child, name, output }
    }

    /// What it has printed.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Its status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until it has ended.
    pub async fn end(&mut self) -> ExitStatus {
        let mut status = None;
        until(&format!("{} has ended", self.name), async || {
            status = self.ended();
            status.is_some()
        })
        .await;
        status.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            // The agent ends its Envoy by itself, but only if it may.
            let id = self.child.id().to_string();
            let children = Command::new("pgrep").args(["-P", &id]).output();
            let children =
                children.map(|it| String::from_utf8_lossy(&it.stdout).into_owned()).unwrap_or_default();
            drop(self.child.kill());
            for child in children.split_whitespace() {
                drop(Command::new("kill").args(["-KILL", child]).status());
            }
        }
        drop(self.child.wait());
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<_> = output.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
            eprintln!(
                "--- {} (last {} of {} lines)\n{}",
                self.name,
                shown.len(),
                lines.len(),
                shown.join("\n")
            );
        }
    }
}

/// Waits until this is so.
///
/// # Panics
/// If that does not happen within [`SOON`].
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
