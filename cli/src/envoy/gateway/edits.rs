//! Edits by hand that Envoy Gateway accepts without a word and that take something away: a policy for another gateway, a patch of
//! something that does not exist, a header that clients could forge.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{ADDITIONS, EDGE, EXTENSION, HOSTS, MANAGERS, OBJECTS, PLUGINS, ROUTES, TRAFFIC, bounded_yaml};

const KUSTOMIZATION: &str = "kustomization.yaml";
const INNER_KUSTOMIZATION: &str = "gateway/kustomization.yaml";
/// The component with Envoy Gateway's other names.
const NAMES_V2: &str = "components/xds-names-v2/kustomization.yaml";

const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTE_TABLE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

/// Headers that the filter and its routes believe.
const BELIEVED: [&str; 3] = ["x-llm-cluster", "x-llm-strip-cluster", "x-envoy-attempt-count"];
/// Another one, that only the retry loop has.
const BELIEVED_IN_LOOP: &str = "x-llm-journey";

type Read<'r> = &'r dyn Fn(&str) -> Result<Value, String>;

/// The gateway of the folder.
struct Gateway {
    name: String,
    /// The namespaces that it may be in.
    namespaces: Vec<String>,
    listeners: Vec<Value>,
}

/// # Errors
/// Each mistake, on a line of its own.
pub fn check(read: Read<'_>) -> Result<(), String> {
    let mut mistakes = Vec::new();
    let objects = read(OBJECTS)?;
    let objects = objects.as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(gateway) = objects.iter().find(|object| object["kind"] == "Gateway") else {
        return Err(format!("{OBJECTS}: has no Gateway"));
    };
    let outer = read(KUSTOMIZATION)?;
    if !outer["namespace"].is_null() {
        mistakes.push(format!(
            "{KUSTOMIZATION}: namespace: must not be here, because the ConfigMap would get it, too; \
             write it into {INNER_KUSTOMIZATION}"
        ));
    }
    let inner = read(INNER_KUSTOMIZATION)?;
    let namespaces = [&inner["namespace"], &gateway["metadata"]["namespace"]];
    let gateway = Gateway {
        name: text(&gateway["metadata"]["name"]).to_owned(),
        namespaces: namespaces.into_iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        listeners: gateway["spec"]["listeners"].as_array().cloned().unwrap_or_default(),
    };
    let is_in_loop = read(EXTENSION)?.is_null();
    mistakes.extend(of_traffic(&read(TRAFFIC)?, &gateway, is_in_loop));
    for file in [ADDITIONS, EDGE] {
        mistakes.extend(of_policy(file, &read(file)?, &gateway));
    }
    mistakes.extend(of_edge(&read(EDGE)?, &outer, read, &gateway)?);
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes.join("\n")) }
}

/// The policy for clients.
fn of_traffic(policy: &Value, gateway: &Gateway, is_in_loop: bool) -> Vec<String> {
    if policy.is_null() {
        return vec![format!("{TRAFFIC}: is missing")];
    }
    let spec = &policy["spec"];
    let mut mistakes = Vec::new();
    let targets = spec["targetRefs"].as_array();
    if !targets.into_iter().flatten().any(|target| gateway.is_target(target)) {
        mistakes.push(format!("{TRAFFIC}: spec.targetRefs: must name the Gateway `{}`", gateway.name));
    }
    let removed = spec["headers"]["earlyRequestHeaders"]["remove"].as_array();
    let removed: BTreeSet<_> =
        removed.into_iter().flatten().map(|name| text(name).to_ascii_lowercase()).collect();
    let believed = BELIEVED.into_iter().chain(is_in_loop.then_some(BELIEVED_IN_LOOP));
    let forgeable: Vec<_> = believed.filter(|name| !removed.contains(*name)).collect();
    if !forgeable.is_empty() {
        mistakes.push(format!(
            "{TRAFFIC}: spec.headers.earlyRequestHeaders.remove: lacks {}, so clients can forge what the filter believes",
            forgeable.join(", ")
        ));
    }
    mistakes
}

