use std::path::Path;

use super::*;

/// A shipped folder with other text in one of its files.
fn changed(kind: &str, file: &str, from: &str, to: &str) -> Objects {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/istio").join(kind);
    let has_changed = std::cell::Cell::new(false);
    let read = |name: &str| {
        let Ok(text) = std::fs::read_to_string(folder.join(name)) else { return Ok(None) };
        if name != file {
            return Ok(Some(text));
        }
        has_changed.set(text.contains(from));
        Ok(Some(text.replacen(from, to, 1)))
    };
    let objects = Objects::read(&read).unwrap();
    assert!(has_changed.get(), "{kind}/{file} has no {from}");
    objects
}

#[test]
fn what_does_not_fit_together_is_found() {
    let cases: &[(&str, &str, &str, &str, &[&str])] = &[
        ("gateway", "filter.yaml", "kind: EnvoyFilter", "kind: EnvoyFilter", &[]),
        ("sidecar", "filter.yaml", "kind: EnvoyFilter", "kind: EnvoyFilter", &[]),
        (
            "gateway",
            "filter.yaml",
            "kind: EnvoyFilter",
            "kind: EnvoyFiltr",
            &["filter.yaml: kind: must be EnvoyFilter"],
        ),
        (
            "sidecar",
            "envoy-filter.yaml",
            "SIDECAR_OUTBOUND",
            "GATEWAY",
            &[
                "envoy-filter.yaml: spec.configPatches[0].match.context: must be SIDECAR_OUTBOUND for the pods of workload/deployment.yaml",
            ],
        ),
        (
            "gateway",
            "envoy-filter.yaml",
            "context: GATEWAY",
            "contxt: GATEWAY",
            &[
                "envoy-filter.yaml: spec.configPatches[0].match.context: must be GATEWAY for the pods of deployment.yaml",
            ],
        ),
        (
            "gateway",
            "filter.yaml",
            "EXTENSION_CONFIG\n",
            "EXTENSION_CONFIG\n    match: { context: SIDECAR_OUTBOUND }\n",
            &[
                "filter.yaml: spec.configPatches[0].match.context: must be GATEWAY for the pods of deployment.yaml",
            ],
        ),
        (
            "sidecar",
            "filter.yaml",
            "      llm-failsafe: sidecar",
            "      llm-failsafe: sidecars",
            &[
                "filter.yaml: spec.workloadSelector.labels: differs from that in envoy-filter.yaml",
                "filter.yaml: spec.workloadSelector.labels[\"llm-failsafe\"]: the pods of workload/deployment.yaml have another label",
            ],
        ),
        (
            "sidecar",
            "filter.yaml",
            "      llm-failsafe: sidecar",
            "      llm-failsafe: sidecar\n      app: shop",
            &["filter.yaml: spec.workloadSelector.labels: differs from that in envoy-filter.yaml"],
        ),
        (
            "gateway",
            "envoy-filter.yaml",
            "workloadSelector",
            "selector",
            &[
                "envoy-filter.yaml: spec.workloadSelector.labels: must name a label of the pods",
                "filter.yaml: spec.workloadSelector.labels: differs from that in envoy-filter.yaml",
            ],
        ),
        (
            "gateway",
            "deployment.yaml",
            "      labels:\n        app.kubernetes.io/name: llm-failsafe\n        app.kubernetes.io/instance: llm-failsafe-gateway",
            "      labels:\n        app.kubernetes.io/instance: other",
            &[
                "envoy-filter.yaml: spec.workloadSelector.labels[\"app.kubernetes.io/instance\"]: the pods of deployment.yaml have another label",
                "filter.yaml: spec.workloadSelector.labels[\"app.kubernetes.io/instance\"]: the pods of deployment.yaml have another label",
            ],
        ),
        (
            "gateway",
            "envoy-filter.yaml",
            "{ ads: {}",
            "{ adss: {}",
            &[
                "envoy-filter.yaml: @config_discovery.config_source.adss: does not belong here",
                "envoy-filter.yaml: @config_discovery.config_source.ads: must be {}; Istio sends the filter that way",
            ],
        ),
        (
            "gateway",
            "envoy-filter.yaml",
            "type_urls:",
            "type_url:",
            &[
                "envoy-filter.yaml: @config_discovery.type_url: does not belong here",
                "envoy-filter.yaml: @config_discovery.type_urls: must be [type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm]",
            ],
        ),
        ("gateway", "envoy-filter.yaml", "initial_fetch_timeout", "initialFetchTimeout", &[]),
        (
            "gateway",
            "internal-host.yaml",
            "http: 10000",
            "http: 10001",
            &[
                "internal-host.yaml: spec.endpoints[0].ports[\"http\"]: is not the port of a listener in envoy-filter.yaml: [10000]",
            ],
        ),
        (
            "sidecar",
            "envoy-filter.yaml",
            "port_value: 10000",
            "port_value: 10002",
            &[
                "llm-internal.yaml: spec.endpoints[0].ports[\"http\"]: is not the port of a listener in envoy-filter.yaml: [10002]",
            ],
        ),
        (
            "gateway",
            "gateway.yaml",
            "    retries: { attempts: 0 }",
            "    timeout: 60s",
            &[
                "gateway.yaml: spec.http[0].timeout: cuts longer streams; remove it",
                "gateway.yaml: spec.http[0].retries.attempts: must be 0; otherwise Istio repeats requests itself",
            ],
        ),
        (
            "sidecar",
            "llm-internal.yaml",
            "attempts: 0",
            "attempts: 2",
            &[
                "llm-internal.yaml: spec.http[0].retries.attempts: must be 0; otherwise Istio repeats requests itself",
            ],
        ),
        (
            "sidecar",
            "workload/deployment.yaml",
            "mountPath: /opt/llm-failsafe",
            "mountPath: /opt/llm",
            &[
                "workload/deployment.yaml: spec.template.spec.containers[0].volumeMounts: has no mountPath for /opt/llm-failsafe/plugin.wasm, the module",
            ],
        ),
        (
            "gateway",
            "deployment.yaml",
            "name: istio-proxy",
            "name: proxy",
            &["deployment.yaml: spec.template.spec.containers: has no istio-proxy"],
        ),
    ];
    // Where the listener asks for the filter.
    let listener =
        "spec.configPatches[1].patch.value.filter_chains[0].filters[0].typed_config.http_filters[0].";
    for (kind, file, from, to, expected) in cases {
        let found = changed(kind, file, from, to).mistakes();
        let expected: Vec<_> = expected.iter().map(|it| it.replace('@', listener)).collect();
        assert_eq!(found, expected, "{kind}/{file}: {to}");
    }
}

#[test]
fn the_variables_of_the_proxy_are_those_of_its_container() {
    let keys = ["OPENAI_KEY_A", "OPENAI_KEY_B", "ANTHROPIC_KEY"].map(str::to_owned).to_vec();
    for (kind, file) in [("gateway", "deployment.yaml"), ("sidecar", "workload/deployment.yaml")] {
        let of = |from: &str, to: &str| changed(kind, file, from, to).variables();
        assert_eq!(of("env:", "env:"), Some(keys.clone()));
        assert_eq!(of("name: OPENAI_KEY_A", "name: OPENAI_KEY").unwrap()[0], "OPENAI_KEY");
        // The rest may be in a Secret.
        assert_eq!(
            of("        env:\n", "        envFrom: [{ secretRef: { name: keys } }]\n        others:\n"),
            Some(keys.clone())
        );
    }
}
