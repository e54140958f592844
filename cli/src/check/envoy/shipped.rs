//! What a control plane has dropped: settings that the shipped Envoy file has in the same place.
//!
//! Other rules know what each setting is for. This one knows none of them, so it misses nothing. It reads only dumps, because
//! who writes an Envoy file decides what is in it.

use super::Subject;
use crate::check::finding::Finding;
use crate::envoy::{Address, Envoy, Listener, Manager, Position, Way};

const LOOP: &str = include_str!("../../../../envoy/envoy.yaml");
const SINGLE: &str = include_str!("../../../../envoy/single.yaml");

/// What has other names and other content in every gateway, and what control planes do themselves. A setting stands for
/// all that is inside.
const OWN: [&str; 16] = [
    "access_log",
    "address",
    "alt_stat_name",
    "codec_type",
    "cluster",
    "domains",
    "filter_chains",
    "http_filters",
    "listener_filters",
    "load_assignment",
    "name",
    "route_config",
    "routes",
    "stat_prefix",
    "type",
    "typed_per_filter_config",
];

pub(super) fn findings(subject: Subject<'_>) -> Vec<Finding> {
    let loops = |position: &Position<'_>| position.plugin.has("retry_loop");
    let Some(position) = subject.positions.first().filter(|_| subject.file.is_made) else {
        return Vec::new();
    };
    let text = if loops(position) { LOOP } else { SINGLE };
    let Ok(tree) = serde_yaml_ng::from_str::<serde_json::Value>(text) else { return Vec::new() };
    let shipped = Envoy::read(&tree);
    let positions = shipped.positions();
    let Some(expected) = positions.first() else { return Vec::new() };
    let mut findings = Vec::new();
    findings.extend(managers(position.manager, expected.manager));
    findings.extend(listeners(position.listener, expected.listener));
    if let (Some(way), Some(expected)) = (position.ways.first(), expected.ways.first()) {
        findings.extend(ways(way, expected));
    }
    findings
}

/// That of clients is the control plane's own.
fn listeners(actual: &Listener, expected: &Listener) -> Option<Finding> {
    let is_internal = actual.address == Address::Internal;
    dropped(&actual.path, &actual.settings, &expected.settings).filter(|_| is_internal)
}

fn managers(actual: &Manager, expected: &Manager) -> Option<Finding> {
    dropped(&actual.path, &actual.settings, &expected.settings)
}

fn ways(actual: &Way<'_>, expected: &Way<'_>) -> Vec<Finding> {
    // A route may have what its virtual host has in the shipped file, such as the retry policy.
    let of_host = [actual.host.settings.as_slice(), &actual.route.settings].concat();
    let all = [
        managers(actual.manager, expected.manager),
        dropped(&actual.host.path, &of_host, &expected.host.settings),
        dropped(&format!("{}.route", actual.route.path), &actual.route.settings, &expected.route.settings),
        dropped(&actual.cluster.path, &actual.cluster.settings, &expected.cluster.settings),
        fewer_routes(actual, expected),
        kept_headers(actual.manager, expected.manager),
    ];
    all.into_iter().flatten().collect()
}

/// The shipped edge refuses some requests before the way to the filter.
fn fewer_routes(actual: &Way<'_>, expected: &Way<'_>) -> Option<Finding> {
    (actual.host.routes.len() < expected.host.routes.len()).then(|| {
        let problem = format!(
            "has {} routes, and that of the shipped envoy/envoy.yaml has {}",
            actual.host.routes.len(),
            expected.host.routes.len()
        );
        Finding::warning(format!("{}.routes", actual.host.path), problem)
    })
}

/// Headers that only the edge and the filter may set.
fn kept_headers(actual: &Manager, expected: &Manager) -> Option<Finding> {
    let kept = expected.removes.iter().filter(|name| !actual.removes.contains(name));
    let kept: Vec<_> = kept.map(|name| format!("`{name}`")).collect();
    (!kept.is_empty()).then(|| {
        let problem = format!("does not remove these headers of clients: {}", kept.join(", "));
        Finding::warning(format!("{}.early_header_mutation_extensions", actual.path), problem)
    })
}

fn dropped(path: &str, actual: &[String], expected: &[String]) -> Option<Finding> {
    let is_own = |setting: &str| setting.split('.').any(|part| OWN.contains(&part));
    let missing = |setting: &&String| !is_own(setting) && !actual.contains(setting);
    let all: Vec<_> = expected.iter().filter(missing).collect();
    // Where a setting is missing, so is all inside.
    let is_inside = |setting: &str| {
        all.iter().any(|it| setting.strip_prefix(it.as_str()).is_some_and(|rest| rest.starts_with('.')))
    };
    let mut names: Vec<_> = all.iter().filter(|it| !is_inside(it)).map(|it| format!("`{it}`")).collect();
    names.sort_unstable();
    (!names.is_empty()).then(|| {
        let problem = format!("lacks what the shipped envoy/envoy.yaml has here: {}", names.join(", "));
        Finding::warning(path, problem)
    })
}
