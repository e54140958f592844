//! Avoiding rate limits before a 429, on two workers: by the limits that providers report and those that are configured.

use std::ops::Deref;
use std::time::{Duration, Instant};

use crate::peers::Peers;
use integration_tests::SOON;
use integration_tests::client::{Read, Request};
use integration_tests::gateway::Gateway;
use integration_tests::provider::{Quota, Script, ScriptedProvider};
use serde_json::{Value, json};

/// Workers exchange what they know every 100 ms.
const KNOWN_EVERYWHERE: Duration = Duration::from_millis(400);

/// Several peers, the last of them in a second tier.
struct HeadroomScene {
    peers: Peers,
    gateway: Gateway,
}

impl Deref for HeadroomScene {
    type Target = Peers;

    fn deref(&self) -> &Peers {
        &self.peers
    }
}

impl HeadroomScene {
    async fn start(count: usize, change: impl FnOnce(&mut Value)) -> Self {
        let peers = Peers::start(count, |configuration| {
            let tiers = configuration["models"]["chat"]["tiers"].as_array_mut().unwrap();
            let last = tiers[0].as_array_mut().unwrap().pop();
            tiers.push(json!([last]));
            change(configuration);
        });
        let (peers, gateway) = peers.await;
        Self { peers, gateway }
    }

    /// Sends this many requests evenly over `span`, each on its own connection.
    async fn offer(&self, count: u32, span: Duration) -> Vec<Read> {
        let began = Instant::now();
        let mut asked = Vec::new();
        for index in 0..count {
            let port = self.envoy.port();
            asked.push(tokio::spawn(async move { Request::chat("chat", false).ask(port).await }));
            let next = began + span * (index + 1) / count;
            tokio::time::sleep_until(next.into()).await;
        }
        let mut answers = Vec::new();
        for answer in asked {
            answers.push(answer.await.unwrap());
        }
        answers
    }

    fn counts(&self) -> Vec<usize> {
        self.providers.iter().map(|provider| provider.received().len()).collect()
    }
}

#[tokio::test]
async fn no_limit_is_hit_while_there_is_capacity() {
    let scene = HeadroomScene::start(4, |_| {}).await;
    // By weight each target would get 30.
    let limits = [20, 60, 60];
    for (provider, limit) in scene.providers.iter().zip(limits) {
        provider.limit(Quota { limit, window: Duration::from_secs(60), tells: true });
    }
    let answers = scene.offer(90, Duration::from_secs(9)).await;
    assert!(answers.iter().all(|read| read.status == 200));
    let refused: Vec<_> = scene.providers.iter().map(ScriptedProvider::refused).collect();
    assert_eq!(refused, [0, 0, 0, 0], "{:?}", scene.counts());
    let counts = scene.counts();
    assert!(counts[0] <= 20 && counts[0] >= 10, "nearly all of the limit is used: {counts:?}");
    assert_eq!(counts[3], 0, "no request left the first tier: {counts:?}");
}

#[tokio::test]
async fn a_used_up_limit_is_avoided_until_its_reset() {
    let scene = HeadroomScene::start(2, |_| {}).await;
    scene.providers[0].limit(Quota { limit: 5, window: Duration::from_secs(8), tells: true });
    let deadline = Instant::now() + SOON;
    let read = loop {
        let read = scene.ask().await;
        if read.header("x-llm-target") == Some("p1") {
            break read;
        }
        assert!(Instant::now() < deadline);
        tokio::time::sleep(KNOWN_EVERYWHERE).await;
    };
    assert_eq!((read.status.as_u16(), read.header("x-llm-fallback")), (200, Some("headroom")));
    scene.until_every_worker(false, |read| read.header("x-llm-fallback") == Some("headroom")).await;
    while scene.ask().await.header("x-llm-target") != Some("p0") {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(Instant::now() < deadline, "the limit was reset long ago");
    }
    assert_eq!(scene.providers[0].refused(), 0);
}

#[tokio::test]
async fn a_configured_limit_holds_exactly_for_all_models_and_workers() {
    let scene = HeadroomScene::start(2, |configuration| {
        configuration["accounts"]["p0"]["limits"] = json!({"requests_per_minute": 12});
        configuration["targets"]["other"] = json!({"account": "p0", "model": "other"});
        configuration["models"]["chat"]["tiers"][0] = json!(["p0", "other"]);
    })
    .await;
    scene.providers[0].limit(Quota { limit: 12, window: Duration::from_secs(60), tells: false });
    let answers = scene.offer(60, Duration::from_millis(500)).await;
    assert!(answers.iter().all(|read| read.status == 200));
    assert_eq!((scene.counts(), scene.providers[0].refused()), (vec![12, 48], 0));
    let last = scene.ask().await;
    assert_eq!(last.header("x-llm-fallback"), Some("headroom"));
}

