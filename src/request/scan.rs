//! Scans a body window by window and returns its facts.
//!
//! It accepts what `serde_json` accepts as an object, to the same depth, with three exceptions: it does not
//! check the UTF-8 of strings, unpaired surrogates, and the magnitude of numbers. Checking them would cost
//! time, and the provider checks them anyway because the body is forwarded.

use super::collect::{Collector, Tracks};
use super::error::ScanError;
use super::facts::Facts;
use super::lexer::Lexer;

/// Reads a request body window by window without keeping it.
#[derive(Debug)]
pub struct Scanner {
    lexer: Lexer,
    collector: Collector,
    failure: Option<ScanError>,
}

impl Scanner {
    /// A scanner at the start of a body. It notes no references to state.
    pub fn new() -> Self {
        Self { lexer: Lexer::new(), collector: Collector::new(), failure: None }
    }

    /// A scanner that notes only what is needed of a conversation.
    pub fn tracking(tracks: Tracks) -> Self {
        Self { collector: Collector::tracking(tracks), ..Self::new() }
    }

    /// Reads the next window, of any length.
    ///
    /// # Errors
    /// The body cannot become a JSON object any more. Every later call returns the same error.
    pub fn feed(&mut self, window: &[u8]) -> Result<(), ScanError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let read = self.lexer.feed(window, &mut self.collector);
        self.failure = read.err();
        read
    }

    /// Ends the body and returns its facts, once.
    ///
    /// # Errors
    /// The error that [`feed`](Self::feed) returned, [`ScanError::Truncated`] or [`ScanError::Empty`].
    pub fn finish(&mut self) -> Result<Facts, ScanError> {
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
