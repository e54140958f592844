//! Conversations over two accounts of one tier, in the shipped configuration: what an account keeps is unknown to the other one.

use integration_tests::client::{Read, Request};
use integration_tests::gateway::{Gateway, PROVIDER_KEYS, Shape};
use integration_tests::node;
use integration_tests::scene::Scene;
use serde_json::{Value, json};

const TURNS: usize = 10;
const CONVERSATIONS: usize = 4;

/// The shipped configuration with two workers. OpenAI's accounts keep their conversations apart.
async fn shipped(changes: Value) -> Scene<2> {
    let gateway = Gateway::new(Shape::Loop).concurrency(2).configure(&changes);
    let scene = gateway.start_with(["openai", "anthropic"]).await;
    scene.providers[0].keep_conversations();
    scene
}

/// The key of a target of the shipped configuration.
fn key_of(target: &str) -> &'static str {
    PROVIDER_KEYS[usize::from(target == "gpt-b")].1
}

/// A client that keeps the conversation itself, as Codex does: nothing is stored, and encrypted reasoning goes with every turn.
struct Codex {
    id: String,
    input: Vec<Value>,
}

impl Codex {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), input: Vec::new() }
    }

    /// One turn. A turn that fails is not added to the conversation.
    async fn turn(&mut self, scene: &Scene<2>) -> Read {
        let text = json!([{"type": "input_text", "text": format!("turn in {}", self.id)}]);
        self.input.push(json!({"type": "message", "role": "user", "content": text}));
        let body = json!({
            "model": "chat", "instructions": "You are a coding agent.", "input": self.input, "stream": true, "store": false,
            "include": ["reasoning.encrypted_content"], "prompt_cache_key": self.id,
        });
        let request = Request::post("/v1/responses").header("session_id", &self.id).json(&body);
        let read = request.ask(scene.port()).await;
        if read.status != 200 {
            self.input.pop();
            return read;
        }
        for event in read.data() {
            let event: Value = serde_json::from_str(&event).unwrap();
            if event["type"] == "response.output_item.done" {
                let mut item = event["item"].clone();
                // It sends no ids of items.
                item.as_object_mut().unwrap().remove("id");
                self.input.push(item);
            }
        }
        read
    }

    async fn turns(&mut self, scene: &Scene<2>, count: usize) -> Vec<String> {
        let mut targets = Vec::new();
        for turn in 0..count {
            let read = self.turn(scene).await;
            assert_eq!(read.status, 200, "{} turn {turn}: {}", self.id, read.text());
            targets.push(read.header("x-llm-target").unwrap().to_owned());
        }
        targets
    }
}