/// The head of a patch policy.
fn of_policy(file: &str, policy: &Value, gateway: &Gateway) -> Vec<String> {
    if policy.is_null() {
        return vec![format!("{file}: is missing")];
    }
    let spec = &policy["spec"];
    let mut mistakes = Vec::new();
    if spec["type"] != "JSONPatch" {
        mistakes.push(format!("{file}: spec.type: must be JSONPatch"));
    }
    if !gateway.is_target(&spec["targetRef"]) {
        mistakes.push(format!("{file}: spec.targetRef: must name the Gateway `{}`", gateway.name));
    }
    mistakes
}

/// The patches of what Envoy Gateway makes. One that finds nothing is left out.
fn of_edge(policy: &Value, outer: &Value, read: Read<'_>, gateway: &Gateway) -> Result<Vec<String>, String> {
    let mut mistakes = Vec::new();
    let renamed = renamed(outer, read)?;
    for (number, patch) in policy["spec"]["jsonPatches"].as_array().into_iter().flatten().enumerate() {
        let at = format!("spec.jsonPatches[{number}]");
        let (places, is_listener) = match text(&patch["type"]) {
            LISTENER => ([MANAGERS, PLUGINS], true),
            ROUTE_TABLE => ([HOSTS, ROUTES], false),
            _ => {
                mistakes.push(format!("{EDGE}: {at}.type: must be {LISTENER} or {ROUTE_TABLE}"));
                continue;
            }
        };
        let place = &patch["operation"]["jsonPath"];
        if !places.contains(&text(place)) {
            let [one, other] = places;
            mistakes.push(format!("{EDGE}: {at}.operation.jsonPath: must be {one} or {other}"));
        }
        // With the other names the component replaces each name, by its number.
        let (name, file, at, expected) = match &renamed {
            Some(names) => {
                let path = format!("/spec/jsonPatches/{number}/name");
                let name = names.iter().find(|change| change["path"] == path.as_str());
                (name.map_or(&Value::Null, |it| &it["value"]), NAMES_V2, path, gateway.v2(is_listener))
            }
            None => (
                &patch["name"],
                EDGE,
                format!("{at}.name"),
                gateway.v1().chain(gateway.v2(is_listener)).collect(),
            ),
        };
        if !expected.iter().any(|expected| expected == text(name)) {
            mistakes.push(format!("{file}: {at}: must be {}", expected.join(" or ")));
        }
    }
    Ok(mistakes)
}

/// The changes of names that the component for the other names makes, if the folder uses it.
fn renamed(outer: &Value, read: Read<'_>) -> Result<Option<Vec<Value>>, String> {
    let components = outer["components"].as_array();
    let is_used =
        |name: &Value| NAMES_V2.strip_suffix("/kustomization.yaml") == Some(text(name).trim_end_matches('/'));
    if !components.into_iter().flatten().any(is_used) {
        return Ok(None);
    }
    let component = read(NAMES_V2)?;
    let patch = bounded_yaml::parse(text(&component["patches"][0]["patch"]))
        .map_err(|problem| format!("{NAMES_V2}: patches[0].patch: {problem}"))?;
    Ok(Some(patch.as_array().cloned().unwrap_or_default()))
}

impl Gateway {
    fn is_target(&self, target: &Value) -> bool {
        let section = &target["sectionName"];
        target["kind"] == "Gateway"
            && target["name"] == self.name.as_str()
            && (section.is_null() || self.listeners.iter().any(|listener| listener["name"] == *section))
    }

    /// The names that Envoy Gateway gives to listeners and their routes by default.
    fn v1(&self) -> impl Iterator<Item = String> {
        let names = self.listeners.iter().map(|listener| text(&listener["name"]));
        names.flat_map(move |listener| {
            let in_each = self.namespaces.iter();
            in_each.map(move |namespace| format!("{namespace}/{}/{listener}", self.name))
        })
    }

    /// The names that it gives with XDSNameSchemeV2.
    fn v2(&self, is_listener: bool) -> Vec<String> {
        let name = |listener: &Value| {
            let port = &listener["port"];
            match (is_listener, text(&listener["protocol"])) {
                (true, _) => vec![format!("tcp-{port}")],
                (false, "HTTP") => vec![format!("http-{port}")],
                (false, _) => {
                    self.v1().filter(|it| it.ends_with(&format!("/{}", text(&listener["name"])))).collect()
                }
            }
        };
        self.listeners.iter().flat_map(name).collect()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests;
