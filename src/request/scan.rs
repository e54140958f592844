//! The scanner: a body goes in window by window, facts come out.
//!
//! Accepted is what `serde_json` accepts as an object, to the same depth, with three exceptions that would cost time
//! and that the provider judges anyway: the UTF-8 of strings, surrogates without their other half, and the magnitude
//! of numbers. The body goes on unchanged but for the model's name, so nothing is lost by not checking them here.

use super::collect::Collector;
use super::facts::Facts;
use super::lexer::Lexer;

/// Why a body is not taken. Offsets count bytes from the start of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// There is nothing but white space.
    #[error("the body is empty, a JSON object was expected")]
    Empty,
    /// The body is not JSON.
    #[error("the body is not JSON: expected {expected} at byte {offset}")]
    NotJson {
        /// Where the first wrong byte stands.
        offset: usize,
        /// What could have stood there.
        expected: &'static str,
    },
    /// The body ends inside its object.
    #[error("the body ends in the middle of its JSON object, after {offset} bytes")]
    Truncated {
        /// The length of what came.
        offset: usize,
    },
    /// The body is another JSON value than an object.
    #[error("the body is JSON but not an object, at byte {offset}")]
    NotAnObject {
        /// Where the value begins.
        offset: usize,
    },
    /// Objects and arrays are nested more than [`MAX_DEPTH`](super::MAX_DEPTH) deep.
    #[error("the body nests objects and arrays more than {} deep, at byte {offset}", super::MAX_DEPTH)]
    TooDeep {
        /// Where the first one too many begins.
        offset: usize,
    },
    /// The member `model` is repeated more than [`MAX_MODEL_MEMBERS`](super::MAX_MODEL_MEMBERS) times.
    #[error("the body has more than {} members named model, at byte {offset}", super::MAX_MODEL_MEMBERS)]
    TooManyModels {
        /// Where the value of the first one too many begins.
        offset: usize,
    },
}

/// Reads a request body window by window and keeps none of it.
#[derive(Debug)]
pub struct Scanner {
    lexer: Lexer,
    collector: Collector,
    failure: Option<ScanError>,
}

impl Scanner {
    /// A scanner before the first byte.
    pub fn new() -> Self {
        Self { lexer: Lexer::new(), collector: Collector::new(), failure: None }
    }

    /// One that does not hash the beginnings of conversations, which would be much of its work.
    pub fn blind_to_conversations() -> Self {
        Self { collector: Collector::blind_to_conversations(), ..Self::new() }
    }

    /// Reads the next window, of any length, also none.
    ///
    /// # Errors
    /// As soon as the body cannot become a JSON object any more; every later call gives the same error.
    pub fn feed(&mut self, window: &[u8]) -> Result<(), ScanError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let read = self.lexer.feed(window, &mut self.collector);
        self.failure = read.err();
        read
    }

    /// Ends the body.
    ///
    /// # Errors
    /// The error that [`feed`](Self::feed) gave, or [`ScanError::Truncated`] or [`ScanError::Empty`].
    pub fn finish(self) -> Result<Facts, ScanError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let body_bytes = self.lexer.finish()?;
        Ok(self.collector.finish(body_bytes))
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}
