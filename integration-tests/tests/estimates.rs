//! Token estimates learn from the usage that providers report. All workers use what one worker has learned.

use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::{Connection, Protocol, Read, Request};
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::Script;
use integration_tests::scene::Scene;
use serde_json::{Value, json};

/// With this many connections, both workers are reached: the chance that they are not is 2⁻¹⁵.
const CONNECTIONS: usize = 16;
/// The number of prompts after which an estimate changes.
const LESSONS: u64 = 20;

/// A prompt with this many bytes. 35,000 bytes are estimated at about 10,000 tokens, 10,000 bytes at about 2,860.
fn question(model: &str, bytes: usize) -> Request {
    let turn = json!([{"role": "user", "content": "x".repeat(bytes)}]);
    Request::post("/v1/chat/completions").json(&json!({"model": model, "max_tokens": 16, "messages": turn}))
}

struct EstimateScene {
    scene: Scene<1>,
    connections: Vec<Connection>,
}

impl EstimateScene {
    async fn start() -> Self {
        // A response without usage changes no estimate.
        let silent = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]});
        // Targets with the same model would share what is learned.
        let target = |model: &str, offers: Value| {
            let mut target = json!({"provider": "only", "model": model});
            target.as_object_mut().unwrap().extend(offers.as_object().unwrap().clone());
            target
        };
        let plugin = json!({
            "providers": {"only": compatible("only")},
            "targets": {
                "narrow": target("narrow", json!({"context_window": 9_000})),
                "wide": target("wide", json!({"context_window": 16_000})),
                "priced": target("priced", json!({"context_window": 100_000, "price": {"input": 1, "output": 1}})),
            },
            "models": {
                "narrow": {"targets": ["narrow"]},
                "wide": {"targets": ["wide"]},
                "priced": {"targets": ["priced"], "fallback": {"max_request_cost": 0.008}},
            },
        });
        let gateway = Gateway::new(Shape::Loop).concurrency(2).plugin(&plugin);
        let scene = gateway.start_with(["only"]).await;
        scene.providers[0].by_default(Script::usual().json(silent));
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(Connection::open(scene.port(), Protocol::Http1).await.unwrap());
        }
        Self { scene, connections }
    }

    async fn ask(&mut self, connection: usize, model: &str, bytes: usize) -> Read {
        self.connections[connection].ask(question(model, bytes)).await
    }

    /// Lets one worker see that the provider counts this many tokens in a small prompt.
    async fn teach(&mut self, model: &str, tokens: u64) {
        for _ in 0..LESSONS {
            self.scene.providers[0].script(Script::usual().tokens(tokens, 1));
            let read = self.ask(0, model, 10_000).await;
            assert_eq!(read.status, 200, "{}", read.text());
        }
    }

    /// What the worker of each connection decides for the large prompt: the gate that rejects it, if any.
    async fn verdicts(&mut self, model: &str) -> Vec<Option<String>> {
        let mut verdicts = Vec::new();
        for connection in 0..CONNECTIONS {
            let read = self.ask(connection, model, 35_000).await;
            let body = read.json();
            let gate = body.pointer("/error/llm_failsafe/targets/0/reason").and_then(Value::as_str);
            assert_eq!(read.status == 200, gate.is_none(), "{}", read.text());
            verdicts.push(gate.map(str::to_owned));
        }
        verdicts
    }

    /// Checks that every worker decides `before`, and `after` once one of them has learned.
    async fn check(&mut self, model: &str, tokens: u64, before: Option<&str>, after: Option<&str>) {
        let all = |verdict: Option<&str>| vec![verdict.map(str::to_owned); CONNECTIONS];
        assert_eq!(self.verdicts(model).await, all(before), "{model}");
        self.teach(model, tokens).await;
        let deadline = Instant::now() + SOON;
        while self.verdicts(model).await != all(after) {
            assert!(Instant::now() < deadline, "{model}: not every worker has learned it");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // The decision stays.
        assert_eq!(self.verdicts(model).await, all(after), "{model}");
    }
}

#[tokio::test]
async fn a_token_estimate_learned_by_one_worker_is_used_by_every_worker() {
    let mut scene = EstimateScene::start().await;
    // The provider counts half of the estimate: the prompt is no longer too long or too expensive.
    scene.check("narrow", 1_430, Some("context_window"), None).await;
    scene.check("priced", 1_430, Some("request_cost"), None).await;
    // The provider counts twice the estimate: the prompt no longer fits.
    scene.check("wide", 5_720, None, Some("context_window")).await;
}
