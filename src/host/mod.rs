//! The only place that knows Envoy: callbacks in, effects out.
//!
//! It decides nothing. Each callback reads what the core asks for, hands it over, and carries out the answer. Built for
//! Wasm only; everything else is tested without it.

mod abi;
mod calls;
mod filter;
mod root;
mod store;
mod wire;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| -> Box<dyn proxy_wasm::traits::RootContext> { Box::new(root::Root::new()) });
}}
