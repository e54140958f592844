//! Scripted model providers: real HTTP servers (HTTP/1.1 and h2c) on 127.0.0.1 that answer like the vendors do, or
//! misbehave exactly as told.
//!
//! - [`script`]: what one answer does, and how it ends
//! - [`answers`]: realistic answers per dialect, when the script says nothing else
//! - [`errors`]: the vendors' error bodies as scripts
//! - [`Quota`]: a rate limit of the provider's own
//! - [`received`]: what a provider saw of a request
//! - [`server`]: the server itself
//!
//! It refuses to judge: a provider answers whatever it is sent and keeps the record; tests do the asserting.

pub mod answers;
pub mod errors;
mod quota;
pub mod received;
pub mod script;
mod scripted_body;
pub mod server;
mod wire;

pub use quota::Quota;
pub use received::{Outcome, ReceivedRequest};
pub use script::{Ending, Event, Point, Script};
pub use server::{RefusedPort, ScriptedProvider};
