//! A new version of the module while Envoy runs and serves: what goes on, what is kept, and what is not.

use integration_tests::SOON;
use integration_tests::client::{Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Script, ScriptedProvider, errors};
use integration_tests::{paths, sha256};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::live_changes::{FILTER, Load, discovered};

const OPERATOR: &str = "Bearer op-upgrade-secret";
const OLD: &str = env!("CARGO_PKG_VERSION");
const VMS: &str = "wasm.envoy.wasm.runtime.v8.active";
const UPDATED: &str = "extension_config_discovery.http_filter.llm-failsafe.update_success";
const REJECTED: &str = "extension_config_discovery.http_filter.llm-failsafe.update_rejected";

/// A provider that begins each stream at once, and ends it when the test says so.
struct Gated {
    port: u16,
    open: watch::Sender<bool>,
}

impl Gated {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, gate) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(stream(connection, gate.clone()));
            }
        });
        Self { port, open }
    }
}

async fn stream(mut connection: TcpStream, mut gate: watch::Receiver<bool>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        if connection.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let event = r#"data: {"choices":[{"delta":{"content":"hi"}}]}"#;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    connection.write_all(format!("{head}{event}\n\n").as_bytes()).await?;
    if gate.wait_for(|open| *open).await.is_ok() {
        connection.write_all(format!("{event}\n\ndata: [DONE]\n\n").as_bytes()).await?;
    }
    connection.shutdown().await
}

/// The number is part of a model's name, so the provider sees which configuration was used.
fn configuration(number: usize) -> Value {
    json!({
        "providers": {
            "broken": compatible("broken"),
            "good": compatible("good"),
            "gated": compatible("gated"),
            "silent": compatible("silent"),
        },
        "targets": {
            "broken": {"provider": "broken", "model": "m"},
            "drained": {"provider": "good", "model": format!("drained-{number}")},
            "good": {"provider": "good", "model": format!("good-{number}")},
            "gated": {"provider": "gated", "model": "m", "limits": {"max_pending": 1}},
            "silent": {"provider": "silent", "model": "m"},
        },
        "models": {
            "chat": {"tiers": [["broken"], ["drained"], ["good"]]},
            "gated": {"targets": ["gated"], "retry": {"attempts": 1, "queue": {"max_wait": "60s"}}},
            "silent": {"tiers": [["silent"], ["good"]]},
        },
        "breaker": {"open": "2m"},
        "keys": {
            "load": {"sha256": sha256("of-the-client")},
            "team": {"sha256": sha256("team-key"), "budget": {"tokens_per_day": 1000}},
        },
        "operator": {"keys": {"anna": {"sha256": sha256("op-upgrade-secret")}}},
    })
}

/// A version as long as the old one.
fn next_version() -> String {
    OLD.replace(|digit: char| digit.is_ascii_digit(), "9")
}

/// The built module with the next version in it, which the report shows.
fn next_module() -> Vec<u8> {
    let mut module = std::fs::read(paths::wasm()).unwrap();
    let places: Vec<_> = (0..module.len()).filter(|at| module[*at..].starts_with(OLD.as_bytes())).collect();
    assert!(!places.is_empty(), "the module names its version");
    for at in places {
        module[at..at + OLD.len()].copy_from_slice(next_version().as_bytes());
    }
    module
}

struct Upgrade<F> {
    envoy: Envoy,
    good: ScriptedProvider,
    broken: ScriptedProvider,
    silent: ScriptedProvider,
    gated: Gated,
    resource: F,
}

async fn start() -> Upgrade<impl Fn(&Value) -> String> {
    let [good, broken, silent] = [
        ScriptedProvider::start("good").await,
        ScriptedProvider::start("broken").await,
        ScriptedProvider::start("silent").await,
    ];
    good.by_default(Script::usual().tokens(30, 20));
    broken.by_default(errors::openai_500());
    silent.by_default(Script::hang());
    let gated = Gated::start().await;
    let gateway = Gateway::new(Shape::Loop)
        .concurrency(2)
        .provider("good", good.port())
        .provider("broken", broken.port())
        .provider("silent", silent.port())
        .provider("gated", gated.port);
    let (config, resource) = discovered(gateway, &configuration(0));
    Upgrade { envoy: Envoy::start(config).await, good, broken, silent, gated, resource }
}

