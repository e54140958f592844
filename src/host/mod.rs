//! The only place that knows Envoy: callbacks in, effects out.
//!
//! It decides nothing about requests. Each callback reads what the core asks for, hands it over, and carries out the
//! step that comes back. Built for Wasm only, except for the files that call nothing of Envoy: those have unit tests.

#[cfg(target_family = "wasm")]
mod abi;
#[cfg(target_family = "wasm")]
mod calls;
#[cfg(target_family = "wasm")]
mod clock;
mod failure;
#[cfg(target_family = "wasm")]
mod filter;
mod logger;
#[cfg(target_family = "wasm")]
mod metrics;
#[cfg(target_family = "wasm")]
mod root;
#[cfg(target_family = "wasm")]
mod shared;
#[cfg(target_family = "wasm")]
mod store;
#[cfg(target_family = "wasm")]
mod stream;
mod waiting;
#[cfg(target_family = "wasm")]
mod wire;

#[cfg(target_family = "wasm")]
proxy_wasm::main! {{
    root::start_logging();
    proxy_wasm::set_root_context(|_| -> Box<dyn proxy_wasm::traits::RootContext> { Box::new(root::Root::new()) });
}}
