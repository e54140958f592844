//! The model that a client's name means: names and aliases first, then the pattern with the longest beginning,
//! then the default.
//!
//! What a pattern leaves open is a client's text. It becomes part of a body, of a path and of a header, so only
//! characters that mean nothing there may be in it. It never becomes a metric's label or the key of a shared
//! record: those have the pattern or the target.

use std::rc::Rc;

use crate::base::ModelId;

/// What stands for the rest of a client's name.
pub const WILDCARD: char = '*';

/// The longest name of a model, in bytes; also of one that a client sends for a pattern.
pub const MAX_MODEL_NAME: usize = 128;

/// Whether this is a name for a model: in a configuration, or the part of a client's name that a pattern leaves
/// open.
pub fn is_model_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/@".contains(&byte);
    name.len() <= MAX_MODEL_NAME
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && name.bytes().all(allowed)
}

/// The beginning that a pattern demands; `None` if `name` is no pattern.
pub fn pattern(name: &str) -> Option<&str> {
    name.strip_suffix(WILDCARD)
}

/// The names by which clients find models.
#[derive(Debug, Default)]
pub struct ModelNames {
    /// Names and aliases, sorted, and whether each is an alias: a search among a few names is cheaper than a keyed
    /// hash.
    exact: Vec<(Rc<str>, ModelId, bool)>,
    /// The beginnings of patterns, the longest first.
    patterns: Vec<(Rc<str>, ModelId)>,
    default: Option<ModelId>,
    /// Whether a name can be another one than the model's own.
    has_other_names: bool,
}

/// How a client's name has led to a model, if the name is not the model's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedName {
    /// The name.
    pub text: Rc<str>,
    /// By what it was found.
    pub found: FoundBy,
}

/// By what a model was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// It is an alias.
    Alias,
    /// A pattern, whose beginning has this length.
    Pattern(usize),
    /// No model has this name, and there is a default.
    Default,
}

impl AskedName {
    /// The part that its pattern leaves open.
    pub fn rest(&self) -> Option<&str> {
        match self.found {
            FoundBy::Pattern(length) => self.text.get(length..),
            FoundBy::Alias | FoundBy::Default => None,
        }
    }
}

