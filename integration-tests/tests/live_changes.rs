//! Changes without a restart, under load: keys of providers from files (Envoy's secret discovery) and the filter's
//! configuration from a watched file (extension configuration discovery).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::Request;
use integration_tests::envoy::{Envoy, EnvoyConfig};
use integration_tests::gateway::{Gateway, Shape, connection_manager};
use integration_tests::provider::{Event, Script, ScriptedProvider};
use llm_failsafe::base::WallTime;
use serde_json::{Value, json};
use tokio::task::JoinSet;

pub const FILTER: &str = "filter.json";
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// Envoy takes nothing from watched files before it has a name.
fn name_envoy(config: &mut Value) {
    config["node"] = json!({"id": "test", "cluster": "test"});
}

/// Settings of a cluster whose requests get the key of a file.
fn injector(account: &str, header: &str) -> Value {
    let generic = json!({
        "@type": "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic",
        "credential": {
            "name": account,
            "sds_config": {"path_config_source": {"path": format!("{{{{dir}}}}/{}", key_file(account))}},
        },
        "header": header,
    });
    json!({"typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http_protocol_options": {}},
            "http_filters": [
                {"name": "envoy.filters.http.credential_injector", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
                    "overwrite": true,
                    "credential": {"name": "envoy.http.injected_credentials.generic", "typed_config": generic},
                }},
                {"name": "envoy.filters.http.upstream_codec", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
                }},
            ],
        },
    }})
}

fn key_file(account: &str) -> String {
    format!("key-{account}.json")
}

fn key(account: &str, secret: &str) -> String {
    let resource = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": account,
        "generic_secret": {"secret": {"inline_string": secret}},
    });
    serde_json::to_string_pretty(&json!({"resources": [resource]})).unwrap()
}

/// Sends requests, streams and others, until it is told to stop. Every one of them must be answered whole.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<usize>,
}

impl Load {
    pub fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for client in 0..6 {
            let stop = Arc::clone(&stop);
            clients.spawn(async move {
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    let stream = sent % 2 == 0;
                    let request =
                        Request::chat("chat", stream).header("authorization", "Bearer of-the-client");
                    let request = if client % 2 == 0 { request.h2c() } else { request };
                    let read = request.ask(port).await;
                    let end = if stream { "data: [DONE]\n\n" } else { "}" };
                    assert!(
                        read.status == 200 && read.error.is_none() && read.text().ends_with(end),
                        "{} {:?} {}",
                        read.status,
                        read.error,
                        read.text()
                    );
                    sent += 1;
                }
                sent
            });
        }
        Self { stop, clients }
    }

    pub async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await.into_iter().sum()
    }
}

async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The keys that came after the first `skipped` requests.
fn keys_after(provider: &ScriptedProvider, skipped: usize) -> BTreeSet<String> {
    let received = provider.received();
    let keys = received.iter().skip(skipped).map(|request| request.header("authorization").unwrap_or("none"));
    keys.map(str::to_owned).collect()
}

