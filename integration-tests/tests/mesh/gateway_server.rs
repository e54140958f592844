//! Envoy Gateway as a server without Kubernetes. It reads objects from files, and starts Envoy itself.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use integration_tests::client::Request;
use integration_tests::paths;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway_objects::{as_file, filter};
use crate::process::{Process, until};
use crate::tool;

/// Where Envoy listens for clients: at the port of the gateway.
pub const EDGE: u16 = 80;
/// Where Envoy's admin interface listens.
pub const ADMIN: u16 = 19000;
/// Where the kubelet asks whether a pod is ready.
pub const READY: u16 = 19003;

pub struct Server {
    process: Process,
    folder: TempDir,
    /// How many times the ConfigMap has been mounted.
    version: u32,
}

impl Server {
    /// Starts it with these objects. `flags` are runtime flags of Envoy Gateway.
    pub async fn start(objects: &[Value], flags: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("llm-failsafe-eg-").tempdir().unwrap();
        let dir = folder.path();
        let envoy = dir.join("data/envoy-versions").join(version()).join("bin");
        for new in [&envoy, &dir.join("objects"), &dir.join("filter")] {
            fs::create_dir_all(new).unwrap();
        }
        symlink(paths::envoy(), envoy.join("envoy")).unwrap();
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let config = json!({
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "EnvoyGateway",
            "gateway": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
            "provider": {"type": "Custom", "custom": {
                "resource": {"type": "File", "file": {"paths": [path("objects")]}},
                "infrastructure": {"type": "Host", "host": {
                    "configHome": path("config"),
                    "dataHome": path("data"),
                    "stateHome": path("state"),
                    "runtimeDir": path("run"),
                }},
            }},
            // Envoy's own is at the usual port, where the shutdown manager looks for it.
            "admin": {"address": {"host": "127.0.0.1", "port": 19100}},
            "extensionApis": {"enableEnvoyPatchPolicy": true, "enableBackend": true},
            "runtimeFlags": {"enabled": flags},
        });
        fs::write(dir.join("server.yaml"), config.to_string()).unwrap();
        let program = tool("bin/envoy-gateway");
        let certificates = Command::new(&program)
            .args(["certgen", "--local", "--config-home"])
            .arg(dir.join("config"))
            .output();
        assert!(certificates.unwrap().status.success());
        // What a start would find in the ConfigMap.
        if objects.iter().any(|object| object["kind"] == "ConfigMap") {
            mount(&dir.join("filter"), 0, &filter(objects));
        }
        write_objects(dir, objects);
        let mut command = Command::new(program);
        command.arg("server").arg("-c").arg(dir.join("server.yaml")).env("HOME", dir);
        let keys = ["KEY_A", "KEY_B", "KEY_C"].map(|name| (name, format!("value-of-{name}")));
        let process = Process::start("envoy-gateway", command.envs(keys), dir);
        Self { process, folder, version: 0 }
    }

    /// Starts it, and waits until the gateway answers.
    pub async fn ready(objects: &[Value], flags: &[&str]) -> Self {
        let server = Self::start(objects, flags).await;
        until("the gateway answers", async || {
            let asked = Request::get("/llm-failsafe/health").send(EDGE).await;
            asked.is_ok_and(|answer| answer.status == 200)
        })
        .await;
        server
    }

    /// Brings changed objects, as the API server does.
    pub fn apply(&self, objects: &[Value]) {
        write_objects(self.folder.path(), objects);
    }

    /// Brings a changed ConfigMap, as the kubelet does.
    pub fn mount(&mut self, text: &str) {
        self.version += 1;
        mount(&self.folder.path().join("filter"), self.version, text);
    }

    /// What Envoy Gateway and Envoy have printed.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Waits until that contains this.
    pub async fn says(&self, text: &str) {
        until(text, async || self.output().contains(text)).await;
    }

    /// What the shutdown manager does before a pod ends.
    pub fn shut_down(&self) -> Process {
        let mut command = Command::new(tool("bin/envoy-gateway"));
        command.args(["envoy", "shutdown", "--drain-timeout", "60s", "--min-drain-duration", "2s"]);
        Process::start("shutdown", &mut command, self.folder.path())
    }

    /// Asks the admin interface of Envoy.
    pub async fn admin(&self, request: Request) -> String {
        let answer = request.ask(ADMIN).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    /// A counter or gauge of Envoy.
    pub async fn stat(&self, name: &str) -> u64 {
        let all = self.admin(Request::get("/stats")).await;
        let line = all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok());
        line.unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// Waits until a counter or gauge is larger than this.
    pub async fn grows(&self, name: &str, from: u64) {
        until(name, async || self.stat(name).await > from).await;
    }
}

/// The version of the Envoy of these tests, as its folder is named.
fn version() -> String {
    let said = Command::new(paths::envoy()).arg("--version").output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    said.split('/').nth(1).unwrap_or_else(|| panic!("{said}")).to_owned()
}

/// The objects with Envoy on this machine in place of pods.
fn write_objects(dir: &Path, objects: &[Value]) {
    let mut objects = objects.to_vec();
    for object in objects.iter_mut().filter(|object| object["kind"] == "EnvoyProxy") {
        object["spec"]["provider"] = json!({"type": "Host", "host": {"envoyVersion": version()}});
        // Without pods Envoy Gateway lets the kernel choose the port.
        let bootstrap = object["spec"]["bootstrap"]["value"].as_str().unwrap();
        let admin = format!("admin: {{ address: {{ socket_address: {{ port_value: {ADMIN} }} }} }}\n");
        object["spec"]["bootstrap"]["value"] = format!("{bootstrap}{admin}").into();
    }
    let text = as_file(&objects).replace("/etc/llm-failsafe", dir.join("filter").to_str().unwrap());
    fs::write(dir.join("new.yaml"), text).unwrap();
    fs::rename(dir.join("new.yaml"), dir.join("objects/all.yaml")).unwrap();
}

/// A folder as Kubernetes mounts it: all files lead through the link `..data`, and a rename of the link changes them.
fn mount(folder: &Path, version: u32, text: &str) {
    let name = format!("..{version}");
    fs::create_dir(folder.join(&name)).unwrap();
    fs::write(folder.join(&name).join("filter.yaml"), text).unwrap();
    symlink(&name, folder.join("..data_new")).unwrap();
    fs::rename(folder.join("..data_new"), folder.join("..data")).unwrap();
    let link = folder.join("filter.yaml");
    if link.symlink_metadata().is_err() {
        symlink("..data/filter.yaml", link).unwrap();
    }
}
