//! The test support together with a real Envoy, without the filter.

use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::Request;
use integration_tests::envoy::{Envoy, EnvoyConfig};
use integration_tests::provider::{Outcome, RefusedPort, Script, ScriptedProvider};

fn proxy_to(port: u16) -> EnvoyConfig {
    EnvoyConfig::from_text(include_str!("configs/plain_proxy.yaml")).set("provider_port", port)
}

#[tokio::test]
async fn requests_go_through_a_real_envoy_plain_and_streamed() {
    let provider = ScriptedProvider::start("alpha").await;
    let envoy = Envoy::start(proxy_to(provider.port())).await;
    let plain = Request::chat("m-1", false).send(envoy.port()).await.unwrap().json().await;
    assert_eq!(plain["choices"][0]["message"]["content"], "hello from alpha");

    provider.script(Script::usual().delay_chunks(Duration::from_millis(50)));
    let read = Request::chat("m-1", true).h2c().ask(envoy.port_of("edge")).await;
    assert!(read.error.is_none());
    assert_eq!(read.data().last().unwrap(), "[DONE]");
    let spread = read.chunks.last().unwrap().at - read.chunks[0].at;
    assert!(
        spread >= Duration::from_millis(150),
        "chunks arrive when they are sent, not at the end: {spread:?}"
    );

    assert_eq!(envoy.wait_for_stat("cluster.provider.upstream_rq_200", |count| count == 2).await, 2);
    assert_eq!(envoy.stat("cluster.provider.no_such_number").await, None);
    assert!(envoy.prometheus().await.contains("envoy_cluster_upstream_rq"));
    assert!(envoy.log().contains("starting main dispatch loop"));
    assert_eq!(provider.received()[0].json()["model"], "m-1");
}

#[tokio::test]
async fn a_broken_connection_is_seen_on_both_sides_of_envoy() {
    let provider = ScriptedProvider::start("alpha").await;
    let envoy = Envoy::start(proxy_to(provider.port())).await;

    provider.script(Script::usual().cut_after_chunks(2));
    let read = Request::chat("m", true).ask(envoy.port()).await;
    assert_eq!((read.data().len(), read.error.is_some()), (2, true));

    provider.script(Script::reset());
    assert_eq!(Request::chat("m", false).send(envoy.port()).await.unwrap().status, 503);

    provider.script(Script::usual().hang_after_chunks(2));
    let mut streaming = Request::chat("m", true).send(envoy.port()).await.unwrap();
    streaming.next_chunk().await.unwrap().unwrap();
    let gone_at = Instant::now();
    drop(streaming);
    let outcome = provider.wait_for_outcome(2, SOON).await;
    assert!(
        matches!(outcome, Outcome::ClosedByClient(at) if at - gone_at < Duration::from_secs(5)),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_refused_connection_gives_envoys_503() {
    let refused = RefusedPort::reserve();
    let envoy = Envoy::start(proxy_to(refused.port())).await;
    assert_eq!(Request::chat("m", false).send(envoy.port()).await.unwrap().status, 503);
    assert!(envoy.stat("cluster.provider.upstream_cx_connect_fail").await.unwrap() >= 1);
}

#[tokio::test]
async fn a_configuration_that_envoy_rejects_fails_the_start_with_its_log() {
    let config = proxy_to(1).replace("stat_prefix: edge", "no_such_field: edge");
    let log = Envoy::expect_start_failure(config).await;
    assert!(log.contains("no_such_field"), "{log}");
}

#[tokio::test]
#[should_panic(expected = "no value for {{provider_port}}")]
async fn a_placeholder_without_a_value_is_named() {
    Envoy::start(EnvoyConfig::from_text(include_str!("configs/plain_proxy.yaml"))).await;
}