impl ModelNames {
    /// The names of models: for each, in the order of their ids, its name, its aliases, and whether it is the default.
    pub(super) fn of<'m>(models: impl Iterator<Item = (&'m Rc<str>, &'m [Rc<str>], bool)>) -> Self {
        let mut names = Self::default();
        for (index, (name, aliases, is_default)) in models.enumerate() {
            let Some(id) = ModelId::from_index(index) else { continue };
            match pattern(name) {
                Some(beginning) => names.patterns.push((beginning.into(), id)),
                None => names.exact.push((Rc::clone(name), id, false)),
            }
            names.exact.extend(aliases.iter().map(|alias| (Rc::clone(alias), id, true)));
            if is_default {
                names.default = Some(id);
            }
            names.has_other_names |= is_default || !aliases.is_empty() || pattern(name).is_some();
        }
        names.exact.sort();
        names.patterns.sort_by_key(|(beginning, _)| std::cmp::Reverse(beginning.len()));
        names
    }

    /// The model with this name or alias.
    pub fn exact(&self, name: &str) -> Option<ModelId> {
        self.entry(name).map(|(_, model, _)| *model)
    }

    fn entry(&self, name: &str) -> Option<&(Rc<str>, ModelId, bool)> {
        let place = self.exact.binary_search_by(|(known, _, _)| (**known).cmp(name)).ok()?;
        self.exact.get(place)
    }

    /// All names and aliases, sorted.
    pub fn listed(&self) -> impl Iterator<Item = (&str, ModelId)> {
        self.exact.iter().map(|(name, model, _)| (&**name, *model))
    }

    /// The model that `name` means. The name is returned if it is not the model's own.
    pub fn find(&self, name: &str) -> Option<(ModelId, Option<AskedName>)> {
        match self.entry(name) {
            Some((_, model, false)) => Some((*model, None)),
            _ if !self.has_other_names => None,
            other => self.find_by_another_name(name, other.map(|(_, model, _)| *model)),
        }
    }

    #[inline(never)]
    fn find_by_another_name(
        &self,
        name: &str,
        alias: Option<ModelId>,
    ) -> Option<(ModelId, Option<AskedName>)> {
        let by_pattern = || {
            let fits = |beginning: &str| name.strip_prefix(beginning).is_some_and(is_model_name);
            let (beginning, id) = self.patterns.iter().find(|(beginning, _)| fits(beginning))?;
            (name.len() <= MAX_MODEL_NAME).then_some((*id, FoundBy::Pattern(beginning.len())))
        };
        let (id, found) = alias
            .map(|id| (id, FoundBy::Alias))
            .or_else(by_pattern)
            .or_else(|| Some((self.default?, FoundBy::Default)))?;
        Some((id, Some(AskedName { text: name.into(), found })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, load};
    use proptest::prelude::*;
    use serde_json::json;

    fn config(default: bool) -> Config {
        let text = json!({
            "providers": {"p": {"kind": "openai"}},
            "targets": {
                "fixed": {"provider": "p", "model": "m"},
                "any": {"provider": "p", "model": "*"},
                "prefixed": {"provider": "p", "model": "vendor/*:free"},
            },
            "models": {
                "chat": {"targets": ["fixed"], "aliases": ["gpt-4o", "open/alias"], "default": default},
                "open/*": {"targets": ["any", "prefixed", "fixed"]},
                "open/gpt-*": {"targets": ["any"]},
                "open/exact": {"targets": ["fixed"]},
            },
        });
        load(text.to_string().as_bytes(), &|_| None).unwrap()
    }

    /// The model's own name, what it was found by, and the names at its targets.
    fn found(config: &Config, name: &str) -> Option<(String, Option<FoundBy>, Vec<String>)> {
        let (id, asked) = config.find_model(name)?;
        let model = config.model(id).unwrap();
        let targets = model.tiers[0].iter().map(|target| config.target(*target).unwrap());
        let at = targets.map(|target| {
            let name = target.model_for(asked.as_ref());
            name.to_string()
        });
        Some((model.name.to_string(), asked.as_ref().map(|asked| asked.found), at.collect()))
    }

    #[test]
    fn names_come_before_patterns_and_patterns_before_the_default() {
        use FoundBy::{Alias, Default, Pattern};
        let config = config(true);
        for (name, model, by, at) in [
            ("chat", "chat", None, &["m"][..]),
            ("gpt-4o", "chat", Some(Alias), &["m"]),
            ("open/alias", "chat", Some(Alias), &["m"]),
            ("open/exact", "open/exact", None, &["m"]),
            ("open/llama", "open/*", Some(Pattern(5)), &["llama", "vendor/llama:free", "m"]),
            ("open/meta/llama", "open/*", Some(Pattern(5)), &["meta/llama", "vendor/meta/llama:free", "m"]),
            ("open/gpt-5", "open/gpt-*", Some(Pattern(9)), &["5"]),
            // Nothing is left for the star.
            ("open/", "chat", Some(Default), &["m"]),
            ("open/gpt-", "open/*", Some(Pattern(5)), &["gpt-", "vendor/gpt-:free", "m"]),
            // The pattern itself is no name.
            ("open/*", "chat", Some(Default), &["m"]),
            ("open/../x", "chat", Some(Default), &["m"]),
            ("open/a b", "chat", Some(Default), &["m"]),
            ("open/ü", "chat", Some(Default), &["m"]),
            ("other", "chat", Some(Default), &["m"]),
            ("", "chat", Some(Default), &["m"]),
        ] {
            let expected = (model.to_owned(), by, at.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(found(&config, name), Some(expected), "{name}");
        }
    }

    #[test]
    fn without_a_default_an_unknown_name_is_unknown() {
        let config = config(false);
        for name in ["other", "open/", "open/*", "open/../x", "", "Chat"] {
            assert_eq!(found(&config, name), None, "{name}");
        }
    }

    #[test]
    fn a_name_at_the_limit_fits_a_pattern_and_a_longer_one_does_not() {
        let config = config(false);
        let name = |length: usize| format!("open/{}", "x".repeat(length - 5));
        assert!(found(&config, &name(MAX_MODEL_NAME)).is_some());
        assert!(found(&config, &name(MAX_MODEL_NAME + 1)).is_none());
    }

    proptest! {
        #[test]
        fn what_a_pattern_lets_through_is_plain(rest in "\\PC{0,12}|[a-z./*%\"\\\\:@-]{0,12}") {
            let config = config(false);
            if let Some((_, Some(asked))) = config.find_model(&format!("open/{rest}"))
                && matches!(asked.found, FoundBy::Pattern(_))
            {
                for target in config.targets() {
                    let name = target.model_for(Some(&asked));
                    prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/@".contains(&byte)));
                    prop_assert!(!name.starts_with(['.', '/']));
                }
            }
        }
    }
}
