//! Reads a configuration from a file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use llm_failsafe::config::{self, Config};
use serde_json::Value;

use crate::bounded_yaml;
use crate::envoy::{self, Envoy, gateway};

/// A valid configuration.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Environment variables that it reads keys from, sorted.
    pub variables: Vec<Variable>,
    /// The Envoy file that contains it.
    pub envoy: Option<Envoy>,
    /// Whether it has one operator's key without a name: `operator: { sha256: … }`.
    pub has_unnamed_operator: bool,
}

/// An environment variable that the configuration reads a key from.
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Whether it has a value here.
    pub is_set: bool,
}

/// The longest file that is read. Configuration dumps of a mesh have some megabytes.
const MAX_FILE: usize = 32 << 20;

/// The Envoy file in the folder of a gateway.
const ENVOY_FILE: &str = "envoy.yaml";

/// Reads the configuration in `path`: JSON, YAML, an `envoy.yaml` that contains it or names its file, or a folder with such an
/// `envoy.yaml` or for Envoy Gateway.
///
/// # Errors
/// The file cannot be read, or every mistake in the configuration.
pub fn load(path: &Path) -> Result<Loaded, String> {
    let inside = path.join(ENVOY_FILE);
    let (bytes, envoy, place) = if path.join(gateway::EDGE).is_file() {
        in_envoy_gateway(path)?
    } else {
        let path = if path.is_dir() { &inside } else { path };
        plugin(&read(path)?, path)?
    };
    let read = RefCell::new(BTreeMap::new());
    let env = |name: &str| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty());
        read.borrow_mut().insert(name.to_owned(), value.is_some());
        // A key need not be set here: only the gateway uses it.
        Some(value.unwrap_or_else(|| "unset".to_owned()))
    };
    let config = config::load(bytes.as_bytes(), &env);
    let config = config.map_err(|mistakes| format!("{}: {mistakes}", place.display()))?;
    let variables = read.into_inner().into_iter().map(|(name, is_set)| Variable { name, is_set }).collect();
    let tree: Value = serde_json::from_str(&bytes).unwrap_or_default();
    let has_unnamed_operator = tree["operator"].get("sha256").is_some();
    Ok(Loaded { config, variables, envoy, has_unnamed_operator })
}

fn read(path: &Path) -> Result<String, String> {
    let at = |problem: &str| format!("{}: {problem}", path.display());
    let file = std::fs::File::open(path).map_err(|error| at(&error.to_string()))?;
    let mut text = String::new();
    let most = u64::try_from(MAX_FILE).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_string(&mut text).map_err(|error| at(&error.to_string()))?;
    if text.len() > MAX_FILE {
        return Err(at(&format!("is longer than {MAX_FILE} bytes")));
    }
    Ok(text)
}

/// A JSON or YAML file.
fn parsed(text: &str, path: &Path) -> Result<Value, String> {
    bounded_yaml::parse(text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The plugin's configuration as JSON text. JSON input is passed on unchanged, so that the filter can report mistakes that
/// parsing would hide, such as a duplicate name. With it come the facts in the Envoy file that contains it.
fn plugin(text: &str, path: &Path) -> Result<(String, Option<Envoy>, PathBuf), String> {
    let is_json = text.trim_start().starts_with('{') && serde_json::from_str::<Value>(text).is_ok();
    let mut tree: Value = if is_json {
        serde_json::from_str(text).map_err(|error| format!("{}: {error}", path.display()))?
    } else {
        parsed(text, path)?
    };
    if !Envoy::is_one(&tree) {
        return Ok((if is_json { text.to_owned() } else { tree.to_string() }, None, path.to_owned()));
    }
    // Envoy looks from the folder that it was started in. Usually that is the one of its file.
    let file_of = |name: &str| {
        let beside = path.parent().map(|folder| folder.join(name)).filter(|path| path.is_file());
        beside.unwrap_or_else(|| name.into())
    };
    let watched = |name: &str| parsed(&read(&file_of(name))?, &file_of(name));
    let mut found = Vec::new();
    collect(&tree, &mut found);
    let is_in_envoy_file = !found.is_empty();
    let files = envoy::follow(&mut tree, &watched)?;
    found.clear();
    collect(&tree, &mut found);
    let place = match files.as_slice() {
        [first, others @ ..] if !is_in_envoy_file && others.iter().all(|other| other == first) => {
            file_of(first)
        }
        _ => path.to_owned(),
    };
    let with_envoy =
        |configuration: &String| Ok((configuration.clone(), Some(Envoy::read(&tree)), place.clone()));
    match found.as_slice() {
        [one] => with_envoy(one),
        [] => Err(format!("{}: contains no Wasm filter with an llm-failsafe configuration", path.display())),
        [first, others @ ..] if others.iter().all(|other| other == first) => with_envoy(first),
        _ => Err(format!("{}: contains several filters with different configurations", path.display())),
    }
}

/// The same in a folder for Envoy Gateway.
fn in_envoy_gateway(folder: &Path) -> Result<(String, Option<Envoy>, PathBuf), String> {
    let file = |name: &str| {
        let path = folder.join(name);
        if path.exists() { parsed(&read(&path)?, &path) } else { Ok(Value::Null) }
    };
    let mut tree = gateway::tree(&file).map_err(|problem| format!("{}: {problem}", folder.display()))?;
    // The folder has the file under another path than the pod.
    let mut place = folder.join(gateway::EXTENSION);
    if !envoy::follow(&mut tree, &|_| file(gateway::FILTER))?.is_empty() {
        place = folder.join(gateway::FILTER);
    }
    let mut found = Vec::new();
    collect(&tree, &mut found);
    match found.as_slice() {
        [one] => Ok((one.clone(), Some(Envoy::read(&tree)), place)),
        _ => Err(format!(
            "{}: contains {} Wasm filters with an llm-failsafe configuration instead of one",
            folder.display(),
            found.len()
        )),
    }
}

/// Collects every plugin `configuration` in an envoy.yaml that has targets.
fn collect(tree: &Value, found: &mut Vec<String>) {
    match tree {
        Value::Object(members) => {
            let configuration = members.get("configuration").filter(|it| it.get("@type").is_some());
            if let Some(value) = configuration.and_then(|configuration| configuration.get("value")) {
                match value {
                    Value::String(text) if text.contains("\"targets\"") => found.push(text.clone()),
                    Value::Object(fields) if fields.contains_key("targets") => found.push(value.to_string()),
                    _ => {}
                }
            }
            members.values().for_each(|member| collect(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_end_is_refused() {
        let problem = read(Path::new("/dev/zero")).unwrap_err();
        assert!(problem.contains("is longer than 33554432 bytes"), "{problem}");
    }
}
