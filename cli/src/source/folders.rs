//! The filter in a folder that `init` has made for a control plane.

use std::path::Path;

use serde_json::Value;

use super::{Found, collect, parsed, read, the_only};
use crate::envoy::{self, Envoy, gateway, istio};

/// The filter in a folder with EnvoyFilters.
pub fn in_istio(folder: &Path) -> Result<Found, String> {
    let file = |name: &str| parsed(&read(&folder.join(name))?, &folder.join(name));
    let tree = istio::tree(&file(istio::PLUMBING)?, &file(istio::POLICY)?)
        .map_err(|problem| format!("{}: {problem}", folder.display()))?;
    let objects = istio::Objects::read(&|name| {
        let path = folder.join(name);
        if path.exists() { read(&path).map(Some) } else { Ok(None) }
    })?;
    let mistakes = objects.mistakes();
    if !mistakes.is_empty() {
        return Err(format!(
            "{}: the objects for Istio do not fit together:\n  {}",
            folder.display(),
            mistakes.join("\n  ")
        ));
    }
    let (mut found, place) = (Vec::new(), folder.join(istio::POLICY));
    collect(&tree, &mut found);
    let entrance = folder.join(istio::GATEWAY).is_file().then_some("the gateway of Istio");
    let set_elsewhere = objects.variables();
    let envoy = Envoy { is_made: true, entrance, set_elsewhere, ..Envoy::read(&tree) };
    Ok(Found { configuration: the_only(&found, &place)?, envoy: Some(envoy), place })
}

/// The filter in a folder for Envoy Gateway.
pub fn in_envoy_gateway(folder: &Path) -> Result<Found, String> {
    let file = |name: &str| {
        let path = folder.join(name);
        if !path.exists() {
            return Ok(Value::Null);
        }
        gateway::parsed(name, &read(&path)?).map_err(|problem| format!("{}: {problem}", path.display()))
    };
    let mut tree = gateway::tree(&file).map_err(|problem| {
        let lines = problem.lines().map(|line| format!("{}: {line}", folder.display()));
        lines.collect::<Vec<_>>().join("\n")
    })?;
    // The folder has the file under another path than the pod.
    let mut place = folder.join(gateway::EXTENSION);
    if !envoy::follow(&mut tree, &|_| file(gateway::FILTER))?.is_empty() {
        place = folder.join(gateway::FILTER);
    }
    let mut found = Vec::new();
    collect(&tree, &mut found);
    let set_elsewhere = Some(gateway::variables(&file)?);
    let envoy = Envoy { is_made: true, set_elsewhere, ..Envoy::read(&tree) };
    Ok(Found { configuration: the_only(&found, folder)?, envoy: Some(envoy), place })
}
