//! A base for kustomize, with components to switch on.

use super::super::description::{Description, Kubernetes};
use super::super::files::NewFile;
use super::super::live;
use super::super::yaml;
use super::fill::{Value, fill};
use super::parts::{
    ALERTS, AUTOSCALER, DASHBOARD, DEPLOYMENT, DISRUPTION_BUDGET, KEYS_SECRET, NAME, NETWORK_POLICY,
    POD_MONITOR, RULES, SERVICE, VERSION, envoy_image, keys_example, provider_ports,
};

const KUSTOMIZATION: &str = include_str!("kustomize/kustomization.yaml");
const MONITORING: &str = include_str!("kustomize/monitoring.yaml");
const AUTOSCALING: &str = include_str!("kustomize/autoscaling.yaml");
const COPIED_MODULE: &str = include_str!("kustomize/copied-module.yaml");

const RESOURCES: &str = "        resources:
          # The whole number of CPUs is the number of Envoy's workers.
          requests: { cpu: \"2\", memory: 1Gi }
          # Envoy may take 3 GiB (`max_heap_size_bytes` in envoy.yaml). The limit is a third more.
          limits: { memory: 4Gi }
";

pub fn files(description: &Description, kubernetes: &Kubernetes) -> Vec<NewFile> {
    let values = values(description, kubernetes);
    let filled = |name: &str, template: &str| NewFile::new(name, fill(template, &values));
    let mut files = vec![
        filled("kustomization.yaml", KUSTOMIZATION),
        filled("deployment.yaml", DEPLOYMENT),
        filled("service.yaml", SERVICE),
        filled("disruption-budget.yaml", DISRUPTION_BUDGET),
        filled("network-policy.yaml", NETWORK_POLICY),
        filled("components/monitoring/kustomization.yaml", MONITORING),
        filled("components/monitoring/pod-monitor.yaml", POD_MONITOR),
        filled("components/monitoring/rules.yaml", RULES),
        NewFile::new("components/monitoring/llm-failsafe.json", DASHBOARD.to_owned()),
        filled("components/autoscaling/kustomization.yaml", AUTOSCALING),
        filled("components/autoscaling/autoscaler.yaml", AUTOSCALER),
        filled("components/copied-module/kustomization.yaml", COPIED_MODULE),
    ];
    files.extend(live::configuration(description));
    files.extend(keys_example(description));
    files
}

fn values(description: &Description, kubernetes: &Kubernetes) -> Vec<Value<'static>> {
    let ports: Vec<_> =
        provider_ports(description).iter().map(|port| format!("{{ port: {port}, protocol: TCP }}")).collect();
    let (keys_mount, keys_volume) = if keys_example(description).is_some() {
        (
            "        - { name: keys, mountPath: /etc/llm-failsafe/keys, readOnly: true }\n".to_owned(),
            format!(
                "      - name: keys\n        secret: {{ secretName: {KEYS_SECRET}, defaultMode: 288 }}   # 0440\n"
            ),
        )
    } else {
        (String::new(), String::new())
    };
    let module = yaml::text(&kubernetes.module_image);
    vec![
        ("name", NAME.to_owned()),
        ("version", VERSION.to_owned()),
        ("replicas", "  replicas: 2\n".to_owned()),
        ("annotations", String::new()),
        ("init-containers", String::new()),
        ("image", envoy_image()),
        ("resources", RESOURCES.to_owned()),
        ("keys-mount", keys_mount),
        ("keys-volume", keys_volume),
        (
            "module-volume",
            format!(
                "      # The image of a release (docs/release.md).\n      - name: module\n        \
                 image: {{ reference: {module}, pullPolicy: IfNotPresent }}\n"
            ),
        ),
        ("copied-module", module),
        ("provider-ports", ports.join(", ")),
        ("min-replicas", "2".to_owned()),
        ("max-replicas", "10".to_owned()),
        ("active-requests", "100".to_owned()),
        ("rules", yaml::indented(rules(), 2)),
    ]
}

/// The rules without the comment at the head of their file.
fn rules() -> &'static str {
    ALERTS.find("groups:\n").and_then(|at| ALERTS.get(at..)).unwrap_or(ALERTS)
}
