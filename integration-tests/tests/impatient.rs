//! Many clients that give up early share the hop of the loop with clients that read long streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::{ClientError, Connection, Protocol, Request};
use integration_tests::raw_http2::{self, RawHttp2};
use tokio::task::JoinSet;

use crate::loaded_hop::{Hop, KEY};

const IMPATIENT_CLIENTS: usize = 100;
const PATIENCE: Duration = Duration::from_millis(150);
/// Envoy closes an HTTP/2 connection at 250 early resets. The clients go on until the hop has seen so many.
const RESETS: u64 = 600;

/// Asks a target that never answers and gives up, until `over` is set. An HTTP/1.1 client closes its connection each time. An
/// HTTP/2 client resets its stream and keeps its connection, which no other client uses. Returns the statuses of answers.
async fn be_impatient(port: u16, protocol: Protocol, key: &str, over: Arc<AtomicBool>) -> Vec<u16> {
    let bound = Instant::now() + SOON;
    let mut answers = Vec::new();
    let mut connection = Connection::open(port, protocol).await.unwrap();
    while !over.load(Ordering::Relaxed) && Instant::now() < bound {
        let request = Request::chat("silent", true).header("authorization", &format!("Bearer {key}"));
        match connection.send(request.patience(PATIENCE)).await {
            Err(ClientError::Silent) => {}
            answer => {
                answers.push(answer.map_or(0, |answer| answer.status.as_u16()));
                tokio::time::sleep(PATIENCE).await;
            }
        }
        if protocol == Protocol::Http1 {
            connection = Connection::open(port, protocol).await.unwrap();
        }
    }
    answers
}

/// In a gateway with keys, a part of the clients has none.
async fn impatient_clients_cut_no_stream(protocol: Protocol, with_keys: bool) {
    let mut hop = Hop::start(with_keys, |_| {}).await;
    let mut impatient = JoinSet::new();
    for client in 0..IMPATIENT_CLIENTS {
        let has_key = !with_keys || client % 3 > 0;
        let (port, over) = (hop.envoy.port(), hop.over());
        let key = if has_key { KEY } else { "sk-made-up" };
        impatient.spawn(async move { (has_key, be_impatient(port, protocol, key, over).await) });
    }
    hop.wait_for_resets(RESETS).await;
    while let Some(answers) = impatient.join_next().await {
        let (has_key, answers) = answers.unwrap();
        if has_key {
            assert_eq!(answers, [0; 0], "an open breaker answers what the target does not");
        } else {
            assert!(answers.iter().all(|status| *status == 401), "{answers:?}");
        }
    }
    hop.assert_unharmed().await;
}

#[tokio::test]
async fn http1_clients_that_give_up_early_cut_no_stream_of_others() {
    impatient_clients_cut_no_stream(Protocol::Http1, true).await;
}

#[tokio::test]
async fn http2_clients_that_give_up_early_cut_no_stream_of_others() {
    impatient_clients_cut_no_stream(Protocol::H2c, false).await;
}

/// The clients of one load balancer share an HTTP/2 connection to the gateway.
#[tokio::test]
async fn impatient_clients_on_one_connection_cut_no_stream_of_others() {
    let mut hop = Hop::start(true, |_| {}).await;
    let (port, over) = (hop.envoy.port(), hop.over());
    let bearer = format!("Bearer {KEY}");
    let impatient = tokio::spawn(async move {
        let bound = Instant::now() + SOON;
        let headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/v1/chat/completions"),
            (":authority", "x"),
            ("authorization", &*bearer),
        ];
        while !over.load(Ordering::Relaxed) && Instant::now() < bound {
            let mut connection = RawHttp2::open(port).await;
            let mut streams = (1..u32::MAX).step_by(2);
            loop {
                let round: Vec<u32> = streams.by_ref().take(IMPATIENT_CLIENTS).collect();
                let ask = |stream: &u32| raw_http2::request(*stream, &headers, br#"{"model":"silent"}"#);
                let goes_on = connection.write(&round.iter().flat_map(ask).collect::<Vec<_>>()).await;
                tokio::time::sleep(PATIENCE).await;
                let resets = round.iter().flat_map(|stream| raw_http2::reset(*stream));
                if !goes_on || !connection.write(&resets.collect::<Vec<_>>()).await {
                    break;
                }
            }
        }
    });
    hop.wait_for_resets(RESETS).await;
    impatient.await.unwrap();
    hop.assert_unharmed().await;
    // The limit of the edge is still there: it closed the connection with the resets, and no other.
    let closed = hop.envoy.stat("http.edge.downstream_rq_too_many_premature_resets").await;
    assert!(closed.is_some_and(|closed| closed >= 1), "{closed:?}");
}
