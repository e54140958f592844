//! What `llm-failsafe init --kubernetes` writes, in a real Envoy that starts as in a pod: with mounted folders, the probes of
//! the Deployment, changes while it runs, and its end.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use integration_tests::client::Request;
use integration_tests::envoy::{Envoy, EnvoyConfig};
use integration_tests::provider::{Script, ScriptedProvider};
use integration_tests::{SOON, paths};
use serde_json::Value;

const PROBES: [&str; 3] = ["startupProbe", "readinessProbe", "livenessProbe"];
const PLACEHOLDER: &str = "WRITE THE KEY HERE";

/// The name of a file and its text.
pub type File = (String, String);

/// What the kubelet needs to know of a pod.
struct Pod {
    envoy_file: String,
    filter: String,
    /// The Secret's entries with placeholders.
    keys: Vec<File>,
    container: Value,
}

impl Pod {
    /// A gateway with two accounts. The second double stands for Envoy's admin interface.
    fn new(openai: &ScriptedProvider, admin: &ScriptedProvider) -> Self {
        let made = tempfile::tempdir().unwrap();
        let provider = format!("openai=http://127.0.0.1:{}/v1,A,B", openai.port());
        crate::init::run(&[
            "init",
            "--kubernetes",
            "kustomize",
            "--provider",
            &provider,
            "--model",
            "chat=openai/gpt-4.1-mini",
            "--output",
            made.path().to_str().unwrap(),
        ]);
        let read = |name: &str| fs::read_to_string(made.path().join(name)).unwrap();
        let tree = |name: &str| -> Value { serde_yaml_ng::from_str(&read(name)).unwrap() };
        let container = tree("deployment.yaml")["spec"]["template"]["spec"]["containers"][0].clone();
        let secret = tree("keys.example.yaml");
        let entries = secret["stringData"].as_object().unwrap();
        let address = |host: &str, port: u16| format!("address: {host}, port_value: {port}");
        // The first one is the admin interface, the second one the cluster that leads to it.
        let envoy_file = read("envoy.yaml")
            .replacen(&address("127.0.0.1", 9901), &address("127.0.0.1", 0), 1)
            .replacen(&address("127.0.0.1", 9901), &address("127.0.0.1", admin.port()), 1)
            .replace("address: 0.0.0.0", "address: 127.0.0.1")
            .replace("port_value: 10000", "port_value: 0")
            .replace("port_value: 10001", "port_value: 0")
            // The harness starts Envoy in another folder than the pod.
            .replace("path: filter", "path: {{dir}}/filter")
            .replace("path: keys", "path: {{dir}}/keys");
        Self {
            envoy_file,
            filter: read("filter/filter.yaml")
                .replace("/opt/llm-failsafe/plugin.wasm", paths::wasm().to_str().unwrap()),
            keys: entries
                .iter()
                .map(|(name, text)| (name.clone(), text.as_str().unwrap().to_owned()))
                .collect(),
            container,
        }
    }

    fn filter(&self, from: &str, to: &str) -> Vec<File> {
        assert!(self.filter.contains(from), "{from}");
        vec![("filter.yaml".to_owned(), self.filter.replace(from, to))]
    }

    fn keys(&self, key: &str) -> Vec<File> {
        self.keys.iter().map(|(name, text)| (name.clone(), text.replace(PLACEHOLDER, key))).collect()
    }

    /// The pod with this filter, the first keys, and the environment of the container. Its grace is shorter.
    fn config(&self, filter: &[File]) -> EnvoyConfig {
        let config = EnvoyConfig::from_text(self.envoy_file.clone()).by_entrypoint().concurrency(2);
        let config = mounted(mounted(config, "filter", filter), "keys", &self.keys("first"));
        let variables = self.container["env"].as_array().unwrap().iter();
        let values = variables.filter_map(|it| Some((it["name"].as_str()?, it.get("value")?.as_str()?)));
        let config = values.fold(config, |config, (name, value)| config.env(name, value));
        config.env("DRAIN_GRACE_S", "1")
    }

    /// The status of a probe as the kubelet sends it.
    async fn probe(&self, envoy: &Envoy, probe: &str) -> u16 {
        let get = &self.container[probe]["httpGet"];
        let port = match get["port"].as_str().unwrap() {
            "http" => envoy.port(),
            name => envoy.port_of(name),
        };
        let answer = Request::get(get["path"].as_str().unwrap()).send(port).await;
        answer.map_or(0, |answer| answer.status.as_u16())
    }

