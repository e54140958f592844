//! The clusters that the filter and the routes name.

use llm_failsafe::base::nearest;
use llm_failsafe::config::OtherPaths;

use super::Subject;
use crate::check::finding::Finding;
use crate::envoy::{Cluster, Destination, Envoy, To};

/// Clusters that do not exist, and clusters that speak plain HTTP to the port of TLS.
pub(super) fn findings(subject: Subject<'_>) -> Vec<Finding> {
    let Subject { file, config, positions, .. } = subject;
    if positions.is_empty() {
        return Vec::new();
    }
    let own = config.accounts().iter().filter_map(|account| {
        Some((format!("accounts.{}.cluster", account.name), account.cluster.as_deref()?))
    });
    // The cluster of a provider is not needed if each of its accounts has one of its own.
    let providers = config.providers().iter().enumerate().filter(|(index, _)| {
        let mut accounts =
            config.accounts().iter().filter(|account| account.provider.index() == *index).peekable();
        accounts.peek().is_none() || accounts.any(|account| account.cluster.is_none())
    });
    let providers = providers
        .map(|(_, provider)| (format!("providers.{}.cluster", provider.name), provider.cluster.as_str()));
    let other = match &config.other_paths {
        OtherPaths::Cluster(name) => Some(("other_paths.cluster".to_owned(), name.as_str())),
        OtherPaths::Refuse | OtherPaths::Account(_) => None,
    };
    let mut findings = Vec::new();
    for (path, name) in providers.chain(own).chain(other) {
        match file.cluster(name) {
            Some(cluster) => {
                let to_tls_port = |it: &Destination| matches!(it, Destination::Socket(_, 443));
                if !cluster.has_tls && cluster.destinations.iter().any(to_tls_port) {
                    let problem = format!("the cluster `{name}` goes to port 443 without TLS");
                    findings.push(Finding::warning(format!("{}.transport_socket", cluster.path), problem));
                }
                findings.extend(trust(cluster));
            }
            None if file.more_clusters => {
                let problem = format!(
                    "the cluster `{name}` is not in this file; Envoy gets clusters from elsewhere, too"
                );
                findings.push(Finding::unknown(path, problem));
            }
            None => {
                let problem = format!("Envoy has no cluster `{name}`, so every request to it fails");
                findings.push(missing(file, path, name, &problem));
            }
        }
    }
    findings.extend(routes(subject));
    findings
}

/// A cluster that sends keys to whoever answers.
fn trust(cluster: &Cluster) -> Option<Finding> {
    if cluster.trusts_everyone {
        let problem =
            "TLS does not verify the server's certificate and its name, so whoever answers gets the keys";
        let line = "validation_context: { trusted_ca: … }, and auto_san_validation: true in upstream_http_protocol_options";
        return Some(Finding::warning(format!("{}.transport_socket", cluster.path), problem).write(line));
    }
    let public = cluster.destinations.iter().find_map(|destination| match destination {
        Destination::Socket(host, port) if *port != 443 && is_public_name(host) => Some((host, port)),
        _ => None,
    });
    public.filter(|_| !cluster.has_tls).map(|(host, port)| {
        let problem = format!("keys and prompts go to {host}:{port} without TLS");
        Finding::warning(format!("{}.transport_socket", cluster.path), problem)
    })
}

/// Whether a host is probably outside of the own network.
fn is_public_name(host: &str) -> bool {
    const OWN: [&str; 9] =
        ["cluster.local", "example", "home.arpa", "internal", "invalid", "lan", "local", "svc", "test"];
    let host = host.trim_end_matches('.');
    let is_own = OWN.iter().any(|end| host.strip_suffix(end).is_some_and(|rest| rest.ends_with('.')));
    host.contains('.') && host.parse::<std::net::IpAddr>().is_err() && !is_own
}

/// A cluster that does not exist. If one has nearly this name, the name is probably misspelled.
fn missing(file: &Envoy, path: String, name: &str, problem: &str) -> Finding {
    // The cluster of the retry loop leads back to the filter.
    let leads_back = |cluster: &Cluster| file.listeners.iter().any(|listener| cluster.leads_to(listener));
    let known = file.clusters.iter().filter(|cluster| !leads_back(cluster)).map(|cluster| &*cluster.name);
    if let Some(near) = nearest(name, known.clone()) {
        return Finding::mistake(path, format!("{problem}; did you mean `{near}`?"))
            .write(format!("cluster: {near}"));
    }
    let known: Vec<_> = known.map(|name| format!("`{name}`")).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Finding::mistake(path, format!("{problem}; clusters of this file: {known}"))
        .write(format!("- name: {name}   # in static_resources.clusters"))
}

/// Routes to clusters that do not exist. Envoy does not start with such a route.
fn routes(Subject { file, .. }: Subject<'_>) -> Vec<Finding> {
    let tables = file.managers().filter_map(|(_, manager)| manager.routes.as_ref());
    let routes = tables.filter(|table| table.needs_clusters && !file.more_clusters);
    let routes = routes.flat_map(|table| table.hosts.iter().flat_map(|host| &host.routes));
    let missing = routes.flat_map(|route| {
        let names = match &route.to {
            To::Clusters(names) => names.as_slice(),
            _ => &[],
        };
        names.iter().filter(|name| file.cluster(name).is_none()).map(move |name| (route, name))
    });
    missing
        .map(|(route, name)| {
            let near = nearest(name, file.clusters.iter().map(|cluster| &*cluster.name));
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            Finding::mistake(
                format!("{}.route", route.path),
                format!("Envoy has no cluster `{name}`, so it does not start{hint}"),
            )
        })
        .collect()
}
