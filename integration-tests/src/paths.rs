//! The paths of the things under test. Environment variables take precedence over what `make setup build` installs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is a folder of the workspace")
        .to_path_buf()
}

/// The Envoy binary: `ENVOY_BIN`, or the version in `ENVOY_VERSION` or in the file of that name.
///
/// # Panics
/// If there is no such file. The message says what to run.
pub fn envoy() -> PathBuf {
    let default = || root().join(".tools/envoy").join(envoy_version()).join("envoy");
    must_exist(from_env("ENVOY_BIN").unwrap_or_else(default), "Envoy")
}

/// The built filter: `LLM_FAILSAFE_WASM` or `dist/llm_failsafe.wasm`.
///
/// # Panics
/// If there is no such file. The message says what to run.
pub fn wasm() -> PathBuf {
    must_exist(wasm_path(), "the filter's Wasm module")
}

/// As [`wasm`], whether or not it has been built.
pub fn wasm_path() -> PathBuf {
    from_env("LLM_FAILSAFE_WASM").unwrap_or_else(|| root().join("dist/llm_failsafe.wasm"))
}

/// The Python interpreter with the vendors' SDKs: `LLM_FAILSAFE_PYTHON` or `.tools/python/bin/python`.
///
/// # Panics
/// If there is no such file. The message says what to run.
pub fn python() -> PathBuf {
    let default = || root().join(".tools/python/bin/python");
    must_exist(from_env("LLM_FAILSAFE_PYTHON").unwrap_or_else(default), "Python with the SDKs")
}

/// The program `llm-failsafe`: `LLM_FAILSAFE_PROGRAM`, or built beside the tests.
///
/// # Panics
/// If it cannot be built.
pub fn program() -> PathBuf {
    if let Some(path) = from_env("LLM_FAILSAFE_PROGRAM") {
        return must_exist(path, "llm-failsafe");
    }
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let tests = std::env::current_exe().expect("the tests are a program");
            let folder = tests.ancestors().nth(2).expect("cargo puts tests into `deps`").to_path_buf();
            let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            command.current_dir(root()).args([
                "build",
                "-q",
                "-p",
                "llm-failsafe-cli",
                "--bin",
                "llm-failsafe",
            ]);
            if folder.file_name().is_some_and(|profile| profile == "release") {
                command.arg("--release");
            }
            assert!(command.status().expect("cargo runs").success(), "llm-failsafe was not built");
            folder.join("llm-failsafe")
        })
        .clone()
}

fn envoy_version() -> String {
    let pinned =
        || std::fs::read_to_string(root().join("ENVOY_VERSION")).expect("ENVOY_VERSION is in the root");
    let version = std::env::var("ENVOY_VERSION").ok().filter(|version| !version.is_empty());
    version.unwrap_or_else(pinned).trim().to_owned()
}

/// A relative path starts at the repository's root, because cargo runs tests in the folder of their crate.
fn from_env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|path| !path.is_empty()).map(|path| root().join(path))
}

fn must_exist(path: PathBuf, what: &str) -> PathBuf {
    assert!(path.is_file(), "{what} is not at {}. Run: make setup build", path.display());
    path
}
