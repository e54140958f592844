//! Configuration dumps: what an Envoy has, or what a control plane would give it.
//!
//! Envoy's admin interface and `istioctl proxy-config all -o json` print one dump, `egctl` one for each gateway. A dump becomes
//! the tree of a bootstrap file, with every listener, cluster, route and filter in its place, so that the same rules read both.

use serde_json::{Map, Value, json};

use super::discovery::{self, put_content};
use super::place::{FROM, Place};

/// How Envoy begins to print a resource.
const PRINTED: &str = "goo.gle/debug";
/// The most characters of Envoy's words about a refused update.
const MAX_PROBLEM: usize = 500;

/// A dump, as a bootstrap file.
pub struct Dump {
    /// The file.
    pub file: Value,
    /// What Envoy does not use.
    pub unused: Vec<Unused>,
}

/// Something that Envoy has got and does not use.
#[derive(Debug, PartialEq, Eq)]
pub struct Unused {
    /// Where it is in the dump.
    pub path: String,
    /// Why it is not used.
    pub problem: String,
}

/// The dumps in what a tool has printed.
pub fn dumps(tree: &Value) -> Vec<Dump> {
    let mut found = Vec::new();
    find(&Place::root(tree), &mut found);
    found.iter().map(read).collect()
}

fn find<'t>(place: &Place<'t>, found: &mut Vec<Place<'t>>) {
    let configs = place.field("configs");
    if configs.items().iter().any(|config| config.extension().1.ends_with("ConfigDump")) {
        found.push(configs);
        return;
    }
    place.members().iter().chain(&place.items()).for_each(|inside| find(inside, found));
}

/// The lists of one kind in a dump, and the member of their items that has the resource.
const LISTENERS: [Kind; 2] = [
    Kind { list: "static_listeners", at: &[&["listener"]] },
    // One that waits for what it needs has no active state.
    Kind { list: "dynamic_listeners", at: &[&["active_state", "listener"], &["warming_state", "listener"]] },
];
const CLUSTERS: [Kind; 3] = [
    Kind { list: "static_clusters", at: &[&["cluster"]] },
    Kind { list: "dynamic_active_clusters", at: &[&["cluster"]] },
    Kind { list: "dynamic_warming_clusters", at: &[&["cluster"]] },
];
const ROUTES: [Kind; 1] = [Kind { list: "dynamic_route_configs", at: &[&["route_config"]] }];
const FILTERS: [Kind; 1] = [Kind { list: "ecds_filters", at: &[&["ecds_filter"]] }];

struct Kind {
    list: &'static str,
    /// Where an item has the resource. The first place that exists counts.
    at: &'static [&'static [&'static str]],
}

fn read(configs: &Place<'_>) -> Dump {
    let parts = configs.items();
    let part = |kind: &str| parts.iter().find(|part| part.extension().1 == kind);
    let of = |kind: &str, lists: &[Kind]| {
        part(kind).map(|part| lists.iter().flat_map(|list| resources(part, list)).collect::<Vec<_>>())
    };
    let routes = of("RoutesConfigDump", &ROUTES).unwrap_or_default();
    let filters = of("EcdsConfigDump", &FILTERS).unwrap_or_default();
    let listeners = of("ListenersConfigDump", &LISTENERS);
    let clusters = of("ClustersConfigDump", &CLUSTERS);

    let mut file = match part("BootstrapConfigDump").map(|part| part.field("bootstrap").value()) {
        Some(Value::Object(bootstrap)) => bootstrap.clone(),
        // Nobody knows what this Envoy was started with.
        _ => Map::from_iter([("bootstrap_extensions".to_owned(), internal_listeners())]),
    };
    // The dump has all of them, so they come from nowhere else.
    for name in ["dynamic_resources", "dynamicResources", "static_resources", "staticResources"] {
        file.remove(name);
    }
    let mut elsewhere = Map::new();
    if listeners.is_none() {
        elsewhere.insert("lds_config".to_owned(), json!({}));
    }
    if clusters.is_none() {
        elsewhere.insert("cds_config".to_owned(), json!({}));
    }
    file.insert("dynamic_resources".to_owned(), elsewhere.into());
    let placed = |found: &Option<Vec<Place<'_>>>| -> Vec<_> {
        found.iter().flatten().map(|place| with_path(place.value().clone(), &place.path)).collect()
    };
    let mut listeners = placed(&listeners);
    for listener in &mut listeners {
        put_in(listener, &routes, &filters);
    }
    let resources = json!({"listeners": listeners, "clusters": placed(&clusters)});
    file.insert("static_resources".to_owned(), resources);
    Dump { file: file.into(), unused: parts.iter().flat_map(unused).collect() }
}

