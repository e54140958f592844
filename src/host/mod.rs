//! The only place that knows Envoy: callbacks in, effects out.
//!
//! It decides nothing about requests. Each callback reads what the core asks for, hands it over, and carries out the
//! step that comes back. Built for Wasm only, except for the files that call nothing of Envoy: those have unit tests.

#[cfg(target_family = "wasm")]
mod abi;
#[cfg(target_family = "wasm")]
#[cfg(target_family = "wasm")]
mod clock;
#[cfg(target_family = "wasm")]
mod dispatch;
mod failure;
#[cfg(target_family = "wasm")]
mod filter;
mod logger;
#[cfg(target_family = "wasm")]
mod metrics;
mod pool;
#[cfg(target_family = "wasm")]
mod root;
#[cfg(target_family = "wasm")]
mod shared;
#[cfg(target_family = "wasm")]
mod store;
#[cfg(target_family = "wasm")]
mod stream;
mod streams;
#[cfg(target_family = "wasm")]
mod wire;
