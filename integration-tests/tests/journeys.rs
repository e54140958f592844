//! One request over all its attempts, on two workers: nothing of it stays behind, no other request shares it, and it ends when
//! its client leaves.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::body::Piece;
use integration_tests::client::{Protocol, Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible, edge_host};
use integration_tests::provider::{Ending, Outcome, Point, Script, ScriptedProvider, errors};
use integration_tests::scene::Scene;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The provider must notice this soon that a client has left, if the machine is not busy.
const AT_ONCE: Duration = Duration::from_millis(100);

struct JourneyScene {
    first: ScriptedProvider,
    spare: ScriptedProvider,
    envoy: Envoy,
}

impl JourneyScene {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With a change to the virtual host of the edge.
    async fn with(edge: impl FnOnce(&mut Value)) -> Self {
        let gateway = Gateway::new(Shape::Loop)
            .configure(&json!({"mode": "shadow", "models": {"chat": {"tiers": [["gpt-a"], ["haiku"]]}}}))
            .concurrency(2)
            .edit(|config| edge(edge_host(config)));
        let scene = gateway.start_with([("first", "openai"), ("spare", "anthropic")]).await;
        let [first, spare] = scene.providers;
        Self { first, spare, envoy: scene.envoy }
    }

    fn port(&self) -> u16 {
        self.envoy.port()
    }

    async fn count(&self, metric: &str) -> u64 {
        self.envoy.count(metric).await
    }

    async fn wait_for(&self, metric: &str, wanted: u64) {
        self.envoy.wait_for_count(metric, wanted).await;
    }

    async fn ask(&self, stream: bool, protocol: Protocol) -> Read {
        Request::chat("chat", stream).over(protocol).ask(self.port()).await
    }
}

