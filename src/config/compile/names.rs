use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::model_names::{MAX_MODEL_NAME, is_model_name, pattern};
use crate::config::nearest::hint;
use crate::config::raw::Section;

/// The longest name of anything but a model, in bytes.
const MAX_PLAIN: usize = 64;

/// Which names a section allows. Names are used in headers, metric labels and records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameRule {
    /// Names that are used only in this configuration.
    Plain,
    /// Names of logical models, because clients use model names such as `meta-llama/llama-3.1:free`.
    Model,
}

impl NameRule {
    pub(super) const fn expected(self) -> &'static str {
        match self {
            Self::Plain => "a name is 1 to 64 letters, digits, `_` or `-`, the first a letter or digit",
            Self::Model => {
                "a model's name is 1 to 128 letters, digits, `_`, `-`, `.`, `:`, `/` or `@`, the first a letter or \
                 digit; a pattern has a `*` at its end"
            }
        }
    }

    fn allows(self, name: &str) -> bool {
        match self {
            Self::Plain => {
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
                name.len() <= MAX_PLAIN
                    && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
                    && name.bytes().all(allowed)
            }
            Self::Model => match pattern(name) {
                Some(beginning) => {
                    (beginning.is_empty() || is_model_name(beginning)) && name.len() <= MAX_MODEL_NAME
                }
                None => is_model_name(name),
            },
        }
    }
}

/// The names of one section, for references to its entries.
pub(super) struct Names<'a> {
    /// What an entry is called in messages.
    entry: &'static str,
    /// The sorted names; `None` if the section itself is a mistake, so that its names are unknown.
    known: Option<Vec<&'a str>>,
}

impl<'a> Names<'a> {
    /// The names of the top-level section `name`. Adds a mistake for too many names and for each that breaks
    /// `rule`.
    pub(super) fn of<T>(
        entry: &'static str,
        name: &str,
        section: &'a Option<Section<T>>,
        max: usize,
        rule: NameRule,
        mistakes: &mut Mistakes,
    ) -> Self {
        Self::within(entry, &Trail::Root.field(name), section, max, rule, mistakes)
    }

    /// Like [`of`](Self::of), for a section at the path `at`.
    pub(super) fn within<T>(
        entry: &'static str,
        at: &Trail<'_>,
        section: &'a Option<Section<T>>,
        max: usize,
        rule: NameRule,
        mistakes: &mut Mistakes,
    ) -> Self {
        if mistakes.holds(at) {
            return Self { entry, known: None };
        }
        let known: Vec<&str> = section.iter().flatten().map(|(name, _)| name.as_str()).collect();
        if known.len() > max {
            mistakes.add(at, format!("has {} entries, at most {max} are allowed", known.len()));
        }
        for name in known.iter().filter(|name| !rule.allows(name)) {
            mistakes.add(&at.field(name), rule.expected());
        }
        Self { entry, known: Some(known) }
    }

    /// The position of the entry `name`. Adds a mistake with the nearest known name if there is no such
    /// entry.
    pub(super) fn find(&self, name: &str, at: &Trail<'_>, mistakes: &mut Mistakes) -> Option<usize> {
        let known = self.known.as_ref()?;
        let position = known.binary_search(&name).ok();
        if position.is_none() {
            mistakes.add_with(at, || {
                format!("no {} is called `{}`{}", self.entry, shown(name), hint(name, known.iter().copied()))
            });
        }
        position
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.known.as_ref().is_some_and(|known| known.binary_search(&name).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_only_characters_that_are_safe_in_headers_and_labels() {
        for name in ["a", "A-1_b", "0", &"x".repeat(64)] {
            assert!(NameRule::Plain.allows(name), "{name}");
        }
        for name in ["", "-a", "_a", "a b", "a.b", "ä", "a\n", &"x".repeat(65)] {
            assert!(!NameRule::Plain.allows(name), "{name}");
        }
        for name in ["gpt-4.1", "meta/llama:free", "a@b", &"x".repeat(128), "*", "openai/*", "gpt-*"] {
            assert!(NameRule::Model.allows(name), "{name}");
        }
        let long_pattern = format!("{}*", "x".repeat(128));
        for name in
            ["", ".a", "a b", "a\"b", "a\\b", &"x".repeat(129), "**", "*a", "a*b", "/*", &long_pattern]
        {
            assert!(!NameRule::Model.allows(name), "{name}");
        }
    }
}
