//! What a check finds.

use std::fmt;

/// What a check finds at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The place: a path in the Envoy file or in the filter's configuration.
    pub path: String,
    /// What is wrong there.
    pub problem: String,
    /// The line to write instead, if there is one.
    pub line: Option<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Envoy does not start, or requests fail.
    Mistake,
    /// It works, but probably not as intended.
    Warning,
    /// The file does not say whether it is right.
    Unknown,
}

impl Finding {
    /// A mistake.
    pub fn mistake(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { severity: Severity::Mistake, path: path.into(), problem: problem.into(), line: None }
    }

    /// A warning.
    pub fn warning(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::mistake(path, problem) }
    }

    /// What cannot be judged.
    pub fn unknown(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { severity: Severity::Unknown, ..Self::mistake(path, problem) }
    }

    /// With the line to write.
    #[must_use]
    pub fn write(self, line: impl Into<String>) -> Self {
        Self { line: Some(line.into()), ..self }
    }
}

/// One line, and a second one with what to write.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)?;
        match &self.line {
            Some(line) => write!(f, "\n    write: {line}"),
            None => Ok(()),
        }
    }
}
