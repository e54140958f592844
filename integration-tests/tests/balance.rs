//! Who gets a request where several targets may, on two workers.
//!
//! Each request has a connection of its own, so requests meet either worker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use integration_tests::client::{Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Script, ScriptedProvider};
use serde_json::{Value, json};

/// How long anything that must happen may take.
const SOON: Duration = Duration::from_secs(15);

/// Workers tell each other of their attempts every 100 ms.
const KNOWN_EVERYWHERE: Duration = Duration::from_millis(400);

/// Providers `p0`, `p1`, …, each with one target of its name.
struct Scene {
    providers: Vec<ScriptedProvider>,
    envoy: Envoy,
}

impl Scene {
    async fn start(count: usize, balance: Value, change: impl FnOnce(&mut Value)) -> Self {
        let mut configuration =
            json!({"providers": {}, "targets": {}, "models": {"chat": {"balance": balance}}});
        let mut providers = Vec::new();
        let mut gateway = Gateway::new(Shape::Loop).concurrency(2);
        for index in 0..count {
            let name = format!("p{index}");
            let provider = ScriptedProvider::start(&name).await;
            configuration["providers"][&name] =
                json!({"kind": "openai-compatible", "host": format!("{name}.test")});
            configuration["targets"][&name] = json!({"provider": name, "model": name});
            gateway = gateway.provider(&name, provider.port());
            providers.push(provider);
        }
        let names: Vec<_> = providers.iter().map(ScriptedProvider::name).collect();
        configuration["models"]["chat"]["targets"] = json!(names);
        change(&mut configuration);
        Self { envoy: gateway.plugin(&configuration).start().await, providers }
    }

    async fn ask(&self, session: Option<&str>) -> Read {
        let request = Request::chat("chat", false);
        let request = match session {
            Some(session) => request.header("x-llm-session", session),
            None => request,
        };
        request.send(self.envoy.port()).await.unwrap().read().await
    }

    /// The target that answers a request of this session.
    async fn target_of(&self, session: &str) -> String {
        let read = self.ask(Some(session)).await;
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
async fn a_target_that_sits_on_its_calls_gets_no_more_from_any_worker() {
    let scene = Scene::start(2, json!({"strategy": "least_pending"}), |_| {}).await;
    scene.providers[0].by_default(Script::hang());
    // Until `p0` has swallowed a request.
    let port = scene.envoy.port();
    let mut stuck = Vec::new();
    let deadline = Instant::now() + SOON;
    while scene.providers[0].received().is_empty() {
        stuck.push(tokio::spawn(async move { Request::chat("chat", false).send(port).await }));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(Instant::now() < deadline, "nothing went to p0");
    }
    tokio::time::sleep(KNOWN_EVERYWHERE).await;
    let swallowed = scene.providers[0].received().len();
    for _ in 0..40 {
        let read = scene.ask(None).await;
        assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("p1")));
    }
    assert_eq!(scene.providers[0].received().len(), swallowed);
    stuck.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_session_stays_moves_when_its_target_is_lost_and_comes_back() {
    let mut scene = Scene::start(4, json!({"strategy": "sticky"}), |configuration| {
        configuration["breaker"] =
            json!({"consecutive": 1, "open": "500ms", "open_max": "500ms", "close_after": 1, "slow_start": "0s"});
    })
    .await;
    let homes = scene.homes(32).await;
    assert_eq!(homes, scene.homes(32).await, "on either worker");
    let lost = homes[&0].clone();
    let place: usize = lost[1..].parse().unwrap();
    assert!(homes.values().any(|home| *home != lost));

    scene.providers[place].stop().await;
    for (session, home) in &homes {
        let met = scene.target_of(&session.to_string()).await;
        assert_eq!(met == *home, *home != lost, "session {session} of {home} met {met}");
    }

    scene.providers[place].restart().await;
    let deadline = Instant::now() + SOON;
    while scene.homes(32).await != homes {
        assert!(Instant::now() < deadline, "they never came back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn the_name_of_a_session_reaches_no_provider() {
    let scene = Scene::start(2, json!({"strategy": "sticky"}), |_| {}).await;
    scene.ask(Some("conversation-7")).await;
    let asked: Vec<_> = scene.providers.iter().flat_map(ScriptedProvider::received).collect();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("x-llm-session"), None);
}