#[tokio::test]
async fn a_journey_ends_with_its_request() {
    let scene = JourneyScene::start().await;
    let last_words = Script::usual().cut_after_chunks(1);
    for (first, spare) in [
        (Script::usual(), Script::usual()),
        (errors::openai_400(), Script::usual()),
        (errors::openai_500(), Script::usual()),
        (errors::openai_500(), errors::anthropic_529()),
        (Script::cut(), Script::usual()),
        (Script::usual().ending(Ending::Reset(Point::AfterBytes(0))), Script::usual()),
        (last_words.clone(), Script::cut()),
        (last_words.clone(), last_words),
        (errors::openai_error_event(), errors::openai_error_event()),
    ] {
        scene.first.by_default(first);
        scene.spare.by_default(spare);
        for stream in [false, true] {
            scene.ask(stream, Protocol::H2c).await;
            scene.wait_for("journeys", 0).await;
        }
    }
    for refused in [r#"{"model":"chat"#, r#"{"model":"nobody"}"#, "{}"] {
        let answer = Request::post("/v1/chat/completions").bytes(refused).send(scene.port()).await.unwrap();
        assert!(answer.status.is_client_error());
    }
    scene.wait_for("journeys", 0).await;
    scene.envoy.expect_count("requests", 2 * 9 + 3).await;
    scene.envoy.expect_count("journeys_orphaned", 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_stops_the_provider_at_once_and_counts_as_no_failure() {
    let scene = JourneyScene::start().await;
    let mut aborts = 0;
    let mut delays = Vec::new();
    // The client leaves before any data, while a stream without content is held, and in the middle of the response.
    for script in [Script::hang(), Script::usual().hang_after_chunks(1), Script::usual().hang_after_chunks(3)]
    {
        for protocol in [Protocol::Http1, Protocol::H2c] {
            let asked = scene.first.received().len();
            scene.first.script(script.clone());
            let request = Request::chat("chat", true).over(protocol);
            let port = scene.port();
            let client = tokio::spawn(async move { request.ask(port).await });
            scene.first.wait_until(SOON, |all| all.get(asked)?.body_complete.then_some(())).await.unwrap();
            scene.wait_for("journeys", 1).await;
            let left_at = Instant::now();
            client.abort();
            let outcome = scene.first.wait_for_outcome(asked, SOON).await;
            let Outcome::ClosedByClient(at) = outcome else { panic!("{script:?} {protocol:?}: {outcome:?}") };
            delays.push(at - left_at);
            aborts += 1;
            scene.wait_for("client_aborts", aborts).await;
            scene.wait_for("journeys", 0).await;
        }
    }
    assert!(delays.iter().min() < Some(&AT_ONCE), "{delays:?}");
    assert!(delays.iter().max() < Some(&(AT_ONCE * 50)), "{delays:?}");
    for blame in ["attempts_failed", "failovers", "journeys_orphaned"] {
        assert_eq!(scene.count(blame).await, 0, "{blame}");
    }
    assert_eq!(scene.spare.received().len(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_during_its_upload_causes_no_attempt() {
    let scene = JourneyScene::start().await;
    for (aborts, protocol) in [(1, Protocol::Http1), (2, Protocol::H2c)] {
        let pieces = vec![Piece::now(r#"{"model":"chat","messages":["#), Piece::after(SOON * 10, "]}")];
        let request = Request::post("/v1/chat/completions").pieces(pieces).over(protocol);
        let port = scene.port();
        let client = tokio::spawn(async move { request.send(port).await.map(|_| ()) });
        scene.wait_for("requests", aborts).await;
        client.abort();
        scene.wait_for("client_aborts", aborts).await;
    }
    scene.wait_for("journeys", 0).await;
    assert_eq!((scene.count("attempts").await, scene.first.received().len()), (0, 0));
}

#[tokio::test]
async fn requests_with_the_same_client_chosen_ids_share_nothing() {
    let scene = JourneyScene::start().await;
    scene.first.by_default(errors::openai_500().delay_headers(Duration::from_millis(30)));
    let mut clients = JoinSet::new();
    for number in 0..20 {
        let body = json!({"model": "chat", "user": format!("user-{number}"), "messages": []});
        let request = Request::post("/v1/chat/completions")
            .json(&body)
            .header("x-request-id", "00000000-0000-4000-8000-000000000001")
            .header("x-llm-journey", "00000000-0000-4000-8000-000000000001");
        let port = scene.port();
        clients.spawn(async move { request.ask(port).await });
    }
    for read in clients.join_all().await {
        assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("haiku")));
        assert_eq!(read.header("x-llm-attempts"), Some("2"));
    }
    for provider in [&scene.first, &scene.spare] {
        let users: HashSet<_> =
            provider.received().iter().map(|request| request.json()["user"].to_string()).collect();
        assert_eq!((provider.received().len(), users.len()), (20, 20), "each request arrives once");
    }
    scene.wait_for("journeys", 0).await;
}

#[tokio::test]
async fn when_the_edge_declines_to_retry_the_client_gets_a_complete_response() {
    let scene = JourneyScene::with(|edge| edge["retry_policy"]["num_retries"] = json!(0)).await;
    for (orphans, protocol) in [(1, Protocol::Http1), (2, Protocol::H2c)] {
        scene.first.script(errors::openai_429());
        let read = scene.ask(false, protocol).await;
        assert_eq!((read.status.as_u16(), read.header("retry-after")), (429, Some("1")));
        assert_eq!((read.header("x-llm-target"), read.header("x-llm-retry")), (Some("gpt-a"), None));
        assert!(read.text().contains("Rate limit reached"), "{}", read.text());
        scene.wait_for("journeys_orphaned", orphans).await;
        scene.wait_for("journeys", 0).await;
    }
    // The response breaks off while it is held. Envoy answers, and no filter sees that.
    scene.first.script(Script::usual().cut_after_chunks(1));
    let read = scene.ask(true, Protocol::Http1).await;
    assert!(read.status.is_server_error() && read.error.is_none());
    assert_eq!((read.header("content-type"), read.header("x-llm-retry")), (Some("application/json"), None));
    let body = read.json();
    assert_eq!(body["error"]["code"], "provider_broke_off");
    assert_eq!(scene.spare.received().len(), 0);
}

#[tokio::test]
async fn two_simultaneous_attempts_of_one_journey_go_to_different_targets() {
    let scene = JourneyScene::with(|edge| {
        edge["retry_policy"]["per_try_timeout"] = json!("0.3s");
        edge["hedge_policy"] = json!({"hedge_on_per_try_timeout": true});
    })
    .await;
    for protocol in [Protocol::Http1, Protocol::H2c] {
        let (asked, helped) = (scene.first.received().len(), scene.spare.received().len());
        // The first target does not answer. The second attempt does, and the first one is cancelled.
        scene.first.script(Script::hang());
        let read = scene.ask(false, protocol).await;
        assert_eq!(
            (read.status.as_u16(), read.header("x-llm-target")),
            (200, Some("haiku")),
            "{}",
            read.text()
        );
        assert_eq!(read.header("x-llm-attempts"), Some("2"));
        let outcome = scene.first.wait_for_outcome(asked, SOON).await;
        assert!(matches!(outcome, Outcome::ClosedByClient(_)), "{outcome:?}");
        // The first target is slow, but faster than the second.
        scene.first.script(Script::usual().delay_headers(Duration::from_millis(500)));
        scene.spare.script(Script::hang());
        let read = scene.ask(false, protocol).await;
        assert_eq!(
            (read.status.as_u16(), read.header("x-llm-target")),
            (200, Some("gpt-a")),
            "{}",
            read.text()
        );
        let outcome = scene.spare.wait_for_outcome(helped + 1, SOON).await;
        assert!(matches!(outcome, Outcome::ClosedByClient(_)), "{outcome:?}");
        scene.wait_for("journeys", 0).await;
    }
    assert_eq!((scene.first.received().len(), scene.spare.received().len()), (4, 4));
    scene.envoy.expect_count("journeys_orphaned", 0).await;
}

/// A pseudo-random generator with the same numbers in every run (Knuth's MMIX constants).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

#[tokio::test]
async fn a_thousand_requests_to_randomly_failing_providers_all_end() {
    const REQUESTS: usize = 1000;
    const CLIENTS: usize = 20;
    let target = |name: &str| json!({"provider": name, "model": "m"});
    let scene = Gateway::new(Shape::Loop)
        .plugin(&json!({
            "providers": {"a": compatible("a"), "b": compatible("b"), "last": compatible("last")},
            "targets": {"a": target("a"), "b": target("b"), "last": target("last")},
            "mode": "shadow", "models": {"chat": {"tiers": [["a", "b"], ["last"]]}},
        }))
        .concurrency(2)
        .start_with(["a", "b", "last"])
        .await;
    let Scene { envoy, providers, .. } = scene;

    // One in ten responses fails at each provider. The last provider never breaks off within a response: clients would see it.
    let failures = [
        errors::openai_429(),
        errors::openai_503(),
        errors::openai_error_event(),
        errors::openai_400(),
        Script::cut(),
        Script::reset(),
        Script::stream([]),
        Script::usual().cut_after_bytes(0),
        Script::usual().cut_after_chunks(1),
        Script::usual().ending(Ending::Reset(Point::AfterBytes(5))),
    ];
    let mut dice = Dice(1);
    for (provider, kinds) in providers.iter().zip([10, 10, 6]) {
        for _ in 0..REQUESTS {
            let failing = dice.below(10) == 0;
            provider.script(if failing { failures[dice.below(kinds)].clone() } else { Script::usual() });
        }
    }
    let port = envoy.port();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(async move {
            let protocol = if client % 2 == 0 { Protocol::Http1 } else { Protocol::H2c };
            let mut answered = 0;
            for number in 0..REQUESTS / CLIENTS {
                let request = Request::chat("chat", number % 2 == 0).over(protocol);
                let read = request.ask(port).await;
                assert!(read.error.is_none(), "{:?} after {}", read.error, read.text());
                assert!(read.header("x-llm-attempts").is_some() || read.header("x-llm-reason").is_some());
                answered += usize::from(is_whole(&read));
            }
            answered
        });
    }
    let answered: usize = clients.join_all().await.into_iter().sum();
    assert!(answered > REQUESTS * 9 / 10, "{answered}");
    envoy.wait_until_idle().await;
    envoy.wait_for_count("journeys_orphaned", 0).await;
    let attempts = envoy.count("attempts").await;
    let asked: usize = providers.iter().map(|provider| provider.received().len()).sum();
    assert_eq!(attempts, asked as u64, "no attempt was repeated or lost");
    assert!(attempts > REQUESTS as u64);
}

/// Whether this is a complete response. Anything else must be a complete error.
fn is_whole(read: &Read) -> bool {
    let text = read.text();
    if read.status == 200 && text.starts_with("data:") {
        let whole = read.data().last().is_some_and(|last| last == "[DONE]");
        assert!(whole || text.contains("\"error\""), "{text}");
        return whole;
    }
    // A filter cannot add a body to a response without one.
    if read.status == 502 && text.is_empty() {
        return false;
    }
    let body: Value =
        serde_json::from_slice(&read.bytes()).unwrap_or_else(|_| panic!("{} {text}", read.status));
    let whole = read.status == 200 && body["choices"][0]["message"]["content"].is_string();
    assert!(whole || body["error"]["message"].is_string(), "{} {text}", read.status);
    whole
}
