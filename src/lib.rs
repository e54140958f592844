//! llm-failsafe: an Envoy filter that makes calls to language models dependable.

pub mod balance;
pub mod base;
pub mod breaker;
pub mod config;
pub mod fallback;
#[cfg(any(target_family = "wasm", test))]
mod host;
pub mod journey;
pub mod provider;
pub mod record;
pub mod request;
pub mod retry;
pub mod stream;
pub mod tenancy;
