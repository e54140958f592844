//! The hop of the loop, with clients that read long streams and must not notice what others do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::Request;
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Script, ScriptedProvider};
use integration_tests::scene::Scene;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use integration_tests::sha256;

/// A client key of the gateway, if it has keys.
pub const KEY: &str = "sk-team";
/// How many clients read streams.
pub const STREAMS: usize = 50;

/// A gateway with the models `steady`, whose streams take two seconds, and `silent`, which never answers.
pub struct Hop {
    pub envoy: Envoy,
    over: Arc<AtomicBool>,
    readers: JoinSet<(usize, Option<String>)>,
    // Dropped at the end of the test.
    _providers: [ScriptedProvider; 2],
}

impl Hop {
    /// Starts it, and the clients that read streams.
    pub async fn start(with_keys: bool, edit: impl FnOnce(&mut Value)) -> Self {
        let mut plugin = json!({
            "providers": {"steady": compatible("steady"), "silent": compatible("silent")},
            "targets": {
                "steady": {"provider": "steady", "model": "steady-model"},
                "silent": {"provider": "silent", "model": "silent-model"},
            },
            "models": {"steady": {"targets": ["steady"]}, "silent": {"targets": ["silent"]}},
        });
        if with_keys {
            plugin["keys"] = json!({"team": {"sha256": sha256(KEY)}});
        }
        let gateway = Gateway::new(Shape::Loop).plugin(&plugin).edit(|config| {
            // Otherwise a slow machine would not get enough resets onto one connection.
            hop_limits(config).as_object_mut().unwrap().remove("max_connection_duration").unwrap();
            edit(config);
        });
        let Scene { envoy, providers, .. } = gateway.start_with(["steady", "silent"]).await;
        let [steady, silent] = &providers;
        steady.by_default(Script::usual().content_chunks(50).delay_chunks(Duration::from_millis(40)));
        silent.by_default(Script::hang());
        let over = Arc::new(AtomicBool::new(false));
        let mut readers = JoinSet::new();
        for _ in 0..STREAMS {
            readers.spawn(read_streams(envoy.port(), Arc::clone(&over)));
        }
        steady.wait_for(STREAMS, SOON).await;
        Self { envoy, over, readers, _providers: providers }
    }

    /// Set when the other clients are to stop.
    pub fn over(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.over)
    }

    /// Waits until the hop has seen so many streams that were reset, and lets all clients stop.
    pub async fn wait_for_resets(&self, wanted: u64) {
        let (bound, mut resets) = (Instant::now() + SOON, 0);
        while resets < wanted && Instant::now() < bound {
            tokio::time::sleep(Duration::from_millis(50)).await;
            resets = self.envoy.stat("http.inner.downstream_rq_rx_reset").await.unwrap_or(0);
        }
        self.over.store(true, Ordering::Relaxed);
        assert!(resets >= wanted, "{resets}");
    }

    /// How many streams were read whole, and what the others came to.
    pub async fn streams(&mut self) -> (usize, Vec<String>) {
        let (mut whole, mut cut) = (0, Vec::new());
        while let Some(reader) = self.readers.join_next().await {
            let (read, broken) = reader.unwrap();
            whole += read;
            cut.extend(broken);
        }
        (whole, cut)
    }

    /// Checks that every stream was whole, that the hop was closed by no limit, and that no target was blamed.
    pub async fn assert_unharmed(&mut self) {
        let (whole, cut) = self.streams().await;
        assert!(cut.is_empty(), "{} of {STREAMS} clients had a stream cut: {cut:#?}", cut.len());
        assert!(whole >= STREAMS, "{whole} streams were read");
        self.envoy.wait_until_idle().await;
        self.envoy.expect_count("breaker_opened", 0).await;
        self.envoy.expect_count("attempts_failed", 0).await;
        let premature = self.envoy.stat("http.inner.downstream_rq_too_many_premature_resets").await;
        assert_eq!(premature.unwrap_or(0), 0);
        let full = self.envoy.stat("cluster.loop.upstream_cx_max_requests").await;
        assert!(full.is_some_and(|full| full >= 2), "connections that had all their requests: {full:?}");
    }
}

/// The limits of the hop's connections.
pub fn hop_limits(config: &mut Value) -> &mut Value {
    let clusters = config["static_resources"]["clusters"].as_array_mut().unwrap();
    let hop = clusters.iter_mut().find(|cluster| cluster["name"] == "loop").unwrap();
    &mut hop["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]["common_http_protocol_options"]
}

/// Reads one stream after the other until `over` is set. Returns how many were whole, and what the first other one was.
async fn read_streams(port: u16, over: Arc<AtomicBool>) -> (usize, Option<String>) {
    let (bound, mut whole) = (Instant::now() + SOON, 0);
    while !over.load(Ordering::Relaxed) && Instant::now() < bound {
        let request = Request::chat("steady", true).header("authorization", &format!("Bearer {KEY}"));
        let read = match request.send(port).await {
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
