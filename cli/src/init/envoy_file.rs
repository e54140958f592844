//! The Envoy file. Its template is the shipped example: each part that depends on the description replaces that of the
//! example, and everything else, with its comments, stays.

use super::clusters;
use super::description::{Description, Socket};
use super::examples::shipped;
use super::for_shell;
use super::live;
use super::plugin;
use super::yaml;

const LOOP: &str = include_str!("../../../envoy/envoy.yaml");
const SINGLE: &str = include_str!("../../../envoy/single.yaml");

/// How deep the filter's configuration is in the file.
const PLUGIN_INDENT: usize = 20;

/// The file.
pub fn text(description: &Description) -> String {
    let shipped = shipped(description.in_loop);
    let template = if description.in_loop { LOOP } else { SINGLE };
    let parts: [fn(&Description) -> String; 10] = [
        head,
        admin,
        edge,
        probes,
        served_to_probes,
        metrics,
        module,
        environment,
        configuration,
        clusters::text,
    ];
    parts.iter().fold(template.to_owned(), |text, part| replaced(&text, &part(&shipped), &part(description)))
}

/// The command that starts Envoy.
pub fn start(description: &Description) -> String {
    let variables: String = description.variables().iter().map(|name| format!("{name}=… ")).collect();
    format!("{variables}envoy -c {}", for_shell(&description.file))
}

/// Puts `to` in the place of `from`, which the template has once. A test holds that.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "the template of the Envoy file has this once: {from}");
    text.replacen(from, to, 1)
}

fn head(description: &Description) -> String {
    if let Some(purpose) = description.purpose {
        return format!("# `llm-failsafe init` writes such a file.\n{purpose}admin:\n");
    }
    let how = if description.has_pods() {
        "# In a pod paths in this file begin at /etc/llm-failsafe. A change of this file needs new pods. Change the filter's
# configuration and the keys while Envoy runs (docs/kubernetes.md).\n"
            .to_owned()
    } else if description.live {
        "# Start it with start.sh, which checks the configuration first. Paths in this file begin at its folder.\n\
         # Change filter.yaml and the files in keys while Envoy runs (docs/live-changes.md).\n"
            .to_owned()
    } else if description.variables().is_empty() {
        format!("# Start Envoy:\n#   {}\n", start(description))
    } else {
        format!("# Start Envoy with the providers' keys in the environment:\n#   {}\n", start(description))
    };
    let node = if description.live {
        "\n# Envoy wants a name for itself before it takes anything from watched files.\n\
         node: { id: llm-failsafe, cluster: llm-failsafe }\n\n"
    } else {
        ""
    };
    format!(
        "# `llm-failsafe init` writes such a file. Change the plugin's configuration, the provider clusters at the\n\
         # end and the ports.\n{how}{node}admin:\n"
    )
}

fn admin(description: &Description) -> String {
    format!("admin:\n  address: {}\n", socket(&description.admin))
}

fn edge(description: &Description) -> String {
    format!("  - name: edge\n    address: {}\n", socket(&description.listen))
}

fn probes(description: &Description) -> String {
    format!("  - name: probes\n    address: {}\n", socket(&description.probes))
}

fn served_to_probes(description: &Description) -> String {
    let served = if description.has_pods() {
        "`/stats/prometheus` has\n  # the metrics of the admin interface. Nothing else is served here"
    } else {
        "Nothing\n  # else is served here"
    };
    format!("`/live` is always 200. {served} (docs/operations.md).\n")
}

/// The metrics at the listener for probes. Prometheus cannot reach the admin interface of a pod, which listens on loopback.
fn metrics(description: &Description) -> String {
    let metrics = if description.has_pods() {
        format!(
            "              - match: {{ path: /stats/prometheus, headers: [{{ name: \":method\", string_match: {{ exact: GET }} }}] }}
                route: {{ cluster: {} }}
",
            live::ADMIN_CLUSTER
        )
    } else {
        String::new()
    };
    format!("                direct_response: {{ status: 200 }}\n{metrics}")
}

fn socket(Socket { host, port }: &Socket) -> String {
    format!("{{ socket_address: {{ address: {}, port_value: {port} }} }}", yaml::text(host))
}

fn module(description: &Description) -> String {
    format!("code: {{ local: {{ filename: {} }} }}\n", yaml::text(&description.module))
}

fn environment(description: &Description) -> String {
    let variables = description.variables();
    if variables.is_empty() {
        return String::new();
    }
    format!(
        "                  # The environment variables that the filter may read: the providers' keys.\n                  \
         environment_variables: {{ host_env_keys: {} }}\n",
        yaml::list(variables)
    )
}

fn configuration(description: &Description) -> String {
    let plugin = yaml::indented(&plugin::text(description), PLUGIN_INDENT);
    format!("                  value:\n{plugin}")
}
