//! Which target gets a request when several are eligible, on two workers.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::{Duration, Instant};

use crate::peers::Peers;
use integration_tests::SOON;
use integration_tests::client::{Read, Request};
use integration_tests::provider::{Script, ScriptedProvider, errors};
use serde_json::{Value, json};

/// Several peers in one tier of the model `chat`.
struct BalanceScene(Peers);

impl Deref for BalanceScene {
    type Target = Peers;

    fn deref(&self) -> &Peers {
        &self.0
    }
}

impl BalanceScene {
    async fn start(count: usize, balance: Value, change: impl FnOnce(&mut Value)) -> Self {
        let peers = Peers::start(count, |configuration| {
            configuration["models"]["chat"]["balance"] = balance;
            change(configuration);
        });
        Self(peers.await.0)
    }

    async fn ask_in(&self, session: &str) -> Read {
        let request = Request::chat("chat", false).header("x-llm-session", session);
        request.ask(self.envoy.port()).await
    }

    /// The target that responds to a request of this session.
    async fn target_of(&self, session: &str) -> String {
        let read = self.ask_in(session).await;
        assert_eq!(read.status, 200, "{}", read.text());
        read.header("x-llm-target").unwrap().to_owned()
    }

    async fn homes(&self, sessions: usize) -> BTreeMap<usize, String> {
        let mut homes = BTreeMap::new();
        for session in 0..sessions {
            homes.insert(session, self.target_of(&session.to_string()).await);
        }
        homes
    }
}

