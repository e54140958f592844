//! What `llm-failsafe init --kubernetes istio-…` writes, in a stock Envoy: the very parts that the EnvoyFilters add, under a
//! bootstrap file with the same tags for metrics as Istio's. `make test-mesh` runs the same with Istio itself.

use std::path::Path;
use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::Request;
use integration_tests::envoy::{Envoy, EnvoyConfig};
use integration_tests::provider::{Script, ScriptedProvider, errors};
use serde_json::{Value, json};

const EDGE: &str = "llm-failsafe-edge";
const ECDS: &str = "extension_config_discovery.http_filter.llm-failsafe";
const POLICY: &str = "filter/filter.yaml";

/// A gateway as `init` describes it to Istio.
struct Generated {
    listeners: Vec<Value>,
    clusters: Vec<Value>,
    filter: Value,
    /// The annotation with settings of Istio's proxy.
    proxy: Value,
}

impl Generated {
    fn new(kind: &str, openai: &ScriptedProvider, own: &ScriptedProvider) -> Self {
        let made = tempfile::tempdir().unwrap();
        let providers = [
            format!("openai=http://127.0.0.1:{}/v1,KEY_A,KEY_B", openai.port()),
            format!("own=http://127.0.0.1:{}", own.port()),
        ];
        crate::init::run(&[
            "init",
            "--kubernetes",
            kind,
            "--provider",
            &providers[0],
            "--provider",
            &providers[1],
            "--model",
            "chat=openai/gpt-4.1-mini,own/small",
            "--output",
            made.path().to_str().unwrap(),
        ]);
        let pod = if kind == "istio-gateway" { "deployment.yaml" } else { "workload/deployment.yaml" };
        let pod = tree(&made.path().join(pod));
        let proxy = &pod["spec"]["template"]["metadata"]["annotations"]["proxy.istio.io/config"];
        let plumbing = tree(&made.path().join("envoy-filter.yaml"));
        let policy = tree(&made.path().join("filter.yaml"));
        Self {
            listeners: added(&plumbing, "LISTENER"),
            clusters: added(&plumbing, "CLUSTER"),
            filter: added(&policy, "EXTENSION_CONFIG").remove(0),
            proxy: serde_yaml_ng::from_str(proxy.as_str().unwrap()).unwrap(),
        }
    }

    /// The filter as a file that Envoy watches. Istio sends the same by ECDS.
    fn policy(&self, from: &str, to: &str) -> String {
        let mut filter = self.filter.clone();
        filter["@type"] = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig".into();
        filter["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"] = "{{wasm}}".into();
        let text = serde_yaml_ng::to_string(&json!({"resources": [filter]})).unwrap();
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    }

