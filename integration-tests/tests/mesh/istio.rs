//! What `llm-failsafe init --kubernetes istio-…` writes, with Istio's real control plane, injection and agent.

use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::Request;
use integration_tests::paths;
use integration_tests::provider::{Script, ScriptedProvider, errors};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::dumps;
use super::istiod::{DRAIN_OF_MESH, Istiod, findings, kustomized};
use super::load::Load;
use super::process::until;
use super::proxy::{ADMIN, Proxy, Redirection, container};
use super::{network, with_tls};

const MODULE_IN_POD: &str = "/opt/llm-failsafe/plugin.wasm";
const ECDS: &str = "extension_config_discovery.http_filter.llm-failsafe";
/// What the policy says, and a mistake in its place.
const KIND: &str = r#""kind":"openai""#;
const BAD_KIND: &str = r#""kind":"opanai""#;
/// An address that nobody has.
const OUTSIDE: &str = "10.9.9.9:80";
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
    injected: Value,
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
        let mesh = Self { kind, openai, own, objects, istiod, proxy, injected };
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

    /// As the page shows it.
    async fn satisfies_the_doctor(&self) {
        let address = format!("http://127.0.0.1:{}", self.port());
        let admin = format!("http://127.0.0.1:{ADMIN}");
        let run = move || {
            let arguments = ["doctor".to_owned(), address, "--admin".to_owned(), admin];
            llm_failsafe_cli::run(arguments, llm_failsafe::base::WallTime::default())
        };
        let report = tokio::task::spawn_blocking(run).await.unwrap();
        let report = report.unwrap_or_else(|failure| panic!("{failure}"));
        assert!(report.contains("no counter of Envoy shows a defect"), "{report}");
    }

    /// As the page shows it, too.
    async fn satisfies_check(&self) {
        let report = dumps::check(&self.proxy.admin("/config_dump").await, None).unwrap();
        assert!(report.starts_with("good: ") && !report.contains("lacks"), "{report}");
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

    /// An application asks `http://llm.internal`, and Istio redirects its connection to the sidecar.
    async fn is_reached_by_its_host(&self) {
        if matches!(self.kind, Kind::Gateway) {
            return;
        }
        let _redirection = Redirection::start(&self.injected);
        let body =
            json!({"model": "small", "stream": true, "messages": [{"role": "user", "content": "hello"}]})
                .to_string();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: llm.internal\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.own.script(Script::usual().delay_chunks(Duration::from_millis(300)));
        let mut answer = String::new();
        let exchange = async {
            // Any address outside: Istio decides by the host.
            let mut stream = TcpStream::connect(OUTSIDE).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.read_to_string(&mut answer).await.unwrap();
        };
        tokio::time::timeout(SOON, exchange).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("[DONE]"), "{answer}");
        assert!(answer.contains("x-llm-target: own-small"), "{answer}");
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
        // Alerts need these.
        for name in ["envoy_filesystem_write_failed", "envoy_filesystem_write_total_buffered"] {
            assert!(all.lines().any(|line| line.starts_with(name)), "no {name}");
        }
    }

    async fn takes_policies_under_load(&self) {
        self.own.script(Script::usual().content_chunks(80).delay_chunks(Duration::from_millis(250)));
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

        // Other plumbing replaces a listener. The mesh has a short drain time, and the annotation of the pod a long one.
        let other = plumbing
            .to_string()
            .replace(r#""stream_idle_timeout":"1200s""#, r#""stream_idle_timeout":"1201s""#);
        let other: Value = serde_json::from_str(&other).unwrap();
        assert_ne!(&other, plumbing);
        self.istiod.apply(&other);
        until("the listener is replaced", async || {
            self.proxy.stat("listener_manager.listener_modified").await >= 1
        })
        .await;
        let replaced = Instant::now();
        load.has_grown().await;
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
        assert!(stream.ended_at > replaced + DRAIN_OF_MESH * 2, "the stream was too short to be cut");
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

async fn check(kind: Kind) {
    let _network = network().await;
    let mesh = Mesh::start(kind).await;
    mesh.satisfies_the_doctor().await;
    mesh.satisfies_check().await;
    mesh.serves_and_fails_over().await;
    mesh.ignores_forged_headers().await;
    mesh.has_a_host().await;
    mesh.is_reached_by_its_host().await;
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
    let openai = ScriptedProvider::start("openai").await;
    let tls = with_tls(&openai).await;
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
    openai.script(errors::openai_500());
    let answer = Request::chat("chat", true).ask(Kind::Gateway.port()).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-llm-attempts")), (200, Some("2")), "{answer:?}");
    assert!(answer.error.is_none() && answer.text().contains("[DONE]"), "{answer:?}");
    assert_eq!(openai.received()[1].header("host"), Some("api.openai.com"));
    assert!(tls.stat("listener.127.0.0.1_443.ssl.handshake").await.is_some_and(|count| count >= 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_serves_takes_policies_and_drains() {
    check(Kind::Sidecar).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_serves_takes_policies_and_drains() {
    check(Kind::Gateway).await;
}
