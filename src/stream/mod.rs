//! Reads responses as they pass: SSE framing, the meaning of events in each dialect, token usage, model
//! names, and the clocks of an attempt.
//!
//! [`Framer`] turns bytes into events and [`StreamState`] turns events into meanings. [`Pattern`] spares both
//! for events that repeat an earlier one. [`AnswerReader`] reads
//! the usage of a response that is not a stream. [`ModelFinder`] finds where a response names its model. None
//! of them keeps text or knows the time. [`Watch`] holds the clocks of one attempt, and [`Deadlines`] says
//! when to check which stream of a worker. Both get the time as an argument.
//!
//! The folder changes no byte and does not decide how to react.

mod chat;
mod deadlines;
mod dialect;
mod event;
mod framer;
mod gemini;
#[cfg(test)]
mod idle_tests;
mod keep_alive;
mod made;
mod meaning;
mod media;
mod messages;
mod minimum_rate;
mod model_name;
mod notice;
mod pattern;
mod plain;
#[cfg(test)]
mod plain_tests;
mod responses;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod usage_tests;
mod watch;

pub use crate::base::FinishReason;
pub use crate::base::usage::{MAX_TOKENS, Usage};
pub use deadlines::Deadlines;
pub use dialect::{StreamDialect, StreamFacts, StreamState};
pub use event::{Event, Form};
pub use framer::{Framer, KEPT_CAPACITY, MAX_EVENT, MAX_NAME};
pub use keep_alive::{KeepAlive, keep_alive};
pub use made::Made;
pub use meaning::{EventFailure, MAX_CHOICES, Meaning, StreamEnding, Substance, Terminal};
pub use model_name::{MAX_MODEL_NAME, MAX_MODEL_NAMES, ModelFinder};
pub use notice::notice;
pub use pattern::{MAX_FREE_VALUES, MAX_IN_VAIN, MAX_PATTERN, Pattern};
pub use plain::{AnswerReader, PlainEnding};
pub use watch::{Alarm, FINISH_GRACE, Watch};
