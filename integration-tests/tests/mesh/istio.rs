//! What `llm-failsafe init --kubernetes istio-…` writes, with Istio's real control plane, injection and agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use integration_tests::SOON;
use integration_tests::client::Request;
use integration_tests::paths;
use integration_tests::provider::{Script, ScriptedProvider, errors};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::istiod::{Istiod, findings, kustomized};
use super::network;
use super::process::until;
use super::proxy::{Proxy, container};

const MODULE_IN_POD: &str = "/opt/llm-failsafe/plugin.wasm";
const ECDS: &str = "extension_config_discovery.http_filter.llm-failsafe";
/// What the policy says, and a mistake in its place.
const KIND: &str = r#""kind":"openai""#;
const BAD_KIND: &str = r#""kind":"opanai""#;
/// A body near the limit of 32 MiB.
const LARGE: u64 = 30 << 20;

#[derive(Clone, Copy)]
enum Kind {
    Sidecar,
    Gateway,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Sidecar => "istio-sidecar",
            Self::Gateway => "istio-gateway",
        }
    }

    /// Where clients connect: to the filter's listener in a sidecar, and to Istio's own in a gateway.
    const fn port(self) -> u16 {
        match self {
            Self::Sidecar => 10000,
            Self::Gateway => 8080,
        }
    }
}

/// The application whose sidecar has the filter.
fn application() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop", "labels": {"llm-failsafe": "sidecar"}},
        "spec": {
            "selector": {"matchLabels": {"app": "shop"}},
            "template": {
                "metadata": {"labels": {"app": "shop"}},
                "spec": {"containers": [{"name": "shop", "image": "registry.example.com/shop:1"}]},
            },
        },
    })
}

/// The objects that a user applies.
fn objects(kind: Kind, providers: &[String], components: &[&str]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("gateway");
    let mut arguments = vec!["init", "--kubernetes", kind.name(), "--output", output.to_str().unwrap()];
    arguments.extend(providers.iter().flat_map(|provider| ["--provider", provider]));
    arguments.extend(["--model", "chat=openai/gpt-4.1-mini,own/small", "--model", "small=own/small"]);
    let made = llm_failsafe_cli::run(arguments, llm_failsafe::base::WallTime::default());
    made.unwrap_or_else(|failure| panic!("{failure}"));
    let mut resources = vec!["gateway"];
    let mut components = components.to_vec();
    if matches!(kind, Kind::Sidecar) {
        std::fs::write(folder.path().join("shop.yaml"), application().to_string()).unwrap();
        resources.push("shop.yaml");
        components.push("gateway/workload");
    }
    let objects = kustomized(folder.path(), &resources, &components);
    assert_eq!(findings(folder.path(), &objects), Vec::<String>::new());
    // There is no image to mount here.
    objects.into_iter().map(|object| with_module(object, paths::wasm().to_str().unwrap())).collect()
}

fn with_module(object: Value, module: &str) -> Value {
    let text = object.to_string().replace(&format!("\"{MODULE_IN_POD}\""), &json!(module).to_string());
    serde_json::from_str(&text).unwrap()
}

fn the<'o>(objects: &'o [Value], kind: &str, end_of_name: &str) -> &'o Value {
    let is_it = |it: &&Value| {
        it["kind"] == kind && it["metadata"]["name"].as_str().is_some_and(|name| name.ends_with(end_of_name))
    };
    objects.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} …{end_of_name}"))
}

/// The policy with other text in the filter's configuration.
fn policy(objects: &[Value], from: &str, to: &str) -> Value {
    let text = the(objects, "EnvoyFilter", "-policy").to_string();
    assert!(text.contains(from), "{from}: {text}");
    serde_json::from_str(&text.replace(from, to)).unwrap()
}

/// A pod of the mesh with two providers. The first one has two accounts.
struct Mesh {
    kind: Kind,
    openai: ScriptedProvider,
    own: ScriptedProvider,
    objects: Vec<Value>,
    istiod: Istiod,
    proxy: Proxy,
}

