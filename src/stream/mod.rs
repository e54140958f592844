//! SSE framing, what a stream's events mean in each dialect, what answers took, and what of an answer takes too long.
//!
//! Bytes become events in [`Framer`]; events become meanings in [`StreamState`]; of an answer that is no stream,
//! [`AnswerReader`] reads what is not text, and [`ModelFinder`] where any of them names its model. None of them keeps any of the text or knows the time. [`Watch`] holds the clocks of one attempt, [`Deadlines`] says which of a worker's streams to look at when;
//! the time is an argument to both. None of them decides what to do about what it finds.

mod chat;
mod deadlines;
mod dialect;
mod event;
mod framer;
mod gemini;
#[cfg(test)]
mod idle_tests;
mod keep_alive;
mod meaning;
mod messages;
mod minimum_rate;
mod model_name;
mod notice;
mod plain;
#[cfg(test)]
mod plain_tests;
mod responses;
#[cfg(test)]
mod samples;
mod usage;
mod watch;

pub use deadlines::Deadlines;
pub use dialect::{StreamDialect, StreamFacts, StreamState};
pub use event::{Event, Form};
pub use framer::{Framer, KEPT_CAPACITY, MAX_EVENT, MAX_NAME};
pub use keep_alive::{KeepAlive, keep_alive};
pub use meaning::{EventFailure, FinishReason, Meaning, StreamEnding, Terminal};
pub use model_name::{MAX_MODEL_NAME, MAX_MODEL_NAMES, ModelFinder};
pub use notice::notice;
pub use plain::AnswerReader;
pub use usage::{MAX_TOKENS, Usage};
pub use watch::{Alarm, Watch};
