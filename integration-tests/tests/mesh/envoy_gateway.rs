//! The manifests for Envoy Gateway with the real Envoy Gateway: what it makes of them, and traffic through its Envoy.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use integration_tests::client::{Request, Response};
use integration_tests::paths;
use integration_tests::provider::{Script, ScriptedProvider};
use llm_failsafe::base::WallTime;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::dumps;
use crate::gateway_objects::{Folder, filter, the, translated, translation};
use crate::gateway_server::{EDGE, READY, Server};
use crate::network;
use crate::process::until;

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const NAME: &str = "llm/llm-failsafe/http";
/// 30 MB.
const LARGE: usize = 30_000_000;

async fn providers() -> [ScriptedProvider; 2] {
    [ScriptedProvider::start("openai").await, ScriptedProvider::start("other").await]
}

/// Whether a tree has all of what is expected. Envoy Gateway leaves defaults out.
fn has(actual: &Value, expected: &Value) -> bool {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => expected
            .iter()
            .all(|(name, value)| actual.get(name).map_or(is_default(value), |it| has(it, value))),
        (Value::Array(actual), Value::Array(expected)) => {
            actual.len() == expected.len() && actual.iter().zip(expected).all(|(one, other)| has(one, other))
        }
        // Some numbers are text in JSON, and times have a full number of digits.
        (Value::String(actual), Value::Number(expected)) => *actual == expected.to_string(),
        (Value::String(actual), Value::String(expected)) => {
            let seconds = |text: &str| text.strip_suffix('s')?.parse::<f64>().ok();
            actual == expected || seconds(actual).is_some_and(|actual| seconds(expected) == Some(actual))
        }
        _ => actual == expected,
    }
}

fn is_default(value: &Value) -> bool {
    [json!(false), json!([]), json!("SECONDS"), json!("STATIC")].contains(value)
}

/// The listener with TLS, as docs/envoy-gateway.md shows it.
fn with_tls(objects: &mut Vec<Value>) {
    let gateway = objects.iter_mut().find(|object| object["kind"] == "Gateway").unwrap();
    let listener = &mut gateway["spec"]["listeners"][0];
    listener["protocol"] = json!("HTTPS");
    listener["port"] = json!(443);
    listener["tls"] = json!({"certificateRefs": [{"name": "llm-tls"}]});
    let read = |name: &str| {
        let folder = paths::root().join("integration-tests/tests/certificates");
        BASE64.encode(fs::read(folder.join(name)).unwrap())
    };
    objects.push(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "llm-tls", "namespace": "llm"},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": read("server.pem"), "tls.key": read("server.key")},
    }));
}

/// What docs/envoy-gateway.md looks for in the output of `egctl`.
fn looked_for() -> Vec<String> {
    let page = fs::read_to_string(paths::root().join("docs/envoy-gateway.md")).unwrap();
    let found = page.lines().find_map(|line| line.strip_prefix("grep -oE '")?.split_once('\''));
    let texts: Vec<_> = found.unwrap().0.split('|').map(str::to_owned).collect();
    assert_eq!(texts.len(), 4);
    texts
}

