//! What `llm-failsafe init --kubernetes envoy-gateway` writes, in a real Envoy without Envoy Gateway: the patches are applied here to
//! a listener and routes like its own. `make test-mesh` does the same with the real Envoy Gateway.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use integration_tests::client::Request;
use integration_tests::envoy::{Envoy, EnvoyConfig};
use integration_tests::provider::{Script, ScriptedProvider};
use integration_tests::{SOON, paths, records};
use serde_json::{Value, json};

use crate::kubernetes::{mounted, remount};

const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const MANAGER: &str = "envoy.filters.network.http_connection_manager";
/// The name of the listener and of its routes.
const NAME: &str = "llm/llm-failsafe/http";

/// Resources by type and name.
type Resources = BTreeMap<(String, String), Value>;

/// The folder of a gateway with two accounts.
struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new(openai: &ScriptedProvider, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let provider = format!("openai=http://127.0.0.1:{}/v1,KEY_A,KEY_B", openai.port());
        let usual = ["init", "--kubernetes", "envoy-gateway", "--provider", &provider];
        let rest = ["--model", "chat=openai/gpt-4.1-mini", "--output", folder.path().to_str().unwrap()];
        crate::init::run(&[&usual[..], &rest, more].concat());
        Self { folder }
    }

    fn object(&self, file: &str) -> Value {
        serde_yaml_ng::from_str(&fs::read_to_string(self.folder.path().join(file)).unwrap()).unwrap()
    }

    fn filter(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("filter/filter.yaml")).unwrap();
        text.replace("/opt/llm-failsafe/plugin.wasm", paths::wasm().to_str().unwrap())
    }

    /// Envoy as Envoy Gateway would configure it. `change` stands for what its other objects do.
    fn config(&self, change: impl FnOnce(&mut Value)) -> EnvoyConfig {
        let fixture =
            fs::read_to_string(paths::root().join("integration-tests/tests/configs/envoy-gateway.yaml"));
        let mut own: Value = serde_yaml_ng::from_str(&fixture.unwrap()).unwrap();
        change(&mut own);
        let key = |kind: &str| (kind.to_owned(), NAME.to_owned());
        let mut resources =
            Resources::from([(key(LISTENER), own["listener"].take()), (key(ROUTES), own["routes"].take())]);
        for file in ["gateway/patches-additions.yaml", "gateway/patches-edge.yaml"] {
            for patch in self.object(file)["spec"]["jsonPatches"].as_array().unwrap() {
                apply(patch, &mut resources);
            }
        }
        let routes = resources.remove(&key(ROUTES)).unwrap();
        let listener = resources.get_mut(&key(LISTENER)).unwrap();
        listener["address"] = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
        listener["default_filter_chain"]["filters"][0]["typed_config"]["route_config"] = routes;
        let of = |kind: &str| -> Value {
            resources.iter().filter(|((of, _), _)| of == kind).map(|(_, it)| it.clone()).collect()
        };

        let proxy = self.object("gateway/envoy-proxy.yaml");
        let bootstrap = proxy["spec"]["bootstrap"]["value"].as_str().unwrap();
        let mut envoy: Value = serde_yaml_ng::from_str(bootstrap).unwrap();
        envoy["admin"] = json!({"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}});
        envoy["node"] = json!({"id": "test", "cluster": "test"});
        envoy["static_resources"] = json!({"listeners": of(LISTENER), "clusters": of(CLUSTER)});
        let text = serde_json::to_string_pretty(&envoy).unwrap();
        let config = EnvoyConfig::from_text(text.replace("/etc/llm-failsafe", "{{dir}}/filter"));
        let pod = &proxy["spec"]["provider"]["kubernetes"]["envoyDeployment"]["container"];
        pod["env"].as_array().unwrap().iter().fold(config.concurrency(2), |config, variable| {
            let name = variable["name"].as_str().unwrap();
            config.env(name, &format!("value-of-{name}"))
        })
    }
}

/// Applies an addition as Envoy Gateway does: of a whole resource, or at each place that the JSON path names.
fn apply(patch: &Value, resources: &mut Resources) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (key, operation) = ((text(&patch["type"]), text(&patch["name"])), &patch["operation"]);
    assert_eq!(operation["op"], "add");
    if operation["path"] == "" {
        assert!(resources.insert(key, operation["value"].clone()).is_none());
        return;
    }
    let resource = resources.get_mut(&key).unwrap_or_else(|| panic!("there is no {key:?}"));
    let places = places(resource, operation["jsonPath"].as_str().unwrap());
    assert!(!places.is_empty(), "{operation}");
    let path = operation["path"].as_str().unwrap();
    for place in places {
        let place = resource.pointer_mut(&place).unwrap();
        match path.split_once('/') {
            Some((list, number)) => {
                let list = place[list].as_array_mut().unwrap();
                list.insert(number.parse().unwrap(), operation["value"].clone());
            }
            None => place[path] = operation["value"].clone(),
        }
    }
}

