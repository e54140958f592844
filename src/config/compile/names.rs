use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::nearest::hint;
use crate::config::raw::Section;

/// What names of a section may look like. They end up in headers, metric labels and records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameRule {
    /// Names that only this configuration uses.
    Plain,
    /// Names of logical models: clients know models by names such as `meta-llama/llama-3.1:free`.
    Model,
}

impl NameRule {
    const fn max_length(self) -> usize {
        match self {
            Self::Plain => 64,
            Self::Model => 128,
        }
    }

    const fn extra_characters(self) -> &'static [u8] {
        match self {
            Self::Plain => b"_-",
            Self::Model => b"_-.:/@",
        }
    }

    const fn expected(self) -> &'static str {
        match self {
            Self::Plain => "a name is 1 to 64 letters, digits, `_` or `-`, the first a letter or digit",
            Self::Model => {
                "a model's name is 1 to 128 letters, digits, `_`, `-`, `.`, `:`, `/` or `@`, the first a letter \
                 or digit"
            }
        }
    }

    fn allows(self, name: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || self.extra_characters().contains(&byte);
        name.len() <= self.max_length()
            && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
            && name.bytes().all(allowed)
    }
}

/// The names of one section, by which others refer to its entries.
pub(super) struct Names<'a> {
    /// What an entry is called in messages.
    entry: &'static str,
    /// Sorted; `None` when the section itself is a mistake, and nobody can know what its names were meant to
    /// be.
    known: Option<Vec<&'a str>>,
}

impl<'a> Names<'a> {
    /// The names of the section called `name`, after noting too many of them and those that break `rule`.
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

    /// The same for a section that stands at `at`.
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
            mistakes.add(at, format!("has {} entries, at most {max} are taken", known.len()));
        }
        for name in known.iter().filter(|name| !rule.allows(name)) {
            mistakes.add(&at.field(name), rule.expected());
        }
        Self { entry, known: Some(known) }
    }

    /// The place of the entry called `name`; one that is not there is noted, with the nearest name that is.
    pub(super) fn find(&self, name: &str, at: &Trail<'_>, mistakes: &mut Mistakes) -> Option<usize> {
        let known = self.known.as_ref()?;
        let place = known.binary_search(&name).ok();
        if place.is_none() {
            mistakes.add_with(at, || {
                format!("no {} is called `{}`{}", self.entry, shown(name), hint(name, known.iter().copied()))
            });
        }
        place
    }

    /// Whether there is an entry called `name`.
    pub(super) fn contain(&self, name: &str) -> bool {
        self.known.as_ref().is_some_and(|known| known.binary_search(&name).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_what_headers_and_labels_can_carry() {
        for name in ["a", "A-1_b", "0", &"x".repeat(64)] {
            assert!(NameRule::Plain.allows(name), "{name}");
        }
        for name in ["", "-a", "_a", "a b", "a.b", "ä", "a\n", &"x".repeat(65)] {
            assert!(!NameRule::Plain.allows(name), "{name}");
        }
        for name in ["gpt-4.1", "meta/llama:free", "a@b", &"x".repeat(128)] {
            assert!(NameRule::Model.allows(name), "{name}");
        }
        for name in ["", ".a", "a b", "a\"b", "a\\b", &"x".repeat(129)] {
            assert!(!NameRule::Model.allows(name), "{name}");
        }
    }
}
