//! Reads a request body without keeping it, and edits it.
//!
//! A body passes once, window by window, through [`Scanner`]. It checks that the body is a JSON object and
//! produces [`Facts`]: what the request asks for, where its `model` is, how large it is. [`BodyEdit`] then
//! writes the target's model name, and optionally a request for usage, into the buffered body or into the
//! chunks as they pass.
//!
//! This module is deliberately none of these:
//! - a JSON library: it builds no tree and keeps no text but the model's name;
//! - a validator of requests: that is the provider's task;
//! - a translator between dialects.
//!
//! It knows the shapes of all endpoints at once and does not need to know which one it reads. A member that
//! an endpoint does not define still counts as a need, because the provider may act on it.
//!
//! `stream` also uses the state machine, [`Lexer`], to read responses.
//!
//! Memory does not depend on the body: a stack of at most [`MAX_DEPTH`] small frames, one string of at most
//! [`MAX_KEPT_BYTES`], at most [`MAX_MODEL_MEMBERS`], [`MAX_USAGE_SPOTS`] and [`MAX_SEALED_ITEMS`] spans, and
//! one window of [`EDIT_WINDOW_BYTES`] while editing.

mod collect;
mod edit;
mod error;
mod facts;
mod lexer;
mod limits;
mod number;
mod plain_run;
mod references;
mod scan;
mod spot;
#[cfg(any(test, feature = "test-support"))]
pub mod test_support;
#[cfg(test)]
mod tests;
mod text;
mod token;
mod usage_spots;

// So that paths are the same in every crate of `src`.
use crate as request;
use llm_failsafe_base as base;

pub use collect::Tracks;
pub use edit::{BodyBuffer, BodyEdit, EDIT_WINDOW_BYTES, EditError, StreamEditor};
pub use error::ScanError;
pub use facts::{
    Affinity, Facts, MediaParts, ModelField, OutputFormat, OwnRouting, Reasoning, StateKind, StateSet,
    ToolChoice, ToolNeeds,
};
pub use lexer::{Lexer, Sink};
pub use limits::{
    MAX_DEPTH, MAX_ITEM_REFERENCES, MAX_MODEL_MEMBERS, MAX_NAMED_REFERENCES, MAX_OPENING_TEXTS,
    MAX_SEALED_ITEMS, MAX_USAGE_SPOTS,
};
pub use plain_run::plain_run;
pub use references::References;
pub use scan::Scanner;
pub use text::{Kept, MAX_KEPT_BYTES, MAX_OPENING_BYTES, Want};
pub use token::{Container, Span, Value};
pub use usage_spots::UsageSpots;
