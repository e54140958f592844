//! The clocks of one Envoy, which a test can step. A small library that is preloaded into Envoy adds the steps.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::gateway::Gateway;
use crate::paths;

/// The clocks of one Envoy.
pub struct SteppedClock {
    folder: TempDir,
    steps: File,
}

impl SteppedClock {
    /// Clocks that are right. It compiles the library.
    ///
    /// # Panics
    /// If there is no C compiler, which Rust needs, too.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let source = paths::root().join("integration-tests/src/step_clock.c");
        let compiler = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(folder.path().join("step_clock.so"))
            .arg(source)
            .output()
            .expect("a C compiler");
        assert!(compiler.status.success(), "{}", String::from_utf8_lossy(&compiler.stderr));
        let name = folder.path().join("steps");
        fs::write(&name, [0; 16]).expect("a file");
        let steps = OpenOptions::new().write(true).open(name).expect("the same file");
        Self { folder, steps }
    }

    /// The gateway with these clocks.
    #[must_use]
    pub fn of(&self, gateway: Gateway) -> Gateway {
        let path = |name: &str| -> PathBuf { self.folder.path().join(name) };
        gateway
            .env("LD_PRELOAD", &path("step_clock.so").to_string_lossy())
            .env("CLOCK_STEPS", &path("steps").to_string_lossy())
    }

    /// From now on the wall clock is off by so many seconds, as if somebody had set it.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn set_wall(&self, seconds: i64) {
        self.steps.write_all_at(&(seconds * 1_000_000_000).to_ne_bytes(), 0).expect("the step is written");
    }

    /// Both clocks step forward, as a process sees it that was stopped for so long.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn miss(&self, seconds: i64) {
        let step = (seconds * 1_000_000_000).to_ne_bytes();
        self.steps.write_all_at(&[step, step].concat(), 0).expect("the steps are written");
    }
}

impl Default for SteppedClock {
    fn default() -> Self {
        Self::new()
    }
}