/// The JSON pointers of the places that this JSON path names. It knows those of the patches.
fn places(resource: &Value, json_path: &str) -> Vec<String> {
    let mut found = Vec::new();
    let is_wanted: fn(&str, &Value) -> Option<&'static str> = match json_path {
        "$..filters[?(@.name=='envoy.filters.network.http_connection_manager')].typed_config" => {
            |list, item| (list == "filters" && item["name"] == MANAGER).then_some("/typed_config")
        }
        "$..http_filters[?(@.typed_config.config.name=='llm-failsafe')].typed_config.config" => {
            |list, item| {
                let is_it =
                    list == "http_filters" && item["typed_config"]["config"]["name"] == "llm-failsafe";
                is_it.then_some("/typed_config/config")
            }
        }
        "$.virtual_hosts[*]" => |list, _| (list == "virtual_hosts").then_some(""),
        "$.virtual_hosts[*].routes[*]" => |list, _| (list == "routes").then_some(""),
        other => panic!("unknown path {other}"),
    };
    walk(resource, "", "", &mut |list, item, pointer| {
        found.extend(is_wanted(list, item).map(|rest| format!("{pointer}{rest}")));
    });
    found
}

/// Calls `see` with each item of each list, the name of the list, and the item's JSON pointer.
fn walk(tree: &Value, name: &str, pointer: &str, see: &mut impl FnMut(&str, &Value, &str)) {
    match tree {
        Value::Object(fields) => {
            for (field, value) in fields {
                walk(value, field, &format!("{pointer}/{field}"), see);
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                let pointer = format!("{pointer}/{number}");
                see(name, item, &pointer);
                walk(item, name, &pointer, see);
            }
        }
        _ => {}
    }
}

fn keys(provider: &ScriptedProvider) -> Vec<String> {
    let mut keys: Vec<_> =
        provider.received().iter().map(|it| it.header("authorization").unwrap().to_owned()).collect();
    keys.sort();
    keys
}

const BOTH_KEYS: [&str; 2] = ["Bearer value-of-KEY_A", "Bearer value-of-KEY_B"];