    fn config(&self) -> EnvoyConfig {
        let tags = self.proxy["extraStatTags"].as_array().unwrap().iter();
        // As in Istio's envoy_bootstrap.json.
        let tags: Vec<_> = tags
            .map(|tag| tag.as_str().unwrap())
            .map(|tag| json!({"tag_name": tag, "regex": format!(r"({tag}=\.=(.*?);\.;)")}))
            .collect();
        let kept = self.proxy["proxyStatsMatcher"]["inclusionPrefixes"].as_array().unwrap().iter();
        let kept: Vec<_> =
            kept.map(|prefix| json!({"prefix": prefix})).chain([json!({"prefix": "wasm"})]).collect();
        let listener = "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener";
        let bootstrap = json!({
            "node": {"id": "sidecar", "cluster": "test"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "bootstrap_extensions": [
                {"name": "envoy.bootstrap.internal_listener", "typed_config": {"@type": listener}},
            ],
            "stats_config": {
                "use_all_default_tags": false,
                "stats_tags": tags,
                "stats_matcher": {"inclusion_list": {"patterns": kept}},
            },
            "static_resources": {"listeners": self.listeners, "clusters": self.clusters},
        });
        let watched = json!({
            "path_config_source": {
                "path": format!("{{{{dir}}}}/{POLICY}"),
                "watched_directory": {"path": "{{dir}}/filter"},
            },
        });
        let text = serde_yaml_ng::to_string(&with_source(bootstrap, &watched)).unwrap();
        EnvoyConfig::from_text(text)
            .replace("port_value: 10000", "port_value: 0")
            .file(POLICY, self.policy("models:", "models:"))
            .env("KEY_A", "first")
            .env("KEY_B", "second")
    }
}

fn tree(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_yaml_ng::from_str(&text).unwrap()
}

/// What an EnvoyFilter adds of one kind.
fn added(object: &Value, apply_to: &str) -> Vec<Value> {
    let patches = object["spec"]["configPatches"].as_array().unwrap().iter();
    assert!(patches.clone().all(|it| it["patch"]["operation"] == "ADD"));
    patches.filter(|it| it["applyTo"] == apply_to).map(|it| it["patch"]["value"].clone()).collect()
}

/// The tree with this in the place of the source of the filter.
fn with_source(mut tree: Value, source: &Value) -> Value {
    if let Some(discovery) = tree.get_mut("config_discovery") {
        assert_eq!(discovery["config_source"]["ads"], json!({}));
        discovery["config_source"] = source.clone();
        return tree;
    }
    match &mut tree {
        Value::Object(members) => {
            members.values_mut().for_each(|it| *it = with_source(it.take(), source));
        }
        Value::Array(items) => items.iter_mut().for_each(|it| *it = with_source(it.take(), source)),
        _ => {}
    }
    tree
}

/// Waits until a series with these labels is counted, and returns all series.
async fn wait_for_series(envoy: &Envoy, family: &str, labels: &[&str]) -> String {
    let deadline = Instant::now() + SOON;
    loop {
        let all = envoy.prometheus().await;
        let is_wanted = |line: &str| {
            let series = line.strip_prefix(family).and_then(|rest| rest.strip_prefix('{'));
            series.is_some_and(|series| labels.iter().all(|label| series.contains(label)))
                && !line.ends_with(" 0")
        };
        if all.lines().any(is_wanted) {
            return all;
        }
        assert!(Instant::now() < deadline, "no {family} with {labels:?}:\n{all}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn check(kind: &str) {
    let (openai, own) = (ScriptedProvider::start("openai").await, ScriptedProvider::start("own").await);
    let generated = Generated::new(kind, &openai, &own);
    let envoy = Envoy::start(generated.config()).await;
    let port = envoy.port_of(EDGE);

    // A key from the environment, and not the client's.
    let request = Request::chat("chat", false).header("authorization", "Bearer of-the-client");
    assert_eq!(request.ask(port).await.status, 200);
    let key = openai.received()[0].header("authorization").unwrap().to_owned();
    assert!(["Bearer first", "Bearer second"].contains(&key.as_str()), "{key}");

    // Failover, also of a stream.
    openai.by_default(errors::openai_500());
    for stream in [false, true] {
        let answer = Request::chat("chat", stream).ask(port).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-llm-target")), (200, Some("own-small")));
        assert!(answer.error.is_none() && answer.text().contains("own"), "{}", answer.text());
        assert_eq!(answer.text().contains("[DONE]"), stream);
    }

    // Labels arrive as labels, by nothing but Istio's own tags.
    let labels = [r#"target="own-small""#, r#"outcome="complete""#];
    let all = wait_for_series(&envoy, "llm_failsafe_attempts_by_outcome", &labels).await;
    for part in ["=.=", "__", ";"] {
        let unclean = all.lines().find(|line| line.contains("llm_failsafe") && line.contains(part));
        assert_eq!(unclean, None);
    }

    // A new policy reaches new requests, and a stream that is open stays whole.
    own.script(Script::usual().content_chunks(12).delay_chunks(Duration::from_millis(150)));
    let mut stream = Request::chat("chat", true).send(port).await.unwrap();
    assert!(stream.next_chunk().await.unwrap().is_ok());
    envoy.replace_file(POLICY, &generated.policy("chat:", "talk:"));
    let deadline = Instant::now() + SOON;
    while Request::chat("talk", false).ask(port).await.status != 200 {
        assert!(Instant::now() < deadline, "the new policy is not used");
    }
    envoy.replace_file(POLICY, &generated.policy("kind: openai\n", "kind: opanai\n"));
    envoy.wait_for_stat(&format!("{ECDS}.update_rejected"), |count| count >= 1).await;
    assert_eq!(Request::chat("talk", false).ask(port).await.status, 200, "the old policy stays");
    let stream = stream.read().await;
    assert!(stream.error.is_none() && stream.text().contains("[DONE]"), "the stream was cut");
}

#[tokio::test]
async fn a_sidecars_listener_serves_and_takes_a_new_policy() {
    check("istio-sidecar").await;
}

#[tokio::test]
async fn a_gateways_listener_serves_and_takes_a_new_policy() {
    check("istio-gateway").await;
}
