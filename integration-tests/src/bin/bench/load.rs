//! The clients: a fixed number of keep-alive HTTP/1 connections with one request at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::provider::{Acknowledged, Provider};
use integration_tests::traffic::Workload;

/// The number of connections.
pub const LANES: usize = 8;

/// How long one batch of requests may take. A request that is stepped through takes minutes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(500);

pub struct Load {
    lanes: Vec<Lane>,
}

struct Lane {
    number: usize,
    connection: TcpStream,
    received: Vec<u8>,
    acknowledged: Acknowledged,
}

impl Load {
    pub async fn connect(port: u16, provider: &Provider) -> Self {
        let mut lanes = Vec::new();
        for number in 0..LANES {
            let connection = TcpStream::connect(("127.0.0.1", port)).await.expect("Envoy accepts");
            connection.set_nodelay(true).expect("a TCP option");
            let acknowledged = provider.acknowledged();
            lanes.push(Lane { number, connection, received: Vec::with_capacity(8_192), acknowledged });
        }
        Self { lanes }
    }

    /// Sends this many requests over all connections and reads the responses.
    ///
    /// # Panics
    /// If a response is not what the provider sent, or does not arrive in time.
    pub async fn send(&mut self, workload: Workload, exchanges: usize) {
        let left = Arc::new(AtomicUsize::new(exchanges));
        let mut running = JoinSet::new();
        for mut lane in self.lanes.drain(..) {
            let left = Arc::clone(&left);
            running.spawn(async move {
                let request = workload.request(lane.number);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                    lane.connection.write_all(&request).await.expect("Envoy reads");
                    match workload {
                        Workload::Chat => lane.whole_answer().await,
                        Workload::Stream { chunks } | Workload::Translated { chunks } => {
                            lane.stream(chunks, workload.other_events(), |_| ()).await;
                        }
                    }
                }
                lane
            });
        }
        let answered = tokio::time::timeout(PATIENCE, running.join_all());
        self.lanes = answered.await.expect("responses within the time limit");
    }
}

impl Load {
    /// Sends one streamed request while nothing else is in progress. Returns when each content chunk arrived.
    ///
    /// # Panics
    /// As [`Load::send`].
    pub async fn timed_stream(&mut self, chunks: usize) -> Vec<Duration> {
        let lane = &mut self.lanes[0];
        let workload = Workload::Stream { chunks };
        let request = workload.request(lane.number);
        let mut came = Vec::with_capacity(chunks);
        let sent_at = Instant::now();
        lane.connection.write_all(&request).await.expect("Envoy reads");
        let reading =
            lane.stream(chunks, workload.other_events(), |content| came.resize(content, sent_at.elapsed()));
        tokio::time::timeout(PATIENCE, reading).await.expect("a response within the time limit");
        came
    }
}

impl Lane {
    /// Reads more of the response. Returns where the new part begins.
    async fn more(&mut self) -> usize {
        let before = self.received.len();
        let read = self.connection.read_buf(&mut self.received).await.expect("Envoy writes");
        assert!(read > 0, "Envoy closed within a response");
        before
    }

    fn expect_success(&self) {
        let start = String::from_utf8_lossy(&self.received[..self.received.len().min(400)]).into_owned();
        assert!(start.starts_with("HTTP/1.1 200 "), "not a response: {start}");
    }

    async fn whole_answer(&mut self) {
        self.received.clear();
        loop {
            self.more().await;
            let Some(at) = self.received.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&self.received[..at]);
            let length: Option<usize> =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let whole = at + 4 + length.unwrap_or_else(|| panic!("a response without a length: {head}"));
            if self.received.len() >= whole {
                assert_eq!(self.received.len(), whole, "more than one response");
                return self.expect_success();
            }
        }
    }

    /// Reads a stream and acknowledges each content chunk. Only the end of an event has two line feeds in a row.
    /// `on_content` gets the number of chunks so far.
    async fn stream(&mut self, chunks: usize, others: usize, mut on_content: impl FnMut(usize)) {
        self.received.clear();
        let mut events = 0;
        let mut acknowledged = 0;
        loop {
            let from = self.more().await;
            let new = &self.received[from.saturating_sub(1)..];
            events += new.windows(2).filter(|two| two == b"\n\n").count();
            let content = events.saturating_sub(1).min(chunks);
            if content > acknowledged {
                on_content(content);
            }
            self.acknowledged[self.number].add_permits(content - acknowledged);
            acknowledged = content;
            if events == chunks + others && self.received.ends_with(b"\r\n0\r\n\r\n") {
                return self.expect_success();
            }
        }
    }
}