#[tokio::test]
async fn every_patch_is_applied() {
    let [openai, other] = providers().await;
    for (flags, tls) in [(&[][..], false), (&["--single"], false), (&[], true)] {
        let mut objects = Folder::new([&openai, &other], flags).objects();
        // Its image cannot be pulled, and Envoy Gateway would answer every request itself.
        objects.retain(|object| object["kind"] != "EnvoyExtensionPolicy");
        if tls {
            with_tls(&mut objects);
        }
        let made = translated(&objects);
        let listener = &made["listener"][NAME];
        let chain = if tls { &listener["filter_chains"][0] } else { &listener["default_filter_chain"] };
        let manager = &chain["filters"][0]["typed_config"];
        let host = &made["route"][NAME]["virtual_hosts"][0];
        for policy in ["llm-failsafe-additions", "llm-failsafe-edge"] {
            for patch in the(&objects, "EnvoyPatchPolicy", policy)["spec"]["jsonPatches"].as_array().unwrap()
            {
                let (name, operation) = (patch["name"].as_str().unwrap(), &patch["operation"]);
                let is_listener = patch["type"].as_str().unwrap().ends_with(".Listener");
                let path = operation["path"].as_str().unwrap();
                let routes = host["routes"].as_array().unwrap();
                let in_plugin =
                    operation["jsonPath"].as_str().is_some_and(|path| path.contains("http_filters"));
                let actual = match (path, path.strip_prefix("routes/")) {
                    ("", _) if is_listener => &made["listener"][name],
                    ("", _) => &made["cluster"][name],
                    (_, Some(number)) => &routes[number.parse::<usize>().unwrap()],
                    ("route", _) => &routes.last().unwrap()["route"],
                    // The test with an extension policy needs these.
                    _ if in_plugin => continue,
                    _ if is_listener => &manager[path],
                    _ => &host[path],
                };
                assert!(has(actual, &operation["value"]), "{path}: {actual}\nexpected: {operation}");
            }
        }
        assert!(!made.to_string().contains(":null"), "a null makes Envoy Gateway replace the listener");
        assert_eq!(made["listener"].get("llm-failsafe-inner").is_some(), flags.is_empty());
        if flags.is_empty() {
            let printed = translation(&objects).to_string();
            for text in looked_for() {
                assert!(printed.contains(&text), "{text}");
            }
        }
    }
}

/// `envoy_gateway::` of the other test program applies the patches to this fixture.
#[tokio::test]
async fn the_fixture_is_what_envoy_gateway_makes_without_patches() {
    fn without(tree: &mut Value, names: &[&str]) {
        match tree {
            Value::Object(fields) => {
                fields.retain(|name, _| !names.contains(&name.as_str()));
                fields.values_mut().for_each(|value| without(value, names));
            }
            Value::Array(items) => items.iter_mut().for_each(|item| without(item, names)),
            _ => {}
        }
    }
    let [openai, other] = providers().await;
    let mut objects = Folder::new([&openai, &other], &[]).objects();
    objects.retain(|object| object["kind"] != "EnvoyPatchPolicy");
    let made = translated(&objects);
    let mut made = json!({"listener": made["listener"][NAME], "routes": made["route"][NAME]});
    for part in ["listener", "routes"] {
        made[part].as_object_mut().unwrap().remove("@type");
    }
    without(&mut made, &["access_log", "address", "rds", "metadata"]);
    let file = paths::root().join("integration-tests/tests/configs/envoy-gateway.yaml");
    let fixture: Value = serde_yaml_ng::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(fixture, made, "{}", serde_json::to_string_pretty(&made).unwrap());
}

fn keys(provider: &ScriptedProvider) -> Vec<String> {
    let received = provider.received();
    let mut keys: Vec<_> = received.iter().map(|it| it.header("authorization").unwrap().to_owned()).collect();
    keys.sort();
    keys
}

/// Two accounts fail, and the other provider answers.
async fn fails_over(openai: &ScriptedProvider, other: &ScriptedProvider, stream: bool) {
    openai.forget_received();
    other.forget_received();
    openai.script(Script::status(500)).script(Script::status(503));
    let answer = Request::chat("chat", stream).ask(EDGE).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("other"), "{}", answer.text());
    assert!(!stream || answer.text().contains("[DONE]"), "{}", answer.text());
    assert_eq!(answer.header("x-llm-retry"), None);
    assert_eq!(keys(openai), ["Bearer value-of-KEY_A", "Bearer value-of-KEY_B"]);
    assert_eq!(keys(other), ["Bearer value-of-KEY_C"]);
}

/// Sends one request after the other until it is told to stop. Says how many there were, and which answers were not 200.
struct Load {
    over: Arc<AtomicBool>,
    client: JoinHandle<(usize, Vec<String>)>,
}

