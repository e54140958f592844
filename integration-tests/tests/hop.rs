//! The hop of the loop: floods of one client, and what the filter makes of a hop that Envoy closes.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::Request;
use integration_tests::gateway::connection_manager;
use integration_tests::raw_http2::{self, RawHttp2};
use integration_tests::records;
use serde_json::{Value, json};

use crate::loaded_hop::{Hop, KEY, STREAMS, hop_limits};

const HEADERS: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/v1/chat/completions"), (":authority", "x")];

/// Sends so many requests that are reset at once, on one connection, until the gateway closes it.
async fn flood(port: u16, requests: u32) {
    let mut connection = RawHttp2::open(port).await;
    for stream in (1..).step_by(2).take(requests as usize) {
        let frames = [raw_http2::headers_only(stream, &HEADERS), raw_http2::reset(stream)].concat();
        if !connection.write(&frames).await {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_flood_of_resets_hurts_only_the_flooder() {
    for with_keys in [false, true] {
        let mut hop = Hop::start(with_keys, |_| {}).await;
        let bound = Instant::now() + SOON;
        let seen = async |name: &str| hop.envoy.stat(name).await.unwrap_or(0);
        let (mut closed, mut carried) = (0, 0);
        while (closed < 5 || carried < 2_000) && Instant::now() < bound {
            flood(hop.envoy.port(), 2_000).await;
            closed = seen("http.edge.downstream_rq_too_many_premature_resets").await;
            carried = seen("http.inner.downstream_rq_total").await;
        }
        assert!(closed >= 5 && carried >= 2_000, "closed {closed} times after {carried} requests");
        hop.over().store(true, Ordering::Relaxed);
        hop.assert_unharmed().await;
    }
}

/// Removes the bound that keeps the hop from being closed.
fn unbound(config: &mut Value) {
    hop_limits(config).as_object_mut().unwrap().remove("max_requests_per_connection").unwrap();
}

/// Has the inner listener log how Envoy describes the end of each stream.
fn log_ends(config: &mut Value) {
    let log = json!({
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": "{{dir}}/ends.log",
            "log_format": {"text_format_source": {
                "inline_string": "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n",
            }},
        },
    });
    connection_manager(config, 1)["access_log"].as_array_mut().unwrap().push(log);
}

#[tokio::test]
async fn a_hop_that_envoy_closes_is_no_failure_of_a_provider() {
    let mut hop = Hop::start(true, |config| {
        unbound(config);
        log_ends(config);
    })
    .await;
    // A request without an answer yet. The edge sends it again.
    let port = hop.envoy.port();
    let ask = || Request::chat("silent", true).header("authorization", &format!("Bearer {KEY}"));
    let waiting = tokio::spawn(async move { ask().patience(Duration::from_secs(600)).send(port).await });
    hop.envoy.wait_for_count("attempts_in_flight", STREAMS as u64 + 1).await;
    // Requests of three clients, so that the edge closes none of their connections.
    let bearer = format!("Bearer {KEY}");
    let headers = [&HEADERS[..], &[("authorization", &*bearer)]].concat();
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = RawHttp2::open(port).await;
        let streams = (1_u32..).step_by(2).take(100);
        let frames =
            streams.flat_map(|stream| raw_http2::request(stream, &headers, br#"{"model":"silent"}"#));
        assert!(client.write(&frames.collect::<Vec<_>>()).await);
        clients.push(client);
    }
    hop.envoy.wait_for_count("attempts_in_flight", STREAMS as u64 + 301).await;
    hop.over().store(true, Ordering::Relaxed);
    for client in &mut clients {
        let resets = (1_u32..).step_by(2).take(100).flat_map(raw_http2::reset);
        assert!(client.write(&resets.collect::<Vec<_>>()).await);
    }
    let premature = "http.inner.downstream_rq_too_many_premature_resets";
    hop.envoy.wait_for_stat(premature, |count| count == 1).await;

    let (_, cut) = hop.streams().await;
    assert_eq!(cut.len(), STREAMS, "all streams were on the connection that was closed: {cut:#?}");
    hop.envoy.wait_for_count("streams_hop_closed", STREAMS as u64).await;
    assert_eq!(hop.envoy.count("streams_broken_off").await, 0);
    hop.envoy.expect_count("breaker_opened", 0).await;
    // The request without an answer goes on.
    hop.envoy.wait_for_count("attempts_in_flight", 1).await;
    assert!(!waiting.is_finished());
    waiting.abort();
    hop.envoy.wait_until_idle().await;

    // What Envoy says of the ends: those of the clients that left, and those of the hop.
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for line in hop.envoy.read_file("ends.log").lines() {
        *ends.entry(line.to_owned()).or_default() += 1;
    }
    assert_eq!(ends.get("200 - too_many_premature_resets"), Some(&STREAMS), "{ends:?}");
    assert!(ends.contains_key("0 - too_many_premature_resets"), "{ends:?}");
    assert!(ends.get("0 DR http2.remote_reset").is_some_and(|left| *left >= 250), "{ends:?}");
    let records = records::so_far(&hop.envoy);
    let class = |record: &Value| record["attempts"][0]["error.type"] == "hop_closed";
    assert!(records.iter().filter(|record| class(record)).count() >= STREAMS);
    records.iter().for_each(records::check);
}
