//! How often clients come again after a request was refused for good. docs/retries.md has the table of all clients.
//!
//! To measure other clients: `RETRY_CLIENTS="codex claude-code" cargo test -p integration-tests --test scenarios -- --ignored
//! --nocapture client_retries::measure`, with the variables that integration-tests/node/retries.mjs names.

use std::collections::BTreeMap;

use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::errors;
use integration_tests::scene::Scene;
use integration_tests::{node, paths, sha256};
use serde_json::{Value, json};

const KEY: &str = "sk-client-key";
/// A key whose whole budget is smaller than any request.
const SMALL_KEY: &str = "sk-small-key";

/// Each case fails for good in its own way. It has two targets at one provider; `context` and `budget` are refused before.
const CASES: [&str; 5] = ["failing", "throttled", "dead", "missing", "context"];

struct Measured {
    /// The statuses that the gateway gave, per client and case.
    requests: BTreeMap<(String, String), Vec<u64>>,
    /// Attempts per client and case, as the providers got them.
    attempts: BTreeMap<(String, String), usize>,
}

async fn start(clients: &[&str]) -> Scene<4> {
    let mut plugin = json!({
        "retry_budget": {"ratio": 10},
        "providers": {}, "targets": {}, "models": {},
        "keys": {
            "team": {"sha256": sha256(KEY)},
            "small": {"sha256": sha256(SMALL_KEY), "budget": {"tokens_per_minute": 1}},
        },
    });
    for case in CASES.into_iter().chain(["budget"]) {
        let provider = if matches!(case, "context" | "budget") { "failing" } else { case };
        for client in clients {
            let mut targets = Vec::new();
            for part in ["a", "b"] {
                let target = format!("{case}-{client}-{part}");
                // A provider of its own, so that what is blocked or throttled for one client is not for the next.
                let account = format!("{case}-{client}");
                plugin["providers"][&account] = compatible(provider);
                plugin["targets"][&target] =
                    json!({"provider": account, "model": format!("{case}.{client}")});
                for capability in ["tools", "parallel_tools", "strict_tools", "hosted_tools", "reasoning"] {
                    plugin["targets"][&target][capability] = json!(true);
                }
                if case == "context" {
                    plugin["targets"][&target]["context_window"] = json!(1);
                }
                targets.push(target);
            }
            plugin["models"][format!("{case}.{client}")] = json!({"targets": targets});
        }
    }
    let scene = Gateway::new(Shape::Loop)
        .plugin(&plugin)
        .start_with(["failing", "throttled", "dead", "missing"])
        .await;
    let [failing, throttled, dead, missing] = &scene.providers;
    failing.by_default(errors::openai_500());
    throttled.by_default(errors::openai_429().header("retry-after", "3600"));
    dead.by_default(errors::openai_401());
    missing.by_default(errors::openai_404());
    scene
}

/// Lets each client call each case once. `None` if this machine cannot have the clients.
async fn measure(clients: &[&str], seconds: u32, cases: &[&str]) -> Option<Measured> {
    let scene = start(clients).await;
    let base_url = format!("http://127.0.0.1:{}", scene.port());
    let python = std::env::var("PYTHON").unwrap_or_else(|_| paths::python().display().to_string());
    let seconds = seconds.to_string();
    let mut requests = BTreeMap::new();
    for (key, cases) in [(KEY, cases), (SMALL_KEY, &["budget"])] {
        let arguments: Vec<_> = clients.iter().copied().chain(["--"]).chain(cases.iter().copied()).collect();
        let env = [("BASE_URL", &*base_url), ("CLIENT_KEY", key), ("SECONDS", &seconds), ("PYTHON", &python)];
        for line in node::run("retries.mjs", &arguments, &env).await?.expect_lines() {
            println!("{line}");
            let part = |name: &str| line[name].as_str().unwrap().to_owned();
            let statuses = line["statuses"].as_array().unwrap().iter().map(|status| status.as_u64().unwrap());
            requests.insert((part("client"), part("case")), statuses.collect());
        }
    }
    let mut attempts = BTreeMap::new();
    for received in scene.providers.iter().flat_map(|provider| provider.received()) {
        let body: Value = received.json();
        let (case, client) = body["model"].as_str().unwrap().split_once('.').unwrap();
        *attempts.entry((client.to_owned(), case.to_owned())).or_insert(0) += 1;
    }
    Some(Measured { requests, attempts })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_only_the_client_can_lift_ends_every_clients_retries() {
    let clients = ["openai-python", "anthropic-python", "vercel-chat", "vercel-anthropic", "langchain-js"];
    let Some(measured) = measure(&clients, 60, &["throttled", "dead", "missing", "context"]).await else {
        return;
    };
    let Measured { requests, attempts } = measured;
    for client in clients {
        let of = |case: &str| requests[&(client.to_owned(), case.to_owned())].clone();
        assert_eq!(of("context"), [400], "{client}");
        let billing = if client.contains("anthropic") { 402 } else { 400 };
        assert_eq!(of("budget"), [billing], "{client}");
        assert_eq!(of("missing"), [404], "{client}");
        assert_eq!(of("dead"), [401], "{client}");
        // Vercel's SDK ignores both headers after a 429 and comes again, twice. Then no target is asked any more.
        let throttled = if client.starts_with("vercel") { vec![429; 3] } else { vec![429] };
        assert_eq!(of("throttled"), throttled, "{client}");
        let asked = |case: &str| attempts.get(&(client.to_owned(), case.to_owned())).copied().unwrap_or(0);
        let asked = ["throttled", "dead", "missing", "context", "budget"].map(asked);
        assert_eq!(asked, [2, 2, 2, 0, 0], "{client}: attempts at providers");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendors_sdks_do_not_repeat_a_call_whose_targets_all_failed() {
    let clients = ["openai-python", "anthropic-python", "vercel-chat"];
    let Some(measured) = measure(&clients, 60, &["failing"]).await else { return };
    for (client, requests) in [("openai-python", 1), ("anthropic-python", 1), ("vercel-chat", 3)] {
        let statuses = &measured.requests[&(client.to_owned(), "failing".to_owned())];
        assert_eq!(statuses.len(), requests, "{client}: {statuses:?}");
    }
}

/// Prints the lines for the table in docs/retries.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes minutes, and the clients must be named"]
async fn measure_clients() {
    let clients = std::env::var("RETRY_CLIENTS").expect("RETRY_CLIENTS names the clients");
    let clients: Vec<_> = clients.split_whitespace().collect();
    let Measured { attempts, .. } = measure(&clients, 150, &CASES).await.expect("Node and the clients");
    for ((client, case), count) in attempts {
        println!("{client} {case}: {count} attempts at providers");
    }
}
