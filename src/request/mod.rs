//! Reading a request without holding it.
//!
//! A body passes once, window by window, through [`Scanner`], which checks that it is a JSON object and leaves
//! [`Facts`]: what the request asks for, where its `model` stands, how large it is. [`BodyEdit`] then puts the
//! target's model name, and where it is wanted the wish to be told of usage, into the buffered body, or into the chunks
//! as they pass.
//!
//! What this module refuses to be: a JSON library (it builds no tree and keeps no text but the model's name), a
//! validator of requests (the provider judges what it is asked), and a translator between dialects. It knows the
//! shapes of all endpoints at once and is not told which one it reads: a member that an endpoint does not know is
//! a need all the same, because the provider may yet act on it.
//!
//! The machine underneath, [`Lexer`], is lent out: answers that pass are read with it too.
//!
//! Memory does not depend on the body: a stack of at most [`MAX_DEPTH`] small frames, one string of at most
//! [`MAX_KEPT_BYTES`], at most [`MAX_MODEL_MEMBERS`] and [`MAX_USAGE_SPOTS`] spans, and one window of [`EDIT_WINDOW_BYTES`] while editing.

mod collect;
mod edit;
mod error;
mod facts;
mod lexer;
mod limits;
mod number;
mod plain_run;
mod scan;
mod spot;
#[cfg(test)]
mod tests;
mod text;
mod token;
mod usage_spots;

pub use edit::{BodyBuffer, BodyEdit, EDIT_WINDOW_BYTES, EditError, StreamEditor};
pub use error::ScanError;
pub use facts::{
    Affinity, Facts, MediaParts, ModelField, OutputFormat, Reasoning, StateKind, StateSet, ToolChoice,
    ToolNeeds,
};
pub use lexer::{Lexer, Sink};
pub use limits::{MAX_DEPTH, MAX_MODEL_MEMBERS, MAX_OPENING_TEXTS, MAX_USAGE_SPOTS};
pub use scan::Scanner;
pub use text::{Kept, MAX_KEPT_BYTES, MAX_OPENING_BYTES, Want};
pub use token::{Container, Span, Value};
pub use usage_spots::UsageSpots;
