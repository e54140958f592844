//! The retry loop: whether the edge makes the attempts that the filter asks for, and tells it which attempt it sees.

use super::Subject;
use crate::check::finding::Finding;
use crate::envoy::{Address, Cluster, Envoy, HTTP_OPTIONS, Manager, Position, RETRY_HEADER, To, Way};
use crate::plural::count;

/// The header with the id of a request, which the edge sets.
const JOURNEY_HEADER: &str = "x-llm-journey";
/// The most retries at the same time in a cluster that does not say.
const DEFAULT_MAX_RETRIES: u64 = 3;
/// The most requests on a connection of the hop. Envoy closes one on which 250 streams were reset early.
const MAX_HOP_REQUESTS: u64 = 249;

/// A loop without `retry_loop`, `retry_loop` without a loop, and a loop that does not do its part.
pub(super) fn findings(subject: Subject<'_>) -> Vec<Finding> {
    let mut findings: Vec<_> =
        subject.positions.iter().flat_map(|position| position_findings(subject, position)).collect();
    findings.extend(dead_ends(subject.file));
    findings.extend(bootstrap(subject.file));
    findings
}

fn position_findings(subject: Subject<'_>, position: &Position<'_>) -> Vec<Finding> {
    let switch = format!("{}.configuration.value.retry_loop", position.plugin.path);
    let looping: Vec<_> = position.ways.iter().filter(|way| way.retries_for_the_filter()).collect();
    if !position.plugin.has("retry_loop") {
        let edges = looping.iter().map(|way| {
            let problem = format!(
                "the listener `{}` repeats what the filter marks with {RETRY_HEADER}, but without `retry_loop` the filter marks nothing: \
                 no failed attempt is repeated",
                way.listener.name
            );
            Finding::mistake(switch.clone(), problem).write("retry_loop: true")
        });
        return edges.take(1).collect();
    }
    if position.ways.is_empty() {
        return without_edge(subject.file, position, &switch).into_iter().collect();
    }
    position.ways.iter().flat_map(|way| edge(subject, way, !looping.is_empty())).collect()
}

/// No route of the file leads to the filter's listener.
fn without_edge(file: &Envoy, position: &Position<'_>, switch: &str) -> Option<Finding> {
    let listener = position.listener;
    let unreadable = |manager: &Manager| manager.routes.is_none();
    let is_elsewhere = file.more_listeners || file.more_clusters;
    if is_elsewhere
        || file.managers().any(|(_, manager)| unreadable(manager))
        || file.listeners.iter().any(|listener| listener.forwards_bytes)
    {
        let problem = "the edge of the retry loop is not in this file; Envoy gets listeners, routes or clusters from elsewhere, too";
        return Some(Finding::unknown(switch, problem));
    }
    match listener.address {
        Address::Internal => {
            let problem = format!(
                "no route of this file leads to the internal listener `{}`, so it gets no requests",
                listener.name
            );
            Some(Finding::mistake(&listener.path, problem))
        }
        // An edge in another process could not bring a request back to the worker that knows its earlier attempts.
        Address::Socket(..) => {
            let problem = "there is no retry loop: no route of this file leads to the filter's listener, so clients reach it directly. \
                           Nothing repeats failed attempts, and clients can send the headers that only the edge may set";
            Some(Finding::mistake(switch, problem).write("retry_loop: false"))
        }
        Address::Other => {
            let problem =
                "no route of this file leads to the filter's listener; the edge may be in another process";
            Some(Finding::unknown(switch, problem))
        }
    }
}

/// Whether the edge does its part. Beside a way that retries there may be one that is not meant to.
fn edge(subject: Subject<'_>, way: &Way<'_>, another_retries: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let host = way.host;
    if way.retries_for_the_filter() {
        findings.extend(retries(subject, way));
    } else {
        let problem = format!(
            "the edge does not repeat what the filter marks with {RETRY_HEADER}, so no failed attempt is repeated"
        );
        let line = format!(
            "retry_policy: {{ retry_on: \"retriable-headers,reset\", retriable_headers: [{{ name: {RETRY_HEADER}, present_match: true }}], num_retries: 9 }}"
        );
        let path = format!("{}.retry_policy", host.path);
        let finding =
            if another_retries { Finding::warning(path, problem) } else { Finding::mistake(path, problem) };
        findings.push(finding.write(line));
    }
    if !host.counts_attempts {
        let problem = "the filter does not learn which attempt it sees, so each one looks like the first";
        let path = format!("{}.include_request_attempt_count", host.path);
        findings.push(Finding::mistake(path, problem).write("include_request_attempt_count: true"));
    }
    let levels = [&way.table.edits, &host.edits, &way.route.edits];
    let path = format!("{}.request_headers_to_add", host.path);
    let line = format!(
        "- {{ header: {{ key: {JOURNEY_HEADER}, value: \"%UNIQUE_ID%\" }}, append_action: OVERWRITE_IF_EXISTS_OR_ADD }}"
    );
    match levels.iter().flat_map(|edits| &edits.adds).find(|addition| addition.name == JOURNEY_HEADER) {
        None => {
            let problem = format!(
                "the edge does not set {JOURNEY_HEADER}, so the filter cannot tell which attempts belong together"
            );
            findings.push(Finding::mistake(path, problem).write(line));
        }
        Some(addition) if !addition.replaces || addition.value != "%UNIQUE_ID%" => {
            let problem = format!(
                "{JOURNEY_HEADER} must be %UNIQUE_ID% and replace what a client sends, or clients can choose it"
            );
            findings.push(Finding::warning(path, problem).write(line));
        }
        Some(_) => {}
    }
    findings.extend(concurrent_retries(way.cluster));
    findings.extend(requests_per_connection(way.cluster));
    findings
}