impl Mesh {
    async fn start(kind: Kind) -> Self {
        let (openai, own) = (ScriptedProvider::start("openai").await, ScriptedProvider::start("own").await);
        let providers = [
            format!("openai=http://127.0.0.1:{}/v1,KEY_A,KEY_B", openai.port()),
            format!("own=http://127.0.0.1:{}", own.port()),
        ];
        let objects = objects(kind, &providers, &[]);
        let istiod = Istiod::start(&objects).await;
        let deployment = match kind {
            Kind::Sidecar => the(&objects, "Deployment", "shop"),
            Kind::Gateway => the(&objects, "Deployment", "llm-failsafe-gateway"),
        };
        let injected = istiod.injected(deployment);
        let mounts = container(&injected["spec"]["template"])["volumeMounts"].as_array().unwrap().clone();
        assert!(mounts.iter().any(|mount| mount["mountPath"] == "/opt/llm-failsafe"), "{mounts:?}");
        let proxy = Proxy::start(&injected).await;
        let mesh = Self { kind, openai, own, objects, istiod, proxy };
        // The startup probe of the gateway asks the same.
        until("the filter is there", async || {
            let answer = Request::get("/llm-failsafe/health").send(kind.port()).await;
            answer.is_ok_and(|answer| answer.status == 200)
        })
        .await;
        mesh
    }

    fn port(&self) -> u16 {
        self.kind.port()
    }

    async fn serves_and_fails_over(&self) {
        let request = Request::chat("chat", false).header("authorization", "Bearer of-the-client");
        assert_eq!(request.ask(self.port()).await.status, 200);
        let key = self.openai.received()[0].header("authorization").unwrap().to_owned();
        assert!(["Bearer key_a", "Bearer key_b"].contains(&key.as_str()), "{key}");

        // A large body reaches the second account whole. No other target takes prompts of this length.
        let large =
            json!({"model": "chat", "messages": [{"role": "user", "content": "x".repeat(LARGE as usize)}]});
        self.openai.script(errors::openai_500());
        let answer = Request::post("/v1/chat/completions").json(&large).ask(self.port()).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-llm-attempts")), (200, Some("2")), "{answer:?}");
        let received = self.openai.received();
        assert_eq!(received.len(), 3);
        assert!(received[1..].iter().all(|request| request.body_complete && request.body_length > LARGE));

        self.openai.by_default(errors::openai_500());
        let answer = Request::chat("chat", true).ask(self.port()).await;
        let target = answer.header("x-llm-target");
        assert_eq!((answer.status.as_u16(), target), (200, Some("own-small")), "{answer:?}");
        assert_eq!((answer.header("x-llm-attempts"), answer.header("x-llm-retry")), (Some("3"), None));
        assert!(answer.error.is_none() && answer.text().contains("[DONE]"), "{answer:?}");
        self.openai.by_default(Script::usual());
    }

    async fn ignores_forged_headers(&self) {
        let before = self.own.received().len();
        let mut request = Request::chat("small", false);
        for (name, value) in [
            ("x-llm-cluster", "nowhere"),
            ("x-llm-strip-cluster", "nowhere"),
            ("x-llm-journey", "forged"),
            ("x-envoy-attempt-count", "9"),
            ("x-envoy-max-retries", "0"),
            ("x-envoy-upstream-rq-timeout-ms", "1"),
            ("x-envoy-retry-on", "5xx"),
        ] {
            request = request.header(name, value);
        }
        self.own.script(Script::usual().delay_headers(Duration::from_millis(300)));
        let answer = request.ask(self.port()).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-llm-target")), (200, Some("own-small")));
        let received = &self.own.received()[before];
        for name in
            ["x-llm-cluster", "x-llm-journey", "x-envoy-attempt-count", "x-envoy-max-retries", "x-request-id"]
        {
            assert_eq!(received.header(name), None, "{name}");
        }
    }

    /// Applications reach the filter by its host: no time limit and no retries of Istio, and this pod's listener.
    async fn has_a_host(&self) {
        let host = match self.kind {
            Kind::Sidecar => "llm.internal",
            Kind::Gateway => "llm-failsafe-gateway.internal",
        };
        let dump = self.proxy.admin("/config_dump?resource=dynamic_route_configs").await;
        let dump: Value = serde_json::from_str(&dump).unwrap();
        let tables =
            dump["configs"].as_array().unwrap().iter().map(|it| &it["route_config"]["virtual_hosts"]);
        let hosts = tables.filter_map(Value::as_array).flatten();
        let cluster = format!("outbound|80||{host}");
        let routes =
            hosts.filter_map(|host| host["routes"].as_array()).flatten().map(|route| &route["route"]);
        let routes: Vec<_> = routes.filter(|route| route["cluster"] == cluster.as_str()).collect();
        assert!(!routes.is_empty(), "{dump}");
        for route in routes {
            assert_eq!((&route["timeout"], &route["retry_policy"]), (&json!("0s"), &Value::Null), "{route}");
        }
        let clusters = self.proxy.admin("/clusters").await;
        assert!(clusters.contains(&format!("{cluster}::127.0.0.1:10000::")), "{clusters}");
    }

