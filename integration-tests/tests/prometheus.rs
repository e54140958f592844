//! A real Prometheus scrapes a real Envoy: labels arrive as labels, the shipped alert rules load and fire, and every query of
//! the shipped dashboard returns series.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::Request;
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::paths;
use integration_tests::provider::{Script, ScriptedProvider, errors};
use integration_tests::sha256;
use integration_tests::tools;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const OPERATOR: &str = "op-secret";

/// Prometheus with the shipped configuration, this Envoy as target and a short interval. It ends when dropped.
struct Prometheus {
    process: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    async fn start(envoy: &Envoy) -> Option<Self> {
        let binary = tools::prometheus()?;
        let dir = tempfile::Builder::new().prefix("llm-failsafe-prometheus-").tempdir().unwrap();
        let config = read("envoy/prometheus.yaml")
            .replace("envoy:9901", &format!("127.0.0.1:{}", envoy.admin_port()))
            .replace("10s", "1s");
        std::fs::write(dir.path().join("prometheus.yaml"), config).unwrap();
        std::fs::write(dir.path().join("alerts.yaml"), read("envoy/alerts.yaml")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(binary)
            .arg(format!("--config.file={}", dir.path().join("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let prometheus = Self { process, port, _dir: dir };
        prometheus.wait_for("up == 1").await;
        Some(prometheus)
    }

    /// The API's response; `None` while it is not ready.
    async fn get(&self, path: &str) -> Option<Value> {
        let answer = Request::get(path).send(self.port).await.ok()?;
        if answer.status == 400 {
            panic!("{path}: {}", answer.text().await);
        }
        (answer.status == 200).then_some(())?;
        serde_json::from_str(&answer.text().await).ok()
    }

    async fn query(&self, query: &str) -> Vec<Value> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={encoded}")).await;
        answer.and_then(|answer| answer["data"]["result"].as_array().cloned()).unwrap_or_default()
    }

    /// Waits until a query returns something.
    async fn wait_for(&self, query: &str) -> Vec<Value> {
        let deadline = Instant::now() + SOON;
        loop {
            let series = self.query(query).await;
            if !series.is_empty() {
                return series;
            }
            assert!(Instant::now() < deadline, "no result for: {query}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(paths::root().join(path)).unwrap()
}

/// A gateway in which `first` fails and `spare` answers instead.
struct PrometheusScene {
    first: ScriptedProvider,
    spare: ScriptedProvider,
    envoy: Envoy,
}

impl PrometheusScene {
    async fn start() -> Self {
        let sha256 = sha256(OPERATOR);
        let price = json!({"input": 1.0, "output": 2.0});
        let configuration = json!({
            "providers": {
                "first": compatible("first"),
                "spare": compatible("spare"),
            },
            "accounts": {"a": {"provider": "first", "key": {"value": "sk-a"}}},
            "targets": {
                "first": {"account": "a", "model": "m", "price": price},
                "spare": {"provider": "spare", "model": "m", "price": price},
                "one-by-one": {"provider": "spare", "model": "m", "limits": {"max_pending": 1}},
            },
            "models": {
                "gpt-4.1": {"tiers": [["first"], ["spare"]]},
                "meta/llama:free": {"targets": ["first"]},
                "queued": {"targets": ["one-by-one"], "retry": {"attempts": 1, "queue": {"max_wait": "60s"}}},
            },
            "operator": {"keys": {"anna": {"sha256": sha256}}},
        });
        let gateway = Gateway::new(Shape::Loop).plugin(&configuration).concurrency(2);
        let scene = gateway.start_with(["first", "spare"]).await;
        let [first, spare] = scene.providers;
        Self { first, spare, envoy: scene.envoy }
    }

    /// A request takes the only place of its model's target, and another one waits for it, until both are dropped.
    async fn fill_up(&self) -> [JoinHandle<()>; 2] {
        let before = self.spare.received().len();
        self.spare.script(Script::hang());
        let ask = || {
            let request = Request::chat("queued", false).patience(2 * SOON).send(self.envoy.port());
            tokio::spawn(async move { drop(request.await) })
        };
        let first = ask();
        self.spare.wait_for(before + 1, SOON).await;
        // The other worker learns of it with its next tick.
        tokio::time::sleep(Duration::from_secs(1)).await;
        [first, ask()]
    }

    async fn ask(&self, stream: bool) {
        let answer = Request::chat("gpt-4.1", stream).send(self.envoy.port()).await.unwrap();
        answer.read().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_arrive_alerts_fire_and_every_dashboard_query_returns_series() {
    let scene = PrometheusScene::start().await;
    let Some(prometheus) = Prometheus::start(&scene.envoy).await else { return };
    // All series exist from the start with 0, so the first failure is an increase.
    prometheus.wait_for(r#"llm_failsafe_attempts_by_outcome{target="first",outcome="server"} == 0"#).await;
    prometheus.wait_for(r#"llm_failsafe_model_targets_fit{model="gpt-4.1"} == 2"#).await;
    // Envoy's counter of VM reloads passes the shipped filter of names. An alert uses it.
    prometheus.wait_for("envoy_wasm_llm_failsafe_vm_reload_success == 0").await;
    assert!(prometheus.query("ALERTS").await.is_empty());

    scene.ask(false).await;
    scene.first.script(Script::usual().cut_after_chunks(3));
    scene.ask(true).await;
    scene.first.script(errors::openai_500());
    scene.ask(false).await;
    scene.first.script(errors::openai_401());
    scene.ask(true).await;
    let order = Request::post("/llm-failsafe/targets/spare/probe")
        .header("authorization", &format!("Bearer {OPERATOR}"));
    assert_eq!(order.send(scene.envoy.port()).await.unwrap().status, 200);

    for query in [
        r#"llm_failsafe_attempts_by_outcome{target="first",outcome="complete"} == 1"#,
        r#"llm_failsafe_attempts_by_outcome{target="first",outcome="stream_truncated"} == 1"#,
        r#"llm_failsafe_attempts_by_outcome{target="first",outcome="server"} == 1"#,
        r#"llm_failsafe_attempts_by_outcome{target="first",outcome="auth"} == 1"#,
        r#"llm_failsafe_attempts_by_outcome{target="spare",outcome="complete"} == 2"#,
        r#"llm_failsafe_attempts_broken{target="first"} == 1"#,
        r#"llm_failsafe_requests_by_end{model="gpt-4.1",outcome="served"} == 1"#,
        r#"llm_failsafe_requests_by_end{model="gpt-4.1",outcome="fell_back"} == 2"#,
        r#"llm_failsafe_requests_by_end{model="gpt-4.1",outcome="broken"} == 1"#,
        r#"llm_failsafe_fallbacks{model="gpt-4.1",reason="server"} == 1"#,
        r#"llm_failsafe_fallbacks{model="gpt-4.1",reason="auth"} == 1"#,
        r#"llm_failsafe_breaker_changes{scope="account",name="a",to="opened"} == 1"#,
        r#"llm_failsafe_breaker_state{scope="account",name="a"} == 7"#,
        r#"llm_failsafe_model_targets_fit{model="gpt-4.1"} == 1"#,
        r#"llm_failsafe_model_targets_fit{model="meta/llama:free"} == 0"#,
        r#"llm_failsafe_first_content_milliseconds_count{target="spare"} == 2"#,
        r#"llm_failsafe_longest_gap_milliseconds_count{target="first"} == 1"#,
        r#"llm_failsafe_longest_gap_milliseconds_count{target="spare"} == 1"#,
        r#"llm_failsafe_breaker_probes_by_name{scope="account",name="a"} == 0"#,
        r#"llm_failsafe_waiting_by_model{model="queued"} == 0"#,
        r#"llm_failsafe_tokens_by_target{target="spare",kind="output"} > 0"#,
        r#"llm_failsafe_cost_microdollars{target="spare"} > 0"#,
        r#"llm_failsafe_operator_orders_by_key{key="anna",order="probe"} == 1"#,
        r#"ALERTS{alertname="LlmFailsafeBreakerOpened",name="a"}"#,
        r#"ALERTS{alertname="LlmFailsafeNobodyLeft",model="meta/llama:free"}"#,
        r#"ALERTS{alertname="LlmFailsafeAccountBlocked",name="a"}"#,
    ] {
        prometheus.wait_for(query).await;
    }

    // A queued request is counted until it leaves, and a probe is counted for its breaker.
    let waiting = scene.fill_up().await;
    prometheus.wait_for(r#"llm_failsafe_waiting_by_model{model="queued"} == 1"#).await;
    waiting.iter().for_each(JoinHandle::abort);
    prometheus.wait_for(r#"llm_failsafe_waiting_by_model{model="queued"} == 0"#).await;
    let order = Request::post("/llm-failsafe/accounts/a/probe")
        .header("authorization", &format!("Bearer {OPERATOR}"));
    assert_eq!(order.send(scene.envoy.port()).await.unwrap().status, 200);
    let deadline = Instant::now() + SOON;
    let probes = r#"llm_failsafe_breaker_probes_by_name{scope="account",name="a"} > 0"#;
    while prometheus.query(probes).await.is_empty() {
        scene.ask(false).await;
        assert!(Instant::now() < deadline, "the account is not probed");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(
        prometheus
            .query(&probes.replace("\"account\",name=\"a\"", "\"endpoint\",name=\"first\""))
            .await
            .is_empty()
    );

    let rules = prometheus.get("/api/v1/rules").await.unwrap();
    for rule in rules["data"]["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
    {
        assert_eq!(rule["health"], "ok", "{rule:#}");
    }

    let dashboard: Value = serde_json::from_str(&read("envoy/dashboard.json")).unwrap();
    let mut queries = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap().replace("$__rate_interval", "1m");
            let query = query.replace("$model", ".*").replace("$target", ".*");
            assert!(!query.contains('$'), "{query}");
            prometheus.wait_for(&query).await;
            queries += 1;
        }
    }
    assert!(queries >= 20, "{queries}");
}

fn promtool(arguments: &[&str]) {
    let Some(promtool) = tools::promtool() else { return };
    let output =
        Command::new(promtool).args(arguments).current_dir(paths::root().join("envoy")).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() {
    promtool(&["check", "config", "prometheus.yaml"]);
    promtool(&["check", "rules", "alerts.yaml"]);
    promtool(&["test", "rules", "alerts_test.yaml"]);
}

#[test]
fn every_alert_has_a_test_and_a_runbook_section() {
    let rules: Value = serde_yaml_ng::from_str(&read("envoy/alerts.yaml")).unwrap();
    let (tests, runbook) = (read("envoy/alerts_test.yaml"), read("docs/runbook.md"));
    let rules =
        rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let mut alerts = 0;
    for rule in rules.filter(|rule| rule.get("alert").is_some()) {
        let name = rule["alert"].as_str().unwrap();
        assert!(
            tests.contains(&format!("alertname: {name}\n    exp_alerts:\n    - exp_labels")),
            "{name} has no test in which it fires"
        );
        let section = runbook.split("\n## ").find(|section| section.starts_with(&format!("{name}\n")));
        let section = section.unwrap_or_else(|| panic!("docs/runbook.md has no section {name}"));
        for part in ["**What it means.**", "**Where to look.**", "**What to do.**"] {
            assert!(section.contains(part), "{name} lacks {part}");
        }
        assert_eq!(rule["annotations"]["runbook"], format!("docs/runbook.md#{}", name.to_lowercase()));
        assert!(
            rule["labels"]["severity"].is_string() && rule["annotations"]["summary"].is_string(),
            "{name}"
        );
        alerts += 1;
    }
    assert!(alerts >= 8, "{alerts}");
}