#[tokio::test]
async fn keys_from_files_are_replaced_under_load() {
    let (openai, claude) = (ScriptedProvider::start("openai").await, ScriptedProvider::start("claude").await);
    let configuration = json!({
        "providers": {
            "openai": {"kind": "openai"},
            "claude": {"kind": "anthropic"},
        },
        "accounts": {
            "a": {"provider": "openai", "cluster": "openai-a", "key": {"injected": true}},
            "b": {"provider": "openai", "cluster": "openai-b", "key": {"injected": true}},
            "c": {"provider": "claude", "key": {"injected": true}},
        },
        "targets": {
            "gpt-a": {"account": "a", "model": "gpt-4.1-mini"},
            "gpt-b": {"account": "b", "model": "gpt-4.1-mini"},
            "haiku": {"account": "c", "model": "claude-haiku-4-5"},
        },
        "models": {"chat": {"tiers": [["gpt-a", "gpt-b"]]}, "claude": {"targets": ["haiku"]}},
    });
    let mut config = Gateway::new(Shape::Loop)
        .plugin(&configuration)
        .concurrency(2)
        .cluster("openai-a", openai.port(), &injector("a", "authorization"))
        .cluster("openai-b", openai.port(), &injector("b", "authorization"))
        .cluster("claude", claude.port(), &injector("c", "x-api-key"))
        .edit(name_envoy)
        .to_config();
    for account in ["a", "b", "c"] {
        config = config.file(
            &key_file(account),
            key(account, &format!("{}{account}-0", if account == "c" { "" } else { "Bearer " })),
        );
    }
    let envoy = Envoy::start(config).await;
    let load = Load::start(envoy.port());
    for number in 1..=5 {
        for account in ["a", "b"] {
            let before = openai.received().len();
            envoy.replace_file(&key_file(account), &key(account, &format!("Bearer {account}-{number}")));
            let new = format!("Bearer {account}-{number}");
            wait_until("the new key is used", || keys_after(&openai, before).contains(&new)).await;
        }
    }
    let before = openai.received().len() + 20;
    wait_until("both new keys are used", || openai.received().len() > before + 20).await;
    assert!(load.stop().await > 50);
    let both = ["Bearer a-5", "Bearer b-5"].map(str::to_owned);
    assert_eq!(keys_after(&openai, before), BTreeSet::from(both), "the old keys are used no more");
    let all = keys_after(&openai, 0);
    assert!(all.iter().all(|key| key.starts_with("Bearer a-") || key.starts_with("Bearer b-")), "{all:?}");

    // A kind with another header for its key, and a client that uses this header, too.
    for header in ["authorization", "x-api-key"] {
        let body =
            json!({"model": "claude", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]});
        let request = Request::post("/v1/messages").header(header, "Bearer of-the-client").json(&body);
        assert_eq!(request.ask(envoy.port()).await.status, 200);
    }
    for request in claude.received() {
        assert_eq!((request.header("x-api-key"), request.header("authorization")), (Some("c-0"), None));
    }
}

/// The gateway with the filter's configuration in a watched file.
pub fn discovered(
    gateway: Gateway,
    configuration: &Value,
) -> (EnvoyConfig, impl Fn(&Value) -> String + use<>) {
    let mut wasm = Value::Null;
    let config = gateway
        .plugin(configuration)
        .edit(name_envoy)
        .edit(|config| {
            let filters = connection_manager(config, 1)["http_filters"].as_array_mut().unwrap();
            let filter = filters.iter_mut().find(|filter| filter["name"] == "llm-failsafe").unwrap();
            wasm = filter["typed_config"].clone();
            *filter = json!({"name": "llm-failsafe", "config_discovery": {
                "type_urls": [WASM],
                "config_source": {"path_config_source": {"path": format!("{{{{dir}}}}/{FILTER}")}},
            }});
        })
        .to_config();
    let resource = move |configuration: &Value| {
        let mut wasm = wasm.clone();
        let mut configuration = configuration.clone();
        configuration["retry_loop"] = json!(true);
        configuration["route_strips_headers"] = json!(true);
        wasm["config"]["configuration"]["value"] = configuration;
        let resource = json!({
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": "llm-failsafe",
            "typed_config": wasm,
        });
        serde_json::to_string_pretty(&json!({"resources": [resource]})).unwrap()
    };
    (config.file(FILTER, resource(configuration)), resource)
}

fn numbered(number: usize) -> Value {
    json!({
        "providers": {"first": integration_tests::gateway::compatible("first")},
        "targets": {"t": {"provider": "first", "model": format!("model-{number}")}},
        "models": {"chat": {"targets": ["t"]}},
    })
}

