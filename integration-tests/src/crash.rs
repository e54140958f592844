//! A crash of the filter's VM at the moment that a test chooses. The filter has no way to crash on request, so its callback for
//! request trailers, which clients of models do not send, is replaced by a trap.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::envoy::Envoy;
use crate::gateway::connection_manager;
use crate::raw_http2::{self, RawHttp2};
use crate::{module, paths};

const CALLBACK: &str = "proxy_on_request_trailers";

/// The filter whose VM a request with trailers crashes. The file is removed when dropped.
///
/// # Panics
/// If the filter has not been built.
pub fn crashing_module() -> NamedTempFile {
    let mut bytes = std::fs::read(paths::wasm()).expect("the filter's module");
    module::trap(&mut bytes, CALLBACK);
    let file = NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("the module is written");
    file
}

/// Uses a module instead of the filter, in a listener as in [`connection_manager`].
///
/// # Panics
/// If the filter is not in this listener.
pub fn use_module(config: &mut Value, listener: usize, module: &Path) {
    let filters = connection_manager(config, listener)["http_filters"].as_array_mut().expect("HTTP filters");
    let filter = filters.iter_mut().find(|filter| filter["name"] == "llm-failsafe").expect("the filter");
    filter["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"] = json!(module);
}

/// Crashes the VM of a worker, and leaves as soon as Envoy has reported that. Returns whether it has within this time: a worker
/// whose VM has just crashed has none that could crash.
pub async fn crash(envoy: &Envoy, within: Duration) -> bool {
    let mut read_to = envoy.log_length();
    let mut connection = RawHttp2::open(envoy.port()).await;
    let headers =
        [(":method", "POST"), (":scheme", "http"), (":path", "/v1/chat/completions"), (":authority", "x")];
    let body = br#"{"model":"chat","messages":[]}"#;
    connection.write(&raw_http2::request_with_trailers(1, &headers, body, &[("x-crash", "1")])).await;
    let deadline = Instant::now() + within;
    let (mut log, failed) = (String::new(), format!("{CALLBACK} failed"));
    loop {
        log.push_str(&envoy.log_from(&mut read_to));
        if log.contains(&failed) || Instant::now() > deadline {
            return log.contains(&failed);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
