//! From a file to a configuration.

use std::cell::RefCell;
use std::path::Path;

use llm_failsafe::config::{self, Config};
use serde_json::Value;

/// A configuration that is valid, and what was found on the way.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Variables that it takes keys from and that are not set here.
    pub unset: Vec<String>,
}

/// Reads the configuration in `path`, whichever form it is written in.
///
/// # Errors
/// That the file cannot be read, or every mistake in it.
pub fn load(path: &Path) -> Result<Loaded, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let bytes = plugin(&text, path)?;
    let unset = RefCell::new(Vec::new());
    let env = |name: &str| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty());
        if value.is_none() {
            unset.borrow_mut().push(name.to_owned());
        }
        // Whether the key is there is the gateway's business; here it is enough that it could be.
        Some(value.unwrap_or_else(|| "unset".to_owned()))
    };
    let config = config::load(bytes.as_bytes(), &env);
    let config = config.map_err(|mistakes| format!("{}: {mistakes}", path.display()))?;
    let mut unset = unset.into_inner();
    unset.sort();
    unset.dedup();
    Ok(Loaded { config, unset })
}

/// The plugin's configuration as JSON text. JSON goes on as it is written, so that what the filter says of it (a name that is
/// written twice, say) is said here too.
fn plugin(text: &str, path: &Path) -> Result<String, String> {
    let is_json = text.trim_start().starts_with('{') && serde_json::from_str::<Value>(text).is_ok();
    let tree: Value = if is_json {
        serde_json::from_str(text).map_err(|error| format!("{}: {error}", path.display()))?
    } else {
        serde_yaml_ng::from_str(text).map_err(|error| format!("{}: {error}", path.display()))?
    };
    if tree.get("static_resources").is_none() {
        return Ok(if is_json { text.to_owned() } else { tree.to_string() });
    }
    let mut found = Vec::new();
    collect(&tree, &mut found);
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => {
            Err(format!("{}: no Wasm filter with a configuration of llm-failsafe is in it", path.display()))
        }
        [first, others @ ..] if others.iter().all(|other| other == first) => Ok(first.clone()),
        _ => Err(format!("{}: several filters with different configurations are in it", path.display())),
    }
}

/// What stands as a plugin's `configuration` anywhere in an envoy.yaml and has targets.
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