impl Load {
    fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let client = tokio::spawn(async move {
            let (mut count, mut bad) = (0, Vec::new());
            while !told.load(Ordering::Relaxed) {
                match Request::chat("chat", false).send(EDGE).await {
                    Ok(answer) if answer.status == 200 => drop(answer.read().await),
                    Ok(answer) => bad.push(answer.read().await.text()),
                    Err(error) => bad.push(error.to_string()),
                }
                count += 1;
            }
            (count, bad)
        });
        Self { over, client }
    }

    async fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        let (count, bad) = self.client.await.unwrap();
        assert!(bad.is_empty() && count > 0, "{} of {count} failed: {bad:?}", bad.len());
        eprintln!("{count} requests");
    }
}

/// A stream of the other provider that has begun and goes on for this time.
async fn stream_of(other: &ScriptedProvider, time: Duration) -> Response {
    const CHUNKS: u32 = 40;
    other.script(Script::usual().content_chunks(CHUNKS as usize).delay_chunks(time / CHUNKS));
    let mut stream = Request::chat("direct", true).send(EDGE).await.unwrap();
    assert_eq!(stream.status, 200);
    stream.next_chunk().await.unwrap().unwrap();
    stream
}

async fn is_whole(stream: Response) {
    let rest = stream.read().await;
    assert!(rest.error.is_none() && rest.text().contains("[DONE]"), "{:?}: {}", rest.error, rest.text());
    assert!(rest.chunks.len() > 1, "the stream had ended before");
}

