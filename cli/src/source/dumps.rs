//! The filter in a configuration dump.

use std::path::Path;

use super::{Found, collect, the_only, watched};
use crate::envoy::{self, Dump, Envoy};

const NO_FILTER: &str = "this dump has no Wasm filter with an llm-failsafe configuration, so what adds it was not applied, or was refused:";
/// The most listeners that are named.
const MAX_NAMES: usize = 10;

/// The dump with the filter.
pub fn with_filter(dumps: Vec<Dump>, path: &Path) -> Result<Found, String> {
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
    Ok(Found { configuration: the_only(&found, path)?, envoy: Some(envoy), place: path.to_owned() })
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
    for unused in &envoy.unused {
        text.push_str(&format!("\n  {}: {}", unused.path, unused.problem));
    }
    text
}