impl<F: Fn(&Value) -> String> Upgrade<F> {
    /// Puts a module beside the old one.
    fn put(&self, name: &str, module: &[u8]) {
        std::fs::write(self.envoy.dir().join(name), module).unwrap();
    }

    /// The file of the filter with this module.
    fn filter(&self, number: usize, module: &str) -> String {
        let filter = (self.resource)(&configuration(number));
        assert!(filter.contains("{{wasm}}"));
        filter.replace("{{wasm}}", &format!("{{{{dir}}}}/{module}"))
    }

    /// Waits until requests on both workers use the configuration with this number.
    async fn wait_until_used(&self, number: usize) {
        let suffix = format!("-{number}");
        let uses = |read: &Read| read.header("x-llm-model").is_some_and(|model| model.ends_with(&suffix));
        self.envoy.until_every_worker(|| of_load("chat", false), uses).await;
    }

    async fn report(&self) -> Value {
        let request = Request::get("/llm-failsafe/status").header("authorization", OPERATOR);
        let read = request.ask(self.envoy.port()).await;
        assert_eq!(read.status, 200, "{}", read.text());
        read.json()
    }

    /// A request of `team` that may use this many tokens.
    async fn of_team(&self, max_tokens: u64) -> Read {
        let messages = json!([{"role": "user", "content": "hi"}]);
        let body = json!({"model": "chat", "max_tokens": max_tokens, "messages": messages});
        let request = Request::post("/v1/chat/completions").header("authorization", "Bearer team-key");
        request.json(&body).ask(self.envoy.port()).await
    }

    /// Gives the filter something to know: an open breaker, a used budget, and an order.
    async fn learn(&self) {
        let order = Request::post("/llm-failsafe/targets/drained/drain").header("authorization", OPERATOR);
        assert_eq!(order.ask(self.envoy.port()).await.status, 200);
        assert_eq!(self.of_team(850).await.status, 200);
        let served = |read: &Read| read.header("x-llm-target") == Some("good");
        self.envoy.until_every_worker(|| of_load("chat", false), served).await;
        assert_eq!(self.knows().await, (OLD.to_owned(), true));
    }

    /// The running version, and whether it knows what [`Self::learn`] gave. It knows all of it or nothing.
    async fn knows(&self) -> (String, bool) {
        let report = self.report().await;
        let targets = report["targets"].as_array().unwrap();
        let state = |name: &str| targets.iter().find(|it| it["name"] == name).unwrap()["state"].clone();
        let budget_is_used = self.of_team(970).await.header("x-llm-reason") == Some("budget_exhausted");
        let known = [state("broken") == "open", state("drained") == "drained", budget_is_used];
        assert!(known.iter().all(|it| *it == known[0]), "{known:?} {report}");
        (report["versions"]["llm_failsafe"].as_str().unwrap().to_owned(), known[0])
    }
}