#[tokio::test]
async fn a_target_with_hanging_requests_gets_no_more_from_any_worker() {
    let scene = BalanceScene::start(2, json!({"strategy": "least_pending"}), |_| {}).await;
    // All four requests end up hanging at `p0`, so that on a busy machine `p1` never has more pending ones.
    scene.providers[0].by_default(Script::hang());
    scene.providers[1].by_default(errors::openai_500());
    let port = scene.envoy.port();
    let hanging: Vec<_> =
        (0..4).map(|_| tokio::spawn(async move { Request::chat("chat", false).send(port).await })).collect();
    scene.providers[0].wait_for(4, SOON).await;
    scene.providers[1].by_default(Script::usual());
    scene.until_every_worker(false, |read| read.header("x-llm-target") == Some("p1")).await;
    let received = scene.providers[0].received().len();
    for _ in 0..40 {
        let read = scene.ask().await;
        assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("p1")));
    }
    assert_eq!(scene.providers[0].received().len(), received);
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_session_moves_when_its_target_is_lost_and_returns_when_it_is_back() {
    let mut scene = BalanceScene::start(4, json!({"strategy": "sticky"}), |configuration| {
        configuration["breaker"] =
            json!({"consecutive": 1, "open": "500ms", "open_max": "500ms", "close_after": 1, "slow_start": "0s"});
    })
    .await;
    let homes = scene.homes(32).await;
    assert_eq!(homes, scene.homes(32).await, "on either worker");
    let lost = homes[&0].clone();
    let place: usize = lost[1..].parse().unwrap();
    assert!(homes.values().any(|home| *home != lost));

    scene.0.providers[place].stop().await;
    for (session, home) in &homes {
        let met = scene.target_of(&session.to_string()).await;
        assert_eq!(met == *home, *home != lost, "session {session} of {home} met {met}");
    }

    scene.0.providers[place].restart().await;
    let deadline = Instant::now() + SOON;
    while scene.homes(32).await != homes {
        assert!(Instant::now() < deadline, "the sessions did not return");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_conversation_without_a_session_id_stays_at_its_first_target() {
    let scene = BalanceScene::start(4, json!({"strategy": "sticky"}), |_| {}).await;
    let mut met = BTreeMap::new();
    for conversation in 0..12 {
        let mut turns = vec![
            json!({"role": "system", "content": "Be brief."}),
            json!({"role": "user", "content": format!("Question {conversation}")}),
        ];
        let mut homes = Vec::new();
        for turn in 0..4 {
            let body = json!({"model": "chat", "messages": turns});
            let read =
                Request::post("/v1/chat/completions").json(&body).send(scene.envoy.port()).await.unwrap();
            homes.push(read.header("x-llm-target").unwrap().to_owned());
            turns.push(json!({"role": "assistant", "content": format!("Answer {turn}")}));
            turns.push(json!({"role": "user", "content": "And then?"}));
        }
        assert!(homes.iter().all(|home| *home == homes[0]), "{homes:?}");
        *met.entry(homes[0].clone()).or_insert(0) += 1;
    }
    assert!(met.len() > 1, "{met:?}");
}

#[tokio::test]
async fn the_fastest_target_gets_the_requests_of_every_worker() {
    for streamed in [true, false] {
        let scene = BalanceScene::start(2, json!({"strategy": "fastest"}), |_| {}).await;
        let slowly = Script::usual().delay_body(Duration::from_millis(400)).tokens(10, 20);
        scene.providers[0].by_default(slowly);
        scene.providers[1].by_default(Script::usual().tokens(10, 20));
        let ask = async || {
            let read = Request::chat("chat", streamed).ask(scene.envoy.port()).await;
            read.header("x-llm-target").unwrap().to_owned()
        };
        // Both speeds are unknown, so both targets are tried. Then both workers know them.
        let deadline = Instant::now() + SOON;
        while scene.providers.iter().any(|provider| provider.received().is_empty()) {
            ask().await;
            assert!(Instant::now() < deadline, "one target was never tried");
        }
        scene.until_every_worker(streamed, |read| read.header("x-llm-target") == Some("p1")).await;

        // Now the other target is slow. One request shows that. A target with an old measurement is tried again.
        let slower = Script::usual().delay_body(Duration::from_millis(1500)).tokens(10, 20);
        scene.providers[1].by_default(slower);
        scene.providers[0].by_default(Script::usual().tokens(10, 20));
        let deadline = Instant::now() + SOON;
        let mut in_a_row = 0;
        while in_a_row < 20 {
            in_a_row = if ask().await == "p0" { in_a_row + 1 } else { 0 };
            assert!(Instant::now() < deadline, "streamed: {streamed}: p0 was not found to be fast again");
        }
    }
}

#[tokio::test]
async fn the_cheapest_target_for_the_request_gets_it() {
    let scene = BalanceScene::start(3, json!({"strategy": "cheapest"}), |configuration| {
        // `p0` has cheap input, `p1` has cheap output, and `p2` has no price.
        configuration["targets"]["p0"]["price"] = json!({"input": 1.0, "output": 10.0});
        configuration["targets"]["p1"]["price"] = json!({"input": 5.0, "output": 1.0});
    })
    .await;
    let ask = async |words: usize, answer: u32| {
        let body = json!({
            "model": "chat", "max_tokens": answer,
            "messages": [{"role": "user", "content": "word ".repeat(words)}],
        });
        let read = Request::post("/v1/chat/completions").json(&body).send(scene.envoy.port()).await.unwrap();
        read.header("x-llm-target").unwrap().to_owned()
    };
    for _ in 0..10 {
        assert_eq!(ask(1_000, 10).await, "p0");
        assert_eq!(ask(1, 1_000).await, "p1");
    }
    assert!(scene.providers[2].received().is_empty());
}

#[tokio::test]
async fn every_endpoint_balances_by_the_same_rules_with_its_own_costs() {
    let long = "word ".repeat(1_000);
    let kinds = [
        ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": long}]})),
        ("/v1/messages", json!({"max_tokens": 1000, "messages": [{"role": "user", "content": long}]})),
        ("/v1/responses", json!({"input": long})),
        ("/v1/completions", json!({"prompt": long})),
        ("/v1/embeddings", json!({"input": long})),
    ];
    let cheapest = BalanceScene::start(2, json!({"strategy": "cheapest"}), |configuration| {
        // About 1,250 tokens of input and 1,000 of output. Only embeddings have no output to pay for.
        configuration["targets"]["p0"]["price"] = json!({"input": 1.0, "output": 10.0});
        configuration["targets"]["p1"]["price"] = json!({"input": 5.0, "output": 1.0});
    })
    .await;
    let sticky = BalanceScene::start(2, json!({"strategy": "sticky"}), |_| {}).await;
    for (path, mut body) in kinds {
        body["model"] = json!("chat");
        let ask = async |scene: &BalanceScene| {
            let read = Request::post(path).json(&body).send(scene.envoy.port()).await.unwrap();
            assert_eq!(read.status, 200, "{path}");
            read.header("x-llm-target").unwrap().to_owned()
        };
        let wanted = if path == "/v1/embeddings" { "p0" } else { "p1" };
        let home = ask(&sticky).await;
        for _ in 0..6 {
            assert_eq!(ask(&cheapest).await, wanted, "{path}");
            assert_eq!(ask(&sticky).await, home, "{path}");
        }
    }
}

#[tokio::test]
async fn the_session_header_reaches_no_provider() {
    let scene = BalanceScene::start(2, json!({"strategy": "sticky"}), |_| {}).await;
    scene.ask_in("conversation-7").await;
    let asked: Vec<_> = scene.providers.iter().flat_map(ScriptedProvider::received).collect();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("x-llm-session"), None);
}
