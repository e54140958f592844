//! Support for tests with a real Envoy: scripted model providers, the Envoy runner, an HTTP client that records when each
//! chunk arrived, and a way to run the clients that users have.
//!
//! Envoy and the filter are always real and never mocked. Everything binds to 127.0.0.1, every wait is bounded, and every
//! process ends when its value is dropped.

pub mod body;
pub mod browser;
pub mod client;
pub mod clock;
pub mod crash;
pub mod envoy;
pub mod gateway;
mod grpc;
pub mod imports;
pub mod module;
pub mod node;
pub mod otlp;
pub mod paths;
pub mod provider;
pub mod python;
pub mod rate_limit;
pub mod raw_http2;
pub mod records;
pub mod scene;
pub mod script;
pub mod tools;
pub mod traffic;
pub mod turns;

/// How long anything that must happen may take. It is only a bound, long enough for a busy machine: tests wait for events.
pub const SOON: std::time::Duration = std::time::Duration::from_secs(60);

/// The SHA-256 digest in hexadecimal, the form of client keys in the configuration.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
