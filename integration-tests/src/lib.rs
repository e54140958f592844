//! What the scenarios against a real Envoy share: scripted model providers, the Envoy runner, an HTTP client that
//! notes when each chunk arrived, and a way to drive the vendors' own Python SDKs.
//!
//! It refuses to be a mock of Envoy or of the filter: both are always the real thing. Everything binds to 127.0.0.1,
//! every wait is bounded, and every process started here ends with the value that stands for it.

pub mod body;
pub mod browser;
pub mod client;
pub mod envoy;
pub mod gateway;
mod grpc;
pub mod otlp;
pub mod paths;
pub mod provider;
pub mod python;
pub mod rate_limit;
pub mod records;
pub mod scene;
pub mod tools;
pub mod turns;

/// How long anything that must happen may take. It is only a bound, long enough for a busy machine: tests wait for events.
pub const SOON: std::time::Duration = std::time::Duration::from_secs(60);

/// The SHA-256 digest in hexadecimal, as the configuration holds client keys.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
