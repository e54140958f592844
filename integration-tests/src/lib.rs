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
pub mod tools;