fn of_load(model: &str, stream: bool) -> Request {
    Request::chat(model, stream).header("authorization", "Bearer of-the-client").patience(SOON)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_under_load_loses_no_request_and_keeps_what_the_filter_knows() {
    let mut upgrade = start().await;
    let port = upgrade.envoy.port();
    upgrade.learn().await;
    // What the old version has begun: a stream, a request that waits for the stream's place, and one without an answer.
    let mut open = of_load("gated", true).send(port).await.unwrap();
    assert!(open.next_chunk().await.unwrap().is_ok());
    let waiting = tokio::spawn(of_load("gated", true).ask(port));
    upgrade.envoy.wait_for_count("waiting", 1).await;
    let unanswered = tokio::spawn(of_load("silent", false).ask(port));
    upgrade.silent.wait_for(1, SOON).await;
    let load = Load::start(port);

    let vms = upgrade.envoy.stat(VMS).await.unwrap();
    let asked = upgrade.broken.received().len();
    let requests = upgrade.envoy.count("requests").await;
    upgrade.put("next.wasm", &next_module());
    upgrade.envoy.replace_file(FILTER, &upgrade.filter(1, "next.wasm"));
    upgrade.wait_until_used(1).await;

    assert_eq!(upgrade.knows().await, (next_version(), true));
    assert_eq!(upgrade.broken.received().len(), asked, "the breaker stayed open");
    let received = upgrade.good.received();
    assert!(received.iter().all(|request| request.json()["model"] != "drained-1"), "the order holds");
    assert!(upgrade.envoy.count("requests").await > requests, "counters go on");
    assert_eq!(upgrade.envoy.count("waiting").await, 1, "gauges count for both versions");

    assert!(upgrade.envoy.stat(VMS).await.unwrap() > vms, "the old version serves its stream");

    // The stream still has its place.
    assert!(!waiting.is_finished());
    upgrade.gated.open.send(true).unwrap();
    for stream in [open.read().await, waiting.await.unwrap()] {
        assert!(stream.status == 200 && stream.error.is_none(), "{:?}", stream.error);
        assert!(stream.text().ends_with("data: [DONE]\n\n"), "{}", stream.text());
    }
    // The old version sees that the attempt has failed, and the new one makes the next.
    upgrade.silent.stop().await;
    let answered = unanswered.await.unwrap();
    assert_eq!(answered.header("x-llm-target"), Some("good"), "{}", answered.text());
    assert!(load.stop().await > 50);
    upgrade.envoy.wait_until_idle().await;
    // The old version ends with its last request.
    upgrade.envoy.wait_for_stat(VMS, |count| count == vms).await;
    // The load has left too many records to read each of them.
    let log = upgrade.envoy.log();
    let forgotten = log.lines().filter(|line| line.contains(r#""forgotten_attempts":1"#)).count();
    assert_eq!(forgotten, 1);
}

/// Workers share what they know under this name.
#[tokio::test]
async fn with_another_vm_id_an_upgrade_begins_with_nothing() {
    let upgrade = start().await;
    upgrade.learn().await;
    upgrade.broken.by_default(Script::usual());
    upgrade.put("next.wasm", &next_module());
    let filter = upgrade.filter(1, "next.wasm");
    let old = r#""vm_id": "llm-failsafe""#;
    assert!(filter.contains(old));
    upgrade.envoy.replace_file(FILTER, &filter.replace(old, r#""vm_id": "llm-failsafe-2""#));
    let asked = |read: &Read| read.header("x-llm-target") == Some("broken");
    upgrade.envoy.until_every_worker(|| of_load("chat", false), asked).await;
    assert_eq!(upgrade.knows().await, (next_version(), false));
}

#[tokio::test]
async fn a_module_that_envoy_cannot_run_is_not_taken() {
    let upgrade = start().await;
    let next = next_module();
    upgrade.put("half.wasm", &next[..next.len() / 2]);
    for (count, module) in [(1, "half.wasm"), (2, "missing.wasm")] {
        upgrade.envoy.replace_file(FILTER, &upgrade.filter(1, module));
        upgrade.envoy.wait_for_stat(REJECTED, |rejected| rejected == count).await;
        let read = of_load("chat", false).ask(upgrade.envoy.port()).await;
        assert_eq!((read.status.as_u16(), read.header("x-llm-model")), (200, Some("drained-0")));
    }
}

/// So every version needs a file of its own.
#[tokio::test]
async fn a_module_that_is_overwritten_is_taken_with_the_next_change_of_the_configuration() {
    let upgrade = start().await;
    upgrade.put("module.wasm", &std::fs::read(paths::wasm()).unwrap());
    upgrade.envoy.replace_file(FILTER, &upgrade.filter(1, "module.wasm"));
    upgrade.wait_until_used(1).await;
    let updates = upgrade.envoy.stat(UPDATED).await.unwrap();
    upgrade.put("module.wasm", &next_module());
    upgrade.envoy.replace_file(FILTER, &upgrade.filter(1, "module.wasm"));
    upgrade.envoy.wait_for_stat(UPDATED, |count| count > updates).await;
    assert_eq!(upgrade.report().await["versions"]["llm_failsafe"], OLD);
    upgrade.envoy.replace_file(FILTER, &upgrade.filter(2, "module.wasm"));
    upgrade.wait_until_used(2).await;
    assert_eq!(upgrade.report().await["versions"]["llm_failsafe"], next_version());
}