    async fn wait_for_probe(&self, envoy: &Envoy, probe: &str, status: u16) {
        let deadline = Instant::now() + SOON;
        while self.probe(envoy, probe).await != status {
            assert!(Instant::now() < deadline, "{probe} is not {status}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A folder as Kubernetes mounts it: each file leads through the link `..data`.
pub fn mounted(config: EnvoyConfig, folder: &str, files: &[File]) -> EnvoyConfig {
    let config = config.link(&format!("{folder}/..data"), "..1");
    files.iter().fold(config, |config, (name, text)| {
        config
            .file(&format!("{folder}/..1/{name}"), text.clone())
            .link(&format!("{folder}/{name}"), &format!("..data/{name}"))
    })
}

/// Changes a mounted folder as Kubernetes does: all files at once, by a rename of the link.
pub fn remount(envoy: &Envoy, folder: &str, version: &str, files: &[File]) {
    let mount = envoy.dir().join(folder);
    fs::create_dir(mount.join(version)).unwrap();
    for (name, text) in files {
        fs::write(mount.join(version).join(name), text).unwrap();
    }
    symlink(version, mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
}

async fn key_of_next_request(envoy: &Envoy, openai: &ScriptedProvider) -> String {
    assert_eq!(Request::chat("chat", false).ask(envoy.port()).await.status, 200);
    openai.received().last().unwrap().header("authorization").unwrap().to_owned()
}

#[tokio::test]
async fn a_pod_starts_and_takes_a_new_key_and_a_new_policy_while_it_runs() {
    let (openai, admin) = (ScriptedProvider::start("openai").await, ScriptedProvider::start("admin").await);
    let pod = Pod::new(&openai, &admin);
    let envoy = Envoy::start(pod.config(&pod.filter("models:", "models:"))).await;
    for probe in PROBES {
        pod.wait_for_probe(&envoy, probe, 200).await;
    }
    assert_eq!(key_of_next_request(&envoy, &openai).await, "Bearer first");

    remount(&envoy, "keys", "..2", &pod.keys("second"));
    let deadline = Instant::now() + SOON;
    while key_of_next_request(&envoy, &openai).await != "Bearer second" {
        assert!(Instant::now() < deadline, "the new key is not used");
    }

    remount(&envoy, "filter", "..2", &pod.filter("chat: {", "talk: {"));
    let deadline = Instant::now() + SOON;
    while Request::chat("talk", false).ask(envoy.port()).await.status != 200 {
        assert!(Instant::now() < deadline, "the new configuration is not used");
    }

    // Of the admin interface only the metrics can be reached, and only read.
    let probes = envoy.port_of("probes");
    for path in ["/", "/stats", "/quitquitquit", "/stats/prometheus/..%2f..%2fquitquitquit"] {
        assert_eq!(Request::get(path).ask(probes).await.status, 404, "{path}");
    }
    assert_eq!(Request::post("/stats/prometheus").ask(probes).await.status, 404);
    assert!(admin.received().is_empty());
    Request::get("/stats/prometheus?filter=llm").ask(probes).await;
    assert_eq!(admin.wait_for(1, SOON).await[0].path, "/stats/prometheus?filter=llm");
}

/// Envoy itself is ready then. So a rollout with a bad configuration stops at its first pod, which heals without a restart.
#[tokio::test]
async fn with_a_bad_configuration_a_pod_does_not_start_until_it_is_corrected() {
    let (openai, admin) = (ScriptedProvider::start("openai").await, ScriptedProvider::start("admin").await);
    let pod = Pod::new(&openai, &admin);
    let envoy = Envoy::start(pod.config(&pod.filter("kind: openai,", "kind: opanai,"))).await;
    envoy
        .wait_for_stat("extension_config_discovery.http_filter.llm-failsafe.update_rejected", |count| {
            count >= 1
        })
        .await;
    pod.wait_for_probe(&envoy, "readinessProbe", 200).await;
    assert_eq!(pod.probe(&envoy, "startupProbe").await, 500);
    remount(&envoy, "filter", "..2", &pod.filter("models:", "models:"));
    pod.wait_for_probe(&envoy, "startupProbe", 200).await;
    assert_eq!(Request::chat("chat", false).ask(envoy.port()).await.status, 200);
}

#[tokio::test]
async fn a_pod_that_is_ended_fails_its_readiness_and_finishes_its_streams() {
    let (openai, admin) = (ScriptedProvider::start("openai").await, ScriptedProvider::start("admin").await);
    let pod = Pod::new(&openai, &admin);
    let mut envoy = Envoy::start(pod.config(&pod.filter("models:", "models:"))).await;
    pod.wait_for_probe(&envoy, "startupProbe", 200).await;
    openai.script(Script::usual().delay_chunks(Duration::from_millis(700)));
    let port = envoy.port();
    let stream = tokio::spawn(async move { Request::chat("chat", true).ask(port).await });
    openai.wait_for(1, SOON).await;
    envoy.terminate();
    pod.wait_for_probe(&envoy, "readinessProbe", 503).await;
    let answer = stream.await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("[DONE]"), "the stream was cut: {}", answer.text());
    assert_eq!(envoy.end().await.code(), Some(0));
}
