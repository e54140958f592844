//! How the shipped entry point ends Envoy.

use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::{ClientError, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Script, ScriptedProvider};
use serde_json::json;
use tokio::task::JoinSet;

/// How long new connections are served after SIGTERM, at least.
const GRACE: Duration = Duration::from_secs(2);
/// Clients that open a new connection for each request.
const NEWCOMERS: usize = 4;

async fn start(shape: Shape, provider: &ScriptedProvider, limit: &str) -> Envoy {
    let gateway =
        Gateway::new(shape).provider("openai", provider.port()).provider("anthropic", provider.port());
    let config = gateway.to_config().by_entrypoint();
    Envoy::start(config.env("DRAIN_GRACE_S", &GRACE.as_secs().to_string()).env("DRAIN_LIMIT_S", limit)).await
}

async fn is_ready(probes: u16) -> bool {
    Request::get("/ready").send(probes).await.is_ok_and(|answer| answer.status == 200)
}

/// Sends requests, each on a new connection, until one is refused. Returns how many were served.
async fn serve_until_refused(port: u16) -> usize {
    let (mut served, deadline) = (0, Instant::now() + SOON);
    loop {
        assert!(Instant::now() < deadline, "new connections are not refused");
        match Request::chat("chat", false).send(port).await {
            Ok(answer) => {
                let read = answer.read().await;
                assert_eq!((read.status.as_u16(), read.error.is_none()), (200, true), "{}", read.text());
                served += 1;
            }
            Err(ClientError::Connect(_)) => return served,
            // The system had taken the connection, but Envoy had not.
            Err(ClientError::Broken(_)) => {}
            Err(ClientError::Silent) => panic!("a request gets no answer"),
        }
    }
}

#[tokio::test]
async fn after_sigterm_streams_finish_new_requests_are_served_or_refused_and_envoy_ends() {
    const STREAMS: usize = 4;
    for shape in [Shape::Loop, Shape::Single] {
        let provider = ScriptedProvider::start("alpha").await;
        let mut envoy = start(shape, &provider, "50").await;
        let (port, probes) = (envoy.port(), envoy.port_of("probes"));
        // They outlast the grace by far.
        provider.by_default(Script::usual().content_chunks(20).delay_chunks(Duration::from_millis(500)));
        let streams: Vec<_> = (0..STREAMS)
            .map(|number| {
                let stream = Request::chat("chat", true);
                let stream = if number % 2 == 0 { stream } else { stream.h2c() };
                tokio::spawn(async move { stream.ask(port).await })
            })
            .collect();
        provider.wait_for(STREAMS, SOON).await;
        assert!(is_ready(probes).await);
        let began = Instant::now();
        envoy.terminate();
        while is_ready(probes).await {
            assert!(began.elapsed() < SOON, "readiness does not fail");
        }
        let newcomers: JoinSet<_> = (0..NEWCOMERS).map(|_| serve_until_refused(port)).collect();
        let served = newcomers.join_all().await;
        assert!(began.elapsed() >= GRACE, "refused too early: {:?}", began.elapsed());
        assert!(served.iter().all(|served| *served > 0), "{served:?}");
        assert!(streams.iter().all(|stream| !stream.is_finished()), "the streams are too short to tell");
        for stream in streams {
            let answer = stream.await.unwrap();
            assert_eq!(answer.status, 200);
            assert!(answer.text().contains("[DONE]"), "a stream was cut: {}", answer.text());
        }
        assert_eq!(envoy.end().await.code(), Some(0));
        let answered = served.iter().sum::<usize>() + STREAMS;
        assert_eq!(provider.received().len(), answered, "a request that was accepted is lost");
        assert!(envoy.log().contains("every request has finished"), "{}", envoy.log());
    }
}

#[tokio::test]
async fn a_stream_that_exceeds_the_limit_is_cut() {
    let provider = ScriptedProvider::start("alpha").await;
    let mut envoy = start(Shape::Loop, &provider, "2").await;
    let port = envoy.port();
    provider.script(Script::usual().delay_chunks(Duration::from_secs(20)));
    let stream = tokio::spawn(async move { Request::chat("chat", true).send(port).await });
    provider.wait_for(1, SOON).await;
    let began = Instant::now();
    envoy.terminate();
    assert_eq!(envoy.end().await.code(), Some(0));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1_000) && took < Duration::from_secs(15), "{took:?}");
    assert!(envoy.log().contains("requests that Envoy's end cuts"), "{}", envoy.log());
    drop(stream);
}

#[tokio::test]
async fn a_second_signal_ends_envoy_at_once() {
    let provider = ScriptedProvider::start("alpha").await;
    let mut envoy = start(Shape::Loop, &provider, "60").await;
    let port = envoy.port();
    provider.script(Script::usual().delay_headers(Duration::from_secs(50)));
    let waits = tokio::spawn(async move { Request::chat("chat", false).send(port).await });
    provider.wait_for(1, SOON).await;
    let began = Instant::now();
    envoy.terminate();
    envoy.wait_for_log("readiness fails now").await;
    envoy.terminate();
    assert_eq!(envoy.end().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(30));
    waits.abort();
}

#[tokio::test]
async fn a_wrong_limit_is_named_before_envoy_starts() {
    let provider = ScriptedProvider::start("alpha").await;
    let config = Gateway::new(Shape::Loop)
        .provider("openai", provider.port())
        .provider("anthropic", provider.port())
        .to_config()
        .by_entrypoint()
        .env("DRAIN_LIMIT_S", "60s");
    let log = Envoy::expect_start_failure(config).await;
    assert!(log.contains("DRAIN_LIMIT_S must be whole numbers of seconds, not '60s'"), "{log}");
}

/// A second process on the same machine knows nothing of the first one. This is what that costs while a target is down.
#[tokio::test]
async fn a_new_process_learns_again_which_target_is_down() {
    const CONSECUTIVE: usize = 5;
    let (down, spare) = (ScriptedProvider::start("down").await, ScriptedProvider::start("spare").await);
    down.by_default(Script::status(500));
    let gateway = || {
        Gateway::new(Shape::Loop)
            .plugin(&json!({
                "providers": {"down": compatible("down"), "spare": compatible("spare")},
                "targets": {
                    "down": {"provider": "down", "key": {"value": "sk-a"}, "model": "m"},
                    "spare": {"provider": "spare", "key": {"value": "sk-b"}, "model": "m"},
                },
                "models": {"chat": {"tiers": [["down"], ["spare"]], "retry": {"attempts_per_target": 1}}},
                "breaker": {"consecutive": CONSECUTIVE, "open": "1m"},
            }))
            .concurrency(2)
            .provider("down", down.port())
            .provider("spare", spare.port())
    };
    let mut before = 0;
    for _ in 0..2 {
        let envoy = gateway().start().await;
        for _ in 0..40 {
            let answer = Request::chat("chat", false).ask(envoy.port()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        // The workers share the breaker. One of them learns up to a tick late that it is open.
        let asked = down.received().len();
        assert!((CONSECUTIVE..=CONSECUTIVE + 1).contains(&(asked - before)), "{before}, {asked}");
        before = asked;
        drop(envoy);
    }
}