fn retries(subject: Subject<'_>, way: &Way<'_>) -> Vec<Finding> {
    let Some(retry) = way.retry() else { return Vec::new() };
    let mut findings = Vec::new();
    let on = |word| retry.on.iter().any(|it| it == word);
    if !on("retriable-headers") {
        let problem =
            "`retry_on` must contain `retriable-headers`, or the edge does not look at the filter's mark";
        findings.push(
            Finding::mistake(format!("{}.retry_on", retry.path), problem)
                .write("retry_on: retriable-headers,reset"),
        );
    } else if !on("reset") {
        let problem = "without `reset` a provider that breaks off while the filter holds its response is not replaced by another one";
        findings.push(
            Finding::warning(format!("{}.retry_on", retry.path), problem)
                .write("retry_on: retriable-headers,reset"),
        );
    }
    let most = subject.config.models().iter().max_by_key(|model| model.retry.attempts);
    if let Some(model) = most.filter(|model| u64::from(model.retry.attempts) > retry.most.saturating_add(1)) {
        let (attempts, needed) = (model.retry.attempts, u64::from(model.retry.attempts) - 1);
        let problem = format!(
            "the edge retries at most {}, but models.{} allows {attempts} attempts",
            count(retry.most, ["time", "times"]),
            model.name
        );
        findings.push(
            Finding::warning(format!("{}.num_retries", retry.path), problem)
                .write(format!("num_retries: {needed}")),
        );
    }
    findings
}

/// The retries that the cluster of the loop allows at the same time.
fn concurrent_retries(cluster: &Cluster) -> Option<Finding> {
    let most = cluster.max_retries.unwrap_or(DEFAULT_MAX_RETRIES);
    (most <= DEFAULT_MAX_RETRIES).then(|| {
        let retries = count(most, ["retry", "retries"]);
        let problem = format!("allows {retries} at the same time, for all clients together; in an outage more are needed");
        let path = format!("{}.circuit_breakers.thresholds", cluster.path);
        let line = "- { max_connections: 100000, max_pending_requests: 100000, max_requests: 100000, max_retries: 100000 }";
        Finding::warning(path, problem).write(line)
    })
}

/// The requests that one connection of the hop carries.
fn requests_per_connection(cluster: &Cluster) -> Option<Finding> {
    let is_bound =
        cluster.max_requests_per_connection.is_some_and(|most| (1..=MAX_HOP_REQUESTS).contains(&most));
    (cluster.may_multiplex && !is_bound).then(|| {
        let problem = "a connection of the hop may carry 250 requests or more; if 250 clients give up early, Envoy closes it with all streams on it";
        let path = format!(
            "{}.typed_extension_protocol_options.{HTTP_OPTIONS}.common_http_protocol_options.max_requests_per_connection",
            cluster.path
        );
        Finding::warning(path, problem).write(format!("max_requests_per_connection: {MAX_HOP_REQUESTS}"))
    })
}

/// Clusters that lead to an internal listener that does not exist.
fn dead_ends(file: &Envoy) -> impl Iterator<Item = Finding> {
    file.dead_ends().map(|(cluster, listener)| {
        let problem = format!(
            "the cluster `{}` leads to the internal listener `{listener}`, which does not exist, so every request to it fails",
            cluster.name
        );
        Finding::mistake(&cluster.path, problem)
    })
}

/// Envoy does not start with an internal listener if the extension is missing.
fn bootstrap(file: &Envoy) -> Option<Finding> {
    let uses = file.listeners.iter().any(|listener| listener.address == Address::Internal);
    (uses && !file.has_internal_listeners).then(|| {
        let problem = "internal listeners are not enabled, so Envoy does not start";
        let line = "- { name: envoy.bootstrap.internal_listener, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener } }";
        Finding::mistake("bootstrap_extensions", problem).write(line)
    })
}

/// Whether any route reads the cluster from this header.
pub(super) fn reads_header(manager: &Manager, header: &str) -> bool {
    let tables = manager.routes.iter().flat_map(|table| &table.hosts);
    tables.flat_map(|host| &host.routes).any(|route| route.to == To::Header(header.to_owned()))
}