/// A conversation that the provider stores: each turn refers to the response before.
async fn stored_turn(scene: &Scene<2>, previous: &Value, stream: bool) -> Read {
    let mut body = json!({"model": "chat", "input": "and then?", "stream": stream});
    if previous.is_string() {
        body["previous_response_id"] = previous.clone();
    }
    Request::post("/v1/responses").json(&body).ask(scene.port()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_turns_of_every_client_stay_at_the_account_that_began_them() {
    let scene = shipped(json!({})).await;
    let mut began_at = std::collections::BTreeSet::new();
    for conversation in 0..CONVERSATIONS {
        let targets = Codex::new(&format!("codex-{conversation}")).turns(&scene, TURNS).await;
        assert!(targets.iter().all(|target| *target == targets[0]), "{targets:?}");
        began_at.insert(targets[0].clone());

        let (mut previous, mut first) = (Value::Null, None);
        for turn in 0..TURNS {
            let stream = turn % 2 == 0;
            let read = stored_turn(&scene, &previous, stream).await;
            assert_eq!(read.status, 200, "{turn}: {}", read.text());
            let target = read.header("x-llm-target").unwrap().to_owned();
            assert_eq!(*first.get_or_insert_with(|| target.clone()), target, "turn {turn}");
            let created = || serde_json::from_str::<Value>(&read.data()[0]).unwrap()["response"].clone();
            previous = if stream { created()["id"].clone() } else { read.json()["id"].clone() };
        }
    }
    assert!(began_at.len() > 1, "conversations spread over the accounts: {began_at:?}");
    let asked = scene.counts()[0];
    assert_eq!(asked, CONVERSATIONS * 2 * TURNS, "no turn went to the wrong account first");

    let base_url = format!("http://127.0.0.1:{}", scene.port());
    for name in ["one", "two"] {
        let env = [("BASE_URL", &*base_url), ("NAME", name)];
        let Some(output) = node::run("turns.mjs", &[], &env).await else { return };
        let lines = output.expect_lines();
        assert_eq!(lines.len(), TURNS, "{lines:#?}");
        assert!(lines.iter().all(|line| line["target"] == lines[0]["target"]), "{lines:#?}");
    }
    let last = scene.providers[0].received().pop().unwrap().json();
    assert!(last["input"].to_string().contains("item_reference"), "{last}");
    assert_eq!(scene.counts()[0] - asked, 2 * TURNS);
}

/// After a restart nothing is known. The accounts are asked one after the other, and the answer is remembered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_conversation_finds_its_account_again() {
    let mut scene = shipped(json!({"balance": null})).await;
    let mut previous = Vec::new();
    for _ in 0..8 {
        previous.push(stored_turn(&scene, &Value::Null, false).await.json()["id"].clone());
    }
    scene.envoy = scene.gateway.start().await;
    let before = scene.counts()[0];
    for previous in &previous {
        // The second turn refers to the same response: now its account is known.
        for _ in 0..2 {
            let read = stored_turn(&scene, previous, false).await;
            assert_eq!(read.status, 200, "{}", read.text());
        }
    }
    let asked = scene.counts()[0] - before;
    assert!((2 * previous.len()..=3 * previous.len()).contains(&asked), "{asked}");
    for previous in &previous {
        assert_eq!(stored_turn(&scene, previous, false).await.header("x-llm-attempts"), Some("1"));
    }
    let read = stored_turn(&scene, &json!("resp_nobody"), false).await;
    assert_eq!(
        read.status,
        400,
        "the provider's own error, once both accounts have been asked: {}",
        read.text()
    );
    assert_eq!(read.header("x-llm-attempts"), Some("2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_fails_in_the_middle_keeps_its_state_and_loses_no_conversation() {
    let changes = json!({
        "breaker": {"consecutive": 2, "open": "2s"},
        "models": {"chat": {"fallback": {"sealed_reasoning": "drop"}}},
    });
    let scene = shipped(changes).await;
    let openai = &scene.providers[0];
    let mut codex = Codex::new("codex");
    let owner = codex.turns(&scene, 3).await.pop().unwrap();
    // A stored conversation at the same account.
    let stored = loop {
        let read = stored_turn(&scene, &Value::Null, false).await;
        if read.header("x-llm-target") == Some(&owner) {
            break read.json()["id"].clone();
        }
        let response = read.json()["id"].clone();
        assert_eq!(stored_turn(&scene, &response, false).await.status, 200);
    };

    openai.set_account_down(key_of(&owner), true);
    let read = codex.turn(&scene).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-sealed-reasoning")), (200, Some("dropped")));
    assert_ne!(read.header("x-llm-target"), Some(&*owner));
    let sent = openai.received().pop().unwrap().json();
    let kinds: Vec<_> = sent["input"].as_array().unwrap().iter().map(|item| item["type"].clone()).collect();
    assert!(kinds.iter().all(|kind| kind == "message") && kinds.len() == 7, "{kinds:?}");

    // What is stored is at no other account. First the attempts fail, then the breaker is open.
    for _ in 0..3 {
        let read = stored_turn(&scene, &stored, false).await;
        assert_eq!(read.status, 503, "{}", read.text());
        assert_eq!(read.header("x-llm-reason"), Some("state_at_another_account"));
        let wait: u64 = read.header("retry-after").expect("a time to retry").parse().unwrap();
        assert!((1..=60).contains(&wait) && read.header("x-should-retry").is_none(), "{wait}");
        let error = read.json()["error"].clone();
        assert_eq!(error["code"], "state_at_another_account");
        assert!(error["message"].as_str().unwrap().contains(&format!("`{owner}`")), "{error}");
    }

    openai.set_account_down(key_of(&owner), false);
    // The conversation has reasoning of two accounts now, and goes on without any.
    codex.turns(&scene, TURNS - 4).await;
    let deadline = std::time::Instant::now() + integration_tests::SOON;
    while stored_turn(&scene, &stored, false).await.status != 200 {
        assert!(std::time::Instant::now() < deadline, "the owner is back");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    scene.envoy.wait_until_idle().await;
}

/// Reasoning of an account that is not configured any more. No account can read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_whose_account_is_gone_goes_on_without_its_reasoning() {
    for (sealed_reasoning, expected) in [("drop", (200, Some("dropped"))), ("keep", (400, None))] {
        let fallback = json!({"models": {"chat": {"fallback": {"sealed_reasoning": sealed_reasoning}}}});
        let scene = shipped(fallback).await;
        let mut codex = Codex::new("stranger");
        codex.input = vec![
            json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}),
            json!({"type": "reasoning", "summary": [], "encrypted_content": "gAAAA-of-a-stranger"}),
        ];
        let read = codex.turn(&scene).await;
        let seen = (read.status.as_u16(), read.header("x-llm-sealed-reasoning"));
        assert_eq!(seen, expected, "{}", read.text());
        if read.status == 200 {
            assert_eq!(read.header("x-llm-attempts"), Some("3"));
            codex.turns(&scene, 2).await;
        }
    }
}

/// Without `drop` a request with encrypted reasoning waits for its account like one that refers to stored items.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encrypted_reasoning_stays_unless_the_operator_lets_it_go() {
    let scene = shipped(json!({})).await;
    let mut codex = Codex::new("codex");
    let owner = codex.turns(&scene, 2).await.pop().unwrap();
    scene.providers[0].set_account_down(key_of(&owner), true);
    let read = codex.turn(&scene).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (503, Some("state_at_another_account")));
    assert_eq!(read.header("x-llm-sealed-reasoning"), None);
    scene.providers[0].set_account_down(key_of(&owner), false);
    codex.turns(&scene, 1).await;

    // Vercel's SDK without storage refers to nothing, so its conversation goes on at the other account.
    scene.providers[0].set_account_down(key_of("gpt-a"), true);
    let base_url = format!("http://127.0.0.1:{}", scene.port());
    let env = [("BASE_URL", &*base_url), ("NAME", "unstored"), ("STORE", "false"), ("TURNS", "4")];
    let Some(output) = node::run("turns.mjs", &[], &env).await else { return };
    let lines = output.expect_lines();
    assert!(lines.len() == 4 && lines.iter().all(|line| line["target"] == "gpt-b"), "{lines:#?}");
}
