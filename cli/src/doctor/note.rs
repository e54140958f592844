//! One line of the report.

use std::fmt;

/// What the doctor says about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How bad it is.
    pub kind: Kind,
    /// What was seen; what is missing, if it is unchecked.
    pub text: String,
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
    /// It was not looked at.
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

    /// It was not looked at. The text names what, and the last line of the report repeats it.
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

/// The last line of the report.
pub fn verdict(notes: &[Note]) -> String {
    let problems = notes.iter().filter(|note| note.kind == Kind::Problem).count();
    let unchecked = notes.iter().filter(|note| note.kind == Kind::Unchecked);
    let unchecked: Vec<_> = unchecked.map(|note| plain(&note.text)).collect();
    match (problems, unchecked.as_slice()) {
        (0, []) => "no problems".to_owned(),
        (0, unchecked) => format!("nothing found; not checked: {}", unchecked.join("; ")),
        (1, _) => "1 problem".to_owned(),
        (count, _) => format!("{count} problems"),
    }
}

/// Text from a server may hold characters that a terminal obeys, or that nobody sees. Control characters become spaces, and
/// others that cannot be printed are shown as escapes: those that reverse the direction of writing, for example.
fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' | '\'' | '\\' => shown.push(letter),
            letter if letter.is_control() => shown.push(' '),
            letter => shown.extend(letter.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_report_on_everything_says_that_there_are_no_problems() {
        let (good, problem) = (Note::good("x"), Note::problem("x"));
        let missing = ["the state of targets", "counters"].map(|what| Note::unchecked(what).advise("y"));
        let said = |notes: &[&Note]| verdict(&notes.iter().map(|it| (*it).clone()).collect::<Vec<_>>());
        assert_eq!(said(&[&good]), "no problems");
        assert_eq!(
            said(&[&good, &missing[0], &missing[1]]),
            "nothing found; not checked: the state of targets; counters"
        );
        assert_eq!(said(&[&problem, &missing[0]]), "1 problem");
        assert_eq!(said(&[&problem, &problem]), "2 problems");
    }

    #[test]
    fn what_a_server_sends_cannot_steer_the_terminal() {
        let note = Note::problem("it says \u{1b}[2J\nfake: good").advise("x").see("docs/runbook.md");
        assert_eq!(
            note.to_string(),
            "  PROBLEM: it says  [2J fake: good\n    do: x\n    see: docs/runbook.md"
        );
        let note = Note::good("a\u{202e}b\u{2066}c\u{200b}d\u{feff}e \"f\" 'g' h\\ é 模型 \u{9b}");
        assert_eq!(
            note.to_string(),
            "  good: a\\u{202e}b\\u{2066}c\\u{200b}d\\u{feff}e \"f\" 'g' h\\ é 模型  "
        );
    }
}
