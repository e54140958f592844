//! Scripted model providers: real HTTP servers (HTTP/1.1 and h2c) on 127.0.0.1 that respond like the vendors, or
//! misbehave as scripted.
//!
//! - [`script`]: one response and how it ends
//! - [`answers`]: realistic responses per dialect, the default of a script
//! - [`errors`]: the vendors' error bodies as scripts
//! - [`tool_calls`]: responses that call a tool
//! - `accounts`: conversations that each account keeps for itself
//! - [`Quota`]: a rate limit of the provider's own
//! - `capacity`: how many requests it serves at a time
//! - [`received`]: what a provider saw of a request
//! - [`server`]: the server itself
//!
//! A provider answers every request and records it. Tests make the assertions.

mod accounts;
pub mod answers;
mod capacity;
pub mod errors;
mod quota;
pub mod received;
pub mod script;
mod scripted_body;
pub mod server;
pub mod tool_calls;
mod wire;

pub use capacity::Beyond;
pub use quota::Quota;
pub use received::{Outcome, ReceivedRequest};
pub use script::{Ending, Event, Point, Script};
pub use server::{RefusedPort, ScriptedProvider};
