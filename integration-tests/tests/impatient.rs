//! Many clients that give up early share the hop of the loop with clients that read long streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use integration_tests::client::{ClientError, Connection, Protocol, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Script, ScriptedProvider};
use serde_json::json;
use tokio::task::JoinSet;

const IMPATIENT_CLIENTS: usize = 70;
const PATIENCE: Duration = Duration::from_millis(150);
const STREAMS: usize = 20;
/// Envoy closes an HTTP/2 connection at 250 early resets. The clients go on until the hop has seen so many.
const RESETS: u64 = 600;
/// Everything stops after this long, whatever the hop has seen.
const BOUND: Duration = Duration::from_secs(20);

/// Reads one stream after the other until `over` is set. Returns how many were whole, and what the first other one was.
async fn read_streams(port: u16, over: Arc<AtomicBool>) -> (usize, Option<String>) {
    let (bound, mut whole) = (Instant::now() + BOUND, 0);
    while !over.load(Ordering::Relaxed) && Instant::now() < bound {
        let read = match Request::chat("steady", true).send(port).await {
            Ok(response) => response.read().await,
            Err(error) => return (whole, Some(error.to_string())),
        };
        if read.error.is_some() || !read.text().ends_with("data: [DONE]\n\n") {
            return (
                whole,
                Some(format!("{} {:?} after {} chunks", read.status, read.error, read.chunks.len())),
            );
        }
        whole += 1;
    }
    (whole, None)
}

/// Asks a target that never answers and gives up, until `over` is set. An HTTP/1.1 client closes its connection each time. An
/// HTTP/2 client resets its stream and keeps its connection, which no other client uses. Returns the answers, of which there
/// should be none.
async fn be_impatient(port: u16, protocol: Protocol, over: Arc<AtomicBool>) -> Vec<String> {
    let bound = Instant::now() + BOUND;
    let mut answers = Vec::new();
    let mut connection = Connection::open(port, protocol).await.unwrap();
    while !over.load(Ordering::Relaxed) && Instant::now() < bound {
        match connection.send(Request::chat("silent", true).patience(PATIENCE)).await {
            Err(ClientError::Silent) => {}
            answer => {
                answers.push(format!("{answer:?}"));
                tokio::time::sleep(PATIENCE).await;
            }
        }
        if protocol == Protocol::Http1 {
            connection = Connection::open(port, protocol).await.unwrap();
        }
    }
    answers
}

async fn start(steady: &ScriptedProvider, silent: &ScriptedProvider) -> Envoy {
    Gateway::new(Shape::Loop)
        .plugin(&json!({
            "providers": {
                "steady": {"kind": "openai-compatible", "cluster": "steady", "host": "steady.test"},
                "silent": {"kind": "openai-compatible", "cluster": "silent", "host": "silent.test"},
            },
            "targets": {
                "steady": {"provider": "steady", "model": "steady-model"},
                "silent": {"provider": "silent", "model": "silent-model"},
            },
            "models": {"steady": {"targets": ["steady"]}, "silent": {"targets": ["silent"]}},
        }))
        .provider("steady", steady.port())
        .provider("silent", silent.port())
        .edit(|config| {
            let hop = config["static_resources"]["clusters"].as_array_mut().unwrap();
            let hop = hop.iter_mut().find(|cluster| cluster["name"] == "loop").unwrap();
            let options = &mut hop["typed_extension_protocol_options"]
                ["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]["common_http_protocol_options"];
            // Otherwise a slow machine would not get 250 resets onto one connection.
            options.as_object_mut().unwrap().remove("max_connection_duration").unwrap();
        })
        .start()
        .await
}

async fn impatient_clients_cut_no_stream(protocol: Protocol) {
    let (steady, silent) = (ScriptedProvider::start("steady").await, ScriptedProvider::start("silent").await);
    // Each stream takes about two seconds.
    steady.by_default(Script::usual().content_chunks(50).delay_chunks(Duration::from_millis(40)));
    silent.by_default(Script::hang());
    let envoy = start(&steady, &silent).await;
    let port = envoy.port();

    let over = Arc::new(AtomicBool::new(false));
    let mut streams = JoinSet::new();
    for _ in 0..STREAMS {
        streams.spawn(read_streams(port, Arc::clone(&over)));
    }
    steady.wait_for(STREAMS, BOUND).await;
    let mut impatient = JoinSet::new();
    for _ in 0..IMPATIENT_CLIENTS {
        impatient.spawn(be_impatient(port, protocol, Arc::clone(&over)));
    }
    let (bound, mut resets) = (Instant::now() + BOUND, 0);
    while resets < RESETS && Instant::now() < bound {
        tokio::time::sleep(Duration::from_millis(50)).await;
        resets = envoy.stat("http.inner.downstream_rq_rx_reset").await.unwrap_or(0);
    }
    over.store(true, Ordering::Relaxed);

    let mut cut = Vec::new();
    while let Some(reader) = streams.join_next().await {
        let (whole, broken) = reader.unwrap();
        assert!(whole > 0 || broken.is_some(), "no stream was read");
        cut.extend(broken);
    }
    assert!(cut.is_empty(), "{} of {STREAMS} clients had a stream cut: {cut:#?}", cut.len());
    while let Some(answers) = impatient.join_next().await {
        assert_eq!(answers.unwrap(), [""; 0], "an open breaker answers what the target does not");
    }
    assert!(resets >= RESETS, "{resets}");
    envoy.wait_for_stat("wasmcustom.llm_failsafe_attempts_in_flight", |attempts| attempts == 0).await;
    for (stat, wanted) in [
        ("wasmcustom.llm_failsafe_breaker_opened", 0),
        ("wasmcustom.llm_failsafe_attempts_failed", 0),
        ("http.inner.downstream_rq_too_many_premature_resets", 0),
    ] {
        assert_eq!(envoy.stat(stat).await.unwrap_or(0), wanted, "{stat}");
    }
    let full = envoy.stat("cluster.loop.upstream_cx_max_requests").await;
    assert!(full.is_some_and(|full| full >= 2), "connections that had all their requests: {full:?}");
}

#[tokio::test]
async fn http1_clients_that_give_up_early_cut_no_stream_of_others() {
    impatient_clients_cut_no_stream(Protocol::Http1).await;
}

#[tokio::test]
async fn http2_clients_that_give_up_early_cut_no_stream_of_others() {
    impatient_clients_cut_no_stream(Protocol::H2c).await;
}
