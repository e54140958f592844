//! What the objects of a folder for Istio have to agree on. Istio and Kubernetes accept each of them alone, and a
//! disagreement shows only when nothing answers.

use serde_json::Value;

use super::{PLUMBING, POLICY};
use crate::bounded_yaml;
use crate::envoy::place::Place;

/// The pods of a gateway, and the sidecars of applications: the file, and where Istio has to add the patches.
const PODS: [(&str, &str); 2] =
    [("deployment.yaml", "GATEWAY"), ("workload/deployment.yaml", "SIDECAR_OUTBOUND")];
/// The files with hosts and routes.
const ROUTES: [&str; 3] = ["internal-host.yaml", "llm-internal.yaml", "gateway.yaml"];

const PROXY: &str = "istio-proxy";
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// The objects of a folder.
pub struct Objects {
    plumbing: Value,
    policy: Value,
    pods: Option<Pods>,
    routes: Vec<(&'static str, Value)>,
}

/// The pods that have the filter.
struct Pods {
    file: &'static str,
    context: &'static str,
    deployment: Value,
}

impl Objects {
    /// Reads them. `text` gives a file of the folder, if it is there.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(text: &dyn Fn(&str) -> Result<Option<String>, String>) -> Result<Self, String> {
        let all =
            |file: &str| documents(&text(file)?.unwrap_or_default()).map_err(|it| format!("{file}: {it}"));
        let first = |file: &str| Ok::<_, String>(all(file)?.into_iter().next());
        let mut pods = None;
        for (file, context) in PODS {
            let made = |deployment| Pods { file, context, deployment };
            pods = pods.or(first(file)?.map(made));
        }
        let mut routes = Vec::new();
        for file in ROUTES {
            routes.extend(all(file)?.into_iter().map(|object| (file, object)));
        }
        let plumbing = first(PLUMBING)?.unwrap_or_default();
        Ok(Self { plumbing, policy: first(POLICY)?.unwrap_or_default(), pods, routes })
    }

    /// Everything that does not fit together, with its file and path.
    pub fn mistakes(&self) -> Vec<String> {
        let rules = [
            Self::kinds,
            Self::contexts,
            Self::selectors,
            Self::discovery,
            Self::module,
            Self::ports_of_hosts,
            Self::limits_of_routes,
        ];
        rules.iter().flat_map(|rule| rule(self)).collect()
    }

    /// The variables that the proxy gets, if the folder has its pods.
    pub fn variables(&self) -> Option<Vec<String>> {
        let proxy = self.pods.as_ref()?.proxy();
        let set = proxy.iter().flat_map(|proxy| proxy.field("env").items());
        let mut names: Vec<_> =
            set.filter_map(|variable| Some(variable.field("name").text()?.to_owned())).collect();
        // What such a source has is not in the folder.
        if proxy.is_some_and(|proxy| proxy.field("envFrom").exists()) {
            let keys = ["config", "vm_config", "environment_variables", "host_env_keys"];
            names.extend(self.filters().iter().flat_map(|filter| filter.at(&keys).texts()));
        }
        Some(names)
    }

    fn filter_objects(&self) -> [(&'static str, Place<'_>); 2] {
        [(PLUMBING, Place::root(&self.plumbing)), (POLICY, Place::root(&self.policy))]
    }

