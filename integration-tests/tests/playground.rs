//! What docker-compose.yaml starts and mounts, tested without Docker: the real Envoy with its configuration, its scripted
//! providers, and every file that it refers to.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use integration_tests::client::Request;
use integration_tests::envoy::{Envoy, EnvoyConfig};
use integration_tests::paths;
use integration_tests::records;
use integration_tests::tools;
use serde_json::{Value, json};

/// The playground's provider.
pub struct Provider {
    process: Child,
    pub port: u16,
}

impl Provider {
    pub fn start(name: &str) -> Self {
        let mut process = Command::new("python3")
            .arg(paths::root().join("envoy/playground/provider.py"))
            .args([name, "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3, which set-up needs too");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, port: line.trim().parse().expect("the provider prints its port") }
    }

    async fn script(&self, script: &str) {
        assert_eq!(Request::post(&format!("/script/{script}")).send(self.port).await.unwrap().status, 200);
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn yaml(path: &str) -> Value {
    let text = std::fs::read_to_string(paths::root().join(path)).unwrap();
    let mut value: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
    value.apply_merge().unwrap();
    serde_json::to_value(value).unwrap()
}

/// The playground's Envoy with these providers.
async fn start(a: &Provider, b: &Provider) -> Envoy {
    let mut config = EnvoyConfig::from_file("envoy/playground.yaml")
        .replace("address: 0.0.0.0, port_value: 9901", "address: 127.0.0.1, port_value: 0")
        .replace("address: 0.0.0.0, port_value: 10000", "address: 127.0.0.1, port_value: 0")
        .replace("address: 0.0.0.0, port_value: 10001", "address: 127.0.0.1, port_value: 0")
        .replace("filename: dist/llm_failsafe.wasm", "filename: \"{{wasm}}\"");
    for (name, provider) in [("provider-a", a), ("provider-b", b)] {
        let address = |host: &str, port: u16| format!("address: {host}, port_value: {port}");
        config = config.replace(&address(name, 8080), &address("127.0.0.1", provider.port));
    }
    Envoy::start(config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_playground_answers_requests_and_fails_over() {
    let (a, b) = (Provider::start("provider-a"), Provider::start("provider-b"));
    let envoy = start(&a, &b).await;
    let ask = async |stream: bool| {
        let answer = Request::chat("chat", stream).ask(envoy.port()).await;
        (answer.status.as_u16(), answer.header("x-llm-target").unwrap_or_default().to_owned(), answer.text())
    };
    let (status, target, text) = ask(false).await;
    assert_eq!((status, target.as_str()), (200, "small-a"), "{text}");
    assert!(text.contains("Hello from provider-a."), "{text}");
    a.script("500").await;
    let (status, target, text) = ask(true).await;
    assert_eq!((status, target.as_str()), (200, "small-b"), "{text}");
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    b.script("cut").await;
    let (_, _, text) = ask(true).await;
    assert!(text.contains("error") && !text.contains("[DONE]"), "{text}");
    let status = Request::get("/llm-failsafe/status").header("authorization", "Bearer operator");
    assert_eq!(status.send(envoy.port()).await.unwrap().status, 200);
}

/// The commands in docs/runbook.md and docs/operations.md.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_runbook_work() {
    if !Command::new("jq").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("NOT RUN: there is no jq here");
        return;
    }
    let (a, b) = (Provider::start("provider-a"), Provider::start("provider-b"));
    let envoy = start(&a, &b).await;
    a.script("500").await;
    let answer = Request::chat("chat", false).ask(envoy.port()).await;
    assert_eq!(answer.header("x-llm-target"), Some("small-b"), "{}", answer.text());
    records::wait_for(&envoy, 1).await;
    let log = envoy.dir().join("access.log");
    std::fs::write(&log, envoy.log()).unwrap();

    let page = |path: &str| std::fs::read_to_string(paths::root().join(path)).unwrap();
    let pages = [page("docs/runbook.md"), page("docs/operations.md")];
    let commands = pages.iter().flat_map(|page| page.split("```sh\n").skip(1));
    let mut said = String::new();
    // Some commands call the program.
    let path = format!("{}:{}", paths::program().parent().unwrap().display(), std::env::var("PATH").unwrap());
    for block in commands.map(|block| block.split("```").next().unwrap()) {
        let here = block
            .replace("http://gateway:10000", &format!("http://127.0.0.1:{}", envoy.port()))
            .replace("http://127.0.0.1:9901", &format!("http://127.0.0.1:{}", envoy.admin_port()))
            .replace("cargo run --bin llm-failsafe --", "llm-failsafe")
            .replace("LLM_FAILSAFE_KEY=… LLM_FAILSAFE_OPERATOR_KEY=…", "LLM_FAILSAFE_OPERATOR_KEY=operator")
            .replace("access.log", &log.display().to_string())
            .replace("/NAME/", "/small-b/")
            .replace("/gpt-a/", "/small-a/");
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &here])
            .env("OPERATOR_KEY", "operator")
            .env("PATH", &path)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        // The doctor finds what the other commands do to this gateway.
        let found = here.contains(" doctor ") && output.status.code() == Some(1);
        assert!((output.status.success() || found) && !output.stdout.is_empty(), "{here}: {error}");
        said.push_str(&String::from_utf8_lossy(&output.stdout));
    }
    // A report, two orders that took effect, and the explained request.
    for part in [
        r#""name": "chat""#,
        r#""order":"drain""#,
        r#""order":"force-open""#,
        r#""target":"small-a","status":500,"error":"server","provider_error":{"type":"server_error"},"next":"elsewhere""#,
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // The counters in operations.md, with Envoy's counter of VM reloads.
    envoy.wait_for_count("requests", 1).await;
    let counters = envoy.admin("/stats?filter=llm.failsafe").await;
    assert!(counters.contains("llm_failsafe_requests: 1") && counters.contains("vm_reload_success: 0"));
}

#[test]
fn every_file_that_compose_mounts_exists_and_is_consistent() {
    let compose = yaml("docker-compose.yaml");
    for (name, service) in compose["services"].as_object().unwrap() {
        for mount in service["volumes"].as_array().unwrap() {
            let source = mount.as_str().unwrap().split(':').next().unwrap();
            let built = Path::new(source) == Path::new("./dist");
            assert!(built || paths::root().join(source).exists(), "{name} mounts {source}");
        }
    }
    let version = std::fs::read_to_string(paths::root().join("ENVOY_VERSION")).unwrap();
    let image = format!("envoyproxy/envoy:v{}", version.trim());
    assert_eq!(compose["services"]["envoy"]["image"], image);
    // Prometheus scrapes Envoy by its service name and finds the rules next to its configuration.
    let prometheus = yaml("envoy/prometheus.yaml");
    assert_eq!(prometheus["scrape_configs"][0]["static_configs"][0]["targets"], json!(["envoy:9901"]));
    assert_eq!(prometheus["rule_files"], json!(["alerts.yaml"]));
    // The dashboard names the data source by its uid and is mounted where Grafana looks.
    let datasource = yaml("envoy/playground/grafana/datasource.yaml");
    let dashboard: Value =
        serde_json::from_str(&std::fs::read_to_string(paths::root().join("envoy/dashboard.json")).unwrap())
            .unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert_eq!(panel["datasource"]["uid"], datasource["datasources"][0]["uid"], "{}", panel["title"]);
    }
    let dashboards = yaml("envoy/playground/grafana/dashboards.yaml");
    let folder = dashboards["providers"][0]["options"]["path"].as_str().unwrap();
    let shown = format!("{folder}/dashboard.json");
    let grafana = &compose["services"]["grafana"];
    assert!(grafana["volumes"].to_string().contains(&shown), "{grafana}");
    assert_eq!(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"], shown);
    assert_eq!([&dashboards["apiVersion"], &datasource["apiVersion"]], [&json!(1); 2]);
    // Grafana asks Prometheus by its service name.
    assert_eq!(datasource["datasources"][0]["url"], "http://prometheus:9090");
    assert!(compose["services"]["prometheus"]["ports"].to_string().ends_with(":9090\"]"));
}

/// Uses any available compose client. Docker need not run.
#[test]
fn compose_accepts_the_file() {
    let Some(mut compose) = tools::compose() else { return };
    let output = compose.args(["config", "--quiet"]).current_dir(paths::root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
