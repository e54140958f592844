//! One line of the report.

use std::fmt;

/// What the doctor says about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How bad it is.
    pub kind: Kind,
    /// What was seen.
    text: String,
    /// What to do.
    advice: Option<String>,
    /// The part of the documentation that says more.
    page: Option<&'static str>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As it should be.
    Good,
    /// Worth knowing.
    Hint,
    /// Requests fail, or soon may.
    Problem,
    /// It was not asked for.
    Unchecked,
}

impl Note {
    const fn new(kind: Kind, text: String) -> Self {
        Self { kind, text, advice: None, page: None }
    }

    /// As it should be.
    pub fn good(text: impl Into<String>) -> Self {
        Self::new(Kind::Good, text.into())
    }

    /// Worth knowing.
    pub fn hint(text: impl Into<String>) -> Self {
        Self::new(Kind::Hint, text.into())
    }

    /// Requests fail, or soon may.
    pub fn problem(text: impl Into<String>) -> Self {
        Self::new(Kind::Problem, text.into())
    }

    /// It was not asked for.
    pub fn unchecked(text: impl Into<String>) -> Self {
        Self::new(Kind::Unchecked, text.into())
    }

    /// With what to do.
    #[must_use]
    pub fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// With the part of the documentation that says more.
    #[must_use]
    pub fn see(self, page: &'static str) -> Self {
        Self { page: Some(page), ..self }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Good => "good",
            Kind::Hint => "hint",
            Kind::Problem => "PROBLEM",
            Kind::Unchecked => "not checked",
        };
        write!(f, "  {kind}: {}", plain(&self.text))?;
        if let Some(advice) = &self.advice {
            write!(f, "\n    do: {}", plain(advice))?;
        }
        if let Some(page) = self.page {
            write!(f, "\n    see: {page}")?;
        }
        Ok(())
    }
}

/// Text from a server may hold characters that a terminal obeys.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_sends_cannot_steer_the_terminal() {
        let note = Note::problem("it says \u{1b}[2J\nfake: good").advise("x").see("docs/runbook.md");
        assert_eq!(
            note.to_string(),
            "  PROBLEM: it says  [2J fake: good\n    do: x\n    see: docs/runbook.md"
        );
    }
}
