//! Why the program failed.

use std::fmt;

/// Why the program failed, in words for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// A file, the configuration or the request is wrong.
    Input(String),
    /// A report that was asked for, on something that has problems. It goes to standard output.
    Problems(String),
}

impl Failure {
    /// The program's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Input(_) | Self::Problems(_) => 1,
            Self::Usage(_) => 2,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Input(text) | Self::Problems(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Failure {}
