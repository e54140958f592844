//! The scanner: a body goes in window by window, facts come out.
//!
//! Accepted is what `serde_json` accepts as an object, to the same depth, with three exceptions that would cost time
//! and that the provider judges anyway: the UTF-8 of strings, surrogates without their other half, and the magnitude
//! of numbers. The body goes on unchanged but for the model's name, so nothing is lost by not checking them here.

use super::collect::Collector;
use super::error::ScanError;
use super::facts::Facts;
use super::lexer::Lexer;

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
