//! Budgets over many Envoys: their rate-limit filter asks a service and charges it for the tokens of each response.

use integration_tests::SOON;
use integration_tests::client::{Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::Script;
use integration_tests::rate_limit::{Charge, RateLimitService};
use integration_tests::scene::Scene;
use integration_tests::sha256;
use serde_json::{Value, json};

fn configuration() -> Value {
    let sha256 = sha256(b"team-key");
    json!({
        "fleet_rate_limit": true,
        "providers": {
            "first": compatible("first"),
            "spare": compatible("spare"),
        },
        "targets": {
            "first": {"provider": "first", "model": "first-model"},
            "spare": {"provider": "spare", "model": "spare-model"},
        },
        "models": {"chat": {"tiers": [["first"], ["spare"]]}},
        "keys": {"team": {"sha256": sha256}},
    })
}

/// The shipped configuration with the additions of `envoy/rate-limit.yaml`.
async fn start(shape: Shape, service: &RateLimitService) -> Scene<2> {
    let gateway = Gateway::new(shape).plugin(&configuration()).asks_rate_limits(service.port());
    gateway.start_with(["first", "spare"]).await
}

async fn ask(envoy: &Envoy, stream: bool) -> Read {
    let request = Request::chat("chat", stream).header("authorization", "Bearer team-key");
    request.patience(SOON).ask(envoy.port()).await
}

fn of_team(hits: u64) -> Charge {
    Charge { domain: "llm-failsafe".into(), entries: vec![("key".into(), "team".into())], hits }
}

#[tokio::test]
async fn the_rate_limit_service_is_asked_first_and_charged_the_tokens_used() {
    for shape in [Shape::Loop, Shape::Single] {
        let service = RateLimitService::start().await;
        let Scene { envoy, providers: [first, _spare], .. } = start(shape, &service).await;
        first.script(Script::usual().tokens(30, 12));
        let read = ask(&envoy, false).await;
        assert_eq!(read.status, 200, "{shape:?}: {}", read.text());
        let charges = service.wait_until(SOON, |charges| charges.len() >= 2).await;
        assert_eq!(charges, [of_team(0), of_team(42)], "{shape:?}");
    }
}

#[tokio::test]
async fn only_the_successful_attempt_is_charged() {
    let service = RateLimitService::start().await;
    let Scene { envoy, providers: [first, spare], .. } = start(Shape::Loop, &service).await;
    first.script(Script::status(500));
    spare.script(Script::usual().tokens(5, 2));
    assert_eq!(ask(&envoy, false).await.header("x-llm-target"), Some("spare"));
    let charges = service.wait_until(SOON, |charges| charges.len() >= 3).await;
    assert_eq!(charges, [of_team(0), of_team(0), of_team(7)]);
}

#[tokio::test]
async fn a_key_over_the_fleet_limit_is_refused_and_no_breaker_counts_it() {
    let service = RateLimitService::start().await;
    service.limit(100);
    let Scene { envoy, providers: [first, spare], .. } = start(Shape::Loop, &service).await;
    first.by_default(Script::usual().tokens(60, 50));
    assert_eq!(ask(&envoy, false).await.status, 200);
    service.wait_until(SOON, |charges| charges.contains(&of_team(110))).await;
    for _ in 0..10 {
        let read = ask(&envoy, true).await;
        assert_eq!(read.status, 429);
        let body = read.json();
        assert_eq!(body["error"]["code"], "fleet_rate_limit", "{body}");
        assert_eq!((read.header("x-llm-target"), read.header("x-llm-retry")), (None, None));
        assert_eq!(read.header("x-llm-reason"), Some("fleet_rate_limit"));
    }
    assert_eq!(
        (first.received().len(), spare.received().len()),
        (1, 0),
        "the refusal caused no further attempt"
    );
    envoy.expect_count("fleet_refusals", 10).await;
    envoy.expect_count("breaker_opened", 0).await;
    envoy.wait_for_count("journeys", 0).await;
}
