//! A budget over three Envoys: the real rate-limit service, which counts in a real Redis.

use std::fs;
use std::path::Path;
use std::process::Command;

use integration_tests::client::{Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Script, ScriptedProvider};
use integration_tests::sha256;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::process::{Process, until};
use super::{network, tool};

const REDIS: u16 = 6379;
const SERVICE: u16 = 8081;
const HTTP: u16 = 8080;
/// What a key may use in a day. The service has no longer unit that is as simple, and a shorter one might end in the test.
const BUDGET: u64 = 1000;
/// What each answer costs.
const TOKENS: (u64, u64) = (90, 10);

/// The service and its Redis.
struct Service {
    _redis: Process,
    _service: Process,
    _folder: tempfile::TempDir,
}

impl Service {
    async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("llm-failsafe-rate-limit-").tempdir().unwrap();
        let redis = redis(folder.path());
        until("Redis answers", async || counters().await.is_some()).await;
        let rules = folder.path().join("rules/ratelimit/config");
        fs::create_dir_all(&rules).unwrap();
        let rule = json!({"domain": "llm-failsafe", "descriptors": [
            {"key": "key", "value": "team", "rate_limit": {"unit": "day", "requests_per_unit": BUDGET}}]});
        fs::write(rules.join("llm-failsafe.yaml"), rule.to_string()).unwrap();
        let mut command = Command::new(tool("bin/ratelimit"));
        command.envs([
            ("HOST", "127.0.0.1"),
            ("GRPC_HOST", "127.0.0.1"),
            ("DEBUG_HOST", "127.0.0.1"),
            ("REDIS_SOCKET_TYPE", "tcp"),
            ("USE_STATSD", "false"),
            ("RUNTIME_SUBDIRECTORY", "ratelimit"),
            ("RUNTIME_WATCH_ROOT", "false"),
        ]);
        command
            .env("REDIS_URL", format!("127.0.0.1:{REDIS}"))
            .env("RUNTIME_ROOT", folder.path().join("rules"));
        let service = Process::start("ratelimit", &mut command, folder.path());
        until("the rate-limit service is healthy", async || {
            Request::get("/healthcheck").send(HTTP).await.is_ok_and(|answer| answer.status == 200)
        })
        .await;
        Self { _redis: redis, _service: service, _folder: folder }
    }

    /// How many tokens it has counted for the key.
    async fn counted(&self) -> u64 {
        counters().await.unwrap_or_default()
    }
}

fn redis(folder: &Path) -> Process {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &REDIS.to_string(), "--save", "", "--dir"]).arg(folder);
    Process::start("redis", &mut command, folder)
}

/// The sum of all counters in Redis. `None` if it does not answer.
async fn counters() -> Option<u64> {
    let keys = redis_says("KEYS *").await?;
    let mut sum = 0;
    for key in keys.lines().filter(|line| line.starts_with("llm-failsafe")) {
        let value = redis_says(&format!("GET {key}")).await?;
        sum += value.lines().nth(1)?.parse::<u64>().ok()?;
    }
    Some(sum)
}

/// What Redis answers to an inline command.
async fn redis_says(command: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", REDIS)).await.ok()?;
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

async fn ask(envoy: &Envoy, stream: bool) -> Read {
    Request::chat("chat", stream).header("authorization", "Bearer team-key").ask(envoy.port()).await
}

fn gateway(provider: &ScriptedProvider) -> Gateway {
    Gateway::new(Shape::Loop)
        .plugin(&json!({
            "fleet_rate_limit": true,
            "providers": {"first": compatible("first")},
            "targets": {"first": {"provider": "first", "model": "m"}},
            "models": {"chat": {"tiers": [["first"]]}},
            "keys": {"team": {"sha256": sha256(b"team-key")}},
        }))
        .provider("first", provider.port())
        .asks_rate_limits(SERVICE)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_over_three_envoys_is_exact() {
    let _network = network().await;
    let service = Service::start().await;
    let provider = ScriptedProvider::start("first").await;
    provider.by_default(Script::usual().tokens(TOKENS.0, TOKENS.1));
    let mut envoys = Vec::new();
    for _ in 0..3 {
        envoys.push(Envoy::start(gateway(&provider).to_config()).await);
    }
    // One after the other, so that each request is charged before the next.
    let each = TOKENS.0 + TOKENS.1;
    let mut served = 0;
    for number in 0..20 {
        let read = ask(&envoys[number % 3], number % 2 == 0).await;
        if read.status != 200 {
            assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (429, Some("fleet_rate_limit")));
            continue;
        }
        served += each;
        until("the answer is charged", async || service.counted().await == served).await;
    }
    // The request that uses up the budget is the last one that is served.
    assert_eq!(served, BUDGET + each);
    for envoy in &envoys {
        assert_eq!(ask(envoy, false).await.status, 429);
    }
    assert_eq!(provider.received().len() as u64, served / each);
}