#[tokio::test]
async fn a_configuration_from_a_file_is_replaced_under_load_and_a_bad_one_is_not_taken() {
    let first = ScriptedProvider::start("first").await;
    let gateway = Gateway::new(Shape::Loop).concurrency(2).provider("first", first.port());
    let (config, resource) = discovered(gateway, &numbered(0));
    let envoy = Envoy::start(config).await;
    // This stream is open all the time.
    first.script(
        Script::stream(std::iter::repeat_n(Event::data(r#"{"choices":[{"delta":{"content":"hi"}}]}"#), 400))
            .delay_chunks(Duration::from_millis(20)),
    );
    let mut open = Request::chat("chat", true).send(envoy.port()).await.unwrap();
    assert!(open.next_chunk().await.unwrap().is_ok());
    let load = Load::start(envoy.port());
    let model = |request: &integration_tests::provider::ReceivedRequest| {
        request.json()["model"].as_str().unwrap().to_owned()
    };
    for number in 1..=5 {
        envoy.replace_file(FILTER, &resource(&numbered(number)));
        let new = format!("model-{number}");
        wait_until("the new configuration is used", || {
            first.received().last().is_some_and(|last| model(last) == new)
        })
        .await;
        // A bad one: a mistake in the plugin's configuration, and a file that is no configuration.
        let mut bad = numbered(number);
        bad["targets"]["t"]["provider"] = json!("firts");
        envoy.replace_file(FILTER, &resource(&bad));
        envoy.wait_for_log("targets.t.provider: no provider is called `firts`").await;
        envoy.replace_file(FILTER, "{ this is not JSON");
        let before = first.received().len() + 20;
        wait_until("requests go on", || first.received().len() > before + 20).await;
        let models: BTreeSet<_> = first.received().iter().skip(before).map(model).collect();
        assert_eq!(models, BTreeSet::from([new]));
    }
    assert!(load.stop().await > 50);
    let chunk = open.next_chunk().await;
    assert!(matches!(chunk, Some(Ok(_))), "the stream is still open");
}

const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// A folder that `llm-failsafe init --live` wrote for two accounts of one provider, and one of another.
pub async fn folder(openai: &ScriptedProvider, claude: &ScriptedProvider) -> EnvoyConfig {
    let made = tempfile::tempdir().unwrap();
    let folder = made.path().join("gateway");
    let providers = [
        format!("openai=http://127.0.0.1:{},A,B", openai.port()),
        format!("anthropic=http://127.0.0.1:{}", claude.port()),
    ];
    crate::init::init(
        &folder,
        &[
            "--live",
            "--provider",
            &providers[0],
            "--provider",
            &providers[1],
            "--model",
            "chat=openai/gpt-4.1-mini",
            "--model",
            "claude=anthropic/claude-haiku-4-5",
        ],
    );
    let mut config = EnvoyConfig::from_folder(&folder).concurrency(2);
    for account in ["openai-a", "openai-b", "anthropic"] {
        let key = format!("{account}-0");
        config = config.replace_in(&format!("keys/{account}.yaml"), "WRITE THE KEY HERE", &key);
    }
    config
}

/// As docs/live-changes.md writes it.
fn key_in_yaml(account: &str, secret: &str) -> String {
    format!(
        "resources:\n- \"@type\": {SECRET}\n  name: {account}\n  generic_secret: {{ secret: {{ inline_string: \"{secret}\" }} }}\n"
    )
}

#[tokio::test]
async fn a_folder_that_init_wrote_changes_under_load() {
    let (openai, claude) = (ScriptedProvider::start("openai").await, ScriptedProvider::start("claude").await);
    let envoy = Envoy::start(folder(&openai, &claude).await).await;
    let load = Load::start(envoy.port());
    for number in 1..=3 {
        for account in ["openai-a", "openai-b"] {
            let secret = format!("Bearer {account}-{number}");
            envoy.replace_file(&format!("keys/{account}.yaml"), &key_in_yaml(account, &secret));
        }
        // All requests are one conversation, so they may all go to one account.
        let new = format!("-{number}");
        wait_until("the new key is used", || {
            let received = openai.received();
            received
                .last()
                .and_then(|last| last.header("authorization"))
                .is_some_and(|key| key.ends_with(&new))
        })
        .await;
        let filter = envoy.read_file("filter.yaml");
        let model = format!("model: gpt-{number}");
        let old =
            if number == 1 { "model: gpt-4.1-mini".to_owned() } else { format!("model: gpt-{}", number - 1) };
        envoy.replace_file("filter.yaml", &filter.replace(&old, &model));
        wait_until("the new configuration is used", || {
            let received = openai.received();
            received.last().is_some_and(|last| last.json()["model"] == format!("gpt-{number}"))
        })
        .await;
        // A bad configuration and a bad key change nothing.
        let filter = envoy.read_file("filter.yaml");
        envoy.replace_file("filter.yaml", &filter.replace("kind: openai,", "kind: opanai,"));
        let rejected = "extension_config_discovery.http_filter.llm-failsafe.update_rejected";
        envoy.wait_for_stat(rejected, |count| count >= number).await;
        envoy.replace_file("filter.yaml", &filter);
        envoy.replace_file("keys/openai-a.yaml", "no: secret");
        envoy.wait_for_stat("sds.openai-a.update_rejected", |count| count >= number).await;
    }
    assert!(load.stop().await > 50);
    // The commands of docs/live-changes.md show it.
    assert!(envoy.stat_of("sds.openai-a", "update_success").await >= 4);
    for end in ["update_success", "update_rejected"] {
        assert!(envoy.stat_of("extension_config_discovery", end).await >= 3, "{end}");
    }

    // The doctor names the files.
    let arguments = [
        format!("http://127.0.0.1:{}", envoy.port()),
        format!("--admin=http://127.0.0.1:{}", envoy.admin_port()),
    ];
    let run = move || {
        llm_failsafe_cli::run(["doctor".to_owned()].into_iter().chain(arguments), WallTime::default())
    };
    let report = tokio::task::spawn_blocking(run).await.unwrap().unwrap_err().to_string();
    for said in
        ["files of the filter that Envoy did not take", "update_rejected` of openai-a, since Envoy started"]
    {
        assert!(report.contains(said), "{said}: {report}");
    }

    // The kind whose key has a header of its own.
    let body = json!({"model": "claude", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]});
    let request = Request::post("/v1/messages").header("x-api-key", "of-the-client").json(&body);
    assert_eq!(request.ask(envoy.port()).await.status, 200);
    let received = claude.received();
    assert_eq!(
        (received[0].header("x-api-key"), received[0].header("authorization")),
        (Some("anthropic-0"), None)
    );
}

/// Kubernetes writes a new folder and renames the link that all files of a mount lead through.
#[cfg(unix)]
#[tokio::test]
async fn files_of_a_mount_of_kubernetes_change() {
    use std::os::unix::fs::symlink;

    let (openai, claude) = (ScriptedProvider::start("openai").await, ScriptedProvider::start("claude").await);
    let config = folder(&openai, &claude).await;
    let mut mounted = config;
    for account in ["openai-a", "openai-b", "anthropic"] {
        mounted = mounted.moved(&format!("keys/{account}.yaml"), &format!("keys/..1/{account}.yaml"));
        mounted = mounted.link(&format!("keys/{account}.yaml"), &format!("..data/{account}.yaml"));
    }
    let envoy = Envoy::start(mounted.link("keys/..data", "..1")).await;
    let ask = async || assert_eq!(Request::chat("chat", false).ask(envoy.port()).await.status, 200);
    ask().await;
    assert!(keys_after(&openai, 0).iter().all(|key| key.ends_with("-0")), "{:?}", keys_after(&openai, 0));

    let keys = envoy.dir().join("keys");
    std::fs::create_dir(keys.join("..2")).unwrap();
    for account in ["openai-a", "openai-b", "anthropic"] {
        let text = key_in_yaml(account, &format!("{account}-1"));
        std::fs::write(keys.join("..2").join(format!("{account}.yaml")), text).unwrap();
    }
    symlink("..2", keys.join("..data_tmp")).unwrap();
    std::fs::rename(keys.join("..data_tmp"), keys.join("..data")).unwrap();
    for account in ["openai-a", "openai-b"] {
        envoy.wait_for_stat(&format!("sds.{account}.update_success"), |count| count >= 2).await;
    }
    // Workers get the new key a moment after the counter.
    let deadline = Instant::now() + SOON;
    loop {
        let before = openai.received().len();
        ask().await;
        if keys_after(&openai, before).iter().all(|key| key.ends_with("-1")) {
            break;
        }
        assert!(Instant::now() < deadline, "the new keys are not used");
    }
}