#[tokio::test]
async fn without_capacity_the_client_is_told_when_to_retry() {
    let scene = HeadroomScene::start(2, |configuration| {
        configuration["targets"]["p0"]["limits"] = json!({"requests_per_minute": 1});
        configuration["targets"]["p1"]["limits"] = json!({"max_pending": 1});
    })
    .await;
    assert_eq!(scene.ask().await.status, 200);
    scene.providers[1].by_default(Script::hang());
    let port = scene.envoy.port();
    let stuck = tokio::spawn(async move { Request::chat("chat", false).send(port).await });
    scene.providers[1].wait_for(1, SOON).await;
    scene.until_every_worker(false, |read| read.status == 429).await;
    for _ in 0..10 {
        let read = scene.ask().await;
        let body = read.json();
        assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (429, Some("all_targets_throttled")));
        let wait: u64 = read.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=65).contains(&wait), "{wait}");
        let targets = &body["error"]["llm_failsafe"]["targets"];
        let wanted = json!([
            {"target": "p0", "reason": "headroom"},
            {"target": "p1", "reason": "max_pending"},
        ]);
        assert_eq!(*targets, wanted, "{body}");
    }
    stuck.abort();
}

#[tokio::test]
async fn configuration_changes_under_load_lose_no_request_and_keep_state() {
    let scene = HeadroomScene::start(3, |configuration| {
        configuration["models"]["chat"]["tiers"] = json!([["p0", "p1"], ["p2"]]);
        configuration["targets"]["p1"]["limits"] = json!({"requests_per_minute": 10});
    })
    .await;
    for provider in &scene.providers {
        provider.by_default(Script::usual().content_chunks(10).delay_chunks(Duration::from_millis(40)));
    }
    // Streams of about half a second from 20 clients during all changes.
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let port = scene.envoy.port();
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let over = std::sync::Arc::clone(&over);
            tokio::spawn(async move {
                let mut answers = Vec::new();
                let deadline = Instant::now() + 5 * SOON;
                while !over.load(std::sync::atomic::Ordering::Relaxed) && Instant::now() < deadline {
                    let answer = Request::chat("chat", true).send(port).await;
                    answers.push(match answer {
                        Ok(response) => Ok(response.read().await),
                        Err(error) => Err(error.to_string()),
                    });
                }
                answers
            })
        })
        .collect();
    // Each update adds a model, which shows that every worker uses it.
    let served = async |gateway: &Gateway, name: &str| {
        let known = gateway.clone().configure(&json!({"models": {name: {"targets": ["p1"]}}}));
        known.update(&scene.envoy);
        let (deadline, mut in_a_row) = (Instant::now() + SOON, 0);
        while in_a_row < 20 {
            let models = Request::get("/v1/models").ask(scene.envoy.port()).await;
            in_a_row = if models.text().contains(&format!("\"{name}\"")) { in_a_row + 1 } else { 0 };
            assert!(Instant::now() < deadline, "{name} is not served: {}", models.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    scene.providers[1].wait_for(10, SOON).await;
    // Another weight and one more target.
    let more = scene.gateway.clone().configure(&json!({
        "targets": {"p0": {"weight": 3}, "p2-too": {"account": "p2", "model": "more"}},
        "models": {"chat": {"tiers": [["p0", "p1", "p2-too"], ["p2"]]}},
    }));
    served(&more, "with-more").await;
    // No tier has `p0` any more. Its requests in progress continue.
    let asked = scene.providers[0].received().len();
    let drained = more.clone().configure(&json!({"models": {"chat": {"tiers": [["p1", "p2-too"], ["p2"]]}}}));
    served(&drained, "drained").await;
    let asked_since = scene.providers[0].received().len();
    // `p0` is removed.
    served(&drained.configure(&json!({"targets": {"p0": null}, "accounts": {"p0": null}})), "removed").await;
    over.store(true, std::sync::atomic::Ordering::Relaxed);

    let mut answered = 0;
    for client in clients {
        for answer in client.await.unwrap() {
            let read = answer.expect("no request is lost");
            assert_eq!(read.status, 200, "{}", read.text());
            assert!(read.error.is_none(), "{:?}", read.error);
            assert!(read.text().ends_with("data: [DONE]\n\n"), "{}", read.text());
            answered += 1;
        }
    }
    assert!(answered > 50, "{answered}");
    assert!(asked > 0 && asked_since >= asked);
    assert_eq!(scene.providers[0].received().len(), asked_since, "no new request after it was drained");
    assert_eq!(scene.providers[1].received().len(), 10, "the count survived three updates");
    assert!(!scene.providers[2].received().is_empty());
}
