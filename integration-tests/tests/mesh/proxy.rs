//! A pod's proxy: Istio's real agent and a stock Envoy, with the arguments and the environment of the injected container.

use std::fs;
use std::process::Command;

use integration_tests::client::Request;
use serde_json::Value;
use tempfile::TempDir;

use super::process::{Process, until};
use super::tool;

const ADMIN: u16 = 15000;
const READINESS: u16 = 15021;
const METRICS: u16 = 15090;
/// The address of the pod. The script gives it to the network.
const POD_IP: &str = "10.1.1.1";
/// What belongs to certificates. There are none here.
const LEFT_OUT: [&str; 2] = ["PILOT_CERT_PROVIDER", "CA_ADDR"];

/// The proxy. It ends when dropped.
pub struct Proxy {
    process: Process,
    _folder: TempDir,
}

impl Proxy {
    /// Starts the proxy of a pod of this injected Deployment, and waits until the agent's readiness probe succeeds. A key is
    /// the name of its variable, in small letters.
    pub async fn start(injected: &Value) -> Self {
        let folder = tempfile::Builder::new().prefix("llm-failsafe-proxy-").tempdir().unwrap();
        let template = &injected["spec"]["template"];
        for inside in ["etc/istio/pod", "etc/istio/proxy", "var/lib/istio/data"] {
            fs::create_dir_all(folder.path().join(inside)).unwrap();
        }
        for (file, field) in [("labels", "labels"), ("annotations", "annotations")] {
            let entries = template["metadata"][field].as_object().unwrap().iter();
            let lines: String = entries.map(|(name, value)| format!("{name}={value}\n")).collect();
            fs::write(folder.path().join("etc/istio/pod").join(file), lines).unwrap();
        }
        let container = container(template);
        let mut command = Command::new(tool("bin/pilot-agent"));
        // Istiod finds the labels of a pod in the Kubernetes API, where there is no pod here.
        command.env("ISTIO_METAJSON_LABELS", template["metadata"]["labels"].to_string());
        command.current_dir(folder.path());
        let arguments = container["args"].as_array().unwrap().iter().map(|it| it.as_str().unwrap());
        command.args(arguments.map(|it| it.replace("$(POD_NAMESPACE)", "default")));
        command.arg("--templateFile").arg(tool("istio/envoy_bootstrap.json"));
        for variable in container["env"].as_array().unwrap() {
            let name = variable["name"].as_str().unwrap();
            if let Some(value) = value(variable).filter(|_| !LEFT_OUT.contains(&name)) {
                command.env(name, if name == "PROXY_CONFIG" { without_tls(&value) } else { value });
            }
        }
        let process = Process::start("agent", &mut command, folder.path());
        let mut proxy = Self { process, _folder: folder };
        until("the proxy is ready", async || {
            assert!(proxy.process.ended().is_none(), "the agent has ended");
            proxy.is_ready().await
        })
        .await;
        proxy
    }

    /// What the readiness probe finds.
    pub async fn is_ready(&self) -> bool {
        Request::get("/healthz/ready").send(READINESS).await.is_ok_and(|answer| answer.status == 200)
    }

    /// The admin interface's answer.
    pub async fn admin(&self, path: &str) -> String {
        let answer = Request::get(path).ask(ADMIN).await;
        assert_eq!(answer.status, 200, "{path}");
        answer.text()
    }

    /// A counter or a gauge; 0 if there is none with this name.
    pub async fn stat(&self, name: &str) -> u64 {
        let all = self.admin(&format!("/stats?filter={name}")).await;
        let found = all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok());
        found.unwrap_or(0)
    }

    /// Metrics as Prometheus gets them.
    pub async fn metrics(&self) -> String {
        Request::get("/stats/prometheus").ask(METRICS).await.text()
    }

    /// What agent and Envoy have printed.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Ends the pod, as Kubernetes does.
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits until it has ended.
    pub async fn end(&mut self) {
        self.process.end().await;
    }
}

/// The container that Istio has filled in.
pub fn container(template: &Value) -> &Value {
    let lists =
        ["containers", "initContainers"].into_iter().filter_map(|list| template["spec"][list].as_array());
    let found = lists.flatten().find(|container| container["name"] == "istio-proxy");
    found.expect("a container istio-proxy")
}

/// The settings of the proxy, with a control plane that has no certificate. The injector leaves this out, because it is the
/// zero of its type.
fn without_tls(settings: &str) -> String {
    let mut settings: Value = serde_json::from_str(settings).unwrap();
    settings["controlPlaneAuthPolicy"] = "NONE".into();
    settings.to_string()
}

/// The value of a variable as the kubelet makes it.
fn value(variable: &Value) -> Option<String> {
    let from = &variable["valueFrom"];
    if let Some(key) = from["secretKeyRef"]["key"].as_str() {
        return Some(key.to_ascii_lowercase());
    }
    let value = match from["fieldRef"]["fieldPath"].as_str() {
        Some("metadata.name") => "pod-1",
        Some("metadata.namespace" | "spec.serviceAccountName") => "default",
        Some("status.podIP" | "status.hostIP") => POD_IP,
        Some(_) => "node-1",
        // Limits of a container. There is none here.
        None if from.is_object() => return None,
        None => variable["value"].as_str().unwrap_or_default(),
    };
    Some(value.to_owned())
}
