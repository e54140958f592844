//! Reads a configuration from a file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use llm_failsafe::config::{self, Config};
use serde_json::Value;

use crate::bounded_yaml;
use crate::envoy::{self, Dump, Envoy, istio};

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

const NO_FILTER: &str = "this dump has no Wasm filter with an llm-failsafe configuration, so what adds it was not applied, or was refused:";
/// The most listeners that are named.
const MAX_NAMES: usize = 10;

/// What stands for standard input, as for many programs.
const STANDARD_INPUT: &str = "-";

/// The Envoy file in the folder of a gateway.
const ENVOY_FILE: &str = "envoy.yaml";

/// Reads the configuration in `path`: JSON, YAML, an `envoy.yaml` that contains it or names its file, a folder with such an
/// `envoy.yaml` or with EnvoyFilters for Istio, or a configuration dump.
///
/// # Errors
/// The file cannot be read, or every mistake in the configuration.
pub fn load(path: &Path) -> Result<Loaded, String> {
    let inside = path.join(ENVOY_FILE);
    let (bytes, envoy, place) = if path.join(istio::PLUMBING).is_file() {
        in_istio(path)?
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

/// The plugin's configuration as JSON text. JSON input is passed on unchanged, so that the filter can report mistakes that
/// parsing would hide, such as a duplicate name. With it come the facts in the Envoy file that contains it.
fn plugin(text: &str, path: &Path) -> Result<(String, Option<Envoy>, PathBuf), String> {
    let is_json = text.trim_start().starts_with('{') && serde_json::from_str::<Value>(text).is_ok();
    let mut tree: Value = if is_json {
        serde_json::from_str(text).map_err(|error| format!("{}: {error}", path.display()))?
    } else {
        parsed(text, path)?
    };
    let dumps = envoy::dumps(&tree);
    if !dumps.is_empty() {
        return in_dump(dumps, path);
    }
    if !Envoy::is_one(&tree) {
        return Ok((if is_json { text.to_owned() } else { tree.to_string() }, None, path.to_owned()));
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
    Ok((the_only(&found, path)?.to_owned(), Some(Envoy::read(&tree)), place))
}

/// The dump with the filter.
fn in_dump(dumps: Vec<Dump>, path: &Path) -> Result<(String, Option<Envoy>, PathBuf), String> {
    let mut with_filter = Vec::new();
    let mut others = String::new();
    for mut dump in dumps {
        envoy::follow(&mut dump.file, &|name| watched(path, name))?;
        let mut found = Vec::new();
        collect(&dump.file, &mut found);
        let envoy = Envoy::read_dump(dump);
        if found.is_empty() {
            others.push_str(&without_filter(&envoy));
        } else {
            with_filter.push((envoy, found));
        }
    }
    let Some((envoy, found)) = with_filter.pop() else {
        return Err(format!("{}: {NO_FILTER}{others}", path.display()));
    };
    if !with_filter.is_empty() {
        return Err(format!("{}: several gateways in it have the filter. Dump one of them", path.display()));
    }
    Ok((the_only(&found, path)?.to_owned(), Some(envoy), path.to_owned()))
}

/// What an Envoy without the filter has, and what may be the reason.
fn without_filter(envoy: &Envoy) -> String {
    let names: Vec<_> =
        envoy.listeners.iter().take(MAX_NAMES).map(|listener| format!("`{}`", listener.name)).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let more = if envoy.listeners.len() > MAX_NAMES { ", …" } else { "" };
    let mut text = format!("\n  its listeners: {names}{more}");
    for (cluster, listener) in envoy.dead_ends() {
        let line = format!(
            "\n  its cluster `{}` leads to the listener `{listener}`, which does not exist",
            cluster.name
        );
        text.push_str(&line);
    }
    for refused in &envoy.refused {
        text.push_str(&format!("\n  {}: Envoy has refused an update: {}", refused.path, refused.problem));
    }
    text
}

fn the_only<'f>(found: &'f [String], path: &Path) -> Result<&'f str, String> {
    match found {
        [first, others @ ..] if others.iter().all(|other| other == first) => Ok(first),
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

/// The same in a folder with EnvoyFilters.
fn in_istio(folder: &Path) -> Result<(String, Option<Envoy>, PathBuf), String> {
    let file = |name: &str| parsed(&read(&folder.join(name))?, &folder.join(name));
    let tree = istio::tree(&file(istio::PLUMBING)?, &file(istio::POLICY)?)
        .map_err(|problem| format!("{}: {problem}", folder.display()))?;
    let (mut found, place) = (Vec::new(), folder.join(istio::POLICY));
    collect(&tree, &mut found);
    match found.pop() {
        Some(configuration) => Ok((configuration, Some(Envoy::read(&tree)), place)),
        None => {
            Err(format!("{}: contains no Wasm filter with an llm-failsafe configuration", place.display()))
        }
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
