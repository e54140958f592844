//! The gateway: providers of four kinds, models of three dialects, short time limits, and a module that can crash.

use std::path::Path;

use integration_tests::crash::use_module;
use integration_tests::gateway::{Gateway, Shape, connection_manager};
use serde_json::{Value, json};

/// The scripted providers. Each is behind the cluster of its own name.
pub const PROVIDERS: [&str; 4] = ["alpha", "beta", "gamma", "delta"];

/// The targets, each alone in a model of its own name, so that the quiet phase can ask them one by one.
pub const TARGETS: [&str; 5] = ["gpt", "claude", "large", "local", "relay"];

/// How many requests may be at the target `local`.
pub const MAX_PENDING: usize = 4;

/// Longer than every silence that the filter allows. After a crash, Envoy ends by it what waits for nothing.
const INNER_IDLE: &str = "5s";

fn plugin() -> Value {
    let provider = |kind: &str, cluster: &str| json!({"kind": kind, "cluster": cluster, "host": format!("{cluster}.test")});
    let mut plugin = json!({
        "providers": {
            "openai": provider("openai", "alpha"),
            "anthropic": provider("anthropic", "beta"),
            "mistral": provider("mistral", "gamma"),
            "local": provider("openai-compatible", "delta"),
            "relay": provider("anthropic", "delta"),
        },
        "targets": {
            "gpt": {"provider": "openai", "model": "gpt-model"},
            "claude": {"provider": "anthropic", "model": "claude-model"},
            "large": {"provider": "mistral", "model": "large-model"},
            "local": {"provider": "local", "model": "local-model", "limits": {"max_pending": MAX_PENDING}},
            "relay": {"provider": "relay", "model": "relay-model"},
        },
        "models": {
            "chat": {"tiers": [["gpt", "large"], ["claude", "local"]]},
            "busy": {"targets": ["local"], "retry": {"queue": {"max_wait": "2s"}}},
            "messages": {"tiers": [["claude"], ["relay"]]},
            "responses": {"tiers": [["gpt"], ["local"]]},
        },
        "breaker": {
            "open": "500ms", "open_max": "1s", "block": "1s", "block_max": "1s", "probe_lease": "4s", "slow_start": "1s",
        },
        "retry_budget": {"ratio": 1},
    });
    for target in TARGETS {
        plugin["models"][target] = json!({"targets": [target], "retry": {"attempts": 1}});
    }
    for (_, model) in plugin["models"].as_object_mut().unwrap() {
        model["stream"] = json!({"first_content": "1s", "idle": "1s", "content_idle": "2s", "answer": "2s", "linger": "500ms"});
        model["retry"]["retry_after_cap"] = json!("1s");
    }
    plugin
}

/// The gateway with this module in place of the filter.
pub fn gateway(module: &Path, ports: &[u16]) -> Gateway {
    let gateway = Gateway::new(Shape::Loop).plugin(&plugin()).edit(|config| {
        connection_manager(config, 1)["stream_idle_timeout"] = json!(INNER_IDLE);
        use_module(config, 1, module);
    });
    let gateway =
        PROVIDERS.iter().zip(ports).fold(gateway, |gateway, (name, port)| gateway.provider(name, *port));
    gateway.concurrency(2).reloadable()
}

/// Another configuration with the same names.
pub fn changed(gateway: &Gateway, weight: u64) -> Gateway {
    gateway.clone().configure(&json!({"targets": {"gpt": {"weight": weight}}}))
}

/// A configuration that the filter must reject.
pub fn mistaken(gateway: &Gateway) -> Gateway {
    gateway.clone().configure(&json!({"models": {"chat": {"tiers": [["nowhere"]]}}}))
}
