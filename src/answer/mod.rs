//! The response on its way to the client: hold and judge it, then read on and guard it.
//!
//! An attempt can be replaced by another one until the first byte goes to the client. This moment is the
//! *commit point*. Each side of it has its own type:
//!
//! - A [`Gatekeeper`] holds a response and reads its beginning. The first bytes decide what it is
//!   (`first_bytes.rs`), and its `Subject` is judged by the rules for that. Each chunk yields a [`Verdict`]:
//!   hold on, commit, or the response is a failure.
//! - [`Gatekeeper::commit`] turns it into a [`Follower`], which reads the rest while it passes. Each chunk
//!   yields a [`ChunkReport`]. The follower also changes what passes: it keeps events whole, removes a
//!   usage event that the client did not ask for, renames the model, and ends a broken stream with an error
//!   event.
//!
//! A chunk of a stream takes this way: [`Follower::chunk`], `StreamFollower::chunk`,
//! `StreamReader::follow`. That hands the bytes to the [`Framer`](crate::stream::Framer) and each event to
//! the [`StreamState`](crate::stream::StreamState), unless the event repeats an earlier one
//! ([`Pattern`](crate::stream::Pattern)). Then `StreamFollower::arrange` leaves in the host's
//! buffer what the client gets. A chunk that ends with a whole event and has nothing to change is read once
//! and not written.
//!
//! This folder knows nothing of retries, breakers, metrics and records. They belong to the caller.

mod buffer;
mod first_bytes;
mod follower;
mod gatekeeper;
mod headers;
mod injected_usage;
mod model_names;
mod moved;
mod plain;
mod rejection;
mod report;
mod stream_follower;
mod stream_reader;
mod subject;
#[cfg(test)]
mod tests;
mod translated;

pub use follower::Follower;
pub use gatekeeper::{Gatekeeper, Terms, Verdict};
pub use headers::{forbid_buffering_of_streams, strip_provider, strip_reserved};
pub use plain::MAX_HELD_PLAIN;
pub use rejection::{Appearance, Rejection};
pub use report::{AnswerFacts, ChunkReport, Release};
pub use stream_follower::{MAX_HELD_EVENT, MAX_PIECE};
pub use translated::{MAX_TRANSLATED_ANSWER, Translate};