#[tokio::test]
async fn patched_listeners_fail_over_and_a_new_policy_cuts_no_stream() {
    let openai = ScriptedProvider::start("openai").await;
    let gateway = Folder::new(&openai, &[]);
    let filter = |text: String| [("filter.yaml".to_owned(), text)];
    let config = mounted(gateway.config(|_| ()), "filter", &filter(gateway.filter()));
    let envoy = Envoy::start(config).await;

    for stream in [false, true] {
        openai.forget_received();
        openai.script(Script::status(500));
        let forged = Request::chat("chat", stream).header("x-llm-strip-cluster", "elsewhere");
        let answer = forged.header("x-envoy-max-retries", "0").ask(envoy.port()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!stream || answer.text().contains("[DONE]"), "{}", answer.text());
        assert_eq!(answer.header("x-llm-retry"), None);
        assert_eq!(keys(&openai), BOTH_KEYS);
    }
    let metrics = envoy.prometheus().await;
    let failed = |line: &&str| line.contains("llm_failsafe_") && line.contains("outcome=\"server\"");
    assert!(metrics.lines().any(|line| failed(&line)), "{metrics}");
    assert_eq!(records::wait_for(&envoy, 2).await[1]["attempts"].as_array().unwrap().len(), 2);

    // Envoy answers this itself.
    let refused = Request::chat("chat", false).header("host", "user@host").ask(envoy.port()).await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()["error"]["code"].as_str()),
        (400, Some("not_accepted"))
    );

    openai.script(Script::usual().content_chunks(20).delay_chunks(Duration::from_millis(100)));
    let mut stream = Request::chat("chat", true).send(envoy.port()).await.unwrap();
    stream.next_chunk().await.unwrap().unwrap();
    remount(&envoy, "filter", "..2", &filter(gateway.filter().replace("chat: {", "talk: {")));
    let deadline = Instant::now() + SOON;
    while Request::chat("talk", false).ask(envoy.port()).await.status != 200 {
        assert!(Instant::now() < deadline, "the new configuration is not used");
    }
    let rest = stream.read().await;
    assert!(rest.chunks.len() > 1, "the stream had ended before the change");
    assert!(rest.error.is_none() && rest.text().contains("[DONE]"), "{:?}: {}", rest.error, rest.text());
}

/// What Envoy Gateway makes of an EnvoyExtensionPolicy: the configuration is text, and each route enables the filter.
fn extended(own: &mut Value, policy: &Value) {
    let wasm = &policy["spec"]["wasm"][0];
    let name = "envoy.filters.http.wasm/envoyextensionpolicy/llm/llm-failsafe/wasm/0";
    let filter = json!({
        "name": name,
        "disabled": true,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": wasm["name"],
                "root_id": wasm["rootID"],
                "vm_config": {
                    "vm_id": name,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": "{{wasm}}"}},
                    "environment_variables": {"host_env_keys": wasm["env"]["hostKeys"]},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": wasm["config"].to_string(),
                },
            },
        },
    });
    let manager = &mut own["listener"]["default_filter_chain"]["filters"][0]["typed_config"];
    manager["http_filters"].as_array_mut().unwrap().insert(0, filter);
    own["routes"]["virtual_hosts"][0]["routes"][0]["typed_per_filter_config"] =
        json!({name: {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}});
}

#[tokio::test]
async fn a_patched_extension_policy_chooses_among_accounts() {
    let openai = ScriptedProvider::start("openai").await;
    let gateway = Folder::new(&openai, &["--single"]);
    let policy = gateway.object("gateway/extension-policy.yaml");
    let envoy = Envoy::start(gateway.config(|own| extended(own, &policy))).await;

    openai.script(Script::status(500));
    assert_eq!(Request::chat("chat", false).ask(envoy.port()).await.status, 500);
    let forged = Request::chat("chat", true).header("x-llm-strip-cluster", "elsewhere");
    let answer = forged.header("x-forwarded-for", "1.2.3.4").ask(envoy.port()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("[DONE]"), "{}", answer.text());
    assert!(keys(&openai).iter().all(|key| BOTH_KEYS.contains(&key.as_str())));
    let received = openai.received().pop().unwrap();
    for name in ["x-request-id", "x-forwarded-for", "x-forwarded-proto", "x-llm-strip-cluster"] {
        assert_eq!(received.header(name), None, "{name}");
    }
    assert_eq!(records::wait_for(&envoy, 2).await.len(), 2);
    let refused = Request::chat("chat", false).header("host", "user@host").ask(envoy.port()).await;
    assert_eq!(refused.status, 400);
}
