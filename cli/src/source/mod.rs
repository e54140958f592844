//! Reads a configuration from a file, from a folder (`folders`) or from what an Envoy or a control plane prints (`dumps`).

mod dumps;
mod folders;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use llm_failsafe::config::{self, Config};
use serde_json::Value;

use crate::bounded_yaml;
use crate::envoy::{self, Envoy, gateway, istio};

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

/// The filter's configuration and what is around it.
struct Found {
    /// The configuration as JSON.
    configuration: String,
    /// The facts about the Envoy that has it.
    envoy: Option<Envoy>,
    /// The file that mistakes in the configuration are in.
    place: PathBuf,
}

/// The longest file that is read. Configuration dumps of a large mesh have tens of megabytes.
const MAX_FILE: usize = 256 << 20;

/// What stands for standard input, as for many programs.
const STANDARD_INPUT: &str = "-";

/// The Envoy file in the folder of a gateway.
const ENVOY_FILE: &str = "envoy.yaml";

/// Reads the configuration in `path`: JSON, YAML, an `envoy.yaml` that contains it or names its file, a folder with such an
/// `envoy.yaml` or with the objects for Istio or Envoy Gateway, or a configuration dump.
///
/// # Errors
/// The file cannot be read, or every mistake in the configuration.
pub fn load(path: &Path) -> Result<Loaded, String> {
    let inside = path.join(ENVOY_FILE);
    let found = if path.join(istio::PLUMBING).is_file() {
        folders::in_istio(path)?
    } else if path.join(gateway::EDGE).is_file() {
        folders::in_envoy_gateway(path)?
    } else {
        let path = if path.is_dir() { &inside } else { path };
        in_file(&read(path)?, path)?
    };
    let Found { configuration: bytes, envoy, place } = found;
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
    let most = u64::try_from(MAX_FILE).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = String::new();
    let input: Box<dyn Read> = if path == Path::new(STANDARD_INPUT) {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(|error| at(&error.to_string()))?)
    };
    input.take(most).read_to_string(&mut text).map_err(|error| at(&error.to_string()))?;
    if text.len() > MAX_FILE {
        return Err(at(&format!("is longer than {MAX_FILE} bytes")));
    }
    Ok(text)
}

/// A JSON or YAML file.
fn parsed(text: &str, path: &Path) -> Result<Value, String> {
    bounded_yaml::parse(text).map_err(|error| format!("{}: {error}", path.display()))
}

/// JSON input is passed on unchanged, so that the filter can report mistakes that parsing would hide, such as a duplicate
/// name.
fn in_file(text: &str, path: &Path) -> Result<Found, String> {
    if text.trim().is_empty() {
        return Err(format!("{}: is empty; did the command before it fail?", path.display()));
    }
    if text.trim_start().starts_with("[{") || text.trim_start().starts_with("[\n") {
        let whole = "istioctl proxy-config all POD -o json";
        return Err(format!(
            "{}: is a list and no whole configuration; `{whole}` prints one",
            path.display()
        ));
    }
    let is_json = text.trim_start().starts_with('{') && serde_json::from_str::<Value>(text).is_ok();
    let mut tree: Value = if is_json {
        serde_json::from_str(text).map_err(|error| format!("{}: {error}", path.display()))?
    } else {
        parsed(text, path)?
    };
    let dumps = envoy::dumps(&tree);
    if !dumps.is_empty() {
        return dumps::with_filter(dumps, path);
    }
    if !Envoy::is_one(&tree) {
        let configuration = if is_json { text.to_owned() } else { tree.to_string() };
        return Ok(Found { configuration, envoy: None, place: path.to_owned() });
    }
    let mut found = Vec::new();
    collect(&tree, &mut found);
    let is_in_envoy_file = !found.is_empty();
    let files = envoy::follow(&mut tree, &|name| watched(path, name))?;
    found.clear();
    collect(&tree, &mut found);
    let place = match files.as_slice() {
        [first, others @ ..] if !is_in_envoy_file && others.iter().all(|other| other == first) => {
            beside(path, first)
        }
        _ => path.to_owned(),
    };
    Ok(Found { configuration: the_only(&found, path)?, envoy: Some(Envoy::read(&tree)), place })
}

/// The configuration that all of them are.
fn the_only(found: &[String], path: &Path) -> Result<String, String> {
    match found {
        [first, others @ ..] if others.iter().all(|other| other == first) => Ok(first.clone()),
        [] => Err(format!("{}: contains no Wasm filter with an llm-failsafe configuration", path.display())),
        _ => Err(format!("{}: contains several filters with different configurations", path.display())),
    }
}

/// A file that Envoy watches.
fn watched(path: &Path, name: &str) -> Result<Value, String> {
    let file = beside(path, name);
    parsed(
        &read(&file)
            .map_err(|problem| format!("{problem}; the filter in {} is in this file", path.display()))?,
        &file,
    )
}

/// Where a file is that Envoy names. Envoy looks from the folder that it was started in, which usually is the one of its file.
/// What is mounted into a pod may be beside a dump of it.
fn beside(path: &Path, name: &str) -> PathBuf {
    let folder = path.parent().unwrap_or(Path::new(""));
    let last = Path::new(name).file_name().map_or_else(PathBuf::new, PathBuf::from);
    let places = [folder.join(name), folder.join(last)];
    places.into_iter().find(|path| path.is_file()).unwrap_or_else(|| name.into())
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
        assert!(problem.contains("is longer than 268435456 bytes"), "{problem}");
    }
}
