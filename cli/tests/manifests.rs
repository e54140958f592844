//! The shipped manifests for Kubernetes, rendered and strictly validated by the tools that users have (`manifests/check.py`).
//!
//! `scripts/setup.sh kubernetes` fetches the tools. If that is not possible, `LLM_FAILSAFE_WITHOUT` names them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// The newest version with a schema, and the oldest that knows image volumes.
const VERSIONS: [&str; 2] = ["1.37", "1.31"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Python with the packages of `manifests/requirements.txt`.
fn python() -> Option<PathBuf> {
    let home = std::env::var_os("LLM_FAILSAFE_KUBERNETES_TOOLS").map(PathBuf::from);
    let python = home.unwrap_or_else(|| root().join(".tools/kubernetes")).join("bin/python");
    if python.is_file() {
        return Some(python);
    }
    let may_be_missing = std::env::var("LLM_FAILSAFE_WITHOUT").unwrap_or_default();
    assert!(
        may_be_missing.split_whitespace().any(|name| name == "kubernetes"),
        "the tools for Kubernetes are not installed. Run: scripts/setup.sh kubernetes   (or set \
         LLM_FAILSAFE_WITHOUT=kubernetes to skip their tests)"
    );
    eprintln!("NOT RUN: the tools for Kubernetes are not installed");
    None
}

/// The valid objects, or what is wrong with them.
fn rendered(python: &Path, arguments: &[&str]) -> Result<Vec<Value>, String> {
    let script = root().join("cli/tests/manifests/check.py");
    let output = Command::new(python).arg(script).args(arguments).args(VERSIONS).output().unwrap();
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn kustomize(python: &Path, folder: &Path) -> Result<Vec<Value>, String> {
    rendered(python, &["kustomize", folder.to_str().unwrap()])
}

fn helm(python: &Path, chart: &Path, release: &str, values: &str) -> Result<Vec<Value>, String> {
    rendered(python, &["helm", chart.to_str().unwrap(), release, values])
}

fn base() -> PathBuf {
    root().join("deploy/kubernetes")
}

fn chart() -> PathBuf {
    root().join("deploy/helm/llm-failsafe")
}

/// A copy of a shipped folder, in which some files are changed.
fn changed(folder: &Path, changes: &[(&str, &str, &str)]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_below(folder, copy.path());
    for (file, from, to) in changes {
        let path = copy.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }
    copy
}

fn copy_below(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_below(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The base with every component of which `wanted` is true, as the comment in its kustomization.yaml says.
fn with_components(wanted: impl Fn(&str) -> bool) -> tempfile::TempDir {
    let text = std::fs::read_to_string(base().join("kustomization.yaml")).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("# - components/"));
    let lines: Vec<_> = names
        .map(|line| line.split_whitespace().next().unwrap())
        .filter(|name| wanted(name))
        .map(|name| (format!("# - components/{name}"), format!("- components/{name}")))
        .collect();
    assert!(!lines.is_empty());
    let mut changes = vec![("kustomization.yaml", "# components:", "components:")];
    changes.extend(lines.iter().map(|(from, to)| ("kustomization.yaml", from.as_str(), to.as_str())));
    changed(&base(), &changes)
}

fn the<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    let found: Vec<_> = objects.iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}");
    found[0]
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// What the schemas do not say: names, references between objects, the rights of the pod, and its time to drain.
fn is_consistent(objects: &[Value], name: &str) {
    for object in objects {
        let own = object["metadata"]["name"].as_str().unwrap();
        assert!(own.starts_with(name) && name.starts_with("llm-failsafe"), "{own}");
        assert_eq!(object["metadata"]["namespace"], Value::Null, "{own}: the user chooses the namespace");
        let selector = ["/spec/selector/matchLabels", "/spec/podSelector/matchLabels", "/spec/selector"]
            .iter()
            .find_map(|path| object.pointer(path));
        if let Some(selector) = selector {
            let labels = &the(objects, "Deployment")["spec"]["template"]["metadata"]["labels"];
            assert!(!selector.as_object().unwrap().is_empty());
            for (label, value) in selector.as_object().unwrap() {
                assert_eq!(&labels[label], value, "{own} selects by {label}");
            }
            assert_eq!(selector["app.kubernetes.io/instance"], name);
        }
    }
    let deployment = the(objects, "Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    let envoy = &pod["containers"][0];

    // Volumes.
    let volumes: BTreeSet<_> = list(&pod["volumes"]).iter().map(|it| it["name"].as_str().unwrap()).collect();
    let containers: Vec<_> = list(&pod["initContainers"]).iter().chain(list(&pod["containers"])).collect();
    let mounts = containers.iter().flat_map(|it| list(&it["volumeMounts"]));
    let mounted: BTreeSet<_> = mounts.map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(volumes, mounted);
    for volume in list(&pod["volumes"]) {
        if let Some(map) = volume.pointer("/configMap/name") {
            let exists = objects.iter().any(|it| it["kind"] == "ConfigMap" && &it["metadata"]["name"] == map);
            assert!(exists, "no ConfigMap {map}");
        }
    }
    // Envoy sees a change of a mounted folder only.
    assert!(list(&envoy["volumeMounts"]).iter().all(|mount| mount.get("subPath").is_none()));

    // Ports.
    let ports: BTreeSet<_> =
        list(&envoy["ports"]).iter().map(|port| port["name"].as_str().unwrap()).collect();
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert!(ports.contains(envoy[probe]["httpGet"]["port"].as_str().unwrap()), "{probe}");
    }
    for (kind, path) in [
        ("Service", "/spec/ports/0/targetPort"),
        ("NetworkPolicy", "/spec/ingress/0/ports/0/port"),
        ("NetworkPolicy", "/spec/ingress/1/ports/0/port"),
        ("PodMonitor", "/spec/podMetricsEndpoints/0/port"),
    ] {
        if objects.iter().any(|object| object["kind"] == kind) {
            assert!(ports.contains(the(objects, kind).pointer(path).unwrap().as_str().unwrap()), "{kind}");
        }
    }

    // The autoscaler alone decides about the number of pods.
    let scaled = objects.iter().find(|object| object["kind"] == "HorizontalPodAutoscaler");
    assert_eq!(deployment["spec"].get("replicas").is_none(), scaled.is_some());
    if let Some(scaled) = scaled {
        assert_eq!(scaled["spec"]["scaleTargetRef"]["name"], deployment["metadata"]["name"]);
    }

    // The profile "restricted" of the Pod Security Standards, and more.
    assert_eq!(pod["automountServiceAccountToken"], false);
    let rights = &pod["securityContext"];
    assert_eq!(
        (&rights["runAsNonRoot"], &rights["seccompProfile"]["type"]),
        (&json!(true), &json!("RuntimeDefault"))
    );
    assert!(rights["runAsUser"].as_u64().unwrap() > 0);
    for volume in list(&pod["volumes"]) {
        let mut kinds = volume.as_object().unwrap().keys().filter(|key| *key != "name");
        let kind = kinds.next().unwrap();
        assert!(["configMap", "emptyDir", "image", "secret"].contains(&kind.as_str()), "{kind}");
        assert_eq!(kinds.next(), None);
    }
    for container in &containers {
        let rights = &container["securityContext"];
        assert_eq!(rights["allowPrivilegeEscalation"], false);
        assert_eq!(rights["readOnlyRootFilesystem"], true);
        assert_eq!(rights["capabilities"], json!({"drop": ["ALL"]}));
        assert!(!container["image"].as_str().unwrap().ends_with(":latest"));
        assert!(container["image"].as_str().unwrap().contains(':'));
    }

    // Kubernetes waits longer than the entry point.
    let limit = list(&envoy["env"]).iter().find(|it| it["name"] == "DRAIN_LIMIT_S").unwrap();
    let limit: u64 = limit["value"].as_str().unwrap().parse().unwrap();
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > limit);
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);

    // Envoy knows how much memory it has.
    let map = objects.iter().find(|it| it["data"]["envoy.yaml"].is_string()).unwrap();
    let file: Value = serde_yaml_ng::from_str(map["data"]["envoy.yaml"].as_str().unwrap()).unwrap();
    let monitors = list(&file["overload_manager"]["resource_monitors"]);
    let heap =
        monitors.iter().find_map(|it| it.pointer("/typed_config/max_heap_size_bytes")?.as_u64()).unwrap();
    let memory = envoy["resources"]["limits"]["memory"].as_str().unwrap();
    let memory = memory.strip_suffix("Gi").unwrap().parse::<u64>().unwrap() << 30;
    assert_eq!(heap * 4, memory * 3, "three quarters of the container's memory");
}

