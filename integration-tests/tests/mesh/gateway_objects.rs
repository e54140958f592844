//! The objects of a folder that `llm-failsafe init --kubernetes envoy-gateway` wrote, as `kubectl apply -k` would send them.

use std::fs;
use std::process::Command;

use integration_tests::paths;
use integration_tests::provider::ScriptedProvider;
use llm_failsafe::base::WallTime;
use serde::Deserialize as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::tool;

pub struct Folder(TempDir);

impl Folder {
    /// A gateway with the model `chat` of a provider with two accounts, and of another provider after it. The model `direct` is
    /// of the other provider only.
    pub fn new(providers: [&ScriptedProvider; 2], more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = providers.map(|provider| format!("http://127.0.0.1:{}/v1", provider.port()));
        let (first, second) = (format!("openai={first},KEY_A,KEY_B"), format!("other={second},KEY_C"));
        let usual = ["init", "--kubernetes", "envoy-gateway", "--provider", &first, "--provider", &second];
        let chat = "chat=openai/gpt-4.1-mini,other/gpt-4.1-mini";
        let rest = ["--model", chat, "--model", "direct=other/gpt-4.1-mini"];
        let output = ["--output", folder.path().to_str().unwrap()];
        let arguments = [&usual[..], &rest, &output, more].concat();
        llm_failsafe_cli::run(arguments, WallTime::from_millis(1_780_920_000_000)).unwrap();
        Self(folder)
    }

    /// Replaces text in one of the files.
    pub fn replace(&self, file: &str, from: &str, to: &str) {
        let path = self.0.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Takes the component for the other scheme of names.
    pub fn with_names_v2(self) -> Self {
        self.replace("kustomization.yaml", "\n- components/xds-names\n", "\n- components/xds-names-v2\n");
        self
    }

    /// All objects.
    pub fn objects(&self) -> Vec<Value> {
        let kubectl = paths::root().join(".tools/kubernetes/bin/kubectl");
        assert!(kubectl.is_file(), "kubectl is missing. Run: scripts/setup.sh kubernetes");
        let built = Command::new(kubectl).arg("kustomize").arg(self.0.path()).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let text = String::from_utf8(built.stdout).unwrap();
        let documents = serde_yaml_ng::Deserializer::from_str(&text);
        documents.map(|document| Value::deserialize(document).unwrap()).collect()
    }
}

pub fn the<'o>(objects: &'o [Value], kind: &str, name: &str) -> &'o Value {
    let found = objects.iter().find(|it| it["kind"] == kind && it["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

/// The file with the filter, as the ConfigMap has it, with the built module.
pub fn filter(objects: &[Value]) -> String {
    let text = the(objects, "ConfigMap", "llm-failsafe-filter")["data"]["filter.yaml"].as_str().unwrap();
    text.replace("/opt/llm-failsafe/plugin.wasm", paths::wasm().to_str().unwrap())
}

/// As a file of many documents. What only Kubernetes reads is left out.
pub fn as_file(objects: &[Value]) -> String {
    let of_gateway = objects.iter().filter(|it| it["kind"] != "ConfigMap");
    of_gateway.map(|it| format!("---\n{}", serde_yaml_ng::to_string(it).unwrap())).collect()
}

/// What `egctl` prints of the objects.
pub fn translation(objects: &[Value]) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), as_file(objects)).unwrap();
    let arguments =
        ["x", "translate", "--from", "gateway-api", "--to", "xds", "-t", "all", "-o", "json", "-f"];
    let output = Command::new(tool("bin/egctl")).args(arguments).arg(file.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What Envoy Gateway makes of the objects: listeners, routes and clusters by name, with the names of Envoy's fields.
pub fn translated(objects: &[Value]) -> Value {
    let all = translation(objects);
    let dumps = all["xds"]["llm/llm-failsafe"]["configs"].as_array().unwrap();
    let mut resources = json!({"listener": {}, "route": {}, "cluster": {}});
    for dump in dumps {
        for (kind, list, place) in [
            ("listener", "dynamicListeners", "/activeState/listener"),
            ("route", "dynamicRouteConfigs", "/routeConfig"),
            ("cluster", "dynamicActiveClusters", "/cluster"),
        ] {
            for found in dump[list].as_array().into_iter().flatten() {
                let found = found.pointer(place).unwrap();
                resources[kind][found["name"].as_str().unwrap()] = with_envoys_names(found);
            }
        }
    }
    resources
}

/// `perConnectionBufferLimitBytes` becomes `per_connection_buffer_limit_bytes`.
fn with_envoys_names(tree: &Value) -> Value {
    let name = |name: &str| -> String {
        // The name of an extension.
        if name.contains('.') {
            return name.to_owned();
        }
        name.chars()
            .flat_map(|c| {
                let before = c.is_ascii_uppercase().then_some('_');
                before.into_iter().chain([c.to_ascii_lowercase()])
            })
            .collect()
    };
    match tree {
        Value::Object(fields) => {
            fields.iter().map(|(field, value)| (name(field), with_envoys_names(value))).collect()
        }
        Value::Array(items) => items.iter().map(with_envoys_names).collect(),
        other => other.clone(),
    }
}
