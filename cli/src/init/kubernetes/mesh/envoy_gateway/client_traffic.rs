//! The policy for clients: what of the edge Envoy Gateway has fields for.

use serde_yaml_ng::Value;

use super::super::super::super::yaml;
use super::super::super::fill::fill;
use super::super::parts::{self, Parts};

const POLICY: &str = include_str!("client-traffic.yaml");

/// The policy with the values of the edge.
pub fn text(parts: &Parts) -> String {
    let mut edge = parts.edge.clone();
    let buffer = yaml::flow(&edge["per_connection_buffer_limit_bytes"]);
    let manager = parts::manager(&mut edge);
    let http2 = &manager["http2_protocol_options"];
    let value = |tree: &Value, name: &str| yaml::flow(&tree[name]);
    fill(
        POLICY,
        &[
            ("buffer", buffer),
            ("request", value(manager, "request_timeout")),
            ("stream-idle", value(manager, "stream_idle_timeout")),
            ("idle", value(&manager["common_http_protocol_options"], "idle_timeout")),
            ("streams", value(http2, "max_concurrent_streams")),
            ("stream-window", value(http2, "initial_stream_window_size")),
            ("connection-window", value(http2, "initial_connection_window_size")),
            ("removed", yaml::tree(&removed(manager), 6)),
        ],
    )
}

/// The headers that no client may send.
fn removed(manager: &Value) -> Value {
    let mutations = &manager["early_header_mutation_extensions"][0]["typed_config"]["mutations"];
    let mutations = mutations.as_sequence().map_or(&[][..], Vec::as_slice);
    mutations.iter().map(|mutation| mutation["remove"].clone()).collect()
}
