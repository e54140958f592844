//! Programs that tests use and that not every machine has. If one is missing, its tests fail and say how to get it, unless
//! `LLM_FAILSAFE_WITHOUT` names it. `scripts/test.sh` sets that variable if set-up could not get the program.

use std::path::PathBuf;
use std::process::Command;

use crate::paths;

/// Chromium's driver: `CHROMEDRIVER`, or Debian's.
///
/// # Panics
/// If it is missing and `LLM_FAILSAFE_WITHOUT` does not name it.
pub fn chromedriver() -> Option<PathBuf> {
    let places = [PathBuf::from("/usr/bin/chromedriver")];
    tool("chromium", "CHROMEDRIVER", &places)
}

/// Prometheus: `PROMETHEUS_BIN`, what set-up fetched, or the one that is installed.
///
/// # Panics
/// As [`chromedriver`].
pub fn prometheus() -> Option<PathBuf> {
    let places =
        [paths::root().join(".tools/prometheus/usr/bin/prometheus"), PathBuf::from("/usr/bin/prometheus")];
    tool("prometheus", "PROMETHEUS_BIN", &places)
}

/// Prometheus' tool for checking rules: `PROMTOOL_BIN`, what set-up fetched, or the one that is installed.
///
/// # Panics
/// As [`chromedriver`].
pub fn promtool() -> Option<PathBuf> {
    let places =
        [paths::root().join(".tools/prometheus/usr/bin/promtool"), PathBuf::from("/usr/bin/promtool")];
    tool("prometheus", "PROMTOOL_BIN", &places)
}

/// The folder with the clients for Node: `LLM_FAILSAFE_NODE_PACKAGES`, or what set-up fetched.
///
/// # Panics
/// As [`chromedriver`].
pub fn node_packages() -> Option<PathBuf> {
    let places = [paths::root().join(".tools/node/package.json")];
    let own = std::env::var_os("LLM_FAILSAFE_NODE_PACKAGES").filter(|path| !path.is_empty());
    let own = own.map(|path| PathBuf::from(path).join("package.json"));
    let found = own.iter().chain(&places).find(|path| path.is_file());
    found_or_excused("node", found.and_then(|path| path.parent()).map(PathBuf::from))
}

/// A compose client: Docker's, or the standalone one, which needs no Docker to read a file.
///
/// # Panics
/// As [`chromedriver`].
pub fn compose() -> Option<Command> {
    let client = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments);
        command
    };
    let clients = [("docker", ["compose"].as_slice()), ("docker-compose", &[])];
    let works = |(program, arguments): &(&str, &[&str])| {
        let version = client(program, arguments).arg("version").output();
        version.is_ok_and(|output| output.status.success())
    };
    found_or_excused("compose", clients.into_iter().find(works))
        .map(|(program, arguments)| client(program, arguments))
}

fn tool(name: &str, variable: &str, places: &[PathBuf]) -> Option<PathBuf> {
    let own = std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    let found = own.iter().chain(places).find(|path| path.is_file()).cloned();
    found_or_excused(name, found)
}

fn found_or_excused<T>(name: &str, found: Option<T>) -> Option<T> {
    let may_be_missing = std::env::var("LLM_FAILSAFE_WITHOUT").unwrap_or_default();
    assert!(
        found.is_some() || may_be_missing.split_whitespace().any(|missing| missing == name),
        "{name} is not installed. Run: scripts/setup.sh {name}   (or set LLM_FAILSAFE_WITHOUT={name} to skip its tests)"
    );
    if found.is_none() {
        eprintln!("NOT RUN: {name} is not installed");
    }
    found
}
