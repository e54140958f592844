//! A chart for Helm: the same manifests, with the values of the chart in the places that kustomize patches.

use super::super::description::{Description, Kubernetes};
use super::super::files::NewFile;
use super::super::live;
use super::super::yaml;
use super::fill::{Value, fill};
use super::parts::{
    ALERTS, AUTOSCALER, DASHBOARD, DEPLOYMENT, DISRUPTION_BUDGET, KEYS_SECRET, NETWORK_POLICY, POD_MONITOR,
    RULES, SERVICE, VERSION, envoy_image, keys_example, provider_ports,
};

const CHART: &str = include_str!("helm/Chart.yaml");
const VALUES: &str = include_str!("helm/values.yaml");
const HELPERS: &str = include_str!("helm/helpers.tpl");
const CONFIG: &str = include_str!("helm/config.yaml");
const DASHBOARD_CONFIG: &str = include_str!("helm/dashboard.yaml");

/// The places in the manifests, and what Helm writes there.
const PLACES: [(&str, &str); 15] = [
    ("name", "{{ include \"llm-failsafe.name\" . }}"),
    ("version", "{{ .Chart.AppVersion }}"),
    (
        "replicas",
        "  {{- if not .Values.autoscaling.enabled }}\n  replicas: {{ .Values.replicas }}\n  {{- end }}\n",
    ),
    (
        "annotations",
        "      annotations:\n        # A change of the Envoy file replaces the pods.\n        \
         llm-failsafe/envoy-file: {{ include \"llm-failsafe.envoy\" . | sha256sum | quote }}\n",
    ),
    ("image", "{{ .Values.image | quote }}"),
    ("init-containers", INIT_CONTAINERS),
    ("resources", "        resources:\n          {{- toYaml .Values.resources | nindent 10 }}\n"),
    (
        "keys-mount",
        "        {{- if .Values.keys.secret }}\n        - { name: keys, mountPath: /etc/llm-failsafe/keys, readOnly: true }\n        \
         {{- end }}\n",
    ),
    (
        "keys-volume",
        "      {{- with .Values.keys.secret }}\n      - name: keys\n        \
         secret: { secretName: {{ . | quote }}, defaultMode: 288 }   # 0440\n      {{- end }}\n",
    ),
    (
        "module-volume",
        "      - name: module\n        {{- if .Values.module.copy }}\n        emptyDir: { sizeLimit: 64Mi }\n        \
         {{- else }}\n        image: { reference: {{ .Values.module.image | quote }}, pullPolicy: IfNotPresent }\n        \
         {{- end }}\n",
    ),
    (
        "provider-ports",
        "{{ if not .Values.networkPolicy.ports }}{{ fail \"networkPolicy.ports: without a port everything could be reached\" }}{{ end }}{{ range .Values.networkPolicy.ports }}{ port: {{ . }}, protocol: TCP }, {{ end }}",
    ),
    ("min-replicas", "{{ .Values.autoscaling.minReplicas }}"),
    ("max-replicas", "{{ .Values.autoscaling.maxReplicas }}"),
    ("active-requests", "{{ .Values.autoscaling.activeRequests }}"),
    ("rules", "  {{- .Files.Get \"files/alerts.yaml\" | nindent 2 }}\n"),
];

const INIT_CONTAINERS: &str = "      {{- if .Values.module.copy }}
      initContainers:
      - name: module
        image: {{ .Values.module.image | quote }}
        command: [cp, /plugin.wasm, /opt/llm-failsafe/plugin.wasm]
        resources:
          requests: { cpu: 50m, memory: 32Mi }
          limits: { memory: 64Mi }
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: { drop: [ALL] }
        volumeMounts:
        - { name: module, mountPath: /opt/llm-failsafe }
      {{- end }}
";

pub fn files(description: &Description, kubernetes: &Kubernetes) -> Vec<NewFile> {
    let places: Vec<Value<'_>> = PLACES.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
    let template = |name: &str, text: &str| NewFile::new(&format!("templates/{name}"), fill(text, &places));
    let only_if = |value: &str, name: &str, text: &str| {
        let file = template(name, text);
        let text = format!("{{{{- if .Values.{value}.enabled }}}}\n{}{{{{- end }}}}\n", file.text);
        NewFile::new(&file.name, text)
    };
    let keys = keys_example(description);
    let ports: Vec<_> = provider_ports(description).iter().map(u16::to_string).collect();
    let of_chart = [
        ("version", VERSION.to_owned()),
        ("image", envoy_image()),
        ("module", yaml::text(&kubernetes.module_image)),
        ("keys", if keys.is_some() { KEYS_SECRET } else { "\"\"" }.to_owned()),
        ("provider-port-numbers", ports.join(", ")),
    ];
    let mut files = vec![
        NewFile::new("Chart.yaml", fill(CHART, &of_chart)),
        NewFile::new("values.yaml", fill(VALUES, &of_chart)),
        NewFile::new("templates/_helpers.tpl", HELPERS.to_owned()),
        template("config.yaml", CONFIG),
        template("deployment.yaml", DEPLOYMENT),
        template("service.yaml", SERVICE),
        template("disruption-budget.yaml", DISRUPTION_BUDGET),
        only_if("networkPolicy", "network-policy.yaml", NETWORK_POLICY),
        only_if("autoscaling", "autoscaler.yaml", AUTOSCALER),
        only_if("monitoring", "pod-monitor.yaml", POD_MONITOR),
        only_if("monitoring", "rules.yaml", RULES),
        only_if("monitoring", "dashboard.yaml", DASHBOARD_CONFIG),
        NewFile::new("files/alerts.yaml", ALERTS.to_owned()),
        NewFile::new("files/llm-failsafe.json", DASHBOARD.to_owned()),
    ];
    let of_envoy = live::configuration(description).into_iter().chain(keys);
    files.extend(of_envoy.map(|file| NewFile::new(&format!("files/{}", file.name), file.text)));
    files
}
