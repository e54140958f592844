//! EstimateScene of tokens become right by what providers count: what one worker has seen, every worker's gates go by.

use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::{Connection, Protocol, Read, Request};
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::Script;
use integration_tests::scene::Scene;
use serde_json::{Value, json};

/// So many connections meet both workers but for a chance of 2⁻¹⁵.
const CONNECTIONS: usize = 16;
/// So many prompts teach something.
const LESSONS: u64 = 20;

/// A prompt of about 10,000 tokens, and one of about 2,860.
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
        // Nothing is learnt from an answer that does not tell its usage.
        let silent = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]});
        let target = |offers: Value| {
            let mut target = json!({"provider": "only", "model": "m"});
            target.as_object_mut().unwrap().extend(offers.as_object().unwrap().clone());
            target
        };
        let plugin = json!({
            "providers": {"only": compatible("only")},
            "targets": {
                "narrow": target(json!({"context_window": 11_000})),
                "wide": target(json!({"context_window": 16_000})),
                "priced": target(json!({"context_window": 100_000, "price": {"input": 1, "output": 1}})),
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

    /// One worker sees that the provider counts so many tokens in a small prompt.
    async fn teach(&mut self, model: &str, tokens: u64) {
        for _ in 0..LESSONS {
            self.scene.providers[0].script(Script::usual().tokens(tokens, 1));
            let read = self.ask(0, model, 10_000).await;
            assert_eq!(read.status, 200, "{}", read.text());
        }
    }

    /// What each connection's worker says to the large prompt: nothing, or the gate that keeps it out.
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

    /// Every worker says `before` to the large prompt, and `after` once one of them has been taught.
    async fn check(&mut self, model: &str, tokens: u64, before: Option<&str>, after: Option<&str>) {
        let all = |verdict: Option<&str>| vec![verdict.map(str::to_owned); CONNECTIONS];
        assert_eq!(self.verdicts(model).await, all(before), "{model}");
        self.teach(model, tokens).await;
        let deadline = Instant::now() + SOON;
        while self.verdicts(model).await != all(after) {
            assert!(Instant::now() < deadline, "{model}: not every worker has learnt it");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // It stays so.
        assert_eq!(self.verdicts(model).await, all(after), "{model}");
    }
}

#[tokio::test]
async fn what_one_worker_has_learnt_of_a_tokenizer_moves_the_gates_of_every_worker() {
    let mut scene = EstimateScene::start().await;
    // It counts half of what is expected: what seemed too long, or too dear, is neither.
    scene.check("narrow", 1_430, Some("context_window"), None).await;
    scene.check("priced", 1_430, Some("request_cost"), None).await;
    // It counts twice as much: what seemed to fit does not.
    scene.check("wide", 5_720, None, Some("context_window")).await;
}