const REJECTED: &str = "extension_config_discovery.http_filter.llm-failsafe.update_rejected";
const DRAINING: &str = "listener_manager.total_listeners_draining";
const RELOADED: &str = "extension_config_discovery.http_filter.llm-failsafe.config_reload";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_fails_over_and_a_change_cuts_no_stream() {
    let _network = network().await;
    let [openai, other] = providers().await;
    let folder = Folder::new([&openai, &other], &[]);
    let objects = folder.objects();
    let mut server = Server::ready(&objects, &[]).await;
    assert_eq!(server.output().matches("Patches have been successfully applied").count(), 2);

    fails_over(&openai, &other, false).await;
    fails_over(&openai, &other, true).await;
    let large = json!({"model": "chat", "messages": [{"role": "user", "content": "a".repeat(LARGE)}]});
    let answer = Request::post("/v1/chat/completions").json(&large).ask(EDGE).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let metrics = server.admin(Request::get("/stats/prometheus")).await;
    assert!(
        metrics.lines().any(|line| line.contains("llm_failsafe_") && line.contains("outcome=\"server\""))
    );

    // The page asks pods for these.
    for name in ["update_success", "update_rejected"] {
        let is_it = |line: &str| line.starts_with("envoy_extension_config_discovery") && line.contains(name);
        assert!(metrics.lines().any(is_it), "{name}: {metrics}");
    }

    let doctor = ["doctor", "http://127.0.0.1:80", "--admin", "http://127.0.0.1:19000"];
    let doctor = move || llm_failsafe_cli::run(doctor, WallTime::from_millis(1_780_920_000_000));
    let report = tokio::task::spawn_blocking(doctor).await.unwrap();
    let report = report.unwrap_or_else(|failure| failure.to_string());
    assert!(report.contains("llm-failsafe answers; models for everyone: chat, direct"), "{report}");
    assert!(report.contains("no counter of Envoy shows a defect"), "{report}");

    let dump = server.admin(Request::get("/config_dump")).await;
    let report = dumps::check(&dump, None).unwrap();
    assert!(report.starts_with("good: ") && !report.contains("lacks"), "{report}");

    // What a client forges has no effect.
    other.forget_received();
    openai.forget_received();
    let forged = [
        ("x-llm-strip-cluster", "llm-failsafe-other"),
        ("x-llm-cluster", "llm-failsafe-other"),
        ("x-llm-journey", "mine"),
        ("x-envoy-attempt-count", "9"),
        ("x-envoy-max-retries", "0"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-request-id", "mine"),
    ];
    let request = forged
        .iter()
        .fold(Request::chat("chat", false), |request, (name, value)| request.header(name, value));
    assert_eq!(request.ask(EDGE).await.status, 200);
    let seen = openai.received().into_iter().chain(other.received()).next_back().unwrap();
    for (name, _) in forged {
        assert_eq!(seen.header(name), None, "{name}");
    }

    // Good and bad policies under load, with a stream open throughout.
    let stream = stream_of(&other, Duration::from_secs(8)).await;
    let load = Load::start();
    let good = filter(&objects);
    for number in 0..2 {
        let reloaded = server.stat(RELOADED).await;
        let renamed = good.replace(
            "chat: {",
            &format!("more-{number}: {{ tiers: [[other-gpt-4-1-mini]] }}\n            chat: {{"),
        );
        server.mount(&renamed);
        server.grows(RELOADED, reloaded).await;
        assert_eq!(Request::chat(&format!("more-{number}"), false).ask(EDGE).await.status, 200);
        let rejected = server.stat(REJECTED).await;
        server.mount(&good.replace("account: openai-a", "account: nobody"));
        server.grows(REJECTED, rejected).await;
    }
    load.stop().await;
    is_whole(stream).await;
    assert_eq!(server.stat("listener_manager.listener_modified").await, 0);

    // A change of another object changes no listener with the filter.
    let mut changed = objects.clone();
    let route = changed.iter_mut().find(|it| it["kind"] == "HTTPRoute").unwrap();
    route["spec"]["rules"][0]["matches"]
        .as_array_mut()
        .unwrap()
        .push(json!({"path": {"type": "Exact", "value": "/more"}}));
    let updates = server.stat("listener_manager.lds.update_success").await;
    let before = server.admin(Request::get("/config_dump?resource=dynamic_route_configs")).await;
    server.apply(&changed);
    until("the routes change", async || {
        server.admin(Request::get("/config_dump?resource=dynamic_route_configs")).await != before
    })
    .await;
    assert_eq!(server.stat("listener_manager.listener_modified").await, 0, "after {updates} updates");
    drains(&server, &other).await;
}

/// Envoy Gateway's shutdown manager waits for the last stream.
async fn drains(server: &Server, other: &ScriptedProvider) {
    let stream = stream_of(other, Duration::from_secs(6)).await;
    assert_eq!(Request::get("/ready").ask(READY).await.status, 200);
    let mut shutdown = server.shut_down();
    until("the pod is not ready", async || Request::get("/ready").ask(READY).await.status == 503).await;
    // Until every load balancer has noticed, requests are served.
    assert_eq!(Request::chat("direct", false).ask(EDGE).await.status, 200);
    is_whole(stream).await;
    assert!(shutdown.end().await.success());
    assert!(shutdown.output().contains("drain sequence completed"), "{}", shutdown.output());
    // It tells the kubelet by this file.
    fs::remove_file("/tmp/shutdown-ready").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_names_of_the_other_scheme_nothing_is_served_and_the_status_says_so() {
    let _network = network().await;
    let [openai, other] = providers().await;
    let flags = ["XDSNameSchemeV2"];
    let server = Server::start(&Folder::new([&openai, &other], &[]).objects(), &flags).await;
    server.says("ResourceNotFound").await;
    until("Envoy answers", async || Request::get("/").send(EDGE).await.is_ok()).await;
    assert_ne!(Request::chat("chat", false).ask(EDGE).await.status, 200);

    server.apply(&Folder::new([&openai, &other], &[]).with_names_v2().objects());
    until("the gateway answers", async || {
        Request::chat("direct", false).send(EDGE).await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    fails_over(&openai, &other, true).await;
}

/// Envoy Gateway fetches the module. Only in Kubernetes Envoy finds the service that Envoy Gateway has for it, so here it reads the
/// same module from a file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_policy_with_patches_chooses_among_accounts() {
    let _network = network().await;
    let [openai, other] = providers().await;
    let registry = ScriptedProvider::start("registry").await;
    registry.by_default(Script::usual().bytes(fs::read(paths::wasm()).unwrap()));
    let mut objects = Folder::new([&openai, &other], &["--single"]).objects();
    let policy = objects.iter_mut().find(|it| it["kind"] == "EnvoyExtensionPolicy").unwrap();
    let url = format!("http://127.0.0.1:{}/plugin.wasm", registry.port());
    policy["spec"]["wasm"][0]["code"] = json!({"type": "HTTP", "http": {"url": url}});
    let edge = objects.iter_mut().find(|it| it["metadata"]["name"] == "llm-failsafe-edge").unwrap();
    edge["spec"]["jsonPatches"].as_array_mut().unwrap().extend([
        json!({"type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": NAME, "operation": {
            "op": "add",
            "jsonPath": "$..http_filters[?(@.typed_config.config.name=='llm-failsafe')].typed_config.config.vm_config",
            "path": "code",
            "value": {"local": {"filename": paths::wasm()}},
        }}),
        json!({"type": CLUSTER, "name": "wasm_cluster", "operation": {"op": "remove", "path": "/transport_socket"}}),
        json!({"type": CLUSTER, "name": "wasm_cluster", "operation": {
            "op": "add",
            "path": "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/address",
            "value": "127.0.0.1",
        }}),
    ]);
    let server = Server::ready(&objects, &[]).await;
    assert_eq!(server.output().matches("Patches have been successfully applied").count(), 2);
    assert_eq!(registry.received().len(), 1);

    let forged = Request::chat("chat", true).header("x-llm-strip-cluster", "llm-failsafe-other");
    let answer = forged.ask(EDGE).await;
    assert!(answer.status == 200 && answer.text().contains("[DONE]"), "{}", answer.text());
    let seen = openai.received().pop().unwrap();
    for name in ["x-request-id", "x-forwarded-for", "x-forwarded-proto", "x-llm-strip-cluster"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    openai.script(Script::status(500));
    assert_eq!(Request::chat("chat", false).ask(EDGE).await.status, 500);
    let large = json!({"model": "chat", "messages": [{"role": "user", "content": "a".repeat(LARGE)}]});
    assert_eq!(Request::post("/v1/chat/completions").json(&large).ask(EDGE).await.status, 200);
}

/// Envoy Gateway then leaves the listener out, and Envoy drains it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_mistake_in_a_patch_requests_are_served_for_the_drain_time() {
    let _network = network().await;
    let [openai, other] = providers().await;
    let folder = Folder::new([&openai, &other], &[]);
    folder.replace("gateway/envoy-proxy.yaml", "drainTimeout: 600s", "drainTimeout: 8s");
    let objects = folder.objects();
    let server = Server::ready(&objects, &[]).await;
    let stream = stream_of(&other, Duration::from_secs(4)).await;
    let mut bad = objects.clone();
    let additions = bad.iter_mut().find(|it| it["metadata"]["name"] == "llm-failsafe-additions").unwrap();
    let patches = additions["spec"]["jsonPatches"].as_array_mut().unwrap();
    patches.last_mut().unwrap()["operation"]["value"]["internal_listner"] = json!({});
    server.apply(&bad);
    server.says("reason: Invalid").await;
    until("Envoy drains the listener", async || server.stat(DRAINING).await == 1).await;
    let status = async || Request::chat("direct", false).ask(EDGE).await.status.as_u16();
    assert_eq!(status().await, 200);
    is_whole(stream).await;
    until("requests fail", async || status().await == 503).await;
    server.apply(&objects);
    until("requests are served again", async || status().await == 200).await;
}