    /// The configurations of the filter in Envoy.
    fn filters(&self) -> Vec<Place<'_>> {
        let patches = Place::root(&self.policy).at(&["spec", "configPatches"]).items();
        patches.iter().map(|patch| patch.at(&["patch", "value", "typed_config"])).collect()
    }

    fn routes(&self, kind: &str) -> Vec<(&'static str, Place<'_>)> {
        let objects = self.routes.iter().filter(|(_, object)| object["kind"] == kind);
        objects.map(|(file, object)| (*file, Place::root(object).field("spec"))).collect()
    }

    fn kinds(&self) -> Vec<String> {
        let is_other = |object: &Place<'_>| object.field("kind").text() != Some("EnvoyFilter");
        let others = self.filter_objects().into_iter().filter(|(_, object)| is_other(object));
        others.map(|(file, _)| format!("{file}: kind: must be EnvoyFilter")).collect()
    }

    fn contexts(&self) -> Vec<String> {
        let Some(Pods { file: pods, context: expected, .. }) = &self.pods else { return Vec::new() };
        let mut mistakes = Vec::new();
        for (file, object) in self.filter_objects() {
            for patch in object.at(&["spec", "configPatches"]).items() {
                let context = patch.at(&["match", "context"]);
                // The filter may come without one: only the listener asks for it.
                let is_good = context.text().map_or(file == POLICY, |it| it == *expected);
                if !is_good {
                    let path = context.path;
                    mistakes.push(format!("{file}: {path}: must be {expected} for the pods of {pods}"));
                }
            }
        }
        mistakes
    }

    fn selectors(&self) -> Vec<String> {
        let [plumbing, policy] = self
            .filter_objects()
            .map(|(file, object)| (file, object.at(&["spec", "workloadSelector", "labels"])));
        let mut mistakes = Vec::new();
        for (file, labels) in [&plumbing, &policy] {
            if labels.entries().is_empty() {
                mistakes.push(format!("{file}: {}: must name a label of the pods", labels.path));
            }
        }
        if plumbing.1.value() != policy.1.value() {
            mistakes.push(format!("{POLICY}: {}: differs from that in {PLUMBING}", policy.1.path));
        }
        let Some(pods) = &self.pods else { return mistakes };
        let of_pods = Place::root(&pods.deployment).at(&["spec", "template", "metadata", "labels"]);
        for (file, labels) in [plumbing, policy] {
            let labels = labels.entries();
            // The labels of the applications themselves are not in the folder.
            let is_known =
                |(name, label): &(&str, Place<'_>)| of_pods.value().get(name) == Some(label.value());
            if pods.context != PODS[0].1 && labels.iter().any(is_known) {
                continue;
            }
            let others = labels.iter().filter(|label| !is_known(label));
            mistakes.extend(others.map(|(_, label)| {
                format!("{file}: {}: the pods of {} have another label", label.path, pods.file)
            }));
        }
        mistakes
    }

    /// How the listener asks for the filter.
    fn discovery(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        for discovery in discoveries(&Place::root(&self.plumbing)) {
            let source = discovery.field("config_source");
            for (place, known) in [
                (
                    &discovery,
                    &["config_source", "type_urls", "default_config", "apply_default_config_without_warming"]
                        [..],
                ),
                (&source, &["ads", "initial_fetch_timeout", "resource_api_version"]),
            ] {
                let is_known = |name: &str| known.iter().any(|known| is_same_field(known, name));
                let unknown = place.entries().into_iter().filter(|(name, _)| !is_known(name));
                mistakes.extend(
                    unknown
                        .map(|(name, _)| format!("{PLUMBING}: {}.{name}: does not belong here", place.path)),
                );
            }
            let (ads, types) = (source.field("ads"), discovery.field("type_urls"));
            if !ads.value().is_object() {
                mistakes
                    .push(format!("{PLUMBING}: {}: must be {{}}; Istio sends the filter that way", ads.path));
            }
            if !types.texts().iter().any(|it| it == WASM) {
                mistakes.push(format!("{PLUMBING}: {}: must be [{WASM}]", types.path));
            }
        }
        mistakes
    }

    /// The module is in a volume of the proxy.
    fn module(&self) -> Vec<String> {
        let Some(pods) = &self.pods else { return Vec::new() };
        let Some(proxy) = pods.proxy() else {
            return vec![format!("{}: spec.template.spec.containers: has no {PROXY}", pods.file)];
        };
        let mounts = proxy.field("volumeMounts");
        let paths: Vec<_> =
            mounts.items().iter().filter_map(|mount| mount.field("mountPath").text()).collect();
        let is_mounted = |file: &str| {
            paths.iter().any(|path| {
                let rest = file.strip_prefix(path.trim_end_matches('/'));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        let modules =
            self.filters().into_iter().map(|it| it.at(&["config", "vm_config", "code", "local", "filename"]));
        let missing = modules.filter_map(|module| module.text().filter(|file| !is_mounted(file)));
        missing
            .map(|file| format!("{}: {}: has no mountPath for {file}, the module", pods.file, mounts.path))
            .collect()
    }

    /// Hosts of Istio lead to the filter's listener.
    fn ports_of_hosts(&self) -> Vec<String> {
        let patches = Place::root(&self.plumbing).at(&["spec", "configPatches"]).items();
        let port = ["patch", "value", "address", "socket_address", "port_value"];
        let edges: Vec<_> = patches.iter().filter_map(|patch| patch.at(&port).number()).collect();
        let is_edge = |port: &Place<'_>| port.number().is_some_and(|port| edges.contains(&port));
        let mut mistakes = Vec::new();
        for (file, host) in self.routes("ServiceEntry") {
            let has_target =
                host.field("ports").items().iter().any(|port| is_edge(&port.field("targetPort")));
            for endpoint in host.field("endpoints").items() {
                let ports = endpoint.field("ports");
                let mut wrong: Vec<_> =
                    ports.entries().into_iter().map(|(_, port)| port).filter(|port| !is_edge(port)).collect();
                if !ports.exists() && !has_target {
                    wrong.push(ports);
                }
                mistakes.extend(wrong.iter().map(|port| {
                    format!("{file}: {}: is not the port of a listener in {PLUMBING}: {edges:?}", port.path)
                }));
            }
        }
        mistakes
    }

    /// Istio's own routes to the filter cut no stream and repeat no request.
    fn limits_of_routes(&self) -> Vec<String> {
        let hosts: Vec<_> =
            self.routes("ServiceEntry").iter().flat_map(|(_, host)| host.field("hosts").texts()).collect();
        let mut mistakes = Vec::new();
        for (file, service) in self.routes("VirtualService") {
            for route in service.field("http").items() {
                let destinations = route.field("route").items();
                let leads_here = destinations.iter().any(|to| {
                    let host = to.at(&["destination", "host"]).text();
                    host.is_some_and(|host| hosts.iter().any(|it| it == host))
                });
                if !leads_here {
                    continue;
                }
                let timeout = route.field("timeout");
                if timeout.exists() {
                    mistakes.push(format!("{file}: {}: cuts longer streams; remove it", timeout.path));
                }
                let attempts = route.at(&["retries", "attempts"]);
                if attempts.number() != Some(0) {
                    let path = attempts.path;
                    mistakes
                        .push(format!("{file}: {path}: must be 0; otherwise Istio repeats requests itself"));
                }
            }
        }
        mistakes
    }
}

impl Pods {
    fn proxy(&self) -> Option<Place<'_>> {
        let containers =
            Place::root(&self.deployment).at(&["spec", "template", "spec", "containers"]).items();
        containers.into_iter().find(|container| container.field("name").text() == Some(PROXY))
    }
}

/// Envoy reads names of fields in two spellings.
fn is_same_field(known: &str, name: &str) -> bool {
    known.replace('_', "").eq_ignore_ascii_case(&name.replace('_', ""))
}

/// The references to filters that Envoy gets from elsewhere.
fn discoveries<'a>(place: &Place<'a>) -> Vec<Place<'a>> {
    let here = place.field("config_discovery");
    if here.exists() {
        return vec![here];
    }
    place.items().iter().chain(&place.members()).flat_map(discoveries).collect()
}

/// The documents of a YAML file that are not empty.
fn documents(text: &str) -> Result<Vec<Value>, String> {
    let mut texts = vec![String::new()];
    for line in text.lines() {
        if line.trim_end() == "---" {
            texts.push(String::new());
        } else if let Some(text) = texts.last_mut() {
            text.push_str(line);
            text.push('\n');
        }
    }
    let parsed: Result<Vec<_>, _> = texts.iter().map(|text| bounded_yaml::parse(text)).collect();
    Ok(parsed?.into_iter().filter(|document| !document.is_null()).collect())
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