    async fn has_labels(&self) {
        let mut all = String::new();
        until("the attempts are counted with their labels", async || {
            all = self.proxy.metrics().await;
            all.lines().any(|line| {
                line.starts_with("llm_failsafe_attempts_by_outcome{")
                    && line.contains(r#"target="own-small""#)
                    && line.contains(r#"outcome="complete""#)
                    && !line.ends_with(" 0")
            })
        })
        .await;
        for part in ["=.=", "__", ";"] {
            let unclean = all.lines().find(|line| line.contains("llm_failsafe_") && line.contains(part));
            assert_eq!(unclean, None);
        }
        // What Istio leaves out otherwise.
        assert!(all.contains("llm_failsafe_edge_downstream_rq"), "no metrics of the listener");
    }

    async fn takes_policies_under_load(&self) {
        self.own.script(Script::usual().content_chunks(40).delay_chunks(Duration::from_millis(250)));
        let mut stream = Request::chat("small", true).send(self.port()).await.unwrap();
        assert!(stream.next_chunk().await.unwrap().is_ok());

        let load = Load::start(self.port());
        let more = r#""models":{"chat":"#;
        let good = policy(&self.objects, more, r#""models":{"talk":{"tiers":[["own-small"]]},"chat":"#);
        self.istiod.apply(&good);
        until("the new policy is used", async || {
            Request::chat("talk", false).ask(self.port()).await.status == 200
        })
        .await;
        load.has_grown().await;

        self.istiod.apply(&policy(&self.objects, KIND, BAD_KIND));
        until("the bad policy is refused", async || {
            self.proxy.stat(&format!("{ECDS}.update_rejected")).await >= 1
        })
        .await;
        load.has_grown().await;
        assert_eq!(Request::chat("talk", false).ask(self.port()).await.status, 200, "the old policy stays");

        // Plumbing that Envoy refuses: the old listener stays.
        let plumbing =
            the(&self.objects, "EnvoyFilter", &format!("-{}", self.kind.name().trim_start_matches("istio-")));
        let bad = plumbing
            .to_string()
            .replace(r#""cluster":"llm-failsafe-loop""#, r#""cluster":"llm-failsafe-lop""#);
        let bad: Value = serde_json::from_str(&bad).unwrap();
        assert_ne!(&bad, plumbing);
        self.istiod.apply(&bad);
        until("the bad plumbing is refused", async || {
            self.proxy.stat("listener_manager.lds.update_rejected").await >= 1
        })
        .await;
        load.has_grown().await;
        self.istiod.apply(plumbing);
        self.istiod.apply(&policy(
            &self.objects,
            more,
            r#""models":{"again":{"tiers":[["own-small"]]},"chat":"#,
        ));
        until("a good policy is used again", async || {
            Request::chat("again", false).ask(self.port()).await.status == 200
        })
        .await;

        let stream = stream.read().await;
        assert!(stream.error.is_none() && stream.text().contains("[DONE]"), "the stream was cut");
        load.stop().await;
    }

    /// Istio's agent lets a stream finish, and a failover in it, and then ends by itself.
    async fn drains(mut self) {
        self.own.script(Script::usual().content_chunks(30).delay_chunks(Duration::from_millis(300)));
        let mut stream = Request::chat("small", true).send(self.port()).await.unwrap();
        assert!(stream.next_chunk().await.unwrap().is_ok());
        self.proxy.terminate();
        until("the agent drains", async || self.proxy.output().contains("draining")).await;
        let stream = stream.read().await;
        assert!(stream.error.is_none() && stream.text().contains("[DONE]"), "the stream was cut");
        tokio::time::timeout(SOON, self.proxy.end())
            .await
            .expect("the pod ends when its requests have ended");
    }
}

/// Requests without a pause. None may fail.
struct Load {
    served: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Load {
    fn start(port: u16) -> Self {
        let (served, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&served), Arc::clone(&is_over));
        let task = tokio::spawn(async move {
            while !end.load(Ordering::Relaxed) {
                let answer = Request::chat("small", false).ask(port).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { served, is_over, task }
    }

    /// Waits until more requests have been served.
    async fn has_grown(&self) {
        let wanted = self.served.load(Ordering::Relaxed) + 20;
        until("requests are served", async || {
            assert!(!self.task.is_finished(), "a request failed");
            self.served.load(Ordering::Relaxed) >= wanted
        })
        .await;
    }

    async fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.expect("no request failed");
        println!("served during the updates: {}", self.served.load(Ordering::Relaxed));
    }
}

async fn check(kind: Kind) {
    let _network = network().await;
    let mesh = Mesh::start(kind).await;
    mesh.serves_and_fails_over().await;
    mesh.ignores_forged_headers().await;
    mesh.has_a_host().await;
    mesh.has_labels().await;
    mesh.takes_policies_under_load().await;
    mesh.drains().await;
}

#[test]
fn a_misspelled_field_is_found() {
    let providers = ["openai=A".to_owned(), "own=http://own.test".to_owned()];
    let objects = objects(Kind::Sidecar, &providers, &[]);
    for (name, from, to) in [
        ("-sidecar", "\"stat_prefix\"", "\"stat_prefx\""),
        ("-policy", "\"root_id\"", "\"root\""),
        ("-sidecar", "\"workloadSelector\"", "\"workloads\""),
    ] {
        let text = the(&objects, "EnvoyFilter", name).to_string();
        let bad: Value = serde_json::from_str(&text.replace(from, to)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let found = findings(folder.path(), &[bad]).join("\n");
        assert!(found.contains(to.trim_matches('"')), "{to}: {found}");
    }
}

/// The startup probe of the gateway asks for the filter, so Kubernetes keeps the old pods meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_starts_with_a_bad_policy_heals_when_it_is_corrected() {
    let _network = network().await;
    let providers = ["openai=KEY_A".to_owned(), "own=http://127.0.0.1:1".to_owned()];
    let objects = objects(Kind::Gateway, &providers, &[]);
    let istiod = Istiod::start(&objects).await;
    istiod.apply(&policy(&objects, KIND, BAD_KIND));
    let injected = istiod.injected(the(&objects, "Deployment", "llm-failsafe-gateway"));
    let probe = &container(&injected["spec"]["template"])["startupProbe"]["httpGet"];
    assert_eq!(probe["port"], "http");
    let status = async || {
        let answer = Request::get(probe["path"].as_str().unwrap()).send(Kind::Gateway.port()).await;
        answer.map_or(0, |answer| answer.status.as_u16())
    };
    let proxy = Proxy::start(&injected).await;
    until("the bad policy is refused", async || proxy.stat(&format!("{ECDS}.update_rejected")).await >= 1)
        .await;
    until("the startup probe fails", async || status().await == 500).await;
    assert!(proxy.is_ready().await);
    istiod.apply(the(&objects, "EnvoyFilter", "-policy"));
    until("the startup probe succeeds", async || status().await == 200).await;
}

/// The component `egress`: Envoy has Istio's clusters with verified names, and none of the folder's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn providers_can_be_reached_through_istio() {
    let _network = network().await;
    let providers = ["openai=KEY_A,KEY_B".to_owned(), "own=http://127.0.0.1:1".to_owned()];
    let objects = objects(Kind::Gateway, &providers, &["gateway/components/egress"]);
    let istiod = Istiod::start(&objects).await;
    let proxy = Proxy::start(&istiod.injected(the(&objects, "Deployment", "llm-failsafe-gateway"))).await;
    until("the filter is there", async || {
        let answer = Request::get("/llm-failsafe/health").send(Kind::Gateway.port()).await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    let dump: Value =
        serde_json::from_str(&proxy.admin("/config_dump?resource=dynamic_active_clusters").await).unwrap();
    let clusters: Vec<_> = dump["configs"].as_array().unwrap().iter().map(|it| &it["cluster"]).collect();
    let named = |name: &str| clusters.iter().find(|cluster| cluster["name"] == name);
    assert!(named("llm-failsafe-own").is_some() && named("llm-failsafe-openai").is_none());
    let cluster = named("outbound|443|llm|api.openai.com").expect("Istio's cluster").to_string();
    for part in [r#""sni":"api.openai.com""#, r#""exact":"api.openai.com""#, r#""connect_timeout":"3s""#] {
        assert!(cluster.contains(part), "{part}: {cluster}");
    }
    // The filter sends requests there. Nobody can be reached in this network, so the attempt ends as one without a connection.
    let answer = Request::chat("small", false).ask(Kind::Gateway.port()).await;
    assert!(answer.status.is_server_error(), "{}", answer.text());
    let answer = Request::chat("chat", false).ask(Kind::Gateway.port()).await;
    assert!(answer.status.is_server_error(), "{}", answer.text());
    let tried = "cluster.outbound|443|llm|api.openai.com";
    let all = proxy.admin("/clusters").await;
    assert!(all.contains(&tried["cluster.".len()..]), "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_serves_takes_policies_and_drains() {
    check(Kind::Sidecar).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_serves_takes_policies_and_drains() {
    check(Kind::Gateway).await;
}