#[test]
fn every_variant_is_valid_and_its_parts_fit() {
    let Some(python) = python() else { return };
    let kinds = |objects: &[Value]| {
        let mut kinds: Vec<_> = objects.iter().map(|it| it["kind"].as_str().unwrap().to_owned()).collect();
        kinds.sort();
        kinds
    };
    let usual = ["ConfigMap", "ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service"];
    let more = ["ConfigMap", "HorizontalPodAutoscaler", "PodMonitor", "PrometheusRule"];
    let mut all = [&usual[..], &more].concat();
    all.sort_unstable();

    let plain = kustomize(&python, &base()).unwrap();
    assert_eq!(kinds(&plain), usual);
    is_consistent(&plain, "llm-failsafe");
    let whole = kustomize(&python, with_components(|_| true).path()).unwrap();
    assert_eq!(kinds(&whole), all);
    is_consistent(&whole, "llm-failsafe");

    for (release, name, values, expected) in [
        ("llm-failsafe", "llm-failsafe", "{}", &usual[..]),
        ("prod", "llm-failsafe-prod", r#"{"module": {"copy": true}, "keys": {"secret": ""}}"#, &usual),
    ] {
        let objects = helm(&python, &chart(), release, values).unwrap();
        assert_eq!(kinds(&objects), expected, "{release}");
        is_consistent(&objects, name);
    }
    let texts = r#"{"filter": "one", "envoy": "two: 2", "networkPolicy": {"ports": [443, 8000]}}"#;
    let objects = helm(&python, &chart(), "a", texts).unwrap();
    let data: Vec<_> = objects.iter().filter_map(|it| it.get("data")).collect();
    assert!(
        data.iter().any(|it| it["filter.yaml"] == "one\n")
            && data.iter().any(|it| it["envoy.yaml"] == "two: 2\n")
    );
    let ports = &the(&objects, "NetworkPolicy")["spec"]["egress"][1]["ports"];
    assert_eq!(ports, &json!([{"port": 443, "protocol": "TCP"}, {"port": 8000, "protocol": "TCP"}]));
}

/// The objects in one order, without the digests in names, which only kustomize makes, and the annotation that Helm has instead.
fn comparable(objects: Vec<Value>) -> Vec<String> {
    let marker = "llm-failsafe-envoy-";
    let names = objects.iter().filter_map(|it| it["metadata"]["name"].as_str());
    let with_digest = names.filter(|name| name.starts_with(marker)).map(str::to_owned).next();
    let text = |mut object: Value| {
        if let Some(of_pod) = object.pointer_mut("/spec/template/metadata").and_then(Value::as_object_mut) {
            of_pod.remove("annotations");
        }
        // kustomize moves a patched volume to the front.
        if let Some(volumes) = object.pointer_mut("/spec/template/spec/volumes").and_then(Value::as_array_mut)
        {
            volumes.sort_by_key(|volume| volume["name"].to_string());
        }
        let text = serde_json::to_string_pretty(&object).unwrap();
        with_digest.iter().fold(text, |text, name| text.replace(name, marker.trim_end_matches('-')))
    };
    let mut texts: Vec<_> = objects.into_iter().map(text).collect();
    texts.sort();
    texts
}

#[test]
fn kustomize_and_helm_give_the_same_objects() {
    let Some(python) = python() else { return };
    for (copied, values) in [
        (false, r#"{"monitoring": {"enabled": true}, "autoscaling": {"enabled": true}}"#),
        (true, r#"{"module": {"copy": true}}"#),
    ] {
        let folder = with_components(|name| (name == "copied-module") == copied);
        let of_kustomize = comparable(kustomize(&python, folder.path()).unwrap());
        let of_helm = comparable(helm(&python, &chart(), "llm-failsafe", values).unwrap());
        for (one, other) in of_kustomize.iter().zip(&of_helm) {
            let differs = one.lines().zip(other.lines()).find(|(one, other)| one != other);
            if let Some((one, other)) = differs {
                let (one, other): (String, String) =
                    (one.chars().take(300).collect(), other.chars().take(300).collect());
                panic!("kustomize: {one}\nhelm:      {other}");
            }
            assert_eq!(one.len(), other.len());
        }
        assert_eq!(of_kustomize.len(), of_helm.len());
    }
}

/// Labels that select pods, and all labels of the pods.
fn selects(selector: &Value, pods: &Value) -> bool {
    let wanted = selector.as_object().unwrap();
    !wanted.is_empty() && wanted.iter().all(|(label, value)| &pods[label] == value)
}

#[test]
fn objects_for_istio_are_valid_and_select_their_pods() {
    let Some(python) = python() else { return };
    let shipped = |kind: &str| root().join("deploy/istio").join(kind);
    let gateway = kustomize(&python, &shipped("gateway")).unwrap();

    // With every component: an init container copies the module, and no cluster of a provider is left.
    let on = [("# components:", "components:"), ("# - components", "- components")];
    let on: Vec<_> = on.iter().map(|(from, to)| ("kustomization.yaml", *from, *to)).collect();
    let whole = kustomize(&python, changed(&shipped("gateway"), &on).path()).unwrap();
    let pod = &the(&whole, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["initContainers"][0]["command"][0], "cp");
    assert_eq!(pod["volumes"], json!([{"name": "module", "emptyDir": {"sizeLimit": "64Mi"}}]));
    let count = |kind: &str| whole.iter().filter(|object| object["kind"] == kind).count();
    assert_eq!((count("ServiceEntry"), count("DestinationRule")), (3, 3));
    let text = serde_json::to_string(&whole).unwrap();
    assert!(text.contains("outbound|443|llm|api.openai.com") && !text.contains("llm-failsafe-openai"));

    // An application with the component for its sidecar.
    let folder = tempfile::tempdir().unwrap();
    copy_below(&shipped("sidecar"), &folder.path().join("gateway"));
    let shop = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop", "labels": {"llm-failsafe": "sidecar"}},
        "spec": {"selector": {"matchLabels": {"app": "shop"}}, "template": {
            "metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "shop", "image": "shop:1"}]},
        }},
    });
    let file = json!({"resources": ["gateway", "shop.yaml"], "components": ["gateway/workload"]});
    for (name, content) in [("shop.yaml", shop), ("kustomization.yaml", file)] {
        std::fs::write(folder.path().join(name), content.to_string()).unwrap();
    }
    let sidecar = kustomize(&python, folder.path()).unwrap();
    assert_eq!(list(&the(&sidecar, "Deployment")["spec"]["template"]["spec"]["containers"]).len(), 2);

    for (objects, kind) in [(gateway, "gateway"), (sidecar, "sidecar")] {
        let pod = &the(&objects, "Deployment")["spec"]["template"];
        let selectors = ["/spec/workloadSelector/labels", "/spec/selector/matchLabels", "/spec/selector"];
        let selectors = objects.iter().filter_map(|it| selectors.iter().find_map(|path| it.pointer(path)));
        let selectors: Vec<_> = selectors.collect();
        assert!(selectors.len() >= 3 && selectors.iter().all(|it| selects(it, &pod["metadata"]["labels"])));
        let proxy = list(&pod["spec"]["containers"]).iter().find(|it| it["name"] == "istio-proxy").unwrap();
        assert_eq!(proxy["image"], "auto", "Istio fills it in");
        // The filter may read the variables that the Secret has.
        let text = std::fs::read_to_string(shipped(kind).join("keys.example.yaml")).unwrap();
        let secret: Value = serde_yaml_ng::from_str(&text).unwrap();
        let filter =
            objects.iter().find(|it| it["metadata"]["name"] == format!("llm-failsafe-{kind}-policy"));
        let config =
            filter.unwrap().pointer("/spec/configPatches/0/patch/value/typed_config/config/vm_config");
        let mut read: Vec<_> = list(&config.unwrap()["environment_variables"]["host_env_keys"]).to_vec();
        read.sort_by_key(Value::to_string);
        assert!(!read.is_empty());
        assert_eq!(
            read,
            secret["stringData"].as_object().unwrap().keys().map(|it| json!(it)).collect::<Vec<_>>()
        );
        let given: BTreeSet<_> = list(&proxy["env"])
            .iter()
            .map(|it| {
                assert_eq!(
                    it["valueFrom"]["secretKeyRef"],
                    json!({"name": secret["metadata"]["name"], "key": it["name"]})
                );
                it["name"].as_str().unwrap()
            })
            .collect();
        assert_eq!(given, read.iter().map(|it| it.as_str().unwrap()).collect());
        assert_eq!(proxy["volumeMounts"][0]["name"], pod["spec"]["volumes"][0]["name"]);
    }
}

#[test]
fn a_misspelled_field_is_found() {
    let Some(python) = python() else { return };
    let whole = with_components(|_| true);
    let bad = changed(
        whole.path(),
        &[
            ("deployment.yaml", "startupProbe:", "startProbe:"),
            ("network-policy.yaml", "policyTypes:", "types:"),
            ("components/monitoring/pod-monitor.yaml", "interval:", "every:"),
            ("components/monitoring/rules.yaml", "for: 2m", "since: 30s"),
        ],
    );
    let problem = kustomize(&python, bad.path()).unwrap_err();
    for said in [
        "Deployment",
        "startProbe",
        "NetworkPolicy",
        "types",
        "PodMonitor",
        "every",
        "PrometheusRule",
        "since",
    ] {
        assert!(problem.contains(said), "{said}: {problem}");
    }
    let bad = changed(&base(), &[("kustomization.yaml", "service.yaml", "services.yaml")]);
    assert!(kustomize(&python, bad.path()).unwrap_err().contains("services.yaml"));

    let bad = changed(
        &chart(),
        &[
            ("templates/service.yaml", "targetPort:", "toPort:"),
            ("values.yaml", "replicas: 2", "replicas: two"),
        ],
    );
    let problem = helm(&python, bad.path(), "llm-failsafe", "{}").unwrap_err();
    assert!(problem.contains("toPort") && problem.contains("'two'"), "{problem}");
    let bad = changed(&chart(), &[("templates/deployment.yaml", ".Values.image", ".Values.images.envoy")]);
    assert!(helm(&python, bad.path(), "llm-failsafe", "{}").unwrap_err().contains("nil pointer"));
}

/// What alerts, dashboard and autoscaler ask for is scraped.
#[test]
fn the_filters_of_names_let_every_metric_in_use_pass() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let tree = |path: &str| -> Value { serde_yaml_ng::from_str(&read(path)).unwrap() };
    let used = read("envoy/alerts.yaml") + &read("envoy/dashboard.json");
    let names = used.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let used: BTreeSet<_> = names.filter_map(|name| name.strip_prefix("envoy_")).collect();
    assert!(used.len() >= 4, "{used:?}");
    let monitor = tree("deploy/kubernetes/components/monitoring/pod-monitor.yaml");
    let of_pods = monitor["spec"]["podMetricsEndpoints"][0]["params"]["filter"][0].as_str().unwrap();
    let scraped = tree("envoy/prometheus.yaml");
    let of_one = scraped["scrape_configs"][0]["params"]["filter"][0].as_str().unwrap();
    for filter in [of_pods, of_one] {
        for name in &used {
            // Envoy writes each dot of a name as an underscore for Prometheus.
            let passes = filter.split('|').any(|part| name.contains(&part.replace('.', "_")));
            assert!(passes, "{filter} keeps envoy_{name} back");
        }
    }
    for pod in ["gateway/deployment.yaml", "sidecar/workload/deployment.yaml"] {
        let pod = tree(&format!("deploy/istio/{pod}"));
        let proxy = &pod["spec"]["template"]["metadata"]["annotations"]["proxy.istio.io/config"];
        let proxy: Value = serde_yaml_ng::from_str(proxy.as_str().unwrap()).unwrap();
        let kept = list(&proxy["proxyStatsMatcher"]["inclusionPrefixes"]);
        // Istio keeps the last two by itself.
        let kept: Vec<_> = kept.iter().map(|it| it.as_str().unwrap()).chain(["server.", "wasm."]).collect();
        for name in &used {
            let passes = kept.iter().any(|prefix| name.starts_with(&prefix.replace(['.', '-'], "_")));
            assert!(passes, "{kept:?} keeps envoy_{name} back");
        }
    }
    assert!(of_pods.contains("http.edge.downstream_rq_active"));
    let page = read("docs/kubernetes.md");
    assert!(page.contains(r#"envoy_http_downstream_rq_active{envoy_http_conn_manager_prefix="edge""#));
    let autoscaler = tree("deploy/kubernetes/components/autoscaling/autoscaler.yaml");
    let metric = autoscaler["spec"]["metrics"][0]["pods"]["metric"]["name"].as_str().unwrap();
    assert!(page.contains(&format!("as: {metric}")));
    // The page names the version of Envoy that the manifests have.
    let image = format!("envoyproxy/envoy:v{}", read("ENVOY_VERSION").trim());
    assert!(
        page.contains(&format!("FROM {image}")) && read("deploy/kubernetes/deployment.yaml").contains(&image)
    );
}

/// What kustomize makes of a folder for Envoy Gateway, whose objects `check.py` has no schemas for. `make test-mesh` has them.
fn built(python: &Path, folder: &Path) -> Vec<Value> {
    let built = Command::new(python.with_file_name("kubectl")).arg("kustomize").arg(folder).output().unwrap();
    assert!(built.status.success() && built.stderr.is_empty(), "{}", String::from_utf8_lossy(&built.stderr));
    let text = String::from_utf8(built.stdout).unwrap();
    text.split("\n---\n").map(|document| serde_yaml_ng::from_str(document).unwrap()).collect()
}

#[test]
fn a_namespace_and_the_scheme_of_names_are_one_line_each_for_envoy_gateway() {
    let Some(python) = python() else { return };
    let folder = root().join("deploy/envoy-gateway");
    for (file, from, to, [namespace, listener, routes]) in [
        ("kustomization.yaml", "#", "#", ["llm", "llm/llm-failsafe/http", "llm/llm-failsafe/http"]),
        (
            "gateway/kustomization.yaml",
            "namespace: llm",
            "namespace: other",
            ["other", "other/llm-failsafe/http", "other/llm-failsafe/http"],
        ),
        (
            "kustomization.yaml",
            "\n- components/xds-names\n",
            "\n- components/xds-names-v2\n",
            ["llm", "tcp-80", "http-80"],
        ),
    ] {
        let objects = built(&python, changed(&folder, &[(file, from, to)]).path());
        for object in &objects {
            let expected = match object["kind"].as_str().unwrap() {
                "GatewayClass" => Value::Null,
                "ConfigMap" => json!("envoy-gateway-system"),
                _ => json!(namespace),
            };
            assert_eq!(object["metadata"]["namespace"], expected, "{}", object["kind"]);
        }
        let edge = objects.iter().find(|object| object["metadata"]["name"] == "llm-failsafe-edge").unwrap();
        let patches = list(&edge["spec"]["jsonPatches"]);
        assert!(patches.len() > 5);
        for patch in patches {
            let is_listener = patch["type"].as_str().unwrap().ends_with(".Listener");
            assert_eq!(patch["name"], if is_listener { listener } else { routes });
        }
    }
}

#[test]
fn an_init_container_can_bring_the_module_for_envoy_gateway() {
    let Some(python) = python() else { return };
    let folder = root().join("deploy/envoy-gateway");
    let switched = [("kustomization.yaml", "# - components/copied-module", "- components/copied-module")];
    let objects = built(&python, changed(&folder, &switched).path());
    let pods = &the(&objects, "EnvoyProxy")["spec"]["provider"]["kubernetes"]["envoyDeployment"];
    let volumes = list(&pods["pod"]["volumes"]);
    let copied = &pods["initContainers"][0];
    assert_eq!(copied["volumeMounts"][0]["name"], volumes[0]["name"]);
    assert_eq!(pods["container"]["volumeMounts"][0]["name"], volumes[0]["name"]);
    assert_eq!(copied["volumeMounts"][0]["mountPath"], pods["container"]["volumeMounts"][0]["mountPath"]);
    assert!(volumes[0].get("emptyDir").is_some() && volumes[0].get("image").is_none());
    assert_eq!(volumes.len(), 2);
}
