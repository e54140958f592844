//! Istio's control plane, with configuration from a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration_tests::client::Request;
use integration_tests::paths;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::kubernetes_api::KubernetesApi;
use super::process::{Process, until};
use super::tool;

const HTTP: u16 = 18080;
const GRPC: u16 = 15010;
/// Objects of this group go into the folder. All others are Kubernetes' own.
const GROUP: &str = "networking.istio.io/";

/// istiod. It ends when dropped.
pub struct Istiod {
    _process: Process,
    _api: KubernetesApi,
    folder: TempDir,
}

impl Istiod {
    /// Starts it with these objects.
    pub async fn start(objects: &[Value]) -> Self {
        let api = KubernetesApi::start().await;
        let folder = tempfile::Builder::new().prefix("llm-failsafe-istiod-").tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("kubeconfig"), api.kubeconfig()).unwrap();
        fs::write(path("mesh.yaml"), mesh_config().to_string()).unwrap();
        fs::create_dir(path("config")).unwrap();
        for object in objects.iter().filter(|object| is_istios(object)) {
            write(folder.path(), object);
        }
        write(folder.path(), &without_tls());
        let mut command = Command::new(tool("bin/pilot-discovery"));
        command.current_dir(folder.path()).arg("discovery");
        command.args(["--registries", "Kubernetes", "--namespace", "istio-system", "--kubeconfig"]);
        command
            .arg(path("kubeconfig"))
            .arg("--configDir")
            .arg(path("config"))
            .arg("--meshConfig")
            .arg(path("mesh.yaml"));
        let at = |port: u16| format!("127.0.0.1:{port}");
        command.args([
            "--httpAddr",
            &at(HTTP),
            "--grpcAddr",
            &at(GRPC),
            "--monitoringAddr",
            "127.0.0.1:15014",
        ]);
        command.args(["--secureGRPCAddr", "", "--httpsAddr", "", "--ctrlz_port", "0"]);
        // Filters that only Istio's own Envoy has.
        command.env("PILOT_ENABLE_METADATA_EXCHANGE", "false").env("PILOT_ENABLE_ALPN_FILTER", "false");
        command.env("ENABLE_CA_SERVER", "false").env("PILOT_CERT_PROVIDER", "none");
        let process = Process::start("istiod", &mut command, folder.path());
        let istiod = Self { _process: process, _api: api, folder };
        until("istiod is ready", async || {
            Request::get("/ready").send(HTTP).await.is_ok_and(|answer| answer.status == 200)
        })
        .await;
        istiod
    }

    /// Adds an object, or replaces the one with its name.
    pub fn apply(&self, object: &Value) {
        write(self.folder.path(), object);
    }

    /// A Deployment with the proxy that Istio injects.
    pub fn injected(&self, deployment: &Value) -> Value {
        let path = |name: &str| self.folder.path().join(name);
        let manifest = istioctl(&["manifest", "generate"]);
        let objects = documents(&manifest);
        let injector = objects
            .iter()
            .find(|it| it["kind"] == "ConfigMap" && it["metadata"]["name"] == "istio-sidecar-injector")
            .expect("the manifest of Istio has the injector's templates");
        for (name, file) in [("config", "inject.yaml"), ("values", "values.json")] {
            fs::write(path(file), injector["data"][name].as_str().unwrap()).unwrap();
        }
        fs::write(path("deployment.json"), deployment.to_string()).unwrap();
        let file = |name: &str| path(name).display().to_string();
        let injected = istioctl(&[
            "kube-inject",
            "--kubeconfig",
            &file("kubeconfig"),
            "--injectConfigFile",
            &file("inject.yaml"),
            "--valuesFile",
            &file("values.json"),
            "--meshConfigFile",
            &file("mesh.yaml"),
            "-f",
            &file("deployment.json"),
        ]);
        documents(&injected).remove(0)
    }
}

/// The settings of the mesh.
fn mesh_config() -> Value {
    json!({
        "defaultConfig": {
            "discoveryAddress": format!("127.0.0.1:{GRPC}"),
            "controlPlaneAuthPolicy": "NONE",
            "binaryPath": paths::envoy(),
            "configPath": "./etc/istio/proxy",
            "drainDuration": "3s",
        },
        "enableAutoMtls": false,
    })
}

/// Pods have no certificates here.
fn without_tls() -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "istio-system"},
        "spec": {"mtls": {"mode": "DISABLE"}},
    })
}

fn is_istios(object: &Value) -> bool {
    object["apiVersion"].as_str().is_some_and(|version| version.starts_with(GROUP))
}

/// Istiod watches the folder. A rename is one change.
fn write(folder: &Path, object: &Value) {
    let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
    let new = folder.join("new.yaml");
    fs::write(&new, serde_yaml_ng::to_string(object).unwrap()).unwrap();
    fs::rename(new, folder.join(format!("config/{kind}-{name}.yaml"))).unwrap();
}

/// What `istioctl` prints. It must succeed.
fn istioctl(arguments: &[&str]) -> String {
    let (is_good, printed, said) = run_istioctl(arguments);
    assert!(is_good, "istioctl {arguments:?}: {said}");
    printed
}

/// Whether `istioctl` succeeds, and what it prints to both outputs.
fn run_istioctl(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(tool("bin/istioctl")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// What `istioctl validate` finds in these objects.
pub fn findings(folder: &Path, objects: &[Value]) -> Vec<String> {
    let texts: Vec<_> = objects.iter().map(|object| serde_yaml_ng::to_string(object).unwrap()).collect();
    let file = folder.join("all.yaml");
    fs::write(&file, texts.join("---\n")).unwrap();
    let (is_good, printed, said) = run_istioctl(&["validate", "-f", file.to_str().unwrap()]);
    let lines = printed.lines().chain(said.lines()).filter_map(|line| line.trim().strip_prefix("* "));
    // This one is about every EnvoyFilter.
    let found: Vec<_> = lines
        .filter(|line| !line.contains("exposes internal implementation details"))
        .map(str::to_owned)
        .collect();
    assert!(is_good || !found.is_empty(), "{printed}{said}");
    found
}

/// The objects of a YAML text.
pub fn documents(text: &str) -> Vec<Value> {
    use serde::Deserialize as _;
    let documents = serde_yaml_ng::Deserializer::from_str(text);
    let all = documents.map(|document| Value::deserialize(document).unwrap());
    all.filter(|object| !object.is_null()).collect()
}

/// The objects that kustomize makes of these resources and components, in one namespace.
pub fn kustomized(folder: &Path, resources: &[&str], components: &[&str]) -> Vec<Value> {
    let file = json!({"namespace": "default", "resources": resources, "components": components});
    fs::write(folder.join("kustomization.yaml"), file.to_string()).unwrap();
    let kubectl: PathBuf = paths::root().join(".tools/kubernetes/bin/kubectl");
    assert!(kubectl.is_file(), "{} is missing. Run: scripts/setup.sh kubernetes", kubectl.display());
    let output = Command::new(kubectl).arg("kustomize").arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    documents(&String::from_utf8(output.stdout).unwrap())
}