fn resources<'t>(part: &Place<'t>, kind: &Kind) -> Vec<Place<'t>> {
    let items = part.field(kind.list).items();
    items.iter().filter_map(|item| kind.at.iter().map(|steps| item.at(steps)).find(Place::exists)).collect()
}

fn internal_listeners() -> Value {
    json!([{"typed_config": {"@type":
        "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"}}])
}

fn with_path(mut value: Value, path: &str) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.insert(FROM.to_owned(), path.into());
    }
    value
}

/// Puts routes and filters in the places where a listener names them.
fn put_in(tree: &mut Value, routes: &[Place<'_>], filters: &[Place<'_>]) {
    let place = Place::root(tree);
    if let Some(name) = discovery::discovered(&place).map(str::to_owned) {
        let is_it = |filter: &&Place<'_>| filter.field("name").text() == Some(&name);
        if let Some(filter) = filters.iter().find(is_it) {
            let config = filter.field("typed_config");
            put_content(tree, &name, config.value(), &config.path);
        }
        return;
    }
    let table = place.at(&["rds", "route_config_name"]).text().map(str::to_owned);
    let known = |name: &String| routes.iter().find(|table| table.field("name").text() == Some(name));
    if let (Some(table), Some(members)) = (table.as_ref().and_then(known), tree.as_object_mut()) {
        let mut content = with_path(table.value().clone(), &table.path);
        // What comes from a server may name clusters that come later.
        if let Some(content) = content.as_object_mut()
            && !content.contains_key("validateClusters")
        {
            content.entry("validate_clusters").or_insert(Value::Bool(false));
        }
        members.insert("route_config".to_owned(), content);
    }
    match tree {
        Value::Object(members) => members.values_mut().for_each(|value| put_in(value, routes, filters)),
        Value::Array(items) => items.iter_mut().for_each(|value| put_in(value, routes, filters)),
        _ => {}
    }
}

/// What a part of the dump says is not used. Envoy has some of it twice.
fn unused(part: &Place<'_>) -> Vec<Unused> {
    let mut found: Vec<Unused> = Vec::new();
    for item in part.members().iter().flat_map(Place::items) {
        let warms = item.field("warming_state");
        let (path, problem) = if let Some(details) = item.at(&["error_state", "details"]).text() {
            let problem = what_is_wrong(details);
            let problem = format!("Envoy has refused this update and keeps what it had before: {problem}");
            (item.field("error_state").path, problem)
        } else if warms.at(&["listener"]).exists() && !item.field("active_state").exists() {
            let name = item.field("name").text().unwrap_or_default();
            let problem = format!(
                "the listener `{name}` is not used yet: it waits for what it needs, such as the filter (ECDS) or its routes (RDS)"
            );
            (warms.path, problem)
        } else {
            continue;
        };
        if found.iter().all(|before| before.problem != problem) {
            found.push(Unused { path, problem });
        }
    }
    found
}

/// Envoy prints the whole resource before or after what is wrong with it.
fn what_is_wrong(details: &str) -> String {
    let mut lines = details.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let line = if first.starts_with(PRINTED) { lines.next_back().unwrap_or_default() } else { first };
    let sentence = line.split(PRINTED).next().unwrap_or_default();
    sentence.trim_matches([':', ' ']).chars().take(MAX_PROBLEM).collect()
}

#[cfg(test)]
#[path = "dump_tests.rs"]
mod tests;
