//! The environment variables that the filter may read.

use super::Subject;
use crate::check::finding::Finding;

/// Variables that the configuration reads keys from and that Envoy does not pass on.
pub(super) fn findings(subject: Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for position in subject.positions {
        let plugin = position.plugin;
        let names = || subject.variables.iter().map(|variable| &variable.name);
        let is_passed = |name: &&String| plugin.passed_on.contains(name) || plugin.set_here.contains(name);
        let missing: Vec<_> = names().filter(|name| !is_passed(name)).collect();
        findings.extend(not_in_pod(subject, &plugin.passed_on));
        if missing.is_empty() {
            continue;
        }
        let all: Vec<_> =
            plugin.passed_on.iter().chain(missing.iter().copied()).map(String::as_str).collect();
        let named: Vec<_> = missing.iter().map(|name| format!("`{name}`")).collect();
        let (is, them) = if missing.len() == 1 { ("is", "it") } else { ("are", "them") };
        let what =
            format!("{} {is} not passed on to the filter, which reads a key from {them}", named.join(", "));
        let path = format!("{}.vm_config.environment_variables", plugin.path);
        let problem = format!("{what}; Envoy rejects the configuration");
        findings.push(Finding::mistake(path, problem).write(format!("host_env_keys: [{}]", all.join(", "))));
    }
    findings
}

/// Variables that are passed on and that the manifests do not set.
fn not_in_pod(subject: Subject<'_>, passed_on: &[String]) -> Option<Finding> {
    let set = subject.file.set_elsewhere.as_ref()?;
    let missing: Vec<_> =
        passed_on.iter().filter(|name| !set.contains(name)).map(|name| format!("`{name}`")).collect();
    (!missing.is_empty()).then(|| {
        let problem = format!(
            "the manifests give Envoy's container no {}, so Envoy rejects the configuration",
            missing.join(", ")
        );
        Finding::mistake("env", problem)
    })
}
